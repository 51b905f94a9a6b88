// SPDX-License-Identifier: Apache-2.0
#include "core/files/disk.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>

#include "absl/strings/str_format.h"

namespace temper {
namespace {

std::atomic<Disk*> disk_in_place = nullptr;

}  // namespace

int Disk::Open(const std::string& path, int flags, mode_t mode) { return open(path.c_str(), flags, mode); }

ssize_t Disk::Write(int file, std::string_view bytes) { return write(file, bytes.data(), bytes.size()); }

ssize_t Disk::WriteAt(int file, std::string_view bytes, int64_t offset) {
  return pwrite(file, bytes.data(), bytes.size(), offset);
}

int Disk::Cut(int file, int64_t bytes) { return ftruncate(file, bytes); }

int Disk::Sync(int file) { return fsync(file); }

int Disk::Rename(const std::string& from, const std::string& to) { return rename(from.c_str(), to.c_str()); }

int Disk::MakeFolder(const std::string& path, mode_t mode) { return mkdir(path.c_str(), mode); }

int Disk::RemoveFolder(const std::string& path) { return rmdir(path.c_str()); }

int Disk::RemoveFile(const std::string& path) { return unlink(path.c_str()); }

std::optional<int64_t> FreeBytes(const std::string& folder) {
  struct statvfs system;
  if (statvfs(folder.c_str(), &system) == 0) {
    if (system.f_blocks == 0) return std::nullopt;  // some file systems in user space do not say
    return static_cast<int64_t>(system.f_bavail) * static_cast<int64_t>(system.f_frsize);
  }
  const size_t slash = folder.rfind('/');
  if (errno != ENOENT || slash == folder.npos) return std::nullopt;
  return FreeBytes(slash == 0 ? "/" : folder.substr(0, slash));
}

std::string MebibytesText(int64_t bytes) {
  return absl::StrFormat("%.1f MiB", static_cast<double>(bytes) / (1 << 20));
}

Disk& TheDisk() {
  static Disk kernel;
  Disk* const other = disk_in_place;
  return other == nullptr ? kernel : *other;
}

DiskInPlace::DiskInPlace(Disk* disk) : before_(disk_in_place.exchange(disk)) {}

DiskInPlace::~DiskInPlace() { disk_in_place = before_; }

}  // namespace temper
