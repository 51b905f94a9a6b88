// SPDX-License-Identifier: Apache-2.0
#include "trainer/plan/cluster.h"

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/text.h"

namespace temper {

// H800: an H100 SXM whose NVLink has 400 GB/s in both directions instead of 900. Networks: 400 Gbit/s a
// device (A100: 200).
const std::vector<DeviceSpec>& DeviceSpecs() {
  static const std::vector<DeviceSpec>* const specs = new std::vector<DeviceSpec>{
      {"h800", 79.6, 66.9, 3350, 200, 50},
      {"h100", 79.6, 66.9, 3350, 450, 50},
      {"h200", 140.4, 66.9, 4800, 450, 50},
      {"a100", 79.2, 19.5, 2039, 300, 25},
  };
  return *specs;
}

absl::StatusOr<Cluster> ParseCluster(std::string_view text) {
  const std::vector<std::string> parts = absl::StrSplit(std::string(text), 'x');
  std::string names;
  for (const DeviceSpec& spec : DeviceSpecs()) absl::StrAppend(&names, names.empty() ? "" : ", ", spec.name);
  Cluster cluster;
  if (parts.size() != 3 || !absl::SimpleAtoi(parts[0], &cluster.nodes) ||
      !absl::SimpleAtoi(parts[1], &cluster.per_node) || cluster.nodes < 1 || cluster.per_node < 1 ||
      cluster.nodes > 100'000 || cluster.per_node > 64) {
    return absl::InvalidArgumentError(absl::StrCat("--cluster ", Printable(std::string(text), 60),
                                                   ": is no MACHINESxDEVICESxNAME, as 64x8xh800; names are ",
                                                   names));
  }
  for (const DeviceSpec& spec : DeviceSpecs()) {
    if (absl::AsciiStrToLower(parts[2]) != spec.name) continue;
    cluster.device = spec;
    return cluster;
  }
  return absl::InvalidArgumentError(absl::StrCat("--cluster ", Printable(std::string(text), 60), ": ",
                                                 Printable(parts[2], 40), " is none of ", names));
}

}  // namespace temper
