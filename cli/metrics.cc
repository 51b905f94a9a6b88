// SPDX-License-Identifier: Apache-2.0
#include "cli/metrics.h"

#include <bit>
#include <cmath>
#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "cli/line/options.h"
#include "cli/line/rows.h"
#include "cli/report/run.h"
#include "core/files/crc32c.h"
#include "core/files/file.h"
#include "trainer/run_directory/run_directory.h"

namespace temper {
namespace {

struct MetricsOptions {
  std::string csv, tensorboard;

  template <class V>
  void Fields(V& v) {
    v.Field("csv", csv, "One table of all stages to this file; -: standard output.");
    v.Field("tensorboard", tensorboard, "TensorBoard event files to this folder, each stage in its own.");
  }
};

std::string CsvCell(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  return absl::StrCat("\"", absl::StrReplaceAll(text, {{"\"", "\"\""}}), "\"");
}

// Little-endian bytes of an integer.
template <class T>
std::string Fixed(T value) {
  std::string bytes;
  for (size_t i = 0; i < sizeof(T); ++i) bytes.push_back(static_cast<char>(value >> (8 * i) & 0xff));
  return bytes;
}

std::string Varint(uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes.push_back(static_cast<char>(value | 0x80));
  bytes.push_back(static_cast<char>(value));
  return bytes;
}

// A protobuf field of bytes: text or a message.
std::string BytesField(int number, const std::string& bytes) {
  return absl::StrCat(Varint(number << 3 | 2), Varint(bytes.size()), bytes);
}

// TensorFlow's record: length, its checksum, the bytes, theirs.
std::string TfRecord(const std::string& bytes) {
  const auto masked = [](const std::string& text) {
    const uint32_t crc = Crc32c(text);
    return Fixed<uint32_t>(((crc >> 15) | (crc << 17)) + 0xa282ead8u);
  };
  const std::string length = Fixed<uint64_t>(bytes.size());
  return absl::StrCat(length, masked(length), bytes, masked(bytes));
}

// tensorflow/core/util/event.proto: wall_time = 1, step = 2, file_version = 3, summary = 5.
std::string Event(double seconds, int64_t step, const std::string& rest) {
  return absl::StrCat(Varint(1 << 3 | 1), Fixed<uint64_t>(std::bit_cast<uint64_t>(seconds)), Varint(2 << 3),
                      Varint(static_cast<uint64_t>(step)), rest);
}

// tensorflow/core/framework/summary.proto: Summary.value = 1; Value.tag = 1, simple_value = 2.
std::string ScalarValue(const std::string& tag, double value) {
  const std::string number = Fixed<uint32_t>(std::bit_cast<uint32_t>(static_cast<float>(value)));
  return BytesField(1, absl::StrCat(BytesField(1, tag), Varint(2 << 3 | 5), number));
}

absl::Status WriteEvents(const std::vector<MetricsLine>& lines, const std::string& folder) {
  std::set<std::string> stages;
  for (const MetricsLine& line : lines) {
    if (!stages.insert(line.stage).second) continue;
    const std::string directory = absl::StrCat(folder, "/", line.stage);
    TEMPER_RETURN_IF_ERROR(MakeDirectories(directory));
    // Written anew each time under the same name, so that a running stage is not there twice.
    TEMPER_RETURN_IF_ERROR(
        WriteFileAtomic(directory + "/events.out.tfevents.temper", MetricsEvents(lines, line.stage)));
  }
  return absl::OkStatus();
}

}  // namespace

std::string MetricsCsv(const std::vector<MetricsLine>& lines) {
  std::vector<std::string> names = {"stage", "step"};
  std::map<std::string, size_t> column = {{"stage", 0}, {"step", 1}};
  for (const MetricsLine& line : lines) {
    for (const auto& [name, value] : line.values) {
      if (column.emplace(name, names.size()).second) names.push_back(name);
    }
  }
  const auto row = [](const std::vector<std::string>& cells) {
    return absl::StrJoin(cells, ",",
                         [](std::string* out, const std::string& cell) { *out += CsvCell(cell); }) +
           "\r\n";
  };
  std::string text = row(names);
  for (const MetricsLine& line : lines) {
    std::vector<std::string> cells(names.size());
    cells[0] = line.stage;
    cells[1] = absl::StrCat(line.step);
    for (const auto& [name, value] : line.values) {
      if (std::isfinite(value)) cells[column[name]] = FormatDouble(value);
    }
    text += row(cells);
  }
  return text;
}

std::string MetricsEvents(const std::vector<MetricsLine>& lines, const std::string& stage) {
  const auto seconds_of = [](const MetricsLine& line) {
    const double* const seconds = line.Find("time/unix_seconds");
    return seconds == nullptr || !std::isfinite(*seconds) ? 0 : *seconds;
  };
  std::string events;
  for (const MetricsLine& line : lines) {
    if (line.stage != stage) continue;
    if (events.empty()) events = TfRecord(Event(seconds_of(line), 0, BytesField(3, "brain.Event:2")));
    std::string summary;
    for (const auto& [name, value] : line.values) {
      if (std::isfinite(value)) summary += ScalarValue(name, value);
    }
    events += TfRecord(Event(seconds_of(line), line.step, BytesField(5, summary)));
  }
  return events;
}

absl::Status RunMetrics(const CommandLine& line) {
  MetricsOptions options;
  TEMPER_ASSIGN_OR_RETURN(const std::vector<std::string> rest, ParseOptions(line.arguments, options));
  if (rest.size() != 1 || (options.csv.empty() && options.tensorboard.empty())) {
    return absl::InvalidArgumentError(
        "metrics takes one RUN_DIR and where to: temper metrics RUN_DIR --csv FILE, or --tensorboard DIR");
  }
  const std::string path = MetricsPath(rest[0]);
  if (!IsRunDirectory(rest[0]) || !FileExists(path))
    return absl::NotFoundError(absl::StrCat(Printable(path, 1000), ": is not there: no run's metrics"));
  TEMPER_ASSIGN_OR_RETURN(const std::vector<MetricsLine> lines, ReadMetrics(path));
  if (!options.tensorboard.empty()) TEMPER_RETURN_IF_ERROR(WriteEvents(lines, options.tensorboard));
  if (options.csv == "-") return WriteOut(MetricsCsv(lines));
  return options.csv.empty() ? absl::OkStatus() : WriteFileAtomic(options.csv, MetricsCsv(lines));
}

std::string MetricsHelp() { return OptionsHelp(DescribeConfig<MetricsOptions>()); }

}  // namespace temper
