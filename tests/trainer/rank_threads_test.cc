// SPDX-License-Identifier: Apache-2.0
#include <cstdlib>
#include <string>

#include "gtest/gtest.h"
#include "trainer/recipe.h"

namespace temper {
namespace {

// As mpirun tells how many of the ranks are here; nothing: it did not start this.
class RankThreadsOf : public ::testing::Test {
 protected:
  static constexpr char kLocal[] = "OMPI_COMM_WORLD_LOCAL_SIZE";
  RankThreadsOf() {
    if (const char* text = std::getenv(kLocal)) before_ = text;
    unsetenv(kLocal);
  }
  ~RankThreadsOf() override { before_.empty() ? unsetenv(kLocal) : setenv(kLocal, before_.c_str(), 1); }
  std::string before_;
};

TEST_F(RankThreadsOf, AWholeMachineAreItsCoresSharedOutAmongItsRanks) {
  EXPECT_EQ(RankThreads(0, 1, {.mine = 16, .all = 16}), 16);
  EXPECT_EQ(RankThreads(0, 4, {.mine = 16, .all = 16}), 4);
  EXPECT_EQ(RankThreads(0, 3, {.mine = 16, .all = 16}), 5);
  EXPECT_EQ(RankThreads(0, 64, {.mine = 16, .all = 16}), 1);
}

TEST_F(RankThreadsOf, SeveralMachinesCountTheRanksOfTheirOwn) {
  setenv(kLocal, "2", 1);
  EXPECT_EQ(RankThreads(0, 64, {.mine = 16, .all = 16}), 8);
  setenv(kLocal, "many", 1);
  EXPECT_EQ(RankThreads(0, 4, {.mine = 16, .all = 16}), 4);
  setenv(kLocal, "8", 1);  // of whoever started this one alone
  EXPECT_EQ(RankThreads(0, 1, {.mine = 16, .all = 16}), 16);
}

TEST_F(RankThreadsOf, CoresThatAreTheRanksOwnAreNotSharedOutAgain) {
  EXPECT_EQ(RankThreads(0, 4, {.mine = 4, .all = 16}), 4);
  EXPECT_EQ(RankThreads(0, 4, {.mine = 0, .all = 16}), 1);
}

TEST_F(RankThreadsOf, ARecipeThatSaysThemAreThose) {
  EXPECT_EQ(RankThreads(3, 64, {.mine = 16, .all = 16}), 3);
  EXPECT_EQ(RankThreads(32, 1, {.mine = 16, .all = 16}), 32);
}

TEST_F(RankThreadsOf, ThisMachineAreAtLeastOne) {
  EXPECT_GE(CoresHere().mine, 1);
  EXPECT_GE(CoresHere().all, CoresHere().mine);
}

}  // namespace
}  // namespace temper
