// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "core/thread_pool.h"

namespace temper {

// Files that are whole in memory, to be written later, by another thread while other work goes on. Filled by
// one thread, which the pool's help, then written by one.
class StagedFiles {
 public:
  explicit StagedFiles(ThreadPool* pool) : pool_(*pool) {}
  // The number of a new file of so many bytes, which are not cleared: Put brings each before Write.
  size_t Add(std::string path, int64_t bytes);
  void Put(size_t file, int64_t at, std::string_view bytes);
  int64_t bytes() const;
  void Add(std::string path, std::string_view bytes);  // a file that is these
  // Writes them in their order, each as an AtomicFile, and lets go of its bytes; returns the CRC-32C of each
  // by its path. The first error ends it.
  absl::StatusOr<std::map<std::string, uint32_t>> Write();

 private:
  struct File {
    std::string path;
    std::unique_ptr<char[]> memory;
    int64_t bytes = 0;
  };
  ThreadPool& pool_;
  std::vector<File> files_;
};

// Now as an AtomicFile; with `staged` it goes there.
absl::Status WriteOrStage(const std::string& path, std::string_view bytes, StagedFiles* staged);

}  // namespace temper
