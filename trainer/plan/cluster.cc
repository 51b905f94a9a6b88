// SPDX-License-Identifier: Apache-2.0
#include "trainer/plan/cluster.h"

#include <algorithm>
#include <filesystem>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/check.h"
#include "core/files/file.h"
#include "core/status.h"
#include "core/text.h"

namespace temper {
namespace fs = std::filesystem;

// H800: an H100 SXM whose NVLink has 400 GB/s in both directions instead of 900. Networks: 400 Gbit/s a
// device (A100: 200). cpu: an AMD EPYC (Zen 4), ranks of one machine by Open MPI's shared memory, 10 Gbit/s.
const std::vector<DeviceSpec>& DeviceSpecs() {
  static const std::vector<DeviceSpec>* const specs = new std::vector<DeviceSpec>{
      {"h800", 79.6, 66.9, 3350, 200, 50},  {"h100", 79.6, 66.9, 3350, 450, 50},
      {"h200", 140.4, 66.9, 4800, 450, 50}, {"a100", 79.2, 19.5, 2039, 300, 25},
      {"cpu", 0, 0.118, 25, 5, 1.25},
  };
  return *specs;
}

namespace {

std::string DeviceNames() {
  std::string names;
  for (const DeviceSpec& spec : DeviceSpecs()) absl::StrAppend(&names, names.empty() ? "" : ", ", spec.name);
  return names;
}

const DeviceSpec* FindDevice(const std::string& name) {
  for (const DeviceSpec& spec : DeviceSpecs()) {
    if (absl::AsciiStrToLower(name) == spec.name) return &spec;
  }
  return nullptr;
}

// Folders that hold cluster files, the nearest first.
std::vector<fs::path> ClusterFolders(const std::string& recipe) {
  std::vector<fs::path> folders;
  std::error_code error;
  fs::path at = fs::absolute(recipe.empty() ? "./" : recipe, error).lexically_normal();
  while (at != at.parent_path()) folders.push_back((at = at.parent_path()) / "clusters");
  folders.push_back("configs/clusters");
  return folders;
}

absl::StatusOr<std::string> FindClusterFile(const std::string& name, const std::string& recipe) {
  if (absl::StrContains(name, '/') || absl::EndsWith(name, ".yaml")) return name;
  std::string names;
  for (const fs::path& folder : ClusterFolders(recipe)) {
    const std::string path = folder / (name + ".yaml");
    if (FileExists(path)) return path;
    for (const std::string& file : ListDirectory(folder).value_or(std::vector<std::string>()))
      if (absl::EndsWith(file, ".yaml"))
        absl::StrAppend(&names, names.empty() ? "" : ", ", file.substr(0, file.size() - 5));
  }
  return absl::NotFoundError(absl::StrCat(
      "--cluster ", Printable(name, 60),
      ": is neither a file, nor the name of one in a folder `clusters` beside the recipe or above it",
      names.empty() ? "" : absl::StrCat(" (there are ", names, ")"),
      ", nor MACHINESxDEVICESxNAME, as 64x8xh800"));
}

}  // namespace

absl::StatusOr<Cluster> ParseCluster(std::string_view text) {
  const std::vector<std::string> parts = absl::StrSplit(std::string(text), 'x');
  const std::string names = DeviceNames();
  Cluster cluster;
  const auto is_plain = [](const std::string& digits) {  // no sign, no spaces
    return std::all_of(digits.begin(), digits.end(), absl::ascii_isdigit);
  };
  if (parts.size() != 3 || !is_plain(parts[0]) || !is_plain(parts[1]) ||
      !absl::SimpleAtoi(parts[0], &cluster.nodes) || !absl::SimpleAtoi(parts[1], &cluster.per_node) ||
      cluster.nodes < 1 || cluster.per_node < 1 || cluster.nodes > 100'000 || cluster.per_node > 64) {
    return absl::InvalidArgumentError(absl::StrCat("--cluster ", Printable(std::string(text), 60),
                                                   ": is no MACHINESxDEVICESxNAME, as 64x8xh800; names are ",
                                                   names));
  }
  if (const DeviceSpec* const spec = FindDevice(parts[2])) {
    cluster.device = *spec;
    return cluster;
  }
  return absl::InvalidArgumentError(absl::StrCat("--cluster ", Printable(std::string(text), 60), ": ",
                                                 Printable(parts[2], 40), " is none of ", names));
}

absl::StatusOr<ClusterConfig> ReadCluster(const std::string& name, const std::string& recipe) {
  ClusterConfig config;
  if (std::count(name.begin(), name.end(), 'x') == 2 && absl::ascii_isdigit(name[0])) {
    TEMPER_ASSIGN_OR_RETURN(const Cluster cluster, ParseCluster(name));
    config.nodes = cluster.nodes;
    config.ranks_per_node = cluster.per_node;
    config.device = cluster.device.name;
    return config;
  }
  TEMPER_ASSIGN_OR_RETURN(const std::string path, FindClusterFile(name, recipe));
  ConfigPlaces places;
  TEMPER_RETURN_IF_ERROR(ReadConfigFile(path, {}, config, &places));
  if (FindDevice(config.device) == nullptr)
    return absl::InvalidArgumentError(
        absl::StrCat(places.Of("device"), ": ", Printable(config.device, 40), " is none of ", DeviceNames()));
  for (size_t i = 0; i < config.environment.size(); ++i) {
    const std::string& one = config.environment[i];
    const size_t sign = one.find('=');
    const bool named = sign != one.npos && sign > 0 && !absl::ascii_isdigit(one[0]) &&
                       std::all_of(one.begin(), one.begin() + static_cast<int64_t>(sign),
                                   [](char c) { return absl::ascii_isalnum(c) || c == '_'; });
    if (!named)
      return absl::InvalidArgumentError(absl::StrCat(places.Of(absl::StrCat("environment[", i, "]")), ": ",
                                                     Printable(one, 60), " is no NAME=value"));
  }
  return config;
}

Cluster ClusterOf(const ClusterConfig& config) {
  const DeviceSpec* const spec = FindDevice(config.device);
  TEMPER_CHECK(spec != nullptr);
  Cluster cluster{static_cast<int>(config.nodes), static_cast<int>(config.ranks_per_node), *spec,
                  static_cast<int>(config.spare_nodes)};
  if (!spec->gpu()) {
    const auto cores = static_cast<double>(std::max<int64_t>(config.cpus_per_rank, 1));
    cluster.device.f32_tflops *= cores;
    cluster.device.memory_gbytes *= cores;
  }
  return cluster;
}

}  // namespace temper
