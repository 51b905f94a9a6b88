// SPDX-License-Identifier: Apache-2.0
#include "comm/check.h"

#include <cstring>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "core/check.h"

namespace temper {

absl::Status AllRanksHold(std::string_view what, uint64_t hash, Communicator& comm) {
  std::vector<uint64_t> hashes;
  for (const std::string& bytes : comm.AllGather({reinterpret_cast<const char*>(&hash), sizeof hash})) {
    TEMPER_CHECK(bytes.size() == sizeof hash);
    std::memcpy(&hashes.emplace_back(), bytes.data(), sizeof hash);
  }
  int first = 0, others = 0;
  for (int rank = comm.size() - 1; rank > 0; --rank) {
    if (hashes[rank] == hashes[0]) continue;
    first = rank;
    ++others;
  }
  if (first == 0) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrFormat("%s of rank %d differs from rank 0's (hash %016x, not %016x)%s: start every rank with "
                      "the same files and options",
                      what, first, hashes[first], hashes[0],
                      others > 1 ? absl::StrFormat(", and so does that of %d more ranks", others - 1) : ""));
}

}  // namespace temper
