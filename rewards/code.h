// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "rewards/reward.h"

namespace temper {

// Rule `code`: the completion's program (rewards/code_block.h) passes every test of its problem's row
// (rewards/code_task.h), shown and hidden, each in a sandbox of its own (rewards/sandbox.h). What is expected
// never enters a sandbox: this process compares what comes out (rewards/code_compare.h). An exit status of 0
// passes nothing, and one of 1 nothing either, whatever was printed.
//
// correct: all tests; wrong: the reason names the first that failed (of hidden ones, only that it did);
// timeout: of processor time, of the clock, or of all tests together. What the machine fails at is tried once
// more and is then an infrastructure_error. Judging takes at most total_seconds and one wall_seconds.
//
// Errors: no sandbox can be had here; a bad option. CheckAnswer's: tests that cannot be read, an interpreter
// or a compiler that is not there.
absl::StatusOr<std::unique_ptr<Reward>> MakeCode(const RuleConfig& config);

}  // namespace temper
