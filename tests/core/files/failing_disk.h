// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <unistd.h>

#include <cerrno>
#include <climits>
#include <mutex>
#include <string>

#include "core/files/disk.h"

namespace temper {

enum class Fault {
  kFull,         // ENOSPC, once
  kFullForGood,  // ENOSPC, and so is from then on whatever takes room
  kShort,        // a write does half, and the next operation is ENOSPC
  kBroken,       // EIO, once
  kDeath,        // EIO, and nothing reaches the disk any more: what a kill leaves
};
inline constexpr Fault kFaults[] = {Fault::kFull, Fault::kFullForGood, Fault::kShort, Fault::kBroken,
                                    Fault::kDeath};

// A disk whose operation `at`, counted from 0, fails. Any thread.
class FailingDisk : public Disk {
 public:
  explicit FailingDisk(int64_t at = -1, Fault fault = Fault::kBroken) : at_(at), fault_(fault) {}
  int64_t operations() const { return operations_; }
  const std::string& failed() const { return failed_; }  // "rename PATH"; empty: none has

  int Open(const std::string& path, int flags, mode_t mode) override {
    return Fails("open", path, kTakesRoom) ? -1 : Disk::Open(path, flags, mode);
  }
  ssize_t Write(int file, std::string_view bytes) override {
    bool half = false;
    if (Fails("write", PathOf(file), kTakesRoom, &half)) return -1;
    return Disk::Write(file, half ? bytes.substr(0, bytes.size() / 2) : bytes);
  }
  ssize_t WriteAt(int file, std::string_view bytes, int64_t offset) override {
    bool half = false;
    if (Fails("write", PathOf(file), kTakesRoom, &half)) return -1;
    return Disk::WriteAt(file, half ? bytes.substr(0, bytes.size() / 2) : bytes, offset);
  }
  int Cut(int file, int64_t bytes) override {
    return Fails("cut", PathOf(file), kFrees) ? -1 : Disk::Cut(file, bytes);
  }
  int Sync(int file) override { return Fails("sync", PathOf(file), kTakesRoom) ? -1 : Disk::Sync(file); }
  int Rename(const std::string& from, const std::string& to) override {
    return Fails("rename", from, kTakesRoom) ? -1 : Disk::Rename(from, to);
  }
  int MakeFolder(const std::string& path, mode_t mode) override {
    return Fails("make", path, kTakesRoom) ? -1 : Disk::MakeFolder(path, mode);
  }
  int RemoveFolder(const std::string& path) override {
    return Fails("remove", path, kFrees) ? -1 : Disk::RemoveFolder(path);
  }
  int RemoveFile(const std::string& path) override {
    return Fails("remove", path, kFrees) ? -1 : Disk::RemoveFile(path);
  }

 private:
  enum Need { kTakesRoom, kFrees };

  static std::string PathOf(int file) {
    char path[PATH_MAX];
    const ssize_t length = readlink(("/proc/self/fd/" + std::to_string(file)).c_str(), path, sizeof(path));
    return length < 0 ? "" : std::string(path, static_cast<size_t>(length));
  }

  // With errno. `half`: of a write, whether it is to do a part.
  bool Fails(const char* what, const std::string& path, Need need, bool* half = nullptr) {
    const std::lock_guard lock(mutex_);
    const int64_t number = operations_++;
    const bool now = number == at_, before = at_ >= 0 && number > at_;
    if (now && fault_ == Fault::kShort && half != nullptr) {
      *half = short_ = true;
      return false;
    }
    const bool fails = now || (before && (fault_ == Fault::kDeath || std::exchange(short_, false) ||
                                          (fault_ == Fault::kFullForGood && need == kTakesRoom)));
    if (!fails) return false;
    if (failed_.empty()) failed_ = std::string(what) + " " + path;
    const bool broken = fault_ == Fault::kDeath || fault_ == Fault::kBroken || need == kFrees;
    errno = broken ? EIO : ENOSPC;
    return true;
  }

  const int64_t at_;
  const Fault fault_;
  std::mutex mutex_;
  int64_t operations_ = 0;
  bool short_ = false;
  std::string failed_;
};

}  // namespace temper
