// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "comm/communicator.h"
#include "core/thread_pool.h"

namespace temper {

// The only code that adds across ranks: one binary tree, ((b0 + b1) + (b2 + b3)) + ..., the lower rank on the
// left, the same bits on every rank, backend and machine. The number of ranks is a power of two. Every rank
// ends with the sum in `buffer`. Halving and doubling (Thakur, Rabenseifner and Gropp, 2005): each rank sends
// and receives 2 (1 - 1/ranks) times the buffer, and adds 1 - 1/ranks of it; beside it there are at most
// `chunk_bytes` of memory. Throws CommError.
void TreeReduceAll(float* buffer, int64_t n, Communicator& comm, ThreadPool& pool,
                   int64_t chunk_bytes = 4 << 20);
void TreeReduceAll(double* buffer, int64_t n, Communicator& comm, ThreadPool& pool,
                   int64_t chunk_bytes = 4 << 20);

// The same tree over the leaves of one rank, which come one after another. Like a binary counter: of L leaves
// at most log2(L) + 1 buffers are alive, the one being filled among them. With R ranks of L/R consecutive
// leaves each, Take and then TreeReduceAll have the bits of one rank with all L leaves.
class LeafTree {
 public:
  // A leaf's memory, wherever that is.
  using Leaf = std::shared_ptr<void>;
  // to = to + from, leaf by leaf.
  using Adder = std::function<void(const Leaf& from, const Leaf& to)>;
  explicit LeafTree(Adder add) : add_(std::move(add)) {}

  void Push(Leaf leaf);
  // The sum; the number of leaves pushed is a power of two. The tree is empty again.
  Leaf Take();
  int64_t leaves() const { return leaves_; }

 private:
  const Adder add_;
  int64_t leaves_ = 0;
  std::vector<Leaf> levels_;  // levels_[k]: the sum of 2^k leaves, or null; a bit of leaves_ each
};

}  // namespace temper
