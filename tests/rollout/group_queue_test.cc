// SPDX-License-Identifier: Apache-2.0
#include "rollout/group_queue.h"

#include "gtest/gtest.h"

namespace temper {
namespace {

TEST(GroupQueue, EachRankBeginsTheLongestOfItsOwnAndThenThoseOfWhoHasTheMostLeft) {
  // Dealt: rank 0 gets 9, 3 and 1 (groups 1, 4, 0); rank 1 gets 7 and 6 (groups 2, 3).
  GroupQueue queue({{1, 4}, {9, 4}, {7, 2}, {6, 4}, {3, 4}}, 2);
  EXPECT_EQ(queue.ranks(), 2);
  EXPECT_EQ(queue.samples(2), 2);
  EXPECT_EQ(queue.TakeOwn(1), 2);
  EXPECT_EQ(queue.TakeOwn(1), 3);
  EXPECT_EQ(queue.TakeOwn(1), -1);
  EXPECT_EQ(queue.taken_over(), 0);
  EXPECT_EQ(queue.Take(1), 1);
  EXPECT_EQ(queue.Take(0), 4);
  EXPECT_EQ(queue.taken_over(), 1);
  EXPECT_FALSE(queue.empty());
  EXPECT_EQ(queue.Take(1), 0);
  EXPECT_TRUE(queue.empty());
  EXPECT_EQ(queue.Take(0), -1);
  EXPECT_EQ(queue.taken_over(), 2);
}

TEST(GroupQueue, OfNoGroupsAndMoreRanksThanGroups) {
  EXPECT_EQ(GroupQueue({}, 3).Take(2), -1);
  GroupQueue queue({{5, 1}}, 3);
  EXPECT_EQ(queue.TakeOwn(2), -1);
  queue.Clear();
  EXPECT_TRUE(queue.empty());
  EXPECT_EQ(queue.Take(0), -1);
}

}  // namespace
}  // namespace temper
