// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/simd.h"
#include "kernels/cpu/transpose.h"

namespace temper::kernels {
namespace TEMPER_ISA {
namespace {

// One panel of b [n, k].
template <typename E>
void PackTransposed(const Strip& rows, float* out) {
  const E* const b = static_cast<const E*>(rows.data);
  const int64_t ldb = rows.ld, k = rows.length;
  const int cols = rows.count;
  int64_t i = 0;
#if defined(TEMPER_ISA_avx512)
  if (cols == kPanel) {
    // Half a panel after the other: rows a power of two apart share few sets of the first cache.
    constexpr int kSteps = kLanes * kInWord<E>;
    const int64_t whole = k / kSteps * kSteps;
    for (int half = 0; half < 2; ++half) {
      for (i = 0; i < whole; i += kSteps) {
        const Block16 block = LoadBlock(b + half * kLanes * ldb + i, ldb);
#pragma GCC unroll 32
        for (int c = 0; c < kSteps; ++c) Store(out + (i + c) * kPanel + half * kLanes, Column<E>(block, c));
      }
    }
  }
#elif defined(TEMPER_ISA_avx2)
  if (cols == kPanel) {
    constexpr int kSteps = 4 * kInWord<E>;
    const int64_t whole = k / kSteps * kSteps;
    for (int half = 0; half < kPanel; half += 8) {
      for (i = 0; i < whole; i += kSteps) {
        __m256 columns[4];
        LoadColumns(b + half * ldb + i, ldb, columns);
#pragma GCC unroll 8
        for (int c = 0; c < kSteps; ++c)
          _mm256_storeu_ps(out + (i + c) * kPanel + half, Column<E>(columns, c));
      }
    }
  }
#endif
  for (; i < k; ++i) {
    float* to = out + i * kPanel;
    for (int j = 0; j < cols; ++j) to[j] = Widened(b[j * ldb + i]);
    for (int j = cols; j < kPanel; ++j) to[j] = 0.0f;
  }
}

template <typename E>
void PackPanelOf(const Strip& b, bool transposed, float* out) {
  const int64_t k = b.length;
  if (!transposed) {
    // Row by row over all panels: each row lies in pages of its own.
    for (int64_t i = 0; i < k; ++i) {
      const E* from = static_cast<const E*>(b.data) + i * b.ld;
      float* to = out + i * kPanel;
      int left = b.count;
      for (; left >= kPanel; left -= kPanel, from += kPanel, to += b.apart) {
#pragma GCC unroll 2
        for (int v = 0; v < kPanel; v += kLanes) Store(to + v, Load(from + v));
      }
      if (left > 0) {
#pragma GCC unroll 2
        for (int v = 0; v < kPanel; v += kLanes) {
          const int lanes = left - v;
          Store(to + v, lanes >= kLanes ? Load(from + v)
                        : lanes > 0     ? LoadFirst(from + v, lanes)
                                        : Set(0.0f));
        }
      }
    }
    return;
  }
  const E* rows = static_cast<const E*>(b.data);
  int left = b.count;
  for (; left > kPanel; left -= kPanel, rows += kPanel * b.ld, out += b.apart)
    PackTransposed<E>({rows, b.ld, kPanel, k}, out);
  PackTransposed<E>({rows, b.ld, left, k}, out);
}

}  // namespace

void PackPanel(const Strip& b, bool transposed, float* out) {
  b.bf16 ? PackPanelOf<Bf16>(b, transposed, out) : PackPanelOf<float>(b, transposed, out);
}

void PackTile(const Strip& strip, float* out) {
  const float* const a = static_cast<const float*>(strip.data);
  const int64_t lda = strip.ld, k = strip.length;
  const int rows = strip.count;
  int64_t i = 0;
#if defined(TEMPER_ISA_avx512)
  if (rows == kTileRows) {
    // Each store's last 4 lanes are overwritten by the next one; the last one's belong to the next tile,
    // which another thread may have packed by now.
    for (; i + kLanes <= k; i += kLanes) {
      const Block16 block = LoadBlock(a + i, lda, kTileRows);
#pragma GCC unroll 15
      for (int c = 0; c < kLanes - 1; ++c) Store(out + (i + c) * kTileRows, Column<float>(block, c));
      StoreFirst(out + (i + kLanes - 1) * kTileRows, Column<float>(block, kLanes - 1), kTileRows);
    }
  }
#elif defined(TEMPER_ISA_avx2)
  if (rows == kTileRows) {
    // In the same way, 2 lanes of each store.
    for (; i + 4 <= k; i += 4) {
      __m256 columns[4];
      LoadColumns(a + i, lda, columns, kTileRows);
#pragma GCC unroll 3
      for (int c = 0; c < 3; ++c) _mm256_storeu_ps(out + (i + c) * kTileRows, columns[c]);
      StoreFirst(out + (i + 3) * kTileRows, {columns[3], columns[3]}, kTileRows);
    }
  }
#endif
  for (; i < k; ++i) {
    for (int r = 0; r < rows; ++r) out[i * kTileRows + r] = a[r * lda + i];
  }
}

void PackColumns(const Strip& columns, float* out) {
  const int cols = columns.count;
  const float* const data = static_cast<const float*>(columns.data);
  for (int64_t i = 0; i < columns.length; ++i)
    StoreFirst(out + i * kTileRows, LoadFirst(data + i * columns.ld, cols), cols);
}

}  // namespace TEMPER_ISA
}  // namespace temper::kernels
