// SPDX-License-Identifier: Apache-2.0
// What works on one row (token) at a time: norm, rotary embedding, SwiGLU, embedding. Forward results depend
// on the row alone. Sums over a row: 16 strided lanes (element i in lane i % 16, ascending), then the fixed
// tree of SumLanes. Gradients of parameters are chains over rows, ascending, carried in the buffer given.
#pragma once

#include <cstdint>

#include "kernels/matrix.h"

namespace temper::kernels {

// y = x / sqrt(mean(x^2) + eps) * weight (Zhang and Sennrich 2019). rstd[rows], if not null, keeps 1/sqrt(..)
// for backward.
struct RmsNormTask {
  Matrix x = {};
  const float* weight = nullptr;
  float eps = 0;
  Matrix y = {};
  float* rstd = nullptr;
};
// dx = gradient (+ add, if there is one, which may be dx itself); dx may be dy. dweight continues its chain:
// dweight[j] = fma(dy[i][j], x[i][j] * rstd[i], dweight[j]).
struct RmsNormBackwardTask {
  Matrix dy = {}, x = {};
  const float* weight = nullptr;
  const float* rstd = nullptr;
  Matrix add = {}, dx = {};
  float* dweight = nullptr;
};

// Rotates each of x's vectors (of an even number of floats) in place. cosines and sines are [positions][dim /
// 2]; row i uses positions[i]. Interleaved: pairs (2j, 2j+1), as DeepSeek-V3; else pairs (j, j + dim/2), as
// Llama and Qwen2. inverse: the transposed rotation, for backward. positions are on the host.
struct RotaryTask {
  Heads x = {};
  const int32_t* positions = nullptr;
  const float *cosines = nullptr, *sines = nullptr;
  bool interleaved = false;
  bool inverse = false;
};

// out = silu(gate) * up (Shazeer 2020), silu(x) = x * sigmoid(x).
struct SwiGluTask {
  Matrix gate = {}, up = {}, out = {};
};
// Its gradients; and, where `out` is not none, what was given then, once more.
struct SwiGluBackwardTask {
  Matrix dout = {}, gate = {}, up = {}, dgate = {}, dup = {}, out = {};
};

// out[i] = x[rows[i]]; `rows` is on the host. An embedding is a gather from its table. x may be bf16.
struct GatherRowsTask {
  Matrix x = {};
  const int32_t* rows = nullptr;
  Matrix out = {};
};
// dtable[ids[i]] += dout[i], rows ascending.
struct EmbeddingGradientTask {
  Matrix dout = {};
  const int32_t* ids = nullptr;
  Matrix dtable = {};
};

}  // namespace temper::kernels
