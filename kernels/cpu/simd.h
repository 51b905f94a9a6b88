// SPDX-License-Identifier: Apache-2.0
// Sixteen f32 lanes, the same bits on AVX-512, AVX2 and plain C++. Included only by kernels/cpu/*.cc, which
// is compiled once for each instruction set, into namespace temper::kernels::TEMPER_ISA. A fused multiply-add
// is always written (Fma), never inferred; there are no reciprocal approximations; sums over lanes go in one
// fixed tree (SumLanes). Only types and functions of this namespace may be used here: an inline function of
// the standard library compiled with -mavx512f could be the copy that the linker keeps for everybody.
#pragma once

// g++ 12 calls the deliberately undefined operands of its own AVX-512 header uninitialised.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop
#include <stdint.h>

#include "kernels/cpu/exponential.h"

#ifndef TEMPER_ISA
#error "kernels/cpu is compiled with -DTEMPER_ISA=plain|avx2|avx512"
#endif

namespace temper::kernels {
namespace TEMPER_ISA {

constexpr int kLanes = 16;

// A number of 16 bits: the upper half of an f32, which it is exactly.
struct Bf16 {
  uint16_t bits;
};
inline float Widened(float x) { return x; }
inline float Widened(Bf16 x) { return __builtin_bit_cast(float, uint32_t{x.bits} << 16); }

#if defined(TEMPER_ISA_avx512)

struct F16 {
  __m512 v;
};
struct Mask {
  __mmask16 m;
};
inline F16 Load(const float* p) { return {_mm512_loadu_ps(p)}; }
inline F16 Load(const Bf16* p) {
  const __m512i halves = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(halves, 16))};
}
inline void Store(float* p, F16 a) { _mm512_storeu_ps(p, a.v); }
inline F16 Set(float x) { return {_mm512_set1_ps(x)}; }
inline F16 Add(F16 a, F16 b) { return {_mm512_add_ps(a.v, b.v)}; }
inline F16 Sub(F16 a, F16 b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline F16 Mul(F16 a, F16 b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline F16 Div(F16 a, F16 b) { return {_mm512_div_ps(a.v, b.v)}; }
inline F16 Sqrt(F16 a) { return {_mm512_sqrt_ps(a.v)}; }
inline F16 Fma(F16 a, F16 b, F16 c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
inline F16 Max(F16 a, F16 b) { return {_mm512_max_ps(a.v, b.v)}; }  // a > b ? a : b
inline F16 Min(F16 a, F16 b) { return {_mm512_min_ps(a.v, b.v)}; }
inline Mask Less(F16 a, F16 b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)}; }
inline F16 Select(Mask m, F16 yes, F16 no) { return {_mm512_mask_blend_ps(m.m, no.v, yes.v)}; }
// The first n lanes (0 <= n <= 16) of a mask, of a load (the rest 0), of a store.
inline Mask FirstLanes(int n) { return {static_cast<__mmask16>((1u << n) - 1u)}; }
inline F16 LoadFirst(const float* p, int n) { return {_mm512_maskz_loadu_ps(FirstLanes(n).m, p)}; }
inline F16 LoadFirst(const Bf16* p, int n) {
  const __m512i halves = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(FirstLanes(n).m, p));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(halves, 16))};
}
inline void StoreFirst(float* p, F16 a, int n) { _mm512_mask_storeu_ps(p, FirstLanes(n).m, a.v); }
// 2^n for whole n in [-126, 127]; round to nearest even.
inline F16 Round(F16 a) { return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
inline F16 PowerOfTwo(F16 n) {
  return {_mm512_castsi512_ps(
      _mm512_slli_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(n.v), _mm512_set1_epi32(127)), 23))};
}

#elif defined(TEMPER_ISA_avx2)

struct F16 {
  __m256 lo, hi;
};
struct Mask {
  __m256 lo, hi;
};
inline F16 Load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
inline __m256 Load8(const Bf16* p) {
  const __m256i halves = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  return _mm256_castsi256_ps(_mm256_slli_epi32(halves, 16));
}
inline F16 Load(const Bf16* p) { return {Load8(p), Load8(p + 8)}; }
inline void Store(float* p, F16 a) {
  _mm256_storeu_ps(p, a.lo);
  _mm256_storeu_ps(p + 8, a.hi);
}
inline F16 Set(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
inline F16 Add(F16 a, F16 b) { return {_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)}; }
inline F16 Sub(F16 a, F16 b) { return {_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)}; }
inline F16 Mul(F16 a, F16 b) { return {_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)}; }
inline F16 Div(F16 a, F16 b) { return {_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)}; }
inline F16 Sqrt(F16 a) { return {_mm256_sqrt_ps(a.lo), _mm256_sqrt_ps(a.hi)}; }
inline F16 Fma(F16 a, F16 b, F16 c) {
  return {_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}
inline F16 Max(F16 a, F16 b) { return {_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)}; }
inline F16 Min(F16 a, F16 b) { return {_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)}; }
inline Mask Less(F16 a, F16 b) {
  return {_mm256_cmp_ps(a.lo, b.lo, _CMP_LT_OQ), _mm256_cmp_ps(a.hi, b.hi, _CMP_LT_OQ)};
}
inline F16 Select(Mask m, F16 yes, F16 no) {
  return {_mm256_blendv_ps(no.lo, yes.lo, m.lo), _mm256_blendv_ps(no.hi, yes.hi, m.hi)};
}
inline Mask FirstLanes(int n) {
  const __m256i index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return {_mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32(n), index)),
          _mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32(n - 8), index))};
}
inline F16 LoadFirst(const float* p, int n) {
  const Mask m = FirstLanes(n);
  return {_mm256_maskload_ps(p, _mm256_castps_si256(m.lo)),
          _mm256_maskload_ps(p + 8, _mm256_castps_si256(m.hi))};
}
inline F16 LoadFirst(const Bf16* p, int n) {
  Bf16 all[16] = {};
  for (int i = 0; i < n; ++i) all[i] = p[i];
  return Load(all);
}
// In pieces: a store with a mask takes dozens of cycles on AMD's processors.
inline void StoreFirst(float* p, F16 a, int n) {
  if (n >= 16) return Store(p, a);
  __m256 left = a.lo;
  if (n >= 8) {
    _mm256_storeu_ps(p, left);
    left = a.hi;
    p += 8;
  }
  __m128 four = _mm256_castps256_ps128(left);
  if (n & 4) {
    _mm_storeu_ps(p, four);
    four = _mm256_extractf128_ps(left, 1);
    p += 4;
  }
  if (n & 2) {
    _mm_storel_pi(reinterpret_cast<__m64*>(p), four);
    four = _mm_movehl_ps(four, four);
    p += 2;
  }
  if (n & 1) _mm_store_ss(p, four);
}
inline F16 Round(F16 a) {
  return {_mm256_round_ps(a.lo, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC),
          _mm256_round_ps(a.hi, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
inline __m256 PowerOfTwo8(__m256 n) {
  return _mm256_castsi256_ps(
      _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23));
}
inline F16 PowerOfTwo(F16 n) { return {PowerOfTwo8(n.lo), PowerOfTwo8(n.hi)}; }

#else  // plain C++

struct F16 {
  float v[16];
};
struct Mask {
  bool m[16];
};
#define TEMPER_LANES(expression)                      \
  F16 r;                                              \
  for (int i = 0; i < 16; ++i) r.v[i] = (expression); \
  return r
inline F16 Load(const float* p) { TEMPER_LANES(p[i]); }
inline F16 Load(const Bf16* p) { TEMPER_LANES(Widened(p[i])); }
inline void Store(float* p, F16 a) {
  for (int i = 0; i < 16; ++i) p[i] = a.v[i];
}
inline F16 Set(float x) { TEMPER_LANES(x); }
inline F16 Add(F16 a, F16 b) { TEMPER_LANES(a.v[i] + b.v[i]); }
inline F16 Sub(F16 a, F16 b) { TEMPER_LANES(a.v[i] - b.v[i]); }
inline F16 Mul(F16 a, F16 b) { TEMPER_LANES(a.v[i] * b.v[i]); }
inline F16 Div(F16 a, F16 b) { TEMPER_LANES(a.v[i] / b.v[i]); }
inline F16 Sqrt(F16 a) { TEMPER_LANES(__builtin_sqrtf(a.v[i])); }
inline F16 Fma(F16 a, F16 b, F16 c) { TEMPER_LANES(__builtin_fmaf(a.v[i], b.v[i], c.v[i])); }
inline F16 Max(F16 a, F16 b) { TEMPER_LANES(a.v[i] > b.v[i] ? a.v[i] : b.v[i]); }
inline F16 Min(F16 a, F16 b) { TEMPER_LANES(a.v[i] < b.v[i] ? a.v[i] : b.v[i]); }
inline Mask Less(F16 a, F16 b) {
  Mask r;
  for (int i = 0; i < 16; ++i) r.m[i] = a.v[i] < b.v[i];
  return r;
}
inline F16 Select(Mask m, F16 yes, F16 no) { TEMPER_LANES(m.m[i] ? yes.v[i] : no.v[i]); }
inline Mask FirstLanes(int n) {
  Mask r;
  for (int i = 0; i < 16; ++i) r.m[i] = i < n;
  return r;
}
inline F16 LoadFirst(const float* p, int n) { TEMPER_LANES(i < n ? p[i] : 0.0f); }
inline F16 LoadFirst(const Bf16* p, int n) { TEMPER_LANES(i < n ? Widened(p[i]) : 0.0f); }
inline void StoreFirst(float* p, F16 a, int n) {
  for (int i = 0; i < n; ++i) p[i] = a.v[i];
}
inline F16 Round(F16 a) { TEMPER_LANES(__builtin_rintf(a.v[i])); }
inline F16 PowerOfTwo(F16 n) {
  F16 r;
  for (int i = 0; i < 16; ++i) {
    const uint32_t bits = static_cast<uint32_t>(static_cast<int32_t>(n.v[i]) + 127) << 23;
    __builtin_memcpy(&r.v[i], &bits, 4);
  }
  return r;
}
#undef TEMPER_LANES

#endif

// Sum and maximum over the lanes, halves folded onto halves: 8, 4, 2, 1.
#if defined(TEMPER_ISA_plain)
inline float SumLanes(F16 a) {
  for (int half = 8; half >= 1; half /= 2) {
    for (int i = 0; i < half; ++i) a.v[i] = a.v[i] + a.v[i + half];
  }
  return a.v[0];
}
inline float MaxLanes(F16 a) {
  for (int half = 8; half >= 1; half /= 2) {
    for (int i = 0; i < half; ++i) a.v[i] = a.v[i] > a.v[i + half] ? a.v[i] : a.v[i + half];
  }
  return a.v[0];
}
#else
#if defined(TEMPER_ISA_avx512)
inline __m256 LowHalf(F16 a) { return _mm512_castps512_ps256(a.v); }
inline __m256 HighHalf(F16 a) { return _mm512_extractf32x8_ps(a.v, 1); }
#else
inline __m256 LowHalf(F16 a) { return a.lo; }
inline __m256 HighHalf(F16 a) { return a.hi; }
#endif
inline float SumLanes(F16 a) {
  const __m256 s8 = _mm256_add_ps(LowHalf(a), HighHalf(a));
  const __m128 s4 = _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
  const __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
  return _mm_cvtss_f32(_mm_add_ss(s2, _mm_movehdup_ps(s2)));
}
inline float MaxLanes(F16 a) {
  const __m256 s8 = _mm256_max_ps(LowHalf(a), HighHalf(a));
  const __m128 s4 = _mm_max_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
  const __m128 s2 = _mm_max_ps(s4, _mm_movehl_ps(s4, s4));
  return _mm_cvtss_f32(_mm_max_ss(s2, _mm_movehdup_ps(s2)));
}
#endif

inline F16 Neg(F16 a) { return Sub(Set(0.0f), a); }

inline F16 Constant(F16, float value) { return Set(value); }
inline F16 Exp(F16 x) { return ExpOf(x); }
inline F16 Sigmoid(F16 x) { return SigmoidOf(x); }

// One lane of Exp, for scalars: the same bits.
inline float ExpOne(float x) {
  float t[16];
  Store(t, Exp(Set(x)));
  return t[0];
}

}  // namespace TEMPER_ISA
}  // namespace temper::kernels
