// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "core/json.h"
#include "core/status.h"
#include "data/trajectory.h"

namespace temper {

// One test of a program. `input`, `args` and `function` go into the sandbox; what is expected never does.
struct CodeTest {
  bool hidden = false;   // the model was not shown it; verdicts tell nothing of it
  std::string function;  // empty: standard input and output; else NAME or CLASS.NAME
  std::string input, output;
  Json args, expected;
};

// How outputs are compared.
struct CodeCompare {
  enum class Text {
    kLines,  // white space at the ends of lines and empty lines at the end do not count
    kExact,  // bytes
    kWords   // words only: any white space separates
  };
  Text text = Text::kLines;
  // Where it is over 0, a number that is expected with a point or an exponent is met by any within
  // tolerance * max(1, |expected|). Whole numbers are compared exactly in any case.
  double tolerance = 0;
};

struct CodeTask {
  bool cpp = false;
  CodeCompare compare;
  std::vector<CodeTest> tests;  // at least one; the hidden ones last
};

absl::StatusOr<CodeCompare::Text> CompareByName(const std::string& name);  // lines, exact, words

// The tests of a problem's row: {"language": "python" (default) | "cpp", "tests": [..], "hidden_tests":
// [..]}, or Open-R1's {"verification_info": {"language", "test_cases"}}, each an object or its JSON text. A
// test is
// {"input","output"}, {"function","args","expected"}, or with Open-R1's "fn_name" {"input","output"} as a
// list of arguments (or JSON, one a line) and the result (alone in a list, or as JSON). `tests` may also be
// {"inputs":[..],"outputs":[..],"fn_name"}. "compare" and "tolerance" of the row replace `compare`'s. Errors
// name the test and the key.
absl::StatusOr<CodeTask> ReadCodeTask(const Prompt& prompt, const CodeCompare& compare);

}  // namespace temper
