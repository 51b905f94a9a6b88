// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "rewards/reward.h"

namespace temper {

// Rule `process`: a user's own program, which reads rows and writes verdicts, a JSON line each:
//
//   {"id":3,"completion":"..","stop":"eos","tokens":17,"prompt":"..","answer":"..","task":"..","row":{..}}
//   {"id":3,"score":0.5,"reason":".."}     or     {"id":3,"verdict":"wrong","reason":".."}
//
// `row` is the dataset's row as it was. score is in [0, 1]; without a verdict 1 is correct, anything less
// wrong; without a score correct is 1, anything else 0; extracted and reason may be left out. `processes` of
// it run, each with one row at a time, started by the rule, in process groups of their own, with no file of
// ours but their three standard ones.
//
// Never a 0 for a broken program: one that ends, writes what is no such line, another row's id, a score that
// is no number in [0, 1], more than 1 MiB, or nothing for row_seconds is killed with its group, and the row's
// verdict is infrastructure_error with what happened and the last line of its standard error. A new one is
// started for the next row; from the second failure in a row on after a pause that doubles from 0.1 s to 30
// s, which rows wait for up to 1 s and are refused at once beyond.
//
// Judge blocks at most for the rows before it, row_seconds each, and start_seconds more of a new process.
// Errors of MakeProcess: no command, a program that cannot be started, or that ends within 0.1 s without a
// row.
absl::StatusOr<std::unique_ptr<Reward>> MakeProcess(const RuleConfig& config);

}  // namespace temper
