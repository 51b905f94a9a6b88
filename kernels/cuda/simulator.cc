// SPDX-License-Identifier: Apache-2.0
// Its check of longjmp takes another fiber's stack for a fault.
#undef _FORTIFY_SOURCE
#include "kernels/cuda/simulator.h"

#include <cxxabi.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/check.h"

#if defined(__SANITIZE_ADDRESS__)
#define TEMPER_SANITIZED
#include <sanitizer/common_interface_defs.h>
#elif defined(__SANITIZE_THREAD__)
#define TEMPER_SANITIZED
#include <sanitizer/tsan_interface.h>
#endif

namespace temper::kernels::sim {
namespace {

constexpr size_t kStackBytes = 256 << 10;
constexpr size_t kMostShared = 48 << 10;  // of one block, without asking for more

// A number that is not finite is told by `infinite` (its sign counts) or `nan`.
struct Term {
  int64_t significand = 0;  // with its sign
  int exponent = 0;
  bool infinite = false, nan = false;
};

// Of a float's upper 8 + kFraction bits below the sign.
template <int kFraction>
Term Decoded(uint32_t bits, bool negative) {
  const uint32_t fraction = bits & ((1u << kFraction) - 1), biased = bits >> kFraction & 0xff;
  const int64_t size = biased == 0 ? fraction : fraction | 1u << kFraction;
  return {.significand = negative ? -size : size,
          .exponent = static_cast<int>(biased == 0 ? 1 : biased) - 127,
          .infinite = biased == 0xff && fraction == 0,
          .nan = biased == 0xff && fraction != 0};
}

Term Product(const Term& a, const Term& b) {
  const bool infinite = a.infinite || b.infinite;
  const bool zero = a.significand == 0 || b.significand == 0;
  return {.significand = a.significand * b.significand,
          .exponent = a.exponent + b.exponent,
          .infinite = infinite,
          .nan = a.nan || b.nan || (infinite && zero)};
}

constexpr int kLeastExponent = -133, kCut = 25;

// sum x 2^(exponent - kCut), cut toward zero.
float CutToFloat(int64_t sum, int exponent) {
  const uint64_t size = static_cast<uint64_t>(sum < 0 ? -sum : sum);
  const uint32_t sign = sum < 0 ? 0x80000000u : 0u;
  const int digits = static_cast<int>(std::bit_width(size)), top = exponent - kCut + digits - 1;
  const auto shifted = [&](int by) {
    return static_cast<uint32_t>(by >= 0 ? size << by : by > -64 ? size >> -by : 0);
  };
  if (top > 127) return std::bit_cast<float>(sign | 0x7f800000u);
  if (top < -126) return std::bit_cast<float>(sign | shifted(exponent - kCut + 149));
  return std::bit_cast<float>(sign | static_cast<uint32_t>(top + 127) << 23 |
                              (shifted(24 - digits) & 0x7fffffu));
}

bool AreSame(const char* a, const char* b) { return a == b || std::strcmp(a, b) == 0; }
bool AreOne(const Meeting& a, const Meeting& b) {
  return a.line == b.line && AreSame(a.word, b.word) && AreSame(a.file, b.file);
}
std::string TextOf(const Meeting& meeting) {
  const char* const slash = std::strrchr(meeting.file, '/');
  return absl::StrCat(meeting.word, " (", slash == nullptr ? meeting.file : slash + 1, ":", meeting.line,
                      ")");
}

}  // namespace

std::string Demangled(const char* name) {
  int status = 0;
  char* const text = abi::__cxa_demangle(name, nullptr, nullptr, &status);
  std::string out = status == 0 ? text : name;
  std::free(text);
  const size_t last = out.find("sim::");
  return last == std::string::npos ? out : out.substr(last + 5);
}

float FusedDot(const uint16_t (&a)[16], const uint16_t (&b)[16], float c) {
  Term terms[17];
  for (int k = 0; k < 16; ++k)
    terms[k] = Product(Decoded<7>(a[k], a[k] >> 15 != 0), Decoded<7>(b[k], b[k] >> 15 != 0));
  const uint32_t bits = std::bit_cast<uint32_t>(c);
  terms[16] = Decoded<23>(bits, bits >> 31 != 0);
  int largest = kLeastExponent;
  bool nan = false, above = false, below = false;
  for (const Term& term : terms) {
    if (term.significand != 0) largest = std::max(largest, term.exponent);
    nan = nan || term.nan;
    (term.significand < 0 ? below : above) |= term.infinite;
  }
  if (nan || (above && below)) return std::bit_cast<float>(0x7fffffffu);
  constexpr float kInfinite = std::numeric_limits<float>::infinity();
  if (above || below) return above ? kInfinite : -kInfinite;
  int64_t sum = 0;
  for (int k = 0; k < 17; ++k) {
    if (terms[k].significand == 0) continue;
    // In units of 2^(largest - kCut).
    const int by = terms[k].exponent - (k < 16 ? 14 : 23) - largest + kCut;
    const int64_t size = std::abs(terms[k].significand);
    const int64_t kept = by >= 0 ? size << by : by > -64 ? size >> -by : 0;
    sum += terms[k].significand < 0 ? -kept : kept;
  }
  return sum == 0 ? 0.0f : CutToFloat(sum, largest);
}

std::vector<Stream> HostileStreams() {
  return {{Order::kAscending, false, 1}, {Order::kDescending, true, 2},  {Order::kRandom, false, 3},
          {Order::kRandom, true, 4},     {Order::kGreedyWarp, false, 5}, {Order::kGreedyWarp, true, 6}};
}

Machine& Now() {
  static thread_local Machine machine;
  return machine;
}

void Machine::Fail(const std::string& what) const {
  throw Fault(
      absl::StrCat("kernel ", Demangled(size_.kernel), ", block ", block_, ", thread ", thread_, ": ", what));
}

// A fiber's life: it runs one block's thread after another, and ends with a fault.
void Machine::Enter() {
  Machine& machine = Now();
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &machine.main_stack_, &machine.main_stack_bytes_);
#endif
  for (;;) {
    try {
      (*machine.body_)();
      Fiber& fiber = machine.fibers_[machine.thread_];
      if (!fiber.copies.empty()) machine.Fail("ends while its copies are on their way");
    } catch (const Fault& fault) {
      machine.fault_ = fault.what();
    }
    machine.fibers_[machine.thread_].state = State::kDone;
    machine.Yield();
  }
}

void Machine::Begin(Fiber& fiber) {
  if (fiber.stack == nullptr) fiber.stack = std::make_unique<std::byte[]>(kStackBytes);
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = fiber.stack.get();
  fiber.context.uc_stack.ss_size = kStackBytes;
  fiber.context.uc_link = nullptr;
  makecontext(&fiber.context, &Machine::Enter, 0);
  fiber.alive = true;
  fiber.begun = false;
#if defined(__SANITIZE_THREAD__)
  if (fiber.tsan != nullptr) __tsan_destroy_fiber(fiber.tsan);
  fiber.tsan = __tsan_create_fiber(0);
#endif
}

void Machine::Resume(int thread) {
  thread_ = thread;
  Fiber& fiber = fibers_[thread];
  if (!fiber.alive) Begin(fiber);
#if defined(TEMPER_SANITIZED)
#if defined(__SANITIZE_ADDRESS__)
  void* own = nullptr;
  __sanitizer_start_switch_fiber(&own, fiber.stack.get(), kStackBytes);
#else
  main_tsan_ = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(fiber.tsan, 0);
#endif
  swapcontext(&main_, &fiber.context);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(own, nullptr, nullptr);
#endif
#else
  // A jump, unlike a change of context, is no call of the system.
  if (_setjmp(main_jump_) == 0) Leap();
#endif
}

void Machine::Leap() {
  Fiber& fiber = fibers_[thread_];
  if (std::exchange(fiber.begun, true)) _longjmp(fiber.jump, 1);
  setcontext(&fiber.context);
}

void Machine::Yield() {
  Fiber& fiber = fibers_[thread_];
#if defined(TEMPER_SANITIZED)
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&fiber.asan_stack, main_stack_, main_stack_bytes_);
#else
  __tsan_switch_to_fiber(main_tsan_, 0);
#endif
  swapcontext(&fiber.context, &main_);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fiber.asan_stack, &main_stack_, &main_stack_bytes_);
#endif
#else
  if (_setjmp(fiber.jump) == 0) _longjmp(main_jump_, 1);
#endif
}

void Machine::Run(const Stream& stream, const LaunchSize& size, absl::FunctionRef<void()> body) {
  TEMPER_CHECK(size.threads % 32 == 0 && size.threads > 0 && size.threads <= 1024, size.threads, " threads");
  if (size.blocks > kMostBlocks)
    throw std::length_error(
        absl::StrCat("kernel ", Demangled(size.kernel), ": ", size.blocks, " blocks, and 2^31 are too many"));
  stream_ = stream;
  size_ = size;
  if (stream.launched != nullptr && size.blocks > 0) stream.launched->insert(size.kernel);
  body_ = &body;
  random_.seed(stream.seed);
  global_.clear();
  counted_.clear();
  if (counts() && size.blocks > 0) stream.traffic->emplace_back();
  if (static_cast<int>(fibers_.size()) < size.threads) fibers_.resize(size.threads);
  std::vector<int64_t> blocks(size.blocks);
  std::iota(blocks.begin(), blocks.end(), 0);
  if (stream.order == Order::kDescending) std::reverse(blocks.begin(), blocks.end());
  if (stream.order == Order::kRandom || stream.order == Order::kGreedyWarp)
    std::shuffle(blocks.begin(), blocks.end(), random_);
  const Flops before = flops;
  for (const int64_t block : blocks) {
    block_ = block;
    RunBlock();
  }
  if (!counts() || size.blocks == 0) return;
  stream.traffic->back().f32 = flops.f32 - before.f32;
  stream.traffic->back().f64 = flops.f64 - before.f64;
}

void Machine::RunBlock() {
  const int threads = size_.threads, warps = threads / 32;
  shared_count_ = 0;
  waiting_ = 0;
  syncs_ = 0;
  greedy_warp_ = 0;
  thread_ = stream_.order == Order::kDescending ? threads - 1 : 0;
  waiting_in_warp_.assign(warps, 0);
  meetings_.resize(warps);
  warp_syncs_.assign(warps, 0);
  exchange_turn_.assign(threads, 0);
  for (std::vector<uint64_t>& values : exchanged_) values.assign(threads, 0);
  for (int t = 0; t < threads; ++t) {
    fibers_[t].state = State::kReady;
    fibers_[t].next_shared = 0;
    fibers_[t].group = 0;
    fibers_[t].copies.clear();
  }
  fault_.clear();
  for (int next = Next(); next >= 0 && fault_.empty(); next = Next()) Resume(next);
  const bool done = std::all_of(fibers_.begin(), fibers_.begin() + threads,
                                [](const Fiber& fiber) { return fiber.state == State::kDone; });
  if (fault_.empty() && done) return;
  // The fibers in the middle of a kernel are given up.
  std::string fault = fault_.empty() ? Deadlock() : fault_;
  for (Fiber& fiber : fibers_) fiber.alive = false;
  throw Fault(fault);
}

// The thread that goes on; -1: none can.
int Machine::Next() {
  const int threads = size_.threads;
  const auto ready = [&](int t) { return fibers_[t].state == State::kReady; };
  const auto first = [&](int begin, int end) {
    for (int t = begin; t < end; ++t) {
      if (ready(t)) return t;
    }
    return -1;
  };
  switch (stream_.order) {
    case Order::kAscending:
    case Order::kRandom: {
      const int from = stream_.order == Order::kRandom ? static_cast<int>(random_() % threads) : thread_;
      const int next = first(from, threads);
      return next >= 0 ? next : first(0, from);
    }
    case Order::kDescending:
      for (int t = thread_; t > thread_ - threads; --t) {
        if (ready((t + threads) % threads)) return (t + threads) % threads;
      }
      return -1;
    case Order::kGreedyWarp: {
      const int warps = threads / 32;
      int next = first(32 * greedy_warp_, 32 * greedy_warp_ + 32);
      for (int tries = static_cast<int>(random_() % warps), w = 0; next < 0 && w < warps; ++w) {
        greedy_warp_ = (tries + w) % warps;
        next = first(32 * greedy_warp_, 32 * greedy_warp_ + 32);
      }
      return next;
    }
  }
  return -1;
}

std::string Machine::Deadlock() const {
  int counts[4] = {};
  int ended = -1, waits = -1;
  for (int t = 0; t < size_.threads; ++t) {
    const State state = fibers_[t].state;
    ++counts[static_cast<int>(state)];
    if (state == State::kDone) ended = t;
    if (state != State::kDone) waits = t;
  }
  return absl::StrCat("kernel ", Demangled(size_.kernel), ", block ", block_,
                      ": nobody can go on: ", counts[static_cast<int>(State::kAtBarrier)],
                      " threads wait for their block, ", counts[static_cast<int>(State::kAtWarpBarrier)],
                      " for their warp (thread ", waits, " is one), ", counts[static_cast<int>(State::kDone)],
                      " have ended", ended < 0 ? "" : absl::StrCat(" (thread ", ended, " is one)"));
}

void Machine::Sync(const Meeting& meeting) {
  if (waiting_ == 0) barrier_ = meeting;
  if (!AreOne(meeting, barrier_))
    Fail(absl::StrCat("comes to ", TextOf(meeting), " where others of its block wait at ", TextOf(barrier_)));
  if (++waiting_ == size_.threads) {
    waiting_ = 0;
    ++syncs_;
    for (int t = 0; t < size_.threads; ++t) fibers_[t].state = State::kReady;
  } else {
    fibers_[thread_].state = State::kAtBarrier;
  }
  Yield();
}

void Machine::Arrive(const Meeting& meeting) {
  const int warp = thread_ / 32;
  int& waiting = waiting_in_warp_[warp];
  Meeting& others = meetings_[warp];
  if (waiting == 0) others = meeting;
  if (!AreOne(meeting, others))
    Fail(absl::StrCat("comes to ", TextOf(meeting), " where others of its warp wait at ", TextOf(others)));
  if (++waiting == 32) {
    waiting = 0;
    for (int t = 32 * warp; t < 32 * warp + 32; ++t) fibers_[t].state = State::kReady;
  } else {
    fibers_[thread_].state = State::kAtWarpBarrier;
    Yield();
  }
}

void Machine::WarpSync(const Meeting& meeting) {
  const int warp = thread_ / 32;
  if (waiting_in_warp_[warp] == 31) ++warp_syncs_[warp];
  Arrive(meeting);
}

// A shuffle is no barrier for memory. Two places by turns: a thread cannot be two exchanges ahead.
uint64_t Machine::Exchange(uint64_t value, int from, const Meeting& meeting) {
  const int first = thread_ / 32 * 32, turn = exchange_turn_[thread_] ^= 1;
  exchanged_[turn][thread_] = value;
  Arrive(meeting);
  if (from < 0 || from > 31) Fail(absl::StrCat("asks lane ", from, " of its warp"));
  return exchanged_[turn][first + from];
}

uint32_t Machine::Ballot(bool b, const Meeting& meeting) {
  const int first = thread_ / 32 * 32, turn = exchange_turn_[thread_] ^= 1;
  exchanged_[turn][thread_] = b;
  Arrive(meeting);
  uint32_t votes = 0;
  for (int lane = 0; lane < 32; ++lane)
    votes |= static_cast<uint32_t>(exchanged_[turn][first + lane]) << lane;
  return votes;
}

SharedArray& Machine::NextShared(const char* name, size_t bytes) {
  const size_t index = fibers_[thread_].next_shared++;
  if (index >= shared_.size()) shared_.push_back({});
  SharedArray& array = shared_[index];
  if (index == shared_count_) {  // the block's first thread to come here
    ++shared_count_;
    if (array.data == nullptr || array.bytes != bytes) array.data = std::make_unique<std::byte[]>(bytes);
    array.name = name;
    array.bytes = bytes;
    std::memset(array.data.get(), 0xff, bytes);
    array.visits.assign(stream_.watched ? (bytes + 3) / 4 : 0, {});
    size_t all = 0;
    for (size_t i = 0; i < shared_count_; ++i) all += shared_[i].bytes;
    if (all > kMostShared) Fail(absl::StrCat("takes ", all, " bytes of shared memory"));
  }
  if (array.bytes != bytes || std::strcmp(array.name, name) != 0)
    Fail(absl::StrCat("declares ", name, " where others have ", array.name));
  return array;
}

bool Machine::Ordered(int thread, uint32_t sync, uint32_t warp_sync) const {
  return thread == thread_ || sync != syncs_ ||
         (thread / 32 == thread_ / 32 && warp_sync != warp_syncs_[thread_ / 32]);
}

std::string Machine::Visit(Visits& v, Access access) {
  const int32_t block = static_cast<int32_t>(block_);
  const uint32_t warp_sync = warp_syncs_[thread_ / 32];
  const auto who = [&](int thread, int of) {
    return absl::StrCat("thread ", thread, of == block ? "" : absl::StrCat(" of block ", of));
  };
  if (v.copying >= 0) return absl::StrCat("while a copy of thread ", v.copying, " is on its way to it");
  const bool atomics = access == Access::kAtomic && v.by_atomic;
  if (v.writer >= 0 && !atomics &&
      (v.writer_block != block || !Ordered(v.writer, v.write_sync, v.write_warp_sync)))
    return absl::StrCat("which ", who(v.writer, v.writer_block), " wrote, with no barrier between them");
  if (access == Access::kRead) {
    if (v.reader >= 0 && v.reader_block != block) v.many_blocks = true;
    const bool anew = v.reader < 0 || v.reader_block != block || v.read_sync != syncs_;
    if (anew) {
      v.many_readers = v.many_warps = false;
    } else if (v.reader / 32 != thread_ / 32) {
      v.many_warps = true;
    } else if (v.read_warp_sync != warp_sync) {
      v.many_readers = false;
    } else if (v.reader != thread_) {
      v.many_readers = true;
    }
    v.reader = thread_;
    v.reader_block = block;
    v.read_sync = syncs_;
    v.read_warp_sync = warp_sync;
    return "";
  }
  if (v.reader >= 0) {
    const bool here = v.reader_block == block && !v.many_blocks, before = v.read_sync != syncs_;
    const bool warp = v.reader / 32 == thread_ / 32 && !v.many_warps;
    const bool apart = here && (before || (warp && v.read_warp_sync != warp_sync) ||
                                (warp && !v.many_readers && v.reader == thread_));
    if (!apart)
      return absl::StrCat("which ", who(v.reader, v.reader_block), " has read",
                          v.many_readers || v.many_warps || v.many_blocks ? " beside others" : "",
                          ", with no barrier between them");
  }
  v = {.writer = thread_,
       .writer_block = block,
       .write_sync = syncs_,
       .write_warp_sync = warp_sync,
       .by_atomic = access == Access::kAtomic};
  return "";
}

void Machine::OnShared(const SharedArray& array, Visits& visits, Access access) {
  const std::string fault = Visit(visits, access);
  if (!fault.empty())
    Fail(absl::StrCat(access == Access::kRead ? "reads" : "writes", " word ", &visits - array.visits.data(),
                      " of shared memory ", array.name, " ", fault));
}

void Machine::Count(const void* address, int64_t bytes, Access access) {
  Traffic& traffic = stream_.traffic->back();
  Counted& counted = counted_[address];
  traffic.accessed += bytes;
  if (access != Access::kWrite && !counted.read && !counted.written) {
    counted.read = true;
    traffic.read += bytes;
  }
  if (access != Access::kRead && !counted.written) {
    counted.written = true;
    traffic.written += bytes;
  }
}

void Machine::OnGlobal(const void* address, Access access) {
  const std::string fault = Visit(global_[reinterpret_cast<uint64_t>(address)], access);
  if (!fault.empty())
    Fail(absl::StrCat(access == Access::kRead ? "reads" : "writes", " global memory ", fault));
}

namespace {
void Land(const AsyncCopy& copy) {
  std::memcpy(copy.to, copy.from, copy.valid);
  std::memset(static_cast<char*>(copy.to) + copy.valid, 0, copy.bytes - copy.valid);
}
}  // namespace

void Machine::Copy(AsyncCopy copy) {
  Fiber& fiber = fibers_[thread_];
  copy.group = fiber.group;
  for (int i = 0; i < copy.bytes / 4 && stream_.watched; ++i) copy.visits[i].copying = thread_;
  if (!stream_.late_copies) Land(copy);
  fiber.copies.push_back(copy);
}

void Machine::Wait(int groups) {
  Fiber& fiber = fibers_[thread_];
  std::erase_if(fiber.copies, [&](const AsyncCopy& copy) {
    if (copy.group >= fiber.group - groups) return false;
    if (stream_.late_copies) Land(copy);
    for (int i = 0; i < copy.bytes / 4 && stream_.watched; ++i) {
      copy.visits[i].copying = -1;
      Visit(copy.visits[i], Access::kWrite);
    }
    return true;
  });
}

}  // namespace temper::kernels::sim
