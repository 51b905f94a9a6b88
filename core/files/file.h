// SPDX-License-Identifier: Apache-2.0
// Files as a run needs them: whole or not there, durable when a call returns. Errors are one line with the
// path and the system's reason. New files are 0600 and new folders 0700 until ShareNewFiles. Nothing here may
// be called from a signal handler.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "core/status.h"

namespace temper {

// What errno says, "PATH: cannot DOING: ...": NotFound, FailedPrecondition for a path that cannot be used so
// (not allowed, read-only, no folder), Unavailable for the rest (disk full, I/O).
absl::Status SystemError(const std::string& path, const std::string& doing);

// From now on the process makes files and folders for whom the umask lets.
void ShareNewFiles();

// The bytes of a regular file of at most `limit` bytes. Folders, pipes and devices are refused.
absl::StatusOr<std::string> ReadFile(const std::string& path, int64_t limit = int64_t{1} << 32);

// Hands all bytes of a regular file to `piece`, in order, in pieces; its first error ends it.
absl::Status ForEachPiece(const std::string& path, absl::FunctionRef<absl::Status(std::string_view)> piece);

class RunLock;

// A file that appears whole: bytes go to a temporary file beside `path`, whose name no other process uses and
// which Commit fsyncs and renames, then it fsyncs the folder. After a crash at any point `path` holds the old
// bytes or the new ones. Without a Commit the temporary file is removed. Where the file has holes, they read
// as zeros. With a lock nothing is renamed unless its Check, directly before, is ok.
class AtomicFile {
 public:
  static absl::StatusOr<std::unique_ptr<AtomicFile>> Create(const std::string& path);
  ~AtomicFile();
  absl::Status WriteAt(int64_t offset, std::string_view bytes);
  absl::Status Commit(const RunLock* lock = nullptr);

 private:
  AtomicFile(const std::string& path, std::string temporary, int file)
      : path_(path), temporary_(std::move(temporary)), file_(file) {}
  const std::string path_, temporary_;
  const int file_;
  bool committed_ = false;
};

// The bytes as an AtomicFile.
absl::Status WriteFileAtomic(const std::string& path, std::string_view bytes, const RunLock* lock = nullptr);

bool FileExists(const std::string& path);  // a file, folder or link of any kind
// An error where this user may not read the file or folder; one that is not there is none.
absl::Status CheckReadable(const std::string& path);
// An error that names the first symbolic link among `path` and what lies below it; no such path is none.
absl::Status CheckNoLinks(const std::string& path);
// An error that names the first of `path` and what lies below it (links are not followed) in which other
// users, or the group unless `group_may` or it is this user's own, may write, or which belongs, unless
// `group_may`, to another user but root; no such path is none.
absl::Status CheckOnlyOursToWrite(const std::string& path, bool group_may);
absl::Status MakeDirectories(const std::string& path);  // and those above it; durable
// One folder, and nothing is synced: in what an AtomicDirectory syncs when it commits, or what nobody needs
// after a crash.
absl::Status MakePassingDirectory(const std::string& path);
absl::Status RemoveTree(const std::string& path);                         // no error if it is not there
absl::Status RenamePath(const std::string& from, const std::string& to);  // and fsyncs to's folder
absl::StatusOr<std::vector<std::string>> ListDirectory(
    const std::string& path);  // names, sorted, without . and ..
absl::Status SyncDirectory(const std::string& path);

// A folder that appears whole: made as `.NAME.tmp` beside `path`, filled by the caller, then synced file by
// file and renamed by Commit, which replaces what is at `path` (a crash in between leaves the new one, or the
// old one as
// `.NAME.old`, which the next AtomicDirectory for the same path puts back). Without a Commit it is removed.
// With a lock, which outlives it, nothing is renamed unless its Check, directly before, is ok; and it is made
// as `.NAME.START.tmp`, so that a start that lost the folder and the one that has it now never write to the
// same one.
class AtomicDirectory {
 public:
  static absl::StatusOr<std::unique_ptr<AtomicDirectory>> Create(const std::string& path,
                                                                 const RunLock* lock = nullptr);
  ~AtomicDirectory();
  const std::string& temporary() const { return temporary_; }
  absl::Status Commit();

 private:
  AtomicDirectory(const std::string& path, const RunLock* lock);
  const std::string path_;
  const RunLock* const lock_;
  std::string temporary_, old_;
  bool committed_ = false;
};

// Puts back a folder whose replacement was cut off between two renames; call before looking for `path`.
absl::Status RecoverDirectory(const std::string& path);

// A file that only grows, is no link and has one name. For one thread, beside which others may Sync. A
// failed Append leaves nothing half-written: the file is cut back. One that was removed, renamed, replaced or
// opened by another since is an error of Append and Sync.
class AppendFile {
 public:
  // Makes `path`, or puts a copy in its place and opens that. offset >= 0: of so many bytes (else an error).
  static absl::StatusOr<std::unique_ptr<AppendFile>> Open(const std::string& path, int64_t offset = -1);
  ~AppendFile();
  absl::Status Append(std::string_view bytes);
  absl::Status Sync();
  int64_t offset() const { return offset_; }
  const std::string& path() const { return path_; }

 private:
  absl::Status CheckThere() const;
  AppendFile(std::string path, int file, int64_t offset)
      : path_(std::move(path)), file_(file), offset_(offset) {}
  const std::string path_;
  const int file_;
  int64_t offset_;
};

// One process at a time in a folder: a second Acquire fails at once and says who has it. Both the folder and
// its file `.lock` are locked, so that a `.lock` that somebody removes lets nobody in. The kernel releases it
// when the process dies. Held until destroyed; children do not inherit it.
class RunLock {
 public:
  static absl::StatusOr<std::unique_ptr<RunLock>> Acquire(const std::string& directory);
  ~RunLock();
  // Whether the folder is still at its path, and this process the last to have it. Where it was removed,
  // renamed or replaced (`.lock`, where no more could be locked), or another has it: FailedPrecondition.
  absl::Status Check() const;

 private:
  RunLock(std::string directory, int file, int folder, bool folder_locked)
      : directory_(std::move(directory)), file_(file), folder_(folder), folder_locked_(folder_locked) {}
  const std::string directory_;
  const int file_, folder_;
  const bool folder_locked_;
};

// SHA-256 (FIPS 180-4) as 64 lower-case hexadecimal digits.
class Sha256 {
 public:
  Sha256();
  void Update(std::string_view bytes);
  std::string Finish();  // once

 private:
  void Block(const unsigned char* data);
  uint32_t state_[8];
  unsigned char buffer_[64];
  uint64_t size_ = 0;
};
std::string Sha256Of(std::string_view bytes);
// `progress` is told how many bytes are done, about every MiB; an error of it ends the reading.
absl::StatusOr<std::string> Sha256OfFile(const std::string& path,
                                         const std::function<absl::Status(int64_t done)>& progress = {});

}  // namespace temper
