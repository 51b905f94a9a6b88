// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "core/json/json.h"
#include "core/status.h"
#include "data/trajectory.h"

namespace temper {

// One test of a program: standard input and output, a call of a function with its arguments, or a check.
// `input`, `args` and `function` go into the program's process; what is expected never does, and of a check
// only the calls in it.
struct CodeTest {
  bool hidden = false;   // the model was not shown it; verdicts tell nothing of it
  std::string function;  // empty: standard input and output; else NAME or CLASS.NAME
  std::string input, output;
  Json args, expected;
  bool alone = false;  // `expected` stood alone in a list: that list is right, too
  std::string check;   // Python that raises where the program is wrong; calls it by name
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
  // Of checks:
  std::string prompt;                // code that the program goes on with, or replaces (HumanEval)
  std::string entry;                 // the function that it is then for
  std::string setup;                 // runs before each check
  std::vector<std::string> defines;  // what the row's own solution defines
};

absl::StatusOr<CodeCompare::Text> CompareByName(const std::string& name);  // lines, exact, words

// The tests of a problem's row (rewards/code/row.h has the forms of published data sets). "compare" and
// "tolerance" of the row replace `compare`'s. Errors name the problem, the test and the key.
absl::StatusOr<CodeTask> ReadCodeTask(const Prompt& prompt, const CodeCompare& compare);

// Adds the tests of one value: a list of tests, {"inputs":[..],"outputs":[..],"fn_name"}, or the JSON text of
// either. A test is {"input","output"}, {"function","args","expected"}, a text (a check), or with "fn_name"
// {"input","output"} as a list of arguments (or JSON, one a line) and the result (perhaps alone in a list, or
// as JSON). Inputs and outputs may be lists of lines. `function` is the one that tests of type "functional"
// call.
absl::Status AddTests(const Json& given, bool hidden, const std::string& function, const std::string& where,
                      CodeTask* task);

}  // namespace temper
