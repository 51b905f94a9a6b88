// SPDX-License-Identifier: Apache-2.0
#include "core/files/held_file.h"

#include <filesystem>

#include "core/files/file.h"
#include "gtest/gtest.h"
#include "tests/core/test_folder.h"

namespace temper {
namespace {

TEST(HeldFile, IsSeenAsLockedAsLongAsItLives) {
  const TestFolder folder;
  const std::string path = folder.path() + "/held";
  EXPECT_EQ(LockOf(path), LockState::kUnknown);  // not there
  std::unique_ptr<HeldFile> held = HeldFile::Take(path, 0600);
  ASSERT_NE(held, nullptr);
  EXPECT_EQ(LockOf(path), LockState::kLocked);
  EXPECT_EQ(HeldFile::Take(path, 0600), nullptr);
  held.reset();
  EXPECT_EQ(LockOf(path), LockState::kFree);
}

TEST(HeldFile, WhichCannotBeOpenedIsNotSaidToBeFree) {
  const TestFolder folder;
  const std::string path = folder.path() + "/held", link = folder.path() + "/link";
  ASSERT_TRUE(WriteFileAtomic(path, "").ok());
  std::filesystem::create_symlink(path, link);
  EXPECT_EQ(LockOf(link), LockState::kUnknown);
}

}  // namespace
}  // namespace temper
