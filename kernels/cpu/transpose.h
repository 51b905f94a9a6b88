// SPDX-License-Identifier: Apache-2.0
// Transposes in registers, of words of 32 bits: 16 x 16, with AVX2 8 x 4. A word is an f32, or two Bf16
// neighbours of a row, which part only once they stand in columns. Included only by kernels/cpu/*.cc.
#pragma once

#include "kernels/cpu/simd.h"

#if !defined(TEMPER_ISA_plain)
namespace temper::kernels {
namespace TEMPER_ISA {

template <typename E>
constexpr int kInWord = 4 / sizeof(E);

// The f32s of one word of each lane: with two in a word the first or the second, by the step's parity.
template <typename E>
inline __m256 InWord(__m256 words, int step) {
  if constexpr (kInWord<E> == 1) return words;
  const __m256i bits = _mm256_castps_si256(words);
  return _mm256_castsi256_ps(step % 2 == 0 ? _mm256_slli_epi32(bits, 16)
                                           : _mm256_and_si256(bits, _mm256_set1_epi32(-65536)));
}

}  // namespace TEMPER_ISA
}  // namespace temper::kernels
#endif

#if defined(TEMPER_ISA_avx512)
namespace temper::kernels {
namespace TEMPER_ISA {

template <typename E>
inline F16 InWord(__m512 words, int step) {
  if constexpr (kInWord<E> == 1) return {words};
  const __m512i bits = _mm512_castps_si512(words);
  return {_mm512_castsi512_ps(step % 2 == 0 ? _mm512_slli_epi32(bits, 16)
                                            : _mm512_and_si512(bits, _mm512_set1_epi32(-65536)))};
}

inline __m256 LoadWords(const void* p, int eighth = 0) {
  return _mm256_loadu_ps(static_cast<const float*>(p) + 8 * eighth);
}

// Four rows of 4 words in each quarter of the vectors, transposed.
inline void TransposeFour(const __m512* r, __m512* t) {
  const __m512d a = _mm512_castps_pd(_mm512_unpacklo_ps(r[0], r[1]));
  const __m512d b = _mm512_castps_pd(_mm512_unpackhi_ps(r[0], r[1]));
  const __m512d c = _mm512_castps_pd(_mm512_unpacklo_ps(r[2], r[3]));
  const __m512d d = _mm512_castps_pd(_mm512_unpackhi_ps(r[2], r[3]));
  t[0] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, c));
  t[1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, c));
  t[2] = _mm512_castpd_ps(_mm512_unpacklo_pd(b, d));
  t[3] = _mm512_castpd_ps(_mm512_unpackhi_pd(b, d));
}

// Sixteen rows of 16 words, all but the last step on the way to being transposed. t[8 h + 4 g + c] holds, 4
// lanes each, columns 8h + c and 8h + c + 4 of rows 8g..8g+3, then the same of rows 8g+4..8g+7.
struct Block16 {
  __m512 t[16];
};

// Half rows are paired as they are loaded, both halves of a row at once: rows a power of two apart share few
// sets of the first cache. Rows from `rows` on are zeros.
template <typename E>
inline Block16 LoadBlock(const E* in, int64_t ld, int rows = 16) {
  Block16 block;
  __m512 r[16];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    const int low = i < 4 ? i : i + 4, high = low + 4;
    const E* from = in + low * ld;
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      __m512& pair = r[8 * h + i];
      pair = low < rows ? _mm512_zextps256_ps512(LoadWords(from, h)) : _mm512_setzero_ps();
      if (high < rows) pair = _mm512_insertf32x8(pair, LoadWords(from + 4 * ld, h), 1);
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) TransposeFour(r + i, block.t + i);
  return block;
}

// Column `step` (a constant where it matters) of the rows loaded.
template <typename E>
inline F16 Column(const Block16& block, int step) {
  const int i = step / kInWord<E>;
  const __m512 upper = block.t[(i & 8) + (i & 3)], lower = block.t[(i & 8) + 4 + (i & 3)];
  return InWord<E>(
      (i & 4) == 0 ? _mm512_shuffle_f32x4(upper, lower, 0x88) : _mm512_shuffle_f32x4(upper, lower, 0xdd),
      step);
}

// Half of it: 8 words of sixteen rows.
struct HalfBlock {
  __m512 t[8];
};

template <typename E>
inline HalfBlock LoadHalfBlock(const E* in, int64_t ld) {
  __m512 r[8];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    const E* from = in + (i < 4 ? i : i + 4) * ld;
    r[i] = _mm512_insertf32x8(_mm512_zextps256_ps512(LoadWords(from)), LoadWords(from + 4 * ld), 1);
  }
  HalfBlock block;
  TransposeFour(r, block.t);
  TransposeFour(r + 4, block.t + 4);
  return block;
}

template <typename E>
inline F16 Column(const HalfBlock& block, int step) {
  const int i = step / kInWord<E>;
  const __m512 upper = block.t[i & 3], lower = block.t[4 + (i & 3)];
  return InWord<E>(
      (i & 4) == 0 ? _mm512_shuffle_f32x4(upper, lower, 0x88) : _mm512_shuffle_f32x4(upper, lower, 0xdd),
      step);
}

}  // namespace TEMPER_ISA
}  // namespace temper::kernels
#elif defined(TEMPER_ISA_avx2)
namespace temper::kernels {
namespace TEMPER_ISA {

inline __m128 LoadWords(const void* p) { return _mm_loadu_ps(static_cast<const float*>(p)); }

// Words 0..3 of eight rows, a lane for each row; the rows from `rows` on are zeros.
template <typename E>
inline void LoadColumns(const E* in, int64_t ld, __m256 (&columns)[4], int rows = 8) {
  __m256 r[4];
  const E* second = in + 4 * ld;
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    r[i] = i < rows ? _mm256_castps128_ps256(LoadWords(in + i * ld)) : _mm256_setzero_ps();
    r[i] = _mm256_insertf128_ps(r[i], i + 4 < rows ? LoadWords(second + i * ld) : _mm_setzero_ps(), 1);
  }
  const __m256d a = _mm256_castps_pd(_mm256_unpacklo_ps(r[0], r[1]));
  const __m256d b = _mm256_castps_pd(_mm256_unpackhi_ps(r[0], r[1]));
  const __m256d c = _mm256_castps_pd(_mm256_unpacklo_ps(r[2], r[3]));
  const __m256d d = _mm256_castps_pd(_mm256_unpackhi_ps(r[2], r[3]));
  columns[0] = _mm256_castpd_ps(_mm256_unpacklo_pd(a, c));
  columns[1] = _mm256_castpd_ps(_mm256_unpackhi_pd(a, c));
  columns[2] = _mm256_castpd_ps(_mm256_unpacklo_pd(b, d));
  columns[3] = _mm256_castpd_ps(_mm256_unpackhi_pd(b, d));
}

// Of these words, column `step` of the rows.
template <typename E>
inline __m256 Column(const __m256 (&words)[4], int step) {
  return InWord<E>(words[step / kInWord<E>], step);
}

}  // namespace TEMPER_ISA
}  // namespace temper::kernels
#endif
