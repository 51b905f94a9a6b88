// SPDX-License-Identifier: Apache-2.0
#include "core/files/staged.h"

#include "core/files/crc32c.h"
#include "core/files/file.h"
#include "core/status.h"

namespace temper {

absl::StatusOr<std::map<std::string, uint32_t>> StagedFiles::Write() {
  std::map<std::string, uint32_t> sums;
  for (auto& [path, bytes] : files_) {
    TEMPER_RETURN_IF_ERROR(WriteFileAtomic(path, bytes));
    sums[path] = Crc32c(bytes);
    std::string().swap(bytes);
  }
  return sums;
}

}  // namespace temper
