// SPDX-License-Identifier: Apache-2.0
// The pieces that the slow references of the kernel tests share: one number at a time, std::fma, in the
// documented order.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "kernels/backends/cpu.h"
#include "kernels/isa.h"

namespace temper::kernels {

inline constexpr float kInfinity = std::numeric_limits<float>::infinity();

// kernels/cpu/simd.h's Exp, one lane.
inline float ReferenceExp(float x) {
  if (x < -87.33654f) return 0.0f;
  if (x > 88.72283f) return std::numeric_limits<float>::infinity();
  const float n = std::nearbyint(x * 1.44269504088896341f);
  float r = std::fma(n, -0.693359375f, x);
  r = std::fma(n, 2.12194440e-4f, r);
  float p = 1.9875691500e-4f;
  for (float c : {1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f}) {
    p = std::fma(p, r, c);
  }
  p = std::fma(r * r, p, r + 1.0f);
  return std::ldexp(p, static_cast<int>(n));
}

inline float ReferenceSigmoid(float x) { return 1.0f / (1.0f + ReferenceExp(0.0f - x)); }

// 16 lanes to one: 8, 4, 2, 1.
template <typename T>
T ReferenceSumLanes(std::vector<T> lanes) {
  for (int half = 8; half >= 1; half /= 2) {
    for (int i = 0; i < half; ++i) lanes[i] = lanes[i] + lanes[i + half];
  }
  return lanes[0];
}

template <typename T>
T ReferenceTree(const std::vector<T>& x) {
  return ((x[0] + x[1]) + (x[2] + x[3])) + ((x[4] + x[5]) + (x[6] + x[7]));
}

// The same over 1, 2, 4 or 8 parts, each of which is the sum over a subtree.
template <typename T>
T ReferenceTreeOf(std::vector<T> x) {
  for (; x.size() > 1; x.resize(x.size() / 2)) {
    for (size_t i = 0; i < x.size() / 2; ++i) x[i] = x[2 * i] + x[2 * i + 1];
  }
  return x[0];
}

// Numbers for tests alone: about normal.
inline std::vector<float> Numbers(int64_t n, uint32_t seed, float size = 1.0f) {
  std::mt19937 random(seed);
  std::vector<float> out(n);
  for (float& x : out) {
    x = 0;
    for (int i = 0; i < 4; ++i) x += static_cast<float>(random() >> 8) * 0x1p-24f - 0.5f;
    x *= 1.7f * size;
  }
  return out;
}

// The CPU's backend with threads of its own.
struct TestBackend {
  explicit TestBackend(int threads) : pool(threads) {}
  CpuBackend* operator->() { return &cpu; }
  ThreadPool pool;
  CpuBackend cpu{&pool};
};

// Equal bits, any NaN like any other.
inline bool SameBits(float a, float b) {
  return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b) || (std::isnan(a) && std::isnan(b));
}
inline int64_t Differences(const std::vector<float>& a, const std::vector<float>& b) {
  int64_t count = a.size() != b.size();
  for (size_t i = 0; i < a.size() && i < b.size(); ++i) count += !SameBits(a[i], b[i]);
  return count;
}

// Forces an instruction set for a scope.
class IsaScope {
 public:
  explicit IsaScope(Isa isa) : before_(ActiveIsa()) { ForceIsa(isa); }
  ~IsaScope() { ForceIsa(before_); }

 private:
  const Isa before_;
};

inline std::vector<Isa> SupportedIsas() {
  std::vector<Isa> out;
  for (Isa isa : {Isa::kPlain, Isa::kAvx2, Isa::kAvx512}) {
    if (Supported(isa)) out.push_back(isa);
  }
  return out;
}

// The plain code is slow, and so tried on few shapes.
inline std::vector<Isa> FastIsas() {
  std::vector<Isa> isas = SupportedIsas();
  if (isas.size() > 1) isas.erase(isas.begin());
  return isas;
}

}  // namespace temper::kernels
