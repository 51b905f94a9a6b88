// SPDX-License-Identifier: Apache-2.0
// Gradients add as integers, so that neither order nor layout reaches the sum (docs/exactness.md): a value v
// of a leaf counts as v x 2^bits quanta, rounded to nearest, ties to even; quanta add in 64 bits; their sum
// times 2^-bits is rounded once to f32.
#pragma once

#include <cstdint>

#include "absl/types/span.h"

namespace temper::kernels {

// How values count. One of 2^62 / leaves quanta or more, or one that is not finite, is out of range: a sum
// with it means nothing. So sums of `leaves` values in range never wrap.
struct QuantaRule {
  int64_t bits = 50;   // 0 to 100
  int64_t leaves = 1;  // at least 1
};

struct QuantaScale {
  double scale = 1;    // 2^bits
  double quantum = 1;  // 2^-bits
  int64_t limit = 0;   // as bits of a double: quanta of a value are fewer
};
QuantaScale ScaleOf(const QuantaRule& rule);

// The sum of some leaves, in a backend's memory. Of one leaf: its n floats, in `first`. Of more: the upper 32
// bits of each sum in `first`, the lower ones in `second`; so two leaves are as large as their sum, and
// become it where they lie.
struct LeafSum {
  QuantaRule rule;
  int64_t n = 0;
  float* first = nullptr;
  float* second = nullptr;  // null: of one leaf
  bool empty() const { return first == nullptr; }
};

// out[i] = quanta[i] x 2^-bits. On the host.
void FromQuanta(int64_t bits, absl::Span<const int64_t> quanta, float* out);

}  // namespace temper::kernels
