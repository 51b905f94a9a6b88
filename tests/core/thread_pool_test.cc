// SPDX-License-Identifier: Apache-2.0
#include "core/thread_pool.h"

#include <atomic>
#include <numeric>
#include <stdexcept>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace temper {
namespace {

TEST(ThreadPool, CoversEveryIndexOnceInPiecesOfAtMostTheGrain) {
  for (int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    for (int64_t n : {0, 1, 2, 7, 64, 1000}) {
      for (int64_t grain : {1, 3, 64, 5000}) {
        std::vector<int> touched(n, 0);  // plain ints: ThreadSanitizer sees two threads on one index
        ThreadPool* p = &pool;
        p->ParallelFor(n, grain, [&](int64_t begin, int64_t end) {
          ASSERT_LE(end - begin, grain);
          ASSERT_LT(begin, end);
          for (int64_t i = begin; i < end; ++i) ++touched[i];
        });
        EXPECT_EQ(touched, std::vector<int>(n, 1)) << threads << " " << n << " " << grain;
      }
    }
  }
}

TEST(ThreadPool, EachThreadBeginsWithItsOwnShare) {
  ThreadPool pool(2);
  for (int round = 0; round < 100; ++round) {
    std::atomic<int64_t> first_of_caller{-1}, first_of_worker{-1};
    const std::thread::id caller = std::this_thread::get_id();
    pool.ParallelFor(9, 1, [&](int64_t begin, int64_t) {
      std::atomic<int64_t>& mine = std::this_thread::get_id() == caller ? first_of_caller : first_of_worker;
      int64_t none = -1;
      mine.compare_exchange_strong(none, begin);
      // Nobody goes on before both are there.
      while (first_of_caller < 0 || first_of_worker < 0) std::this_thread::yield();
    });
    ASSERT_EQ(first_of_caller, 0);
    ASSERT_EQ(first_of_worker, 4);
  }
}

TEST(ThreadPool, WhatARegionWroteIsSeenAfterItAndByTheNext) {
  ThreadPool pool(4);
  std::vector<int64_t> data(256, 0);
  for (int round = 0; round < 3'000; ++round) {
    pool.ParallelFor(data.size(), 16, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) data[data.size() - 1 - i] += 1;
    });
  }
  EXPECT_EQ(std::accumulate(data.begin(), data.end(), int64_t{0}), 256 * 3'000);
}

TEST(ThreadPool, WorkersWakeAfterTheySlept) {
  ThreadPool pool(3);
  for (int round = 0; round < 50; ++round) {
    std::atomic<int> sum{0};
    pool.ParallelFor(100, 1, [&](int64_t begin, int64_t) { sum += begin; });
    EXPECT_EQ(sum, 4950);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

TEST(ThreadPool, PassesAnExceptionOnAndCanBeUsedAgain) {
  for (int threads : {1, 4}) {
    ThreadPool pool(threads);
    for (int round = 0; round < 200; ++round) {
      EXPECT_THROW(pool.ParallelFor(100, 1,
                                    [&](int64_t begin, int64_t) {
                                      if (begin % 10 == 3) throw std::runtime_error("no");
                                    }),
                   std::runtime_error);
      std::atomic<int> count{0};
      pool.ParallelFor(100, 1, [&](int64_t, int64_t) { ++count; });
      ASSERT_EQ(count, 100);
    }
  }
}

TEST(ThreadPool, ManyPoolsStartAndStop) {
  for (int i = 0; i < 200; ++i) {
    ThreadPool pool(1 + i % 5);
    if (i % 2) pool.ParallelFor(10, 1, [](int64_t, int64_t) {});
  }
}

}  // namespace
}  // namespace temper
