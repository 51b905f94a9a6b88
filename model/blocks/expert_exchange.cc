// SPDX-License-Identifier: Apache-2.0
#include "model/blocks/expert_exchange.h"

#include <algorithm>

#include "comm/parcels.h"
#include "comm/reduce.h"
#include "core/check.h"
#include "model/stretches.h"

namespace temper {
namespace {

constexpr int kTakeTag = 3;

Communicator& ExpertRanks(const Context& c) { return c.mesh->axis(Axis::kEp); }

// The rank of mesh.ep, beside this one on mesh.tp, that has an expert; -1: another rank of mesh.tp does.
std::vector<int> OwnersOf(const Context& c, const kernels::RouteShape& shape) {
  std::vector<int> owners(shape.experts, -1);
  const int64_t ep = c.mesh->sizes().ep, tp = c.mesh->sizes().tp, t = c.mesh->place()[Axis::kTp];
  for (int64_t q = 0; q < ep; ++q) {
    const Share share = ShareOf(shape.experts, t * ep + q, tp * ep);
    for (int64_t e = share.begin; e < share.end; ++e) owners[e] = static_cast<int>(q);
  }
  return owners;
}

// Of the rows that go to a rank: how many there are, or of a long sequence how many of each stretch.
int64_t CountsOf(const Context& c) { return c.stretches == nullptr ? 1 : kStretches; }

int64_t DividedUp(int64_t n, int64_t by) { return (n + by - 1) / by; }

// Where ranks are not there each row goes to as many as it has experts, and every expert gets as many: of a
// few rows one more rather than one less.
ExpertRows EvenRows(const Context& c, const kernels::RouteShape& shape, int64_t rows) {
  const int64_t ep = c.mesh->sizes().ep, owners = ep * c.mesh->sizes().tp;
  const int64_t to_each = DividedUp(rows * std::min<int64_t>(shape.top_k, owners), owners);
  ExpertRows even;
  even.even = true;
  even.sent.assign(ep, std::vector<int32_t>(to_each));
  for (int64_t q = 0; q <= ep; ++q) even.edges.push_back(q * to_each);
  even.count = even.edges.back();
  const int64_t slots = even.count * shape.top_k, entries = DividedUp(rows * shape.top_k * ep, owners);
  even.routing = {.ids = c.workspace->Ints(slots),
                  .weights = c.workspace->Floats(slots),
                  .scores = nullptr,
                  .row = c.workspace->Ints(slots),
                  .entry = c.workspace->Ints(slots),
                  .offsets = {}};
  if (c.stretches != nullptr) {
    for (int64_t i = 0; i <= ep * c.stretches->count(); ++i) even.stretches.push_back(i);
  }
  for (const int64_t bytes : {8 * CountsOf(c), to_each * shape.top_k * 4, to_each * shape.top_k * 4})
    SwapParcels(
        [&](int, int) -> Parcel {
          return {nullptr, bytes, nullptr, bytes};
        },
        kTakeTag, ExpertRanks(c));
  const Share mine =
      ShareOf(shape.experts, c.mesh->place()[Axis::kTp] * ep + c.mesh->place()[Axis::kEp], owners);
  for (int64_t e = 0; e <= shape.experts; ++e) {
    const int64_t before = std::clamp(e, mine.begin, mine.end) - mine.begin;
    even.routing.offsets.push_back(entries * before / std::max<int64_t>(mine.end - mine.begin, 1));
  }
  return even;
}

// Where ranges are cut: the entries of this rank's own rows, and who computes them.
void FindReturned(const Context& c, const kernels::RouteShape& shape, const kernels::Routing& own,
                  int64_t rows, ExpertRows* taken) {
  const MeshSizes& sizes = c.mesh->sizes();
  const Share beside = ShareOf(shape.experts, c.mesh->place()[Axis::kTp], sizes.tp);
  taken->own_shape = shape;
  taken->own_shape.begin = static_cast<int>(beside.begin);
  taken->own_shape.end = static_cast<int>(beside.end);
  const int64_t slots = rows * shape.top_k;
  taken->own = {.ids = own.ids,
                .weights = own.weights,
                .scores = nullptr,
                .row = c.workspace->Ints(slots),
                .entry = c.workspace->Ints(slots),
                .offsets = {}};
  taken->returned.resize(sizes.ep);
  if (taken->even) {
    taken->own.offsets.assign(shape.experts + 1, slots / sizes.tp);
    for (std::vector<int32_t>& of_rank : taken->returned)
      of_rank.resize(DividedUp(slots, sizes.tp * sizes.ep));
    return;
  }
  kernels::SortEntries(taken->own_shape, rows, &taken->own);
  for (int64_t slot = 0; slot < slots; ++slot) {
    const int owner = taken->owners[own.ids[slot]];
    if (owner >= 0) taken->returned[owner].push_back(taken->own.entry[slot]);
  }
}

// Of the row; 0 where there is no long sequence.
int64_t StretchOf(const Context& c, int32_t row) {
  if (c.stretches == nullptr) return 0;
  const std::vector<int64_t>& edges = c.stretches->edges;
  return std::upper_bound(edges.begin(), edges.end(), row) - edges.begin() - 1;
}

}  // namespace

ExpertRows TakeRows(const Context& c, const kernels::RouteShape& shape, const kernels::Routing& own,
                    int64_t rows) {
  if (!RowsAreSent(c)) {
    ExpertRows all{.routing = own, .count = rows};
    if (c.stretches != nullptr) all.stretches = c.stretches->edges;
    all.even = ExpertRanks(c).counts_only();
    return all;
  }
  TEMPER_CHECK(c.backend->host_memory());
  Communicator& ranks = ExpertRanks(c);
  const int top_k = shape.top_k;
  ExpertRows taken;
  if (ranks.counts_only()) {
    taken = EvenRows(c, shape, rows);
    if (RangesAreCut(c)) FindReturned(c, shape, own, rows, &taken);
    return taken;
  }
  taken.owners = OwnersOf(c, shape);
  taken.sent.resize(ranks.size());
  for (int64_t row = 0; row < rows; ++row) {
    for (int i = 0; i < top_k; ++i) {
      const int owner = taken.owners[own.ids[row * top_k + i]];
      if (owner < 0 || (!taken.sent[owner].empty() && taken.sent[owner].back() == row)) continue;
      taken.sent[owner].push_back(static_cast<int32_t>(row));
    }
  }
  // How many, then their experts and weights.
  const int64_t of_each = CountsOf(c);
  std::vector<int64_t> sizes(ranks.size()), counts(ranks.size());
  std::vector<int64_t> own_counts(ranks.size() * of_each), all_counts(own_counts.size());
  for (int q = 0; q < ranks.size(); ++q) {
    sizes[q] = static_cast<int64_t>(taken.sent[q].size());
    for (const int32_t row : taken.sent[q]) ++own_counts[q * of_each + StretchOf(c, row)];
  }
  const auto parcel_of_counts = [&](int to, int from) -> Parcel {
    return {&own_counts[to * of_each], 8 * of_each, &all_counts[from * of_each], 8 * of_each};
  };
  SwapParcels(parcel_of_counts, kTakeTag, ranks);
  taken.edges = {0};
  for (int q = 0; q < ranks.size(); ++q) {
    for (int64_t i = 0; i < of_each; ++i) {
      if (c.stretches != nullptr) taken.stretches.push_back(taken.edges.back() + counts[q]);
      counts[q] += all_counts[q * of_each + i];
    }
    taken.edges.push_back(taken.edges.back() + counts[q]);
  }
  if (c.stretches != nullptr) taken.stretches.push_back(taken.edges.back());
  taken.count = taken.edges.back();
  const int64_t slots = taken.count * top_k;
  taken.routing = {.ids = c.workspace->Ints(slots),
                   .weights = c.workspace->Floats(slots),
                   .scores = nullptr,
                   .row = c.workspace->Ints(slots),
                   .entry = c.workspace->Ints(slots),
                   .offsets = {}};
  std::vector<int32_t> ids;
  std::vector<float> weights;
  const auto slot_bytes = [&](int64_t count) { return count * top_k * int64_t{4}; };
  const auto parcel_of_ids = [&](int to, int from) -> Parcel {
    ids.clear();
    for (const int32_t row : taken.sent[to])
      ids.insert(ids.end(), own.ids + row * top_k, own.ids + (row + 1) * top_k);
    return {ids.data(), slot_bytes(sizes[to]), taken.routing.ids + taken.edges[from] * top_k,
            slot_bytes(counts[from])};
  };
  SwapParcels(parcel_of_ids, kTakeTag, ranks);
  const auto parcel_of_weights = [&](int to, int from) -> Parcel {
    weights.clear();
    for (const int32_t row : taken.sent[to])
      weights.insert(weights.end(), own.weights + row * top_k, own.weights + (row + 1) * top_k);
    return {weights.data(), slot_bytes(sizes[to]), taken.routing.weights + taken.edges[from] * top_k,
            slot_bytes(counts[from])};
  };
  SwapParcels(parcel_of_weights, kTakeTag, ranks);
  kernels::SortEntries(shape, taken.count, &taken.routing);
  if (RangesAreCut(c)) FindReturned(c, shape, own, rows, &taken);
  return taken;
}

void SendRows(const Context& c, const ExpertRows& rows, Matrix mine, Matrix in) {
  const int64_t row_bytes = mine.cols * static_cast<int64_t>(sizeof(float));
  const Workspace::Mark mark = c.workspace->Here();
  size_t most = 0;
  for (const std::vector<int32_t>& sent : rows.sent) most = std::max(most, sent.size());
  const Matrix out = c.workspace->NewRows(static_cast<int64_t>(most), mine.cols);
  const auto parcel = [&](int to, int from) -> Parcel {
    const auto count = static_cast<int64_t>(rows.sent[to].size());
    c.backend->GatherRows({mine, rows.sent[to].data(), out.Rows(0, count)});
    return {out.f32(), count * row_bytes, in.f32() + rows.edges[from] * mine.cols,
            (rows.edges[from + 1] - rows.edges[from]) * row_bytes};
  };
  SwapParcels(parcel, kTakeTag, ExpertRanks(c));
  c.workspace->Release(mark);
}

std::vector<int64_t> LeafEdges(const ExpertRows& rows, int64_t first, int64_t count) {
  const std::vector<int64_t>& of_rows = rows.stretches.empty() ? rows.edges : rows.stretches;
  std::vector<int64_t> edges;
  const auto leaves = static_cast<int64_t>(of_rows.size()) - 1;
  if (rows.even) {
    for (int64_t i = 0; i <= leaves; ++i) edges.push_back(leaves == 0 ? count : count * i / leaves);
    return edges;
  }
  const int32_t* const begin = rows.routing.row + first;
  for (const int64_t edge : of_rows) edges.push_back(std::lower_bound(begin, begin + count, edge) - begin);
  return edges;
}

}  // namespace temper
