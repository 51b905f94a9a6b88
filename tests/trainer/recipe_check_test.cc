// SPDX-License-Identifier: Apache-2.0
// What is wrong with a recipe's fields together is told by the line that says it.
#include <filesystem>

#include "gmock/gmock.h"
#include "tests/trainer/small_recipe.h"
#include "trainer/plan/plan.h"

namespace temper {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr char kRecipe[] = R"(rl:
  prompts_per_step: 4
  gradient_leaves: 8
  problems: {generator: tiny, chain_steps: [2, 4]}
stages:
  base:
    kind: pretrain
    pretrain:
      init:
        directory: configs/tiny/base
      documents:
        - {kind: corpus, count: 8}
        - kind: cold_start
          count: 3
  zero:
    kind: rl
    from: base
    rl:
      steps: 2
      sampling:
        max_new_tokens: 20
      reward:
        rules: [{rule: accuracy}]
  kept:
    kind: collect
    from: zero
  last:
    kind: sft
    from: base
    sft:
      documents:
        - {kind: collect, stage: kept}
)";

class RecipeCheck : public ::testing::Test {
 protected:
  // The whole error of the recipe after one replacement, and with overrides.
  std::string ErrorOf(const std::string& from, const std::string& to,
                      const std::vector<std::string>& overrides = {}, int ranks = 1) const {
    std::string text = kRecipe;
    const size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    if (at != std::string::npos) text.replace(at, from.size(), to);
    EXPECT_TRUE(WriteFileAtomic(path_, text).ok());
    const auto recipe = ReadRecipe(path_, overrides, ranks);
    EXPECT_EQ(recipe.status().code(),
              recipe.ok() ? absl::StatusCode::kOk : absl::StatusCode::kInvalidArgument);
    return std::string(recipe.status().message());
  }

  const TestFolder folder_;
  const std::string path_ = folder_ / "r.yaml";
};

TEST_F(RecipeCheck, NamesFileLineAndKeyAsTheReaderDoes) {
  struct Mistake {
    std::string from, to, error;
    int ranks = 1;
  };
  const Mistake mistakes[] = {
      {"rl:", "device: cdua\nrl:", ":1: device: "},
      {"rl:", "date: 2026-02-30\nrl:", ":1: date: 2026-02-30 is no day: YYYY-MM-DD"},
      {"rl:", "date: tomorrow\nrl:", ":1: date: tomorrow is no day: YYYY-MM-DD"},
      {"rl:", "numerics: 1\nrl:",
       ":1: numerics: is 1, and this temper has numerics 2, other bits: leave it out"},
      {"rl:", "mesh: {cp: 3}\nrl:", ":1: mesh: mesh.cp is 3, but ranks share out the 16 stretches", 3},
      {"rl:", "mesh: {ep: 3}\nrl:", ":1: mesh: mesh.ep is 3, but with mesh.tp 1 it has to share out 8", 3},
      {"rl:", "mesh: {pp: 3, pp_chunks: 9}\nrl:",
       ":1: mesh: mesh.pp is 3, but with mesh.pp_chunks 9 the policy has ", 3},
      {"rl:", "mesh: {pp: 3}\nrl:", ":1: mesh: mesh.pp is 3, and 4 ranks were started", 4},
      {"rl:", "mesh: {dp_replicate: 2}\nrl:",
       ":1: mesh: mesh.dp_replicate is 2, and 4 ranks were started: start 2 ranks", 4},
      {"rl:", "mesh: {tq: 2}\nrl:", ":1: mesh.tq: "},
      {"rl:", "rollout: {mesh: {cp: 2}}\nrl:", ":1: rollout.mesh.cp: "},
      {"rl:", "rollout: {mesh: {tp: 3}}\nrl:",
       ":1: rollout.mesh: rollout.mesh.tp is 3, and 4 ranks were started", 4},
      {"rl:", "mesh: {pp: 3}\nrollout: {mesh: {tp: 3}}\nrl:",
       ":2: rollout.mesh: rollout.mesh.tp is 3, but it has to divide 8 chunks, ", 3},
      {"gradient_leaves: 8", "gradient_leaves: 6", ":3: rl.gradient_leaves: 6 leaves cannot be shared", 7},
      {"gradient_leaves: 8", "gradient_leaves: 2", ":3: rl.gradient_leaves: 2 leaves cannot be shared", 4},
      {"steps: 2\n", "gradient_leaves: 3\n", ":19: stages.zero.rl.gradient_leaves: 3 leaves cannot be", 4},
      {"[2, 4]", "[4, 2]", ":4: rl.problems.chain_steps: [4, 2] is not [fewest, most]"},
      {"directory: configs", "directory: confgs",
       ":10: stages.base.pretrain.init.directory: confgs/tiny/base has no config.json"},
      {"count: 8", "count: 0", ":12: stages.base.pretrain.documents[0].count: a generator needs one"},
      {"count: 3", "count: 0", ":14: stages.base.pretrain.documents[1].count: a generator needs one"},
      {"count: 8", "count: 1000000000000000",
       ":12: stages.base.pretrain.documents[0].count: is more than 100000000"},
      {"count: 3", "chain_steps: [1]\n          count: 3",
       ":14: stages.base.pretrain.documents[1].chain_steps: [1] is not"},
      {"count: 3", "find_x_steps: [1, 3]\n          count: 3",
       ":14: stages.base.pretrain.documents[1].find_x_steps: a find-x problem has at least 2 operations"},
      {"from: base\n    rl:", "from: bsae\n    rl:",
       ":17: stages.zero.from: bsae is neither a stage before this one nor a model directory; did you mean "
       "base?"},
      {"    from: base\n    rl:", "    rl:", ":15: stages.zero.from: is missing"},
      {"kind: pretrain", "kind: pretrain\n    from: zero", ":8: stages.base.from: zero is neither"},
      {"max_new_tokens: 20", "max_new_tokens: 512",
       ":21: stages.zero.rl.sampling.max_new_tokens: 512 do not fit the model's max_position_embeddings, "
       "512"},
      {"max_new_tokens: 20", "stop_token_ids: [3, 9999]",
       ":21: stages.zero.rl.sampling.stop_token_ids: 9999 is outside the model's vocabulary of "},
      {"max_new_tokens: 20", "min_new_tokens: 113",
       ":21: stages.zero.rl.sampling.min_new_tokens: is more than max_new_tokens"},
      {"{rule: accuracy}", "{rule: accuracy, requires: form}", ":22: stages.zero.rl.reward: "},
      {"stage: kept}", "stage: zero}", ":32: stages.last.sft.documents[0].stage: zero is no collect stage"},
      {"{kind: collect, stage: kept}", "{kind: file, file: nowhere.jsonl}",
       ":32: stages.last.sft.documents[0].file: nowhere.jsonl does not exist"},
      {"{generator: tiny, chain_steps: [2, 4]}", "{weights: []}",
       ":4: rl.problems: there are no problems: write files: [FILE.jsonl], or tasks: [..], or, for the tiny "
       "policies alone, generator: tiny"},
      {"    from: zero\n  last", "    from: zero\n    collect: {problems: {files: [no.jsonl]}}\n  last",
       ":27: stages.kept.collect.problems.files: no.jsonl does not exist"},
      {"  last:\n    kind: sft", "  end:\n    kind: eval\n    from: zero\n  last:\n    kind: sft",
       ":27: stages.end.evaluation.held_out: there are no problems: "},
      {"chain_steps: [2, 4]}", "template: r1}",
       ":4: rl.problems.template: neither it nor suffix is for the tiny"},
      {"  kept:", "  Kept:", ":24: stages.Kept: a stage's name, which is also its folder's, has a-z"},
  };
  EXPECT_EQ(ErrorOf("rl:", "rl:"), "");
  for (const Mistake& mistake : mistakes)
    EXPECT_THAT(ErrorOf(mistake.from, mistake.to, {}, mistake.ranks), StartsWith(path_ + mistake.error));
}

TEST_F(RecipeCheck, AnMtpModuleIsTheConfigsOneAndDrawnBeforeItIsTrained) {
  const std::string trains = "stages.last.sft.mtp_weight=0.1";
  EXPECT_THAT(ErrorOf("rl:", "rl:", {trains}),
              HasSubstr("mtp_weight=0.1: its model has num_nextn_predict_layers 0: temper has"));
  WriteSmallModel(folder_ / "model");
  const std::string model = "stages.base.pretrain.init.directory=" + (folder_ / "model"),
                    draws = "stages.base.pretrain.mtp_weight=0.3";
  EXPECT_THAT(ErrorOf("rl:", "rl:", {model, trains}),
              HasSubstr("mtp_weight=0.1: there is no MTP module in the policy that base draws"));
  EXPECT_EQ(ErrorOf("rl:", "rl:", {model, trains, draws}), "");

  // A directory whose config speaks of a module that its weights lack.
  const std::string header = R"({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}})";
  const std::string size = {static_cast<char>(header.size()), 0, 0, 0, 0, 0, 0, 0};
  ASSERT_TRUE(WriteFileAtomic(folder_ / "model/model.safetensors", size + header + std::string(4, 0)).ok());
  EXPECT_THAT(ErrorOf("rl:", "rl:",
                      {"stages.zero.from=" + (folder_ / "model"), "stages.zero.rl.sampling.drafts=mtp"}),
              AllOf(HasSubstr("rl.sampling.drafts=mtp: there is no MTP module in "),
                    HasSubstr("model.safetensors: no tensor model.layers.2.")));

  EXPECT_THAT(ErrorOf("rl:", "mesh: {cp: 2}\nrl:", {model, trains, draws}, 2),
              HasSubstr("mesh.cp cuts no policy whose MTP module is trained (mtp_weight)"));
}

TEST_F(RecipeCheck, NamesTheOverrideThatSaidIt) {
  const std::pair<std::string, std::string> overrides[] = {
      {"stages.zero.rl.gradient_leaves=5", ": 5 leaves cannot be shared out among 6 ranks"},
      {"rl.gradient_leaves=5", ": 5 leaves cannot be shared out among 6 ranks"},
      {"stages.zero.from=bsae", ": bsae is neither"},
      {"stages.base.pretrain.documents.1.count=0", ": a generator needs one"},
      {"stages.base.pretrain.documents=[]", ": is empty"},
      {"stages.zero.rl.sampling={max_new_tokens: 600}", ": 600 do not fit"},
      {"evaluation.held_out.files=[nowhere]", ": nowhere does not exist"},
      {"device=cdua", ": "},
  };
  for (const auto& [override, what] : overrides)
    EXPECT_THAT(ErrorOf("rl:", "rl:", {override}, 6), StartsWith("--set " + override + what));
}

// Ranks of tp and pp put the same samples through the policy.
TEST_F(RecipeCheck, LeavesAreForTheRanksThatShareTheSamples) {
  EXPECT_EQ(ErrorOf("rl:", "rl:", {"rl.gradient_leaves=2", "mesh.pp=2"}, 4), "");
  EXPECT_THAT(ErrorOf("rl:", "rl:", {"rl.gradient_leaves=2", "mesh.pp=2"}, 6),
              StartsWith("--set rl.gradient_leaves=2: 2 leaves cannot be shared out among 3 ranks"));
}

TEST_F(RecipeCheck, OfARecipeThatWasNotReadFromAFileNamesTheKey) {
  RecipeConfig recipe;
  EXPECT_EQ(CheckRecipe(recipe, 1).message(), "stages: there is none");
}

// The script of a judge lies beside the recipe, from wherever the run is started; `python3` is PATH's.
TEST_F(RecipeCheck, AJudgesScriptIsSoughtBesideTheRecipe) {
  ASSERT_TRUE(WriteFileAtomic(folder_ / "judge.py", "import sys\nfor row in sys.stdin: pass\n").ok());
  ASSERT_TRUE(WriteFileAtomic(folder_ / "python3", "").ok());
  EXPECT_EQ(ErrorOf("[{rule: accuracy}]",
                    "[{rule: accuracy}, {rule: process, command: [python3, judge.py, strict, --rows]}]"),
            "");
  const auto recipe = ReadRecipe(path_, {}, 1);
  ASSERT_TRUE(recipe.ok()) << recipe.status();
  const std::vector<std::string> command = {"python3", folder_ / "judge.py", "strict", "--rows"};
  EXPECT_EQ(recipe->stages[1].rl.reward.rules[1].process.command, command);
}

TEST_F(RecipeCheck, DocumentsAreAFileWhereNoKindIsSaid) {
  ASSERT_TRUE(WriteFileAtomic(folder_ / "d.jsonl", "{\"text\":\"x\"}\n").ok());
  EXPECT_EQ(ErrorOf("{kind: corpus, count: 8}", "{file: d.jsonl}"), "");
  EXPECT_THAT(ErrorOf("{kind: corpus, count: 8}", "{count: 8}"),
              HasSubstr("stages.base.pretrain.documents[0].file: is missing"));
}

// A stage's `from` may be a model directory that is called as the stage itself or a later one.
TEST_F(RecipeCheck, AModelDirectoryOfAStagesNameIsADirectory) {
  for (const char* name : {"zero", "base"}) WriteSmallModel(folder_ / name);
  RecipeConfig recipe = SmallRecipe(folder_ / "base");
  recipe.stages.resize(2);
  std::swap(recipe.stages[0], recipe.stages[1]);  // zero, then base
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::current_path(folder_.path());
  for (const char* from : {"zero", "base"}) {
    recipe.stages[0].from = from;
    EXPECT_EQ(recipe.StageBefore(recipe.stages[0]), nullptr);
    EXPECT_TRUE(CheckRecipe(recipe, 1).ok()) << CheckRecipe(recipe, 1);
    EXPECT_TRUE(PlanText(recipe, 1).ok());
  }
  std::filesystem::current_path(before);
}

}  // namespace
}  // namespace temper
