// SPDX-License-Identifier: Apache-2.0
// What the stages of a run read is opened and checked before the first trains.
#include "trainer/inputs/inputs.h"

#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "comm/threads.h"
#include "gmock/gmock.h"
#include "tests/trainer/small_recipe.h"
#include "trainer/run_directory/checkpoint.h"

namespace temper {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr char kGood[] = "{\"question\":\"1 + 1?\",\"answer\":\"2\"}\n";

class InputsTest : public ::testing::Test {
 protected:
  InputsTest() { WriteSmallModel(folder_ / "model"); }
  std::string Write(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ / name) << text;
    return folder_ / name;
  }
  // An sft stage and then an rl stage on a file.
  RecipeConfig Recipe(const std::string& file, std::vector<std::string> overrides = {}) const {
    const std::string text = absl::StrCat(R"(
rl:
  steps: 1
  prompts_per_step: 1
  samples_per_prompt: 2
  gradient_leaves: 2
  sampling: {max_new_tokens: 16}
  problems: {files: [)",
                                          file, R"(]}
stages:
  first:
    kind: sft
    from: )",
                                          folder_ / "model", R"(
    sft: {documents: [{kind: cold_start, count: 4}], prompts_per_step: 4, gradient_leaves: 2}
  second: {kind: rl, from: first}
)");
    RecipeConfig recipe;
    const absl::Status status = ReadConfig(text, "r.yaml", overrides, recipe);
    EXPECT_TRUE(status.ok()) << status;
    return recipe;
  }
  absl::StatusOr<std::unique_ptr<Inputs>> Open(const RecipeConfig& recipe) const {
    return Inputs::Open(recipe, {.run_directory = folder_ / "run"});
  }
  std::string ErrorOf(const RecipeConfig& recipe) const {
    return std::string(Open(recipe).status().message());
  }

  const TestFolder folder_;
};

// Each of these was found after the first stage had trained.
TEST_F(InputsTest, WhatIsWrongWithALaterStagesRowsIsFoundBeforeTheFirstTrains) {
  const std::pair<std::string, std::string> mistakes[] = {
      {"{\"q\":\"1?\",\"a\":\"2\"}\n", "p.jsonl:1: has no question, problem, prompt, messages"},
      {absl::StrCat(kGood, "{\"question\":\"2?\"}\n"), "p.jsonl:2: "},
      {absl::StrCat(kGood, "{\"question\":\"2?\",\"answer\":null}\n"), "name it (fields.answer)"},
      {absl::StrCat(kGood, "{\"question\":\"2?\",\"answer\":\"\"}\n"), "it is empty"},
      {absl::StrCat(kGood, "{\"question\":\"2?\",\n"), "p.jsonl:2: byte"},
      {"", "p.jsonl: there is no problem in it"},
      {"question,answer\n1?,2\n", "CSV becomes such"},
      {absl::StrCat(kGood, "{\"question\":\"", std::string(600, '7'), "\",\"answer\":\"1\"}\n"),
       "p.jsonl:2: the prompt has 601 tokens, and at most 240 fit"},
      {"{\"messages\":[{\"role\":\"user\",\"content\":\"1?\"}],\"answer\":\"1\"}\n",
       "messages need role tokens"},
  };
  for (const auto& [rows, what] : mistakes) {
    const RecipeConfig recipe = Recipe(Write("p.jsonl", rows));
    for (const int ranks : {1, 2}) {
      const std::string run = folder_ / "run";
      std::vector<absl::Status> statuses(ranks);
      ThreadWorld(ranks).Run(
          [&](Communicator& comm) { statuses[comm.rank()] = RunRecipe(recipe, run, comm, Never); });
      EXPECT_EQ(statuses[0].code(), absl::StatusCode::kInvalidArgument) << statuses[0];
      EXPECT_THAT(std::string(statuses[0].message()), AllOf(HasSubstr(what), Not(HasSubstr("\n"))));
      if (ranks == 2) EXPECT_TRUE(absl::IsCancelled(statuses[1])) << statuses[1];
      EXPECT_EQ(LatestCheckpoint(run + "/first/checkpoints").value_or("?"), "") << what;
      std::filesystem::remove_all(run);
    }
  }
}

TEST_F(InputsTest, BadRowsAreLeftOutWhereTheRecipeSaysSo) {
  const std::string rows =
      absl::StrCat(kGood, "{\"question\":\"2?\"}\n", "{\n", "{\"question\":\"3?\",\"answer\":\" \"}\n",
                   "{\"question\":\"", std::string(600, '7'), "\",\"answer\":\"1\"}\n");
  const RecipeConfig recipe = Recipe(Write("p.jsonl", rows), {"rl.problems.skip_bad_lines=true"});
  const auto inputs = Open(recipe);
  ASSERT_TRUE(inputs.ok()) << inputs.status();
  const auto source = (*inputs)->TrainProblems(recipe.stages[1]);
  ASSERT_TRUE(source.ok()) << source.status();
  EXPECT_EQ((*source)->size(), 1);
  EXPECT_EQ((*source)->Take(0, 1)->at(0).text, "1 + 1?");
}

TEST_F(InputsTest, RulesThatNeedNoAnswerTakeRowsWithoutOne) {
  const RecipeConfig recipe =
      Recipe(Write("p.jsonl", "{\"question\":\"2?\"}\n"), {"rl.reward.rules=[{rule: format}]"});
  EXPECT_EQ(ErrorOf(recipe), "");
}

TEST_F(InputsTest, DocumentsOfAFileAreCheckedToo) {
  const std::string good = "{\"prompt\":\"1?\",\"completion\":\"2\"}\n";
  const std::string more =
      absl::StrCat(good, "{\"prompt\":\"", std::string(600, '7'), "\",\"completion\":\"2\"}\n");
  for (const auto& [rows, what] :
       {std::pair<std::string, std::string>{good + "{\"prompt\":\"1?\"}\n", "d.jsonl:2: "},
        {more, "d.jsonl:2: the document has 603 tokens, and at most 256 fit"}}) {
    const std::string documents =
        absl::StrCat("stages.first.sft.documents=[{kind: file, file: ", Write("d.jsonl", rows), "}]");
    const std::string problems = Write("p.jsonl", kGood);
    EXPECT_THAT(ErrorOf(Recipe(problems, {documents})), HasSubstr(what));
    EXPECT_EQ(ErrorOf(Recipe(problems, {documents, "stages.first.sft.documents.0.skip_bad_lines=true"})), "");
  }
}

TEST_F(InputsTest, WhatEvaluationsAskIsLeftOutOfEveryStage) {
  const std::string asked = Write("asked.jsonl", kGood);
  const std::string rows = absl::StrCat(kGood, "{\"question\":\"2 + 2?\",\"answer\":\"4\"}\n");
  const RecipeConfig recipe =
      Recipe(Write("p.jsonl", rows), {"stages.first.evaluation.held_out.files=[" + asked + "]"});
  const auto inputs = Open(recipe);
  ASSERT_TRUE(inputs.ok()) << inputs.status();
  const auto trained = (*inputs)->TrainProblems(recipe.stages[1]);
  ASSERT_TRUE(trained.ok()) << trained.status();
  EXPECT_EQ((*trained)->size(), 1);
  EXPECT_EQ((*trained)->Take(0, 1)->at(0).text, "2 + 2?");
  const auto measured = (*inputs)->EvaluationProblems(recipe.stages[0], "held_out");
  ASSERT_TRUE(measured.ok()) << measured.status();
  EXPECT_EQ((*measured)->Take(0, 1)->at(0).text, "1 + 1?");
}

TEST_F(InputsTest, SaysWhatEachStageReadsWithCounts) {
  const std::string file =
      Write("p.jsonl", absl::StrCat(kGood, "{\"question\":\"2 + 2?\",\"answer\":\"4\"}\n"));
  const std::string asked = Write("asked.jsonl", "{\"question\":\"3 + 3?\",\"answer\":\"6\"}\n");
  const RecipeConfig recipe = Recipe(file, {"stages.second.evaluation.held_out.files=[" + asked + "]",
                                            "stages.second.evaluation.hard={tasks: [countdown], level: 2}",
                                            "stages.second.evaluation.hard_problems=5"});
  const auto inputs = Open(recipe);
  ASSERT_TRUE(inputs.ok()) << inputs.status();
  EXPECT_EQ(
      (*inputs)->Text(),
      absl::StrCat("what the stages read:\n"
                   "  first (sft): documents: cold_start (4); no evaluation (evaluation.held_out names no "
                   "problems)\n  second (rl): problems: ",
                   file, " (2); evaluation: ", asked, " (1), 1 x 16; harder: countdown, level 2, 5 x 16"));
}

// A stage takes from one opening, however many stages ask for the same; a run that goes on reads no finished
// stage's file.
TEST_F(InputsTest, OfFinishedStagesOnlyWhatMeasuresIsRead) {
  const RecipeConfig recipe = Recipe(Write("p.jsonl", kGood));
  std::filesystem::remove(folder_ / "p.jsonl");
  const auto all =
      Inputs::Open(recipe, {.run_directory = folder_ / "run",
                            .finished = [](const std::string& stage) { return stage == "second"; }});
  EXPECT_TRUE(all.ok()) << all.status();
  EXPECT_THAT(ErrorOf(recipe), HasSubstr("p.jsonl"));
}

TEST_F(InputsTest, AChatThatAsksForTheDayIsWrittenOnTheRecipesDay) {
  ASSERT_TRUE(WriteFileAtomic(folder_ / "model/chat_template.jinja",
                              "{{ strftime_now('%d %b %Y') }}: {{ messages[-1].content }}")
                  .ok());
  const std::string file =
      Write("chat.jsonl", R"({"messages": [{"role": "user", "content": "hello"}], "answer": "1"})");
  EXPECT_THAT(ErrorOf(Recipe(file)), HasSubstr("strftime_now: a run must not depend on its day"));
  const RecipeConfig recipe = Recipe(file, {"date=2026-11-27"});
  const auto inputs = Open(recipe);
  ASSERT_TRUE(inputs.ok()) << inputs.status();
  EXPECT_EQ((*inputs)->TrainProblems(recipe.stages[1]).value()->Take(0, 1)->at(0).text, "27 Nov 2026: hello");
}

TEST_F(InputsTest, AStopIsSeenWhileAFileIsRead) {
  const RecipeConfig recipe = Recipe(Write("p.jsonl", kGood));
  EXPECT_TRUE(absl::IsCancelled(
      Inputs::Open(recipe, {.run_directory = folder_ / "run", .stop = [] { return true; }}).status()));
}

// What a person meant by "relative": beside the recipe, or where he stands; and a run goes on from anywhere.
TEST_F(InputsTest, PathsAreFoundBesideTheRecipeOrInTheWorkingDirectory) {
  std::filesystem::create_directories(folder_ / "project");
  std::filesystem::rename(folder_ / "model", folder_ / "project/model");
  Write("project/mine.jsonl", kGood);
  Write("here.jsonl", kGood);
  const std::string recipe = Write("project/r.yaml", R"(rl: {problems: {files: [mine.jsonl, here.jsonl]}}
stages: {go: {kind: rl, from: model}}
)");
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::current_path(folder_.path());
  const auto read = ReadRecipe("project/r.yaml", {}, 1);
  const auto missing = ReadRecipe("project/r.yaml", {"rl.problems.files=[no.jsonl]"}, 1);
  std::filesystem::current_path(before);
  ASSERT_TRUE(read.ok()) << read.status();
  const std::string here = std::filesystem::canonical(folder_.path()).string();
  EXPECT_EQ(read->stages[0].from, here + "/project/model");
  EXPECT_EQ(read->stages[0].rl.problems.files,
            (std::vector<std::string>{here + "/project/mine.jsonl", here + "/here.jsonl"}));
  EXPECT_THAT(std::string(missing.status().message()),
              HasSubstr("no.jsonl does not exist (neither beside the recipe nor in " + here + ")"));
}

TEST_F(InputsTest, AnOverrideThatAStagesOwnFieldHidesIsSaid) {
  const std::string recipe = Write(
      "r.yaml",
      absl::StrCat("rl: {problems: {tasks: [countdown]}}\nstages:\n  a: {kind: rl, from: ", folder_ / "model",
                   "}\n  b: {kind: rl, from: a, rl: {optimizer: {learning_rate: 0.1}}}\n"));
  std::vector<std::string> notes;
  ASSERT_TRUE(ReadRecipe(recipe, {"rl.optimizer.learning_rate=0.5", "rl.steps=3"}, 1, &notes).ok());
  ASSERT_EQ(notes.size(), 1u);
  EXPECT_THAT(notes[0], StartsWith("--set rl.optimizer.learning_rate=0.5: b has another value, "
                                   "stages.b.rl.optimizer.learning_rate"));
}

TEST_F(InputsTest, CollectTakesWhatRlSaysUnlessItSaysOtherwise) {
  RecipeConfig recipe;
  ASSERT_TRUE(ReadConfig(R"(
rl:
  problems: {files: [p.jsonl]}
  sampling: {temperature: 0.5, max_new_tokens: 64}
  reward: {rules: [{rule: math}]}
stages:
  keep: {kind: collect, from: m, collect: {sampling: {max_new_tokens: 32}}}
)",
                         "r.yaml", {}, recipe)
                  .ok());
  const CollectConfig& collect = recipe.stages[0].collect;
  EXPECT_EQ(collect.problems.files, std::vector<std::string>{"p.jsonl"});
  EXPECT_EQ(collect.reward.rules.at(0).rule, "math");
  EXPECT_EQ(collect.sampling.temperature, 0.5);
  EXPECT_EQ(collect.sampling.max_new_tokens, 32);
}

}  // namespace
}  // namespace temper
