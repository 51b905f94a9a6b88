// SPDX-License-Identifier: Apache-2.0
#include "core/files/rows_source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "core/files/file.h"
#include "core/files/regular_file.h"
#include "core/text.h"

namespace temper {
namespace {

// Whether the path leads to a pipe that has a name, not to one that is open already (/dev/fd/63).
bool IsNamed(const std::string& path) {
  char* name = realpath(path.c_str(), nullptr);
  std::free(name);
  return name != nullptr;
}

// Whether it is the terminal that standard input is, as /dev/stdin.
bool IsOwnTerminal(const struct stat& info) {
  struct stat own;
  return S_ISCHR(info.st_mode) && isatty(STDIN_FILENO) == 1 && fstat(STDIN_FILENO, &own) == 0 &&
         own.st_rdev == info.st_rdev;
}

}  // namespace

absl::StatusOr<int> OpenRowsSource(const std::string& path) {
  struct stat info;
  if (stat(path.c_str(), &info) != 0) return SystemError(path, "read");
  const bool is_open = (S_ISFIFO(info.st_mode) && !IsNamed(path)) || IsOwnTerminal(info);
  int64_t size = 0;
  if (!is_open) return OpenRegularFile(path, &size);
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0) return SystemError(path, "read");
  fcntl(file, F_SETFL, fcntl(file, F_GETFL) & ~O_NONBLOCK);
  return file;
}

absl::Status CheckStandardInput() {
  struct stat info;
  if (fstat(STDIN_FILENO, &info) != 0) return absl::InvalidArgumentError("standard input: is closed");
  const bool is_null = S_ISCHR(info.st_mode) && info.st_rdev == makedev(1, 3);
  const char* what = S_ISDIR(info.st_mode) ? "a folder" : "a device";
  const bool has_rows = !S_ISDIR(info.st_mode) && !S_ISBLK(info.st_mode) &&
                        (!S_ISCHR(info.st_mode) || is_null || isatty(STDIN_FILENO) == 1);
  return has_rows
             ? absl::OkStatus()
             : absl::InvalidArgumentError(absl::StrCat("standard input: is ", what, ", not a file of rows"));
}

}  // namespace temper
