// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"

namespace temper {

// Which part each item goes to (samples to gradient leaves, leaves or prompts to ranks), as a function of the
// items' sizes alone (docs/exactness.md, E3): the largest first, ties by index, to the part with the least
// so far, ties to the lower part. Items of a part are in the order of their indices. parts >= 1; parts may
// stay empty.
std::vector<std::vector<int64_t>> Deal(absl::Span<const int64_t> sizes, int64_t parts);

}  // namespace temper
