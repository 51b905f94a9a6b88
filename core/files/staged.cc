// SPDX-License-Identifier: Apache-2.0
#include "core/files/staged.h"

#include <cstring>
#include <utility>

#include "core/check.h"
#include "core/files/crc32c.h"
#include "core/files/file.h"
#include "core/status.h"

namespace temper {

size_t StagedFiles::Add(std::string path, int64_t bytes) {
  files_.push_back(
      {std::move(path), std::make_unique_for_overwrite<char[]>(static_cast<size_t>(bytes)), bytes});
  return files_.size() - 1;
}

void StagedFiles::Put(size_t file, int64_t at, std::string_view bytes) {
  constexpr int64_t kPiece = int64_t{1} << 20;
  const auto size = static_cast<int64_t>(bytes.size());
  TEMPER_CHECK(at >= 0 && size <= files_[file].bytes - at, files_[file].path);
  pool_.ParallelFor(size, kPiece, [&](int64_t begin, int64_t end) {
    std::memcpy(files_[file].memory.get() + at + begin, bytes.data() + begin,
                static_cast<size_t>(end - begin));
  });
}

void StagedFiles::Add(std::string path, std::string_view bytes) {
  Put(Add(std::move(path), static_cast<int64_t>(bytes.size())), 0, bytes);
}

int64_t StagedFiles::bytes() const {
  int64_t all = 0;
  for (const File& file : files_) all += file.bytes;
  return all;
}

absl::StatusOr<std::map<std::string, uint32_t>> StagedFiles::Write() {
  std::map<std::string, uint32_t> sums;
  for (File& file : files_) {
    const std::string_view bytes(file.memory.get(), static_cast<size_t>(file.bytes));
    TEMPER_RETURN_IF_ERROR(WriteFileAtomic(file.path, bytes));
    sums[file.path] = Crc32c(bytes);
    file.memory = nullptr;
  }
  return sums;
}

absl::Status WriteOrStage(const std::string& path, std::string_view bytes, StagedFiles* staged) {
  if (staged == nullptr) return WriteFileAtomic(path, bytes);
  staged->Add(path, bytes);
  return absl::OkStatus();
}

}  // namespace temper
