// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"

namespace temper {

// Which gradient leaf each item (a group, a document) goes to, as a function of the items' token counts alone
// (docs/exactness.md, E3): longest first, ties by index, to the leaf with the fewest tokens, ties to the
// lower leaf. Items of a leaf are in the order of their indices. leaves >= 1; leaves may stay empty.
std::vector<std::vector<int64_t>> DealLeaves(absl::Span<const int64_t> tokens, int64_t leaves);

}  // namespace temper
