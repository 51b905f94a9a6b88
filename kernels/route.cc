// SPDX-License-Identifier: Apache-2.0
#include "kernels/route.h"

#include <algorithm>
#include <vector>

#include "core/check.h"
#include "kernels/cpu/route.h"
#include "kernels/gemm.h"
#include "kernels/isa.h"

namespace temper::kernels {
namespace {

constexpr int64_t kRowGrain = 8;

// The buffers of one row's selection.
struct Selection {
  explicit Selection(const RouteShape& s)
      : biased(s.experts), open(s.experts), group_score(s.groups), group_open(s.groups), slots(s.top_k) {}
  std::vector<float> biased;
  std::vector<char> open;
  std::vector<float> group_score;
  std::vector<char> group_open;
  std::vector<int> slots;
};

// The open index of the largest value, ties to the lower one; it is closed.
int TakeLargest(const std::vector<float>& values, std::vector<char>& open) {
  int best = -1;
  for (int i = 0; i < static_cast<int>(values.size()); ++i) {
    if (open[i] && (best < 0 || values[i] > values[best])) best = i;
  }
  open[best] = 0;
  return best;
}

float GroupScore(const RouteShape& s, const float* biased) {
  const int size = s.experts / s.groups;
  float first = biased[0];
  float second = 0;
  bool two = false;
  for (int i = 1; i < size; ++i) {
    if (biased[i] > first) {
      second = first;
      first = biased[i];
    } else if (!two || biased[i] > second) {
      second = biased[i];
    }
    two = true;
  }
  return s.group_top2 && two ? first + second : first;
}

// Which experts the groups leave open.
void OpenGroups(const RouteShape& s, Selection& x) {
  if (s.groups == 1 || s.top_groups >= s.groups) {
    std::fill(x.open.begin(), x.open.end(), 1);
    return;
  }
  const int size = s.experts / s.groups;
  for (int g = 0; g < s.groups; ++g) x.group_score[g] = GroupScore(s, &x.biased[g * size]);
  std::fill(x.open.begin(), x.open.end(), 0);
  std::fill(x.group_open.begin(), x.group_open.end(), 1);
  for (int i = 0; i < s.top_groups; ++i) {
    std::fill_n(x.open.begin() + TakeLargest(x.group_score, x.group_open) * size, size, 1);
  }
}

// The slots of a row in the order of their ids.
void SlotsById(const int32_t* ids, int top_k, int* slots) {
  for (int i = 0; i < top_k; ++i) slots[i] = i;
  std::sort(slots, slots + top_k, [&](int a, int b) { return ids[a] < ids[b]; });
}

void RouteRow(const RouteShape& s, const float* scores, const float* bias, Selection& x, int32_t* ids,
              float* weights) {
  for (int e = 0; e < s.experts; ++e) x.biased[e] = bias != nullptr ? scores[e] + bias[e] : scores[e];
  OpenGroups(s, x);
  for (int i = 0; i < s.top_k; ++i) ids[i] = TakeLargest(x.biased, x.open);
  float sum = 0;
  if (s.normalize) {
    SlotsById(ids, s.top_k, x.slots.data());
    for (int slot : x.slots) sum = sum + scores[ids[slot]];
    sum = sum + 1e-20f;
  }
  for (int i = 0; i < s.top_k; ++i) {
    const float score = scores[ids[i]];
    weights[i] = (s.normalize ? score / sum : score) * s.scaling;
  }
}

// w_i = scaling s_i / S, S = sum s + 1e-20: dS_i = scaling / S (dw_i - sum_j dw_j s_j / S); then the score's
// own derivative.
void RouteRowBackward(const RouteShape& s, const int32_t* ids, const float* scores, const float* dweights,
                      int* slots, float* dlogits) {
  SlotsById(ids, s.top_k, slots);
  float sum = 0, mean = 0, factor = s.scaling;
  if (s.normalize) {
    for (int i = 0; i < s.top_k; ++i) sum = sum + scores[ids[slots[i]]];
    sum = sum + 1e-20f;
    for (int i = 0; i < s.top_k; ++i) mean = mean + dweights[slots[i]] * (scores[ids[slots[i]]] / sum);
    factor = s.scaling / sum;
  }
  std::fill_n(dlogits, s.experts, 0.0f);
  if (s.sigmoid) {
    for (int i = 0; i < s.top_k; ++i) {
      const float score = scores[ids[i]];
      dlogits[ids[i]] = factor * (dweights[i] - mean) * (score * (1.0f - score));
    }
    return;
  }
  float inner = 0;
  for (int i = 0; i < s.top_k; ++i) {
    const int id = ids[slots[i]];
    dlogits[id] = factor * (dweights[slots[i]] - mean);
    inner = inner + dlogits[id] * scores[id];
  }
  for (int e = 0; e < s.experts; ++e) dlogits[e] = scores[e] * (dlogits[e] - inner);
}

void CheckShape(const RouteShape& s) {
  TEMPER_CHECK(s.groups >= 1 && s.experts % s.groups == 0 && s.top_groups >= 1, "experts ", s.experts,
               ", groups ", s.groups, ", top_groups ", s.top_groups);
  TEMPER_CHECK(s.top_k >= 1 && s.top_k <= s.experts / s.groups * std::min(s.top_groups, s.groups), "top_k ",
               s.top_k, " of ", s.experts, " experts, ", s.top_groups, " of ", s.groups, " groups");
}

// A row's entries by expert id, cut into the kChunks ranges of ids.
void FillRow(const Dispatch& dispatch, const int32_t* ids, const float* weights, int64_t row, int top_k,
             int experts, const float* y, int64_t cols, int* slots, const float** entries,
             float* entry_weights, CombineRow* out) {
  const int64_t base = row * top_k;
  SlotsById(ids + base, top_k, slots);
  int range = 0;
  out->range[0] = 0;
  for (int i = 0; i < top_k; ++i) {
    const int64_t slot = base + slots[i];
    while (ids[slot] >= int64_t{range + 1} * experts / kChunks) out->range[++range] = i;
    entries[i] = y + int64_t{dispatch.entry[slot]} * cols;
    if (weights != nullptr) entry_weights[i] = weights[slot];
  }
  while (range < kChunks) out->range[++range] = top_k;
  out->y = entries;
  out->weights = weights != nullptr ? entry_weights : nullptr;
}

void CombineRows(const Dispatch& dispatch, const int32_t* ids, const float* weights, int64_t rows, int top_k,
                 int experts, const float* y, int64_t cols, const float* shared, const float* residual,
                 float* out, ThreadPool& pool) {
  static_assert(kChunks == 8, "CombineRow has 8 ranges");
  const auto combine = TEMPER_DISPATCH(Combine);
  pool.ParallelFor(rows, kRowGrain, [&](int64_t begin, int64_t end) {
    std::vector<int> slots(top_k);
    std::vector<const float*> entries(top_k);
    std::vector<float> entry_weights(top_k);
    CombineRow combined;
    for (int64_t row = begin; row < end; ++row) {
      FillRow(dispatch, ids, weights, row, top_k, experts, y, cols, slots.data(), entries.data(),
              entry_weights.data(), &combined);
      combine(combined, cols, shared != nullptr ? shared + row * cols : nullptr,
              residual != nullptr ? residual + row * cols : nullptr, out + row * cols);
    }
  });
}

}  // namespace

void Route(const RouteShape& shape, const float* logits, const float* bias, int64_t rows, int32_t* ids,
           float* weights, float* scores, ThreadPool& pool) {
  CheckShape(shape);
  const auto row_scores = TEMPER_DISPATCH(Scores);
  pool.ParallelFor(rows, kRowGrain, [&](int64_t begin, int64_t end) {
    Selection selection(shape);
    for (int64_t row = begin; row < end; ++row) {
      row_scores(logits + row * shape.experts, shape.experts, shape.sigmoid, scores + row * shape.experts);
      RouteRow(shape, scores + row * shape.experts, bias, selection, ids + row * shape.top_k,
               weights + row * shape.top_k);
    }
  });
}

void RouteBackward(const RouteShape& shape, const int32_t* ids, const float* scores, const float* dweights,
                   int64_t rows, float* dlogits, ThreadPool& pool) {
  CheckShape(shape);
  pool.ParallelFor(rows, kRowGrain, [&](int64_t begin, int64_t end) {
    std::vector<int> slots(shape.top_k);
    for (int64_t row = begin; row < end; ++row) {
      RouteRowBackward(shape, ids + row * shape.top_k, scores + row * shape.experts,
                       dweights + row * shape.top_k, slots.data(), dlogits + row * shape.experts);
    }
  });
}

void BuildDispatch(const int32_t* ids, int64_t rows, int top_k, int experts, Dispatch* dispatch) {
  const int64_t entries = rows * top_k;
  dispatch->offsets.assign(experts + 1, 0);
  dispatch->row.resize(entries);
  dispatch->slot.resize(entries);
  dispatch->entry.resize(entries);
  for (int64_t slot = 0; slot < entries; ++slot) {
    TEMPER_CHECK(ids[slot] >= 0 && ids[slot] < experts, "expert id ", ids[slot], " of ", experts);
    ++dispatch->offsets[ids[slot] + 1];
  }
  for (int e = 0; e < experts; ++e) dispatch->offsets[e + 1] += dispatch->offsets[e];
  std::vector<int64_t> next(dispatch->offsets.begin(), dispatch->offsets.end() - 1);
  for (int64_t slot = 0; slot < entries; ++slot) {
    const int64_t entry = next[ids[slot]]++;
    dispatch->row[entry] = static_cast<int32_t>(slot / top_k);
    dispatch->slot[entry] = static_cast<int32_t>(slot);
    dispatch->entry[slot] = static_cast<int32_t>(entry);
  }
}

void CombineExperts(const Dispatch& dispatch, const int32_t* ids, const float* weights, int64_t rows,
                    int top_k, int experts, const float* y, int64_t cols, const float* shared,
                    const float* residual, float* out, ThreadPool& pool) {
  CombineRows(dispatch, ids, weights, rows, top_k, experts, y, cols, shared, residual, out, pool);
}

void CombineExpertsBackward(const Dispatch& dispatch, const float* weights, int64_t rows, int top_k,
                            const float* dout, const float* y, int64_t cols, float* dy, float* dweights,
                            ThreadPool& pool) {
  const auto backward = TEMPER_DISPATCH(CombineBackward);
  pool.ParallelFor(rows, kRowGrain, [&](int64_t begin, int64_t end) {
    for (int64_t slot = begin * top_k; slot < end * top_k; ++slot) {
      const int64_t entry = dispatch.entry[slot];
      dweights[slot] =
          backward(dout + slot / top_k * cols, y + entry * cols, weights[slot], cols, dy + entry * cols);
    }
  });
}

void ScatterExperts(const Dispatch& dispatch, const int32_t* ids, int64_t rows, int top_k, int experts,
                    const float* dx_entries, int64_t cols, const float* add, float* dx, ThreadPool& pool) {
  CombineRows(dispatch, ids, nullptr, rows, top_k, experts, dx_entries, cols, add, nullptr, dx, pool);
}

}  // namespace temper::kernels
