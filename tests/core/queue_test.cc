// SPDX-License-Identifier: Apache-2.0
#include "core/queue.h"

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace temper {
namespace {

TEST(Queue, GivesItemsInOrderAndEndsWhenClosedAndEmpty) {
  Queue<int> queue("rollouts", 3);
  EXPECT_EQ(queue.name(), "rollouts");
  EXPECT_TRUE(queue.Push(1));
  EXPECT_TRUE(queue.Push(2));
  queue.Close();
  queue.Close();
  EXPECT_FALSE(queue.Push(3));
  EXPECT_EQ(queue.Pop(), 1);
  EXPECT_EQ(queue.Pop(), 2);
  EXPECT_EQ(queue.Pop(), std::nullopt);
  EXPECT_THROW(Queue<int>("none", 0), InternalError);
}

TEST(Queue, HoldsNoMoreThanItsCapacityAndLosesNothing) {
  constexpr int kProducers = 3, kConsumers = 3, kEach = 3'000;
  Queue<std::unique_ptr<int>> queue("work", 4);
  std::vector<std::atomic<int>> seen(kProducers * kEach);
  std::atomic<bool> too_many{false};
  std::vector<std::thread> producers, consumers;
  for (int p = 0; p < kProducers; ++p) {
    producers.emplace_back([&, p] {
      for (int i = 0; i < kEach; ++i) {
        queue.Push(std::make_unique<int>(p * kEach + i));
        if (queue.size() > 4) too_many = true;
      }
    });
  }
  std::atomic<int> wrong_order{0};
  for (int c = 0; c < kConsumers; ++c) {
    consumers.emplace_back([&] {
      std::vector<int> last(kProducers, -1);
      while (auto item = queue.Pop()) {
        ++seen[**item];
        const int producer = **item / kEach;
        if (**item <= last[producer]) ++wrong_order;
        last[producer] = **item;
      }
    });
  }
  for (std::thread& thread : producers) thread.join();
  queue.Close();
  for (std::thread& thread : consumers) thread.join();
  EXPECT_FALSE(too_many);
  EXPECT_EQ(wrong_order, 0);
  for (const auto& count : seen) ASSERT_EQ(count, 1);
}

TEST(Queue, CloseWakesThoseWhoWaitOnEitherSide) {
  Queue<int> full("full", 1), empty("empty", 1);
  ASSERT_TRUE(full.Push(1));
  std::atomic<int> woken{0};
  std::thread pusher([&] { woken += !full.Push(2); });
  std::thread popper([&] { woken += !empty.Pop().has_value(); });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(woken, 0);
  full.Close();
  empty.Close();
  pusher.join();
  popper.join();
  EXPECT_EQ(woken, 2);
}

}  // namespace
}  // namespace temper
