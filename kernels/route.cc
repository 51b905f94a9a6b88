// SPDX-License-Identifier: Apache-2.0
#include "kernels/route.h"

#include <algorithm>
#include <vector>

#include "core/check.h"
#include "kernels/backends/cpu.h"
#include "kernels/cpu/route.h"
#include "kernels/gemm.h"
#include "kernels/isa.h"

namespace temper::kernels {
namespace {

constexpr int64_t kRowGrain = 8;

// One row's choices and their weights.
struct RouteRow {
  const float *scores, *bias;
  int32_t* ids;
  float* weights;
};

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

void Select(const RouteShape& s, const RouteRow& row, Selection& x) {
  const float *const scores = row.scores, *const bias = row.bias;
  int32_t* const ids = row.ids;
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
    row.weights[i] = (s.normalize ? score / sum : score) * s.scaling;
  }
}

// w_i = scaling s_i / S, S = sum s + 1e-20: dS_i = scaling / S (dw_i - sum_j dw_j s_j / S); then the score's
// own derivative.
void RouteRowBackward(const RouteBackwardTask& task, int64_t row, int* slots) {
  const RouteShape& s = task.shape;
  const int32_t* const ids = task.routing->ids + row * s.top_k;
  const float* const scores = task.routing->scores + row * s.experts;
  const float* const dweights = task.dweights + row * s.top_k;
  float* const dlogits = task.dlogits.Row(row);
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

int64_t RangeEdge(const RouteShape& s, int range) { return int64_t{range} * s.experts / kChunks; }

// What CombineExperts and ScatterExperts share; without `weighted` each entry counts as it is.
struct CombineTask {
  const RouteShape& shape;
  ExpertRanges ranges;
  const Routing& routing;
  bool weighted;
  Matrix y, shared, residual, out;
};

// The buffers of one row, and of what it combines.
struct Combined {
  explicit Combined(int top_k) : slots(top_k), entries(top_k), weights(top_k) {}
  std::vector<int> slots;
  std::vector<const float*> entries;
  std::vector<float> weights;
  CombineRow row = {};
};

// A row's entries by expert id, cut into the ranges of ids.
void FillRow(const CombineTask& task, int64_t row, Combined& to) {
  const Routing& routing = task.routing;
  const int top_k = task.shape.top_k;
  const int64_t base = row * top_k;
  SlotsById(routing.ids + base, top_k, to.slots.data());
  int range = 0, count = 0;
  to.row.range[0] = 0;
  for (int i = 0; i < top_k; ++i) {
    const int64_t slot = base + to.slots[i];
    if (routing.entry[slot] < 0) continue;
    while (routing.ids[slot] >= RangeEdge(task.shape, task.ranges.first + range + 1))
      to.row.range[++range] = count;
    to.entries[count] = task.y.Row(routing.entry[slot]);
    if (task.weighted) to.weights[count] = routing.weights[slot];
    ++count;
  }
  while (range < task.ranges.count) to.row.range[++range] = count;
  to.row.ranges = task.ranges.count;
  to.row.y = to.entries.data();
  to.row.weights = task.weighted ? to.weights.data() : nullptr;
  to.row.cols = task.out.cols;
  to.row.shared = task.shared ? task.shared.Row(row) : nullptr;
  to.row.residual = task.residual ? task.residual.Row(row) : nullptr;
  to.row.out = task.out.Row(row);
}

void CombineRows(const CombineTask& task, ThreadPool& pool) {
  static_assert(kChunks == 8, "CombineRow has 8 ranges");
  const auto combine = TEMPER_DISPATCH(Combine);
  pool.ParallelFor(task.out.rows, kRowGrain, [&](int64_t begin, int64_t end) {
    Combined combined(task.shape.top_k);
    for (int64_t row = begin; row < end; ++row) {
      FillRow(task, row, combined);
      combine(combined.row);
    }
  });
}

}  // namespace

ExpertRanges RangesOf(const RouteShape& s) {
  if (s.end == 0) return {0, kChunks};
  for (int count = kChunks; count > 0; count /= 2) {
    for (int first = 0; first < kChunks; first += count) {
      if (RangeEdge(s, first) == s.begin && RangeEdge(s, first + count) == s.end) return {first, count};
    }
  }
  TEMPER_CHECK(false, "experts [", s.begin, ", ", s.end, ") of ", s.experts, " are no whole ranges");
}

void SortEntries(const RouteShape& shape, int64_t rows, Routing* to) {
  Routing& routing = *to;
  const int64_t entries = rows * shape.top_k;
  std::vector<int64_t>& offsets = routing.offsets;
  offsets.assign(shape.experts + 1, 0);
  for (int64_t slot = 0; slot < entries; ++slot)
    offsets[routing.ids[slot] + 1] += shape.Has(routing.ids[slot]);
  for (int e = 0; e < shape.experts; ++e) offsets[e + 1] += offsets[e];
  std::vector<int64_t> next(offsets.begin(), offsets.end() - 1);
  for (int64_t slot = 0; slot < entries; ++slot) {
    routing.entry[slot] = -1;
    if (!shape.Has(routing.ids[slot])) continue;
    const int64_t entry = next[routing.ids[slot]]++;
    routing.row[entry] = static_cast<int32_t>(slot / shape.top_k);
    routing.entry[slot] = static_cast<int32_t>(entry);
  }
}

void Backend::ExpertProducts(const ExpertProductsTask&) {
  TEMPER_CHECK(false, "this backend tells the host of experts' rows");
}

void CpuBackend::Route(const RouteTask& task) {
  const RouteShape& shape = task.shape;
  Routing& routing = *task.routing;
  CheckShape(shape);
  const auto row_scores = TEMPER_DISPATCH(Scores);
  pool().ParallelFor(task.logits.rows, kRowGrain, [&](int64_t begin, int64_t end) {
    Selection selection(shape);
    for (int64_t row = begin; row < end; ++row) {
      float* const scores = routing.scores + row * shape.experts;
      row_scores(shape, task.logits.Row(row), scores);
      Select(shape, {scores, task.bias, routing.ids + row * shape.top_k, routing.weights + row * shape.top_k},
             selection);
    }
  });
  SortEntries(shape, task.logits.rows, &routing);
}

void CpuBackend::RouteBackward(const RouteBackwardTask& task) {
  CheckShape(task.shape);
  pool().ParallelFor(task.dlogits.rows, kRowGrain, [&](int64_t begin, int64_t end) {
    std::vector<int> slots(task.shape.top_k);
    for (int64_t row = begin; row < end; ++row) RouteRowBackward(task, row, slots.data());
  });
}

void CpuBackend::GatherExperts(const GatherExpertsTask& task) {
  GatherRows({.x = task.x, .rows = task.routing->row, .out = task.out});
}

void CpuBackend::CombineExperts(const CombineExpertsTask& task) {
  CombineRows(
      {task.shape, RangesOf(task.shape), *task.routing, true, task.y, task.shared, task.residual, task.out},
      pool());
}

void CpuBackend::CombineExpertsBackward(const CombineExpertsBackwardTask& task) {
  const Routing& routing = *task.routing;
  const int top_k = task.shape.top_k;
  const auto backward = TEMPER_DISPATCH(CombineBackward);
  pool().ParallelFor(task.dout.rows, kRowGrain, [&](int64_t begin, int64_t end) {
    for (int64_t slot = begin * top_k; slot < end * top_k; ++slot) {
      const int64_t entry = routing.entry[slot];
      if (entry < 0) continue;
      task.dweights[slot] = backward({task.dout.Row(slot / top_k), task.y.Row(entry), routing.weights[slot],
                                      task.dout.cols, task.dy.Row(entry)});
    }
  });
}

void CpuBackend::ScatterExperts(const ScatterExpertsTask& task) {
  CombineRows(
      {task.shape, RangesOf(task.shape), *task.routing, false, task.dx_entries, task.add, {}, task.dx},
      pool());
}

}  // namespace temper::kernels
