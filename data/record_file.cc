// SPDX-License-Identifier: Apache-2.0
#include "data/record_file.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <tuple>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/files/crc32c.h"
#include "core/log.h"
#include "core/text.h"
#include "core/version.h"
#include "data/trajectory.pb.h"

namespace temper {
namespace {

constexpr int64_t kHeaderBytes = 12;

void PutWord(uint32_t word, std::string* out) {
  for (int shift = 0; shift < 32; shift += 8) out->push_back(static_cast<char>(word >> shift));
}

uint32_t GetWord(const char* bytes) {
  uint32_t word = 0;
  for (int i = 3; i >= 0; --i) word = word << 8 | static_cast<unsigned char>(bytes[i]);
  return word;
}

absl::Status Damage(const std::string& path, int64_t byte, const std::string& what) {
  return absl::DataLossError(absl::StrCat(Printable(path, 1000), ": byte ", byte, ": ", what,
                                          "; the file is damaged: restore it from a copy"));
}

absl::Status CannotRead(const std::string& path) {
  return absl::UnavailableError(
      absl::StrCat(Printable(path, 1000), ": cannot read records: ", strerror(errno)));
}

// Where the next whole record begins, at `from` or after it; -1: there is none.
absl::StatusOr<int64_t> NextRecord(const std::string& path, int64_t from) {
  std::ifstream file(path, std::ios::binary), other(path, std::ios::binary);
  if (!file.seekg(from) || !other) return CannotRead(path);
  file.seekg(0, std::ios::end);
  const int64_t size = file.tellg();
  std::string window, bytes;
  constexpr int64_t kWindow = 1 << 20;
  // Headers may begin anywhere, so that windows overlap by all but one byte of a header.
  for (; size - from >= kHeaderBytes; from += static_cast<int64_t>(window.size()) - kHeaderBytes + 1) {
    window.resize(std::min(kWindow, size - from));
    if (!file.seekg(from) || !file.read(window.data(), static_cast<std::streamsize>(window.size())))
      return CannotRead(path);
    for (size_t i = 0; i + kHeaderBytes <= window.size(); ++i) {
      const char* const header = window.data() + i;
      const int64_t length = GetWord(header), begin = from + static_cast<int64_t>(i) + kHeaderBytes;
      if (length > std::min(kMaxRecordBytes, size - begin)) continue;
      if (GetWord(header + 4) != Crc32c({header, 4})) continue;
      bytes.resize(length);
      if (!other.seekg(begin) || !other.read(bytes.data(), length)) return CannotRead(path);
      if (GetWord(header + 8) == Crc32c(bytes)) return begin - kHeaderBytes;
    }
  }
  return -1;
}

// Whether bytes from `from` to `to` may be missing because the power went before they were synced, and later
// ones not: a part of a sector, up to its end, is zeros.
absl::StatusOr<bool> LostSectors(const std::string& path, int64_t from, int64_t to) {
  constexpr int64_t kSector = 512;
  std::ifstream file(path, std::ios::binary);
  for (int64_t end = (from / kSector + 1) * kSector; end <= to; end += kSector) {
    char last = 1;
    if (!file.seekg(end - 1) || !file.read(&last, 1)) return CannotRead(path);
    if (last == 0) return true;
  }
  return false;
}

// Calls record(bytes, offset) for each whole record; returns where the last one ends. What follows it is an
// error, but for a record that was cut short or, with `any_tail`, anything that holds no whole record.
using OnRecord = absl::FunctionRef<absl::Status(const std::string& bytes, int64_t offset)>;
absl::StatusOr<int64_t> Scan(const std::string& path, bool any_tail, OnRecord record) {
  std::error_code error;
  const bool regular = std::filesystem::is_regular_file(path, error);
  if (!regular) {
    const std::string why = error ? error.message() : "is not a regular file";
    return absl::NotFoundError(absl::StrCat(Printable(path, 1000), ": cannot read records: ", why));
  }
  const int64_t size = static_cast<int64_t>(std::filesystem::file_size(path, error));
  std::ifstream file(path, std::ios::binary);
  if (error || !file) return CannotRead(path);
  std::string bytes;
  int64_t offset = 0;
  const auto damage = [&](int64_t rest, const std::string& what) -> absl::StatusOr<int64_t> {
    if (!any_tail) return Damage(path, offset, what);
    TEMPER_ASSIGN_OR_RETURN(const int64_t next, NextRecord(path, rest));
    if (next < 0) return offset;
    TEMPER_ASSIGN_OR_RETURN(const bool lost, LostSectors(path, offset, next));
    if (!lost) return Damage(path, offset, what);
    return offset;
  };
  while (size - offset >= kHeaderBytes) {
    char header[kHeaderBytes];
    if (!file.read(header, kHeaderBytes)) return CannotRead(path);
    const int64_t length = GetWord(header);
    if (GetWord(header + 4) != Crc32c({header, 4}))
      return damage(offset + 1, "a record's length has the wrong checksum");
    if (length > kMaxRecordBytes) return damage(offset + 1, absl::StrCat("a record of ", length, " bytes"));
    if (length > size - offset - kHeaderBytes) break;  // cut short
    bytes.resize(length);
    if (!file.read(bytes.data(), length)) return CannotRead(path);
    if (GetWord(header + 8) != Crc32c(bytes))
      return damage(offset + kHeaderBytes + length, "a record has the wrong checksum");
    TEMPER_RETURN_IF_ERROR(record(bytes, offset));
    offset += kHeaderBytes + length;
  }
  return offset;
}

// Opens the file to go on after its last whole record; what a crash left after it is cut off.
absl::StatusOr<std::unique_ptr<AppendFile>> OpenAfterRecords(const std::string& path) {
  if (!FileExists(path)) return AppendFile::Open(path);
  TEMPER_ASSIGN_OR_RETURN(const int64_t end, EndOfRecords(path));
  TEMPER_ASSIGN_OR_RETURN(std::unique_ptr<AppendFile> file, AppendFile::Open(path));
  if (file->offset() == end) return file;
  LogWarning(Printable(path, 1000), ": cuts off the ", file->offset() - end,
             " bytes after its last whole record, at byte ", end,
             ", which a crash left; what they held is drawn again");
  return AppendFile::Open(path, end);
}

absl::Status Append(const proto::Record& record, AppendFile* file) {
  const size_t length = record.ByteSizeLong();
  if (length > kMaxRecordBytes) {
    return absl::InvalidArgumentError(absl::StrCat(Printable(file->path(), 1000), ": a record of ", length,
                                                   " bytes; at most ", kMaxRecordBytes, " fit"));
  }
  const std::string bytes = record.SerializeAsString();
  std::string out;
  out.reserve(kHeaderBytes + bytes.size());
  PutWord(static_cast<uint32_t>(bytes.size()), &out);
  PutWord(Crc32c(out), &out);
  PutWord(Crc32c(bytes), &out);
  out += bytes;
  return file->Append(out);
}

proto::TrajectoryRecord ToProto(const Trajectory& trajectory) {
  proto::TrajectoryRecord record;
  record.set_prompt_id(trajectory.prompt_id);
  record.set_sample(trajectory.sample);
  record.mutable_tokens()->Add(trajectory.tokens.begin(), trajectory.tokens.end());
  record.mutable_logprobs()->Add(trajectory.logprobs.begin(), trajectory.logprobs.end());
  for (const Segment& segment : trajectory.segments) {
    proto::SegmentRecord* out = record.add_segments();
    out->set_first(segment.first);
    out->set_count(segment.count);
    out->set_kind(static_cast<int>(segment.kind));
    out->set_policy_version(segment.policy_version);
  }
  record.set_looks_back(trajectory.looks_back);
  record.set_stop(static_cast<int>(trajectory.stop));
  record.set_entropy_sum(trajectory.entropy_sum);
  record.set_text(trajectory.text);
  record.set_numerics(kNumerics);
  for (const Verdict& verdict : trajectory.verdicts) {
    proto::VerdictRecord* out = record.add_verdicts();
    out->set_rule(verdict.rule);
    out->set_kind(static_cast<int>(verdict.kind));
    out->set_score(verdict.score);
    out->set_extracted(verdict.extracted);
    out->set_reason(verdict.reason);
  }
  return record;
}

absl::StatusOr<Trajectory> FromProto(const proto::TrajectoryRecord& record) {
  const auto fault = [](const std::string& what, int64_t value) {
    return absl::InvalidArgumentError(absl::StrCat("a trajectory with ", what, " ", value));
  };
  if (record.numerics() != kNumerics) {
    return absl::FailedPreconditionError(absl::StrCat("a trajectory of numerics ", record.numerics(),
                                                      ", and this temper has numerics ", kNumerics,
                                                      ": go on with the temper that wrote it"));
  }
  if (record.stop() < 1 || record.stop() > 3) return fault("stop reason", record.stop());
  if (record.sample() < 0) return fault("sample", record.sample());
  Trajectory trajectory;
  trajectory.prompt_id = record.prompt_id();
  trajectory.sample = record.sample();
  trajectory.tokens.assign(record.tokens().begin(), record.tokens().end());
  trajectory.logprobs.assign(record.logprobs().begin(), record.logprobs().end());
  for (const proto::SegmentRecord& segment : record.segments()) {
    if (segment.kind() < 1 || segment.kind() > 2) return fault("segment kind", segment.kind());
    if (segment.first() != trajectory.length()) return fault("a segment out of place, at", segment.first());
    if (segment.count() < 1 || segment.count() > kMaxRecordBytes)
      return fault("segment length", segment.count());
    trajectory.segments.push_back({segment.first(), segment.count(),
                                   static_cast<Segment::Kind>(segment.kind()), segment.policy_version()});
  }
  trajectory.looks_back = record.looks_back();
  trajectory.stop = static_cast<StopReason>(record.stop());
  trajectory.entropy_sum = record.entropy_sum();
  trajectory.text = record.text();
  for (const proto::VerdictRecord& verdict : record.verdicts()) {
    if (verdict.kind() < 1 || verdict.kind() > 6) return fault("verdict kind", verdict.kind());
    trajectory.verdicts.push_back({verdict.rule(), static_cast<VerdictKind>(verdict.kind()), verdict.score(),
                                   verdict.extracted(), verdict.reason()});
  }
  return trajectory;
}

// Whether it has its tokens, and logprobs of all that were sampled.
absl::Status CheckWhole(const Trajectory& trajectory) {
  const auto tokens = static_cast<int64_t>(trajectory.tokens.size());
  const auto logprobs = static_cast<int64_t>(trajectory.logprobs.size());
  if (tokens == trajectory.length() && logprobs == trajectory.sampled()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("a trajectory with ", tokens, " tokens and ", logprobs,
                                                 " logprobs, whose segments have ", trajectory.length(),
                                                 " tokens, ", trajectory.sampled(), " of them sampled"));
}

// Of its first token.
int64_t PolicyVersion(const Trajectory& trajectory) {
  return trajectory.segments.empty() ? 0 : trajectory.segments.front().policy_version;
}

Group FromProto(const proto::PromptRecord& record) {
  Group group;
  group.stage = record.stage();
  group.rollout = record.rollout();
  group.prompt.id = record.id();
  group.prompt.tokens.assign(record.tokens().begin(), record.tokens().end());
  group.prompt.text = record.text();
  group.prompt.answer = record.answer();
  group.prompt.task = record.task();
  group.prompt.fields = record.fields();
  return group;
}

bool SamePrompt(const Prompt& a, const Prompt& b) {
  const auto parts = [](const Prompt& p) {
    return std::tie(p.id, p.tokens, p.text, p.answer, p.task, p.fields);
  };
  return parts(a) == parts(b);
}

// Gathers the records of one file after the other.
class Gatherer {
 public:
  absl::Status Add(const std::string& path) {
    last_of_id_.clear();
    return Scan(path, false,
                [&](const std::string& bytes, int64_t offset) {
                  const absl::Status status = AddRecord(bytes);
                  return status.ok() ? status : Located(status, path, offset);
                })
        .status();
  }

  std::vector<Group> Take() {
    for (Group& group : groups_) std::ranges::sort(group.trajectories, {}, &Trajectory::sample);
    return std::move(groups_);
  }

 private:
  static absl::Status Located(const absl::Status& status, const std::string& path, int64_t offset) {
    return absl::Status(status.code(),
                        absl::StrCat(Printable(path, 1000), ": byte ", offset, ": ", status.message()));
  }

  absl::Status AddRecord(const std::string& bytes) {
    proto::Record record;
    if (!record.ParseFromString(bytes)) return absl::DataLossError("is not a record of trajectories");
    if (record.has_prompt()) return AddPrompt(FromProto(record.prompt()));
    if (!record.has_trajectory()) return absl::DataLossError("a record of an unknown kind");
    TEMPER_ASSIGN_OR_RETURN(Trajectory trajectory, FromProto(record.trajectory()));
    TEMPER_RETURN_IF_ERROR(CheckWhole(trajectory));
    const auto at = last_of_id_.find(trajectory.prompt_id);
    if (at == last_of_id_.end()) {
      return absl::DataLossError(absl::StrCat("a trajectory of prompt ", Printable(trajectory.prompt_id),
                                              ", which is not before it"));
    }
    std::vector<Trajectory>& group = groups_[at->second].trajectories;
    const auto [sample, is_new] = samples_.emplace(std::pair(at->second, trajectory.sample), group.size());
    if (is_new) {
      group.push_back(std::move(trajectory));
    } else if (PolicyVersion(trajectory) > PolicyVersion(group[sample->second])) {
      group[sample->second] = std::move(trajectory);
    }
    return absl::OkStatus();
  }

  absl::Status AddPrompt(Group group) {
    const std::string id = group.prompt.id;
    const auto [at, is_new] = group_of_.emplace(std::tuple(group.stage, group.rollout, id), groups_.size());
    last_of_id_[id] = at->second;
    if (is_new) {
      groups_.push_back(std::move(group));
    } else if (!SamePrompt(groups_[at->second].prompt, group.prompt)) {
      return absl::DataLossError(absl::StrCat("prompt ", Printable(id), " of stage ", Printable(group.stage),
                                              ", rollout ", group.rollout, ", is there twice and differs"));
    }
    return absl::OkStatus();
  }

  std::vector<Group> groups_;
  std::map<std::tuple<std::string, int64_t, std::string>, size_t> group_of_;
  std::map<std::string, size_t> last_of_id_;              // of the file that is being read
  std::map<std::pair<size_t, int32_t>, size_t> samples_;  // of a group and sample: its place in the group
};

}  // namespace

absl::StatusOr<std::unique_ptr<RecordWriter>> RecordWriter::Open(const std::string& path) {
  TEMPER_ASSIGN_OR_RETURN(std::unique_ptr<AppendFile> file, OpenAfterRecords(path));
  return std::unique_ptr<RecordWriter>(new RecordWriter(std::move(file)));
}

absl::Status RecordWriter::WritePrompt(const std::string& stage, int64_t rollout, const Prompt& prompt) {
  proto::Record record;
  proto::PromptRecord& out = *record.mutable_prompt();
  out.set_stage(stage);
  out.set_rollout(rollout);
  out.set_id(prompt.id);
  out.mutable_tokens()->Add(prompt.tokens.begin(), prompt.tokens.end());
  out.set_text(prompt.text);
  out.set_answer(prompt.answer);
  out.set_task(prompt.task);
  out.set_fields(prompt.fields);
  return Append(record, file_.get());
}

absl::Status RecordWriter::WriteTrajectory(const Trajectory& trajectory) {
  TEMPER_CHECK(CheckWhole(trajectory).ok());
  proto::Record record;
  *record.mutable_trajectory() = ToProto(trajectory);
  return Append(record, file_.get());
}

absl::Status RecordWriter::Sync() { return file_->Sync(); }

absl::StatusOr<std::vector<std::string>> RecordFiles(const std::string& prefix) {
  const size_t slash = prefix.find_last_of('/');
  const std::string folder = slash == prefix.npos ? "." : prefix.substr(0, slash + 1);
  const std::string start = absl::StrCat(slash == prefix.npos ? prefix : prefix.substr(slash + 1), ".rank-");
  if (!FileExists(folder)) return std::vector<std::string>();
  TEMPER_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDirectory(folder));
  std::set<int> ranks;
  for (const std::string& name : names) {
    int rank = -1;  // the name is RecordPath's own spelling, or it is another file
    const bool reads = name.starts_with(start) && std::sscanf(name.c_str() + start.size(), "%d", &rank) == 1;
    if (reads && rank >= 0 && name == absl::StrCat(start, rank, ".records")) ranks.insert(rank);
  }
  std::vector<std::string> files;
  for (const int rank : ranks) files.push_back(RecordPath(prefix, rank));
  return files;
}

absl::StatusOr<int64_t> EndOfRecords(const std::string& path) {
  return Scan(path, /*any_tail=*/true, [](const std::string&, int64_t) { return absl::OkStatus(); });
}

absl::Status CutTails(const std::string& prefix) {
  TEMPER_ASSIGN_OR_RETURN(const std::vector<std::string> files, RecordFiles(prefix));
  for (const std::string& file : files) TEMPER_RETURN_IF_ERROR(OpenAfterRecords(file).status());
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Group>> ReadGroups(const std::string& prefix) {
  TEMPER_ASSIGN_OR_RETURN(const std::vector<std::string> files, RecordFiles(prefix));
  Gatherer gatherer;
  for (const std::string& file : files) TEMPER_RETURN_IF_ERROR(gatherer.Add(file));
  return gatherer.Take();
}

absl::StatusOr<std::vector<Group>> ReadGroupFile(const std::string& path) {
  Gatherer gatherer;
  TEMPER_RETURN_IF_ERROR(gatherer.Add(path));
  return gatherer.Take();
}

std::string RecordPath(const std::string& prefix, int rank) {
  return absl::StrCat(prefix, ".rank-", rank, ".records");
}

std::string EncodeTrajectory(const Trajectory& trajectory) { return ToProto(trajectory).SerializeAsString(); }

absl::StatusOr<Trajectory> DecodeTrajectory(std::string_view bytes) {
  proto::TrajectoryRecord record;
  if (bytes.size() > static_cast<size_t>(kMaxRecordBytes) ||
      !record.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return absl::DataLossError(absl::StrCat("a message of ", bytes.size(), " bytes is no trajectory"));
  }
  return FromProto(record);
}

}  // namespace temper
