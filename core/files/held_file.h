// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>

namespace temper {

// A file that this process has locked (flock) as long as this lives; the kernel lets go of it when the
// process dies, and children do not inherit it. Others see it by LockOf, those on other machines where the
// file system's locks reach so far: where they do not, it looks free.
class HeldFile {
 public:
  // Makes the file where it is missing, if it may. Null: another has it, or it cannot be opened or locked.
  static std::unique_ptr<HeldFile> Take(const std::string& path, mode_t mode, bool make = true);
  ~HeldFile();
  HeldFile(const HeldFile&) = delete;
  HeldFile& operator=(const HeldFile&) = delete;

 private:
  explicit HeldFile(int file) : file_(file) {}
  const int file_;
};

// Whether a process, this one too, has the file or folder locked. kUnknown: it is not there or cannot be
// opened, or the file system does not say, as a server of locks that starts again.
enum class LockState { kLocked, kFree, kUnknown };
LockState LockOf(const std::string& path);
inline bool IsLocked(const std::string& path) { return LockOf(path) == LockState::kLocked; }

}  // namespace temper
