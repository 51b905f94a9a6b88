// SPDX-License-Identifier: Apache-2.0
#include "tests/trainer/run_directory/disturbed.h"

#include "core/files/leftovers.h"
#include "core/files/sealed.h"
#include "core/metrics.h"
#include "data/record_file.h"
#include "tests/model/odd_models.h"
#include "trainer/run_directory/intact.h"
#include "trainer/run_directory/journal.h"
#include "trainer/run_directory/sums.h"

namespace temper {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::Not;

TEST_F(Disturbed, ByALossOfPowerGoesOnToTheSameBits) { LosePowers(0, 300, 50); }

// Checkpoints that are written while training goes on: a run of its own, whose operations come in the order
// that the threads made.
TEST_F(Disturbed, ByALossOfPowerWhileCheckpointsAreWrittenGoesOnToTheSameBits) {
  RecipeConfig recipe = *recipe_;
  for (StageConfig& stage : recipe.stages)
    stage.rl.checkpoint_in_background = stage.pretrain.checkpoint_in_background = InBackground::kYes;
  const std::string run = *made_ / "background";
  std::filesystem::create_directories(run);
  ForgettingDisk disk(run);
  {
    const DiskInPlace in_place(&disk);
    SelfCommunicator self;
    ASSERT_TRUE(RunRecipe(recipe, run, self, Never).ok());
  }
  EXPECT_EQ(Digest(run), *digest_);
  for (uint64_t seed = 0; seed < 60 && !HasFailure(); ++seed) LosePower(disk, seed, seed % 20 == 0);
}

// A stage whose updates are made up and whose files are a run's own.
class Save : public ::testing::Test {
 protected:
  Save() : policy_(TinyDeepseek(), 1), optimizer_(&policy_.model) {}

  // A start that goes on from what is there, and saves after each update until `steps` are done.
  absl::Status Start(const std::string& run, int64_t steps) {
    const std::string stage = StageDirectory(run, "zero"), checkpoints = CheckpointsDirectory(stage);
    TEMPER_RETURN_IF_ERROR(RemoveLeftovers(run));
    TEMPER_RETURN_IF_ERROR(MakeDirectories(TrajectoriesDirectory(stage)));
    if (!FileExists(FilesPath(run))) TEMPER_RETURN_IF_ERROR(WriteSealedJson(FilesPath(run), {{"files", 1}}));
    if (!FileExists(ConfigPath(run)))
      TEMPER_RETURN_IF_ERROR(WriteFileAtomic(ConfigPath(run), SealedYaml("seed: 1\n")));
    TEMPER_RETURN_IF_ERROR(CheckIntact(run, IntactFor::kStart));
    Journal journal(run);
    TEMPER_RETURN_IF_ERROR(journal.Begin(Json::object()));
    TEMPER_ASSIGN_OR_RETURN(const std::string checkpoint, LatestCheckpoint(checkpoints));
    TrainingState state;
    if (!checkpoint.empty()) {
      TEMPER_ASSIGN_OR_RETURN(state, ReadTrainingState(checkpoint));
    }
    TEMPER_ASSIGN_OR_RETURN(const auto metrics, MetricsWriter::Open(MetricsPath(run), state.metrics.bytes));
    TEMPER_ASSIGN_OR_RETURN(const auto sums, StageSums::Open(stage, state.sums));
    while (state.step < steps) {
      ++state.step;
      const std::string records = RolloutRecords(stage, state.step);
      TEMPER_RETURN_IF_ERROR(RemoveTree(RecordPath(records, 0)));
      TEMPER_ASSIGN_OR_RETURN(const auto writer, RecordWriter::Open(RecordPath(records, 0)));
      const std::string id = absl::StrCat("p", state.step);
      TEMPER_RETURN_IF_ERROR(writer->WritePrompt("zero", state.step, {.id = id, .tokens = {1, 2}}));
      TEMPER_RETURN_IF_ERROR(writer->Sync());
      TEMPER_RETURN_IF_ERROR(sums->AddRecords(records));
      TEMPER_RETURN_IF_ERROR(metrics->Write({"zero", state.step, {{"loss", 0.5}}}));
      TEMPER_RETURN_IF_ERROR(metrics->Sync());
      TEMPER_RETURN_IF_ERROR(sums->Sync());
      state.metrics = metrics->extent();
      state.sums = sums->extent();
      TEMPER_RETURN_IF_ERROR(SaveCheckpoint(checkpoints,
                                            {policy_.model, "configs/tiny/base", optimizer_, state},
                                            {.keep_last = 2, .file_bytes = 30'000}, Mesh::Single().world()));
      TEMPER_RETURN_IF_ERROR(journal.Add("saved", {{"stage", "zero"}, {"step", state.step}}));
    }
    return absl::OkStatus();
  }

  // What counts: the journal and the status tell of clocks.
  static std::map<std::string, std::string> Bytes(const std::string& run) {
    std::map<std::string, std::string> bytes;
    for (const std::string& path : PathsBelow(run)) {
      if (std::filesystem::is_regular_file(run + "/" + path) && !absl::StrContains(path, "journal") &&
          path != "status.json")
        bytes[path] = ReadFile(run + "/" + path).value_or("unreadable");
    }
    return bytes;
  }

  Policy policy_;
  Optimizer optimizer_;
};

TEST_F(Save, WithAFaultAtAnyOfItsOperationsLosesNothingAndGoesOnToTheSameBits) {
  const TestFolder folder;
  const std::string begun = folder / "begun", whole = folder / "whole", run = folder / "run";
  for (const std::string& path : {begun, whole}) ASSERT_TRUE(MakeDirectories(path).ok());
  ASSERT_TRUE(Start(begun, 2).ok());
  ASSERT_TRUE(Start(whole, 4).ok());
  const auto expected = Bytes(whole);
  ASSERT_GE(std::count_if(expected.begin(), expected.end(),
                          [](const auto& file) { return absl::StrContains(file.first, "step-000004/"); }),
            8);
  int points = 0, told = 0;
  for (const Fault fault : kFaults) {
    // Each fault at a few operations, a death and a full disk at all.
    const int64_t step = fault == Fault::kDeath || fault == Fault::kFull ? 1 : 3;
    for (int64_t at = 0;; at += step, ++points) {
      std::filesystem::remove_all(run);
      std::filesystem::copy(begun, run, std::filesystem::copy_options::recursive);
      FailingDisk disk(at, fault);
      absl::Status status;
      {
        const DiskInPlace in_place(&disk);
        status = Start(run, 3);
      }
      if (disk.operations() <= at) break;
      SCOPED_TRACE(absl::StrCat("operation ", at, ", fault ", static_cast<int>(fault), ": ", disk.failed()));
      if (!status.ok()) {
        ++told;
        EXPECT_THAT(std::string(status.message()), AnyOf(HasSubstr(run + "/"), HasSubstr(run + ": ")));
        EXPECT_THAT(std::string(status.message()), Not(HasSubstr("\n")));
      }
      const auto newest = LatestCheckpoint(CheckpointsDirectory(StageDirectory(run, "zero")));
      ASSERT_TRUE(newest.ok()) << newest.status();
      EXPECT_TRUE(absl::EndsWith(*newest, "step-000002") || absl::EndsWith(*newest, "step-000003"))
          << *newest;
      EXPECT_TRUE(CheckCheckpoint(*newest).ok());
      const absl::Status again = Start(run, 4);
      EXPECT_TRUE(again.ok()) << again;
      EXPECT_EQ(Bytes(run), expected);
      if (HasFailure()) return;
    }
  }
  EXPECT_GE(points, 200);
  EXPECT_GT(told, points / 2);
  RecordProperty("points", points);
}

}  // namespace
}  // namespace temper
