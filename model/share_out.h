// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>

#include "absl/types/span.h"
#include "comm/reduce.h"
#include "model/layout.h"

namespace temper {

// Cuts the trained entries of a unit (LayoutUnit), in name order and with all elements of their parts, down
// to what rank `rank` of `ranks` (Mesh::sharers) keeps: its share of routed experts, one entry's elements
// behind the other's, and its share of all else.
inline void ShareOut(absl::Span<LayoutEntry> unit, int64_t rank, int64_t ranks) {
  for (const bool experts : {false, true}) {
    const auto shared = [&](const LayoutEntry& entry) {
      return entry.trained && (entry.expert >= 0) == experts;
    };
    int64_t elements = 0, begin = 0;
    for (const LayoutEntry& entry : unit) elements += shared(entry) ? entry.elements : 0;
    const Share share = ShareOf(elements, rank, ranks);
    for (LayoutEntry& entry : unit) {
      if (!shared(entry)) continue;
      const int64_t end = begin + entry.elements;
      const int64_t first = std::clamp(share.begin, begin, end), last = std::clamp(share.end, begin, end);
      entry.first_element = first - begin;
      entry.elements = last - first;
      begin = end;
    }
  }
}

}  // namespace temper
