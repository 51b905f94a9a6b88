// SPDX-License-Identifier: Apache-2.0
#include "model/blocks/expert_exchange.h"

#include <algorithm>
#include <functional>

#include "comm/reduce.h"
#include "core/check.h"
#include "model/across.h"

namespace temper {
namespace {

constexpr int kExpertTag = 3;

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

// Each rank's bytes to each other one, whose lengths both know; and what is this rank's own.
struct Parcel {
  const void* out;
  int64_t out_bytes;
  void* in;
  int64_t in_bytes;
};
void SwapParcels(Communicator& ranks, const std::function<Parcel(int to, int from)>& parcel) {
  for (int distance = 0; distance < ranks.size(); ++distance) {
    const int to = (ranks.rank() + distance) % ranks.size();
    const int from = (ranks.rank() + ranks.size() - distance) % ranks.size();
    const Parcel p = parcel(to, from);
    const auto out_bytes = static_cast<size_t>(p.out_bytes), in_bytes = static_cast<size_t>(p.in_bytes);
    if (distance == 0 && ranks.counts_only()) continue;
    if (distance == 0) {
      std::copy_n(static_cast<const char*>(p.out), out_bytes, static_cast<char*>(p.in));
    } else {
      ranks.SendReceive({p.out, out_bytes, to, p.in, in_bytes, from, kExpertTag});
    }
  }
}

// Where ranks are not there each row goes to as many as it has experts, and every expert gets as many.
ExpertRows EvenRows(const Context& c, const kernels::RouteShape& shape, int64_t rows) {
  const int64_t ep = c.mesh->sizes().ep, owners = ep * c.mesh->sizes().tp;
  const int64_t to_each = rows * std::min<int64_t>(shape.top_k, owners) / owners;
  ExpertRows even;
  even.even = true;
  even.sent.assign(ep, std::vector<int32_t>(to_each));
  for (int64_t q = 0; q <= ep; ++q) even.edges.push_back(q * to_each);
  even.count = even.edges.back();
  const int64_t slots = even.count * shape.top_k, entries = rows * shape.top_k * ep / owners;
  even.routing = {.ids = c.workspace->Ints(slots),
                  .weights = c.workspace->Floats(slots),
                  .scores = nullptr,
                  .row = c.workspace->Ints(slots),
                  .entry = c.workspace->Ints(slots),
                  .offsets = {}};
  for (const int64_t bytes : {int64_t{8}, to_each * shape.top_k * 4, to_each * shape.top_k * 4})
    SwapParcels(ExpertRanks(c), [&](int, int) -> Parcel { return {nullptr, bytes, nullptr, bytes}; });
  const Share mine =
      ShareOf(shape.experts, c.mesh->place()[Axis::kTp] * ep + c.mesh->place()[Axis::kEp], owners);
  for (int64_t e = 0; e <= shape.experts; ++e) {
    const int64_t before = std::clamp(e, mine.begin, mine.end) - mine.begin;
    even.routing.offsets.push_back(entries * before / std::max<int64_t>(mine.end - mine.begin, 1));
  }
  return even;
}

// What a rank gives the rows of all comes back as the sum over all ranks' experts, in their tree.
void ReturnRows(const Context& c, const ExpertRows& rows, Matrix part, Matrix out) {
  Communicator& ranks = ExpertRanks(c);
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
      ranks.SendReceive({theirs, out_bytes, to, came.f32(), in_bytes, from, kExpertTag});
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

}  // namespace

ExpertRows TakeRows(const Context& c, const kernels::RouteShape& shape, const kernels::Routing& own,
                    int64_t rows) {
  if (!RowsAreSent(c)) return {own, rows, {}, {}};
  TEMPER_CHECK(c.backend->host_memory());
  Communicator& ranks = ExpertRanks(c);
  const int top_k = shape.top_k;
  if (ranks.counts_only()) return EvenRows(c, shape, rows);
  const std::vector<int> owners = OwnersOf(c, shape);
  ExpertRows taken;
  taken.sent.resize(ranks.size());
  for (int64_t row = 0; row < rows; ++row) {
    for (int i = 0; i < top_k; ++i) {
      const int owner = owners[own.ids[row * top_k + i]];
      if (owner < 0 || (!taken.sent[owner].empty() && taken.sent[owner].back() == row)) continue;
      taken.sent[owner].push_back(static_cast<int32_t>(row));
    }
  }
  // How many, then their experts and weights.
  std::vector<int64_t> sizes(ranks.size()), counts(ranks.size());
  for (int q = 0; q < ranks.size(); ++q) sizes[q] = static_cast<int64_t>(taken.sent[q].size());
  SwapParcels(ranks, [&](int to, int from) -> Parcel { return {&sizes[to], 8, &counts[from], 8}; });
  taken.edges = {0};
  for (const int64_t count : counts) taken.edges.push_back(taken.edges.back() + count);
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
  SwapParcels(ranks, [&](int to, int from) -> Parcel {
    ids.clear();
    for (const int32_t row : taken.sent[to])
      ids.insert(ids.end(), own.ids + row * top_k, own.ids + (row + 1) * top_k);
    return {ids.data(), slot_bytes(sizes[to]), taken.routing.ids + taken.edges[from] * top_k,
            slot_bytes(counts[from])};
  });
  SwapParcels(ranks, [&](int to, int from) -> Parcel {
    weights.clear();
    for (const int32_t row : taken.sent[to])
      weights.insert(weights.end(), own.weights + row * top_k, own.weights + (row + 1) * top_k);
    return {weights.data(), slot_bytes(sizes[to]), taken.routing.weights + taken.edges[from] * top_k,
            slot_bytes(counts[from])};
  });
  kernels::SortEntries(shape, taken.count, &taken.routing);
  return taken;
}

void SendRows(const Context& c, const ExpertRows& rows, Matrix mine, Matrix in) {
  const int64_t row_bytes = mine.cols * static_cast<int64_t>(sizeof(float));
  const Workspace::Mark mark = c.workspace->Here();
  size_t most = 0;
  for (const std::vector<int32_t>& sent : rows.sent) most = std::max(most, sent.size());
  const Matrix out = c.workspace->NewRows(static_cast<int64_t>(most), mine.cols);
  SwapParcels(ExpertRanks(c), [&](int to, int from) -> Parcel {
    const auto count = static_cast<int64_t>(rows.sent[to].size());
    c.backend->GatherRows({mine, rows.sent[to].data(), out.Rows(0, count)});
    return {out.f32(), count * row_bytes, in.f32() + rows.edges[from] * mine.cols,
            (rows.edges[from + 1] - rows.edges[from]) * row_bytes};
  });
  c.workspace->Release(mark);
}

void ReturnSlots(const Context& c, const kernels::RouteShape& shape, const ExpertRows& rows,
                 const kernels::Routing& own, const float* values, Matrix mine) {
  TEMPER_CHECK(c.backend->host_memory());
  const int64_t slots = mine.rows * shape.top_k, top_k = shape.top_k;
  if (TensorRanks(c).counts_only()) {
    SwapParcels(ExpertRanks(c), [&](int peer, int) -> Parcel {
      const auto bytes = static_cast<int64_t>(rows.sent.empty() ? 0 : rows.sent[peer].size()) * top_k * 4;
      return {nullptr, bytes, nullptr, bytes};
    });
    return GatherShares(nullptr, slots, TensorRanks(c));
  }
  float* const to = mine.f32();
  if (!RowsAreSent(c)) {
    std::copy_n(values, slots, to);
  } else {
    const std::vector<int> owners = OwnersOf(c, shape);
    std::vector<std::vector<float>> came(rows.sent.size());
    SwapParcels(ExpertRanks(c), [&](int peer, int from) -> Parcel {
      came[from].resize(rows.sent[from].size() * top_k);
      return {values + rows.edges[peer] * top_k, (rows.edges[peer + 1] - rows.edges[peer]) * top_k * 4,
              came[from].data(), static_cast<int64_t>(came[from].size() * sizeof(float))};
    });
    for (size_t q = 0; q < came.size(); ++q) {
      for (size_t i = 0; i < came[q].size(); ++i) {
        const int64_t slot = rows.sent[q][i / top_k] * top_k + static_cast<int64_t>(i) % top_k;
        if (owners[own.ids[slot]] == static_cast<int>(q)) to[slot] = came[q][i];
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
  const Matrix sum = sums.Rows(0, task.out.rows);
  const Workspace::Mark mark = c.workspace->Here();
  part.out = RowsAreSent(c) ? c.workspace->NewRows(rows.count, sum.cols) : sum;
  c.backend->CombineExperts(part);
  if (RowsAreSent(c)) ReturnRows(c, rows, part.out, sum);
  c.workspace->Release(mark);
  SumAcross(c, sums);
  c.backend->Copy(sum, task.out);
  if (task.shared) {
    shared.AddSharedBias(c, task.shared);
    c.backend->Add(task.shared, task.out);
  }
  if (task.residual) c.backend->Add(task.residual, task.out);
}

void ScatterAcross(const Context& c, const ExpertRows& rows, const kernels::ScatterExpertsTask& task) {
  kernels::ScatterExpertsTask part = task;
  part.add = {};
  const Workspace::Mark mark = c.workspace->Here();
  if (RowsAreSent(c)) part.dx = c.workspace->NewRows(rows.count, task.dx.cols);
  c.backend->ScatterExperts(part);
  if (RowsAreSent(c)) ReturnRows(c, rows, part.dx, task.dx);
  c.workspace->Release(mark);
  SumAcross(c, task.dx);
  if (task.add) c.backend->Add(task.add, task.dx);
}

std::vector<int64_t> RankEdges(const ExpertRows& rows, int64_t first, int64_t count) {
  std::vector<int64_t> edges;
  const auto ranks = static_cast<int64_t>(rows.edges.size()) - 1;
  if (rows.even) {
    for (int64_t r = 0; r <= ranks; ++r) edges.push_back(count * r / ranks);
    return edges;
  }
  const int32_t* const begin = rows.routing.row + first;
  for (const int64_t edge : rows.edges) edges.push_back(std::lower_bound(begin, begin + count, edge) - begin);
  return edges;
}

}  // namespace temper
