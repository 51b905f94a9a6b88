// SPDX-License-Identifier: Apache-2.0
// A recipe that is corrected between the starts of a run, and the checkpoints that a run keeps.
#include "trainer/run_directory/corrections.h"

#include <limits>
#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "comm/threads.h"
#include "core/files/sealed.h"
#include "core/metrics.h"
#include "gmock/gmock.h"
#include "tests/trainer/small_recipe.h"
#include "trainer/run_directory/checkpoint.h"
#include "trainer/run_directory/run_directory.h"

namespace temper {
namespace {

using ::testing::HasSubstr;

class Corrections : public ::testing::Test {
 protected:
  Corrections() { WriteSmallModel(folder_ / "model"); }

  // Stages base and zero alone.
  RecipeConfig Of(const std::vector<std::string>& overrides) {
    RecipeConfig recipe = SmallRecipe(folder_ / "model", overrides);
    recipe.stages.resize(2);
    return recipe;
  }
  absl::Status Run(const RecipeConfig& recipe, const std::string& run, int ranks = 1,
                   int64_t stop_after = std::numeric_limits<int64_t>::max()) {
    absl::Status first;
    ThreadWorld world(ranks);
    world.Run([&](Communicator& comm) {
      int64_t calls = 0;
      const absl::Status status =
          RunRecipe(recipe, folder_ / run, comm, [&] { return ++calls > stop_after; });
      if (comm.rank() == 0) {
        first = status;
        calls_ = calls;
      }
    });
    return first;
  }
  absl::Status Run(const std::vector<std::string>& overrides, const std::string& run) {
    return Run(Of(overrides), run);
  }
  std::string DigestOf(const std::string& run) { return Digest(folder_ / run); }
  // As an undisturbed run of these overrides ends.
  std::string Undisturbed(const std::vector<std::string>& overrides) {
    const absl::Status status = Run(overrides, "undisturbed");
    EXPECT_TRUE(status.ok()) << status;
    const std::string digest = DigestOf("undisturbed");
    std::filesystem::remove_all(folder_ / "undisturbed");
    return digest;
  }
  std::string Read(const std::string& file) { return ReadFile(folder_ / file).value_or(""); }
  std::vector<std::string> CheckpointsOf(const std::string& stage) {
    std::vector<std::string> names;
    const auto paths = Checkpoints(CheckpointsDirectory(folder_ / stage));
    for (const std::string& path : paths.value()) names.push_back(path.substr(path.rfind('/') + 1));
    return names;
  }

  TestFolder folder_;
  int64_t calls_ = 0;  // of stop, in the last run
};

// As temper left runs before it said its numerics.
TEST_F(Corrections, OfOtherNumericsARunIsRefusedByNameAndItsWeightsAreNot) {
  const RecipeConfig recipe = Of({"stages.base.pretrain.checkpoint_every=1"});
  ASSERT_TRUE(Run(recipe, "whole").ok());
  ASSERT_TRUE(absl::IsCancelled(Run(recipe, "run", 1, calls_ / 8)));
  const std::string config = Read("run/config.yaml"), path = folder_ / "run/config.yaml";
  std::string first = ReadSealedYaml(path).value();
  ASSERT_EQ(first.rfind("numerics: 2\n", 0), 0u) << first;
  ASSERT_TRUE(WriteFileAtomic(path, SealedYaml(first.substr(first.find('\n') + 1))).ok());
  const char kRefused[] = ", and this temper has numerics 2, other bits: finish ";
  EXPECT_THAT(std::string(Run(recipe, "run").message()),
              HasSubstr(absl::StrCat(path, ": the run was begun with numerics 1", kRefused)));
  // A checkpoint alone, as if it were copied here.
  ASSERT_TRUE(WriteFileAtomic(path, config).ok());
  const std::string checkpoint = LatestCheckpoint(folder_ / "run/base/checkpoints").value();
  const std::string state = checkpoint + "/state/state.json";
  Json json = ReadSealedJson(state).value();
  EXPECT_EQ(json["numerics"], 2);
  json.erase("numerics");
  ASSERT_TRUE(WriteSealedJson(state, json).ok());
  EXPECT_THAT(std::string(Run(recipe, "run").message()),
              HasSubstr(absl::StrCat(state, ": numerics 1", kRefused)));
  RecipeConfig from = recipe;
  from.stages.erase(from.stages.begin());
  from.stages[0].from = checkpoint;
  const absl::Status status = Run(from, "from");
  EXPECT_TRUE(status.ok()) << status;
}

TEST_F(Corrections, OfWhatReachesNoBitLeaveTheDigestOnAnyRanks) {
  const std::string expected = Undisturbed({});
  const int64_t all = calls_;
  const std::vector<std::string> changes[] = {
      {"stages.base.pretrain.tokens_per_microbatch=16", "rl.tokens_per_microbatch=48", "rl.recompute=true",
       "rl.reference_in_memory=false"},
      {"rl.sampling.cache_mib=1", "rl.sampling.max_batch=2", "rl.sampling.draft_tokens=0",
       "evaluation.sampling.max_batch=3", "threads=2"},
      {"rl.checkpoint_every=3", "rl.keep_last=3", "rl.checkpoint_minutes=0.001"}};
  for (const int64_t stop_after : {all / 16, all / 3, all / 2}) {
    const std::string run = absl::StrCat("changed-", stop_after);
    ASSERT_TRUE(absl::IsCancelled(Run(Of({}), run, 1, stop_after)));
    for (int i = 0; i < 2; ++i) {
      const absl::Status status = Run(Of(changes[i]), run, 1 + i, all / 8);
      ASSERT_TRUE(status.ok() || absl::IsCancelled(status)) << status;
    }
    const absl::Status status = Run(Of(changes[2]), run, 4);
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_EQ(DigestOf(run), expected) << stop_after;
  }
  EXPECT_THAT(Read(absl::StrCat("changed-", all / 3, "/config_history.txt")),
              HasSubstr(": stages.zero.rl.sampling.cache_mib: 1024 -> 1\n"));
}

TEST_F(Corrections, OfAStageThatHasNotBegunAreAsIfTheyHadBeenThereFromTheBeginning) {
  const std::vector<std::string> changes = {"stages.zero.rl.kl_coef=0.5",
                                            "stages.zero.rl.sampling.temperature=0.7",
                                            "stages.zero.evaluation.problems=3"};
  const std::string expected = Undisturbed(changes);
  ASSERT_TRUE(absl::IsCancelled(Run(Of({}), "later", 1, 4)));
  // In zero's first rollout, whose samples are of other settings then.
  for (int64_t calls = 8; !FileExists(folder_ / "sampled/zero/trajectories/rollout-000000.rank-0.records");
       ++calls) {
    std::filesystem::remove_all(folder_ / "sampled");
    ASSERT_TRUE(absl::IsCancelled(Run(Of({}), "sampled", 1, calls)));
  }
  ASSERT_EQ(CheckpointsOf("sampled/zero").size(), 0u);
  for (const char* run : {"later", "sampled"}) {
    const absl::Status status = Run(changes, run);
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_EQ(DigestOf(run), expected) << run;
    EXPECT_THAT(Read(absl::StrCat(run, "/config_history.txt")),
                HasSubstr("stages.zero.rl.kl_coef: 0.02 -> 0.5\n"));
    EXPECT_THAT(Read(absl::StrCat(run, "/config.yaml")), HasSubstr("kl_coef: 0.5\n"));
  }
}

// One measurement has one setting: what was drawn for the old one goes, also where a stop came in its middle.
TEST_F(Corrections, OfAnEvaluationThatAStopCutOffMeasureItAnewAndNoneThatWasFinished) {
  const std::string set = "stages.zero.evaluation.", temperature = set + "sampling.temperature=0.3";
  const std::vector<std::string> changes = {set + "samples_per_prompt=3", temperature,
                                            set + "during_problems=3"};
  const auto figures = [&](const std::string& run, int64_t from, int64_t to) {
    std::map<std::string, double> all;
    const auto lines = ReadMetrics(folder_ / run + "/metrics.jsonl");
    EXPECT_TRUE(lines.ok()) << lines.status();
    for (const MetricsLine& line : lines.value()) {
      if (line.stage != "zero" || line.step < from || line.step > to) continue;
      for (const auto& [name, value] : line.values) {
        if (name.rfind("eval/", 0) == 0 || name.rfind("reward/", 0) == 0)
          all[absl::StrCat(line.step, " ", name)] = value;
      }
    }
    return all;
  };
  ASSERT_TRUE(Run(std::vector<std::string>{}, "old").ok());
  const int64_t all = calls_;
  ASSERT_TRUE(Run(changes, "new").ok());
  ASSERT_NE(figures("old", 2, 2), figures("new", 2, 2));
  // Stops in the middle of the evaluations after updates 2 and 4.
  std::set<int64_t> cut_off;
  for (int64_t stop_after = all / 2; stop_after < all; ++stop_after) {
    std::filesystem::remove_all(folder_ / "run");
    ASSERT_TRUE(absl::IsCancelled(Run(Of({}), "run", 1, stop_after)));
    const std::string newest = LatestCheckpoint(folder_ / "run/zero/checkpoints").value();
    if (newest.empty()) continue;
    const TrainingState state = ReadTrainingState(newest).value();
    if (state.cut_off.is_null() || cut_off.count(state.step) > 0) continue;
    const std::string records =
        absl::StrFormat("%s/run/zero/evaluation/during-%06d.rank-0.records", folder_.path(), state.step);
    if (!FileExists(records)) continue;
    cut_off.insert(state.step);
    const absl::Status status = Run(changes, "run");
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_EQ(figures("run", state.step, 4), figures("new", state.step, 4)) << stop_after;
    EXPECT_EQ(figures("run", 1, state.step - 1), figures("old", 1, state.step - 1)) << stop_after;
  }
  EXPECT_THAT(cut_off, ::testing::ElementsAre(2, 4));
}

TEST_F(Corrections, OfARunThatTrainedNothingAreFree) {
  const std::string expected = Undisturbed({"seed=8", "stages.base.pretrain.prompts_per_step=6"});
  ASSERT_TRUE(MakeDirectories(folder_ / "nothing").ok());
  ASSERT_TRUE(WriteFileAtomic(folder_ / "nothing/config.yaml", SealedYaml(WriteConfig(Of({})))).ok());
  const absl::Status status = Run({"seed=8", "stages.base.pretrain.prompts_per_step=6"}, "nothing");
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(DigestOf("nothing"), expected);
}

TEST_F(Corrections, MoreUpdatesOrPassesEqualARunMadeWithThemFromTheBeginning) {
  const std::string constant = "stages.base.pretrain.optimizer.schedule=constant";
  const std::string more = Undisturbed({"rl.steps=5"}),
                    passes = Undisturbed({constant, "stages.base.pretrain.epochs=2"});
  ASSERT_TRUE(Run({"rl.steps=3"}, "grown").ok());
  const absl::Status status = Run({"rl.steps=5"}, "grown");
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(DigestOf("grown"), more);
  EXPECT_THAT(Read("grown/config_history.txt"), HasSubstr("stages.zero.rl.steps: 3 -> 5\n"));
  // In its middle, and before the next stage has begun.
  ASSERT_TRUE(absl::IsCancelled(Run(Of({constant}), "passes", 1, 3)));
  ASSERT_TRUE(Run({constant, "stages.base.pretrain.epochs=2"}, "passes").ok());
  EXPECT_EQ(DigestOf("passes"), passes);
}

TEST_F(Corrections, ThatWouldReachWhatIsTrainedAreRefusedByKeyValuesAndAdvice) {
  const std::vector<std::string> linear = {"stages.zero.rl.optimizer.schedule=linear"};
  ASSERT_TRUE(Run(linear, "run").ok());
  const std::string before = Read("run/config.yaml");
  const auto refusal = [&](const std::string& change) {
    const absl::Status status = Run({linear[0], change}, "run");
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << change;
    EXPECT_THAT(std::string(status.message()), HasSubstr("run/config.yaml:")) << change;
    return std::string(status.message());
  };
  EXPECT_THAT(refusal("rl.kl_coef=0.5"),
              HasSubstr("stages.zero.rl.kl_coef: 0.02 there, 0.5 now: stage zero is "
                        "finished: set it back"));
  EXPECT_THAT(refusal("seed=9"), HasSubstr("seed: 7 there, 9 now: stage base began with it"));
  EXPECT_THAT(refusal("rl.steps=6"),
              HasSubstr("stages.zero.rl.steps: 4 there, 6 now: its schedule would have"));
  EXPECT_THAT(refusal("rl.steps=2"),
              HasSubstr("4 updates are done already: say at least as many; or set it back"));
  EXPECT_THAT(
      refusal("stages.base.pretrain.epochs=2"),
      HasSubstr("stage zero after it has begun: to go on here remove " + (folder_ / "run/zero") + "; or"));
  EXPECT_EQ(Read("run/config.yaml"), before);
  EXPECT_TRUE(Run(linear, "run").ok());
}

TEST_F(Corrections, LeaveAFinishedStageTheFieldsItWasMadeWith) {
  ASSERT_TRUE(Run(std::vector<std::string>{}, "run").ok());
  ASSERT_TRUE(Run({"rl.tokens_per_microbatch=32"}, "run").ok());
  RecipeConfig kept;
  ASSERT_TRUE(ReadConfigFile(folder_ / "run/config.yaml", {}, kept).ok());
  EXPECT_EQ(kept.rl.tokens_per_microbatch, 32);
  EXPECT_EQ(kept.stages[1].rl.tokens_per_microbatch, 64);
}

TEST_F(Corrections, ARunKeepsItsMilestonesItsBestAndTheLastTwo) {
  const std::vector<std::string> keep = {"rl.checkpoint_every=1",
                                         "rl.checkpoint_minutes=0",
                                         "rl.steps=8",
                                         "stages.zero.rl.keep_every=3",
                                         "rl.keep_best=reward/mean",
                                         "stages.base.pretrain.checkpoint_in_background=false"};
  ASSERT_TRUE(Run(keep, "kept").ok());
  const auto lines = ReadMetrics(folder_ / "kept/metrics.jsonl");
  ASSERT_TRUE(lines.ok()) << lines.status();
  int64_t best = 0;
  double value = 0;
  for (const MetricsLine& line : *lines) {
    // What a checkpoint, after each second update, kept waiting is in the line of the next one alone.
    if (line.stage == "base") {
      EXPECT_EQ(*line.Find("time/checkpoint_stall") > 0, line.step > 1 && line.step % 2 == 1) << line.step;
    }
    if (line.stage != "zero" || (best != 0 && *line.Find("reward/mean") <= value)) continue;
    best = line.step;
    value = *line.Find("reward/mean");
  }
  std::set<std::string> expected = {"step-000003", "step-000006", "step-000007", "step-000008",
                                    absl::StrFormat("step-%06d", best)};
  EXPECT_THAT(CheckpointsOf("kept/zero"), ::testing::ElementsAreArray(expected));
  // By the clock alone none is due in so short a stage but the one at its end.
  ASSERT_TRUE(Run({"rl.checkpoint_every=0", "stages.base.pretrain.checkpoint_every=0",
                   "stages.base.pretrain.keep_every=4", "stages.base.pretrain.keep_best=-learning_rate",
                   "stages.base.pretrain.optimizer.schedule=constant",
                   "stages.base.pretrain.optimizer.warmup_steps=100"},
                  "clock")
                  .ok());
  EXPECT_THAT(CheckpointsOf("clock/zero"), ::testing::ElementsAre("step-000004"));
  EXPECT_THAT(
      CheckpointsOf("clock/base"),
      ::testing::ElementsAre("step-000001", "step-000004", "step-000006"));  // the best, a milestone, the end
  // A figure that no update has is told before anything trains, with the one that was meant.
  const absl::Status status = Run({"rl.keep_best=reward/maen"}, "wrong");
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("reward/maen is no figure of its updates; did you mean reward/mean?"));
  EXPECT_FALSE(FileExists(folder_ / "wrong"));
  const std::pair<const char*, const char*> wrong[] = {
      {"rl.keep_best=eval/pass@1", ""},
      {"rl.keep_best=-eval/pass@k", ""},
      {"rl.keep_best=eval/psas@1", "eval/psas@1 is no figure of its updates; did you mean eval/pass@1?"},
      {"stages.base.pretrain.keep_best=-loss", ""},
      {"stages.base.pretrain.keep_best=reward/mean", "reward/mean is no figure of its updates"},
      {"stages.base.pretrain.keep_best=eval/pass@1", "updates, which are not evaluated while it trains"}};
  for (const auto& [set, said] : wrong) {
    const absl::Status checked = CheckRecipe(Of({set}), 1);
    EXPECT_EQ(checked.ok(), said == std::string()) << set << checked;
    EXPECT_THAT(std::string(checked.message()), HasSubstr(said));
  }
  EXPECT_THAT(
      std::string(CheckRecipe(Of({"rl.keep_best=eval/pass@1", "evaluation.during_every=0"}), 1).message()),
      HasSubstr("which is not evaluated: set evaluation.during_every"));
}

}  // namespace
}  // namespace temper
