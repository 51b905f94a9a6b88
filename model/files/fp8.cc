// SPDX-License-Identifier: Apache-2.0
#include "model/files/fp8.h"

#include <algorithm>
#include <bit>
#include <cfloat>

#include "kernels/convert.h"

namespace temper {

float Fp8Value(uint8_t code) {
  float value;
  kernels::Fp8ToFloat({1, 1.0f}, &code, &value);
  return value;
}

uint8_t Fp8Code(float value) {
  uint8_t code;
  kernels::FloatToFp8({1, 1.0f}, &value, &code);
  return code;
}

void QuantizeBlockRow(const float* in, int64_t rows, int64_t columns, uint8_t* codes, float* scales) {
  for (int64_t begin = 0; begin < columns; begin += kFp8Block) {
    const int64_t width = std::min(kFp8Block, columns - begin);
    uint32_t largest = 0;
    for (int64_t row = 0; row < rows; ++row) {
      largest = std::max(largest, kernels::LargestSize(width, in + row * columns + begin));
    }
    // A scale that is no normal number would lose its precision, or be 0.
    const float scale = largest == 0 ? 1.0f : std::max(std::bit_cast<float>(largest) / kFp8Max, FLT_MIN);
    scales[begin / kFp8Block] = scale;
    for (int64_t row = 0; row < rows; ++row) {
      const int64_t at = row * columns + begin;
      kernels::FloatToFp8({width, scale}, in + at, codes + at);
    }
  }
}

void DequantizeBlockRow(const uint8_t* codes, int64_t rows, int64_t columns, const float* scales,
                        float* out) {
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t begin = 0; begin < columns; begin += kFp8Block) {
      const int64_t at = row * columns + begin;
      kernels::Fp8ToFloat({std::min(kFp8Block, columns - begin), scales[begin / kFp8Block]}, codes + at,
                          out + at);
    }
  }
}

}  // namespace temper
