// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "core/json/json.h"
#include "core/status.h"

namespace temper {

struct Line {
  std::string text;
  int64_t number = 0;  // counted from 1
  std::string name;    // "FILE:NUMBER", for errors
};

// The lines of a file or of standard input ("-"), at most 64 MiB each; blank ones are passed over. A line is
// returned as soon as it is there. One thread.
class LineReader {
 public:
  // `stop` is asked now and then, also while no bytes come; once true, Next is Cancelled.
  static absl::StatusOr<std::unique_ptr<LineReader>> Open(
      const std::string& path, std::function<bool()> stop = [] { return false; });
  ~LineReader();
  LineReader(const LineReader&) = delete;
  LineReader& operator=(const LineReader&) = delete;

  // Nothing at the end.
  absl::StatusOr<std::optional<Line>> Next();

 private:
  LineReader(std::string name, int file, std::function<bool()> stop)
      : name_(std::move(name)), file_(file), stop_(std::move(stop)) {}
  absl::StatusOr<bool> ReadLine(std::string* line);  // false at the end

  const std::string name_;
  const int file_;
  const std::function<bool()> stop_;
  std::string buffer_;
  size_t begin_ = 0;  // of what is not used yet
  int64_t number_ = 0;
  bool end_ = false;
};

// The one JSON value that the line is; errors name the line.
absl::StatusOr<Json> ParseLine(const Line& line, Numbers numbers = Numbers::kRounded);

}  // namespace temper
