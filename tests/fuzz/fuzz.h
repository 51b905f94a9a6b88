// SPDX-License-Identifier: Apache-2.0
// What the fuzz targets share. A target is a function of any bytes that must return: no crash, no exception,
// nothing undefined, within seconds and 2 GB. `FUZZ(bytes) { .. }` defines it; libFuzzer calls it.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "core/check.h"

#define FUZZ(bytes)                                                         \
  static void Fuzz(std::string_view bytes);                                 \
  extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) { \
    Fuzz(std::string_view(reinterpret_cast<const char*>(data), size));      \
    return 0;                                                               \
  }                                                                         \
  static void Fuzz(std::string_view bytes)

namespace temper {

// The first line, and what follows it.
inline std::pair<std::string_view, std::string_view> FirstLine(std::string_view bytes) {
  const size_t end = bytes.find('\n');
  if (end == bytes.npos) return {bytes, ""};
  return {bytes.substr(0, end), bytes.substr(end + 1)};
}

// A nameless file in memory, for readers that want a path.
class InputFile {
 public:
  explicit InputFile(std::string_view bytes) : file_(memfd_create("input", MFD_CLOEXEC)) {
    TEMPER_CHECK(file_ >= 0, "memfd_create");
    TEMPER_CHECK(write(file_, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()), "write");
  }
  ~InputFile() { close(file_); }
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;
  std::string path() const { return "/proc/self/fd/" + std::to_string(file_); }

 private:
  const int file_;
};

}  // namespace temper
