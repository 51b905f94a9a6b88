// SPDX-License-Identifier: Apache-2.0
// The machine behind namespace sim: a block's threads are fibers of the calling thread, which run until they
// wait, in the order of the stream; blocks run one after another, in a hostile order too. It ends a launch
// with a Fault that names kernel, block, thread and place, for:
// - an access outside of the memory that a kernel was given, or not aligned to its size; or to the host's
//   memory, where the stream says that kernels have none of it;
// - two accesses to one place by two threads, one of them a write, without a barrier between them: in shared
//   memory, and in global memory, where nothing orders two blocks;
// - an access to what a copy is still on its way to, or a copy that nobody waits for;
// - a barrier, a shuffle or a vote that some threads never come to, or for which those that it is for come
//   from different lines of the kernel: a device does not take them for one.
// Shared memory begins as NaN in each block.
#pragma once

#include <setjmp.h>
#include <ucontext.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/functional/function_ref.h"
#include "kernels/cuda/stream.h"

namespace temper::kernels::sim {

// What a tensor core of sm_90 makes of 16 pairs of bf16 and an f32, mma.sync and a step of wgmma alike: exact
// products and c, each cut toward zero at 2^-25 of the largest one's power of two (not below 2^-133), added
// exactly, cut toward zero to f32 (MMA-Sim, arXiv 2511.10909; Khattak and Mikaitis, arXiv 2512.07004, whose
// measured outputs of an H100 and an H200 it has). A product's power is that of its factors, so it lies in
// [1, 4) of it. Beyond the largest f32 lies infinity; a NaN is 0x7fffffff.
float FusedDot(const uint16_t (&a)[16], const uint16_t (&b)[16], float c);

// What the words of arithmetic have done, of f32 and of f64: an fma counts as two.
struct Flops {
  int64_t f32 = 0, f64 = 0;
};
inline constinit thread_local Flops flops;

struct Fault : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Who has been at a place of memory since its last write that all have seen.
struct Visits {
  int32_t writer = -1, reader = -1;
  int32_t writer_block = 0, reader_block = 0;
  uint32_t write_sync = 0, write_warp_sync = 0;  // barriers that the writer's block and warp had passed
  uint32_t read_sync = 0, read_warp_sync = 0;
  bool many_readers = false;  // of the reader's warp, behind its last barrier
  bool many_warps = false;    // read, behind the block's last barrier
  bool many_blocks = false;   // read
  bool by_atomic = false;     // the write
  int32_t copying = -1;       // the thread whose copy is on its way
};

enum class Access { kRead, kWrite, kAtomic };

// An array of shared memory.
struct SharedArray {
  const char* name;
  size_t bytes;
  std::unique_ptr<std::byte[]> data;
  std::vector<Visits> visits;  // of each 4 bytes
};

struct AsyncCopy {
  void* to;
  const void* from;
  int bytes, valid;
  Visits* visits;
  int64_t group;
};

// A word for which all lanes of a warp, or all threads of a block, come together, and the line that has it.
struct Meeting {
  // As a default argument: the line of the caller.
  static Meeting Of(const char* word, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    return {word, file, line};
  }
  const char* word = nullptr;
  const char* file = nullptr;
  int line = 0;
};

// A kernel's name, for a person.
std::string Demangled(const char* name);

struct LaunchSize {
  const char* kernel;  // its type's name, mangled
  int64_t blocks;
  int threads;
};

class Machine {
 public:
  // Runs the body once for each thread of each block. Throws Fault.
  void Run(const Stream& stream, const LaunchSize& size, absl::FunctionRef<void()> body);

  // Of the thread that runs now.
  int thread() const { return thread_; }
  int block() const { return static_cast<int>(block_); }
  bool watches() const { return stream_.watched; }
  bool counts() const { return stream_.traffic != nullptr; }
  bool takes_host_memory() const { return stream_.host_memory; }
  void Sync(const Meeting& meeting);
  void WarpSync(const Meeting& meeting);
  // What lane `from` of the warp gives; all lanes give something.
  uint64_t Exchange(uint64_t value, int from, const Meeting& meeting);
  uint32_t Ballot(bool b, const Meeting& meeting);
  // The thread's next array, the same for all threads.
  SharedArray& NextShared(const char* name, size_t bytes);
  void OnShared(const SharedArray& array, Visits& visits, Access access);
  void OnGlobal(const void* address, Access access);
  // An element of so many bytes is accessed, of a stream that counts.
  void Count(const void* address, int64_t bytes, Access access);
  void Copy(AsyncCopy copy);
  void Commit() { ++fibers_[thread_].group; }
  void Wait(int groups);
  [[noreturn]] void Fail(const std::string& what) const;

 private:
  enum class State { kReady, kAtBarrier, kAtWarpBarrier, kDone };
  struct Fiber {
    ucontext_t context;  // where it begins
    jmp_buf jump;        // and where it goes on
    std::unique_ptr<std::byte[]> stack;
    bool alive = false;  // its context is that of the loop in Enter
    bool begun = false;  // and it has been there
    State state = State::kDone;
    size_t next_shared = 0;
    int64_t group = 0;
    std::vector<AsyncCopy> copies;
    void *asan_stack = nullptr, *tsan = nullptr;
  };

  static void Enter();
  void RunBlock();
  int Next();
  static void Begin(Fiber& fiber);
  void Resume(int thread);
  void Leap();
  void Yield();
  // Of the running thread's warp: waits until all of its lanes are there.
  void Arrive(const Meeting& meeting);
  bool Ordered(int thread, uint32_t sync, uint32_t warp_sync) const;
  // A word on what is wrong with the access; empty if nothing is.
  std::string Visit(Visits& visits, Access access);
  std::string Deadlock() const;

  Stream stream_;
  LaunchSize size_ = {};
  const absl::FunctionRef<void()>* body_ = nullptr;
  std::deque<Fiber> fibers_;  // a context does not bear being moved
  std::vector<int> waiting_in_warp_;
  std::vector<Meeting> meetings_;  // of each warp, what those that wait have come for
  Meeting barrier_;                // and of the block
  std::vector<uint32_t> warp_syncs_;
  std::vector<std::vector<uint64_t>> exchanged_ = std::vector<std::vector<uint64_t>>(2);
  std::vector<uint8_t> exchange_turn_;
  std::deque<SharedArray> shared_;  // fibers point into it
  size_t shared_count_ = 0;
  std::unordered_map<uint64_t, Visits> global_;
  struct Counted {
    bool read = false, written = false;
  };
  std::unordered_map<const void*, Counted> counted_;  // places of global memory
  std::mt19937 random_;
  ucontext_t main_;
  jmp_buf main_jump_;
  int thread_ = 0, waiting_ = 0, greedy_warp_ = 0;
  int64_t block_ = 0;
  uint32_t syncs_ = 0;
  std::string fault_;
  const void* main_stack_ = nullptr;
  size_t main_stack_bytes_ = 0;
  void* main_tsan_ = nullptr;
};

// The calling thread's machine.
Machine& Now();

}  // namespace temper::kernels::sim
