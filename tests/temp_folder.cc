// SPDX-License-Identifier: Apache-2.0
// In every test program: testing::TempDir() is a folder of this process alone, gone at the end. ctest runs
// several tests of a room at once, each in its own process, and two that wrote a file of one name read each
// other's.
#include <stdlib.h>

#include <filesystem>
#include <string>

#include "gtest/gtest.h"

namespace temper {
namespace {

class TempFolder : public testing::Environment {
 public:
  void SetUp() override {
    std::string folder = testing::TempDir() + "temper_test_XXXXXX";
    ASSERT_NE(mkdtemp(folder.data()), nullptr) << folder;
    folder_ = folder + "/";
    setenv("TEST_TMPDIR", folder_.c_str(), 1);
    ASSERT_EQ(testing::TempDir(), folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

 private:
  std::string folder_;
};

[[maybe_unused]] testing::Environment* const environment = testing::AddGlobalTestEnvironment(new TempFolder);

}  // namespace
}  // namespace temper
