// SPDX-License-Identifier: Apache-2.0
// Programs that a model wrote, run so that they can do nothing but compute (docs/rewards.md has the layers).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "core/status.h"
#include "rewards/sandbox/cgroup.h"
#include "rewards/sandbox/child.h"
#include "rewards/sandbox/host.h"

namespace temper {

// A run ends when it breaks one. Those of "each process" hold for all of a run's processes together only
// where there is a control group (Sandbox::Describe); their number is bounded in any case.
struct SandboxLimits {
  int64_t cpu_seconds = 4;             // of each process
  double wall_seconds = 10;            // of the run
  int64_t memory_bytes = 512ll << 20;  // address space of each process
  int64_t stack_bytes = 64ll << 20;    // of each process, in its memory
  int64_t processes = 32;              // and threads
  int64_t file_bytes = 8ll << 20;      // of each of the three outputs, and of each file that it writes
  int64_t disk_bytes = 32ll << 20;     // all files of /tmp, in memory
};

struct SandboxFile {
  std::string name;        // in /box, which programs can read only
  std::string_view bytes;  // the caller's
  bool executable = false;
};

struct SandboxProgram {
  std::vector<std::string> command = {};  // [0]: an absolute path, of `host` or in /box
  const HostFiles* host = nullptr;        // what it sees of this machine; the caller's
  std::vector<SandboxFile> files = {};
  std::string_view input = {};  // standard input; the caller's
  SandboxLimits limits = {};
};

struct SandboxRun {
  enum class End { kExit, kSignal, kTimeout, kMemory };
  End end = End::kExit;
  int code = 0;        // kExit: the exit status; kSignal: the signal
  bool cut = false;    // an output reached file_bytes: what is here is only its beginning
  std::string output;  // any bytes
  std::string errors;
  std::string result;  // what was written to descriptor 3
  double cpu_seconds = 0;
  double wall_seconds = 0;
};

// A place to run programs in. Each run has a fresh root (of the host only the files that are listed for it,
// read-only; /tmp in memory), user, network without an interface, process tree, and no capability,
// environment or open file of ours; a filter of system calls is on top. When the program ends, or its wall
// time, all that it started is dead before Run returns. Many threads may Run at once.
class Sandbox {
 public:
  // Tries what this machine offers, with a run of /usr/bin/true: as root another user for each run, else a
  // fresh user namespace. Errors: FailedPrecondition with the step that failed, where a layer cannot be had;
  // there is no run without one. Needs Linux 5.14.
  static absl::StatusOr<std::unique_ptr<Sandbox>> Create();

  // Blocks for at most wall_seconds and what the kernel needs to start and end it. Errors are of the machine
  // (no memory, no process, a program that is not there), never of the program; Cancelled where `stop`, which
  // is asked ten times a second, ended it.
  absl::StatusOr<SandboxRun> Run(
      const SandboxProgram& program, absl::FunctionRef<bool()> stop = [] { return false; }) const;

  std::string Describe() const;  // "another user, control groups of version 1"

 private:
  explicit Sandbox(bool user_namespace) : user_namespace_(user_namespace) {}
  struct Launch;

  const bool user_namespace_;
  SandboxCgroups cgroups_;
  std::vector<sock_filter> filter_;
};

}  // namespace temper
