// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/row_ops.h"

#include "kernels/cpu/simd.h"

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

// kCount vectors of dweight, all but the last one whole.
template <int kCount>
inline void NormWeightTile(const float* dy, int64_t lddy, const float* x, int64_t ldx, const float* rstd,
                           int64_t rows, int last, float* dweight) {
  F16 acc[kCount];
  for (int v = 0; v < kCount; ++v) acc[v] = Read(dweight + v * kLanes, v + 1 < kCount ? kLanes : last);
  for (int64_t i = 0; i < rows; ++i, dy += lddy, x += ldx) {
    const F16 scale = Set(rstd[i]);
    for (int v = 0; v < kCount; ++v) {
      const int lanes = v + 1 < kCount ? kLanes : last;
      acc[v] = Fma(Read(dy + v * kLanes, lanes), Mul(Read(x + v * kLanes, lanes), scale), acc[v]);
    }
  }
  for (int v = 0; v < kCount; ++v) Write(dweight + v * kLanes, acc[v], v + 1 < kCount ? kLanes : last);
}

}  // namespace

float NormRow(const float* x, const float* weight, float eps, int64_t cols, float* y) {
  F16 sum = Set(0.0f);
  Vectors(cols, [&](int64_t i, int lanes) {
    const F16 v = Read(x + i, lanes);
    sum = Fma(v, v, sum);
  });
  const float rstd = 1.0f / __builtin_sqrtf(SumLanes(sum) / static_cast<float>(cols) + eps);
  const F16 scale = Set(rstd);
  Vectors(cols, [&](int64_t i, int lanes) {
    Write(y + i, Mul(Mul(Read(x + i, lanes), scale), Read(weight + i, lanes)), lanes);
  });
  return rstd;
}

// With h = x rstd and g = dy weight: dx = rstd (g - h mean(g h)).
void NormBackwardRow(const float* dy, const float* x, const float* weight, float rstd, int64_t cols,
                     const float* add, float* dx) {
  const F16 scale = Set(rstd);
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

void NormWeightColumns(const float* dy, int64_t lddy, const float* x, int64_t ldx, const float* rstd,
                       int64_t rows, int cols, float* dweight) {
  const int vectors = (cols + kLanes - 1) / kLanes, last = cols - (vectors - 1) * kLanes;
  switch (vectors) {
    case 1:
      return NormWeightTile<1>(dy, lddy, x, ldx, rstd, rows, last, dweight);
    case 2:
      return NormWeightTile<2>(dy, lddy, x, ldx, rstd, rows, last, dweight);
    case 3:
      return NormWeightTile<3>(dy, lddy, x, ldx, rstd, rows, last, dweight);
    default:
      return NormWeightTile<4>(dy, lddy, x, ldx, rstd, rows, last, dweight);
  }
}

void RotateHalves(float* x, int half, const float* cosines, const float* sines, float sign) {
  Vectors(half, [&](int64_t i, int lanes) {
    const F16 a = Read(x + i, lanes), b = Read(x + half + i, lanes);
    const F16 c = Read(cosines + i, lanes), s = Mul(Read(sines + i, lanes), Set(sign));
    Write(x + i, Sub(Mul(a, c), Mul(b, s)), lanes);
    Write(x + half + i, Add(Mul(b, c), Mul(a, s)), lanes);
  });
}

void RotatePairs(float* x, int half, const float* cosines, const float* sines, float sign) {
  for (int j = 0; j < half; ++j) {
    const float a = x[2 * j], b = x[2 * j + 1], c = cosines[j], s = sines[j] * sign;
    x[2 * j] = a * c - b * s;
    x[2 * j + 1] = b * c + a * s;
  }
}

void SwiGluRow(const float* gate, const float* up, int64_t cols, float* out) {
  Vectors(cols, [&](int64_t i, int lanes) {
    const F16 g = Read(gate + i, lanes);
    Write(out + i, Mul(Mul(g, Sigmoid(g)), Read(up + i, lanes)), lanes);
  });
}

// silu'(g) = s (1 + g (1 - s)), s = sigmoid(g).
void SwiGluBackwardRow(const float* dout, const float* gate, const float* up, int64_t cols, float* dgate,
                       float* dup) {
  Vectors(cols, [&](int64_t i, int lanes) {
    const F16 d = Read(dout + i, lanes), g = Read(gate + i, lanes), u = Read(up + i, lanes);
    const F16 s = Sigmoid(g), one = Set(1.0f);
    Write(dgate + i, Mul(Mul(d, u), Mul(s, Fma(g, Sub(one, s), one))), lanes);
    Write(dup + i, Mul(d, Mul(g, s)), lanes);
  });
}

void AddRow(const float* a, const float* b, int64_t n, float* c) {
  Vectors(n, [&](int64_t i, int lanes) { Write(c + i, Add(Read(a + i, lanes), Read(b + i, lanes)), lanes); });
}

}  // namespace TEMPER_ISA
}  // namespace temper::kernels
