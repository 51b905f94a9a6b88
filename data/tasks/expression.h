// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace temper::procedural {

// An exact fraction in lowest terms, den >= 1.
struct Fraction {
  int64_t num = 0, den = 1;
};

struct Value {
  Fraction value;
  std::vector<int64_t> numbers;  // that were written, in order
};

// Whole numbers, + - * / (also × ÷ −), signs and brackets, with the usual precedence. InvalidArgument, one
// line: what cannot be read and where, a division by zero, more than 64 bits, more than 64 levels, more than
// 512 bytes.
absl::StatusOr<Value> Evaluate(std::string_view expression);

}  // namespace temper::procedural
