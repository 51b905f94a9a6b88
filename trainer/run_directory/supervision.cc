// SPDX-License-Identifier: Apache-2.0
#include "trainer/run_directory/supervision.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "core/files/disk.h"
#include "trainer/run_directory/run_directory.h"

namespace temper {

Supervision::~Supervision() {
  if (file_ < 0) return;
  TheDisk().RemoveFile(SupervisedPath(run_directory_));
  close(file_);
}

// A file that was removed between its opening and its locking, by the one that held it, holds nobody off.
void Supervision::Hold() {
  if (file_ >= 0) return;
  const std::string path = SupervisedPath(run_directory_);
  const int file =
      TheDisk().Open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);  // others look at its lock
  if (file < 0) return;
  struct stat mine, there;
  if (flock(file, LOCK_EX | LOCK_NB) == 0 && fstat(file, &mine) == 0 && stat(path.c_str(), &there) == 0 &&
      mine.st_ino == there.st_ino && mine.st_dev == there.st_dev) {
    file_ = file;
  } else {
    close(file);
  }
}

bool IsSupervised(const std::string& run_directory) { return IsLocked(SupervisedPath(run_directory)); }

bool IsLocked(const std::string& path) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (file < 0) return false;
  const bool locked = flock(file, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
  close(file);
  return locked;
}

}  // namespace temper
