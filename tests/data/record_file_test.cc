// SPDX-License-Identifier: Apache-2.0
#include "data/record_file.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>

#include "core/check.h"
#include "core/files/crc32c.h"
#include "core/files/file.h"
#include "core/random.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace temper {
namespace {

using testing::HasSubstr;

std::string Folder() {
  const auto* info = testing::UnitTest::GetInstance()->current_test_info();
  const std::string path = testing::TempDir() + "temper_records_" + info->name();
  EXPECT_TRUE(RemoveTree(path).ok() && MakeDirectories(path).ok());
  return path;
}

Prompt MakePrompt(const std::string& id) {
  return {.id = id,
          .tokens = {5, 0, 2'000'000'000, -1},
          .text = "Q \xFF",
          .answer = "7",
          .task = "chain",
          .fields = "{}"};
}

Trajectory MakeTrajectory(const std::string& id, int32_t sample) {
  Trajectory trajectory;
  trajectory.prompt_id = id;
  trajectory.sample = sample;
  trajectory.tokens = {1, 2, 3, 4, sample};
  trajectory.logprobs = {-0.5f, -0.0f, -1e-30f};
  trajectory.Extend(Segment::Kind::kSampled, 41, 1);
  trajectory.Extend(Segment::Kind::kGiven, 41, 2);
  trajectory.Extend(Segment::Kind::kSampled, 42, 2);
  trajectory.stop = StopReason::kLength;
  trajectory.entropy_sum = 0.1;
  trajectory.text = std::string("a\0b\xC3", 4);
  trajectory.verdicts = {{"accuracy", VerdictKind::kTimeout, 0.25, "4", "4 is not 3"},
                         {"format", VerdictKind::kCorrect, 1, "", ""}};
  return trajectory;
}

// Every part of it, floats as bits.
std::string Print(const Trajectory& t) {
  std::string out = absl::StrCat(t.prompt_id, "|", t.sample, "|", t.looks_back, "|", Name(t.stop), "|",
                                 std::bit_cast<uint64_t>(t.entropy_sum), "|", t.text, "|");
  for (const Segment& s : t.segments)
    absl::StrAppend(&out, s.first, "+", s.count, Name(s.kind), s.policy_version, "|");
  for (const int32_t token : t.tokens) absl::StrAppend(&out, token, ",");
  for (const float logprob : t.logprobs) absl::StrAppend(&out, std::bit_cast<uint32_t>(logprob), ",");
  for (const Verdict& v : t.verdicts) {
    absl::StrAppend(&out, v.rule, "|", Name(v.kind), "|", std::bit_cast<uint64_t>(v.score), "|", v.extracted,
                    "|", v.reason);
  }
  return out;
}

std::string Print(const std::vector<Group>& groups) {
  std::string out;
  for (const Group& g : groups) {
    absl::StrAppend(&out, "[", g.stage, "|", g.rollout, "|", g.prompt.id, ":");
    for (const Trajectory& t : g.trajectories) absl::StrAppend(&out, " ", t.prompt_id, t.sample);
    out += "]";
  }
  return out;
}

// Without waiting for the disk.
void Put(const std::string& path, const std::string& bytes) {
  ASSERT_TRUE(
      std::ofstream(path, std::ios::binary | std::ios::trunc).write(bytes.data(), bytes.size()).good());
}

std::string Bytes(const std::string& path) { return ReadFile(path).value(); }

// A file with prompt p and its samples 1 and 0.
std::string Sample(const std::string& folder) {
  const std::string path = RecordPath(folder + "/t", 0);
  auto writer = RecordWriter::Open(path).value();
  EXPECT_TRUE(writer->WritePrompt("rl", 3, MakePrompt("p")).ok());
  EXPECT_TRUE(writer->WriteTrajectory(MakeTrajectory("p", 1)).ok());
  EXPECT_TRUE(writer->WriteTrajectory(MakeTrajectory("p", 0)).ok());
  EXPECT_TRUE(writer->Sync().ok());
  return path;
}

// Where the last record of a whole file begins.
size_t LastRecord(const std::string& bytes) {
  size_t begin = 0;
  for (size_t next = 0; next < bytes.size();) {
    begin = next;
    uint32_t length = 0;
    memcpy(&length, bytes.data() + begin, sizeof(length));
    next = begin + 12 + length;
  }
  return begin;
}

TEST(Trajectory, ComesBackFromBytesWithEveryBitOfItsNumbers) {
  Trajectory trajectory = MakeTrajectory("p", 3);
  trajectory.logprobs.clear();
  for (uint32_t bits :
       {0u, 0x80000000u, 1u, 0x7F800000u, 0xFF800000u, 0x7FC12345u, 0x7F812345u, 0xBF800001u}) {
    trajectory.logprobs.push_back(std::bit_cast<float>(bits));
  }
  RandomStream random(1, Purpose::kTask);
  for (int i = 0; i < 10'000; ++i) {
    trajectory.logprobs.push_back(
        std::bit_cast<float>(static_cast<uint32_t>(random.NextBelow(uint64_t{1} << 32))));
  }
  trajectory.tokens.assign(trajectory.logprobs.size(), 7);
  trajectory.segments.clear();
  trajectory.Extend(Segment::Kind::kSampled, 3, static_cast<int64_t>(trajectory.tokens.size()));
  for (double sum : {-0.0, 1.0 / 3, std::nan(""), std::numeric_limits<double>::denorm_min()}) {
    trajectory.entropy_sum = sum;
    EXPECT_EQ(Print(DecodeTrajectory(EncodeTrajectory(trajectory)).value()), Print(trajectory));
  }
  EXPECT_EQ(Print(DecodeTrajectory(EncodeTrajectory(MakeTrajectory("", 0))).value()),
            Print(MakeTrajectory("", 0)));
}

TEST(DecodeTrajectory, RefusesWhatIsNone) {
  EXPECT_FALSE(DecodeTrajectory("\xFF\xFF").ok());
  EXPECT_THAT(DecodeTrajectory("").status().message(),
              HasSubstr("a trajectory of numerics 0, and this temper has numerics 2: go on with"));
  Trajectory trajectory = MakeTrajectory("p", 0);
  trajectory.stop = static_cast<StopReason>(9);
  EXPECT_THAT(DecodeTrajectory(EncodeTrajectory(trajectory)).status().message(), HasSubstr("stop reason 9"));
  trajectory = MakeTrajectory("p", -1);
  EXPECT_THAT(DecodeTrajectory(EncodeTrajectory(trajectory)).status().message(), HasSubstr("sample -1"));
  const auto with = [](const std::vector<Segment>& segments) {
    Trajectory changed = MakeTrajectory("p", 0);
    changed.segments = segments;
    return std::string(DecodeTrajectory(EncodeTrajectory(changed)).status().message());
  };
  EXPECT_THAT(with({{0, 1}, {2, 3}}), HasSubstr("a segment out of place, at 2"));
  EXPECT_THAT(with({{1, 4}}), HasSubstr("a segment out of place, at 1"));
  EXPECT_THAT(with({{0, 5}, {5, 0}}), HasSubstr("segment length 0"));
  EXPECT_THAT(with({{0, int64_t{1} << 62}}), HasSubstr("segment length 4611686018427387904"));
  EXPECT_THAT(with({{0, 5, static_cast<Segment::Kind>(3)}}), HasSubstr("segment kind 3"));
  trajectory = MakeTrajectory("p", 0);
  trajectory.verdicts[0].kind = static_cast<VerdictKind>(0);
  EXPECT_THAT(DecodeTrajectory(EncodeTrajectory(trajectory)).status().message(), HasSubstr("verdict kind 0"));
  EXPECT_THROW(Name(static_cast<VerdictKind>(0)), InternalError);
  EXPECT_THROW(Name(static_cast<StopReason>(0)), InternalError);
}

TEST(Trajectory, ExtendsItsLastSegmentOrBeginsAnother) {
  TrajectoryHead head;
  EXPECT_EQ(head.length(), 0);
  head.Extend(Segment::Kind::kSampled, 3, 1);
  head.Extend(Segment::Kind::kSampled, 3, 4);
  head.Extend(Segment::Kind::kGiven, 3, 0);
  head.Extend(Segment::Kind::kGiven, 3, 2);
  head.Extend(Segment::Kind::kGiven, 3, 1);
  head.Extend(Segment::Kind::kSampled, 3, 1);
  head.Extend(Segment::Kind::kSampled, 4, 6);
  EXPECT_EQ(head.segments, (std::vector<Segment>{{0, 5, Segment::Kind::kSampled, 3},
                                                 {5, 3, Segment::Kind::kGiven, 3},
                                                 {8, 1, Segment::Kind::kSampled, 3},
                                                 {9, 6, Segment::Kind::kSampled, 4}}));
  EXPECT_EQ(head.length(), 15);
  EXPECT_EQ(head.sampled(), 12);
}

TEST(Trajectory, HasNoLogprobsOfWhatWasGiven) {
  EXPECT_EQ(LogprobsByToken(MakeTrajectory("p", 0)),
            (std::vector<std::optional<float>>{-0.5f, std::nullopt, std::nullopt, -0.0f, -1e-30f}));
}

TEST(Trajectory, AHeadAloneComesBackToo) {
  Trajectory head;
  static_cast<TrajectoryHead&>(head) = MakeTrajectory("p", 3);
  head.looks_back = true;
  EXPECT_EQ(Print(DecodeTrajectory(EncodeTrajectory(head)).value()), Print(head));
}

// A record file's bytes of a trajectory, made by hand from its message.
std::string RecordOf(const std::string& message) {
  const auto size = static_cast<char>(message.size());
  const std::string record = std::string("\x12") + static_cast<char>(size | 0x80) +
                             static_cast<char>(message.size() >> 7) + message;  // Record.trajectory
  const auto word = [](uint32_t value) { return std::string(reinterpret_cast<const char*>(&value), 4); };
  const std::string length = word(static_cast<uint32_t>(record.size()));
  return length + word(Crc32c(length)) + word(Crc32c(record)) + record;
}

TEST(RecordFile, RefusesTrajectoriesOfOtherNumericsByTheirVersion) {
  const std::string path = Sample(Folder());
  const std::string whole = Bytes(path);
  std::string message = EncodeTrajectory(MakeTrajectory("p", 7));
  Put(path, whole + RecordOf(message));
  EXPECT_EQ(Print(ReadGroupFile(path).value()), "[rl|3|p: p0 p1 p7]");
  const size_t numerics = message.rfind("\x50\x02");  // field 10
  ASSERT_NE(numerics, message.npos);
  message[numerics + 1] = 1;
  Put(path, whole + RecordOf(message));
  EXPECT_THAT(ReadGroupFile(path).status().message(),
              HasSubstr(absl::StrCat(path, ": byte ", whole.size(),
                                     ": a trajectory of numerics 1, and this temper has numerics 2: go on "
                                     "with the temper that wrote it")));
}

TEST(RecordFile, RefusesTrajectoriesWhoseTokensOrLogprobsAreNotThoseOfTheirSegments) {
  const std::string path = Sample(Folder());
  const std::string whole = Bytes(path);
  const auto refused = [&](auto change) {
    Trajectory changed = MakeTrajectory("p", 7);
    change(changed);
    Put(path, whole + RecordOf(EncodeTrajectory(changed)));
    return std::string(ReadGroupFile(path).status().message());
  };
  EXPECT_THAT(refused([](Trajectory& t) { t.tokens.pop_back(); }),
              HasSubstr("a trajectory with 4 tokens and 3 logprobs, whose segments have 5 tokens, 3 of them "
                        "sampled"));
  EXPECT_THAT(refused([](Trajectory& t) { t.logprobs.push_back(0); }), HasSubstr("5 tokens and 4 logprobs"));
  EXPECT_THAT(refused([](Trajectory& t) { t.segments.clear(); }), HasSubstr("segments have 0 tokens"));
}

TEST(RecordWriter, WhatItWroteIsReadAsGroups) {
  const std::string path = Sample(Folder());
  const std::vector<Group> groups = ReadGroupFile(path).value();
  ASSERT_EQ(Print(groups), "[rl|3|p: p0 p1]");
  EXPECT_EQ(Print(groups[0].trajectories[0]), Print(MakeTrajectory("p", 0)));
  const Prompt& prompt = groups[0].prompt;
  EXPECT_EQ(prompt.tokens, MakePrompt("p").tokens);
  EXPECT_EQ(prompt.text, MakePrompt("p").text);
  EXPECT_EQ(prompt.answer + prompt.task + prompt.fields, "7chain{}");
}

// RFC 3720, B.4: the checksum of 32 bytes of zeros; here that of a record's length and of its bytes, in a
// file made by hand.
TEST(RecordFile, HasTheChecksumsOfTheRfc) {
  const std::string path = Folder() + "/x";
  std::string bytes("\x20\0\0\0", 4);
  bytes += std::string("\x4C\x5F\x42\x9F", 4);  // a bit at a time, in Python
  bytes += std::string("\xAA\x36\x91\x8A", 4);  // the RFC's
  bytes += std::string(32, '\0');
  Put(path, bytes);
  // The checksums hold: it is the record that is none.
  EXPECT_THAT(ReadGroupFile(path).status().message(), HasSubstr("byte 0: is not a record"));
}

TEST(RecordFile, CutAnywhereKeepsTheWholeRecordsAndIsWrittenOn) {
  const std::string folder = Folder();
  const std::string path = Sample(folder);
  const std::string whole = Bytes(path);
  std::string last;
  for (size_t size = 0; size <= whole.size(); ++size) {
    Put(path, whole.substr(0, size));
    const auto groups = ReadGroupFile(path);
    ASSERT_TRUE(groups.ok()) << size << groups.status();
    const std::string now = Print(*groups);
    EXPECT_GE(now.size(), last.size());
    last = now;
    if (size % 7 != 0 && size != whole.size()) continue;
    {
      auto writer = RecordWriter::Open(path).value();
      ASSERT_TRUE(writer->WritePrompt("rl", 3, MakePrompt("p")).ok());
      ASSERT_TRUE(writer->WriteTrajectory(MakeTrajectory("p", 1)).ok());
      ASSERT_TRUE(writer->WriteTrajectory(MakeTrajectory("p", 0)).ok());
    }
    EXPECT_EQ(Print(ReadGroupFile(path).value()), "[rl|3|p: p0 p1]") << size;
  }
  EXPECT_EQ(last, "[rl|3|p: p0 p1]");
}

TEST(RecordFile, AnyFlippedBitIsAnErrorWithFileAndByteAndAWriterCutsOffTheLastRecordAlone) {
  const std::string path = Sample(Folder());
  const std::string whole = Bytes(path);
  const size_t begin = LastRecord(whole);
  ASSERT_GT(begin, whole.size() / 2);
  for (size_t at = 0; at < whole.size(); ++at) {
    std::string bytes = whole;
    bytes[at] ^= static_cast<char>(1 << at % 8);
    Put(path, bytes);
    const absl::Status status = ReadGroupFile(path).status();
    ASSERT_EQ(status.code(), absl::StatusCode::kDataLoss) << at;
    ASSERT_THAT(status.message(), testing::AllOf(HasSubstr(path), HasSubstr(": byte ")));
    testing::internal::CaptureStderr();
    const absl::Status opened = RecordWriter::Open(path).status();
    testing::internal::GetCapturedStderr();
    ASSERT_EQ(opened.ok(), at >= begin) << at << opened;
    ASSERT_EQ(Bytes(path), at >= begin ? whole.substr(0, begin) : bytes) << at;
  }
}

// As a file system leaves a file whose last pages were never written.
TEST(RecordFile, ATailThatHoldsNoRecordIsCutOffOnce) {
  const std::string path = Sample(Folder());
  const std::string whole = Bytes(path);
  std::string rubbish;
  RandomStream random(1, Purpose::kTask);
  for (int i = 0; i < 3'000'000; ++i) rubbish.push_back(static_cast<char>(random.NextBelow(256)));
  std::vector<std::string> tails;
  for (const size_t size : {1, 2, 11, 12, 13, 4096, 3'000'000}) {
    tails.push_back(std::string(size, '\0'));
    tails.push_back(std::string(size, '\xff'));
    tails.push_back(rubbish.substr(0, size));
  }
  const std::string huge("\x01\0\0\x10\x10\x26\x7C\x85zzzz", 12);  // a length of 268435457 bytes
  tails.push_back(huge);
  tails.push_back(huge + std::string(4096, '\0'));
  tails.push_back(whole.substr(0, 30) + std::string(4096, '\0'));  // of a record the first page alone
  for (const std::string& tail : tails) {
    Put(path, whole + tail);
    testing::internal::CaptureStderr();
    {
      auto writer = RecordWriter::Open(path);
      ASSERT_TRUE(writer.ok()) << tail.size() << writer.status();
      EXPECT_EQ(Bytes(path), whole) << tail.size();
      ASSERT_TRUE((*writer)->WriteTrajectory(MakeTrajectory("p", 2)).ok());
    }
    EXPECT_THAT(testing::internal::GetCapturedStderr(),
                HasSubstr(absl::StrCat(path, ": cuts off the ", tail.size(), " bytes")));
    EXPECT_EQ(Print(ReadGroupFile(path).value()), "[rl|3|p: p0 p1 p2]") << tail.size();
  }
  // The files of other ranks too, each at its end.
  Put(path, whole + huge);
  Put(RecordPath(path.substr(0, path.rfind(".rank")), 3), whole + std::string(5, '\0'));
  testing::internal::CaptureStderr();
  ASSERT_TRUE(CutTails(path.substr(0, path.rfind(".rank"))).ok());
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("rank-3.records: cuts off the 5 bytes"));
  EXPECT_EQ(Bytes(path), whole);
  EXPECT_EQ(Bytes(RecordPath(path.substr(0, path.rfind(".rank")), 3)), whole);
}

TEST(RecordFile, DamageThatAWholeRecordFollowsIsNeverCutOff) {
  const std::string path = Sample(Folder());
  const std::string whole = Bytes(path);
  const size_t begin = LastRecord(whole);
  const std::string last = whole.substr(begin);
  for (const std::string& damage :
       {std::string(1, '\0'), std::string(12, 'x'), std::string(3'000'000, 'y')}) {
    const std::string bytes = whole.substr(0, begin) + damage + last + std::string(100, '\0');
    Put(path, bytes);
    const absl::Status status = RecordWriter::Open(path).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << damage.size();
    EXPECT_THAT(status.message(), HasSubstr(absl::StrCat(": byte ", begin, ": a record's length")));
    EXPECT_EQ(Bytes(path), bytes);
  }
}

// Sectors reach a disk in any order: a loss of power may take one and leave what was written after it.
TEST(RecordFile, AllAfterASectorThatALossOfPowerTookIsCutOff) {
  const std::string path = Sample(Folder());
  std::string whole = Bytes(path);
  std::vector<size_t> begins;  // of 30 records more
  for (int i = 2; i < 32; ++i) {
    begins.push_back(whole.size());
    whole += RecordOf(EncodeTrajectory(MakeTrajectory("p", i)));
  }
  for (const size_t sector : {2, 5, 7}) {
    const size_t lost = 512 * sector, kept = *std::prev(std::upper_bound(begins.begin(), begins.end(), lost));
    ASSERT_LT(lost + 512, begins.back());
    std::string bytes = whole;
    bytes.replace(lost, 512, 512, '\0');
    Put(path, bytes);
    EXPECT_EQ(ReadGroupFile(path).status().code(), absl::StatusCode::kDataLoss);
    testing::internal::CaptureStderr();
    EXPECT_TRUE(RecordWriter::Open(path).ok());
    EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr(absl::StrCat("at byte ", kept)));
    EXPECT_EQ(Bytes(path), whole.substr(0, kept));
  }
}

TEST(RecordFile, ALengthOverTheLimitIsDamageAndAllocatesNothing) {
  const std::string path = Folder() + "/x";
  Put(path, std::string("\x01\0\0\x10\x10\x26\x7C\x85zzzz", 12));
  EXPECT_THAT(ReadGroupFile(path).status().message(), HasSubstr("a record of 268435457 bytes"));
}

TEST(RecordFile, ATrajectoryBelongsToTheLastPromptOfItsId) {
  const std::string path = Folder() + "/x";
  auto writer = RecordWriter::Open(path).value();
  for (const int64_t rollout : {0, 1}) {
    ASSERT_TRUE(writer->WritePrompt("rl", rollout, MakePrompt("p")).ok());
    ASSERT_TRUE(writer->WriteTrajectory(MakeTrajectory("p", 0)).ok());
  }
  EXPECT_EQ(Print(ReadGroupFile(path).value()), "[rl|0|p: p0][rl|1|p: p0]");
  ASSERT_TRUE(writer->WriteTrajectory(MakeTrajectory("q", 0)).ok());
  EXPECT_THAT(ReadGroupFile(path).status().message(),
              HasSubstr("a trajectory of prompt q, which is not before it"));
}

TEST(RecordFile, APromptThatChangedIsAnError) {
  const std::string path = Sample(Folder());
  auto writer = RecordWriter::Open(path).value();
  Prompt prompt = MakePrompt("p");
  prompt.answer = "8";
  ASSERT_TRUE(writer->WritePrompt("rl", 3, prompt).ok());
  EXPECT_THAT(ReadGroupFile(path).status().message(), HasSubstr("is there twice and differs"));
}

TEST(ReadGroups, MergesTheFilesOfAllRanksAndNoOthers) {
  const std::string folder = Folder();
  EXPECT_EQ(Print(ReadGroups(folder + "/none/t").value()), "");
  EXPECT_EQ(Print(ReadGroups(folder + "/t").value()), "");
  const auto write = [&](int rank, const std::string& id, std::vector<int32_t> samples) {
    auto writer = RecordWriter::Open(RecordPath(folder + "/t", rank)).value();
    ASSERT_TRUE(writer->WritePrompt("rl", 0, MakePrompt(id)).ok());
    for (const int32_t sample : samples)
      ASSERT_TRUE(writer->WriteTrajectory(MakeTrajectory(id, sample)).ok());
  };
  write(10, "a", {2, 0});
  write(2, "b", {0});
  write(2, "a", {1, 0});
  for (const char* name : {"t.rank-1.recordsx", "u.rank-0.records", "t.rank-.records", "t.rank-01.records",
                           "t.rank--1.records"}) {
    Put(folder + "/" + name, "no records at all");
  }
  EXPECT_EQ(Print(ReadGroups(folder + "/t").value()), "[rl|0|b: b0][rl|0|a: a0 a1 a2]");
}

TEST(ReadGroupFile, OfAFolderOrNothingIsAnError) {
  const std::string folder = Folder();
  EXPECT_THAT(ReadGroupFile(folder).status().message(), HasSubstr("is not a regular file"));
  EXPECT_THAT(ReadGroupFile(folder + "/x").status().message(), HasSubstr("No such file"));
  EXPECT_FALSE(RecordWriter::Open(folder).ok());
  EXPECT_FALSE(RecordWriter::Open(folder + "/no/x").ok());
}

}  // namespace
}  // namespace temper
