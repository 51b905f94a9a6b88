// SPDX-License-Identifier: Apache-2.0
#include "comm/reduce.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "core/check.h"

namespace temper {
namespace {

constexpr int64_t kGrain = 1 << 15;
constexpr int kTag = 1;

// to[i] = left[i] + right[i]; `to` may be either.
template <class T>
void Add(const T* left, const T* right, T* to, int64_t n, ThreadPool& pool) {
  auto add = [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) to[i] = left[i] + right[i];
  };
  pool.ParallelFor(n, kGrain, add);
}

struct Range {
  int64_t begin, end;
};

// What a rank keeps of `range` when it shares it with the partner whose number differs in `bit`, and what it
// gives.
std::pair<Range, Range> Halves(Range range, int rank, int bit) {
  const int64_t middle = range.begin + (range.end - range.begin) / 2;
  const Range low{range.begin, middle}, high{middle, range.end};
  return (rank & bit) == 0 ? std::pair(low, high) : std::pair(high, low);
}

template <class T>
void ReduceAll(T* buffer, int64_t n, Communicator& comm, ThreadPool& pool, int64_t chunk_bytes) {
  const int rank = comm.rank(), size = comm.size();
  TEMPER_CHECK(std::has_single_bit(static_cast<unsigned>(size)), "the tree over ", size,
               " ranks is not perfect");
  TEMPER_CHECK(!comm.device_memory(), "device memory has no adder yet");
  const int64_t chunk = std::max<int64_t>(1, chunk_bytes / static_cast<int64_t>(sizeof(T)));
  std::vector<T> received(size == 1 ? 0 : std::min(chunk, (n + 1) / 2));

  // Down: neighbours first, so that level k of the tree is exchange k. Each keeps half of what it had.
  std::vector<Range> ranges = {{0, n}};
  for (int bit = 1; bit < size; bit *= 2) {
    const auto [kept, given] = Halves(ranges.back(), rank, bit);
    const int64_t longer = std::max(kept.end - kept.begin, given.end - given.begin);
    for (int64_t i = 0; i < longer; i += chunk) {
      const int64_t out = std::clamp<int64_t>(given.end - given.begin - i, 0, chunk);
      const int64_t in = std::clamp<int64_t>(kept.end - kept.begin - i, 0, chunk);
      comm.SendReceive({buffer + given.begin + i, out * sizeof(T), rank ^ bit, received.data(),
                        in * sizeof(T), rank ^ bit, kTag});
      T* mine = buffer + kept.begin + i;
      if ((rank & bit) == 0) {
        Add<T>(mine, received.data(), mine, in, pool);
      } else {
        Add<T>(received.data(), mine, mine, in, pool);
      }
    }
    ranges.push_back(kept);
  }
  // Up: the same pairs in the opposite order trade what they finished.
  for (int bit = size / 2; bit >= 1; bit /= 2) {
    ranges.pop_back();
    const auto [kept, given] = Halves(ranges.back(), rank, bit);
    comm.SendReceive({buffer + kept.begin, (kept.end - kept.begin) * sizeof(T), rank ^ bit,
                      buffer + given.begin, (given.end - given.begin) * sizeof(T), rank ^ bit, kTag});
  }
}

}  // namespace

void TreeReduceAll(float* buffer, int64_t n, Communicator& comm, ThreadPool& pool, int64_t chunk_bytes) {
  ReduceAll(buffer, n, comm, pool, chunk_bytes);
}

void TreeReduceAll(double* buffer, int64_t n, Communicator& comm, ThreadPool& pool, int64_t chunk_bytes) {
  ReduceAll(buffer, n, comm, pool, chunk_bytes);
}

void LeafTree::Push(Leaf leaf) {
  size_t level = 0;
  for (; (leaves_ >> level & 1) != 0; ++level) {
    Leaf left = std::exchange(levels_[level], nullptr);
    add_(leaf, left);
    leaf = std::move(left);
  }
  if (level == levels_.size()) levels_.emplace_back();
  levels_[level] = std::move(leaf);
  ++leaves_;
}

LeafTree::Leaf LeafTree::Take() {
  TEMPER_CHECK(leaves_ > 0 && std::has_single_bit(static_cast<uint64_t>(leaves_)), leaves_,
               " leaves are no perfect tree");
  Leaf sum = std::move(levels_.back());
  levels_.clear();
  leaves_ = 0;
  return sum;
}

}  // namespace temper
