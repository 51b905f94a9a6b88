// SPDX-License-Identifier: Apache-2.0
// How kernels that take each element by itself share out the rows of a task: neighbours N at a time where all
// of its rows begin at a multiple of 16 bytes, else one at a time. Included only by kernels/cuda/*.cc.
#pragma once

#include <initializer_list>

#include "kernels/cuda/device.h"
#include "kernels/matrix.h"

namespace temper::kernels {
namespace TEMPER_DEVICE {

inline Rows<const float> ReadRows(const Matrix& m) {
  return {m ? m.f32() : nullptr, m.rows, m.cols, m.stride};
}
inline Rows<float> WriteRows(const Matrix& m) { return {m ? m.f32() : nullptr, m.rows, m.cols, m.stride}; }

inline bool Wide(const void* data) { return reinterpret_cast<uintptr_t>(data) % 16 == 0; }
// Whether rows of f32 can be taken four at a time; none can.
inline bool Wide(const Matrix& m) { return !m || (Wide(m.data) && m.stride % 4 == 0 && m.cols % 4 == 0); }
inline bool AllWide(std::initializer_list<Matrix> all) {
  bool wide = true;
  for (const Matrix& m : all) wide = wide && Wide(m);
  return wide;
}

// launch.operator()<Kernel<4>>() where all rows can be taken four at a time, else <Kernel<1>>.
template <template <int> typename Kernel, typename LaunchKernel>
void WideOrNot(bool wide, const LaunchKernel& launch) {
  wide ? launch.template operator()<Kernel<4>>() : launch.template operator()<Kernel<1>>();
}

// A block takes kThreads * kEach columns of a row, or what is left of them.
constexpr int kElementThreads = 256, kElementSteps = 4;
template <int N>
WORD_HOST int64_t BlocksOfRow(int64_t cols) {
  return (cols + kElementThreads * kElementSteps * N - 1) / (kElementThreads * kElementSteps * N);
}
struct Place {
  int64_t row;
  int begin, end;  // of columns
};
template <int N>
WORD Place PlaceOf(int cols) {
  const int blocks = static_cast<int>(BlocksOfRow<N>(cols)), part = Block() % blocks;
  const int begin = part * kElementThreads * kElementSteps * N,
            end = begin + kElementThreads * kElementSteps * N;
  return {Block() / blocks, begin, end < cols ? end : cols};
}

// Calls body(column) for each N columns that are this thread's.
template <int N, typename Body>
WORD void ForElements(const Place& place, const Body& body) {
  UNROLL_ALL
  for (int step = 0; step < kElementSteps; ++step) {
    const int column = place.begin + (step * kElementThreads + Thread()) * N;
    if (column < place.end) body(column);
  }
}

// `Op::Of` on each N neighbours of some rows.
template <typename Op, int N>
struct ElementKernel {
  static constexpr int kThreads = kElementThreads, kBlocks = 6;
  using Args = typename Op::Args;
  WORD static void Run(const Args& args) {
    const Place place = PlaceOf<N>(args.cols);
    ForElements<N>(place, [&](int column) { Op::template Of<N>(args, place.row, column); });
  }
};
template <typename Op>
void LaunchElements(Stream& stream, const typename Op::Args& args, bool wide) {
  const int64_t rows = args.rows, cols = args.cols;
  wide ? Launch<ElementKernel<Op, 4>>(stream, rows * BlocksOfRow<4>(cols), args)
       : Launch<ElementKernel<Op, 1>>(stream, rows * BlocksOfRow<1>(cols), args);
}

// What threads met in the numbers that they took: something wrong, and the bits of the largest size.
struct Met {
  bool bad = false;
  uint32_t largest = 0;
};
// words[0] |= bad, words[1] = max(words[1], largest), one atomic a block.
template <bool kLargest>
WORD void Report(const Met& met, const Global<uint32_t>& words) {
  if (Ballot(met.bad) != 0 && Lane() == 0) AtomicOr(words, 0, 1);
  if constexpr (kLargest) {
    SHARED(uint32_t, warps, kElementThreads / 32);
    uint32_t largest = met.largest;
    for (int mask = 16; mask >= 1; mask /= 2) {
      const uint32_t other = ShuffleXor(largest, mask);
      largest = other > largest ? other : largest;
    }
    if (Lane() == 0) warps.Put(Warp(), largest);
    Sync();
    if (Thread() != 0) return;
    for (int w = 1; w < kElementThreads / 32; ++w) {
      const uint32_t other = warps.At(w);
      largest = other > largest ? other : largest;
    }
    if (largest != 0) AtomicMax(words, 1, largest);
  }
}

// `Op::Of` on each N neighbours of `count` numbers that lie one behind the other.
template <typename Op, int N>
struct RunKernel {
  static constexpr int kThreads = kElementThreads, kBlocks = 6;
  static constexpr int64_t kOfBlock = int64_t{kThreads} * kElementSteps * N;
  using Args = typename Op::Args;
  WORD static void Run(const Args& args) {
    Met met;
    UNROLL_ALL
    for (int step = 0; step < kElementSteps; ++step) {
      const int64_t i = Block() * kOfBlock + (step * kThreads + Thread()) * N;
      if (i < args.count) Op::template Of<N>(args, i, met);
    }
    Report<Op::kLargest>(met, args.words);
  }
};
template <typename Op>
void LaunchRun(Stream& stream, const typename Op::Args& args, bool wide) {
  wide&& args.count % 4 == 0
      ? Launch<RunKernel<Op, 4>>(stream, CeilOf(args.count, RunKernel<Op, 4>::kOfBlock), args)
      : Launch<RunKernel<Op, 1>>(stream, CeilOf(args.count, RunKernel<Op, 1>::kOfBlock), args);
}

// f(a[j], b[j], ..) for each of the numbers.
template <int N, typename F, typename... Args>
WORD Floats<N> Each(const F& f, const Args&... numbers) {
  Floats<N> out;
  UNROLL_ALL
  for (int j = 0; j < N; ++j) out[j] = f(numbers[j]...);
  return out;
}

}  // namespace TEMPER_DEVICE
}  // namespace temper::kernels
