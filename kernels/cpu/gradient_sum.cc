// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/gradient_sum.h"

#include "kernels/gradient_sum.h"

namespace temper::kernels {
namespace TEMPER_ISA {
namespace {

// Memory that holds floats now and halves of integers then.
typedef float AnyFloat __attribute__((may_alias));
typedef uint32_t AnyHalf __attribute__((may_alias));

inline int64_t BitsOf(double x) { return __builtin_bit_cast(int64_t, x); }

// A double of less than 2^51, plus this, has the nearest whole number in its last bits.
constexpr double kWhole = 0x1.8p52;
inline uint64_t Nearest(double x) {
  return static_cast<uint64_t>(BitsOf(x + kWhole)) - static_cast<uint64_t>(BitsOf(kWhole));
}

// Halves, so that no conversion of 64 bits is needed, which few instruction sets have: the lower one is exact
// before it is rounded, since the value has 24 bits. What is out of range makes `out_of_range` negative.
inline uint64_t Quanta(float value, const QuantaScale& s, int64_t& out_of_range) {
  const double exact = static_cast<double>(value) * s.scale;
  out_of_range |= (s.limit - 1) - BitsOf(__builtin_fabs(exact));
  const double upper = (exact * 0x1p-32 + kWhole) - kWhole;
  const double lower = exact - upper * 0x1p32;
  return (Nearest(upper) << 32) + Nearest(lower);
}

inline uint64_t Join(uint32_t high, uint32_t low) { return static_cast<uint64_t>(high) << 32 | low; }

}  // namespace

bool AddLeafPiece(const QuantaScale& scale, const LeafSum& sum, const float* leaf) {
  const QuantaScale s = scale;
  const int64_t n = sum.n;
  AnyHalf* const highs = reinterpret_cast<AnyHalf*>(sum.first);
  int64_t out_of_range = 0;
  if (sum.second == nullptr) {  // the leaf becomes the lower halves
    AnyFloat* const firsts = sum.first;
    AnyHalf* const lows = reinterpret_cast<AnyHalf*>(const_cast<float*>(leaf));
    const AnyFloat* const seconds = leaf;
    for (int64_t i = 0; i < n; ++i) {
      const uint64_t both = Quanta(firsts[i], s, out_of_range) + Quanta(seconds[i], s, out_of_range);
      highs[i] = static_cast<uint32_t>(both >> 32);
      lows[i] = static_cast<uint32_t>(both);
    }
  } else {
    AnyHalf* const lows = reinterpret_cast<AnyHalf*>(sum.second);
    for (int64_t i = 0; i < n; ++i) {
      const uint64_t all = Join(highs[i], lows[i]) + Quanta(leaf[i], s, out_of_range);
      highs[i] = static_cast<uint32_t>(all >> 32);
      lows[i] = static_cast<uint32_t>(all);
    }
  }
  return out_of_range >= 0;
}

bool AddQuantaPiece(const QuantaScale& scale, const LeafSum& sum, int64_t* out) {
  const QuantaScale s = scale;
  const int64_t n = sum.n;
  uint64_t* const to = reinterpret_cast<uint64_t*>(out);
  int64_t out_of_range = 0;
  if (sum.second == nullptr) {
    const float* const leaf = sum.first;
    for (int64_t i = 0; i < n; ++i) to[i] += Quanta(leaf[i], s, out_of_range);
  } else {
    const AnyHalf* const highs = reinterpret_cast<const AnyHalf*>(sum.first);
    const AnyHalf* const lows = reinterpret_cast<const AnyHalf*>(sum.second);
    for (int64_t i = 0; i < n; ++i) to[i] += Join(highs[i], lows[i]);
  }
  return out_of_range >= 0;
}

bool RoundPiece(const QuantaScale& scale, const LeafSum& sum) {
  const QuantaScale s = scale;
  const int64_t n = sum.n;
  const float quantum = static_cast<float>(s.quantum);
  AnyFloat* const to = sum.first;
  int64_t out_of_range = 0;
  if (sum.second == nullptr) {
    for (int64_t i = 0; i < n; ++i)
      to[i] = static_cast<float>(static_cast<int64_t>(Quanta(to[i], s, out_of_range))) * quantum;
  } else {
    const AnyHalf* const highs = reinterpret_cast<const AnyHalf*>(sum.first);
    const AnyHalf* const lows = reinterpret_cast<const AnyHalf*>(sum.second);
    for (int64_t i = 0; i < n; ++i)
      to[i] = static_cast<float>(static_cast<int64_t>(Join(highs[i], lows[i]))) * quantum;
  }
  return out_of_range >= 0;
}

void FromQuantaPiece(double quantum, const QuantaValues& quanta, float* out) {
  const float scale = static_cast<float>(quantum);
  for (int64_t i = 0; i < quanta.n; ++i) out[i] = static_cast<float>(quanta.data[i]) * scale;
}

}  // namespace TEMPER_ISA
}  // namespace temper::kernels
