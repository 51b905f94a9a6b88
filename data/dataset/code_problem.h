// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>

#include "core/json/json.h"

namespace temper {

// What a row of a published data set of programs asks: LiveCodeBench's question_content and APPS' question
// with their starter_code, MBPP's text or prompt with the tests of test_list (which name the function),
// CodeContests' description. `seen` is what it is made of. Nothing: no such row.
struct CodeProblem {
  std::string text, seen;
};
std::optional<CodeProblem> CodeProblemOf(const Json& row);

}  // namespace temper
