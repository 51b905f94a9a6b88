// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "core/json/json.h"
#include "core/status.h"
#include "rewards/code/task.h"

namespace temper {

// The tests of a row, in the first form that it has: temper's own (tests, hidden_tests, language), Open-R1's
// (verification_info), MBPP's (test_list, challenge_test_list, test_setup_code, test_imports), HumanEval's
// (prompt, entry_point, test), LiveCodeBench's (public_test_cases, private_test_cases, metadata), APPS' and
// TACO's (input_output), CodeContests' (public_tests, private_tests, generated_tests), verl's and PRIME's
// (reward_model.ground_truth). Each an object or its JSON text. Errors begin with `where`.
absl::Status ReadCodeRow(const Json& row, const std::string& where, CodeTask* task);

}  // namespace temper
