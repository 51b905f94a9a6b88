// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/row_ops.h"

#include "kernels/cpu/simd.h"
#include "kernels/row_ops.h"

namespace temper::kernels {
namespace TEMPER_ISA {
namespace {

// Calls body(column, lanes) for each vector of a row; lanes < 16 in the last one only.
template <typename Body>
inline void Vectors(int64_t cols, const Body& body) {
  int64_t i = 0;
  for (; i + kLanes <= cols; i += kLanes) body(i, kLanes);
  if (i < cols) body(i, static_cast<int>(cols - i));
}

inline F16 Read(const float* p, int lanes) { return lanes == kLanes ? Load(p) : LoadFirst(p, lanes); }
inline void Write(float* p, F16 a, int lanes) {
  if (lanes == kLanes) {
    Store(p, a);
  } else {
    StoreFirst(p, a, lanes);
  }
}

// kCount vectors of dweight from column `first` on, all but the last one whole.
template <int kCount>
inline void NormWeightTile(const RmsNormBackwardTask& task, int64_t first, int last) {
  const float *dy = task.dy.f32() + first, *x = task.x.f32() + first;
  float* dweight = task.dweight + first;
  F16 acc[kCount];
  for (int v = 0; v < kCount; ++v) acc[v] = Read(dweight + v * kLanes, v + 1 < kCount ? kLanes : last);
  for (int64_t i = 0; i < task.x.rows; ++i, dy += task.dy.stride, x += task.x.stride) {
    const F16 scale = Set(task.rstd[i]);
    for (int v = 0; v < kCount; ++v) {
      const int lanes = v + 1 < kCount ? kLanes : last;
      acc[v] = Fma(Read(dy + v * kLanes, lanes), Mul(Read(x + v * kLanes, lanes), scale), acc[v]);
    }
  }
  for (int v = 0; v < kCount; ++v) Write(dweight + v * kLanes, acc[v], v + 1 < kCount ? kLanes : last);
}

// One head; the sines are multiplied by `sign`.
struct Angles {
  int half;
  const float *cosines, *sines;
  float sign;
};

void RotateHalves(float* x, const Angles& angles) {
  const int half = angles.half;
  Vectors(half, [&](int64_t i, int lanes) {
    const F16 a = Read(x + i, lanes), b = Read(x + half + i, lanes);
    const F16 c = Read(angles.cosines + i, lanes), s = Mul(Read(angles.sines + i, lanes), Set(angles.sign));
    Write(x + i, Sub(Mul(a, c), Mul(b, s)), lanes);
    Write(x + half + i, Add(Mul(b, c), Mul(a, s)), lanes);
  });
}

void RotatePairs(float* x, const Angles& angles) {
  for (int j = 0; j < angles.half; ++j) {
    const float a = x[2 * j], b = x[2 * j + 1], c = angles.cosines[j], s = angles.sines[j] * angles.sign;
    x[2 * j] = a * c - b * s;
    x[2 * j + 1] = b * c + a * s;
  }
}

}  // namespace

void NormRows(const RmsNormTask& task, int64_t begin, int64_t end) {
  const int64_t cols = task.x.cols;
  const float* const weight = task.weight;
  for (int64_t row = begin; row < end; ++row) {
    const float* const x = task.x.Row(row);
    float* const y = task.y.Row(row);
    F16 sum = Set(0.0f);
    Vectors(cols, [&](int64_t i, int lanes) {
      const F16 v = Read(x + i, lanes);
      sum = Fma(v, v, sum);
    });
    const float rstd = 1.0f / __builtin_sqrtf(SumLanes(sum) / static_cast<float>(cols) + task.eps);
    const F16 scale = Set(rstd);
    Vectors(cols, [&](int64_t i, int lanes) {
      Write(y + i, Mul(Mul(Read(x + i, lanes), scale), Read(weight + i, lanes)), lanes);
    });
    if (task.rstd != nullptr) task.rstd[row] = rstd;
  }
}

// With h = x rstd and g = dy weight: dx = rstd (g - h mean(g h)).
void NormBackwardRows(const RmsNormBackwardTask& task, int64_t begin, int64_t end) {
  const int64_t cols = task.x.cols;
  const float* const weight = task.weight;
  for (int64_t row = begin; row < end; ++row) {
    const float *const dy = task.dy.Row(row), *const x = task.x.Row(row);
    const float* const add = task.add ? task.add.Row(row) : nullptr;
    float* const dx = task.dx.Row(row);
    const F16 scale = Set(task.rstd[row]);
    F16 sum = Set(0.0f);
    Vectors(cols, [&](int64_t i, int lanes) {
      const F16 g = Mul(Read(dy + i, lanes), Read(weight + i, lanes));
      sum = Fma(g, Mul(Read(x + i, lanes), scale), sum);
    });
    const F16 minus_mean = Set(-(SumLanes(sum) / static_cast<float>(cols)));
    Vectors(cols, [&](int64_t i, int lanes) {
      const F16 g = Mul(Read(dy + i, lanes), Read(weight + i, lanes));
      F16 d = Mul(scale, Fma(Mul(Read(x + i, lanes), scale), minus_mean, g));
      if (add != nullptr) d = Add(d, Read(add + i, lanes));
      Write(dx + i, d, lanes);
    });
  }
}

void NormWeightColumns(const RmsNormBackwardTask& task, int64_t begin, int64_t end) {
  const int cols = static_cast<int>(end - begin);
  const int vectors = (cols + kLanes - 1) / kLanes, last = cols - (vectors - 1) * kLanes;
  switch (vectors) {
    case 1:
      return NormWeightTile<1>(task, begin, last);
    case 2:
      return NormWeightTile<2>(task, begin, last);
    case 3:
      return NormWeightTile<3>(task, begin, last);
    default:
      return NormWeightTile<4>(task, begin, last);
  }
}

void RotateRows(const RotaryTask& task, int64_t begin, int64_t end) {
  const int half = task.x.dim / 2;
  for (int64_t row = begin; row < end; ++row) {
    const int64_t first = static_cast<int64_t>(task.positions[row]) * half;
    const Angles angles{half, task.cosines + first, task.sines + first, task.inverse ? -1.0f : 1.0f};
    float* head = task.x.rows.Row(row);
    for (int h = 0; h < task.x.count; ++h, head += task.x.apart)
      task.interleaved ? RotatePairs(head, angles) : RotateHalves(head, angles);
  }
}

void SwiGluRows(const SwiGluTask& task, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    const float *const gate = task.gate.Row(row), *const up = task.up.Row(row);
    float* const out = task.out.Row(row);
    Vectors(task.gate.cols, [&](int64_t i, int lanes) {
      const F16 g = Read(gate + i, lanes);
      Write(out + i, Mul(Mul(g, Sigmoid(g)), Read(up + i, lanes)), lanes);
    });
  }
}

// silu'(g) = s (1 + g (1 - s)), s = sigmoid(g).
void SwiGluBackwardRows(const SwiGluBackwardTask& task, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    const float *const dout = task.dout.Row(row), *const gate = task.gate.Row(row);
    const float* const up = task.up.Row(row);
    float *const dgate = task.dgate.Row(row), *const dup = task.dup.Row(row);
    float* const out = task.out ? task.out.Row(row) : nullptr;
    Vectors(task.gate.cols, [&](int64_t i, int lanes) {
      const F16 d = Read(dout + i, lanes), g = Read(gate + i, lanes), u = Read(up + i, lanes);
      const F16 s = Sigmoid(g), one = Set(1.0f);
      Write(dgate + i, Mul(Mul(d, u), Mul(s, Fma(g, Sub(one, s), one))), lanes);
      const F16 silu = Mul(g, s);
      Write(dup + i, Mul(d, silu), lanes);
      if (out != nullptr) Write(out + i, Mul(silu, u), lanes);
    });
  }
}

void AddRow(const float* from, int64_t n, float* to) {
  Vectors(n, [&](int64_t i, int lanes) {
    Write(to + i, Add(Read(to + i, lanes), Read(from + i, lanes)), lanes);
  });
}

}  // namespace TEMPER_ISA
}  // namespace temper::kernels
