// SPDX-License-Identifier: Apache-2.0
// Inside the kernels room: one parallel region over the pieces of several operations, and scratch memory.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/huge_pages.h"
#include "core/thread_pool.h"

namespace temper::kernels {

inline int64_t Ceil(int64_t a, int64_t b) { return (a + b - 1) / b; }

// The calling thread's own memory; the next call may move it.
inline float* Scratch(int64_t floats) {
  static thread_local FloatBuffer scratch;
  return scratch.Reserve(floats);
}

// Numbers the pieces of operations through. Keeps its memory when cleared.
class Pieces {
 public:
  void Clear() {
    first_.assign(1, 0);
    work_ = 0;
  }
  // The next operation has `count` pieces and `work` multiplications in all.
  void Add(int64_t count, double work) {
    first_.push_back(first_.back() + count);
    work_ += work;
  }
  int64_t total() const { return first_.back(); }

  // Calls piece(operation, its piece), threads sharing them out, about 10 microseconds at a time.
  template <typename Piece>
  void Run(ThreadPool& pool, const Piece& piece) const {
    if (total() == 0) return;
    const double each = std::max(work_ / static_cast<double>(total()), 1.0);
    const int64_t grain = std::max<int64_t>(1, static_cast<int64_t>(400e3 / each));
    pool.ParallelFor(total(), grain, [&](int64_t begin, int64_t end) {
      size_t operation = std::upper_bound(first_.begin(), first_.end(), begin) - first_.begin() - 1;
      for (int64_t p = begin; p < end; ++p) {
        while (p >= first_[operation + 1]) ++operation;
        piece(operation, p - first_[operation]);
      }
    });
  }

 private:
  std::vector<int64_t> first_ = {0};
  double work_ = 0;
};

}  // namespace temper::kernels
