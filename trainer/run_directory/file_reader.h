// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "comm/communicator.h"
#include "core/files/crc32c.h"

namespace temper {

// Reads files for their checksums: this process alone, or all ranks, each file by one of them (ReadTogether).
class FileReader {
 public:
  explicit FileReader(OnBytes on_bytes = nullptr) : on_bytes_(std::move(on_bytes)) {}

  // Of the whole files, in the order of paths.
  absl::StatusOr<std::vector<Extent>> Read(const std::vector<std::string>& paths) const;

 private:
  friend absl::Status ReadTogether(Communicator& ranks, const OnBytes& on_bytes,
                                   absl::FunctionRef<absl::Status(const FileReader&)> check);
  FileReader(Communicator* ranks, const OnBytes& on_bytes) : ranks_(ranks), on_bytes_(on_bytes) {}
  // This rank's of them: a status, and a line of size and sum for each.
  std::string ReadShare(const std::vector<std::string>& paths) const;
  // What the first rank asks for, until it asks no more.
  void Help() const;

  Communicator* ranks_ = nullptr;
  OnBytes on_bytes_;  // of what this rank reads
};

// Collective: the first rank's `check` has the files that it asks for read by all ranks, which see the same
// folder. Its outcome is all ranks', as of AllRanksOk (comm/check.h).
absl::Status ReadTogether(Communicator& ranks, const OnBytes& on_bytes,
                          absl::FunctionRef<absl::Status(const FileReader&)> check);

}  // namespace temper
