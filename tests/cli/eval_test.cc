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

TEST_F(Eval, NamesTheRuleThatJudges) {
  EXPECT_EQ(Json::parse(Lines("eval", Arguments(kProblems)).at(0))["rule"], "accuracy");
  const Json math = Json::parse(Lines("eval", Arguments(kProblems, {"--rule", "format,math"})).at(0));
  EXPECT_EQ(math["rule"], "math");
  EXPECT_TRUE(math.contains("format"));
  EXPECT_FALSE(math.contains("pass@1_lenient"));
  EXPECT_EQ(
      Json::parse(Lines("eval", Arguments(kProblems, {"--rule", "format,math", "--pass-rule", "format"}))
                      .at(0))["rule"],
      "format");
  const Json length = Json::parse(
      Lines("eval", Arguments(kProblems, {"--rule", "length", "--set", "length.max_tokens=12"})).at(0));
  EXPECT_GE(length["reward"], 0.0);
  EXPECT_THAT(ErrorOf("eval", Arguments(kProblems, {"--rule", "mth"})), HasSubstr("did you mean math"));
}

TEST_F(Eval, MeasuresAsARecipesStageIsMeasured) {
  const std::string recipe = folder_.Write(
      "recipe.yaml",
      "stages:\n  warm: {kind: sft, from: x}\n  zero: {kind: rl, from: warm, rl: {reward: {rules: [{rule: "
      "number, name: digits}]}}}\n");
  const auto more = [&](std::vector<std::string> options) { return Arguments(kProblems, options); };
  EXPECT_EQ(Json::parse(Lines("eval", more({"--recipe", recipe, "--stage", "warm"})).at(0))["rule"],
            "digits");
  EXPECT_THAT(ErrorOf("eval", more({"--recipe", recipe, "--stage", "zer"})), HasSubstr("warm, zero"));
  EXPECT_THAT(ErrorOf("eval", more({"--recipe", recipe})), HasSubstr("go together"));
  EXPECT_THAT(ErrorOf("eval", more({"--recipe", recipe, "--stage", "zero", "--rule", "math"})),
              HasSubstr("leave out --rule"));
}

// A recipe's evaluation, by the run and by the command alone.
TEST_F(Eval, OfARecipesStageHasTheFiguresOfItsRun) {
  const Folder project;
  project.Write("asked.jsonl", absl::StrCat(kProblems, "{\"question\":\"4 plus 4?\",\"answer\":\"8\"}\n",
                                            "{\"question\":\"9 plus 1?\",\"answer\":\"10\"}\n"));
  const std::string recipe = project.Write(
      "recipe.yaml",
      absl::StrCat("seed: 5\nevaluation: {problems: 3, samples_per_prompt: 3, sampling: {max_new_tokens: "
                   "200, temperature: 0.8}, "
                   "held_out: {files: [asked.jsonl], suffix: ' !'}, reward: {rules: [{rule: number}]}}\n"
                   "stages: {look: {kind: eval, from: ",
                   model_, "}}\n"));
  const std::string run = project.path() + "/run";
  ASSERT_TRUE(RunCommand("run", {recipe, "--run-dir", run}).status.ok());
  const Json theirs = Json::parse(project.Read("run/summary.json"))[0];
  ASSERT_EQ(theirs["problems"], 3);
  for (const std::string& read : {recipe, run + "/config.yaml"}) {
    const Json ours =
        Json::parse(Lines("eval", {"--model", model_, "--recipe", read, "--stage", "look"}).at(0));
    for (const auto& [name, figure] : theirs.items()) {
      if (name == "stage" || name == "kind" || name == "seconds" || name == "exact") continue;
      if (name == "device_hours" || name == "lost_device_hours") continue;
      EXPECT_EQ(ours[name], figure) << name;
    }
  }
  const auto at = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"--model", model_, "--recipe", recipe, "--stage", "look"});
    return Json::parse(Lines("eval", more).at(0));
  };
  EXPECT_EQ(at({"--k", "2", "--limit", "2"})["samples"], 4);
  EXPECT_EQ(at({"--data", project.path() + "/asked.jsonl"})["n"], 4);
  EXPECT_NE(at({"--suffix", " ?"})["length_mean"], theirs["length_mean"]);
}

TEST_F(Eval, AnOutputIsNoneOfTheInputsAndIsOpenedFirst) {
  const std::string data = folder_.Write("problems", kProblems);
  for (const char* name : {"problems", "./problems", "tokenizer.json"}) {
    EXPECT_THAT(ErrorOf("eval", Arguments(kProblems, {"--output", absl::StrCat(folder_.path(), "/", name)})),
                HasSubstr("is read from"))
        << name;
  }
  EXPECT_EQ(folder_.Read("problems"), kProblems);
  EXPECT_THAT(ErrorOf("eval", {"--model", "/no/model", "--data", data, "--output", "/nowhere/out.jsonl"}),
              HasSubstr("/nowhere"));
}

TEST_F(Eval, AProblemThatIsEmptyIsNamedOrSkipped) {
  const std::string problems = absl::StrCat("{\"question\":\"\",\"answer\":\"1\"}\n", kProblems);
  for (const char* form : {"none", "r1"}) {
    EXPECT_THAT(ErrorOf("eval", Arguments(problems, {"--template", form})), HasSubstr("problems:1: "));
  }
  EXPECT_EQ(Json::parse(Lines("eval", Arguments(problems, {"--skip-bad-lines"})).at(0))["n"], 2);
}

TEST_F(Eval, WritesCompletionsWithTheirVerdicts) {
  const std::string out = folder_.path() + "/out.jsonl";
  const std::string problems = "{\"id\":\"first\",\"question\":\"2 plus 3?\",\"answer\":\"5\"}\n";
  const Json row = Json::parse(Lines("eval", Arguments(problems, {"--output", out})).at(0));
  std::vector<Json> rows;
  for (const auto line : absl::StrSplit(folder_.Read("out.jsonl"), '\n', absl::SkipEmpty()))
    rows.push_back(Json::parse(line));
  ASSERT_EQ(rows.size(), 3u);
  double solved = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(rows[i]["prompt_id"], "first");
    EXPECT_EQ(rows[i]["sample"], i);
    EXPECT_EQ(rows[i]["answer"], "5");
    EXPECT_EQ(rows[i]["verdicts"][0]["rule"], "accuracy");
    EXPECT_EQ(rows[i]["verdicts"][1]["rule"], "format");
    EXPECT_TRUE(rows[i]["reward"].is_number());
    solved += rows[i]["solved"].get<bool>();
  }
  EXPECT_EQ(row["pass@1"], solved / 3);
  EXPECT_THAT(ErrorOf("eval", Arguments(problems, {"--output", "/nowhere/out.jsonl"})),
              HasSubstr("/nowhere"));
}

TEST_F(Eval, NeedsATokenizer) {
  const Folder folder;
  const std::string model = WriteModel(folder, TinyLlama());
  EXPECT_THAT(ErrorOf("eval", {"--model", model, "--data", folder.Write("problems", kProblems)}),
              HasSubstr("tokenizer.json"));
}

}  // namespace
}  // namespace temper
