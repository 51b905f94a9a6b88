// SPDX-License-Identifier: Apache-2.0
#include "core/deal.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <queue>

#include "core/check.h"

namespace temper {

std::vector<std::vector<int64_t>> Deal(absl::Span<const int64_t> sizes, int64_t parts) {
  TEMPER_CHECK(parts >= 1);
  std::vector<int64_t> order(sizes.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return sizes[a] > sizes[b]; });
  using Load = std::pair<int64_t, int64_t>;  // size, part: the least of these is next
  std::priority_queue<Load, std::vector<Load>, std::greater<Load>> loads;
  for (int64_t part = 0; part < parts; ++part) loads.push({0, part});
  std::vector<std::vector<int64_t>> dealt(parts);
  for (const int64_t item : order) {
    const auto [load, part] = loads.top();
    loads.pop();
    dealt[part].push_back(item);
    loads.push({load + sizes[item], part});
  }
  for (std::vector<int64_t>& items : dealt) std::sort(items.begin(), items.end());
  return dealt;
}

}  // namespace temper
