// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/gemm.h"

#include "kernels/cpu/simd.h"

namespace temper::kernels {
namespace TEMPER_ISA {
namespace {

constexpr int kPanel = 32;

// Chains of R rows x 32 columns over k steps, from and into `acc`.
template <int R>
inline void Chains(const float* a, int64_t lda, const float* panel, int64_t k, F16 (&acc)[R][2]) {
  for (int64_t i = 0; i < k; ++i) {
    const F16 b0 = Load(panel), b1 = Load(panel + kLanes);
    panel += kPanel;
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
      const F16 x = Set(a[r * lda + i]);
      acc[r][0] = Fma(x, b0, acc[r][0]);
      acc[r][1] = Fma(x, b1, acc[r][1]);
    }
  }
}

template <int R>
inline void Finish(const PanelTask& t, int64_t row, const F16 (&acc)[R][2]) {
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r) {
    float* c = t.c + (row + r) * t.ldc;
    const float* add = t.add == nullptr ? nullptr : t.add + (row + r) * t.ldadd;
    for (int half = 0; half < 2; ++half) {
      const int left = t.cols - half * kLanes;
      if (left <= 0) break;
      F16 y = acc[r][half];
      if (left >= kLanes) {
        if (t.bias != nullptr) y = Add(y, Load(t.bias + half * kLanes));
        if (add != nullptr) y = Add(y, Load(add + half * kLanes));
        Store(c + half * kLanes, y);
      } else {
        if (t.bias != nullptr) y = Add(y, LoadFirst(t.bias + half * kLanes, left));
        if (add != nullptr) y = Add(y, LoadFirst(add + half * kLanes, left));
        StoreFirst(c + half * kLanes, y, left);
      }
    }
  }
}

template <int R>
inline void Zero(F16 (&acc)[R][2]) {
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r) acc[r][0] = acc[r][1] = Set(0.0f);
}

// One tile of R rows of the panel at `panel`.
template <int R>
void Tile(const PanelTask& t, const float* panel, int64_t row) {
  const float* a = t.a + row * t.lda;
  F16 acc[R][2];
  if (t.k_chunks == 1) {
    Zero(acc);
    Chains<R>(a, t.lda, panel, t.k, acc);
    Finish<R>(t, row, acc);
    return;
  }
  // Chunk c joins the tree as a binary counter does: equal-sized subtrees add, left + right.
  float pending[3][R][kPanel];
  for (int c = 0; c < t.k_chunks; ++c) {
    const int64_t begin = c * t.k / t.k_chunks, end = (c + 1) * t.k / t.k_chunks;
    Zero(acc);
    Chains<R>(a + begin, t.lda, panel + begin * kPanel, end - begin, acc);
    int level = 0;
    for (int bits = c; bits & 1; bits >>= 1, ++level) {
      for (int r = 0; r < R; ++r) {
        acc[r][0] = Add(Load(pending[level][r]), acc[r][0]);
        acc[r][1] = Add(Load(pending[level][r] + kLanes), acc[r][1]);
      }
    }
    if (c + 1 == t.k_chunks) break;
    for (int r = 0; r < R; ++r) {
      Store(pending[level][r], acc[r][0]);
      Store(pending[level][r] + kLanes, acc[r][1]);
    }
  }
  Finish<R>(t, row, acc);
}

void AnyTile(const PanelTask& t, const float* panel, int64_t row, int64_t rows) {
  switch (rows) {
    case 1:
      return Tile<1>(t, panel, row);
    case 2:
      return Tile<2>(t, panel, row);
    case 3:
      return Tile<3>(t, panel, row);
    case 4:
      return Tile<4>(t, panel, row);
    case 5:
      return Tile<5>(t, panel, row);
    case 6:
      return Tile<6>(t, panel, row);
    case 7:
      return Tile<7>(t, panel, row);
    case 8:
      return Tile<8>(t, panel, row);
    case 9:
      return Tile<9>(t, panel, row);
    case 10:
      return Tile<10>(t, panel, row);
    case 11:
      return Tile<11>(t, panel, row);
    default:
      return Tile<12>(t, panel, row);
  }
}

#if defined(TEMPER_ISA_avx512)
// Sixteen rows of 16 floats, transposed into out[16][stride].
inline void Transpose16(const float* in, int64_t ld, float* out, int64_t stride) {
  __m512 r[16], t[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) r[i] = _mm512_loadu_ps(in + i * ld);
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
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    _mm512_storeu_ps(out + i * stride, _mm512_shuffle_f32x4(t[i], t[i + 8], 0x88));
    _mm512_storeu_ps(out + (i + 4) * stride, _mm512_shuffle_f32x4(t[i + 4], t[i + 12], 0x88));
    _mm512_storeu_ps(out + (i + 8) * stride, _mm512_shuffle_f32x4(t[i], t[i + 8], 0xdd));
    _mm512_storeu_ps(out + (i + 12) * stride, _mm512_shuffle_f32x4(t[i + 4], t[i + 12], 0xdd));
  }
}
#endif

}  // namespace

void PackPanel(const float* b, int64_t ldb, bool transposed, int cols, int64_t k, float* out) {
  if (!transposed) {
    for (int64_t i = 0; i < k; ++i, out += kPanel) {
      const float* from = b + i * ldb;
      if (cols == kPanel) {
        Store(out, Load(from));
        Store(out + kLanes, Load(from + kLanes));
      } else {
        Store(out, cols >= kLanes ? Load(from) : LoadFirst(from, cols));
        Store(out + kLanes, cols > kLanes ? LoadFirst(from + kLanes, cols - kLanes) : Set(0.0f));
      }
    }
    return;
  }
  int64_t i = 0;
#if defined(TEMPER_ISA_avx512)
  if (cols == kPanel) {
    for (; i + 16 <= k; i += 16) {
      Transpose16(b + i, ldb, out + i * kPanel, kPanel);
      Transpose16(b + 16 * ldb + i, ldb, out + i * kPanel + kLanes, kPanel);
    }
  }
#endif
  for (; i < k; ++i) {
    float* to = out + i * kPanel;
    for (int j = 0; j < cols; ++j) to[j] = b[j * ldb + i];
    for (int j = cols; j < kPanel; ++j) to[j] = 0.0f;
  }
}

void ComputePanel(const PanelTask& t, float* scratch) {
  const float* panel = t.panel;
  if (panel == nullptr && t.rows <= kTileRows && t.k_chunks == 1) {
    // Few rows: pack a little that stays in the first cache, and carry the chains on.
    constexpr int64_t kStep = 128;
    float acc[kTileRows][kPanel];
    for (int r = 0; r < t.rows; ++r) {
      Store(acc[r], Set(0.0f));
      Store(acc[r] + kLanes, Set(0.0f));
    }
    for (int64_t begin = 0; begin < t.k; begin += kStep) {
      const int64_t count = t.k - begin < kStep ? t.k - begin : kStep;
      PackPanel(t.b_transposed ? t.b + begin : t.b + begin * t.ldb, t.ldb, t.b_transposed, t.cols, count,
                scratch);
      int r = 0;
      const auto step = [&](auto rows) {
        constexpr int R = decltype(rows)::value;
        F16 part[R][2];
        for (int i = 0; i < R; ++i) part[i][0] = Load(acc[r + i]), part[i][1] = Load(acc[r + i] + kLanes);
        Chains<R>(t.a + r * t.lda + begin, t.lda, scratch, count, part);
        for (int i = 0; i < R; ++i) Store(acc[r + i], part[i][0]), Store(acc[r + i] + kLanes, part[i][1]);
        r += R;
      };
      struct Four {
        enum { value = 4 };
      };
      struct One {
        enum { value = 1 };
      };
      while (r + 4 <= t.rows) step(Four{});
      while (r < t.rows) step(One{});
    }
    for (int r = 0; r < t.rows; ++r) {
      const F16 row[1][2] = {{Load(acc[r]), Load(acc[r] + kLanes)}};
      Finish<1>(t, r, row);
    }
    return;
  }
  if (panel == nullptr) {
    PackPanel(t.b, t.ldb, t.b_transposed, t.cols, t.k, scratch);
    panel = scratch;
  }
  int64_t row = 0;
  for (; row + kTileRows <= t.rows; row += kTileRows) Tile<kTileRows>(t, panel, row);
  if (row < t.rows) AnyTile(t, panel, row, t.rows - row);
}

namespace {

// R rows of dw (columns of dy) x 32 columns of x, chains over m rows.
template <int R>
void GradientTile(const GradientTask& t, int64_t j, int64_t begin, int64_t end) {
  F16 acc[R][2];
  const int left = t.cols - kLanes;
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r) {
    const float* dw = t.dw + (j + r) * t.lddw;
    acc[r][0] = t.cols >= kLanes ? Load(dw) : LoadFirst(dw, t.cols);
    acc[r][1] = left >= kLanes ? Load(dw + kLanes) : left > 0 ? LoadFirst(dw + kLanes, left) : Set(0.0f);
  }
  if (t.cols == kPanel) {
    for (int64_t i = begin; i < end; ++i) {
      const float* x = t.x + i * t.ldx;
      const float* dy = t.dy + i * t.lddy + j;
      const F16 x0 = Load(x), x1 = Load(x + kLanes);
#pragma GCC unroll 12
      for (int r = 0; r < R; ++r) {
        const F16 d = Set(dy[r]);
        acc[r][0] = Fma(d, x0, acc[r][0]);
        acc[r][1] = Fma(d, x1, acc[r][1]);
      }
    }
  } else {
    for (int64_t i = begin; i < end; ++i) {
      const float* x = t.x + i * t.ldx;
      const float* dy = t.dy + i * t.lddy + j;
      const F16 x0 = t.cols >= kLanes ? Load(x) : LoadFirst(x, t.cols);
      const F16 x1 = left > 0 ? LoadFirst(x + kLanes, left) : Set(0.0f);
#pragma GCC unroll 12
      for (int r = 0; r < R; ++r) {
        const F16 d = Set(dy[r]);
        acc[r][0] = Fma(d, x0, acc[r][0]);
        acc[r][1] = Fma(d, x1, acc[r][1]);
      }
    }
  }
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r) {
    float* dw = t.dw + (j + r) * t.lddw;
    if (t.cols == kPanel) {
      Store(dw, acc[r][0]);
      Store(dw + kLanes, acc[r][1]);
    } else {
      StoreFirst(dw, acc[r][0], t.cols < kLanes ? t.cols : kLanes);
      if (left > 0) StoreFirst(dw + kLanes, acc[r][1], left);
    }
  }
}

}  // namespace

void ComputeGradient(const GradientTask& t) {
  // Rows in blocks that stay in the second cache: the chains go on from block to block.
  constexpr int64_t kRows = 512;
  for (int64_t begin = 0; begin < t.m; begin += kRows) {
    const int64_t end = begin + kRows < t.m ? begin + kRows : t.m;
    int64_t j = 0;
    for (; j + 12 <= t.n; j += 12) GradientTile<12>(t, j, begin, end);
    for (; j + 4 <= t.n; j += 4) GradientTile<4>(t, j, begin, end);
    for (; j < t.n; ++j) GradientTile<1>(t, j, begin, end);
  }
}

void SumColumns(const float* dy, int64_t lddy, int64_t m, int cols, float* out) {
  F16 acc = LoadFirst(out, cols);
  for (int64_t i = 0; i < m; ++i) acc = Add(acc, LoadFirst(dy + i * lddy, cols));
  StoreFirst(out, acc, cols);
}

}  // namespace TEMPER_ISA
}  // namespace temper::kernels
