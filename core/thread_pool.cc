// SPDX-License-Identifier: Apache-2.0
#include "core/thread_pool.h"

#include <algorithm>
#include <exception>
#include <mutex>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "core/check.h"

namespace temper {
namespace {

// About 20 microseconds of spinning before a thread sleeps.
constexpr int kSpins = 4000;

inline void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

}  // namespace

struct ThreadPool::State {
  // The region in progress; written before `epoch` is raised, read after it is seen.
  const absl::FunctionRef<void(int64_t, int64_t)>* body = nullptr;
  int64_t n = 0;
  int64_t grain = 1;

  alignas(64) std::atomic<uint64_t> epoch{0};
  alignas(64) std::atomic<int64_t> next{0};
  alignas(64) std::atomic<int> running{0};
  std::atomic<bool> stop{false};

  absl::Mutex mutex;
  std::exception_ptr error ABSL_GUARDED_BY(mutex);

  void Work() {
    try {
      for (;;) {
        const int64_t begin = next.fetch_add(grain, std::memory_order_relaxed);
        if (begin >= n) return;
        (*body)(begin, std::min(n, begin + grain));
      }
    } catch (...) {
      absl::MutexLock lock(&mutex);
      if (!error) error = std::current_exception();
      next.store(n, std::memory_order_relaxed);
    }
  }
};

ThreadPool::ThreadPool(int threads) : threads_(threads), state_(std::make_unique<State>()) {
  TEMPER_CHECK(threads >= 1, "threads is ", threads);
  for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { Worker(i); });
}

ThreadPool::~ThreadPool() {
  state_->stop.store(true);
  state_->epoch.fetch_add(1);
  state_->epoch.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::Worker(int index) {
  uint64_t seen = 0;
  for (;;) {
    uint64_t epoch = state_->epoch.load(std::memory_order_acquire);
    for (int spin = 0; epoch == seen && spin < kSpins; ++spin) {
      Pause();
      epoch = state_->epoch.load(std::memory_order_acquire);
    }
    if (epoch == seen) {
      state_->epoch.wait(seen, std::memory_order_acquire);
      continue;
    }
    seen = epoch;
    if (state_->stop.load()) return;
    state_->Work();
    if (state_->running.fetch_sub(1, std::memory_order_acq_rel) == 1) state_->running.notify_one();
  }
}

void ThreadPool::ParallelFor(int64_t n, int64_t grain, absl::FunctionRef<void(int64_t, int64_t)> body) {
  if (n <= 0) return;
  grain = std::max<int64_t>(grain, 1);
  if (workers_.empty() || n <= grain) {
    for (int64_t begin = 0; begin < n; begin += grain) body(begin, std::min(n, begin + grain));
    return;
  }
  State& state = *state_;
  state.body = &body;
  state.n = n;
  state.grain = grain;
  state.next.store(0, std::memory_order_relaxed);
  state.running.store(threads_ - 1, std::memory_order_relaxed);
  state.epoch.fetch_add(1, std::memory_order_release);
  state.epoch.notify_all();
  state.Work();
  for (int spin = 0;; ++spin) {
    const int running = state.running.load(std::memory_order_acquire);
    if (running == 0) break;
    if (spin < kSpins) {
      Pause();
    } else {
      state.running.wait(running, std::memory_order_acquire);
    }
  }
  absl::MutexLock lock(&state.mutex);
  if (state.error) {
    std::exception_ptr error = std::exchange(state.error, nullptr);
    std::rethrow_exception(error);
  }
}

}  // namespace temper
