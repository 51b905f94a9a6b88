// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "core/status.h"

namespace temper {

// CRC-32C (RFC 3720, appendix B.4), by the processor's instruction where it has one. `crc` is that of the
// bytes before.
uint32_t Crc32c(std::string_view bytes, uint32_t crc = 0);

// Told of each piece of a file that was read, in bytes; an error ends the reading and is what comes back.
using OnBytes = std::function<absl::Status(int64_t bytes)>;

absl::StatusOr<uint32_t> Crc32cOfFile(const std::string& path, const OnBytes& on_bytes = nullptr);

// The beginning of a file that grows.
struct Extent {
  int64_t bytes = 0;
  uint32_t crc32c = 0;

  bool operator==(const Extent&) const = default;
  void Add(std::string_view more) {
    bytes += static_cast<int64_t>(more.size());
    crc32c = Crc32c(more, crc32c);
  }
};

// The first `bytes` bytes. DataLoss where the file has fewer.
absl::StatusOr<Extent> ExtentOfFile(const std::string& path, int64_t bytes,
                                    const OnBytes& on_bytes = nullptr);

}  // namespace temper
