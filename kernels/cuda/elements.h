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
