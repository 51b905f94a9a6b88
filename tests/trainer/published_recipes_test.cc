// SPDX-License-Identifier: Apache-2.0
// Each recipe of a published model can be read, its rows are in a form that it takes, and it fits on the
// cluster that its name ends with; those of DeepSeek-R1 say what the paper says.
#include <filesystem>
#include <map>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "tests/core/test_folder.h"
#include "tests/trainer/published_models.h"
#include "trainer/inputs/inputs.h"
#include "trainer/plan/cluster_plan.h"
#include "trainer/recipe.h"

namespace temper {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
namespace fs = std::filesystem;

// Where temper is started: models and data lie there, as the heads of the recipes say.
class PublishedRecipes : public ::testing::Test {
 protected:
  PublishedRecipes() : source_(fs::current_path().string()) {
    WritePublishedModels(source_, folder_.path());
    fs::current_path(folder_.path());
  }
  ~PublishedRecipes() override { fs::current_path(source_); }

  // By path below configs; their names end with MACHINESxDEVICESxNAME.
  std::map<std::string, Cluster> Recipes() const {
    std::map<std::string, Cluster> recipes;
    for (const auto& entry : fs::recursive_directory_iterator(source_ + "/configs")) {
      const std::string stem = entry.path().stem().string();
      if (entry.path().extension() != ".yaml") continue;
      const absl::StatusOr<Cluster> cluster = ParseCluster(stem.substr(stem.rfind('_') + 1));
      if (cluster.ok()) recipes[fs::relative(entry.path(), source_ + "/configs").string()] = *cluster;
    }
    return recipes;
  }

  std::string PathOf(const std::string& recipe) const { return absl::StrCat(source_, "/configs/", recipe); }

  // Some rows in each file that it names: problems of the task that the file is called by, or documents.
  void WriteData(const RecipeConfig& recipe) const {
    for (const StageConfig& stage : recipe.stages) {
      for (const ProblemsConfig* problems :
           {&stage.rl.problems, &stage.collect.problems, &stage.evaluation.source, &stage.evaluation.hard})
        for (const std::string& file : problems->files) WriteRows(file, false);
      for (const DocumentsConfig& documents : stage.sft.documents)
        if (!documents.file.empty()) WriteRows(documents.file, true);
    }
  }

  const std::string source_;
  const TestFolder folder_;

 private:
  void WriteRows(const std::string& file, bool documents) const {
    if (FileExists(file)) return;
    const std::string task = fs::path(file).stem().string();
    std::string text;
    for (int i = 0; i < 4; ++i) {
      const Json question = absl::StrCat(task, ": what is ", i, " + 1?");
      const Json row = documents
                           ? Json{{"prompt", question}, {"completion", "<think>I count.</think>\nThat."}}
                           : Json{{"question", question},
                                  {"answer", std::to_string(i + 1)},
                                  {"task", task},
                                  {"tests", {{{"input", "1"}, {"output", "2"}}}}};
      absl::StrAppend(&text, row.dump(), "\n");
    }
    fs::create_directories(fs::path(file).parent_path());
    ASSERT_TRUE(WriteFileAtomic(file, text).ok());
  }
};

TEST_F(PublishedRecipes, AreReadCheckedAndFitOnTheClusterOfTheirNames) {
  const std::map<std::string, Cluster> recipes = Recipes();
  EXPECT_THAT(recipes, SizeIs(12));
  for (const auto& [name, cluster] : recipes) {
    SCOPED_TRACE(name);
    const absl::StatusOr<RecipeConfig> fields = ReadRecipeFields(PathOf(name), {});
    ASSERT_TRUE(fields.ok()) << fields.status();
    WriteData(*fields);
    std::vector<std::string> notes;
    // Ranks share weights out on the CPU only.
    absl::StatusOr<RecipeConfig> recipe = ReadRecipe(PathOf(name), {"device=cpu"}, cluster.ranks(), &notes);
    ASSERT_TRUE(recipe.ok()) << recipe.status();
    EXPECT_THAT(notes, IsEmpty());
    const auto inputs = Inputs::Open(*recipe, {.run_directory = folder_ / "run"});
    EXPECT_TRUE(inputs.ok()) << inputs.status();
    recipe->device = "cuda";
    const absl::StatusOr<std::string> plan = ClusterPlanText(*recipe, cluster);
    ASSERT_TRUE(plan.ok()) << plan.status();
    EXPECT_THAT(*plan, AllOf(HasSubstr("% of a device"), Not(HasSubstr("DOES NOT FIT"))));
  }
}

// A fact is an override that changes nothing.
class PaperFacts : public PublishedRecipes {
 protected:
  void Expect(const std::string& recipe, const std::vector<std::string>& facts) const {
    for (const std::string& fact : facts) {
      const absl::StatusOr<RecipeConfig> said = ReadRecipeFields(PathOf(recipe), {}),
                                         stated = ReadRecipeFields(PathOf(recipe), {fact});
      ASSERT_TRUE(said.ok() && stated.ok()) << said.status() << stated.status();
      EXPECT_EQ(WriteConfig(*said), WriteConfig(*stated)) << recipe << ": the paper says " << fact;
    }
  }

  // Of every RL stage of the paper's.
  static std::vector<std::string> RlFacts(const std::string& stage) {
    std::vector<std::string> facts;
    for (const char* fact :
         {"kl_coef=0.001", "samples_per_prompt=16", "prompts_per_step=32", "updates_per_rollout=16",
          "reference_refresh_steps=400", "optimizer.schedule=constant", "divide_by_std=true"})
      facts.push_back(absl::StrCat("stages.", stage, ".rl.", fact));
    for (const char* fact :
         {"samples_per_prompt=16", "hard_samples_per_prompt=64", "sampling.temperature=0.6",
          "sampling.top_p=0.95", "sampling.max_new_tokens=32768"})
      facts.push_back(absl::StrCat("stages.", stage, ".evaluation.", fact));
    return facts;
  }

  static double WeightOf(const RewardConfig& reward, const std::string& rule) {
    for (const RuleConfig& each : reward.rules)
      if (each.Name() == rule) return each.gate.empty() ? each.weight : -1;
    return 0;
  }
};

TEST_F(PaperFacts, R1ZeroSaysThem) {
  const std::string recipe = "deepseek_v3/r1_zero_64x8xh800.yaml";
  for (const char* stage : {"zero", "zero_long"}) {
    Expect(recipe, RlFacts(stage));
    const std::string rl = absl::StrCat("stages.", stage, ".rl.");
    Expect(recipe, {rl + "optimizer.learning_rate=3e-6", rl + "sampling.temperature=1.0",
                    rl + "problems.template=r1"});
  }
  Expect(recipe, {"stages.zero.from=DeepSeek-V3-Base", "stages.zero.rl.steps=8200",
                  "stages.zero.rl.sampling.max_new_tokens=32768", "stages.zero_long.from=zero",
                  "stages.zero_long.rl.steps=2200", "stages.zero_long.rl.sampling.max_new_tokens=65536"});
  const RecipeConfig read = *ReadRecipeFields(PathOf(recipe), {});
  EXPECT_THAT(read.stages, SizeIs(2));
  EXPECT_THAT(read.rl.reward.rules, SizeIs(2));
  EXPECT_EQ(WeightOf(read.rl.reward, "accuracy"), WeightOf(read.rl.reward, "format"));
}

TEST_F(PaperFacts, R1SaysThem) {
  const std::string recipe = "deepseek_v3/r1_64x8xh800.yaml";
  for (const auto& [stage, temperature] : std::map<std::string, std::string>{
           {"reason", "1.0"}, {"all_scenarios", "0.7"}, {"preferences", "0.7"}}) {
    Expect(recipe, RlFacts(stage));
    const std::string rl = absl::StrCat("stages.", stage, ".rl.");
    Expect(recipe, {rl + "optimizer.learning_rate=3e-6", rl + "clip_low=10", rl + "clip_high=10",
                    rl + "sampling.max_new_tokens=32768", rl + "sampling.temperature=" + temperature});
  }
  for (const char* stage : {"cold_start", "sft"}) {
    const std::string sft = absl::StrCat("stages.", stage, ".sft.");
    Expect(recipe, {absl::StrCat("stages.", stage, ".from=DeepSeek-V3-Base"), sft + "epochs=2",
                    sft + "prompts_per_step=128", sft + "optimizer.learning_rate=5e-5",
                    sft + "optimizer.schedule=cosine", sft + "optimizer.final_fraction=0.1"});
  }
  Expect(recipe, {"stages.reason.from=cold_start", "stages.rejection.kind=collect",
                  "stages.rejection.from=reason", "stages.all_scenarios.from=sft",
                  "stages.all_scenarios.rl.steps=1300", "stages.preferences.from=all_scenarios",
                  "stages.preferences.rl.steps=400", "stages.reason.rl.problems.weights=[26,17,8,22,15]",
                  "stages.preferences.rl.problems.weights=[26,17,8,22,15,66,12]"});
  const RecipeConfig read = *ReadRecipeFields(PathOf(recipe), {});
  // The longest document, which ranks of cp share.
  for (const StageConfig& stage : read.stages)
    EXPECT_TRUE(stage.kind != StageKind::kSft || stage.sft.tokens_per_microbatch * read.mesh.cp == 32768);
  EXPECT_THAT(read.stages, SizeIs(6));
  for (const StageConfig& stage : read.stages) {
    const RewardConfig& reward = stage.kind == StageKind::kCollect ? stage.collect.reward : stage.rl.reward;
    for (const char* rule : {"accuracy", "format", "language"})
      EXPECT_EQ(WeightOf(reward, rule), stage.kind == StageKind::kSft ? WeightOf(reward, rule) : 1)
          << stage.name << ", " << rule;
  }
}

TEST_F(PaperFacts, R1ZeroOfQwenSaysThem) {
  const std::string recipe = "qwen2.5/r1_zero_32b_8x8xh200.yaml";
  Expect(recipe, RlFacts("zero"));
  Expect(recipe,
         {"stages.zero.from=Qwen2.5-32B", "stages.zero.rl.steps=10400",
          "stages.zero.rl.optimizer.learning_rate=2e-6", "stages.zero.rl.sampling.max_new_tokens=32768",
          "stages.zero.rl.sampling.temperature=1.0", "stages.zero.rl.problems.template=r1"});
}

TEST_F(PaperFacts, DistillationsSayThem) {
  struct Distillation {
    const char *stem, *from, *learning_rate;
  };
  for (const Distillation& each :
       std::vector<Distillation>{{"qwen2.5/distill_1.5b_", "Qwen2.5-Math-1.5B", "1e-4"},
                                 {"qwen2.5/distill_7b_", "Qwen2.5-Math-7B", "8e-5"},
                                 {"qwen2.5/distill_14b_", "Qwen2.5-14B", "7e-5"},
                                 {"qwen2.5/distill_32b_", "Qwen2.5-32B", "6e-5"},
                                 {"llama3/distill_8b_", "Llama-3.1-8B", "5e-5"},
                                 {"llama3/distill_70b_", "Llama-3.3-70B-Instruct", "2e-5"}}) {
    int found = 0;
    for (const auto& [recipe, cluster] : Recipes()) {
      if (!absl::StartsWith(recipe, each.stem)) continue;
      ++found;
      const RecipeConfig read = *ReadRecipeFields(PathOf(recipe), {});
      // The longest document, which ranks of cp share.
      EXPECT_EQ(read.stages[0].sft.tokens_per_microbatch * read.mesh.cp, 32768) << recipe;
      const std::string stage = "stages.distill.", sft = stage + "sft.";
      Expect(recipe,
             {absl::StrCat(stage, "from=", each.from), stage + "kind=sft", sft + "epochs=2",
              sft + "prompts_per_step=64", absl::StrCat(sft, "optimizer.learning_rate=", each.learning_rate),
              sft + "optimizer.schedule=cosine", sft + "optimizer.final_fraction=0.1"});
    }
    EXPECT_EQ(found, 1) << each.stem;
  }
}

}  // namespace
}  // namespace temper
