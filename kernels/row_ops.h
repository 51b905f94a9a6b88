// SPDX-License-Identifier: Apache-2.0
// What works on one row (token) at a time: norm, rotary embedding, SwiGLU, embedding. Row-major f32; ld* are
// row strides. Forward results depend on the row alone. Sums over a row: 16 strided lanes (element i in lane
// i % 16, ascending), then the fixed tree of SumLanes. Gradients of parameters are chains over rows,
// ascending, carried in the buffer given.
#pragma once

#include <cstdint>

#include "core/thread_pool.h"

namespace temper::kernels {

// y = x / sqrt(mean(x^2) + eps) * weight (Zhang and Sennrich 2019). rstd[rows], if not null, keeps 1/sqrt(..)
// for backward.
void RmsNorm(const float* x, int64_t ldx, const float* weight, float eps, int64_t rows, int64_t cols,
             float* y, int64_t ldy, float* rstd, ThreadPool& pool);
// dx = gradient (+ add, if not null, which may be dx itself); dweight continues its chain: dweight[j] =
// fma(dy[i][j], x[i][j] * rstd[i], dweight[j]).
void RmsNormBackward(const float* dy, int64_t lddy, const float* x, int64_t ldx, const float* weight,
                     const float* rstd, int64_t rows, int64_t cols, const float* add, int64_t ldadd,
                     float* dx, int64_t lddx, float* dweight, ThreadPool& pool);

// Rotates `heads` vectors of `dim` (even) floats in each row, in place: head h of row i begins at x + i * ldx
// + h * head_stride. cosines and sines are [positions][dim / 2]; row i uses positions[i]. Interleaved: pairs
// (2j, 2j+1), as DeepSeek-V3; else pairs (j, j + dim/2), as Llama and Qwen2. inverse: the transposed
// rotation, for backward.
void Rotary(float* x, int64_t ldx, int64_t rows, int heads, int64_t head_stride, int dim,
            const int32_t* positions, const float* cosines, const float* sines, bool interleaved,
            bool inverse, ThreadPool& pool);

// out = silu(gate) * up (Shazeer 2020), silu(x) = x * sigmoid(x).
void SwiGlu(const float* gate, int64_t ldgate, const float* up, int64_t ldup, int64_t rows, int64_t cols,
            float* out, int64_t ldout, ThreadPool& pool);
void SwiGluBackward(const float* dout, int64_t lddout, const float* gate, int64_t ldgate, const float* up,
                    int64_t ldup, int64_t rows, int64_t cols, float* dgate, int64_t lddgate, float* dup,
                    int64_t lddup, ThreadPool& pool);

// out[i] = table[ids[i]].
void EmbeddingRows(const float* table, int64_t cols, const int32_t* ids, int64_t rows, float* out,
                   ThreadPool& pool);
// dtable[ids[i]] += dout[i], rows ascending.
void EmbeddingGradient(const float* dout, const int32_t* ids, int64_t rows, int64_t cols, float* dtable,
                       ThreadPool& pool);

// out[i] = x[rows[i]] (gather) and, backward, dx[i] of gathered rows: see kernels/route.h for the ordered
// inverse.
void GatherRows(const float* x, int64_t ldx, const int32_t* rows, int64_t count, int64_t cols, float* out,
                int64_t ldout, ThreadPool& pool);

// c = a + b, n elements.
void AddVectors(const float* a, const float* b, int64_t n, float* c, ThreadPool& pool);

}  // namespace temper::kernels
