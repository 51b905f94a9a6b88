// SPDX-License-Identifier: Apache-2.0
// A 16 x 16 transpose in registers. Included only by kernels/cpu/*.cc.
#pragma once

#include "kernels/cpu/simd.h"

#if defined(TEMPER_ISA_avx512)
namespace temper::kernels {
namespace TEMPER_ISA {

// Sixteen rows of 16 floats, three quarters on the way to being transposed.
struct Block16 {
  __m512 t[16];
};

inline Block16 LoadBlock(const float* in, int64_t ld, int rows = 16) {
  Block16 block;
  __m512 r[16];
  __m512(&t)[16] = block.t;
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) r[i] = i < rows ? _mm512_loadu_ps(in + i * ld) : _mm512_setzero_ps();
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    t[2 * i] = _mm512_unpacklo_ps(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm512_unpackhi_ps(r[2 * i], r[2 * i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const __m512d a = _mm512_castps_pd(t[4 * i]), b = _mm512_castps_pd(t[4 * i + 1]);
    const __m512d c = _mm512_castps_pd(t[4 * i + 2]), d = _mm512_castps_pd(t[4 * i + 3]);
    r[4 * i] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, c));
    r[4 * i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, c));
    r[4 * i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(b, d));
    r[4 * i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(b, d));
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm512_shuffle_f32x4(r[i], r[i + 4], 0x88);
    t[i + 4] = _mm512_shuffle_f32x4(r[i], r[i + 4], 0xdd);
    t[i + 8] = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0x88);
    t[i + 12] = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0xdd);
  }
  return block;
}

// Column i (a constant where it matters) of the rows loaded.
inline F16 Column(const Block16& block, int i) {
  const int low = i & 7;
  return {i < 8 ? _mm512_shuffle_f32x4(block.t[low], block.t[low + 8], 0x88)
                : _mm512_shuffle_f32x4(block.t[low], block.t[low + 8], 0xdd)};
}

}  // namespace TEMPER_ISA
}  // namespace temper::kernels
#endif
