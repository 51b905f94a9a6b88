// SPDX-License-Identifier: Apache-2.0
// What `temper doctor` looks at. Each check says what it found, in one line without the machine's name, and
// where something is wrong what to do; none changes anything that stays.
#pragma once

#include <string>
#include <vector>

#include "comm/communicator.h"
#include "trainer/plan/cluster.h"

namespace temper {

struct Finding {
  enum Level { kOk, kWarn, kFail };
  std::string what;  // "memory", "clock"
  Level level = kOk;
  std::string text;

  bool operator==(const Finding&) const = default;
};
using Findings = std::vector<Finding>;

// Of this machine alone: GPUs (wanted: `device` of a cluster file, "cpu" where none is), free memory, limits
// of the process, cores, the layers of the sandbox.
Findings CheckHost(const std::string& device, const Communicator& world);

// Of the file system where a run's folder is, or would be: room, whole files, fsync, locks, and whether all
// ranks have the same. Collective.
Findings CheckFolder(const std::string& run_directory, Communicator& world);

// Between ranks: program, clocks, latency and bandwidth from rank 0 to each machine (`hosts`, by rank),
// beside what the table says of the device's network where `table` is not null. Collective; findings of what
// is odd are those of the odd rank.
Findings CheckRanks(const std::vector<std::string>& hosts, const DeviceSpec* table, Communicator& world);

}  // namespace temper
