// SPDX-License-Identifier: Apache-2.0
#include "cli/metrics.h"

#include <cmath>
#include <cstring>

#include "core/files/crc32c.h"
#include "gmock/gmock.h"
#include "tests/cli/program.h"
#include "tests/cli/synthetic_run.h"

namespace temper {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

std::vector<MetricsLine> Some() {
  return {{"base", 1, {{"loss", 0.5}, {"tokens", 1116}, {"time/unix_seconds", 1764370000.25}}},
          {"base", 2, {{"loss", NAN}, {"tokens", 1120}, {"time/unix_seconds", 1764370001.5}}},
          {"zero", 1, {{"reward/\"a\",b", -0.1}, {"loss", 1e-9}}}};
}

TEST(MetricsCsv, HasAColumnANameAndALineAnUpdate) {
  EXPECT_EQ(MetricsCsv(Some()),
            "stage,step,loss,tokens,time/unix_seconds,\"reward/\"\"a\"\",b\"\r\n"
            "base,1,0.5,1116,1764370000.25,\r\n"
            "base,2,,1120,1764370001.5,\r\n"
            "zero,1,1e-09,,,-0.1\r\n");
  EXPECT_EQ(MetricsCsv({}), "stage,step\r\n");
}

uint64_t Read(const std::string& bytes, size_t at, size_t size) {
  uint64_t value = 0;
  for (size_t i = 0; i < size; ++i) value |= uint64_t(static_cast<uint8_t>(bytes[at + i])) << (8 * i);
  return value;
}

// The frames of a TFRecord file, their checksums checked.
std::vector<std::string> Records(const std::string& file) {
  std::vector<std::string> records;
  const auto masked = [](const std::string& text) {
    const uint32_t crc = Crc32c(text);
    return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
  };
  for (size_t at = 0; at < file.size();) {
    const uint64_t length = Read(file, at, 8);
    EXPECT_EQ(Read(file, at + 8, 4), masked(file.substr(at, 8)));
    records.push_back(file.substr(at + 12, length));
    EXPECT_EQ(Read(file, at + 12 + length, 4), masked(records.back()));
    at += 16 + length;
  }
  return records;
}

TEST(MetricsEvents, AreTensorBoardsRecords) {
  const std::vector<std::string> records = Records(MetricsEvents(Some(), "base"));
  ASSERT_EQ(records.size(), 3u);
  const auto seconds = [](double value) {
    std::string bytes(8, '\0');
    std::memcpy(bytes.data(), &value, 8);
    return bytes;
  };
  // wall_time, step, file_version; wall_time, step, summary {value {tag, simple_value} ..}.
  EXPECT_EQ(records[0], "\x09" + seconds(1764370000.25) + std::string("\x10\0\x1a\x0d", 4) + "brain.Event:2");
  EXPECT_THAT(records[1], StartsWith("\x09" + seconds(1764370000.25) + "\x10\x01\x2a"));
  EXPECT_THAT(records[1], HasSubstr(std::string("\x0a\x0b\x0a\x04loss\x15\0\0\0\x3f", 13)));
  EXPECT_THAT(records[2], Not(HasSubstr("loss")));  // NaN
  EXPECT_THAT(records[2], HasSubstr("tokens"));
}

TEST(RunMetrics, WritesATableAndAnEventFileAStage) {
  SyntheticRun run;
  run.Write();
  const Folder folder;
  const std::string csv = folder.path() + "/all.csv", events = folder.path() + "/board";
  EXPECT_TRUE(RunMetrics({.arguments = {run.directory, "--csv", csv, "--tensorboard", events}}).ok());
  const std::string table = folder.Read("all.csv");
  EXPECT_THAT(table, StartsWith("stage,step,loss,learning_rate,gradient_norm,reward/mean,"));
  EXPECT_EQ(std::count(table.begin(), table.end(), '\n'), 1 + 20 * 40 + 2 * 40);
  EXPECT_EQ(Records(folder.Read("board/zero/events.out.tfevents.temper")).size(), 41u);
  EXPECT_EQ(Lines("metrics", {run.directory, "--csv", "-"}).size(), size_t(1 + 20 * 40 + 2 * 40));
  EXPECT_THAT(ErrorOf("metrics", {run.directory}), HasSubstr("--csv FILE"));
  EXPECT_THAT(ErrorOf("metrics", {folder.path(), "--csv", "-"}), HasSubstr("metrics.jsonl: is not there"));
}

}  // namespace
}  // namespace temper
