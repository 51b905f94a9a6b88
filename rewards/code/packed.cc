// SPDX-License-Identifier: Apache-2.0
#include "rewards/code/packed.h"

#include <zlib.h>

#include <algorithm>
#include <optional>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace temper {
namespace {

// Nothing: damaged, or more than `most` bytes.
std::optional<std::string> Inflate(const std::string& bytes, size_t most) {
  z_stream stream = {};
  if (inflateInit(&stream) != Z_OK) return std::nullopt;
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  std::string text;
  int state = Z_OK;
  while (state == Z_OK && text.size() <= most) {
    constexpr size_t kPiece = 1 << 16;
    const size_t before = text.size();
    text.resize(before + std::min(std::max(kPiece, before), most + 1 - before));
    stream.next_out = reinterpret_cast<Bytef*>(text.data() + before);
    stream.avail_out = static_cast<uInt>(text.size() - before);
    state = inflate(&stream, Z_NO_FLUSH);
    text.resize(text.size() - stream.avail_out);
  }
  inflateEnd(&stream);
  if (state != Z_STREAM_END || text.size() > most) return std::nullopt;
  return text;
}

// The text of a pickle of protocol 2 to 5 that is no more than one text (pickletools.py of Python has the
// opcodes).
std::optional<std::string_view> OneText(std::string_view pickle) {
  const auto take = [&](size_t bytes) -> std::optional<uint64_t> {  // a number, the least byte first
    if (pickle.size() < bytes) return std::nullopt;
    uint64_t number = 0;
    for (size_t i = bytes; i-- > 0;) number = number << 8 | static_cast<unsigned char>(pickle[i]);
    pickle.remove_prefix(bytes);
    return number;
  };
  std::optional<std::string_view> text;
  while (!pickle.empty()) {
    const char op = pickle[0];
    pickle.remove_prefix(1);
    switch (op) {
      case '\x80':  // PROTO
      case 'q':     // BINPUT
        if (!take(1)) return std::nullopt;
        break;
      case '\x95':  // FRAME
        if (!take(8)) return std::nullopt;
        break;
      case 'r':  // LONG_BINPUT
        if (!take(4)) return std::nullopt;
        break;
      case '\x94':  // MEMOIZE
        break;
      case '\x8c':  // SHORT_BINUNICODE
      case 'X':     // BINUNICODE
      case '\x8d':  // BINUNICODE8
      {
        const std::optional<uint64_t> bytes = take(op == 'X' ? 4 : op == '\x8c' ? 1 : 8);
        if (text || !bytes || *bytes > pickle.size()) return std::nullopt;
        text = pickle.substr(0, *bytes);
        pickle.remove_prefix(*bytes);
        break;
      }
      case '.':  // STOP
        return pickle.empty() ? text : std::nullopt;
      default:
        return std::nullopt;
    }
  }
  return std::nullopt;
}

}  // namespace

absl::StatusOr<std::string> UnpackText(std::string_view packed, const std::string& where, size_t most) {
  const auto unfit = [&](const std::string& what) {
    return absl::InvalidArgumentError(absl::StrCat(where, ": ", what));
  };
  std::string bytes;
  if (packed.size() > most || !absl::Base64Unescape(std::string(packed), &bytes))
    return unfit("is neither JSON nor base64");
  const std::optional<std::string> pickle = Inflate(bytes, most);
  if (!pickle) return unfit(absl::StrCat("is no zlib in base64, or more than ", most >> 20, " MiB of it"));
  const std::optional<std::string_view> text = OneText(*pickle);
  if (!text) return unfit("is a pickle of more than one text, which is not read");
  return std::string(*text);
}

}  // namespace temper
