// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "absl/functional/function_ref.h"

namespace temper {

// The threads that share out one kernel's work. The caller is one of them: a pool of 1 starts no thread.
// Made for regions of microseconds: workers spin for a moment before they sleep. One region runs at a time;
// ParallelFor is called by one thread only and never from inside a region. Results never depend on the number
// of threads: a region's pieces write disjoint outputs. A process with a pool keeps up to 64 MiB of what it
// frees.
class ThreadPool {
 public:
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return threads_; }

  // Calls body(begin, end) for ranges that cover [0, n) once, each at most `grain` long; blocks until all are
  // done. A thread begins with its own share of them, the same one each time, whose memory its caches may
  // still hold; one that is done with it takes from the others', so uneven pieces balance. An exception of
  // `body` is passed on.
  void ParallelFor(int64_t n, int64_t grain, absl::FunctionRef<void(int64_t begin, int64_t end)> body);

 private:
  struct State;
  void Worker(int index);

  const int threads_;
  std::unique_ptr<State> state_;
  std::vector<std::thread> workers_;
};

}  // namespace temper
