// SPDX-License-Identifier: Apache-2.0
// The words that kernels/cuda/*.cc are written in, and no others (scripts/check_kernels.py). Each such file
// is compiled twice: by nvcc for sm_90a into namespace sm90, and by g++ into namespace sim, where a block's
// threads are fibers and the machine is hostile (kernels/cuda/simulator.h). A kernel is a struct with `Args`,
// `kThreads` (a multiple of 32), `kBlocks` (of them on one multiprocessor, which bounds registers) and `Run`.
//
// Where:      Thread() Lane() Warp() Block()
// Together:   Sync() of a block, WarpSync() of a warp: of all of its threads, and memory written before is
//             seen after. ShuffleXor(x, mask), ShuffleFrom(x, lane), Ballot(b): all lanes of a warp come.
//             LowestBit(mask), CountBits(mask).
// Memory:     Global<T>, Rows<T>, Shared<T> (SHARED(T, name, count)): At(i), Put(i, x); Read<N>(from, i),
//             Write(to, i, numbers): N neighbours at once, aligned to their size.
// Copies:     CopyAsync<N>(to, from, count): N numbers of 4 bytes to shared memory, aligned to their size;
//             from `count` on they become 0; CopyCommit() ends a group, CopyWait<N>() waits for all groups
//             but the last N. What was copied is this thread's after it, and the others' after a barrier
//             more.
// Arithmetic: on Float and Double, which have no operators, by IEEE rounding to nearest: Fma Add Sub Mul Div
//             Sqrt Round; Max(a, b) is a > b ? a : b, Min likewise; Less Equal Select Neg Abs; BitsOf,
//             FromBits; Widen, Narrow; OfInteger.
// Atomics:    AtomicMax, AtomicOr, AtomicAdd: on integers alone, whose order cannot be seen. AtomicAdd
//             gives what was there, in an order that nobody knows: sort what is placed by it.
// Tensor core: Mma(c, a, b), of a whole warp: c[16][8] becomes c + a[16][16] b[8][16]^T of bf16, each of its
//             numbers one FusedDot (kernels/cuda/simulator.h), whose bits no order of instructions changes.
//             A lane has of a 4 words of two neighbours, of b 2, of c 4 numbers: MmaRow, MmaStep, MmaColumn.
#pragma once

#include <stdint.h>

#include <type_traits>

#include "kernels/cuda/stream.h"

// Before a loop, as #pragma unroll.
#if defined(__CUDACC__)
#define TEMPER_PRAGMA(text) _Pragma(#text)
#define UNROLL(times) TEMPER_PRAGMA(unroll times)
#define UNROLL_ALL TEMPER_PRAGMA(unroll)
#else
#define UNROLL(times)
#define UNROLL_ALL
#endif

#if defined(__CUDACC__)
#define TEMPER_DEVICE sm90
#define WORD __device__ __forceinline__
#define WORD_HOST __host__ __device__ __forceinline__
#else
#define TEMPER_DEVICE sim
#define WORD inline
#define WORD_HOST inline
#endif

namespace temper::kernels {
namespace TEMPER_DEVICE {

// Numbers without operators: what adds them says how it rounds.
struct Float {
  float raw;
};
struct Double {
  double raw;
};
// 16 bits, the upper half of an f32, which it is exactly.
struct Bf16 {
  uint16_t bits;
};

template <int N>
struct Floats {
  Float v[N];
  WORD_HOST Float& operator[](int i) { return v[i]; }
  WORD_HOST const Float& operator[](int i) const { return v[i]; }
};

// What an element is in a register.
template <typename T>
struct Register {
  using Type = T;
  WORD_HOST static T Of(T x) { return x; }
  WORD_HOST static T To(T x) { return x; }
};
template <>
struct Register<float> {
  using Type = Float;
  WORD_HOST static Float Of(float x) { return {x}; }
  WORD_HOST static float To(Float x) { return x.raw; }
};
template <>
struct Register<double> {
  using Type = Double;
  WORD_HOST static Double Of(double x) { return {x}; }
  WORD_HOST static double To(Double x) { return x.raw; }
};
template <typename T>
using In = typename Register<std::remove_const_t<T>>::Type;

WORD_HOST constexpr int64_t CeilOf(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace TEMPER_DEVICE
}  // namespace temper::kernels

#if defined(__CUDACC__)
#include "kernels/cuda/sm90.h"
#else
#include "kernels/cuda/sim.h"
#endif

namespace temper::kernels {
namespace TEMPER_DEVICE {

template <>
struct Register<Bf16> {
  using Type = Float;
  WORD static Float Of(Bf16 x) { return FromBits(static_cast<uint32_t>(x.bits) << 16); }
};

template <typename T>
WORD T Select(bool which, T yes, T no) {
  return which ? yes : no;
}
WORD Float Max(Float a, Float b) { return Select(Less(b, a), a, b); }
WORD Float Min(Float a, Float b) { return Select(Less(a, b), a, b); }
WORD Float Neg(Float a) { return Sub(Set(0.0f), a); }
// What kernels/cpu/exponential.h asks of a number.
WORD Float Constant(Float, float value) { return Set(value); }
WORD Double Constant(Double, double value) { return SetDouble(value); }
WORD Double OfBits(Double, int64_t bits) { return DoubleFromBits(bits); }
WORD Double OfInteger(Double, int64_t x) { return DoubleOfInteger(x); }

// Where a lane's parts of an Mma lie. Word i of a: row MmaRow(i), steps MmaStep(i) and the next. Word i of b:
// row MmaColumn(), steps MmaStep(2 i) and the next. Number i of c: row MmaRow(i / 2), column MmaStep(0) + i
// % 2.
WORD int MmaRow(int i) { return Lane() / 4 + 8 * (i % 2); }
WORD int MmaStep(int i) { return 2 * (Lane() % 4) + 8 * (i / 2); }
WORD int MmaColumn() { return Lane() / 4; }

// A row-major matrix: its rows have `cols` elements and begin `stride` apart.
template <typename T>
struct Rows {
  Rows() = default;
  WORD_HOST Rows(T* data, int64_t rows, int64_t columns, int64_t apart)
      : all(data, rows == 0 || data == nullptr ? 0 : (rows - 1) * apart + columns),
        stride(apart),
        cols(static_cast<int>(columns)) {}

  WORD Global<T> Row(int64_t row) const { return all.Slice(row * stride, cols); }
  // From that row and column on.
  WORD Rows From(int64_t row, int64_t column) const {
    Rows rest;
    rest.all = all.From(row * stride + column);
    rest.stride = stride;
    rest.cols = cols - static_cast<int>(column);
    return rest;
  }
  WORD_HOST explicit operator bool() const { return static_cast<bool>(all); }

  Global<T> all;
  int64_t stride = 0;
  int cols = 0;
};

}  // namespace TEMPER_DEVICE
}  // namespace temper::kernels
