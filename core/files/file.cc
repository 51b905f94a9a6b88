// SPDX-License-Identifier: Apache-2.0
#include "core/files/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/files/disk.h"
#include "core/files/regular_file.h"
#include "core/host.h"
#include "core/text.h"

namespace temper {
namespace {

std::atomic<mode_t> new_file_mode = 0600, new_folder_mode = 0700;

template <class F>
auto Retry(F call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

// Closes at the end of the scope.
class Descriptor {
 public:
  explicit Descriptor(int file) : file_(file) {}
  ~Descriptor() {
    if (file_ >= 0) close(file_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return file_; }
  int Release() { return std::exchange(file_, -1); }

 private:
  int file_;
};

absl::Status WriteAll(int file, std::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t written = Retry([&] { return TheDisk().Write(file, bytes); });
    if (written < 0) return SystemError(path, "write");
    bytes.remove_prefix(written);
  }
  return absl::OkStatus();
}

std::string FolderOf(const std::string& path) {
  const size_t slash = path.find_last_of('/');
  return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

std::string NameOf(const std::string& path) { return path.substr(path.find_last_of('/') + 1); }

std::string Trimmed(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

// Whether it has been made; one that was there before is no error.
absl::StatusOr<bool> MakeOne(const std::string& path) {
  if (TheDisk().MakeFolder(path, new_folder_mode) == 0) return true;
  const int error = errno;
  struct stat info;
  if (stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) return false;
  errno = error;
  return SystemError(path, "make the folder");
}

absl::Status SyncTree(const std::string& path) {
  TEMPER_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDirectory(path));
  for (const std::string& name : names) {
    const std::string child = absl::StrCat(path, "/", name);
    struct stat info;
    if (lstat(child.c_str(), &info) != 0) return SystemError(child, "look at it");
    if (S_ISDIR(info.st_mode)) {
      TEMPER_RETURN_IF_ERROR(SyncTree(child));
    } else if (S_ISREG(info.st_mode)) {
      const Descriptor file(Retry([&] { return open(child.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW); }));
      if (file.get() < 0 || Retry([&] { return TheDisk().Sync(file.get()); }) != 0)
        return SystemError(child, "sync");
    }
  }
  return SyncDirectory(path);
}

absl::Status LinkError(const std::string& path) {
  return absl::FailedPreconditionError(
      absl::StrCat(Printable(path, 1000),
                   ": is a link, and what is written here could land anywhere: put the file or folder itself "
                   "in its place, or choose another folder"));
}

// What is written in place must have no second name, in another's folder or in a backup of linked files.
absl::Status CheckOneName(const std::string& path, const struct stat& info) {
  if (info.st_nlink <= 1) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(Printable(path, 1000), ": has ", info.st_nlink,
                   " names (hard links), and what is written here would land under all of them: put a copy "
                   "in its place"));
}

// What `.lock` says of who has the folder, or had it last.
std::string OwnerIn(int lock_file) {
  char owner[400] = {};
  const ssize_t got = Retry([&] { return pread(lock_file, owner, sizeof(owner) - 1, 0); });
  return got > 0 ? std::string(owner, static_cast<size_t>(got)) : "";
}

// "5f0c01a2b3c4d5e6": drawn, so that no other process on any machine has it.
std::string StartWord() {
  static const uint64_t word = [] {
    uint64_t drawn = 0;
    const bool is_drawn = getrandom(&drawn, sizeof(drawn), 0) == sizeof(drawn);
    return is_drawn ? drawn : static_cast<uint64_t>(time(nullptr));
  }();
  return absl::StrCat(absl::Hex(word, absl::kZeroPad16));
}

// "process 4711 on n2, start 5f0c01a2b3c4d5e6".
std::string ThisOwner() {
  return absl::StrCat("process ", getpid(), " on ", ThisHost(), ", start ", StartWord());
}

// Whether the open file or folder is what is at the path.
bool IsAt(int file, const std::string& path) {
  struct stat open_one, there;
  return fstat(file, &open_one) == 0 && stat(path.c_str(), &there) == 0 && open_one.st_dev == there.st_dev &&
         open_one.st_ino == there.st_ino;
}

}  // namespace

absl::Status SystemError(const std::string& path, const std::string& doing) {
  const int error = errno;
  const std::string message = absl::StrCat(Printable(path, 1000), ": cannot ", doing, ": ", strerror(error));
  switch (error) {
    case ENOSPC:
    case EDQUOT: {
      const std::optional<int64_t> free = FreeBytes(FolderOf(path));
      return absl::ResourceExhaustedError(absl::StrCat(
          message, free ? absl::StrCat(" (", MebibytesText(*free), " are free there)") : "", ": make room"));
    }
    case ENOENT:
      return absl::NotFoundError(message);
    case EACCES:
    case EBADF:
    case EEXIST:
    case EISDIR:
    case ELOOP:
    case ENAMETOOLONG:
    case ENODEV:
    case ENOTDIR:
    case ENXIO:
    case EPERM:
    case EROFS:
      return absl::FailedPreconditionError(message);
    default:
      return absl::UnavailableError(message);
  }
}

absl::StatusOr<std::string> ReadFile(const std::string& path, int64_t limit) {
  int64_t size = 0;
  TEMPER_ASSIGN_OR_RETURN(const int descriptor, OpenRegularFile(path, &size, KernelMade::kAllowed));
  const Descriptor file(descriptor);
  if (size > limit) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": has ", size, " bytes; at most ", limit, " are read"));
  }
  std::string bytes(size, '\0');
  size_t done = 0;
  for (;;) {
    // One byte more than expected, so that a file that grew, or says 0 as in /proc, is read to its end.
    if (done == bytes.size()) bytes.resize(done + std::max<size_t>(done / 2, 4096));
    const ssize_t got = Retry([&] { return read(file.get(), bytes.data() + done, bytes.size() - done); });
    if (got < 0) return ReadError(path, file.get());
    if (got == 0) break;
    done += got;
    if (done > static_cast<size_t>(limit)) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": has more than ", limit, " bytes"));
    }
  }
  bytes.resize(done);
  return bytes;
}

absl::StatusOr<std::unique_ptr<AtomicFile>> AtomicFile::Create(const std::string& path) {
  struct stat there;
  if (stat(path.c_str(), &there) == 0) TEMPER_RETURN_IF_ERROR(CheckRegular(path, there.st_mode));
  std::string temporary =
      absl::StrCat(FolderOf(path), "/.", NameOf(path), ".", getpid(), ".", StartWord(), ".tmp");
  if (FileExists(temporary)) TheDisk().RemoveFile(temporary);
  const int file = Retry([&] {
    return TheDisk().Open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, new_file_mode);
  });
  if (file < 0) return SystemError(path, "write");
  return std::unique_ptr<AtomicFile>(new AtomicFile(path, std::move(temporary), file));
}

AtomicFile::~AtomicFile() {
  close(file_);
  if (!committed_) TheDisk().RemoveFile(temporary_);
}

absl::Status AtomicFile::WriteAt(int64_t offset, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = Retry([&] { return TheDisk().WriteAt(file_, bytes, offset); });
    if (written < 0) return SystemError(path_, "write");
    bytes.remove_prefix(written);
    offset += written;
  }
  return absl::OkStatus();
}

absl::Status AtomicFile::Commit(const RunLock* lock) {
  if (Retry([&] { return TheDisk().Sync(file_); }) != 0) return SystemError(path_, "sync");
  if (lock != nullptr) TEMPER_RETURN_IF_ERROR(lock->Check());
  if (TheDisk().Rename(temporary_, path_) != 0) return SystemError(path_, "rename to it");
  committed_ = true;
  return SyncDirectory(FolderOf(path_));
}

absl::Status WriteFileAtomic(const std::string& path, std::string_view bytes, const RunLock* lock) {
  TEMPER_ASSIGN_OR_RETURN(const std::unique_ptr<AtomicFile> file, AtomicFile::Create(path));
  TEMPER_RETURN_IF_ERROR(file->WriteAt(0, bytes));
  return file->Commit(lock);
}

void ShareNewFiles() {
  new_file_mode = 0666;
  new_folder_mode = 0777;
}

bool FileExists(const std::string& path) {
  struct stat info;
  return lstat(path.c_str(), &info) == 0;
}

absl::Status CheckReadable(const std::string& path) {
  struct stat info;
  const bool is_folder = stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
  if (access(path.c_str(), is_folder ? R_OK | X_OK : R_OK) == 0 || errno != EACCES) return absl::OkStatus();
  return SystemError(path, "read");
}

absl::Status CheckNoLinks(const std::string& path) {
  struct stat info;
  if (lstat(path.c_str(), &info) != 0) return absl::OkStatus();
  if (S_ISLNK(info.st_mode)) return LinkError(path);
  if (!S_ISDIR(info.st_mode)) return absl::OkStatus();
  TEMPER_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDirectory(path));
  for (const std::string& name : names) TEMPER_RETURN_IF_ERROR(CheckNoLinks(absl::StrCat(path, "/", name)));
  return absl::OkStatus();
}

absl::Status CheckOnlyOursToWrite(const std::string& path, bool group_may) {
  struct stat info;
  if (stat(path.c_str(), &info) != 0) return absl::OkStatus();
  if (!group_may && info.st_uid != geteuid() && info.st_uid != 0) {
    return absl::FailedPreconditionError(absl::StrCat(Printable(path, 1000), ": belongs to user ",
                                                      info.st_uid, ", who may change it: chown it"));
  }
  // Where each user has a group of their own, under their own number, `mkdir` makes folders that it may
  // write.
  const bool private_group = info.st_gid == getegid() && getegid() == geteuid();
  const mode_t others = info.st_mode & (group_may || private_group ? S_IWOTH : S_IWOTH | S_IWGRP);
  if (others != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(Printable(path, 1000), ": ", others & S_IWOTH ? "every user" : "its group",
                     " of this machine may write there: chmod ", group_may ? "o-w" : "go-w", " it"));
  }
  if (!S_ISDIR(info.st_mode)) return absl::OkStatus();
  const absl::StatusOr<std::vector<std::string>> names = ListDirectory(path);
  if (absl::IsNotFound(names.status())) return absl::OkStatus();  // who works there has removed it since
  TEMPER_RETURN_IF_ERROR(names.status());
  for (const std::string& name : *names) {
    const std::string below = absl::StrCat(path, "/", name);
    if (lstat(below.c_str(), &info) == 0 && !S_ISLNK(info.st_mode))
      TEMPER_RETURN_IF_ERROR(CheckOnlyOursToWrite(below, group_may));
  }
  return absl::OkStatus();
}

absl::Status MakeDirectories(const std::string& path) {
  for (size_t end = 1; end <= path.size(); ++end) {
    if (end < path.size() && path[end] != '/') continue;
    const std::string part = path.substr(0, end);
    TEMPER_ASSIGN_OR_RETURN(const bool made, MakeOne(part));
    if (made) TEMPER_RETURN_IF_ERROR(SyncDirectory(FolderOf(Trimmed(part))));
  }
  return absl::OkStatus();
}

absl::Status MakePassingDirectory(const std::string& path) { return MakeOne(path).status(); }

absl::Status RemoveTree(const std::string& path) {
  struct stat info;
  if (lstat(path.c_str(), &info) != 0)
    return errno == ENOENT ? absl::OkStatus() : SystemError(path, "remove");
  if (S_ISDIR(info.st_mode)) {
    TEMPER_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDirectory(path));
    for (const std::string& name : names) TEMPER_RETURN_IF_ERROR(RemoveTree(absl::StrCat(path, "/", name)));
    if (TheDisk().RemoveFolder(path) != 0) return SystemError(path, "remove");
  } else if (TheDisk().RemoveFile(path) != 0) {
    return SystemError(path, "remove");
  }
  return absl::OkStatus();
}

absl::Status RenamePath(const std::string& from, const std::string& to) {
  if (TheDisk().Rename(from, to) != 0) return SystemError(from, absl::StrCat("rename to ", to));
  return SyncDirectory(FolderOf(to));
}

absl::StatusOr<std::vector<std::string>> ListDirectory(const std::string& path) {
  DIR* directory = opendir(path.c_str());
  if (directory == nullptr) return SystemError(path, "list");
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = readdir(directory)) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
    errno = 0;
  }
  absl::Status status = errno == 0 ? absl::OkStatus() : SystemError(path, "list");
  closedir(directory);
  if (!status.ok()) return status;
  std::sort(names.begin(), names.end());
  return names;
}

absl::Status SyncDirectory(const std::string& path) {
  const Descriptor folder(Retry([&] { return open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); }));
  if (folder.get() < 0) return SystemError(path, "sync");
  // EINVAL: a file system that has no fsync of folders.
  if (Retry([&] { return TheDisk().Sync(folder.get()); }) != 0 && errno != EINVAL)
    return SystemError(path, "sync");
  return absl::OkStatus();
}

AtomicDirectory::AtomicDirectory(const std::string& path, const RunLock* lock)
    : path_(Trimmed(path)),
      lock_(lock),
      temporary_(absl::StrCat(FolderOf(path_), "/.", NameOf(path_), lock == nullptr ? "" : ".",
                              lock == nullptr ? "" : StartWord(), ".tmp")),
      old_(absl::StrCat(FolderOf(path_), "/.", NameOf(path_), ".old")) {}

absl::StatusOr<std::unique_ptr<AtomicDirectory>> AtomicDirectory::Create(const std::string& path,
                                                                         const RunLock* lock) {
  auto directory = std::unique_ptr<AtomicDirectory>(new AtomicDirectory(path, lock));
  TEMPER_RETURN_IF_ERROR(RecoverDirectory(path));
  TEMPER_RETURN_IF_ERROR(RemoveTree(directory->temporary_));
  TEMPER_RETURN_IF_ERROR(MakeDirectories(FolderOf(directory->temporary_)));
  TEMPER_RETURN_IF_ERROR(MakePassingDirectory(directory->temporary_));
  return directory;
}

AtomicDirectory::~AtomicDirectory() {
  if (!committed_) RemoveTree(temporary_).IgnoreError();
}

absl::Status AtomicDirectory::Commit() {
  TEMPER_CHECK(!committed_);
  TEMPER_RETURN_IF_ERROR(SyncTree(temporary_));
  if (lock_ != nullptr) TEMPER_RETURN_IF_ERROR(lock_->Check());
  const bool replaces = FileExists(path_);
  if (replaces) TEMPER_RETURN_IF_ERROR(RenamePath(path_, old_));
  if (absl::Status status = RenamePath(temporary_, path_); !status.ok()) {
    if (replaces && !FileExists(path_)) RenamePath(old_, path_).IgnoreError();
    return status;
  }
  committed_ = true;
  return replaces ? RemoveTree(old_) : absl::OkStatus();
}

absl::Status RecoverDirectory(const std::string& path) {
  const std::string name = Trimmed(path);
  const std::string old = absl::StrCat(FolderOf(name), "/.", NameOf(name), ".old");
  if (!FileExists(old)) return absl::OkStatus();
  return FileExists(name) ? RemoveTree(old) : RenamePath(old, name);
}

namespace {

// Of the first `bytes` bytes.
absl::Status PutCopyInPlace(const std::string& path, int64_t bytes) {
  TEMPER_ASSIGN_OR_RETURN(const std::unique_ptr<AtomicFile> copy, AtomicFile::Create(path));
  int64_t at = 0;
  TEMPER_RETURN_IF_ERROR(ForEachPiece(path, [&](std::string_view piece) {
    piece = piece.substr(0, static_cast<size_t>(std::min<int64_t>(bytes - at, piece.size())));
    const absl::Status written = copy->WriteAt(at, piece);
    at += static_cast<int64_t>(piece.size());
    return written;
  }));
  return copy->Commit();
}

}  // namespace

absl::StatusOr<std::unique_ptr<AppendFile>> AppendFile::Open(const std::string& path, int64_t offset) {
  const bool is_new = !FileExists(path);
  Descriptor file(Retry([&] {
    return TheDisk().Open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW, new_file_mode);
  }));
  if (file.get() < 0 && errno == ELOOP) return LinkError(path);
  struct stat info;
  if (file.get() < 0 || fstat(file.get(), &info) != 0) return SystemError(path, "open");
  TEMPER_RETURN_IF_ERROR(CheckRegular(path, info.st_mode));
  TEMPER_RETURN_IF_ERROR(CheckOneName(path, info));
  if (offset > info.st_size) {
    return absl::DataLossError(absl::StrCat(path, ": has ", info.st_size, " bytes where ", offset,
                                            " were written; it was cut or replaced since"));
  }
  if (offset < 0) offset = info.st_size;
  if (is_new) {
    TEMPER_RETURN_IF_ERROR(SyncDirectory(FolderOf(path)));
    return std::unique_ptr<AppendFile>(new AppendFile(path, file.Release(), offset));
  }
  TEMPER_RETURN_IF_ERROR(PutCopyInPlace(path, offset));
  Descriptor copy(Retry(
      [&] { return TheDisk().Open(path, O_WRONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW, new_file_mode); }));
  if (copy.get() < 0) return SystemError(path, "open");
  if (lseek(copy.get(), offset, SEEK_SET) < 0) return SystemError(path, "seek");
  return std::unique_ptr<AppendFile>(new AppendFile(path, copy.Release(), offset));
}

AppendFile::~AppendFile() { close(file_); }

absl::Status AppendFile::CheckThere() const {
  if (IsAt(file_, path_)) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      Printable(path_, 1000), ": was removed, renamed or replaced while this process writes it"));
}

absl::Status AppendFile::Append(std::string_view bytes) {
  TEMPER_RETURN_IF_ERROR(CheckThere());
  absl::Status status = WriteAll(file_, bytes, path_);
  if (status.ok()) {
    offset_ += bytes.size();
  } else if (TheDisk().Cut(file_, offset_) != 0 || lseek(file_, offset_, SEEK_SET) < 0) {
    return SystemError(path_, "cut back after a failed write");
  }
  return status;
}

absl::Status AppendFile::Sync() {
  TEMPER_RETURN_IF_ERROR(CheckThere());
  return Retry([&] { return TheDisk().Sync(file_); }) == 0 ? absl::OkStatus() : SystemError(path_, "sync");
}

absl::StatusOr<std::unique_ptr<RunLock>> RunLock::Acquire(const std::string& directory) {
  const std::string path = absl::StrCat(directory, "/.lock");
  Descriptor file(
      Retry([&] { return TheDisk().Open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, new_file_mode); }));
  if (file.get() < 0) return errno == ELOOP ? LinkError(path) : SystemError(path, "open");
  struct stat info;
  if (fstat(file.get(), &info) != 0) return SystemError(path, "open");
  TEMPER_RETURN_IF_ERROR(CheckRegular(path, info.st_mode));
  TEMPER_RETURN_IF_ERROR(CheckOneName(path, info));
  Descriptor folder(Retry([&] { return open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); }));
  if (folder.get() < 0) return SystemError(directory, "open");
  // Who looks whether somebody is here (`temper status`) has the lock for a moment, and so has one who
  // leaves.
  bool folder_locked = false;
  for (int tries = 0; tries < 5 && !folder_locked; ++tries) {
    if (tries > 0) usleep(20'000);
    folder_locked = Retry([&] { return flock(folder.get(), LOCK_EX | LOCK_NB); }) == 0;
    if (!folder_locked && errno != EWOULDBLOCK) break;
  }
  const bool folder_taken = !folder_locked && errno == EWOULDBLOCK;
  if (folder_taken || Retry([&] { return flock(file.get(), LOCK_EX | LOCK_NB); }) != 0) {
    if (errno != EWOULDBLOCK) return SystemError(path, "lock");
    const std::string owner = OwnerIn(file.get());
    return absl::FailedPreconditionError(
        absl::StrCat(directory, ": another process works in this folder", owner.empty() ? "" : " (",
                     Printable(owner.substr(0, owner.find(", start "))), owner.empty() ? "" : ")",
                     "; wait for it, stop it, or choose another folder"));
  }
  if (Retry([&] { return TheDisk().Cut(file.get(), 0); }) != 0) return SystemError(path, "write");
  TEMPER_RETURN_IF_ERROR(WriteAll(file.get(), ThisOwner(), path));
  return std::unique_ptr<RunLock>(new RunLock(directory, file.Release(), folder.Release(), folder_locked));
}

RunLock::~RunLock() {
  close(file_);
  close(folder_);
}

absl::Status RunLock::Check() const {
  const std::string path = directory_ + "/.lock";
  const bool there = IsAt(folder_, directory_) && (folder_locked_ || IsAt(file_, path));
  if (!there)
    return absl::FailedPreconditionError(
        absl::StrCat(Printable(directory_, 1000),
                     ": was removed, renamed or replaced while this process works in it: nothing more is "
                     "written there"));
  // Opened anew, for only so a network file system looks at what another machine wrote.
  const Descriptor file(Retry([&] { return open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW); }));
  const std::string owner = file.get() < 0 ? "" : OwnerIn(file.get());
  if (owner.empty() || owner == ThisOwner()) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(Printable(directory_, 1000), ": is another's by now (", Printable(owner),
                   "): this process was stopped or cut off, and writes nothing more there"));
}

absl::Status ForEachPiece(const std::string& path, absl::FunctionRef<absl::Status(std::string_view)> piece) {
  int64_t size = 0;
  TEMPER_ASSIGN_OR_RETURN(const int descriptor, OpenRegularFile(path, &size));
  const Descriptor file(descriptor);
  std::string buffer(1 << 20, '\0');
  for (;;) {
    const ssize_t got = Retry([&] { return read(file.get(), buffer.data(), buffer.size()); });
    if (got < 0) return SystemError(path, "read");
    if (got == 0) return absl::OkStatus();
    TEMPER_RETURN_IF_ERROR(piece({buffer.data(), static_cast<size_t>(got)}));
  }
}

absl::StatusOr<std::string> Sha256OfFile(const std::string& path,
                                         const std::function<absl::Status(int64_t)>& progress) {
  Sha256 sha;
  int64_t done = 0;
  TEMPER_RETURN_IF_ERROR(ForEachPiece(path, [&](std::string_view bytes) {
    sha.Update(bytes);
    done += static_cast<int64_t>(bytes.size());
    return progress ? progress(done) : absl::OkStatus();
  }));
  return sha.Finish();
}

}  // namespace temper
