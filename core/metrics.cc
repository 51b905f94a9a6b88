// SPDX-License-Identifier: Apache-2.0
#include "core/metrics.h"

#include <cmath>
#include <limits>
#include <set>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/files/lines.h"

namespace temper {

const double* MetricsLine::Find(const std::string& name) const {
  for (const auto& [key, value] : values) {
    if (key == name) return &value;
  }
  return nullptr;
}

absl::StatusOr<std::unique_ptr<MetricsWriter>> MetricsWriter::Open(const std::string& path, int64_t offset) {
  if (offset < 0 && FileExists(path)) {
    TEMPER_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
    offset = static_cast<int64_t>(text.rfind('\n') + 1);  // npos + 1 is 0
  }
  TEMPER_ASSIGN_OR_RETURN(std::unique_ptr<AppendFile> file, AppendFile::Open(path, offset));
  TEMPER_ASSIGN_OR_RETURN(const Extent extent, ExtentOfFile(path, file->offset()));
  return std::unique_ptr<MetricsWriter>(new MetricsWriter(std::move(file), extent));
}

absl::Status MetricsWriter::Write(const MetricsLine& line) {
  std::string out = absl::StrCat("{\"stage\":", DumpJson(line.stage), ",\"step\":", line.step);
  std::set<std::string_view> seen = {"stage", "step"};
  for (const auto& [name, value] : line.values) {
    TEMPER_CHECK(seen.insert(name).second, "metric ", name, " is there twice");
    absl::StrAppend(&out, ",", DumpJson(name), ":", std::isfinite(value) ? FormatDouble(value) : "null");
  }
  out += "}\n";
  absl::MutexLock lock(&mutex_);
  TEMPER_RETURN_IF_ERROR(file_->Append(out));
  extent_.Add(out);
  return absl::OkStatus();
}

absl::Status MetricsWriter::Sync() { return file_->Sync(); }

Extent MetricsWriter::extent() const {
  absl::MutexLock lock(&mutex_);
  return extent_;
}

absl::StatusOr<std::vector<MetricsLine>> ReadMetrics(const std::string& path) {
  TEMPER_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  std::vector<MetricsLine> lines;
  for (size_t begin = 0, end; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1) {
    const int64_t number = static_cast<int64_t>(lines.size()) + 1;
    const std::string name = absl::StrCat(path, ":", number);
    TEMPER_ASSIGN_OR_RETURN(
        const Json json,
        ParseLine({.text = text.substr(begin, end - begin), .number = number, .name = name}));
    MetricsLine& line = lines.emplace_back();
    TEMPER_ASSIGN_OR_RETURN(line.stage, GetString(json, "stage", name));
    TEMPER_ASSIGN_OR_RETURN(line.step, GetInt(json, "step", name));
    for (const auto& [key, value] : json.items()) {
      if (key == "stage" || key == "step") continue;
      double number = std::numeric_limits<double>::quiet_NaN();
      if (!value.is_null()) {
        TEMPER_ASSIGN_OR_RETURN(number, GetDouble(json, key, name));
      }
      line.values.emplace_back(key, number);
    }
  }
  return lines;
}

}  // namespace temper
