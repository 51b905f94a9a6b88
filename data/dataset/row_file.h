// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/json/json.h"
#include "core/status.h"

namespace temper {

struct DataRow {
  Json json;           // an object; its numbers as they are written
  int64_t number = 0;  // the line, or a Parquet file's row, counted from 1
  std::string name;    // "FILE:NUMBER", for errors
};

// The rows of a dataset file in any order, without holding them: 16 bytes of memory a row. JSONL (blank lines
// are passed over, a line has at most 64 MiB), one JSON list (a row is called by the line it begins on, where
// rows share one by its place in the list), or Parquet, which is told by its first bytes and unpacked once
// into a nameless file in $TMPDIR (/tmp). "-" is JSONL from standard input. Read may be called from any
// thread.
class RowFile {
 public:
  static absl::StatusOr<std::unique_ptr<RowFile>> Open(const std::string& path);
  ~RowFile();
  RowFile(const RowFile&) = delete;
  RowFile& operator=(const RowFile&) = delete;

  const std::string& name() const { return name_; }
  int64_t size() const { return static_cast<int64_t>(lines_.size()); }
  int64_t Number(int64_t index) const { return lines_[index].number; }
  std::string RowName(int64_t index) const;  // "FILE:NUMBER"
  // Row `index` of [0, size()). Errors name the row: no JSON object, or the file is not what it was.
  absl::StatusOr<DataRow> Read(int64_t index) const;

 private:
  struct LinePlace {
    int64_t offset;
    uint32_t bytes, number;
  };
  RowFile(std::string name, int file) : name_(std::move(name)), file_(file) {}
  absl::StatusOr<bool> BeginsWithList() const;
  absl::Status Index();      // of lines
  absl::Status IndexList();  // of a list's items

  const std::string name_;  // printable
  const int file_;
  std::vector<LinePlace> lines_;
};

}  // namespace temper
