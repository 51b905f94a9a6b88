// SPDX-License-Identifier: Apache-2.0
#include "core/deal.h"

#include <algorithm>

#include "core/check.h"
#include "core/random.h"
#include "gtest/gtest.h"

namespace temper {
namespace {

using Leaves = std::vector<std::vector<int64_t>>;

// The rule, said slowly: again and again the longest item that is left, to the emptiest leaf.
Leaves Slowly(const std::vector<int64_t>& tokens, int64_t leaves) {
  Leaves dealt(leaves);
  std::vector<int64_t> load(leaves, 0);
  std::vector<bool> gone(tokens.size(), false);
  for (size_t round = 0; round < tokens.size(); ++round) {
    int64_t item = -1;
    for (size_t i = 0; i < tokens.size(); ++i) {
      if (!gone[i] && (item < 0 || tokens[i] > tokens[item])) item = static_cast<int64_t>(i);
    }
    int64_t leaf = 0;
    for (int64_t l = 1; l < leaves; ++l) {
      if (load[l] < load[leaf]) leaf = l;
    }
    gone[item] = true;
    load[leaf] += tokens[item];
    dealt[leaf].push_back(item);
  }
  for (auto& items : dealt) std::sort(items.begin(), items.end());
  return dealt;
}

TEST(Deal, GivesTheLongestFirstToTheEmptiestLeaf) {
  EXPECT_EQ(Deal({3, 9, 4, 5}, 2), (Leaves{{0, 1}, {2, 3}}));
  EXPECT_EQ(Deal({5, 5, 5}, 2), (Leaves{{0, 2}, {1}}));
  EXPECT_EQ(Deal({1}, 3), (Leaves{{0}, {}, {}}));
  EXPECT_EQ(Deal({}, 2), (Leaves{{}, {}}));
  EXPECT_THROW(Deal({1}, 0), InternalError);
}

TEST(Deal, EqualsTheSlowRuleWithManyTies) {
  RandomStream random(1, Purpose::kTask);
  for (int64_t items : {1, 2, 7, 32, 65}) {
    for (int64_t leaves : {1, 2, 8}) {
      std::vector<int64_t> tokens(items);
      for (int64_t& n : tokens) n = static_cast<int64_t>(random.NextBelow(6));
      EXPECT_EQ(Deal(tokens, leaves), Slowly(tokens, leaves)) << items << " " << leaves;
    }
  }
}

}  // namespace
}  // namespace temper
