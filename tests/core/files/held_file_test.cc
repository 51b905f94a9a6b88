// SPDX-License-Identifier: Apache-2.0
#include "core/files/held_file.h"

#include <unistd.h>

#include <filesystem>

#include "core/files/disk.h"
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

// Whoever had it removes it between the opening and the locking, and perhaps another one makes it anew.
TEST(HeldFile, IsNotOneThatWasRemovedMeanwhile) {
  class Removes : public Disk {
   public:
    explicit Removes(bool again) : again_(again) {}
    int Open(const std::string& path, int flags, mode_t mode) override {
      const int file = Disk::Open(path, flags, mode);
      std::filesystem::remove(path);
      if (again_) close(Disk::Open(path, flags, mode));
      return file;
    }
    const bool again_;
  };
  const TestFolder folder;
  const std::string path = folder.path() + "/held";
  for (const bool again : {false, true}) {
    Removes disk(again);
    const DiskInPlace in_place(&disk);
    EXPECT_EQ(HeldFile::Take(path, 0600), nullptr);
  }
  EXPECT_NE(HeldFile::Take(path, 0600), nullptr);
}

}  // namespace
}  // namespace temper
