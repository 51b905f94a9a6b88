// SPDX-License-Identifier: Apache-2.0
// The words of kernels/cuda/device.h for g++, on the machine of kernels/cuda/simulator.h. Included only by
// it.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <string>
#include <typeinfo>

#include "absl/strings/str_cat.h"
#include "kernels/cuda/driver/graph.h"
#include "kernels/cuda/driver/memory.h"
#include "kernels/cuda/simulator.h"

namespace temper::kernels {
namespace sim {

inline int Thread() { return Now().thread(); }
inline int Lane() { return Thread() % 32; }
inline int Warp() { return Thread() / 32; }
inline int Block() { return Now().block(); }

inline void Sync(const Meeting& meeting = Meeting::Of("Sync")) { Now().Sync(meeting); }
inline void WarpSync(const Meeting& meeting = Meeting::Of("WarpSync")) { Now().WarpSync(meeting); }
template <typename T>
T ShuffleFrom(T x, int lane, const Meeting& meeting = Meeting::Of("ShuffleFrom")) {
  uint64_t bits = 0;
  static_assert(sizeof(T) <= sizeof bits);
  std::memcpy(&bits, &x, sizeof x);
  bits = Now().Exchange(bits, lane, meeting);
  std::memcpy(&x, &bits, sizeof x);
  return x;
}
template <typename T>
T ShuffleXor(T x, int mask, const Meeting& meeting = Meeting::Of("ShuffleXor")) {
  return ShuffleFrom(x, Lane() ^ mask, meeting);
}
inline uint32_t Ballot(bool b, const Meeting& meeting = Meeting::Of("Ballot")) {
  return Now().Ballot(b, meeting);
}
inline uint32_t CountBits(uint32_t mask) { return static_cast<uint32_t>(std::popcount(mask)); }
inline int LowestBit(uint32_t mask) { return std::countr_zero(mask); }

// A pointer that knows where its memory ends: no later than the allocation that it is of.
template <typename T>
class Global {
 public:
  Global() = default;
  Global(T* data, int64_t count) {
    if (data == nullptr) return;
    const Reached reached = Reach(data);
    data_ = static_cast<T*>(reached.at);
    host_ = reached.host;
    count_ = std::min(count, reached.bytes / static_cast<int64_t>(sizeof(T)));
  }
  explicit operator bool() const { return data_ != nullptr; }

  In<T> At(int64_t i) const {
    Check(i, 1, Access::kRead);
    return Register<std::remove_const_t<T>>::Of(data_[i]);
  }
  void Put(int64_t i, In<T> x) const {
    Check(i, 1, Access::kWrite);
    data_[i] = Register<std::remove_const_t<T>>::To(x);
  }
  Global From(int64_t i) const { return Slice(i, count_ - i); }
  // What lies outside may be named as long as it is not touched.
  Global Slice(int64_t i, int64_t count) const {
    if (data_ == nullptr) return {};
    Global out;
    out.data_ = data_ + i;
    out.host_ = host_;
    out.count_ = std::min(count, count_ - i);
    return out;
  }
  T* data() const { return data_; }

  void Check(int64_t i, int count, Access access) const {
    if (host_ && !Now().takes_host_memory())
      Now().Fail(absl::StrCat(access == Access::kRead ? "reads" : "writes", " the host's memory"));
    if (i < 0 || i + count > count_)
      Now().Fail(absl::StrCat(access == Access::kRead ? "reads" : "writes", " elements ", i, " to ",
                              i + count - 1, " of global memory that has ", std::max<int64_t>(count_, 0)));
    if (reinterpret_cast<uintptr_t>(data_ + i) % (count == 1 ? alignof(T) : count * sizeof(T)) != 0)
      Now().Fail(
          absl::StrCat("an access to ", count, " elements of global memory is not aligned to their size"));
    Machine& machine = Now();
    if (machine.watches()) {
      for (int j = 0; j < count; ++j) machine.OnGlobal(data_ + i + j, access);
    }
    if (machine.counts()) {
      for (int j = 0; j < count; ++j) machine.Count(data_ + i + j, sizeof(T), access);
    }
  }

 private:
  T* data_ = nullptr;
  int64_t count_ = 0;
  bool host_ = false;  // the host's memory
};

template <typename T>
class Shared {
 public:
  explicit Shared(SharedArray& array, int64_t first = 0) : array_(&array), first_(first) {}

  In<T> At(int64_t i) const {
    Check(i, 1, Access::kRead);
    return Register<T>::Of(data()[i]);
  }
  void Put(int64_t i, In<T> x) const {
    Check(i, 1, Access::kWrite);
    data()[i] = Register<T>::To(x);
  }
  Shared From(int64_t i) const { return Shared(*array_, first_ + i); }
  T* data() const { return reinterpret_cast<T*>(array_->data.get()) + first_; }
  Visits* visits() const {
    return Now().watches() ? array_->visits.data() + first_ * sizeof(T) / 4 : nullptr;
  }

  void Check(int64_t i, int count) const {
    const int64_t at = first_ + i;
    if (at < 0 || (at + count) * sizeof(T) > array_->bytes)
      Now().Fail(absl::StrCat("element ", at, " of shared memory ", array_->name, ", which has ",
                              array_->bytes / sizeof(T)));
    if (at % count != 0) Now().Fail(absl::StrCat("element ", at, " of ", array_->name, " is not aligned"));
  }
  void Check(int64_t i, int count, Access access) const {
    Check(i, count);
    if (!Now().watches()) return;
    for (size_t word = 0; word < count * sizeof(T) / 4; ++word)
      Now().OnShared(*array_, visits()[i * sizeof(T) / 4 + word], access);
  }

 private:
  SharedArray* array_;
  int64_t first_;
};
#define SHARED(T, name, count)                  \
  const ::temper::kernels::sim::Shared<T> name( \
      ::temper::kernels::sim::Now().NextShared(#name, sizeof(T) * (count)))

template <int N, typename Memory>
Floats<N> Read(const Memory& from, int64_t i) {
  from.Check(i, N, Access::kRead);
  Floats<N> out;
  std::memcpy(&out, from.data() + i, sizeof out);
  return out;
}
template <int N, typename Memory>
void Write(const Memory& to, int64_t i, const Floats<N>& numbers) {
  to.Check(i, N, Access::kWrite);
  std::memcpy(to.data() + i, &numbers, sizeof numbers);
}

template <int N, typename T>
void CopyAsync(const Shared<T>& to, const Global<const T>& from, int count) {
  static_assert(sizeof(T) == 4 && (N == 1 || N == 4));
  to.Check(0, N);
  for (int i = 0; i < N; ++i) to.Check(i, 1, Access::kWrite);
  const int valid = count <= 0 ? 0 : count < N ? count : N;
  for (int i = 0; i < valid; ++i) from.Check(i, 1, Access::kRead);
  if (valid > 0 && reinterpret_cast<uintptr_t>(from.data()) % (4 * N) != 0)
    Now().Fail("a copy's source is not aligned to its size");
  Now().Copy({.to = to.data(),
              .from = from.data(),
              .bytes = 4 * N,
              .valid = 4 * valid,
              .visits = to.visits(),
              .group = 0});
}
inline void CopyCommit() { Now().Commit(); }
template <int N>
void CopyWait() {
  Now().Wait(N);
}

inline void AtomicMax(const Global<uint32_t>& to, int64_t i, uint32_t x) {
  to.Check(i, 1, Access::kAtomic);
  to.data()[i] = std::max(to.data()[i], x);
}
inline void AtomicOr(const Global<uint32_t>& to, int64_t i, uint32_t x) {
  to.Check(i, 1, Access::kAtomic);
  to.data()[i] |= x;
}

inline uint32_t AtomicAdd(const Shared<uint32_t>& to, int64_t i, uint32_t x) {
  to.Check(i, 1, Access::kAtomic);
  const uint32_t before = to.data()[i];
  to.data()[i] += x;
  return before;
}

inline Float Set(float x) { return {x}; }
inline Float Counted(float x, int flop = 1) {
  flops.f32 += flop;
  return {x};
}
inline Float Fma(Float a, Float b, Float c) { return Counted(__builtin_fmaf(a.raw, b.raw, c.raw), 2); }
inline Float Add(Float a, Float b) { return Counted(a.raw + b.raw); }
inline Float Sub(Float a, Float b) { return Counted(a.raw - b.raw); }
inline Float Mul(Float a, Float b) { return Counted(a.raw * b.raw); }
inline Float Div(Float a, Float b) { return Counted(a.raw / b.raw); }
inline Float Sqrt(Float a) { return Counted(std::sqrt(a.raw)); }
inline Float Round(Float a) { return {std::nearbyint(a.raw)}; }
inline bool Less(Float a, Float b) { return a.raw < b.raw; }
inline bool Equal(Float a, Float b) { return a.raw == b.raw; }
inline Float Abs(Float a) { return {std::fabs(a.raw)}; }
inline uint32_t BitsOf(Float a) { return std::bit_cast<uint32_t>(a.raw); }
inline Float FromBits(uint32_t bits) { return {std::bit_cast<float>(bits)}; }
inline Float OfInteger(int x) { return {static_cast<float>(x)}; }
inline Float OfInteger(int64_t x) { return {static_cast<float>(x)}; }
inline Float PowerOfTwo(Float n) {
  const int whole = std::isnan(n.raw) ? 0 : static_cast<int>(n.raw);
  return FromBits(static_cast<uint32_t>(whole + 127) << 23);
}

inline Double SetDouble(double x) { return {x}; }
inline Double Counted(double x, int flop = 1) {
  flops.f64 += flop;
  return {x};
}
inline Double Fma(Double a, Double b, Double c) { return Counted(std::fma(a.raw, b.raw, c.raw), 2); }
inline Double Add(Double a, Double b) { return Counted(a.raw + b.raw); }
inline Double Sub(Double a, Double b) { return Counted(a.raw - b.raw); }
inline Double Mul(Double a, Double b) { return Counted(a.raw * b.raw); }
inline Double Div(Double a, Double b) { return Counted(a.raw / b.raw); }
inline bool Less(Double a, Double b) { return a.raw < b.raw; }
inline Double Abs(Double a) { return {std::fabs(a.raw)}; }
inline int64_t BitsOf(Double a) { return std::bit_cast<int64_t>(a.raw); }
inline Double DoubleFromBits(int64_t bits) { return {std::bit_cast<double>(bits)}; }
inline Double DoubleOfInteger(int64_t x) { return {static_cast<double>(x)}; }
inline Double Widen(Float a) { return {static_cast<double>(a.raw)}; }
inline Float Narrow(Double a) { return {static_cast<float>(a.raw)}; }

// The sums of an Mma, and the line that has it.
struct MmaSums {
  MmaSums(Floats<4>& numbers, const Meeting& line = Meeting::Of("Mma")) : c(numbers), meeting(line) {}
  Floats<4>& c;
  Meeting meeting;
};
inline void Mma(const MmaSums& sums, const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  const auto& [c, meeting] = sums;
  // Lanes [4 r, 4 r + 4) have rows r and r + 8 of a, and row r of b.
  const int row = Lane() / 4, column = 2 * (Lane() % 4);
  uint16_t rows[2][16], columns[2][16];
  const auto take = [](uint32_t word, uint16_t* to) {
    to[0] = static_cast<uint16_t>(word);
    to[1] = static_cast<uint16_t>(word >> 16);
  };
  for (int t = 0; t < 4; ++t) {
    for (int i = 0; i < 4; ++i)
      take(ShuffleFrom(a[i], 4 * row + t, meeting), &rows[i % 2][2 * t + 8 * (i / 2)]);
    for (int i = 0; i < 4; ++i)
      take(ShuffleFrom(b[i / 2], 4 * (column + i % 2) + t, meeting), &columns[i % 2][2 * t + 8 * (i / 2)]);
  }
  for (int i = 0; i < 4; ++i) c[i] = {FusedDot(rows[i / 2], columns[i % 2], c[i].raw)};
}

template <typename Kernel>
void Launch(Stream& stream, int64_t blocks, const typename Kernel::Args& args) {
  const LaunchSize size{typeid(Kernel).name(), blocks, Kernel::kThreads};
  if (stream.graph == nullptr) return Now().Run(stream, size, [&] { Kernel::Run(args); });
  stream.graph->Add({size.kernel, blocks, PlainBytes(args),
                     [size, args](Stream& on) { Now().Run(on, size, [&] { Kernel::Run(args); }); }});
}

}  // namespace sim
}  // namespace temper::kernels
