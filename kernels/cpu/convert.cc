// SPDX-License-Identifier: Apache-2.0
// Loops without branches or calls, which the compiler turns into the instruction set's own.
#include "kernels/cpu/convert.h"

namespace temper::kernels {
namespace TEMPER_ISA {
namespace {

inline uint32_t BitsOf(float value) { return __builtin_bit_cast(uint32_t, value); }
inline float FromBits(uint32_t bits) { return __builtin_bit_cast(float, bits); }

constexpr uint32_t kInfinity = 0x7f800000, kQuiet = 0x400000;

}  // namespace

void BfloatToFloat(int64_t n, const uint16_t* __restrict in, float* __restrict out) {
  for (int64_t i = 0; i < n; ++i) out[i] = FromBits(uint32_t{in[i]} << 16);
}

void HalfToFloat(int64_t n, const uint16_t* __restrict in, float* __restrict out) {
  for (int64_t i = 0; i < n; ++i) {
    const uint32_t half = in[i], size = half & 0x7fff;
    const uint32_t normal = (size << 13) + (112u << 23), special = kInfinity | size << 13;
    const uint32_t subnormal = BitsOf(static_cast<float>(static_cast<int32_t>(size)) * 0x1p-24f);
    const uint32_t bits = size < 0x400 ? subnormal : size < 0x7c00 ? normal : special;
    out[i] = FromBits(bits | (half & 0x8000) << 16);
  }
}

void Fp8ToFloat(int64_t n, const uint8_t* __restrict in, float scale, float* __restrict out) {
  for (int64_t i = 0; i < n; ++i) {
    const uint32_t code = in[i], size = code & 0x7f;
    const uint32_t normal = (size << 20) + (120u << 23);
    const uint32_t subnormal = BitsOf(static_cast<float>(static_cast<int32_t>(size)) * 0x1p-9f);
    const uint32_t bits = size < 8 ? subnormal : size == 0x7f ? kInfinity | kQuiet : normal;
    out[i] = FromBits(bits | (code & 0x80) << 24) * scale;
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

void FloatToFp8(int64_t n, const float* __restrict in, float scale, uint8_t* __restrict out) {
  const uint32_t largest = BitsOf(448.0f), least_normal = BitsOf(0x1p-6f);
  for (int64_t i = 0; i < n; ++i) {
    const uint32_t bits = BitsOf(in[i] / scale), whole = bits & 0x7fffffff;
    const uint32_t size = whole < largest ? whole : largest;
    // Normal numbers: 20 bits of the fraction go, to nearest even, and 120 from the exponent.
    const uint32_t normal = ((size + 0x7ffff + (size >> 20 & 1)) >> 20) - (120 << 3);
    // The smaller ones are multiples of 2^-9, which is the last place of 2^14.
    const uint32_t subnormal = BitsOf(FromBits(size) + 0x1p14f) & 15;
    const uint32_t code = whole > kInfinity ? 0x7f : size < least_normal ? subnormal : normal;
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
