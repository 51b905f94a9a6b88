// SPDX-License-Identifier: Apache-2.0
#include "kernels/row_ops.h"

#include <algorithm>
#include <cstring>

#include "core/check.h"
#include "kernels/cpu/row_ops.h"
#include "kernels/isa.h"

namespace temper::kernels {
namespace {

// Elements of a piece of work, some microseconds: cheap ones, and those with an exponential.
constexpr int64_t kCheap = 16384;
constexpr int64_t kCostly = 4096;

// Calls row(i) for rows [0, rows), in pieces of about `elements`.
template <typename Row>
void ForRows(int64_t rows, int64_t cols, int64_t elements, ThreadPool& pool, const Row& row) {
  pool.ParallelFor(rows, std::max<int64_t>(1, elements / std::max<int64_t>(cols, 1)),
                   [&](int64_t begin, int64_t end) {
                     for (int64_t i = begin; i < end; ++i) row(i);
                   });
}

// Calls columns(first, count) for blocks of columns whose rows are one chain.
template <typename Columns>
void ForColumns(int64_t rows, int64_t cols, ThreadPool& pool, const Columns& columns) {
  const int64_t blocks = (cols + kNormColumns - 1) / kNormColumns;
  const int64_t grain = std::max<int64_t>(1, kCheap / std::max<int64_t>(rows * kNormColumns, 1));
  pool.ParallelFor(blocks, grain, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      columns(b * kNormColumns, std::min<int64_t>(kNormColumns, cols - b * kNormColumns));
    }
  });
}

}  // namespace

void RmsNorm(const float* x, int64_t ldx, const float* weight, float eps, int64_t rows, int64_t cols,
             float* y, int64_t ldy, float* rstd, ThreadPool& pool) {
  const auto norm = TEMPER_DISPATCH(NormRow);
  ForRows(rows, cols, kCheap, pool, [&](int64_t i) {
    const float r = norm(x + i * ldx, weight, eps, cols, y + i * ldy);
    if (rstd != nullptr) rstd[i] = r;
  });
}

void RmsNormBackward(const float* dy, int64_t lddy, const float* x, int64_t ldx, const float* weight,
                     const float* rstd, int64_t rows, int64_t cols, const float* add, int64_t ldadd,
                     float* dx, int64_t lddx, float* dweight, ThreadPool& pool) {
  // dweight first: dx may then overwrite dy.
  const auto chain = TEMPER_DISPATCH(NormWeightColumns);
  ForColumns(rows, cols, pool, [&](int64_t first, int64_t count) {
    chain(dy + first, lddy, x + first, ldx, rstd, rows, static_cast<int>(count), dweight + first);
  });
  const auto backward = TEMPER_DISPATCH(NormBackwardRow);
  ForRows(rows, cols, kCheap, pool, [&](int64_t i) {
    backward(dy + i * lddy, x + i * ldx, weight, rstd[i], cols, add == nullptr ? nullptr : add + i * ldadd,
             dx + i * lddx);
  });
}

void Rotary(float* x, int64_t ldx, int64_t rows, int heads, int64_t head_stride, int dim,
            const int32_t* positions, const float* cosines, const float* sines, bool interleaved,
            bool inverse, ThreadPool& pool) {
  TEMPER_CHECK(dim % 2 == 0, "dim is ", dim);
  const auto rotate = interleaved ? TEMPER_DISPATCH(RotatePairs) : TEMPER_DISPATCH(RotateHalves);
  const int half = dim / 2;
  ForRows(rows, static_cast<int64_t>(heads) * dim, kCheap, pool, [&](int64_t i) {
    const int64_t angles = static_cast<int64_t>(positions[i]) * half;
    for (int h = 0; h < heads; ++h) {
      rotate(x + i * ldx + h * head_stride, half, cosines + angles, sines + angles, inverse ? -1.0f : 1.0f);
    }
  });
}

void SwiGlu(const float* gate, int64_t ldgate, const float* up, int64_t ldup, int64_t rows, int64_t cols,
            float* out, int64_t ldout, ThreadPool& pool) {
  const auto row = TEMPER_DISPATCH(SwiGluRow);
  ForRows(rows, cols, kCostly, pool,
          [&](int64_t i) { row(gate + i * ldgate, up + i * ldup, cols, out + i * ldout); });
}

void SwiGluBackward(const float* dout, int64_t lddout, const float* gate, int64_t ldgate, const float* up,
                    int64_t ldup, int64_t rows, int64_t cols, float* dgate, int64_t lddgate, float* dup,
                    int64_t lddup, ThreadPool& pool) {
  const auto row = TEMPER_DISPATCH(SwiGluBackwardRow);
  ForRows(rows, cols, kCostly, pool, [&](int64_t i) {
    row(dout + i * lddout, gate + i * ldgate, up + i * ldup, cols, dgate + i * lddgate, dup + i * lddup);
  });
}

void EmbeddingRows(const float* table, int64_t cols, const int32_t* ids, int64_t rows, float* out,
                   ThreadPool& pool) {
  GatherRows(table, cols, ids, rows, cols, out, cols, pool);
}

void EmbeddingGradient(const float* dout, const int32_t* ids, int64_t rows, int64_t cols, float* dtable,
                       ThreadPool& pool) {
  const auto add = TEMPER_DISPATCH(AddRow);
  ForColumns(rows, cols, pool, [&](int64_t first, int64_t count) {
    for (int64_t i = 0; i < rows; ++i) {
      float* row = dtable + ids[i] * cols + first;
      add(row, dout + i * cols + first, count, row);
    }
  });
}

void GatherRows(const float* x, int64_t ldx, const int32_t* rows, int64_t count, int64_t cols, float* out,
                int64_t ldout, ThreadPool& pool) {
  ForRows(count, cols, kCheap, pool,
          [&](int64_t i) { std::memcpy(out + i * ldout, x + rows[i] * ldx, cols * sizeof(float)); });
}

void AddVectors(const float* a, const float* b, int64_t n, float* c, ThreadPool& pool) {
  const auto add = TEMPER_DISPATCH(AddRow);
  pool.ParallelFor(n, kCheap,
                   [&](int64_t begin, int64_t end) { add(a + begin, b + begin, end - begin, c + begin); });
}

}  // namespace temper::kernels
