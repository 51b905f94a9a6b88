// SPDX-License-Identifier: Apache-2.0
#include "trainer/run_directory/supervision.h"

#include "core/files/disk.h"
#include "trainer/run_directory/run_directory.h"

namespace temper {

Supervision::~Supervision() {
  if (held()) TheDisk().RemoveFile(SupervisedPath(run_directory_));
}

void Supervision::Hold() {
  if (!held()) file_ = HeldFile::Take(SupervisedPath(run_directory_), 0644);  // others look at its lock
}

bool IsSupervised(const std::string& run_directory) { return IsLocked(SupervisedPath(run_directory)); }

}  // namespace temper
