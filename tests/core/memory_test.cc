// SPDX-License-Identifier: Apache-2.0
#include "core/memory.h"

#include <sys/resource.h>

#include <cstdlib>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "core/files/file.h"
#include "gtest/gtest.h"

namespace temper {
namespace {

class Memory : public ::testing::Test {
 protected:
  Memory() {
    std::string name = (std::filesystem::temp_directory_path() / "temper-memory-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
    root_ = name;
    Put("/proc/meminfo", "MemTotal:  2000 kB\nMemFree:  10 kB\nMemAvailable:    1000 kB\n");
  }
  ~Memory() override { std::filesystem::remove_all(root_); }
  void Put(const std::string& path, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(root_ + path).parent_path());
    ASSERT_TRUE(WriteFileAtomic(root_ + path, text).ok());
  }
  void ExpectFree(int64_t bytes, const std::string& bound, int processes = 1) {
    const FreeMemory free = MemoryThatIsFree(processes, root_);
    EXPECT_EQ(free.bytes, bytes);
    EXPECT_EQ(free.bound, bound);
  }
  std::string root_;
};

TEST_F(Memory, IsWhatTheMachineHasSharedOutAmongItsProcesses) {
  ExpectFree(1000 * 1024, "this machine's MemAvailable");
  ExpectFree(250 * 1024, "this machine's MemAvailable", 4);
}

TEST_F(Memory, IsWhatTheTightestControlGroupLeavesWhereThatIsLess) {
  Put("/proc/self/cgroup", "0::/jobs/7\n");
  Put("/sys/fs/cgroup/jobs/7/memory.max", "max\n");
  Put("/sys/fs/cgroup/jobs/7/memory.current", "100\n");
  ExpectFree(1000 * 1024, "this machine's MemAvailable");
  Put("/sys/fs/cgroup/jobs/memory.max", "50000\n");
  Put("/sys/fs/cgroup/jobs/memory.current", "30000\n");
  Put("/sys/fs/cgroup/jobs/memory.stat", "anon 1\nfile 9000\ninactive_file 8000\n");
  ExpectFree(28000, "the control group /jobs");
  ExpectFree(14000, "the control group /jobs", 2);
}

TEST_F(Memory, IsReadFromTheFirstVersionOfControlGroupsToo) {
  // In a container the group's own folder is often not there, and its files are at the top.
  Put("/proc/self/cgroup", "12:cpu,cpuacct:/docker/ab\n4:memory:/docker/ab\n");
  Put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "70000\n");
  Put("/sys/fs/cgroup/memory/memory.usage_in_bytes", "80000\n");
  Put("/sys/fs/cgroup/memory/memory.stat", "inactive_file 1\ntotal_inactive_file 20000\n");
  ExpectFree(10000, "the control group /");
}

TEST_F(Memory, IsNoMoreThanTheLimitOfTheAddressSpace) {
  // A limit that leaves a sanitizer its own address space, nearly used up.
  constexpr int64_t kLimitKb = int64_t{1} << 40;
  const auto ask = [&](int64_t left_kb, int64_t free_kb) {
    Put("/proc/self/status", absl::StrCat("Name: x\nVmSize:\t ", kLimitKb - left_kb, " kB\n"));
    const struct rlimit limit = {kLimitKb * 1024, RLIM_INFINITY};
    if (setrlimit(RLIMIT_AS, &limit) != 0) std::exit(2);
    std::exit(MemoryThatIsFree(4, root_).bytes == free_kb * 1024 ? 0 : 1);
  };
  EXPECT_EXIT(ask(1000, 250), ::testing::ExitedWithCode(0), "");  // of the machine
  EXPECT_EXIT(ask(100, 100), ::testing::ExitedWithCode(0), "");   // the limit is of each process
}

TEST_F(Memory, OfThisMachineIsKnown) {
  const FreeMemory free = MemoryThatIsFree();
  EXPECT_GT(free.bytes, 1 << 20);
  EXPECT_LT(free.bytes, int64_t{1} << 50);
}

}  // namespace
}  // namespace temper
