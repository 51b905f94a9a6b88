// SPDX-License-Identifier: Apache-2.0
// The words of rule `process`, version 1: a JSON line to the program for each row, batch or group, and a JSON
// line back for each row.
//
//   {"protocol":1,"id":3,"completion":"..","stop":"eos","tokens":17,"prompt":"..","answer":"..","task":"..","row":{..}}
//   {"protocol":1,"rows":[{"id":4,"completion":"..",..},{"id":5,..}]}                         (rows: batch,
//   group)
//   {"id":3,"score":0.5,"reason":".."}     or     {"id":3,"verdict":"wrong","reason":".."}
//
// `row` is the dataset's row as it was; `tokens` is null where it is not known; the rows of a group are in
// the order of their samples. Rows of a batch or group may be answered in any order, each once. score is in
// [0, 1]; without a verdict 1 is correct, anything less wrong; without a score correct is 1, anything else 0;
// extracted and reason may be left out, and keys that are not listed here do not count. A later version may
// add keys to rows.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "core/status.h"
#include "rewards/rule.h"

namespace temper {

enum class RowsForm { kOne, kBatch, kGroup };

// The line for rows with the ids first_id, first_id + 1 .. One row where the form is kOne.
std::string RequestLine(absl::Span<const Completion> rows, int64_t first_id, RowsForm form);

// The verdicts of the rows, by their ids; texts are printable (core/text.h). Errors: anything else than
// above.
absl::StatusOr<std::vector<Verdict>> ReadAnswers(const std::vector<std::string>& lines, int64_t first_id);

}  // namespace temper
