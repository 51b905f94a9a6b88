// SPDX-License-Identifier: Apache-2.0
#include "kernels/log.h"

#include <bit>
#include <cstdint>

#include "kernels/cpu/exponential.h"

namespace temper::kernels {
namespace {

struct F64 {
  double value;
};
F64 Constant(F64, double value) { return {value}; }
F64 OfBits(F64, int64_t bits) { return {std::bit_cast<double>(bits)}; }
F64 OfInteger(F64, int64_t x) { return {static_cast<double>(x)}; }
int64_t BitsOf(F64 x) { return std::bit_cast<int64_t>(x.value); }
bool Less(F64 a, F64 b) { return a.value < b.value; }
F64 Add(F64 a, F64 b) { return {a.value + b.value}; }
F64 Sub(F64 a, F64 b) { return {a.value - b.value}; }
F64 Mul(F64 a, F64 b) { return {a.value * b.value}; }
F64 Div(F64 a, F64 b) { return {a.value / b.value}; }

}  // namespace

double Log(double x) { return LogOf(F64{x}).value; }

}  // namespace temper::kernels
