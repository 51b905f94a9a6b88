// SPDX-License-Identifier: Apache-2.0
// What `temper doctor` looks at. Each check says what it found, in one line without the machine's name, and
// where something is wrong what to do; none changes anything that stays.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "model/device.h"
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

// As a cluster file says it; "cpu": none is.
struct GpusWanted {
  std::string device = "cpu";
  int64_t per_node = 1;
};
// Of a rank.
struct GpusFound {
  std::vector<Gpu> gpus;  // that CUDA shows it
  int mine = 0;           // which of them it takes,
  int sharing = 1;        // as so many ranks do, with this one,
  int ranks = 1;          // of so many
  std::string why_none;   // where CUDA shows none
  std::string driver;     // what the NVIDIA driver says of itself; empty: there is none
};
Finding OfGpus(const GpusFound& found, const GpusWanted& wanted);
// What this rank found. Collective.
Finding CheckGpus(const GpusWanted& wanted, Communicator& world);

// Of this machine alone: GPUs, free memory, limits of the process, cores, the layers of the sandbox.
// Collective.
Findings CheckHost(const GpusWanted& wanted, Communicator& world);

// Of the file system where a run's folder is, or would be: room, whole files, fsync, locks, and whether all
// ranks have the same. Collective.
Findings CheckFolder(const std::string& run_directory, Communicator& world);

// Between ranks: program, clocks, latency and bandwidth from rank 0 to each machine (`hosts`, by rank),
// beside what the table says of the device's network where `table` is not null. Collective; findings of what
// is odd are those of the odd rank.
Findings CheckRanks(const std::vector<std::string>& hosts, const DeviceSpec* table, Communicator& world);

}  // namespace temper
