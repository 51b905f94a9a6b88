// SPDX-License-Identifier: Apache-2.0
// All seeds of a loss of power, and a death and a fault at each operation of a whole run.
#include <utility>

#include "tests/trainer/run_directory/disturbed.h"

namespace temper {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// In slices, which may run side by side: each has its share of the seeds, and every so-many-th operation.
constexpr int kSlices = 10;
class DisturbedSlice : public Disturbed, public ::testing::WithParamInterface<int> {};
INSTANTIATE_TEST_SUITE_P(OfTen, DisturbedSlice, ::testing::Range(0, kSlices));

TEST_P(DisturbedSlice, ByALossOfPowerGoesOnToTheSameBitsForAThousandSeeds) {
  LosePowers(300 + 1000 * static_cast<uint64_t>(GetParam()), 1000, 25);
}

// What a process leaves that dies before an operation is what the undisturbed one had done by then.
TEST_P(DisturbedSlice, ByADeathBeforeAnyOperationGoesOnToTheSameBits) {
  ASSERT_GT(disk_->operations(), 500);
  const std::string run = *made_ / "left";
  for (int64_t at = GetParam(); at < disk_->operations() && !HasFailure(); at += kSlices) {
    SCOPED_TRACE(absl::StrCat("operation ", at, " of ", disk_->operations()));
    WriteTree(disk_->AfterDeath(at), run);
    ExpectGoesOn(run, HowFarRunIs(PathsBelow(run)), true);
  }
}

// On one rank an operation has a number, and gets one of the faults; on two, whose turns change, and where
// checkpoints are written while training goes on, numbers are spread over the operations, and every third
// does.
TEST_P(DisturbedSlice, ByAFaultAtAnyOperationGoesOnToTheSameBits) {
  FailingDisk counting;
  {
    const DiskInPlace in_place(&counting);
    ASSERT_TRUE(Start(*made_ / absl::StrCat("counted-", GetParam())).ok());
  }
  ASSERT_GT(counting.operations(), 500);
  const std::string run = *made_ / "failed";
  for (int64_t at = GetParam(); at < counting.operations() && !HasFailure(); at += kSlices) {
    const int64_t turn = at / kSlices + at;
    for (const auto& [ranks, in_background] :
         {std::pair(1, false), std::pair(2, false), std::pair(1, true)}) {
      if ((ranks == 2 || in_background) && turn % 3 != 0) continue;
      std::filesystem::remove_all(run);
      RecipeConfig recipe = *recipe_;
      for (StageConfig& stage : recipe.stages)
        stage.rl.checkpoint_in_background = stage.pretrain.checkpoint_in_background =
            in_background ? InBackground::kYes : InBackground::kNo;
      const bool dies = (ranks == 2 || in_background) && turn % 2 == 0;
      const Fault fault = dies ? Fault::kDeath : kFaults[turn % 4];
      FailingDisk disk(at, fault);
      std::vector<absl::Status> statuses(ranks);
      {
        const DiskInPlace in_place(&disk);
        ThreadWorld world(ranks);
        try {
          world.Run([&](Communicator& comm) {
            statuses[comm.rank()] = RunRecipe(recipe, run, comm, Never);
            if (!statuses[comm.rank()].ok()) throw std::runtime_error("gives up");  // as cli/main.cc does
          });
        } catch (const std::exception&) {
        }
      }
      SCOPED_TRACE(absl::StrCat("operation ", at, " of ", counting.operations(), ", fault ",
                                static_cast<int>(fault), ", ", ranks, " ranks",
                                in_background ? ", in the background: " : ": ", disk.failed()));
      for (const absl::Status& status : statuses) {
        EXPECT_THAT(std::string(status.message()), Not(HasSubstr("\n")));
        // The folder above the run's is synced when that is made.
        if (!status.ok() && !absl::IsCancelled(status) && ranks == 1)
          EXPECT_THAT(std::string(status.message()), HasSubstr(made_->path()));
      }
      if (!FileExists(run)) continue;
      ExpectGoesOn(run, HowFarRunIs(PathsBelow(run)), true);
    }
  }
}

}  // namespace
}  // namespace temper
