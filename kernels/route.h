// SPDX-License-Identifier: Apache-2.0
// Mixture-of-experts routing and the ordered gather and combine around the grouped expert product. f32 in
// every precision; ties go to the lower id; no capacity, no dropped tokens.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/matrix.h"

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
  // The experts that this rank has: whole ranges of a subtree, see CombineExpertsTask. end 0: all.
  int begin = 0, end = 0;

  [[gnu::always_inline]] bool Has(int64_t expert) const {
    return end == 0 || (begin <= expert && expert < end);
  }
};

// The ranges of experts (of kChunks, see CombineExpertsTask) that are this rank's: a subtree of the tree over
// them. Experts that are no whole ranges are a broken invariant.
struct ExpertRanges {
  int first = 0, count = 0;
};
ExpertRanges RangesOf(const RouteShape& shape);

// Who goes where: slot (row, i) is a row's i-th choice, and the entries are the slots of this rank's experts,
// expert by expert, each expert's in ascending (row, slot) order. Expert e's are entries [offsets[e],
// offsets[e+1]). The arrays are the backend's memory and the maker's; offsets, which cut the products, are
// the host's.
struct Routing {
  int32_t* ids = nullptr;        // [rows * top_k] in descending order of biased score
  float* weights = nullptr;      // [rows * top_k]
  float* scores = nullptr;       // [rows * experts], for backward
  int32_t* row = nullptr;        // [rows * top_k] the token's row of an entry
  int32_t* entry = nullptr;      // [rows * top_k] the entry of a slot; -1: another rank has the expert
  std::vector<int64_t> offsets;  // [experts + 1]
  // The backend's memory for them in their place, where it records (Backend::Record): nobody waits for them
  // then, and the experts' rows are multiplied by ExpertProducts. Null: they are the host's.
  int64_t* device_offsets = nullptr;
};

// logits[rows, experts] -> the routing: selected ids, weights (of unbiased scores, normalised, scaled; sums
// over ids in the order of ids ascending), scores, and the entries. bias[experts] steers selection only;
// null: none. DeepSeek-V3 report, section 2.1.2.
struct RouteTask {
  RouteShape shape;
  Matrix logits = {};
  const float* bias = nullptr;
  Routing* routing = nullptr;
};
// The entries of the routing's ids, in the host's memory: row, entry and offsets.
void SortEntries(const RouteShape& shape, int64_t rows, Routing* routing);
// dlogits[rows, experts] (overwritten) from dweights[rows * top_k].
struct RouteBackwardTask {
  RouteShape shape;
  const Routing* routing = nullptr;
  const float* dweights = nullptr;
  Matrix dlogits = {};
};

// y[entry] = x[entry] w^T with the weight of the entry's expert, in the order of a Product; of a chunked one
// all of the axis. For few entries an expert, whose number only the device knows (device_offsets).
struct ExpertProductsTask {
  const Routing* routing = nullptr;
  int experts = 0;
  const void* const* weights = nullptr;  // where each lies, on the host, for as long as a recording lives
  Matrix like = {};                      // one of them; all are alike
  Matrix x = {}, y = {};
  int k_chunks = 1;
};

// out[entry] = x[row of the entry].
struct GatherExpertsTask {
  RouteShape shape;
  const Routing* routing = nullptr;
  Matrix x = {}, out = {};
};
// out[row] = sum over the row's experts of weight * y[entry], then + shared[row], then + residual[row]
// (either may be none). The expert ids fall in kChunks ranges [floor(cE/8), floor((c+1)E/8)): in a range ids
// ascending, acc = fma(weight, y, acc) from 0; the ranges add in a binary tree, of this rank's ranges alone:
// the tree over the ranks' sums gives the whole.
struct CombineExpertsTask {
  RouteShape shape;
  const Routing* routing = nullptr;
  Matrix y = {}, shared = {}, residual = {}, out = {};
};
// dy[entry] = weight * dout[row]; dweights[row, slot] = dot(dout[row], y[entry]) (16 strided lanes, fixed
// tree), of slots that have an entry.
struct CombineExpertsBackwardTask {
  RouteShape shape;
  const Routing* routing = nullptr;
  Matrix dout = {}, y = {}, dy = {};
  float* dweights = nullptr;
};
// The inverse of gathering: dx[row] = sum of dx_entries over the row's entries in the same order as
// CombineExperts (weight 1), then + add[row] (may be none, may be dx).
struct ScatterExpertsTask {
  RouteShape shape;
  const Routing* routing = nullptr;
  Matrix dx_entries = {}, add = {}, dx = {};
};

}  // namespace temper::kernels
