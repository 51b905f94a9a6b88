// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/simd.h"
#include "kernels/cpu/transpose.h"

namespace temper::kernels {
namespace TEMPER_ISA {
namespace {
constexpr int kPanel = 32;

// One panel of b [n, k].
void PackTransposed(const float* b, int64_t ldb, int cols, int64_t k, float* out) {
  int64_t i = 0;
#if defined(TEMPER_ISA_avx512)
  if (cols == kPanel) {
    // Half a panel after the other: rows a power of two apart share few sets of the first cache.
    const int64_t whole = k / kLanes * kLanes;
    for (int half = 0; half < 2; ++half) {
      for (i = 0; i < whole; i += kLanes) {
        const Block16 block = LoadBlock(b + half * kLanes * ldb + i, ldb);
#pragma GCC unroll 16
        for (int c = 0; c < kLanes; ++c) Store(out + (i + c) * kPanel + half * kLanes, Column(block, c));
      }
    }
  }
#endif
  for (; i < k; ++i) {
    float* to = out + i * kPanel;
    for (int j = 0; j < cols; ++j) to[j] = b[j * ldb + i];
    for (int j = cols; j < kPanel; ++j) to[j] = 0.0f;
  }
}

}  // namespace

void PackPanel(const float* b, int64_t ldb, bool transposed, int cols, int64_t k, float* out) {
  if (!transposed) {
    // Row by row over all panels: each row lies in pages of its own.
    for (int64_t i = 0; i < k; ++i) {
      const float* from = b + i * ldb;
      float* to = out + i * kPanel;
      int left = cols;
      for (; left >= kPanel; left -= kPanel, from += kPanel, to += k * kPanel) {
        Store(to, Load(from));
        Store(to + kLanes, Load(from + kLanes));
      }
      if (left > 0) {
        Store(to, left >= kLanes ? Load(from) : LoadFirst(from, left));
        Store(to + kLanes, left > kLanes ? LoadFirst(from + kLanes, left - kLanes) : Set(0.0f));
      }
    }
    return;
  }
  for (; cols > kPanel; cols -= kPanel, b += kPanel * ldb, out += k * kPanel) {
    PackTransposed(b, ldb, kPanel, k, out);
  }
  PackTransposed(b, ldb, cols, k, out);
}

void PackTile(const float* a, int64_t lda, int rows, int64_t k, float* out) {
  int64_t i = 0;
#if defined(TEMPER_ISA_avx512)
  if (rows == kTileRows) {
    // Each store's last 4 lanes are overwritten by the next one; the last one's belong to the next tile,
    // which another thread may have packed by now.
    for (; i + kLanes <= k; i += kLanes) {
      const Block16 block = LoadBlock(a + i, lda, kTileRows);
#pragma GCC unroll 15
      for (int c = 0; c < kLanes - 1; ++c) Store(out + (i + c) * kTileRows, Column(block, c));
      StoreFirst(out + (i + kLanes - 1) * kTileRows, Column(block, kLanes - 1), kTileRows);
    }
  }
#endif
  for (; i < k; ++i) {
    for (int r = 0; r < rows; ++r) out[i * kTileRows + r] = a[r * lda + i];
  }
}

void PackColumns(const float* dy, int64_t lddy, int cols, int64_t m, float* out) {
  for (int64_t i = 0; i < m; ++i) StoreFirst(out + i * kTileRows, LoadFirst(dy + i * lddy, cols), cols);
}

}  // namespace TEMPER_ISA
}  // namespace temper::kernels
