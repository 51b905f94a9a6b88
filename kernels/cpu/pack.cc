// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/simd.h"
#include "kernels/cpu/transpose.h"

namespace temper::kernels {
namespace TEMPER_ISA {
namespace {
constexpr int kPanel = 32;
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
