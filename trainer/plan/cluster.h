// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace temper {

// What a device can do at most, by its maker's data sheet.
struct DeviceSpec {
  const char* name;
  double memory_gib;      // that a process can have
  double f32_tflops;      // of fused multiply-adds, which is what exact kernels do
  double memory_gbytes;   // a second
  double link_gbytes;     // a second to another device of the machine, one way,
  double network_gbytes;  // and of another machine
};
const std::vector<DeviceSpec>& DeviceSpecs();

// "64x8xh800": machines, devices in each, and what they are.
struct Cluster {
  int nodes = 1, per_node = 1;
  DeviceSpec device;

  int ranks() const { return nodes * per_node; }
};
absl::StatusOr<Cluster> ParseCluster(std::string_view text);

}  // namespace temper
