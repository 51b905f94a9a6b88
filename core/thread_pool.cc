// SPDX-License-Identifier: Apache-2.0
#include "core/thread_pool.h"

#include <malloc.h>

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

// What is freed is soon wanted again: without this every update's buffers go back to the system and are
// faulted in anew, a quarter of the time of small updates.
void KeepFreedMemory() {
#if defined(__GLIBC__)
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 64 << 20);
#endif
}

inline void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

}  // namespace

// The gate of a region: its number, whether workers may still come in, and how many are inside.
constexpr uint64_t kOpen = uint64_t{1} << 31;
constexpr uint64_t Number(uint64_t gate) { return gate >> 32; }
constexpr uint64_t Inside(uint64_t gate) { return gate & (kOpen - 1); }

// A thread's ranges that nobody has taken yet.
struct alignas(64) Share {
  std::atomic<int64_t> next{0};
  int64_t end = 0;
};

struct ThreadPool::State {
  explicit State(int threads) : shares(threads) {}

  // The region in progress; written before the gate opens, read after it was passed.
  const absl::FunctionRef<void(int64_t, int64_t)>* body = nullptr;
  int64_t n = 0;
  int64_t grain = 1;
  std::vector<Share> shares;

  alignas(64) std::atomic<uint64_t> gate{0};
  alignas(64) std::atomic<bool> stop{false};

  absl::Mutex mutex;
  std::exception_ptr error ABSL_GUARDED_BY(mutex);

  void Deal() {
    const int64_t count = (n + grain - 1) / grain, threads = static_cast<int64_t>(shares.size());
    for (int64_t i = 0; i < threads; ++i) {
      shares[i].next.store(i * count / threads, std::memory_order_relaxed);
      shares[i].end = (i + 1) * count / threads;
    }
  }

  // Its own share, then the next thread's, and so on around.
  void Work(size_t thread) {
    try {
      for (size_t i = 0; i < shares.size(); ++i) {
        Share& share = shares[(thread + i) % shares.size()];
        for (;;) {
          const int64_t range = share.next.fetch_add(1, std::memory_order_relaxed);
          if (range >= share.end) break;
          (*body)(range * grain, std::min(n, (range + 1) * grain));
        }
      }
    } catch (...) {
      absl::MutexLock lock(&mutex);
      if (!error) error = std::current_exception();
      for (Share& share : shares) share.next.store(share.end, std::memory_order_relaxed);
    }
  }
};

ThreadPool::ThreadPool(int threads) : threads_(threads), state_(std::make_unique<State>(threads)) {
  TEMPER_CHECK(threads >= 1, "threads is ", threads);
  KeepFreedMemory();
  for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { Worker(i); });
}

ThreadPool::~ThreadPool() {
  state_->stop.store(true);
  state_->gate.fetch_add(uint64_t{1} << 32, std::memory_order_release);
  state_->gate.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::Worker(int index) {
  State& state = *state_;
  uint64_t seen = 0;
  for (;;) {
    uint64_t gate = state.gate.load(std::memory_order_acquire);
    for (int spin = 0; Number(gate) == seen && spin < kSpins; ++spin) {
      Pause();
      gate = state.gate.load(std::memory_order_acquire);
    }
    if (Number(gate) == seen) {
      state.gate.wait(gate, std::memory_order_acquire);
      continue;
    }
    if (state.stop.load()) return;
    // A region that closed meanwhile is not waited for: the caller did the work alone.
    if ((gate & kOpen) == 0) {
      seen = Number(gate);
      continue;
    }
    if (!state.gate.compare_exchange_weak(gate, gate + 1, std::memory_order_acquire)) continue;
    seen = Number(gate);
    state.Work(index);
    const uint64_t left = state.gate.fetch_sub(1, std::memory_order_acq_rel) - 1;
    if (Inside(left) == 0 && (left & kOpen) == 0) state.gate.notify_all();
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
  state.Deal();
  const uint64_t number = Number(state.gate.load(std::memory_order_relaxed)) + 1;
  state.gate.store(number << 32 | kOpen, std::memory_order_release);
  state.gate.notify_all();
  state.Work(0);
  uint64_t gate = state.gate.fetch_and(~kOpen, std::memory_order_acq_rel) & ~kOpen;
  for (int spin = 0; Inside(gate) != 0; ++spin) {
    if (spin < kSpins) {
      Pause();
    } else {
      state.gate.wait(gate, std::memory_order_acquire);
    }
    gate = state.gate.load(std::memory_order_acquire);
  }
  absl::MutexLock lock(&state.mutex);
  if (state.error) {
    std::exception_ptr error = std::exchange(state.error, nullptr);
    std::rethrow_exception(error);
  }
}

}  // namespace temper
