// SPDX-License-Identifier: Apache-2.0
// Mixture-of-experts routing and the ordered gather and combine around the grouped expert product. f32 in
// every precision; ties go to the lower id; no capacity, no dropped tokens.
#pragma once

#include <cstdint>
#include <vector>

#include "core/thread_pool.h"

namespace temper::kernels {

struct RouteShape {
  int experts = 0;
  int top_k = 0;
  int groups = 1;          // n_group
  int top_groups = 1;      // topk_group
  float scaling = 1.0f;    // routed_scaling_factor
  bool sigmoid = true;     // scores: sigmoid (V3) or softmax (V2)
  bool normalize = true;   // norm_topk_prob: weights divided by their sum (+ 1e-20)
  bool group_top2 = true;  // a group's score: sum of its two best biased scores (noaux_tc), else its best
                           // (group_limited_greedy)
};

// logits[rows, experts] -> the selected ids[rows, top_k] in descending order of biased score, weights[rows,
// top_k] (of unbiased scores, normalised, scaled; sums over ids in the order of ids ascending), scores[rows,
// experts] for backward. bias[experts] steers selection only; null: none. DeepSeek-V3 report, section 2.1.2.
void Route(const RouteShape& shape, const float* logits, const float* bias, int64_t rows, int32_t* ids,
           float* weights, float* scores, ThreadPool& pool);
// dlogits[rows, experts] (overwritten) from dweights[rows, top_k].
void RouteBackward(const RouteShape& shape, const int32_t* ids, const float* scores, const float* dweights,
                   int64_t rows, float* dlogits, ThreadPool& pool);

// Which rows each expert gets, in ascending (row, slot) order: expert e's are entries [offsets[e],
// offsets[e+1]).
struct Dispatch {
  std::vector<int64_t> offsets;  // [experts + 1]
  std::vector<int32_t> row;      // [rows * top_k] token row of an entry
  std::vector<int32_t> slot;     // [rows * top_k] index into ids and weights of an entry
  std::vector<int32_t> entry;    // [rows * top_k] the inverse: entry of (row, slot)
};
void BuildDispatch(const int32_t* ids, int64_t rows, int top_k, int experts, Dispatch* dispatch);

// out[row] = sum over the row's experts of weight * y[entry], then + shared[row], then + residual[row]
// (either may be null). The expert ids fall in kChunks ranges [floor(cE/8), floor((c+1)E/8)): in a range ids
// ascending, acc = fma(weight, y, acc) from 0; the ranges add in a binary tree.
void CombineExperts(const Dispatch& dispatch, const int32_t* ids, const float* weights, int64_t rows,
                    int top_k, int experts, const float* y, int64_t cols, const float* shared,
                    const float* residual, float* out, ThreadPool& pool);
// dy[entry] = weight * dout[row]; dweights[row, slot] = dot(dout[row], y[entry]) (16 strided lanes, fixed
// tree).
void CombineExpertsBackward(const Dispatch& dispatch, const float* weights, int64_t rows, int top_k,
                            const float* dout, const float* y, int64_t cols, float* dy, float* dweights,
                            ThreadPool& pool);
// The inverse of gathering: dx[row] = sum of dx_entries over the row's entries in the same order as
// CombineExperts (weight 1), then + add[row] (may be null, may be dx).
void ScatterExperts(const Dispatch& dispatch, const int32_t* ids, int64_t rows, int top_k, int experts,
                    const float* dx_entries, int64_t cols, const float* add, float* dx, ThreadPool& pool);

}  // namespace temper::kernels
