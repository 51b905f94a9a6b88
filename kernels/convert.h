// SPDX-License-Identifier: Apache-2.0
// From the number formats of checkpoints to f32 and back, on one thread. Pointers are aligned to their type.
#pragma once

#include <cstdint>

namespace temper::kernels {

// out[i] is in[i], exactly; NaN stays NaN.
void BfloatToFloat(int64_t n, const uint16_t* in, float* out);
void HalfToFloat(int64_t n, const uint16_t* in, float* out);

// e4m3 codes (model/files/fp8.h) of one scale.
struct Fp8Run {
  int64_t n;
  float scale;
};

// out[i] = the number of the code in[i], times scale.
void Fp8ToFloat(const Fp8Run& run, const uint8_t* in, float* out);

// The nearest BF16, ties to even; NaN stays NaN.
void FloatToBfloat(int64_t n, const float* in, uint16_t* out);

// The nearest code of in[i] / scale, ties to even; beyond 448 it is 448, NaN stays NaN.
void FloatToFp8(const Fp8Run& run, const float* in, uint8_t* out);

// The bits of the largest |in[i]|, which order as sizes do: infinity is above every number, NaN above it.
uint32_t LargestSize(int64_t n, const float* in);

}  // namespace temper::kernels
