// SPDX-License-Identifier: Apache-2.0
#include "trainer/measure.h"

#include "gmock/gmock.h"
#include "tests/trainer/small_recipe.h"

namespace temper {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

RewardConfig Reward(const std::string& yaml) {
  RewardConfig reward;
  const absl::Status status = ReadConfig("rules: " + yaml, "reward", {}, reward);
  EXPECT_TRUE(status.ok()) << status;
  return reward;
}

Measure MeasureBy(const std::string& yaml, const std::string& pass_rule = "") {
  absl::StatusOr<Measure> measure = Measure::Create(Reward(yaml), pass_rule);
  EXPECT_TRUE(measure.ok()) << measure.status();
  return *measure;
}

// A problem with the answer 8 and completions judged by the measure's own rules.
Group Judged(const Measure& measure, const std::vector<std::string>& completions) {
  Group group;
  group.prompt.id = "p";
  group.prompt.text = "What is 5 + 3?";
  group.prompt.answer = "8";
  group.prompt.fields = R"({"tests": [{"input": "5 3", "output": "8"}]})";
  const auto rules = MakeRules(measure.reward());
  EXPECT_TRUE(rules.ok()) << rules.status();
  for (const std::string& text : completions) {
    Trajectory& trajectory = group.trajectories.emplace_back();
    trajectory.text = text;
    trajectory.Extend(Segment::Kind::kSampled, 0, static_cast<int64_t>(text.size()));
    for (const auto& rule : *rules)
      trajectory.verdicts.push_back(JudgeSafely(*rule, {.prompt = &group.prompt, .text = trajectory.text}));
  }
  return group;
}

Json Row(const Measure& measure, const std::vector<std::string>& completions) {
  Json row;
  measure.Append(measure.Of({Judged(measure, completions)}), "", &row);
  return row;
}

std::vector<std::string> Keys(const Json& row) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : row.items()) keys.push_back(key);
  return keys;
}

const char kTagged[] = "5 and 3 </think> <answer> 8 </answer>", kBoxed[] = "So it is $\\boxed{8}$.";

TEST(Measure, OfMathTakesABoxedAnswerAndNamesItsRule) {
  const Measure measure = MeasureBy("[{rule: language, min_words: 1}, {rule: math}]");
  EXPECT_EQ(measure.pass_rule(), "math");
  const Json row = Row(measure, {kBoxed, "So it is $\\boxed{9}$.", kBoxed, "\\boxed{7}"});
  EXPECT_EQ(row["pass@1"], 0.5);
  EXPECT_EQ(row["cons@k"], 1.0);
  EXPECT_EQ(row["reward/math"], 0.5);
  EXPECT_FALSE(row.contains("pass@1_lenient"));  // the form is not looked at
  EXPECT_FALSE(row.contains("format"));
}

TEST(Measure, OfAccuracyHasTheFiguresOfTheFormBesideIt) {
  const Measure measure =
      MeasureBy("[{rule: accuracy, requires: format}, {rule: format}, {rule: language, min_words: 1}]");
  const Json row = Row(measure, {kTagged, kBoxed});
  EXPECT_THAT(Keys(row), ElementsAre("k", "problems", "pass@1", "pass@1_error", "pass@1_lenient", "pass@k",
                                     "cons@k", "format", "length_mean", "length_p10", "length_p50",
                                     "length_p90", "checks", "cut", "language"));
  EXPECT_EQ(row["pass@1"], 0.5);
  EXPECT_EQ(row["pass@1_lenient"], 1.0);
  EXPECT_EQ(row["format"], 0.5);
}

TEST(Measure, IgnoresTheGateWhereTheFormIs) {
  const Json row = Row(MeasureBy("[{rule: math, requires: format}, {rule: format}]"), {kBoxed});
  EXPECT_EQ(row["pass@1"], 0.0);
  EXPECT_EQ(row["pass@1_lenient"], 1.0);
}

TEST(Measure, TakesTheRuleThatIsNamed) {
  const std::string rules =
      "[{rule: accuracy, name: strict}, {rule: accuracy, name: anywhere, mode: lenient}]";
  EXPECT_EQ(MeasureBy(rules).pass_rule(), "strict");
  EXPECT_EQ(Row(MeasureBy(rules), {kBoxed})["pass@1"], 0.0);
  EXPECT_EQ(Row(MeasureBy(rules, "anywhere"), {kBoxed})["pass@1"], 1.0);
  EXPECT_EQ(MeasureBy("[{rule: format}]").pass_rule(), "format");
  EXPECT_THAT(std::string(Measure::Create(Reward("[{rule: math}]"), "mth").status().message()),
              HasSubstr("mth is none of the rules that measure, math; did you mean math?"));
}

TEST(Measure, OfCodeHasNoVoteAndNeedsNoAnswer) {
  Group group;
  group.prompt.id = "p";
  Trajectory& right = group.trajectories.emplace_back();
  right.verdicts = {{"code", VerdictKind::kCorrect, 1, "print(8)", ""}};
  Trajectory& wrong = group.trajectories.emplace_back();
  wrong.verdicts = {{"code", VerdictKind::kTimeout, 0, "print(8)", ""}};
  const Measure measure = MeasureBy("[{rule: code}]");
  Json row;
  measure.Append(measure.Of({group}), "", &row);
  EXPECT_EQ(row["pass@1"], 0.5);
  EXPECT_EQ(row["pass@k"], 1.0);
  EXPECT_FALSE(row.contains("cons@k"));
  EXPECT_FALSE(row.contains("pass@1_lenient"));
}

TEST(Measure, LeavesOutWhatCouldNotBeJudged) {
  Group group;
  for (const VerdictKind kind :
       {VerdictKind::kCorrect, VerdictKind::kInfrastructureError, VerdictKind::kWrong}) {
    group.trajectories.emplace_back().verdicts = {
        {"process", kind, kind == VerdictKind::kCorrect ? 0.75 : 0.25, "", ""}};
  }
  const Measure measure = MeasureBy("[{rule: process, command: [/bin/cat]}]");
  const Measure::Figures figures = measure.Of({group});
  Json row;
  measure.Append(figures, "eval/", &row);
  EXPECT_EQ(row["eval/pass@1"], 0.5);
  EXPECT_EQ(row["eval/k"], 2);
  EXPECT_EQ(row["eval/reward/process"], 0.5);
  EXPECT_EQ(row["eval/unjudged"], 1.0);
  EXPECT_EQ(figures.reward, 0.5);
}

class Stages : public ::testing::Test {
 protected:
  // The first rule of what measures the stage.
  std::string RuleOf(const std::string& stage, const std::vector<std::string>& overrides = {}) const {
    const RecipeConfig recipe = Read(overrides);
    for (const StageConfig& config : recipe.stages) {
      if (config.name == stage) return EvaluationReward(recipe, config).rules[0].rule;
    }
    return "no stage";
  }
  static RecipeConfig Read(const std::vector<std::string>& overrides) {
    RecipeConfig recipe;
    const absl::Status status = ReadConfig(R"(
evaluation: {held_out: {tasks: [countdown]}}
rl: {reward: {rules: [{rule: exact}]}}
stages:
  warm: {kind: sft, from: dir}
  first: {kind: rl, from: warm, rl: {reward: {rules: [{rule: math}]}}}
  middle: {kind: sft, from: first}
  second: {kind: rl, from: dir, rl: {reward: {rules: [{rule: code}]}}}
  last: {kind: eval, from: second}
)",
                                           "recipe", overrides, recipe);
    EXPECT_TRUE(status.ok()) << status;
    return recipe;
  }
};

TEST_F(Stages, AreMeasuredByWhatTrainsThem) {
  EXPECT_EQ(RuleOf("first"), "math");
  EXPECT_EQ(RuleOf("second"), "code");
  EXPECT_EQ(RuleOf("warm"), "math");    // no rl stage before: the next one's
  EXPECT_EQ(RuleOf("middle"), "math");  // the last one's before
  EXPECT_EQ(RuleOf("last"), "code");
}

TEST_F(Stages, AreMeasuredByWhatTheirEvaluationNames) {
  EXPECT_EQ(RuleOf("second", {"evaluation.reward.rules=[{rule: number}]"}), "number");
  EXPECT_EQ(RuleOf("warm", {"stages.warm.evaluation.reward.rules=[{rule: choice}]"}), "choice");
  EXPECT_EQ(RuleOf("first", {"stages.warm.evaluation.reward.rules=[{rule: choice}]"}), "math");
}

TEST_F(Stages, WithoutAnyRewardAreMeasuredByTheRecipes) {
  RecipeConfig recipe = Read({});
  recipe.stages.resize(1);
  EXPECT_EQ(EvaluationReward(recipe, recipe.stages[0]).rules[0].rule, "exact");
}

TEST_F(Stages, OfAModelDirectoryAreMeasuredBeforeTheyTrain) {
  const auto names = [](const RecipeConfig& recipe) {
    std::vector<std::string> names;
    for (const StageConfig& stage : recipe.stages) names.push_back(stage.name);
    return names;
  };
  const RecipeConfig recipe = WithMeasuredStarts(Read({}));
  EXPECT_THAT(names(recipe),
              ElementsAre("warm.before", "warm", "first", "middle", "second.before", "second", "last"));
  EXPECT_EQ(recipe.stages[4].kind, StageKind::kEval);
  EXPECT_EQ(EvaluationReward(recipe, recipe.stages[0]).rules[0].rule, "math");
  EXPECT_EQ(EvaluationReward(recipe, recipe.stages[4]).rules[0].rule, "code");
  // Once where the same directory is measured in the same way.
  EXPECT_THAT(names(WithMeasuredStarts(Read({"evaluation.reward.rules=[{rule: number}]"}))),
              ElementsAre("warm.before", "warm", "first", "middle", "second", "last"));
  EXPECT_EQ(WithMeasuredStarts(Read({"evaluation.before=false"})).stages.size(), 5u);
  EXPECT_EQ(WithMeasuredStarts(Read({"evaluation.problems=0"})).stages.size(), 5u);
}

}  // namespace
}  // namespace temper
