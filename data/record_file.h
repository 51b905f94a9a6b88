// SPDX-License-Identifier: Apache-2.0
// Trajectories on disk: files that only grow, of protobuf records (data/trajectory.proto). A record is,
// little-endian: its length (4 bytes), the CRC32C of these 4 bytes, the CRC32C of the record, the record. A
// rank writes a file of its own.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/files/file.h"
#include "data/trajectory.h"

namespace temper {

// Of one record. A longer one is refused, and a longer length is damage.
constexpr int64_t kMaxRecordBytes = int64_t{1} << 28;

// Appends to PATH. What a crash left after the last whole record (a part of one, zeros, anything that holds
// none) is cut off first, with a warning, and so is all after sectors that a loss of power took (zeros up to
// the end of one); other damage that whole records follow is a DataLoss error. Durable after Sync. One
// thread.
class RecordWriter {
 public:
  static absl::StatusOr<std::unique_ptr<RecordWriter>> Open(const std::string& path);
  // A prompt comes before its trajectories; one that is written again (a resume) is the same prompt. stage
  // and rollout name the random draws.
  absl::Status WritePrompt(const std::string& stage, int64_t rollout, const Prompt& prompt);
  absl::Status WriteTrajectory(const Trajectory& trajectory);
  absl::Status Sync();

 private:
  explicit RecordWriter(std::unique_ptr<AppendFile> file) : file_(std::move(file)) {}
  std::unique_ptr<AppendFile> file_;
};

// All that the files PREFIX.rank-*.records hold, as groups: in the order in which prompts were first written
// (files by rank), trajectories by sample index, a sample that is there twice once, of the newest policy
// version at its first token. A cut last record is left out; a damaged one is a DataLoss error with file and
// byte. A trajectory belongs to the last prompt of its id before it. No file: no groups.
absl::StatusOr<std::vector<Group>> ReadGroups(const std::string& prefix);
// One file.
absl::StatusOr<std::vector<Group>> ReadGroupFile(const std::string& path);
// Where the last whole record of a file ends; what a crash left behind it is cut off when a writer opens it.
absl::StatusOr<int64_t> EndOfRecords(const std::string& path);
// Cuts off what a crash left at the ends of PREFIX.rank-*.records, as RecordWriter::Open does.
absl::Status CutTails(const std::string& prefix);
// The files PREFIX.rank-*.records that are there, by rank.
absl::StatusOr<std::vector<std::string>> RecordFiles(const std::string& prefix);
// "PREFIX.rank-3.records".
std::string RecordPath(const std::string& prefix, int rank);

// What is there of a trajectory as one string, for messages between ranks; a head alone may be.
std::string EncodeTrajectory(const Trajectory& trajectory);
absl::StatusOr<Trajectory> DecodeTrajectory(std::string_view bytes);

}  // namespace temper
