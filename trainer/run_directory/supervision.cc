// SPDX-License-Identifier: Apache-2.0
#include "trainer/run_directory/supervision.h"

#include <cstdlib>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "core/files/disk.h"
#include "trainer/run_directory/run_directory.h"

namespace temper {
namespace {

constexpr char kHeldMachines[] = "TEMPER_HELD_MACHINES";

}  // namespace

Supervision::~Supervision() {
  if (held()) TheDisk().RemoveFile(SupervisedPath(run_directory_));
}

void Supervision::Hold() {
  if (!held()) file_ = HeldFile::Take(SupervisedPath(run_directory_), 0644);  // others look at its lock
}

bool IsSupervised(const std::string& run_directory) { return IsLocked(SupervisedPath(run_directory)); }

void SayHeldMachines(int64_t count) { setenv(kHeldMachines, absl::StrCat(count).c_str(), /*overwrite=*/1); }

int64_t HeldMachines() {
  const char* const text = std::getenv(kHeldMachines);
  int64_t count = 0;
  return text != nullptr && absl::SimpleAtoi(text, &count) ? count : 0;
}

}  // namespace temper
