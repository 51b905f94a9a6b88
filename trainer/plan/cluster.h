// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "trainer/config/cluster.h"

namespace temper {

// What a device can do at most, by its maker's data sheet; "cpu", which is no GPU: a core of the machine that
// most of docs/benchmarks.md is from: FLOP/s and memory as measured, links and network assumed.
struct DeviceSpec {
  const char* name;
  double memory_gib;      // that a process can have; 0: of a processor nobody knows
  double f32_tflops;      // of fused multiply-adds, which is what exact kernels do
  double memory_gbytes;   // a second
  double link_gbytes;     // a second to another device of the machine, one way,
  double network_gbytes;  // and of another machine

  bool gpu() const { return memory_gib > 0; }
  int64_t memory_bytes() const { return static_cast<int64_t>(memory_gib * (int64_t{1} << 30)); }
};
const std::vector<DeviceSpec>& DeviceSpecs();

// "64x8xh800": machines, devices in each, and what they are.
struct Cluster {
  int nodes = 1, per_node = 1;
  DeviceSpec device;
  int spare_nodes = 0;  // that are held beside those, and cost as much

  int ranks() const { return nodes * per_node; }
  int devices() const { return (nodes + spare_nodes) * per_node; }
};
absl::StatusOr<Cluster> ParseCluster(std::string_view text);

// What --cluster names: MACHINESxDEVICESxNAME, a YAML file, or the name of one: NAME.yaml in a folder
// `clusters` beside the recipe or in a folder above it, or in configs/clusters. Errors name file, line and
// key, or list the names that there are.
absl::StatusOr<ClusterConfig> ReadCluster(const std::string& name, const std::string& recipe);
// As planned for. One that ReadCluster gave.
Cluster ClusterOf(const ClusterConfig& config);

}  // namespace temper
