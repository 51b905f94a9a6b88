// SPDX-License-Identifier: Apache-2.0
#include "core/files/held_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "core/files/disk.h"

namespace temper {

// A file that was removed between its opening and its locking, by the one that held it, holds nobody off.
std::unique_ptr<HeldFile> HeldFile::Take(const std::string& path, mode_t mode, bool make) {
  const int flags = O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | (make ? O_CREAT : 0);
  const int file = TheDisk().Open(path, flags, mode);
  if (file < 0) return nullptr;
  struct stat mine, there;
  if (flock(file, LOCK_EX | LOCK_NB) == 0 && fstat(file, &mine) == 0 && stat(path.c_str(), &there) == 0 &&
      mine.st_ino == there.st_ino && mine.st_dev == there.st_dev)
    return std::unique_ptr<HeldFile>(new HeldFile(file));
  close(file);
  return nullptr;
}

HeldFile::~HeldFile() { close(file_); }

LockState LockOf(const std::string& path) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (file < 0) return LockState::kUnknown;
  const int error = flock(file, LOCK_SH | LOCK_NB) == 0 ? 0 : errno;
  close(file);
  return error == 0 ? LockState::kFree : error == EWOULDBLOCK ? LockState::kLocked : LockState::kUnknown;
}

}  // namespace temper
