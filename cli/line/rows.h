// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/files/lines.h"
#include "core/json/json.h"

namespace temper {

// One input row.
struct Row {
  Json json;         // its numbers as they are written
  int64_t line = 0;  // counted from 1
  std::string name;  // "FILE:LINE", for errors
};

// JSON values of any kind, one a line, out of a file or standard input ("-").
class RowReader {
 public:
  static absl::StatusOr<std::unique_ptr<RowReader>> Open(const std::string& path);
  // Nothing at the end. Cancelled once the user asks to stop.
  absl::StatusOr<std::optional<Row>> Next();

 private:
  explicit RowReader(std::unique_ptr<LineReader> lines) : lines_(std::move(lines)) {}
  const std::unique_ptr<LineReader> lines_;
};

// The text on standard output, with a line end where it has none. Waits for a slow reader; one that is gone
// is an error.
absl::Status WriteOut(std::string text);
// A row of JSON: of its characters those that a terminal would obey are escaped, as JSON may, so that a file,
// a pipe and a terminal get the same bytes.
absl::Status WriteRow(std::string_view json);

// An error where a file written as `output` would replace one that is read: one of the `inputs`, or what is
// there in a folder that is one, under whatever name.
absl::Status CheckOutput(const std::string& output, const std::vector<std::string>& inputs);

// The member `key` as token ids, each in [0, limit). Errors name the row, the key and the index.
absl::StatusOr<std::vector<int32_t>> TokensOf(const Json& object, const std::string& key, int64_t limit,
                                              const std::string& name);

std::string IdsText(absl::Span<const int32_t> ids);      // "[1,2]"
std::string FloatsText(absl::Span<const float> floats);  // "[-0.5,-1e-7]": reads back to the same bits; null
                                                         // for what JSON has not

}  // namespace temper
