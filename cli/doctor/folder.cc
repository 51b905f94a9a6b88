// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "cli/doctor/checks.h"
#include "comm/check.h"
#include "core/files/disk.h"
#include "core/files/file.h"
#include "core/status.h"
#include "core/text.h"

namespace temper {
namespace {

constexpr char kWhat[] = "files";
constexpr int64_t kLittle = int64_t{1} << 30;
constexpr absl::Duration kSlow = absl::Milliseconds(100);

// The folder, or the nearest above it that is there.
std::string FolderThatIs(const std::string& path) {
  std::string folder = path.empty() ? "." : path;
  while (!FileExists(folder)) {
    const size_t slash = folder.rfind('/');
    if (slash == folder.npos) return ".";
    folder = slash == 0 ? "/" : folder.substr(0, slash);
  }
  return folder;
}

// The median of so many.
absl::StatusOr<absl::Duration> SyncTime(const std::string& path) {
  std::vector<absl::Duration> times;
  TEMPER_ASSIGN_OR_RETURN(const auto file, AppendFile::Open(path));
  for (int i = 0; i < 11; ++i) {
    const absl::Time began = absl::Now();
    TEMPER_RETURN_IF_ERROR(file->Append(std::string(4096, 'x')));
    TEMPER_RETURN_IF_ERROR(file->Sync());
    times.push_back(absl::Now() - began);
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

Finding Room(const std::string& folder) {
  const std::optional<int64_t> free = FreeBytes(folder);
  if (!free) return {"room", Finding::kOk, Printable(folder, 1000) + ": does not say how much is free"};
  const std::string text = absl::StrCat(Printable(folder, 1000), ": ", MebibytesText(*free), " are free");
  return {"room", *free < kLittle ? Finding::kWarn : Finding::kOk,
          *free < kLittle
              ? text + ": little for checkpoints (12 to 16 bytes a parameter each, three at a time)"
              : text};
}

// What the first rank does there: rename, fsync.
absl::StatusOr<Finding> Write(const std::string& trial) {
  TEMPER_RETURN_IF_ERROR(MakeDirectories(trial));
  TEMPER_RETURN_IF_ERROR(WriteFileAtomic(trial + "/file", "old"));
  TEMPER_RETURN_IF_ERROR(WriteFileAtomic(trial + "/file", "new"));
  TEMPER_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(trial + "/file"));
  if (bytes != "new")
    return absl::DataLossError(absl::StrCat(trial, "/file: does not hold what was written"));
  TEMPER_ASSIGN_OR_RETURN(const absl::Duration sync, SyncTime(trial + "/grows"));
  const std::string text =
      absl::StrFormat("files are replaced whole, fsync takes %.1f ms", absl::ToDoubleMilliseconds(sync));
  if (sync < kSlow) return Finding{kWhat, Finding::kOk, text};
  return Finding{
      kWhat, Finding::kWarn,
      text + ": slow, and each update that is sampled waits for one: another file system would be better"};
}

// On another rank: whether it sees the file, which a network file system may show late.
bool Sees(const std::string& trial) {
  for (int tries = 0; tries < 30; ++tries) {
    if (ReadFile(trial + "/file").value_or("") == "new") return true;
    absl::SleepFor(absl::Milliseconds(100));
  }
  return false;
}

}  // namespace

Findings CheckFolder(const std::string& run_directory, Communicator& world) {
  const bool first = world.rank() == 0;
  const std::string folder = world.AllGather(first ? FolderThatIs(run_directory) : "")[0];
  // What a start of a run there would remove, should this process die.
  const std::string trial = world.AllGather(absl::StrCat(folder, "/.doctor.", getpid(), ".tmp"))[0];
  const absl::StatusOr<Finding> written = first ? Write(trial) : Finding{};
  if (world.Sum(written.ok() ? 0 : 1) > 0) {
    if (first) RemoveTree(trial).IgnoreError();
    if (!first) return {};
    return {
        {kWhat, Finding::kFail,
         absl::StrCat(written.status().message(), ": a run cannot be kept there: choose another --run-dir")}};
  }
  Findings findings;
  if (first) findings = {Room(folder), *written};
  const bool sees = first || Sees(trial);
  if (!sees)
    findings.push_back({"shared", Finding::kFail,
                        absl::StrCat(Printable(folder, 1000),
                                     ": is not what rank 0 has there: a run's folder must be on a "
                                     "file system that all machines share (--run-dir)")});
  // The first rank locks; nobody else may.
  std::unique_ptr<RunLock> lock;
  absl::Status locked;
  if (first) {
    absl::StatusOr<std::unique_ptr<RunLock>> mine = RunLock::Acquire(trial);
    locked = mine.status();
    if (mine.ok()) lock = *std::move(mine);
  }
  const bool is_locked = world.Sum(first && lock != nullptr ? 1 : 0) > 0;
  const bool second_too = is_locked && sees && RunLock::Acquire(trial).ok();
  if (first && !is_locked)
    findings.push_back({"locks", Finding::kFail,
                        absl::StrCat(locked.message(),
                                     ": a second start could not be told from the first: mount with locks")});
  if (second_too)
    findings.push_back({"locks", Finding::kWarn,
                        "a lock of one machine does not keep another out (NFS with nolock or local_lock): a "
                        "run that is started twice would not be refused: mount with locks"});
  if (first && is_locked && !second_too)
    findings.push_back({"locks", Finding::kOk, "keep a second start out"});
  world.Barrier();
  lock.reset();
  if (first) RemoveTree(trial).IgnoreError();
  return findings;
}

}  // namespace temper
