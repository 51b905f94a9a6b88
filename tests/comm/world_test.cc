// SPDX-License-Identifier: Apache-2.0
#include <cstdlib>
#include <string>
#include <vector>

#include "comm/mpi.h"
#include "gtest/gtest.h"

namespace temper {
namespace {

// The launchers' variables as the test sets them; what was there comes back.
class World : public testing::Test {
 protected:
  World() {
    for (const char* name : kNames) {
      const char* value = std::getenv(name);
      before_.push_back(value == nullptr ? "" : value);
      unsetenv(name);
    }
  }
  ~World() override {
    for (size_t i = 0; i < before_.size(); ++i) {
      before_[i].empty() ? unsetenv(kNames[i]) : setenv(kNames[i], before_[i].c_str(), 1);
    }
  }

 private:
  static constexpr const char* kNames[] = {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "SLURM_STEP_NUM_TASKS"};
  std::vector<std::string> before_;
};

TEST_F(World, WithoutALauncherThereIsOneRankAndNoMpi) {
  for (const char* tasks : {"", "1"}) {
    setenv("SLURM_STEP_NUM_TASKS", tasks, 1);
    const auto world = OpenWorld();
    ASSERT_TRUE(world.ok()) << world.status();
    EXPECT_EQ((*world)->backend(), "self");
  }
}

TEST_F(World, TasksThatCannotFindEachOtherAreRefused) {
  setenv("SLURM_STEP_NUM_TASKS", "4", 1);
  EXPECT_EQ(OpenWorld().status().message(),
            "srun started 4 tasks without PMIx, so they cannot find each other: use srun --mpi=pmix");
}

}  // namespace
}  // namespace temper
