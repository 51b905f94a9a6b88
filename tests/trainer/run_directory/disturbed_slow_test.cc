// SPDX-License-Identifier: Apache-2.0
// All seeds of a loss of power, and a fault at each operation of a whole run.
#include "tests/trainer/run_directory/disturbed.h"

namespace temper {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST_F(Disturbed, ByALossOfPowerGoesOnToTheSameBitsForTenThousandSeeds) { LosePowers(300, 10'000, 25); }

// On one rank an operation has a number; on two, whose turns change, the numbers are spread over them.
TEST_F(Disturbed, ByAFaultAtAnyOperationGoesOnToTheSameBits) {
  FailingDisk counting;
  {
    const DiskInPlace in_place(&counting);
    ASSERT_TRUE(Start(*made_ / "counted").ok());
  }
  ASSERT_GT(counting.operations(), 500);
  const std::string run = *made_ / "failed";
  for (int64_t at = 0; at < counting.operations() && !HasFailure(); ++at) {
    for (const int ranks : {1, 2}) {
      std::filesystem::remove_all(run);
      FailingDisk disk(at, at % 2 == 0 ? Fault::kDeath : kFaults[at / 2 % 4]);
      std::vector<absl::Status> statuses(ranks);
      {
        const DiskInPlace in_place(&disk);
        ThreadWorld world(ranks);
        try {
          world.Run([&](Communicator& comm) {
            statuses[comm.rank()] = RunRecipe(*recipe_, run, comm, Never);
            if (!statuses[comm.rank()].ok()) throw std::runtime_error("gives up");  // as cli/main.cc does
          });
        } catch (const std::exception&) {
        }
      }
      SCOPED_TRACE(absl::StrCat("operation ", at, " of ", counting.operations(), ", ", ranks,
                                " ranks: ", disk.failed()));
      for (const absl::Status& status : statuses) {
        EXPECT_THAT(std::string(status.message()), Not(HasSubstr("\n")));
        if (!status.ok() && !absl::IsCancelled(status) && ranks == 1)
          EXPECT_THAT(std::string(status.message()), HasSubstr(run));
      }
      if (FileExists(run)) {
        const auto far = HowFarRunIs(PathsBelow(run));
        ExpectGoesOn(run, far, true);
      }
    }
  }
}

}  // namespace
}  // namespace temper
