// SPDX-License-Identifier: Apache-2.0
// Loops without branches or calls, which the compiler turns into the instruction set's own.
#include "kernels/cpu/convert.h"

#include "kernels/convert.h"

namespace temper::kernels {
namespace TEMPER_ISA {
namespace {

inline uint32_t BitsOf(float value) { return __builtin_bit_cast(uint32_t, value); }
inline float FromBits(uint32_t bits) { return __builtin_bit_cast(float, bits); }

constexpr uint32_t kInfinity = 0x7f800000;

}  // namespace

void BfloatToFloat(int64_t n, const uint16_t* __restrict in, float* __restrict out) {
  for (int64_t i = 0; i < n; ++i) out[i] = FromBits(uint32_t{in[i]} << 16);
}

// A subnormal number is a normal one, its fraction after a 1, less that 1. All choices are of integers: the
// compiler keeps a branch where one side is arithmetic on floats.
void HalfToFloat(int64_t n, const uint16_t* __restrict in, float* __restrict out) {
  for (int64_t i = 0; i < n; ++i) {
    const uint32_t half = in[i], size = half & 0x7fff;
    const uint32_t exponent = size < 0x400 ? 113 : size < 0x7c00 ? 112 : 224;  // 224 + 31: infinity, NaN
    const uint32_t one = size < 0x400 ? BitsOf(0x1p-14f) : 0;
    const float value = FromBits((size << 13) + (exponent << 23)) - FromBits(one);
    out[i] = FromBits(BitsOf(value) | (half & 0x8000) << 16);
  }
}

void Fp8ToFloat(const Fp8Run& run, const uint8_t* __restrict in, float* __restrict out) {
  const int64_t n = run.n;
  const float scale = run.scale;
  for (int64_t i = 0; i < n; ++i) {
    const uint32_t code = in[i], size = code & 0x7f;
    const uint32_t exponent = size < 8 ? 121 : size < 0x7f ? 120 : 240;  // 240 + 15: NaN
    const uint32_t one = size < 8 ? BitsOf(0x1p-6f) : 0;
    const float value = FromBits((size << 20) + (exponent << 23)) - FromBits(one);
    out[i] = FromBits(BitsOf(value) | (code & 0x80) << 24) * scale;
  }
}

void FloatToBfloat(int64_t n, const float* __restrict in, uint16_t* __restrict out) {
  for (int64_t i = 0; i < n; ++i) {
    const uint32_t bits = BitsOf(in[i]);
    const uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    // Rounding could carry a NaN's fraction into the exponent.
    out[i] = static_cast<uint16_t>((bits & 0x7fffffff) > kInfinity ? bits >> 16 | 0x40 : rounded);
  }
}

void FloatToFp8(const Fp8Run& run, const float* __restrict in, uint8_t* __restrict out) {
  const int64_t n = run.n;
  const float scale = run.scale;
  const uint32_t largest = BitsOf(448.0f), least_normal = BitsOf(0x1p-6f);
  for (int64_t i = 0; i < n; ++i) {
    const uint32_t bits = BitsOf(in[i] / scale), whole = bits & 0x7fffffff;
    const uint32_t size = whole < largest ? whole : largest;
    // Small ones are multiples of 2^-9, which is the last place of 2^14.
    const uint32_t anchor = size < least_normal ? BitsOf(0x1p14f) : 0;
    const uint32_t sum = BitsOf(FromBits(size) + FromBits(anchor)), subnormal = sum & 15;
    // Of the others 20 bits of the fraction go, to nearest even, and 120 from the exponent.
    const uint32_t normal = ((sum + 0x7ffff + (sum >> 20 & 1)) >> 20) - (120 << 3);
    const uint32_t code = (size < least_normal ? subnormal : normal) | (whole > kInfinity ? 0x7f : 0);
    out[i] = static_cast<uint8_t>(code | (bits >> 24 & 0x80));
  }
}

uint32_t LargestSize(int64_t n, const float* in) {
  uint32_t largest = 0;
  for (int64_t i = 0; i < n; ++i) {
    const uint32_t size = BitsOf(in[i]) & 0x7fffffff;
    largest = size > largest ? size : largest;
  }
  return largest;
}

}  // namespace TEMPER_ISA
}  // namespace temper::kernels
