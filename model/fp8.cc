// SPDX-License-Identifier: Apache-2.0
#include "model/fp8.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cfloat>
#include <cmath>
#include <limits>

namespace temper {
namespace {

constexpr float ValueOf(int code) {
  const int exponent = code >> 3 & 15, fraction = code & 7;
  if ((code & 0x7f) == 0x7f) return std::numeric_limits<float>::quiet_NaN();
  float value = exponent == 0 ? fraction * 0x1p-9f : (8 + fraction) * 0x1p-10f;
  for (int e = 1; e <= exponent; ++e) value *= 2;
  return code & 0x80 ? -value : value;
}

constexpr std::array<float, 256> kValues = [] {
  std::array<float, 256> values{};
  for (int code = 0; code < 256; ++code) values[code] = ValueOf(code);
  return values;
}();

// Of a number that is no NaN. No branches, so that a compiler can do many at once.
inline uint8_t CodeOf(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t size = std::min(bits & 0x7fffffff, std::bit_cast<uint32_t>(kFp8Max));
  // Normal numbers: drop 20 bits of the fraction, to nearest even, and 120 from the exponent.
  const uint32_t normal = ((size + 0x7ffff + (size >> 20 & 1)) >> 20) - (120 << 3);
  // The smaller ones are multiples of 2^-9, which is the last place of 2^14.
  const uint32_t subnormal = std::bit_cast<uint32_t>(std::bit_cast<float>(size) + 0x1p14f) & 15;
  const uint32_t code = size < std::bit_cast<uint32_t>(0x1p-6f) ? subnormal : normal;
  return static_cast<uint8_t>(code | (bits >> 24 & 0x80));
}

}  // namespace

float Fp8Value(uint8_t code) { return kValues[code]; }

uint8_t Fp8Code(float value) {
  if (std::isnan(value)) return static_cast<uint8_t>(0x7f | (std::signbit(value) ? 0x80 : 0));
  return CodeOf(value);
}

void DecodeFp8(const uint8_t* in, int64_t count, float* out) {
  for (int64_t i = 0; i < count; ++i) out[i] = kValues[in[i]];
}

void QuantizeBlockRow(const float* in, int64_t rows, int64_t columns, uint8_t* codes, float* scales) {
  for (int64_t begin = 0; begin < columns; begin += kFp8Block) {
    const int64_t end = std::min(begin + kFp8Block, columns);
    uint32_t largest = 0;  // sizes order as their bits do
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t i = row * columns + begin; i < row * columns + end; ++i)
        largest = std::max(largest, std::bit_cast<uint32_t>(in[i]) & 0x7fffffff);
    }
    // A scale that is no normal number would lose its precision, or be 0.
    const float scale = largest == 0 ? 1.0f : std::max(std::bit_cast<float>(largest) / kFp8Max, FLT_MIN);
    scales[begin / kFp8Block] = scale;
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t i = row * columns + begin; i < row * columns + end; ++i) codes[i] = CodeOf(in[i] / scale);
    }
  }
}

void ScaleBlockRow(float* values, int64_t rows, int64_t columns, const float* scales) {
  for (int64_t row = 0; row < rows; ++row) {
    float* at = values + row * columns;
    for (int64_t begin = 0; begin < columns; begin += kFp8Block) {
      const float scale = scales[begin / kFp8Block];
      for (int64_t i = begin; i < std::min(begin + kFp8Block, columns); ++i) at[i] *= scale;
    }
  }
}

}  // namespace temper
