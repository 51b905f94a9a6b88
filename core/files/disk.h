// SPDX-License-Identifier: Apache-2.0
// The calls that change a disk. Whatever temper writes goes through them (scripts/check_layers.py looks), so
// that a test can put a disk in place that fails, dies or forgets. What only reads does not.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace temper {

// The kernel's. Each call is as the system's of its kind: -1 and errno where it fails, EINTR included. Any
// thread.
class Disk {
 public:
  virtual ~Disk() = default;
  virtual int Open(const std::string& path, int flags, mode_t mode);  // to write; the caller closes it
  virtual ssize_t Write(int file, std::string_view bytes);            // where it stands
  virtual ssize_t WriteAt(int file, std::string_view bytes, int64_t offset);
  virtual int Cut(int file, int64_t bytes);  // or makes it longer, by zeros
  virtual int Sync(int file);                // a file, or a folder that is open to read
  virtual int Rename(const std::string& from, const std::string& to);
  virtual int MakeFolder(const std::string& path, mode_t mode);
  virtual int RemoveFolder(const std::string& path);  // an empty one
  virtual int RemoveFile(const std::string& path);
};

// The one that all files are written by.
Disk& TheDisk();

// What this user may still write where the folder (or the nearest above it that is there) lies; nothing
// where that cannot be known. A quota of the user's own is not seen.
std::optional<int64_t> FreeBytes(const std::string& folder);
std::string MebibytesText(int64_t bytes);  // "12.3 MiB"

// Puts another in its place for a scope, in a test. Not while somebody writes.
class DiskInPlace {
 public:
  explicit DiskInPlace(Disk* disk);
  ~DiskInPlace();
  DiskInPlace(const DiskInPlace&) = delete;
  DiskInPlace& operator=(const DiskInPlace&) = delete;

 private:
  Disk* const before_;
};

}  // namespace temper
