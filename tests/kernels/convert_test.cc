// SPDX-License-Identifier: Apache-2.0
// tests/model/files/fp8_test.cc and safetensors_test.cc compare with PyTorch and with arithmetic; here every
// instruction set gives the same bits.
#include "kernels/convert.h"

#include <cstring>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/isa.h"

namespace temper::kernels {
namespace {

struct Outputs {
  std::vector<float> brain, half, fp8;
  std::vector<uint16_t> to_brain;
  std::vector<uint8_t> to_fp8;
  uint32_t largest = 0;
};

// Of every 16-bit word, every code, and of floats of all sizes; a length that no vector divides.
Outputs All() {
  constexpr int64_t kWords = 65536, kFloats = 100'003;
  std::vector<uint16_t> words(kWords);
  std::vector<uint8_t> codes(kWords);
  for (int64_t i = 0; i < kWords; ++i) {
    words[i] = static_cast<uint16_t>(i);
    codes[i] = static_cast<uint8_t>(i);
  }
  std::vector<float> floats(kFloats);
  for (int64_t i = 0; i < kFloats; ++i) {
    const uint32_t bits = static_cast<uint32_t>(i) * 42949;
    memcpy(&floats[i], &bits, 4);
  }
  Outputs out;
  out.brain.resize(kWords);
  out.half.resize(kWords);
  out.fp8.resize(kWords);
  out.to_brain.resize(kFloats);
  out.to_fp8.resize(kFloats);
  BfloatToFloat(kWords, words.data(), out.brain.data());
  HalfToFloat(kWords, words.data(), out.half.data());
  Fp8ToFloat({kWords - 1, 0.3f}, codes.data() + 1, out.fp8.data() + 1);
  FloatToBfloat(kFloats, floats.data(), out.to_brain.data());
  FloatToFp8({kFloats, 0.3f}, floats.data(), out.to_fp8.data());
  out.largest = LargestSize(kFloats, floats.data());
  return out;
}

TEST(Convert, EveryInstructionSetGivesTheSameBits) {
  const Isa best = ActiveIsa();
  ForceIsa(Isa::kPlain);
  const Outputs plain = All();
  EXPECT_GT(plain.largest, 0x7f800000u) << "a NaN was among them";
  for (const Isa isa : {Isa::kAvx2, Isa::kAvx512}) {
    if (!Supported(isa)) continue;
    ForceIsa(isa);
    const Outputs other = All();
    EXPECT_EQ(memcmp(plain.brain.data(), other.brain.data(), plain.brain.size() * 4), 0) << Name(isa);
    EXPECT_EQ(memcmp(plain.half.data(), other.half.data(), plain.half.size() * 4), 0) << Name(isa);
    EXPECT_EQ(memcmp(plain.fp8.data(), other.fp8.data(), plain.fp8.size() * 4), 0) << Name(isa);
    EXPECT_EQ(plain.to_brain, other.to_brain) << Name(isa);
    EXPECT_EQ(plain.to_fp8, other.to_fp8) << Name(isa);
    EXPECT_EQ(plain.largest, other.largest);
  }
  ForceIsa(best);
}

}  // namespace
}  // namespace temper::kernels
