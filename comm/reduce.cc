// SPDX-License-Identifier: Apache-2.0
#include "comm/reduce.h"

#include <algorithm>
#include <vector>

#include "core/check.h"

namespace temper {
namespace {

constexpr int kTag = 1;

// Between the ranks' shares of n values.
std::vector<int64_t> ShareEdges(int64_t n, const Communicator& comm) {
  std::vector<int64_t> edges;
  for (int r = 0; r <= comm.size(); ++r) edges.push_back(ShareOf(n, r, comm.size()).begin);
  return edges;
}

}  // namespace

Share ShareOf(int64_t n, int64_t rank, int64_t ranks) {
  const auto edge = [&](int64_t r) { return n / ranks * r + n % ranks * r / ranks; };
  return {edge(rank), edge(rank + 1)};
}

void SumIntegers(int64_t n, absl::FunctionRef<void(int64_t, absl::Span<int64_t>)> add,
                 absl::FunctionRef<void(int64_t, absl::Span<const int64_t>)> take, Communicator& comm,
                 int64_t chunk) {
  TEMPER_CHECK(n >= 0 && chunk >= 1 && !comm.device_memory());
  const int rank = comm.rank(), ranks = comm.size();
  const int next = (rank + 1) % ranks, before = (rank + ranks - 1) % ranks;
  const int64_t longest = (n + ranks - 1) / ranks;
  std::vector<int64_t> sums, received;
  for (int64_t offset = 0; offset < longest; offset += chunk) {
    // The part of a rank's share that is summed now.
    const auto part = [&](int of) {
      const Share share = ShareOf(n, of, ranks);
      return Share{std::min(share.begin + offset, share.end),
                   std::min(share.begin + offset + chunk, share.end)};
    };
    // The sums for rank r set out at r + 1 and end at r; each rank on the way adds its own.
    Share range = part(before);
    const bool counts_only = comm.counts_only();
    if (!counts_only) sums.assign(range.end - range.begin, 0);
    add(range.begin, absl::MakeSpan(sums));
    for (int step = 1; step < ranks; ++step) {
      const int64_t out = range.end - range.begin;
      range = part((rank - 1 - step + 2 * ranks) % ranks);
      if (!counts_only) received.resize(range.end - range.begin);
      comm.SendReceive({sums.data(), out * sizeof(int64_t), next, received.data(),
                        (range.end - range.begin) * sizeof(int64_t), before, kTag});
      add(range.begin, absl::MakeSpan(received));
      sums.swap(received);
    }
    take(range.begin, sums);
  }
}

void GatherShares(float* buffer, int64_t n, Communicator& comm) {
  GatherParts(buffer, ShareEdges(n, comm), comm);
}

void GatherParts(float* buffer, absl::Span<const int64_t> edges, Communicator& comm) {
  std::vector<int64_t> in_bytes;
  for (const int64_t edge : edges) in_bytes.push_back(edge * static_cast<int64_t>(sizeof(float)));
  GatherBytes(buffer, in_bytes, comm);
}

void GatherBytes(void* buffer, absl::Span<const int64_t> edges, Communicator& comm) {
  const int rank = comm.rank(), ranks = comm.size();
  TEMPER_CHECK(static_cast<int>(edges.size()) == ranks + 1);
  char* const bytes = static_cast<char*>(buffer);
  const int next = (rank + 1) % ranks, before = (rank + ranks - 1) % ranks;
  for (int step = 0; step + 1 < ranks; ++step) {
    const int out = (rank - step + ranks) % ranks, in = (rank - step - 1 + ranks) % ranks;
    const auto length = [&](int r) { return static_cast<size_t>(edges[r + 1] - edges[r]); };
    comm.SendReceive({bytes + edges[out], length(out), next, bytes + edges[in], length(in), before, kTag});
  }
}

void SumTreeParts(float* buffer, absl::Span<const int64_t> edges, Communicator& comm) {
  const int rank = comm.rank(), ranks = comm.size();
  TEMPER_CHECK(static_cast<int>(edges.size()) == ranks + 1);
  if (ranks == 1) return;
  TEMPER_CHECK((ranks == 2 || ranks == 4 || ranks == 8) && !comm.device_memory(), ranks, " ranks");
  // All ranks' floats of this rank's part, in the order of ranks.
  float* const mine = buffer + edges[rank];
  const int64_t count = edges[rank + 1] - edges[rank];
  std::vector<float> all(comm.counts_only() ? 0 : ranks * count);
  if (!comm.counts_only()) std::copy_n(mine, count, all.begin() + rank * count);
  for (int distance = 1; distance < ranks; ++distance) {
    const int to = (rank + distance) % ranks, from = (rank + ranks - distance) % ranks;
    comm.SendReceive({buffer + edges[to], (edges[to + 1] - edges[to]) * sizeof(float), to,
                      all.data() + from * count, count * sizeof(float), from, kTag});
  }
  for (int apart = 1; apart < ranks && !comm.counts_only(); apart *= 2) {
    for (int r = 0; r < ranks; r += 2 * apart) {
      float* const to = all.data() + r * count;
      const float* const other = all.data() + (r + apart) * count;
      for (int64_t i = 0; i < count; ++i) to[i] = to[i] + other[i];
    }
  }
  if (!comm.counts_only()) std::copy_n(all.begin(), count, mine);
}

void SumTree(float* buffer, int64_t n, Communicator& comm) {
  if (comm.size() == 1) return;
  const std::vector<int64_t> edges = ShareEdges(n, comm);
  SumTreeParts(buffer, edges, comm);
  GatherParts(buffer, edges, comm);
}

}  // namespace temper
