// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

#include "core/json/json.h"
#include "rewards/code/task.h"

namespace temper {

// Whether what a program printed is what was expected. A number meets one within a tolerance only where it is
// written as one ([-+]digits[.digits][e..]): "nan", "inf" and hexadecimal meet none.
bool SameOutput(std::string_view expected, std::string_view printed, const CodeCompare& compare);

// Whether a call's result is the value expected. `result` is in a driver's form
// (rewards/code/driver/driver.h). Types count: true is not 1, "1" is not 1; 1 and 1.0 are the same number, as
// are 0.0 and -0.0; NaN and infinities are never expected. Whole numbers are compared exactly at any size.
bool SameValue(const Json& expected, const Json& result, double tolerance);

}  // namespace temper
