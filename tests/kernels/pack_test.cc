// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "gtest/gtest.h"
#include "kernels/cpu/gemm.h"
#include "kernels/gemm.h"
#include "kernels/isa.h"
#include "tests/kernels/reference.h"

namespace temper::kernels {
namespace {

// Tiles are packed by several threads, one beside the other.
TEST(PackTile, WritesNoFloatOfTheNextTile) {
  const Isa best = ActiveIsa();
  for (Isa isa : {Isa::kPlain, Isa::kAvx2, Isa::kAvx512}) {
    if (!Supported(isa)) continue;
    ForceIsa(isa);
    const int rows = TEMPER_DISPATCH(kTile)->rows;
    for (int64_t k : {1, 15, 16, 17, 31, 32, 896}) {
      const std::vector<float> a = Numbers(rows * (k + 3), 1);
      std::vector<float> out(k * rows + 16, -7.0f);
      TEMPER_DISPATCH(PackTile)({a.data(), k + 3, rows, k}, out.data());
      for (int64_t i = 0; i < k; ++i) {
        for (int r = 0; r < rows; ++r) {
          ASSERT_EQ(out[i * rows + r], a[r * (k + 3) + i]) << Name(isa) << " k " << k << " row " << r;
        }
      }
      for (size_t i = k * rows; i < out.size(); ++i) {
        ASSERT_EQ(out[i], -7.0f) << Name(isa) << " k " << k << ": float " << i - k * rows << " beyond";
      }
    }
  }
  ForceIsa(best);
}

TEST(Products, OfRowsFarApartHaveTheSameBitsOnEveryNumberOfThreads) {
  constexpr int64_t kM = 244, kN = 256, kK = 4864;
  const std::vector<float> a = Numbers(kM * kK, 1), b = Numbers(kN * kK, 2);
  std::vector<float> one, many(kM * kN);
  for (int threads : {1, 2, 3}) {
    TestBackend backend(threads);
    for (int time = 0; time < 4; ++time) {
      backend->Products(
          {{.a = F32(a.data(), kM, kK), .b = F32(b.data(), kN, kK), .c = F32(many.data(), kM, kN)}});
      if (one.empty()) one = many;
      ASSERT_EQ(std::memcmp(one.data(), many.data(), one.size() * sizeof(float)), 0) << threads << " threads";
    }
  }
}

}  // namespace
}  // namespace temper::kernels
