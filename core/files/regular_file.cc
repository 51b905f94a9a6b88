// SPDX-License-Identifier: Apache-2.0
#include "core/files/regular_file.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "core/files/file.h"
#include "core/text.h"

namespace temper {
namespace {

absl::Status NoFile(const std::string& path, const char* what) {
  return absl::InvalidArgumentError(absl::StrCat(Printable(path, 1000), ": is ", what, ", not a file"));
}

absl::Status NoFileOfTheKernel(const std::string& path) { return NoFile(path, "what the kernel makes up"); }

bool IsKernelMade(int file) {
  struct statfs system;
  if (fstatfs(file, &system) != 0) return false;
  switch (static_cast<uint32_t>(system.f_type)) {
    case PROC_SUPER_MAGIC:
    case SYSFS_MAGIC:
    case DEBUGFS_MAGIC:
    case TRACEFS_MAGIC:
    case SECURITYFS_MAGIC:
    case CGROUP_SUPER_MAGIC:
    case CGROUP2_SUPER_MAGIC:
      return true;
    default:
      return false;
  }
}

}  // namespace

absl::Status CheckRegular(const std::string& path, mode_t mode) {
  if (S_ISDIR(mode)) return NoFile(path, "a folder");
  if (S_ISFIFO(mode)) return NoFile(path, "a pipe");
  if (S_ISSOCK(mode)) return NoFile(path, "a socket");
  return S_ISREG(mode) ? absl::OkStatus() : NoFile(path, "a device");
}

absl::StatusOr<int> OpenRegularFile(const std::string& path, int64_t* size, KernelMade kernel_made) {
  struct stat info;
  // Looked at first: to open a device may do something.
  if (stat(path.c_str(), &info) != 0) return SystemError(path, "read");
  if (absl::Status status = CheckRegular(path, info.st_mode); !status.ok()) return status;
  int file = -1;
  do {
    file = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  } while (file < 0 && errno == EINTR);
  if (file < 0) return SystemError(path, "read");
  absl::Status status =
      fstat(file, &info) == 0 ? CheckRegular(path, info.st_mode) : SystemError(path, "read");
  if (status.ok() && kernel_made == KernelMade::kRefused && IsKernelMade(file))
    status = NoFileOfTheKernel(path);
  if (!status.ok()) {
    close(file);
    return status;
  }
  *size = info.st_size;
  return file;
}

absl::Status ReadError(const std::string& path, int file) {
  const absl::Status status = SystemError(path, "read");
  return IsKernelMade(file) ? NoFileOfTheKernel(path) : status;
}

}  // namespace temper
