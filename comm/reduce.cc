// SPDX-License-Identifier: Apache-2.0
#include "comm/reduce.h"

#include <algorithm>
#include <vector>

#include "core/check.h"

namespace temper {
namespace {

constexpr int kTag = 1;

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
    sums.assign(range.end - range.begin, 0);
    add(range.begin, absl::MakeSpan(sums));
    for (int step = 1; step < ranks; ++step) {
      range = part((rank - 1 - step + 2 * ranks) % ranks);
      received.resize(range.end - range.begin);
      comm.SendReceive({sums.data(), sums.size() * sizeof(int64_t), next, received.data(),
                        received.size() * sizeof(int64_t), before, kTag});
      add(range.begin, absl::MakeSpan(received));
      sums.swap(received);
    }
    take(range.begin, sums);
  }
}

void GatherShares(float* buffer, int64_t n, Communicator& comm) {
  const int rank = comm.rank(), ranks = comm.size();
  const int next = (rank + 1) % ranks, before = (rank + ranks - 1) % ranks;
  for (int step = 0; step + 1 < ranks; ++step) {
    const Share out = ShareOf(n, (rank - step + ranks) % ranks, ranks);
    const Share in = ShareOf(n, (rank - step - 1 + ranks) % ranks, ranks);
    comm.SendReceive({buffer + out.begin, (out.end - out.begin) * sizeof(float), next, buffer + in.begin,
                      (in.end - in.begin) * sizeof(float), before, kTag});
  }
}

}  // namespace temper
