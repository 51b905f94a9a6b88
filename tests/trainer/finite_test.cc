// SPDX-License-Identifier: Apache-2.0
// Training that leaves the numbers: nothing of it is kept, and what is finite and beyond sense is told.
#include <cmath>

#include "absl/strings/match.h"
#include "comm/threads.h"
#include "core/metrics.h"
#include "gmock/gmock.h"
#include "tests/trainer/small_recipe.h"
#include "trainer/alarms.h"
#include "trainer/run_directory/checkpoint.h"

namespace temper {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Weights grow ninefold with each update, embeddings from where their squares are no f32, which leaves no
// gradient.
const std::vector<std::string> kGrowing = {
    "stages.base.pretrain.optimizer.learning_rate=10", "stages.base.pretrain.optimizer.schedule=constant",
    "stages.base.pretrain.optimizer.warmup_steps=0",   "stages.base.pretrain.optimizer.weight_decay=1",
    "stages.base.pretrain.optimizer.clip_norm=0",      "stages.base.pretrain.init.embedding_std=1e30",
    "stages.base.pretrain.checkpoint_every=1",         "stages.base.pretrain.epochs=3",
};

class Finite : public ::testing::Test {
 protected:
  Finite() { WriteSmallModel(folder_ / "model"); }

  // Stage base alone, on each rank.
  std::vector<absl::Status> Run(const std::vector<std::string>& overrides, int ranks = 1) {
    RecipeConfig recipe = SmallRecipe(folder_ / "model", overrides);
    recipe.stages.resize(1);
    std::vector<absl::Status> statuses(ranks);
    ThreadWorld(ranks).Run(
        [&](Communicator& comm) { statuses[comm.rank()] = RunRecipe(recipe, folder_ / "run", comm, Never); });
    return statuses;
  }
  std::vector<MetricsLine> Lines() {
    return ReadMetrics(folder_ / "run/metrics.jsonl").value_or(std::vector<MetricsLine>());
  }

  TestFolder folder_;
};

TEST_F(Finite, AnUpdateThatMakesNanIsNotKeptAndTheLastGoodStateIsNamed) {
  for (const int ranks : {1, 2}) {
    std::filesystem::remove_all(folder_ / "run");
    const std::vector<absl::Status> statuses = Run(kGrowing, ranks);
    EXPECT_THAT(
        std::string(statuses[0].message()),
        AllOf(HasSubstr("stage base, update "), HasSubstr("AdamW made a weight or a moment of model."),
              HasSubstr("NaN or infinite: nothing of this update is kept"),
              HasSubstr("optimizer.learning_rate (10)"), HasSubstr("epsilon (1e-08)"),
              HasSubstr("run/base/checkpoints/step-"), HasSubstr("is the last good state")));
    for (const absl::Status& status : statuses) EXPECT_FALSE(status.ok());
    // As many updates as are good are told and kept, and the same command comes as far again.
    const std::string checkpoint = LatestCheckpoint(folder_ / "run/base/checkpoints").value_or("");
    ASSERT_NE(checkpoint, "");
    EXPECT_THAT(std::string(statuses[0].message()), HasSubstr(checkpoint));
    EXPECT_EQ(ReadTrainingState(checkpoint)->step, Lines().back().step);
    EXPECT_EQ(Run(kGrowing, ranks)[0].message(), statuses[0].message());
    EXPECT_EQ(LatestCheckpoint(folder_ / "run/base/checkpoints").value_or(""), checkpoint);
  }
}

// What an update with a gradient that is no number, or too large for gradient_bits, leaves: the weights.
TEST_F(Finite, AnUpdateWhoseGradientIsOutOfRangeIsSkippedAndCounted) {
  testing::internal::CaptureStderr();
  ASSERT_TRUE(
      Run({"stages.base.pretrain.gradient_bits=63", "stages.base.pretrain.optimizer.learning_rate=0.3"})[0]
          .ok());
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_THAT(said,
              HasSubstr("the gradient of one of the 4 gradient_leaves has a value that is not finite, or "
                        "is 0.125 or more (fewer gradient_bits than 63 take larger ones): the update is "
                        "skipped (updates/out_of_range counts them)"));
  int skipped = 0, taken = 0;
  for (const MetricsLine& line : Lines()) {
    const bool out = *line.Find("updates/out_of_range") == 1;
    ++(out ? skipped : taken);
    EXPECT_EQ(std::isnan(*line.Find("gradient_norm")), out);
  }
  EXPECT_GT(skipped, 0);
  EXPECT_GT(taken, 0);
}

TEST_F(Finite, AStageThatNoGradientMovesIsAnError) {
  const std::vector<std::string> none = {"stages.base.pretrain.optimizer.clip_norm=0",
                                         "stages.base.pretrain.init.head_gain=1e30"};
  for (const int ranks : {1, 2, 3}) {
    std::filesystem::remove_all(folder_ / "run");
    const std::vector<absl::Status> statuses = Run(none, ranks);
    EXPECT_THAT(
        std::string(statuses[0].message()),
        AllOf(HasSubstr("stage base, update 6: the gradient of one of the 4 gradient_leaves has a value "
                        "that is not finite, or is 1024 or more"),
              HasSubstr(", the 6th time in a row: "),
              HasSubstr("checkpoints/step-000004 is the last good state")));
    for (const absl::Status& status : statuses) EXPECT_FALSE(status.ok());
  }
}

TEST_F(Finite, GradientsOutOfRangeInARowAreCountedOverAResume) {
  const std::vector<std::string> none = {
      "stages.base.pretrain.optimizer.clip_norm=0", "stages.base.pretrain.init.head_gain=1e30",
      "stages.base.pretrain.checkpoint_every=1", "stages.base.pretrain.epochs=3"};
  const absl::Status status = Run(none)[0];
  EXPECT_THAT(std::string(status.message()), HasSubstr("stage base, update 10: "));
  EXPECT_THAT(std::string(status.message()), HasSubstr("step-000009 is the last good state"));
  EXPECT_EQ(Run(none)[0].message(), status.message());
}

TEST_F(Finite, SettingsThatF32CannotTellFromNoneAreRefusedByKey) {
  const std::pair<const char*, const char*> refused[] = {
      {"optimizer.epsilon=0", "must be 1e-37 to 1"},
      {"optimizer.epsilon=1e-40", "must be 1e-37 to 1"},
      {"optimizer.beta1=0.99999999", "must be 0 to 0.9999999"},
      {"optimizer.beta2=1", "must be 0 to 0.9999999"},
      {"optimizer.learning_rate=1e30", "must be 0 to 10"},
      {"optimizer.learning_rate=1e-46", "is 0 in f32"},
      {"optimizer.clip_norm=1e-46", "would cut gradients to 0"},
      {"optimizer.clip_norm=1e39", "must be 0 to 1e+30"},
      {"init.head_gain=1e39", "must be 0 to 1e+30"},
      {"init.linear_gain=1e39", "must be 0 to 1e+30"},
      {"init.embedding_std=1e39", "must be 0 to 1e+30"}};
  for (const auto& [setting, range] : refused) {
    RecipeConfig recipe;
    const std::string override = std::string("stages.base.pretrain.") + setting;
    const absl::Status status =
        ReadConfig(SmallRecipeText(folder_ / "model"), "small.yaml", {override}, recipe);
    EXPECT_THAT(std::string(status.message()), AllOf(HasSubstr(override), HasSubstr(range)));
    // The bounds themselves differ from 0 and 1.
    EXPECT_GT(static_cast<float>(1e-37), 0.0f);
    EXPECT_LT(static_cast<float>(0.9999999), 1.0f);
  }
}

TEST_F(Finite, CoefficientsThatF32CannotHoldAreRefusedByKey) {
  const std::pair<const char*, const char*> refused[] = {
      {"kl_coef=1e300", "must be 0 to 1e+30"},
      {"clip_low=1e39", "must be 0 to 1e+30"},
      {"clip_high=1e39", "must be 0 to 1e+30"},
      {"advantage_epsilon=1e39", "must be 0 to 1e+30"},
      {"reward.rules=[{rule: format, weight: 1e39}]", "must be -1000000 to 1000000"}};
  for (const auto& [setting, range] : refused) {
    RecipeConfig recipe;
    const std::string override = std::string("stages.zero.rl.") + setting;
    const absl::Status status =
        ReadConfig(SmallRecipeText(folder_ / "model"), "small.yaml", {override}, recipe);
    EXPECT_THAT(std::string(status.message()), AllOf(HasSubstr(override), HasSubstr(range)));
  }
}

std::vector<std::string> FiguresOf(const StepResult& update) {
  std::vector<std::string> figures;
  for (const Alarm& alarm : AlarmsOf(update, 357)) figures.push_back(alarm.figure);
  return figures;
}

TEST_F(Finite, TrainingBeyondSenseRaisesAlarmsByName) {
  StepResult update;
  update.sums.loss = 9 * std::log(357.0);
  update.gradient_norm = 9e4;
  update.growth = 99;
  EXPECT_THAT(FiguresOf(update), ElementsAre());
  update.sums.loss = -11 * std::log(357.0);
  EXPECT_THAT(FiguresOf(update), ElementsAre("alarm/loss"));
  update.sums.loss = NAN;
  update.gradient_norm = 2e5;
  update.growth = 101;
  EXPECT_THAT(FiguresOf(update), ElementsAre("alarm/loss", "alarm/gradient_norm", "alarm/weights"));
  update.skipped = true;
  EXPECT_THAT(FiguresOf(update), ElementsAre());
}

TEST_F(Finite, AlarmsOfARunAreWarningsOnceAndFiguresAndAnOrdinaryRunHasNone) {
  testing::internal::CaptureStderr();
  ASSERT_TRUE(Run({"stages.base.pretrain.optimizer.learning_rate=10"})[0].ok());
  const std::string said = testing::internal::GetCapturedStderr();
  const size_t at = said.find("alarm/loss: the loss is ");
  ASSERT_NE(at, said.npos) << said;
  EXPECT_EQ(said.find("alarm/loss", at + 1), said.npos) << said;
  EXPECT_THAT(said, HasSubstr("look at optimizer.learning_rate ("));
  const std::vector<MetricsLine> lines = Lines();
  ASSERT_FALSE(lines.empty());
  EXPECT_NE(lines.back().Find("alarm/loss"), nullptr);
  std::filesystem::remove_all(folder_ / "run");
  ASSERT_TRUE(Run({})[0].ok());
  for (const MetricsLine& line : Lines()) {
    for (const auto& [name, value] : line.values) EXPECT_FALSE(absl::StartsWith(name, "alarm/")) << name;
  }
}

}  // namespace
}  // namespace temper
