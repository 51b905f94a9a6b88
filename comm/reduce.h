// SPDX-License-Identifier: Apache-2.0
// The only code that adds across ranks: integers of 64 bits, which have one sum in any order, on any number
// of ranks; and floats, in one order.
#pragma once

#include <cstdint>

#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "comm/communicator.h"

namespace temper {

// Values that ranks share out: rank r of R has those from n r / R on, up to n (r + 1) / R, rounded down.
struct Share {
  int64_t begin = 0, end = 0;
};
Share ShareOf(int64_t n, int64_t rank, int64_t ranks);

// Each rank ends with the sums of its share. `add` adds this rank's integers [begin, begin + sums.size()) to
// `sums`; `take` gets the finished ones, each once, when `add` has been asked for all ranks' values that far.
// In a ring: each rank sends 1 - 1/ranks of the integers, and holds 2 `chunk` of them. Overflow wraps. Throws
// CommError.
void SumIntegers(int64_t n, absl::FunctionRef<void(int64_t begin, absl::Span<int64_t> sums)> add,
                 absl::FunctionRef<void(int64_t begin, absl::Span<const int64_t> sums)> take,
                 Communicator& comm, int64_t chunk = 1 << 19);

// Each rank's share of `buffer` goes to all others. In a ring: each rank sends 1 - 1/ranks of the floats.
// Throws CommError.
void GatherShares(float* buffer, int64_t n, Communicator& comm);
// The same of shares of any lengths: rank r's are the floats, or the bytes, [edges[r], edges[r + 1]).
void GatherParts(float* buffer, absl::Span<const int64_t> edges, Communicator& comm);
void GatherBytes(void* buffer, absl::Span<const int64_t> edges, Communicator& comm);

// Every rank ends with the sums of all ranks' floats, the same bits: a binary tree over the ranks in their
// order, of whom there are 1, 2, 4 or 8. So sums over the subtrees of a tree become those over the whole.
// Each rank sends 2 - 2/ranks of the floats. Throws CommError.
void SumTree(float* buffer, int64_t n, Communicator& comm);
// The same sums, of which each rank ends with its own alone: rank r with the floats [edges[r], edges[r + 1]),
// the others are left as they were. Each sends all but its own.
void SumTreeParts(float* buffer, absl::Span<const int64_t> edges, Communicator& comm);

}  // namespace temper
