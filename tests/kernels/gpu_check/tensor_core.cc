// SPDX-License-Identifier: Apache-2.0
#include <atomic>

#include "absl/strings/str_cat.h"
#include "kernels/cuda/simulator.h"
#include "tests/kernels/gpu_check/held.h"
#include "tests/kernels/gpu_check/parts.h"

namespace temper::kernels {
namespace {

enum class Kind { kNormal, kWide, kAnyBits, kSubnormal, kHuge, kSparse, kPositive };
constexpr const char* kKinds[] = {"about normal",       "exponents apart", "any bits",   "subnormal",
                                  "at the largest f32", "mostly zeros",    "of one sign"};

uint16_t UpperHalf(float x) { return static_cast<uint16_t>(std::bit_cast<uint32_t>(x) >> 16); }

class Draw {
 public:
  Draw(Kind kind, uint32_t seed) : kind_(kind), random_(seed) {}
  uint16_t Bf16() {
    const uint32_t bits = random_();
    const float normal = Normal();
    switch (kind_) {
      case Kind::kNormal:
        return UpperHalf(normal);
      case Kind::kWide:
        return UpperHalf(std::ldexp(normal, static_cast<int>(bits % 81) - 40));
      case Kind::kAnyBits:
        return static_cast<uint16_t>(bits);
      case Kind::kSubnormal:
        return static_cast<uint16_t>((bits & 0x807f) | (bits >> 16 & 0x3f) << 7);
      case Kind::kHuge:
        return UpperHalf(std::ldexp(normal, 63 - static_cast<int>(bits % 3)));
      case Kind::kSparse:
        return bits % 8 == 0 ? UpperHalf(normal) : static_cast<uint16_t>(bits & 0x8000);
      case Kind::kPositive:
        return UpperHalf(std::abs(normal));
    }
    return 0;
  }
  float F32() {
    const uint32_t bits = random_();
    if (kind_ == Kind::kAnyBits) return std::bit_cast<float>(bits);
    if (kind_ == Kind::kSubnormal) return std::bit_cast<float>(bits & 0x80ffffff);
    if (kind_ == Kind::kHuge) return std::ldexp(Normal(), 126);
    return kind_ == Kind::kSparse ? 0.0f : Normal();
  }

 private:
  float Normal() {
    float x = 0;
    for (int i = 0; i < 4; ++i) x += static_cast<float>(random_() >> 8) * 0x1p-24f - 0.5f;
    return 1.7f * x;
  }
  const Kind kind_;
  std::mt19937 random_;
};

struct Chains {
  Chains(Kind kind, int64_t count, int steps_of_each) : tiles(count), steps(steps_of_each) {
    Draw draw(kind, static_cast<uint32_t>(static_cast<int>(kind) * 1000 + steps));
    const auto halves = [&](int64_t n) {
      std::vector<uint16_t> out(n);
      for (uint16_t& x : out) x = draw.Bf16();
      return out;
    };
    a = halves(tiles * 16 * 16 * steps);
    b = halves(tiles * 8 * 16 * steps);
    c.resize(tiles * 16 * 8);
    for (float& x : c) x = draw.F32();
  }
  // What the tensor core's step, one after another, makes of number i of c.
  float Expected(int64_t i) const {
    const int64_t row = i / 8, column = i / 128 * 8 + i % 8;
    float sum = c[i];
    for (int step = 0; step < steps; ++step) {
      uint16_t left[16], right[16];
      std::memcpy(left, &a[(row * steps + step) * 16], sizeof left);
      std::memcpy(right, &b[(column * steps + step) * 16], sizeof right);
      sum = sim::FusedDot(left, right, sum);
    }
    return sum;
  }
  int64_t tiles;
  int steps;
  std::vector<uint16_t> a, b;
  std::vector<float> c;
};

}  // namespace

void CheckTensorCore(const Checked& device, Results* results) {
  for (size_t k = 0; k < std::size(kKinds); ++k) {
    for (const int steps : {1, 2, 4, 36, 448}) {
      if (device.small && steps > 4) continue;
      const int64_t tiles = std::max<int64_t>((device.small ? 4 : 40000) / steps, 1);
      const Chains chains(static_cast<Kind>(k), tiles, steps);
      Held held(*device.backend);
      const Matrix c = held.Given(tiles * 16, 8, chains.c);
      device.chains({held.Place(chains.a), held.Place(chains.b), c.f32(), tiles, steps});
      std::vector<float> got(chains.c.size());
      device.backend->CopyToHost(c, got.data());
      std::atomic<int64_t> unequal = 0;
      device.backend->pool().ParallelFor(
          static_cast<int64_t>(got.size()), 128, [&](int64_t begin, int64_t end) {
            for (int64_t i = begin; i < end; ++i)
              unequal += std::bit_cast<uint32_t>(got[i]) != std::bit_cast<uint32_t>(chains.Expected(i));
          });
      results->Judge(unequal == 0, absl::StrCat("tensor core, ", steps, " steps, numbers ", kKinds[k], ": ",
                                                unequal.load(), " of ", got.size(), " unequal"));
    }
  }
}

}  // namespace temper::kernels
