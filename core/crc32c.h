// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/status.h"

namespace temper {

// CRC-32C (RFC 3720, appendix B.4), by the processor's instruction where it has one. `crc` is that of the
// bytes before.
uint32_t Crc32c(std::string_view bytes, uint32_t crc = 0);

absl::StatusOr<uint32_t> Crc32cOfFile(const std::string& path);

}  // namespace temper
