// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

namespace temper {

// What this process may still allocate, in bytes, and what bounds it, in words.
struct FreeMemory {
  int64_t bytes = 0;
  std::string bound;  // "this machine's MemAvailable", "the control group /jobs/7", "ulimit -v"
};

// The least of MemAvailable, what the control groups of this process (v2 or v1, and those above them) leave,
// each shared out among `processes` that will take as much as this one, and the limit of the address space.
// What a control group keeps of files, and can give back, counts as free. Where the system says nothing there
// is no bound (INT64_MAX). root: before /proc and /sys, for tests.
FreeMemory MemoryThatIsFree(int processes = 1, const std::string& root = "");

}  // namespace temper
