// SPDX-License-Identifier: Apache-2.0
#include "trainer/update/packing.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <queue>

#include "core/check.h"

namespace temper {

std::vector<std::vector<int64_t>> DealLeaves(absl::Span<const int64_t> tokens, int64_t leaves) {
  TEMPER_CHECK(leaves >= 1);
  std::vector<int64_t> order(tokens.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return tokens[a] > tokens[b]; });
  using Load = std::pair<int64_t, int64_t>;  // tokens, leaf: the least of these is next
  std::priority_queue<Load, std::vector<Load>, std::greater<Load>> loads;
  for (int64_t leaf = 0; leaf < leaves; ++leaf) loads.push({0, leaf});
  std::vector<std::vector<int64_t>> dealt(leaves);
  for (const int64_t item : order) {
    const auto [load, leaf] = loads.top();
    loads.pop();
    dealt[leaf].push_back(item);
    loads.push({load + tokens[item], leaf});
  }
  for (std::vector<int64_t>& items : dealt) std::sort(items.begin(), items.end());
  return dealt;
}

}  // namespace temper
