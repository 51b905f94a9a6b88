// SPDX-License-Identifier: Apache-2.0
#include "core/files/crc32c.h"

#include <array>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "core/files/file.h"
#include "core/text.h"

namespace temper {
namespace {

// The reflected polynomial 0x1EDC6F41, a byte at a time.
uint32_t ByTable(std::string_view bytes, uint32_t state) {
  static const std::array<uint32_t, 256> kTable = [] {
    std::array<uint32_t, 256> table;
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t crc = i;
      for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78u : 0u);
      table[i] = crc;
    }
    return table;
  }();
  for (const unsigned char byte : bytes) state = state >> 8 ^ kTable[(state ^ byte) & 0xFF];
  return state;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) uint32_t ByInstruction(std::string_view bytes, uint32_t state) {
  uint64_t wide = state, word = 0;
  for (; bytes.size() >= sizeof(word); bytes.remove_prefix(sizeof(word))) {
    std::memcpy(&word, bytes.data(), sizeof(word));
    wide = __builtin_ia32_crc32di(wide, word);
  }
  return ByTable(bytes, static_cast<uint32_t>(wide));
}
#endif

}  // namespace

uint32_t Crc32c(std::string_view bytes, uint32_t crc) {
#if defined(__x86_64__)
  static const bool kHasInstruction = __builtin_cpu_supports("sse4.2");
  if (kHasInstruction) return ~ByInstruction(bytes, ~crc);
#endif
  return ~ByTable(bytes, ~crc);
}

absl::StatusOr<uint32_t> Crc32cOfFile(const std::string& path, const OnBytes& on_bytes) {
  uint32_t crc = 0;
  TEMPER_RETURN_IF_ERROR(ForEachPiece(path, [&](std::string_view bytes) {
    crc = Crc32c(bytes, crc);
    return on_bytes ? on_bytes(static_cast<int64_t>(bytes.size())) : absl::OkStatus();
  }));
  return crc;
}

absl::StatusOr<Extent> ExtentOfFile(const std::string& path, int64_t bytes, const OnBytes& on_bytes) {
  Extent extent;
  TEMPER_RETURN_IF_ERROR(ForEachPiece(path, [&](std::string_view piece) {
    extent.Add(piece.substr(0, bytes - extent.bytes));
    return on_bytes ? on_bytes(static_cast<int64_t>(piece.size())) : absl::OkStatus();
  }));
  if (extent.bytes == bytes) return extent;
  return absl::DataLossError(absl::StrCat(Printable(path, 1000), ": has ", extent.bytes, " bytes where ",
                                          bytes, " were written; it was cut or replaced since"));
}

}  // namespace temper
