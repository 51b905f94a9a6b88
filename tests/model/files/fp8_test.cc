// SPDX-License-Identifier: Apache-2.0
// Against tests/goldens/fp8.safetensors, which scripts/fp8_golden.py wrote with PyTorch alone.
#include "model/files/fp8.h"

#include <bit>
#include <cfloat>
#include <cmath>
#include <cstring>
#include <vector>

#include "gmock/gmock.h"
#include "model/files/dtype.h"
#include "model/files/safetensors.h"

namespace temper {
namespace {

using ::testing::ElementsAre;

const SafetensorsFile& Golden() {
  static const auto* const file = new absl::StatusOr<std::unique_ptr<SafetensorsFile>>(
      SafetensorsFile::Open("tests/goldens/fp8.safetensors"));
  EXPECT_TRUE(file->ok()) << file->status();
  return ***file;
}

template <class T>
std::vector<T> Values(const std::string& name) {
  const TensorInfo* info = Golden().Find(name);
  EXPECT_NE(info, nullptr) << name;
  std::vector<T> values((info->end - info->begin) / sizeof(T));
  EXPECT_TRUE(Golden().ReadBytes(*info, values.data()).ok());
  return values;
}

TEST(Fp8, EveryCodeHasTorchsValueAndIsItsOwnCode) {
  const std::vector<float> values = Values<float>("values");
  ASSERT_EQ(values.size(), 256u);
  for (int code = 0; code < 256; ++code) {
    const float value = Fp8Value(static_cast<uint8_t>(code));
    if (std::isnan(values[code])) {
      EXPECT_TRUE(std::isnan(value)) << code;
      EXPECT_EQ(code & 0x7f, 0x7f);
    } else {
      EXPECT_EQ(std::bit_cast<uint32_t>(value), std::bit_cast<uint32_t>(values[code])) << code;
      EXPECT_EQ(Fp8Code(value), code);
    }
  }
}

TEST(Fp8, NumbersGetTorchsCodesAtTheMiddlesBesideThemAndBeyondTheLargest) {
  const std::vector<float> inputs = Values<float>("inputs");
  const std::vector<uint8_t> codes = Values<uint8_t>("codes");
  ASSERT_EQ(inputs.size(), codes.size());
  for (size_t i = 0; i < inputs.size(); ++i) EXPECT_EQ(Fp8Code(inputs[i]), codes[i]) << inputs[i];
  EXPECT_EQ(Fp8Code(NAN), 0x7f);
  EXPECT_EQ(Fp8Code(-NAN), 0xff);
}

TEST(Fp8, EveryFloatGetsTheNearestCode) {  // one in 4099 of all, against a search
  for (uint64_t bits = 0; bits < uint64_t{1} << 32; bits += 4099) {
    const float value = std::bit_cast<float>(static_cast<uint32_t>(bits));
    if (!std::isfinite(value)) continue;
    const uint8_t code = Fp8Code(value);
    const double error = std::fabs(static_cast<double>(value) - Fp8Value(code));
    ASSERT_EQ(std::signbit(value), code >> 7 != 0);
    for (const int step : {-1, 1}) {
      const int other = (code & 0x7f) + step;
      if (other < 0 || other > 0x7e) continue;
      const double distance = std::fabs(std::fabs(static_cast<double>(value)) - Fp8Value(other));
      ASSERT_TRUE(error < distance || (error == distance && code % 2 == 0)) << value;
    }
  }
}

void QuantizeAll(const std::vector<float>& weight, int64_t columns, std::vector<uint8_t>* codes,
                 std::vector<float>* scales) {
  const int64_t rows = static_cast<int64_t>(weight.size()) / columns, blocks = Fp8Blocks(columns);
  codes->resize(weight.size());
  scales->resize(Fp8Blocks(rows) * blocks);
  for (int64_t row = 0; row < rows; row += kFp8Block) {
    QuantizeBlockRow(weight.data() + row * columns, std::min(kFp8Block, rows - row), columns,
                     codes->data() + row * columns, scales->data() + row / kFp8Block * blocks);
  }
}

class Fp8Blocked : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Golden, Fp8Blocked, ::testing::Values("edge", "small"));

TEST_P(Fp8Blocked, AWholeWeightIsQuantisedAndDequantisedAsByPlainPyTorch) {
  const std::string name = GetParam();
  const std::vector<int64_t> shape = Golden().Find(name)->shape;
  std::vector<uint8_t> codes;
  std::vector<float> scales;
  QuantizeAll(Values<float>(name), shape[1], &codes, &scales);
  EXPECT_EQ(codes, Values<uint8_t>(name + ".codes"));
  EXPECT_EQ(scales, Values<float>(name + ".scale_inv"));

  std::vector<float> back(codes.size());
  for (int64_t row = 0; row < shape[0]; row += kFp8Block) {
    DequantizeBlockRow(codes.data() + row * shape[1], std::min(kFp8Block, shape[0] - row), shape[1],
                       scales.data() + row / kFp8Block * Fp8Blocks(shape[1]), back.data() + row * shape[1]);
  }
  EXPECT_EQ(back, Values<float>(name + ".f32"));
  std::vector<uint16_t> brain(back.size());
  EXPECT_TRUE(EncodeBf16(back.data(), back.size(), brain.data()));
  EXPECT_EQ(brain, Values<uint16_t>(name + ".bf16"));
}

TEST(Fp8, ABlockOfZerosAndOneOfTheSmallestNumbersHaveUsableScales) {
  std::vector<uint8_t> codes;
  std::vector<float> scales;
  QuantizeAll({0, -0.0f, 0}, 3, &codes, &scales);
  EXPECT_THAT(codes, ElementsAre(0, 0x80, 0));
  EXPECT_THAT(scales, ElementsAre(1.0f));
  QuantizeAll({FLT_TRUE_MIN, 0, FLT_MIN}, 3, &codes, &scales);
  EXPECT_THAT(codes, ElementsAre(0, 0, Fp8Code(1)));
  EXPECT_THAT(scales, ElementsAre(FLT_MIN));
}

TEST(Bfloat, IsTheNearestAndTiesAreEven) {
  const std::vector<float> in = {1.0f,
                                 1.0f + 0x1p-8f,                        // a tie: down to even
                                 1.0f + 0x1p-7f + 0x1p-8f,              // a tie: up to even
                                 std::nextafter(1.0f + 0x1p-8f, 2.0f),  // above the tie
                                 -0.0f,
                                 0x1.fep127f,
                                 INFINITY,
                                 std::bit_cast<float>(0x7fffffffu)};
  std::vector<uint16_t> out(in.size());
  EXPECT_TRUE(EncodeBf16(in.data(), in.size(), out.data()));
  EXPECT_THAT(out, ElementsAre(0x3f80, 0x3f80, 0x3f82, 0x3f81, 0x8000, 0x7f7f, 0x7f80, 0x7fff));
  const float beyond = FLT_MAX;
  EXPECT_FALSE(EncodeBf16(&beyond, 1, out.data()));
}

}  // namespace
}  // namespace temper
