// SPDX-License-Identifier: Apache-2.0
#include "core/rows_source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "core/file.h"
#include "core/text.h"

namespace temper {
namespace {

// Whether the path leads to a pipe that has a name, not to one that is open already (/dev/fd/63).
bool IsNamed(const std::string& path) {
  char* name = realpath(path.c_str(), nullptr);
  std::free(name);
  return name != nullptr;
}

const char* WhyNot(const std::string& path, int file, mode_t mode) {
  if (S_ISDIR(mode)) return "is a folder";
  if (S_ISFIFO(mode) && IsNamed(path)) return "is a named pipe";
  if (S_ISBLK(mode) || (S_ISCHR(mode) && isatty(file) == 0)) return "is a device";
  return nullptr;
}

}  // namespace

absl::StatusOr<int> OpenRowsSource(const std::string& path) {
  // O_NONBLOCK: opening a pipe that nobody writes must not hang.
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  struct stat info;
  if (file < 0 || fstat(file, &info) != 0) return SystemError(path, "read");
  if (const char* why = WhyNot(path, file, info.st_mode)) {
    close(file);
    return absl::InvalidArgumentError(absl::StrCat(Printable(path, 1000), ": ", why, ", not a file of rows"));
  }
  fcntl(file, F_SETFL, fcntl(file, F_GETFL) & ~O_NONBLOCK);
  return file;
}

}  // namespace temper
