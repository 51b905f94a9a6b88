// SPDX-License-Identifier: Apache-2.0
// What comes back from the ranks that have a row's experts.
#include <algorithm>

#include "comm/parcels.h"
#include "comm/reduce.h"
#include "core/check.h"
#include "model/across.h"
#include "model/blocks/expert_exchange.h"

namespace temper {
namespace {

constexpr int kReturnTag = 3;

// What a rank gives the rows of all comes back as the sum over all ranks' experts, in their tree.
void ReturnRows(const Context& c, const ExpertRows& rows, Matrix part, Matrix out) {
  Communicator& ranks = c.mesh->axis(Axis::kEp);
  const int64_t cols = part.cols;
  const Workspace::Mark mark = c.workspace->Here();
  // Of each rank a row for each of this one's, 0 where it has none of the row's experts.
  std::vector<Matrix> sums;
  for (int q = 0; q < ranks.size(); ++q) sums.push_back(c.workspace->NewRows(out.rows, cols));
  size_t most = 0;
  for (const std::vector<int32_t>& sent : rows.sent) most = std::max(most, sent.size());
  const Matrix came = c.workspace->NewRows(static_cast<int64_t>(most), cols);
  const int64_t row_bytes = cols * static_cast<int64_t>(sizeof(float));
  for (int distance = 0; distance < ranks.size(); ++distance) {
    const int to = (ranks.rank() + distance) % ranks.size();
    const int from = (ranks.rank() + ranks.size() - distance) % ranks.size();
    const auto out_bytes = static_cast<size_t>((rows.edges[to + 1] - rows.edges[to]) * row_bytes);
    const auto in_bytes = rows.sent[from].size() * static_cast<size_t>(row_bytes);
    const float* theirs = part.f32() + rows.edges[to] * cols;
    if (distance > 0) {
      ranks.SendReceive({theirs, out_bytes, to, came.f32(), in_bytes, from, kReturnTag});
      theirs = came.f32();
    }
    c.backend->Zero(sums[from]);
    for (size_t i = 0; i < rows.sent[from].size() && !ranks.counts_only(); ++i)
      std::copy_n(theirs + static_cast<int64_t>(i) * cols, cols, sums[from].Row(rows.sent[from][i]));
  }
  for (size_t apart = 1; apart < sums.size(); apart *= 2) {
    for (size_t q = 0; q < sums.size(); q += 2 * apart) c.backend->Add(sums[q + apart], sums[q]);
  }
  c.backend->Copy(sums[0], out);
  c.workspace->Release(mark);
}

// Where ranges are cut: of the entries that this rank computed each goes to the rank whose row it is, which
// gets those of all its rows, in its own order.
Matrix ReturnEntries(const Context& c, const ExpertRows& rows, Matrix computed) {
  Communicator& ranks = c.mesh->axis(Axis::kEp);
  const int64_t cols = computed.cols, row_bytes = cols * static_cast<int64_t>(sizeof(float));
  const Matrix entries = c.workspace->NewRows(rows.own.offsets.back(), cols);
  const Workspace::Mark mark = c.workspace->Here();
  const int64_t top_k = rows.own_shape.top_k;
  std::vector<std::vector<int32_t>> out(ranks.size());
  int64_t most_out = 0, most_in = 0;
  for (int q = 0; q < ranks.size(); ++q) {
    if (rows.even) out[q].resize(rows.returned[q].size());
    for (int64_t slot = rows.edges[q] * top_k; slot < rows.edges[q + 1] * top_k && !rows.even; ++slot)
      if (rows.routing.entry[slot] >= 0) out[q].push_back(rows.routing.entry[slot]);
    most_out = std::max(most_out, static_cast<int64_t>(out[q].size()));
    most_in = std::max(most_in, static_cast<int64_t>(rows.returned[q].size()));
  }
  const Matrix gathered = c.workspace->NewRows(most_out, cols), came = c.workspace->NewRows(most_in, cols);
  // Each batch is put into its places when the next one is asked for, or all have come.
  int last = -1;
  const auto place = [&] {
    if (last < 0 || rows.even) return;
    for (size_t i = 0; i < rows.returned[last].size(); ++i)
      std::copy_n(came.Row(static_cast<int64_t>(i)), cols, entries.Row(rows.returned[last][i]));
  };
  const auto parcel = [&](int to, int from) -> Parcel {
    place();
    last = from;
    const auto count = static_cast<int64_t>(out[to].size());
    c.backend->GatherRows({computed, out[to].data(), gathered.Rows(0, count)});
    return {gathered.f32(), count * row_bytes, came.f32(),
            static_cast<int64_t>(rows.returned[from].size()) * row_bytes};
  };
  SwapParcels(parcel, kReturnTag, ranks);
  place();
  c.workspace->Release(mark);
  return entries;
}

}  // namespace

void ReturnSlots(const Context& c, const kernels::RouteShape& shape, const ExpertRows& rows,
                 const kernels::Routing& own, const float* values, Matrix mine) {
  TEMPER_CHECK(c.backend->host_memory());
  const int64_t slots = mine.rows * shape.top_k, top_k = shape.top_k;
  if (TensorRanks(c).counts_only()) {
    const auto parcel = [&](int peer, int) -> Parcel {
      const auto bytes = static_cast<int64_t>(rows.sent.empty() ? 0 : rows.sent[peer].size()) * top_k * 4;
      return {nullptr, bytes, nullptr, bytes};
    };
    SwapParcels(parcel, kReturnTag, c.mesh->axis(Axis::kEp));
    return GatherShares(nullptr, slots, TensorRanks(c));
  }
  float* const to = mine.f32();
  if (!RowsAreSent(c)) {
    std::copy_n(values, slots, to);
  } else {
    std::vector<std::vector<float>> came(rows.sent.size());
    const auto parcel = [&](int peer, int from) -> Parcel {
      came[from].resize(rows.sent[from].size() * top_k);
      return {values + rows.edges[peer] * top_k, (rows.edges[peer + 1] - rows.edges[peer]) * top_k * 4,
              came[from].data(), static_cast<int64_t>(came[from].size() * sizeof(float))};
    };
    SwapParcels(parcel, kReturnTag, c.mesh->axis(Axis::kEp));
    for (size_t q = 0; q < came.size(); ++q) {
      for (size_t i = 0; i < came[q].size(); ++i) {
        const int64_t slot = rows.sent[q][i / top_k] * top_k + static_cast<int64_t>(i) % top_k;
        if (rows.owners[own.ids[slot]] == static_cast<int>(q)) to[slot] = came[q][i];
      }
    }
  }
  Communicator& ranks = TensorRanks(c);
  if (ranks.size() == 1) return;
  // The slots by the rank of mesh.tp whose experts they go to, in their order.
  std::vector<int> owner(shape.experts);
  for (int r = 0; r < ranks.size(); ++r) {
    const Share share = ShareOf(shape.experts, r, ranks.size());
    for (int64_t e = share.begin; e < share.end; ++e) owner[e] = r;
  }
  std::vector<int64_t> edges(ranks.size() + 1);
  for (int64_t slot = 0; slot < slots; ++slot) ++edges[owner[own.ids[slot]] + 1];
  for (int r = 0; r < ranks.size(); ++r) edges[r + 1] += edges[r];
  std::vector<int64_t> place(slots), next(edges.begin(), edges.end() - 1);
  for (int64_t slot = 0; slot < slots; ++slot) place[slot] = next[owner[own.ids[slot]]]++;
  std::vector<float> by_rank(slots);
  for (int64_t slot = 0; slot < slots; ++slot) by_rank[place[slot]] = to[slot];
  GatherParts(by_rank.data(), edges, ranks);
  for (int64_t slot = 0; slot < slots; ++slot) to[slot] = by_rank[place[slot]];
}

void CombineAcross(const Context& c, const ExpertRows& rows, const kernels::CombineExpertsTask& task,
                   Matrix sums, const Linear& shared) {
  kernels::CombineExpertsTask part = task;
  part.shared = part.residual = {};
  const Matrix sum = part.out = sums.Rows(0, task.shared ? sums.rows / 2 : sums.rows);
  const Workspace::Mark mark = c.workspace->Here();
  if (RangesAreCut(c)) {
    part.shape = rows.own_shape;
    part.routing = &rows.own;
    part.y = ReturnEntries(c, rows, task.y);
    c.backend->CombineExperts(part);
  } else if (RowsAreSent(c)) {
    part.out = c.workspace->NewRows(rows.count, sum.cols);
    c.backend->CombineExperts(part);
    ReturnRows(c, rows, part.out, sum);
  } else {
    c.backend->CombineExperts(part);
  }
  c.workspace->Release(mark);
  Matrix of_shared = task.shared;
  if (c.shares_rows) {
    c.backend->Copy(SumOwnRows(c, sum), task.out);
    if (of_shared) of_shared = SumOwnRows(c, of_shared);
  } else {
    SumAcross(c, sums);
    c.backend->Copy(sum, task.out);
  }
  if (of_shared) {
    shared.AddSharedBias(c, of_shared);
    c.backend->Add(of_shared, task.out);
  }
  if (task.residual) c.backend->Add(task.residual, task.out);
}

void ScatterAcross(const Context& c, const ExpertRows& rows, const kernels::ScatterExpertsTask& task) {
  kernels::ScatterExpertsTask part = task;
  part.add = {};
  const Workspace::Mark mark = c.workspace->Here();
  if (RangesAreCut(c)) {
    part.shape = rows.own_shape;
    part.routing = &rows.own;
    part.dx_entries = ReturnEntries(c, rows, task.dx_entries);
    c.backend->ScatterExperts(part);
  } else if (RowsAreSent(c)) {
    part.dx = c.workspace->NewRows(rows.count, task.dx.cols);
    c.backend->ScatterExperts(part);
    ReturnRows(c, rows, part.dx, task.dx);
  } else {
    c.backend->ScatterExperts(part);
  }
  c.workspace->Release(mark);
  const Matrix sum = SumOwnRows(c, task.dx);
  if (task.add) c.backend->Add(task.add, sum);
}

}  // namespace temper
