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

TEST(Rows, HoldNothingThatATerminalObeysAndStayTheSameJson) {
  const Json text = "a\x7f\u0085\u009B31m\u202Eb\u2066 é";
  const std::vector<std::string> ids =
      Lines("tokenize", {"--tokenizer", kTinyTokenizer, "--no-special-tokens"}, DumpJson(text));
  const std::vector<std::string> back =
      Lines("tokenize", {"--tokenizer", kTinyTokenizer, "--decode"}, ids[0]);
  EXPECT_THAT(back, ElementsAre(R"({"text":"a\u007f\u0085\u009b31m\u202eb\u2066 é"})"));
  EXPECT_EQ(Json::parse(back[0])["text"], text);
  const std::string row = DumpJson(Json{{"id", text}, {"completion", "7"}, {"answer", "7"}});
  EXPECT_THAT(Lines("score", {"--rule", "accuracy", "--raw"}, row),
              ElementsAre(StartsWith(R"({"id":"a\u007f\u0085\u009b31m\u202eb\u2066 é")")));
}

TEST(Score, SaysTheRewardOfEachRowWithItsId) {
  const std::string rows =
      "{\"id\":\"a\",\"completion\":\"<think>x</think> <answer>1/2</answer>\",\"answer\":\"0.5\"}\n"
      "{\"id\":\"b\",\"completion\":\"<think>x</think> <answer>3</answer>\",\"answer\":\"0.5\"}\n";
  const std::vector<std::string> lines = Lines("score", {"--rule", "accuracy"}, rows);
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_THAT(
      lines[0],
      StartsWith(
          "{\"id\":\"a\",\"reward\":1.0,\"sum\":1.0,\"rules\":{\"accuracy\":{\"verdict\":\"correct\","));
  EXPECT_THAT(lines[1], StartsWith("{\"id\":\"b\",\"reward\":0.0,"));
  const Json both = Json::parse(Lines("score", {"--rule", "format,accuracy", "--mode=lenient"},
                                      "{\"completion\":\"the answer is 7\",\"answer\":7}\n")[0]);
  EXPECT_EQ(both["rules"]["format"]["verdict"], "malformed");
  EXPECT_EQ(both["rules"]["accuracy"]["verdict"], "correct");
  EXPECT_EQ(both["reward"], 1.0);
}

TEST(Score, TakesTheRewardOfAStage) {
  const Folder folder;
  const std::string recipe =
      folder.Write("r.yaml",
                   "stages:\n"
                   "  base: {kind: sft, from: m}\n"
                   "  zero:\n"
                   "    kind: rl\n"
                   "    rl:\n"
                   "      reward:\n"
                   "        rules:\n"
                   "          - {rule: accuracy, requires: format, weight_otherwise: -0.5}\n"
                   "          - {rule: format, weight: 0.25}\n"
                   "        max: 1.125\n");
  const std::string row = "{\"completion\":\"x</think> <answer>7</answer>\",\"answer\":7}\n";
  const Json good = Json::parse(Lines("score", {"--recipe", recipe, "--stage", "zero"}, row)[0]);
  EXPECT_EQ(good["reward"], 1.125);
  EXPECT_EQ(good["sum"], 1.25);
  EXPECT_EQ(good["rules"]["format"]["value"], 0.25);
  const Json set =
      Json::parse(Lines("score", {"--recipe", recipe, "--set", "stages.zero.rl.reward.max=1"}, row)[0]);
  EXPECT_EQ(set["reward"], 1.0);
  EXPECT_THAT(ErrorOf("score", {"--recipe", recipe, "--stage", "base"}, row),
              HasSubstr("--stage base is none with a reward; stages that have a reward: zero"));
  EXPECT_THAT(ErrorOf("score", {"--recipe", recipe, "--rule", "format"}, row), HasSubstr("not both"));
  EXPECT_THAT(ErrorOf("score", {"--recipe", folder.path() + "/none.yaml"}, row), HasSubstr("none.yaml"));
}

// Files that rules name are looked for as a run looks for them.
TEST(Score, FindsWhatARecipeNamesBesideIt) {
  const Folder folder;
  folder.Write("refusals.txt", "no way\n");
  const std::string recipe = folder.Write(
      "r.yaml",
      "stages: {zero: {kind: rl, rl: {reward: {rules: [{rule: harmless, refusals: refusals.txt}]}}}}\n");
  const std::string row = "{\"completion\":\"no way\",\"answer\":\"\",\"task\":\"harmful\"}\n";
  EXPECT_EQ(Lines("score", {"--recipe", recipe}, row).size(), 1u);
}

TEST(Score, ABadReferenceIsItsRowsFaultAndTheOthersGoOn) {
  const std::string rows =
      "{\"completion\":\"</think><answer>1</answer>\",\"answer\":\"1\"}\n"
      "{\"completion\":\"</think><answer>1</answer>\",\"answer\":[\"1\"]}\n"
      "{\"completion\":\"</think><answer>1</answer>\"}\n"
      "{\"completion\":\"</think><answer>1</answer>\",\"answer\":\"1\"}\n";
  std::string kinds;
  for (const std::string& line : Lines("score", {"--rule", "accuracy"}, rows)) {
    const Json verdict = Json::parse(line)["rules"]["accuracy"];
    absl::StrAppend(&kinds, verdict["verdict"].get<std::string>(), " ");
  }
  EXPECT_EQ(kinds, "correct malformed malformed correct ");
  EXPECT_THAT(Lines("score", {"--rule", "math"}, "{\"completion\":\"1\",\"answer\":\"\\\\frac{\"}\n")[0],
              HasSubstr("\"verdict\":\"malformed\""));
}

TEST(Score, JudgesAGroupByItsId) {
  const Folder folder;
  const std::string judge = folder.Write("judge.py",
                                         "import json, sys\n"
                                         "for line in sys.stdin:\n"
                                         "    rows = json.loads(line)['rows']\n"
                                         "    best = max(len(row['completion']) for row in rows)\n"
                                         "    for row in rows:\n"
                                         "        print(json.dumps({'id': row['id'], 'score': "
                                         "float(len(row['completion']) == best)}), flush=True)\n");
  const std::vector<std::string> options = {"--rule", "process",
                                            "--set",  "process.command=[python3, " + judge + "]",
                                            "--set",  "process.rows=group"};
  std::string rewards;
  for (const std::string& line :
       Lines("score", options,
             "{\"id\":1,\"completion\":\"aa\"}\n{\"id\":2,\"completion\":\"a\"}\n"
             "{\"id\":1,\"completion\":\"aaa\"}\n{\"id\":2,\"completion\":\"\"}\n")) {
    absl::StrAppend(&rewards, line.substr(0, 21), ";");
  }
  EXPECT_EQ(rewards,
            "{\"id\":1,\"reward\":0.0,;{\"id\":2,\"reward\":1.0,;{\"id\":1,\"reward\":1.0,;{\"id\":2,"
            "\"reward\":0.0,;");
  EXPECT_THAT(ErrorOf("score", options, "{\"completion\":\"aa\"}\n"),
              HasSubstr("standard input:1: has no id"));
}

TEST(Score, WhereNothingCouldBeJudgedItFails) {
  const std::vector<std::string> options = {
      "--rule", "process",
      "--set",  "process.command=[sh, -c, 'while read row; do echo no; done']",
      "--set",  "process.retry_seconds=0"};
  EXPECT_THAT(ErrorOf("score", options, "{\"completion\":\"a\"}\n{\"completion\":\"b\"}\n"),
              HasSubstr("none of the 2 rows could be judged: rule process: sh: its answer:1: "));
  EXPECT_THAT(ErrorOf("score", {"--rule", "process", "--set", "process.command=[python3, /none.py]"}, ""),
              HasSubstr("rule process: python3: "));
}

TEST(Score, BadInputIsNamed) {
  const Folder folder;
  const std::string path =
      folder.Write("rows", "{\"completion\":\"a\",\"answer\":\"1\"}\n\n{\"answer\":\"1\"}\n");
  EXPECT_THAT(ErrorOf("score", {"--rule", "accuracy", "--input", path}), StartsWith(path + ":3: "));
  EXPECT_THAT(ErrorOf("score", {"--rule", "accuracy", path}), StartsWith(path + ":3: "));
  EXPECT_THAT(ErrorOf("score", {"--rule", "acuracy"}), HasSubstr("accuracy"));
  EXPECT_THAT(ErrorOf("score", {"--rule", "accuracy", "--inptu", "x"}), HasSubstr("did you mean --input?"));
  EXPECT_THAT(ErrorOf("score", {"--rule", "accuracy", "rows", "more"}),
              HasSubstr("unexpected argument more"));
}

}  // namespace
}  // namespace temper
