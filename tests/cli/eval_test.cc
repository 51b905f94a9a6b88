// SPDX-License-Identifier: Apache-2.0
#include "gmock/gmock.h"
#include "tests/cli/models.h"

namespace temper {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr char kProblems[] =
    "{\"question\":\"2 plus 3?\",\"answer\":\"2 and 3 #### 5\"}\n{\"question\":\"1 plus "
    "1?\",\"answer\":\"#### 2\"}\n";

class Eval : public ::testing::Test {
 protected:
  std::vector<std::string> Arguments(const std::string& problems, const std::vector<std::string>& more = {}) {
    std::vector<std::string> all = {
        "--model", model_, "--data",           folder_.Write("problems", problems),
        "--k",     "3",    "--max-new-tokens", "12"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  const Folder folder_;
  const std::string model_ = WriteModel(folder_, WithWords(TinyQwen2()), kTinyTokenizer);
};

TEST_F(Eval, OneLineHasTheFigures) {
  const std::vector<std::string> lines = Lines("eval", Arguments(kProblems));
  ASSERT_EQ(lines.size(), 1u);
  const Json row = Json::parse(lines[0]);
  EXPECT_EQ(row["n"], 2);
  EXPECT_EQ(row["k"], 3);
  EXPECT_EQ(row["samples"], 6);
  for (const char* key : {"pass@1", "pass@1_error", "pass@1_lenient", "pass@k", "cons@k", "format", "cut"}) {
    ASSERT_TRUE(row.contains(key)) << key;
    EXPECT_GE(row[key], 0.0) << key;
    EXPECT_LE(row[key], 1.0) << key;
  }
  EXPECT_LE(row["length_mean"], 12.0);
}

TEST_F(Eval, TheBatchDoesNotMatterAndTheSeedDoes) {
  // Long enough for some to end by themselves.
  const auto lines = [&](std::vector<std::string> more) {
    more.insert(more.end(), {"--max-new-tokens", "200"});
    return Lines("eval", Arguments(kProblems, more));
  };
  EXPECT_EQ(lines({"--max-batch", "1", "--threads", "1"}), lines({}));
  EXPECT_NE(lines({"--seed", "1"}), lines({}));
}

TEST_F(Eval, BadLinesAreNamedOrSkippedAndCounted) {
  const std::string bad = absl::StrCat("{\"question\":3}\n", kProblems);
  EXPECT_THAT(ErrorOf("eval", Arguments(bad)), StartsWith(folder_.path() + "/problems:1: "));
  const std::vector<std::string> lines = Lines("eval", Arguments(bad, {"--skip-bad-lines"}));
  EXPECT_EQ(Json::parse(lines.at(0))["n"], 2);
  EXPECT_THAT(ErrorOf("eval", Arguments("\n")), HasSubstr("problem"));
}

TEST_F(Eval, NeedsATokenizer) {
  const Folder folder;
  const std::string model = WriteModel(folder, TinyLlama());
  EXPECT_THAT(ErrorOf("eval", {"--model", model, "--data", folder.Write("problems", kProblems)}),
              HasSubstr("tokenizer.json"));
}

}  // namespace
}  // namespace temper
