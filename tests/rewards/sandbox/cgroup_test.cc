// SPDX-License-Identifier: Apache-2.0
// On what this machine's kernel has, version 1 or 2, and on folders that only look like its tree.
#include "rewards/sandbox/cgroup.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace temper {
namespace {

namespace fs = std::filesystem;

std::string ReadText(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// The folder of an open cgroup.procs.
std::string FolderOf(int join) {
  return fs::read_symlink(absl::StrCat("/proc/self/fd/", join)).parent_path().string();
}

// A process of one thread: what a thread sanitizer does about fork() starts a thread in the child, and the
// kernel counts threads.
pid_t ForkOneThread() { return static_cast<pid_t>(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0)); }

// The number of a process that is no more.
int GonePid() {
  const pid_t child = fork();
  if (child == 0) _exit(0);
  EXPECT_EQ(waitpid(child, nullptr, 0), child);
  return child;
}

TEST(SandboxCgroup, HoldsItsLimitsAndIsGoneWithItsRun) {
  const SandboxCgroups groups = SandboxCgroups::Find();
  if (groups.version() == 0) GTEST_SKIP() << "no control groups here";
  std::vector<std::string> folders;
  {
    const std::unique_ptr<SandboxCgroup> group = groups.Make(64 << 20, 7).value();
    ASSERT_EQ(group->joins().size(), groups.version() == 1 ? 2u : 1u);
    for (const int join : group->joins()) folders.push_back(FolderOf(join));
    const char* const memory = groups.version() == 1 ? "/memory.limit_in_bytes" : "/memory.max";
    EXPECT_EQ(ReadText(folders.front() + memory), "67108864\n");
    EXPECT_EQ(ReadText(folders.back() + "/pids.max"), "7\n");
    EXPECT_FALSE(group->RanOutOfMemory());
    const pid_t child = ForkOneThread();
    if (child == 0) {
      for (const int join : group->joins()) {
        if (write(join, "0", 1) != 1) _exit(1);
      }
      // More than 7 processes: the eighth is refused.
      int made = 0;
      for (; made < 20; ++made) {
        const pid_t grandchild = ForkOneThread();
        if (grandchild < 0) break;
        if (grandchild == 0) {
          pause();
          _exit(0);
        }
      }
      _exit(made == 6 ? 42 : 2);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(WEXITSTATUS(status), 42);
    // What it left behind.
    std::stringstream left(ReadText(folders.back() + "/cgroup.procs"));
    for (pid_t pid = 0; left >> pid;) {
      if (pid > 0) kill(pid, SIGKILL);
    }
  }
  for (const std::string& folder : folders) EXPECT_FALSE(fs::exists(folder)) << folder;
}

TEST(SandboxCgroup, WhatAGoneProcessLeftIsRemovedAndWhatALivingOneHasIsNot) {
  const SandboxCgroups groups = SandboxCgroups::Find();
  if (groups.version() == 0) GTEST_SKIP() << "no control groups here";
  const std::string base = fs::path(FolderOf(groups.Make(64 << 20, 7).value()->joins()[0])).parent_path();
  const std::string gone = absl::StrCat(base, "/temper-", GonePid(), "-0");
  const std::string living = absl::StrCat(base, "/temper-", getppid(), "-0");
  ASSERT_EQ(mkdir(gone.c_str(), 0700), 0);
  ASSERT_EQ(mkdir(living.c_str(), 0700), 0);
  SandboxCgroups::Find();
  EXPECT_FALSE(fs::exists(gone));
  EXPECT_TRUE(fs::exists(living));
  rmdir(living.c_str());
}

class FakeTree : public testing::Test {
 protected:
  void SetUp() override {
    tree_ = absl::StrCat(testing::TempDir(), "temper_cgroup_", getpid());
    fs::create_directories(tree_ + "/a/b");
    for (const char* folder : {"", "/a", "/a/b"})
      std::ofstream(absl::StrCat(tree_, folder, "/cgroup.subtree_control"));
  }
  void TearDown() override { fs::remove_all(tree_); }

  SandboxCgroups Find(const std::string& self) {
    std::ofstream(tree_ + "/self") << self;
    return SandboxCgroups::Find(tree_, tree_ + "/self");
  }
  std::string Asked(const std::string& folder) const {
    return ReadText(absl::StrCat(tree_, folder, "/cgroup.subtree_control"));
  }

  std::string tree_;
};

TEST_F(FakeTree, AsksForTheControllersInItsOwnGroupTheOneAboveAndTheRoot) {
  EXPECT_EQ(Find("0::/a/b\n").version(), 0);  // a folder that is made here has no memory.max
  for (const char* folder : {"", "/a", "/a/b"}) {
    EXPECT_EQ(Asked(folder), "+memory +pids") << folder;
    EXPECT_FALSE(fs::exists(absl::StrCat(tree_, folder, "/temper-", getpid(), "-probe"))) << folder;
  }
}

TEST_F(FakeTree, AtTheRootAsksThereAndNotAboveIt) {
  std::ofstream(absl::StrCat(tree_, "/../cgroup.subtree_control"));
  EXPECT_EQ(Find("0::/\n").version(), 0);
  EXPECT_EQ(Asked(""), "+memory +pids");
  EXPECT_EQ(Asked("/.."), "");
  fs::remove(tree_ + "/../cgroup.subtree_control");
}

TEST_F(FakeTree, TouchesNothingOfVersion2WhereVersion1HasTheControllers) {
  EXPECT_EQ(Find("4:memory:/\n3:cpu,pids:/a\n0::/a/b\n").version(), 0);
  EXPECT_EQ(Asked("/a/b"), "");
  EXPECT_EQ(Find("").version(), 0);
}

}  // namespace
}  // namespace temper
