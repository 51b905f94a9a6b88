// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/status.h"

namespace temper {

// One run's control groups: what its processes together may hold. Empty and gone when destroyed; the run must
// have ended.
class SandboxCgroup {
 public:
  ~SandboxCgroup();
  SandboxCgroup() = default;
  SandboxCgroup(const SandboxCgroup&) = delete;
  SandboxCgroup& operator=(const SandboxCgroup&) = delete;

  const std::vector<int>& joins() const { return joins_; }  // open cgroup.procs: who writes "0" is in
  bool RanOutOfMemory() const;

 private:
  friend class SandboxCgroups;
  std::vector<std::string> folders_;
  std::vector<int> joins_;
};

// Where this process may make control groups with the controllers memory and pids: version 2's tree (a
// delegated group, or root's) or version 1's two. Neither is needed: without, limits hold for each process
// only.
class SandboxCgroups {
 public:
  // Looks in the tree from where the file `self` says we are, and removes what processes that are no more
  // left behind.
  static SandboxCgroups Find(const std::string& tree = "/sys/fs/cgroup",
                             const std::string& self = "/proc/self/cgroup");

  int version() const { return version_; }  // 0: none

  // Errors: a file system that says no.
  absl::StatusOr<std::unique_ptr<SandboxCgroup>> Make(int64_t memory_bytes, int64_t processes) const;

 private:
  int version_ = 0;
  std::vector<std::string> bases_;  // version 2: one; version 1: memory's, pids'
};

}  // namespace temper
