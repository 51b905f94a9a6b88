// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace temper {

// Files that are whole in memory, to be written later, by another thread while other work goes on. Filled by
// one thread, then written by one.
class StagedFiles {
 public:
  void Add(std::string path, std::string bytes) { files_.emplace_back(std::move(path), std::move(bytes)); }
  int64_t bytes() const {
    int64_t all = 0;
    for (const auto& [path, bytes] : files_) all += static_cast<int64_t>(bytes.size());
    return all;
  }
  // Writes them in their order, each as an AtomicFile, and lets go of its bytes; returns the CRC-32C of each
  // by its path. The first error ends it.
  absl::StatusOr<std::map<std::string, uint32_t>> Write();

 private:
  std::vector<std::pair<std::string, std::string>> files_;
};

}  // namespace temper
