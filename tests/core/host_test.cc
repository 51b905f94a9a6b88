// SPDX-License-Identifier: Apache-2.0
#include "core/host.h"

#include <cstdlib>
#include <map>
#include <string>
#include <utility>

#include "gtest/gtest.h"

namespace temper {
namespace {

// What a launcher says to its processes by their environment, and none of what this test's own was told.
class LocalPlaces : public ::testing::Test {
 protected:
  static constexpr const char* kNames[] = {"OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE",
                                           "SLURM_LOCALID", "SLURM_NODEID", "SLURM_STEP_TASKS_PER_NODE"};
  LocalPlaces() {
    for (const char* name : kNames) {
      if (const char* const text = std::getenv(name)) before_[name] = text;
      unsetenv(name);
    }
  }
  ~LocalPlaces() override {
    for (const char* name : kNames) {
      unsetenv(name);
      if (before_.contains(name)) setenv(name, before_[name].c_str(), 1);
    }
  }
  // {-1, -1}: nothing is known.
  static std::pair<int, int> Place(const std::map<std::string, std::string>& told) {
    for (const char* name : kNames) unsetenv(name);
    for (const auto& [name, text] : told) setenv(name.c_str(), text.c_str(), 1);
    const LocalPlace place = ThisLocalPlace().value_or(LocalPlace{-1, -1});
    return {place.number, place.count};
  }
  static std::pair<int, int> OfSrun(const char* number, const char* node, const char* tasks) {
    return Place({{"SLURM_LOCALID", number}, {"SLURM_NODEID", node}, {"SLURM_STEP_TASKS_PER_NODE", tasks}});
  }
  std::map<std::string, std::string> before_;
};

TEST_F(LocalPlaces, AreWhatTheLauncherSays) {
  EXPECT_EQ(Place({}), std::pair(-1, -1));
  EXPECT_EQ(Place({{"OMPI_COMM_WORLD_LOCAL_RANK", "3"}, {"OMPI_COMM_WORLD_LOCAL_SIZE", "4"}}),
            std::pair(3, 4));
  EXPECT_EQ(OfSrun("1", "1", "2(x2)"), std::pair(1, 2));
  EXPECT_EQ(OfSrun("4", "3", "8(x3),5"), std::pair(4, 5));
  EXPECT_EQ(OfSrun("0", "0", "1"), std::pair(0, 1));
  // mpirun in a job of Slurm's, whose ranks inherit what the job's script was told.
  EXPECT_EQ(Place({{"OMPI_COMM_WORLD_LOCAL_RANK", "3"},
                   {"OMPI_COMM_WORLD_LOCAL_SIZE", "4"},
                   {"SLURM_LOCALID", "0"},
                   {"SLURM_NODEID", "0"},
                   {"SLURM_STEP_TASKS_PER_NODE", "1"}}),
            std::pair(3, 4));
}

TEST_F(LocalPlaces, ThatMakeNoSenseAreNone) {
  for (const char* tasks : {"", "x", "2(x", "2(x2", "(x2)", "-2", "2(x2),"})
    EXPECT_EQ(OfSrun("0", "2", tasks), std::pair(-1, -1)) << tasks;
  EXPECT_EQ(OfSrun("2", "0", "2"), std::pair(-1, -1));
  EXPECT_EQ(Place({{"OMPI_COMM_WORLD_LOCAL_SIZE", "0"}}), std::pair(-1, -1));
}

}  // namespace
}  // namespace temper
