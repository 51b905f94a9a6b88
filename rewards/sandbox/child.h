// SPDX-License-Identifier: Apache-2.0
// The part of rewards/sandbox/sandbox.h that runs between clone and execve, in a child that shares the
// parent's memory while the parent's thread stands still. Everything it needs is laid ready in plain arrays:
// it allocates nothing, takes no lock, and makes bare system calls only.
#pragma once

#include <linux/filter.h>

#include <cstddef>
#include <cstdint>

namespace temper {

// What the sandbox's root is made of, in this order. Paths are relative to the new root. kNoFile
// and kNoTree hide what a kHostTree has there, if it has it.
struct SandboxEntry {
  enum Kind { kDirectory, kFile, kLink, kHostFile, kHostTree, kDevice, kNoFile, kNoTree };
  Kind kind;
  const char* path;
  const char* source = nullptr;  // kLink: its target; kHostFile, kHostTree, kDevice: the host's; kFile: bytes
  size_t size = 0;               // kFile
  int mode = 0755;               // kDirectory, kFile
};

struct SandboxLimit {
  int resource;  // RLIMIT_*
  const char* name;
  uint64_t value;  // soft and hard
};

struct SandboxPlan {
  bool user_namespace = false;
  uint32_t uid = 0;             // and gid; as the user namespace has it
  const char* id_maps[2] = {};  // user_namespace: the lines of uid_map and gid_map

  const int* joins = nullptr;  // open cgroup.procs files
  size_t join_count = 0;
  int files[4] = {};  // become descriptors 0 to 3; all are above 3

  const char* root_options = nullptr;  // of the tmpfs that is the root, "size=..,mode=.."
  const SandboxEntry* entries = nullptr;
  size_t host_count = 0;  // the first of them: what is the host's, devices apart
  size_t entry_count = 0;
  const SandboxLimit* limits = nullptr;
  size_t limit_count = 0;
  sock_fprog filter = {};

  char* const* command = nullptr;  // ends in null; [0] is an absolute path
  char* const* environment = nullptr;

  // Set by the child where it fails; step is null if it got as far as the program.
  static constexpr const char kLimits[] = "prlimit";
  const char* step = nullptr;
  const char* detail = "";
  int error = 0;
};

// For clone: turns the new process into the program, or fills in what failed and exits with 127. Never
// returns.
int SandboxChild(void* plan);

}  // namespace temper
