// SPDX-License-Identifier: Apache-2.0
#include "core/files/rows_source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cstdlib>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "core/files/file.h"
#include "core/files/regular_file.h"
#include "core/status.h"
#include "core/text.h"

namespace temper {
namespace {

// Whether the path leads to a pipe that has a name, not to one that is open already (/dev/fd/63).
bool IsNamed(const std::string& path) {
  char* name = realpath(path.c_str(), nullptr);
  std::free(name);
  return name != nullptr;
}

// A pipe that is open already can be read to its end where a descriptor of this process reads from it and
// none writes to it, as standard output's may.
absl::Status CheckPipe(const std::string& path, const struct stat& pipe) {
  TEMPER_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDirectory("/proc/self/fd"));
  bool is_read = false, is_written = false;
  for (const std::string& name : names) {
    int descriptor = -1;
    struct stat info;
    if (!absl::SimpleAtoi(name, &descriptor) || fstat(descriptor, &info) != 0 || info.st_ino != pipe.st_ino ||
        info.st_dev != pipe.st_dev)
      continue;
    const int mode = fcntl(descriptor, F_GETFL) & O_ACCMODE;
    is_read |= mode != O_WRONLY;
    is_written |= mode != O_RDONLY;
  }
  if (is_read && !is_written) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      Printable(path, 1000),
      is_written
          ? ": is a pipe that temper itself may write to, so that it never ends: give one that is only read"
          : ": is a pipe of another program: give a file, or a pipe of temper's own"));
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
  if (S_ISFIFO(info.st_mode)) TEMPER_RETURN_IF_ERROR(CheckPipe(path, info));
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
  const bool has_rows = S_ISREG(info.st_mode) || S_ISFIFO(info.st_mode) || S_ISSOCK(info.st_mode) ||
                        is_null || isatty(STDIN_FILENO) == 1;
  return has_rows
             ? absl::OkStatus()
             : absl::InvalidArgumentError(absl::StrCat("standard input: is ", what, ", not a file of rows"));
}

}  // namespace temper
