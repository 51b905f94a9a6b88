// SPDX-License-Identifier: Apache-2.0
// tokenize and score: rows in, rows out.
#include "gmock/gmock.h"
#include "tests/cli/models.h"

namespace temper {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST(Tokenize, TextAndIdsGoBothWays) {
  const std::string text = "\"Q 7 a -3 ? <think>\"\n\"h\xC3\xA9 \xE7\xAD\x89\\n\"\n\"\"\n";
  const std::vector<std::string> ids =
      Lines("tokenize", {"--tokenizer", kTinyTokenizer, "--no-special-tokens"}, text);
  ASSERT_EQ(ids.size(), 3u);
  EXPECT_THAT(ids[0], StartsWith("{\"ids\":["));
  EXPECT_EQ(ids[2], "{\"ids\":[]}");
  const std::vector<std::string> back = Lines("tokenize", {"--tokenizer", kTinyTokenizer, "--decode"},
                                              absl::StrCat(ids[0], "\n", ids[1], "\n", ids[2]));
  EXPECT_THAT(back, ElementsAre("{\"text\":\"Q 7 a -3 ? <think>\"}",
                                "{\"text\":\"h\xC3\xA9 \xE7\xAD\x89\\n\"}", "{\"text\":\"\"}"));
}

TEST(Tokenize, AnIdWithoutATokenIsNamedByLineAndPlace) {
  EXPECT_THAT(
      ErrorOf("tokenize", {"--tokenizer", kTinyTokenizer, "--decode"}, "{\"ids\":[1]}\n{\"ids\":[1,357]}\n"),
      HasSubstr(":2: ids[1]: 357 is not in the vocabulary of configs/tiny/base"));
}

TEST(Tokenize, SpecialTokensAreAddedAndShownUnlessToldOtherwise) {
  const std::vector<std::string> with = Lines("tokenize", {"--tokenizer", kTinyTokenizer}, "\"a\"");
  const std::vector<std::string> without =
      Lines("tokenize", {"--tokenizer", kTinyTokenizer, "--no-special-tokens"}, "\"a\"");
  EXPECT_NE(with, without);
  EXPECT_THAT(Lines("tokenize", {"--tokenizer", kTinyTokenizer, "--decode"}, with[0]),
              ElementsAre("{\"text\":\"<bos>a\"}"));
  const std::vector<std::string> options = {"--tokenizer", kTinyTokenizer, "--decode", "--no-special-tokens"};
  EXPECT_THAT(Lines("tokenize", options, with[0]), ElementsAre("{\"text\":\"a\"}"));
}

TEST(Tokenize, BadRowsAreNamedByFileAndLine) {
  const Folder folder;
  const std::string path = folder.Write("rows", "\"a\"\n{\"ids\":[1]}\n");
  EXPECT_THAT(ErrorOf("tokenize", {"--tokenizer", kTinyTokenizer, "--input", path}),
              StartsWith(path + ":2: "));
  EXPECT_THAT(ErrorOf("tokenize", {"--tokenizer", kTinyTokenizer, "--decode"}, "{\"ids\":[1,\"x\"]}"),
              StartsWith("standard input:1: ids[1]: "));
  EXPECT_THAT(ErrorOf("tokenize", {}), HasSubstr("tokenizer"));
}

TEST(Score, OneRuleGivesAVerdict) {
  const std::string rows =
      "{\"completion\":\"<think>x</think> <answer>1/2</answer>\",\"answer\":\"0.5\"}\n"
      "{\"completion\":\"<think>x</think> <answer>3</answer>\",\"answer\":\"0.5\"}\n";
  const std::vector<std::string> lines = Lines("score", {"--rule", "accuracy"}, rows);
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_THAT(lines[0],
              StartsWith("{\"verdict\":\"correct\",\"score\":1.0,\"extracted\":\"1/2\",\"reason\":"));
  EXPECT_THAT(lines[1], StartsWith("{\"verdict\":\"wrong\",\"score\":0.0,"));
}

TEST(Score, SeveralRulesGiveAnObjectByRule) {
  const std::string row = "{\"completion\":\"the answer is 7\",\"answer\":7}\n";
  const std::vector<std::string> lines = Lines("score", {"--rule", "format,accuracy", "--mode=lenient"}, row);
  ASSERT_EQ(lines.size(), 1u);
  const Json verdicts = Json::parse(lines[0]);
  EXPECT_EQ(verdicts["format"]["verdict"], "malformed");
  EXPECT_EQ(verdicts["accuracy"]["verdict"], "correct");
  EXPECT_EQ(Json::parse(Lines("score", {"--rule", "accuracy", "--raw"},
                              "{\"completion\":\"7\",\"answer\":7}")[0])["verdict"],
            "correct");
}

TEST(Score, BadInputIsNamed) {
  const Folder folder;
  const std::string path =
      folder.Write("rows", "{\"completion\":\"a\",\"answer\":\"1\"}\n\n{\"answer\":\"1\"}\n");
  EXPECT_THAT(ErrorOf("score", {"--rule", "accuracy", "--input", path}), StartsWith(path + ":3: "));
  EXPECT_THAT(ErrorOf("score", {"--rule", "acuracy"}), HasSubstr("accuracy"));
  EXPECT_THAT(ErrorOf("score", {"--rule", "accuracy", "--inptu", "x"}), HasSubstr("did you mean --input?"));
  EXPECT_THAT(ErrorOf("score", {"--rule", "accuracy", "rows"}), HasSubstr("unexpected argument rows"));
}

}  // namespace
}  // namespace temper
