// SPDX-License-Identifier: Apache-2.0
#include "model/files/stored_weight.h"

#include <unistd.h>

#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "core/files/file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/files/dtype.h"
#include "model/files/fp8.h"

namespace temper {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

struct Bytes {
  TensorInfo info;
  std::string bytes;
};

template <class T>
Bytes TensorBytes(const std::string& name, const std::string& dtype, const std::vector<int64_t>& shape,
                  const std::vector<T>& values) {
  return {{name, dtype, shape},
          std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T))};
}

std::vector<float> Counted(int64_t count, float first = 1) {
  std::vector<float> values(count);
  for (int64_t i = 0; i < count; ++i) values[i] = first + static_cast<float>(i);
  return values;
}

class StoredWeights : public ::testing::Test {
 protected:
  void SetUp() override {
    directory_ = absl::StrCat(::testing::TempDir(), "stored_weight_test_", getpid());
    ASSERT_TRUE(RemoveTree(directory_).ok());
    ASSERT_TRUE(MakeDirectories(directory_).ok());
  }
  void TearDown() override { ASSERT_TRUE(RemoveTree(directory_).ok()); }

  // Writes the tensors and finds the weights in them.
  absl::StatusOr<std::map<std::string, StoredWeight>> Find(const std::vector<Bytes>& tensors, bool fp8 = true,
                                                           bool split = true) {
    std::vector<TensorInfo> infos;
    for (const Bytes& tensor : tensors) infos.push_back(tensor.info);
    auto writer = SafetensorsWriter::Create(directory_ + "/model.safetensors", infos, {});
    EXPECT_TRUE(writer.ok()) << writer.status();
    for (const Bytes& tensor : tensors) {
      EXPECT_TRUE((*writer)->Write(tensor.info.name, 0, tensor.bytes.data(), tensor.bytes.size()).ok());
    }
    EXPECT_TRUE((*writer)->Commit().ok());
    auto files = OpenWeightFiles(directory_);
    EXPECT_TRUE(files.ok()) << files.status();
    files_ = *std::move(files);
    return FindWeights(files_, fp8, split);
  }

  // What is wrong with the first weight of the tensors, found or read.
  std::string ErrorOf(const std::vector<Bytes>& tensors, bool fp8 = true) {
    const auto weights = Find(tensors, fp8);
    absl::Status status = weights.status();
    if (status.ok()) {
      const StoredWeight& weight = weights->begin()->second;
      std::vector<float> values(weight.rows() * weight.columns());
      status = weight.Read(0, weight.rows(), values.data());
    }
    const std::string message(status.message());
    if (!status.ok()) {
      EXPECT_THAT(message, StartsWith(directory_ + "/model.safetensors: tensor "));
      EXPECT_THAT(message, Not(HasSubstr("\n")));
    }
    return message;
  }

  std::vector<float> Read(const StoredWeight& weight, int64_t first, int64_t count) {
    std::vector<float> values(count * weight.columns());
    const absl::Status status = weight.Read(first, count, values.data());
    EXPECT_TRUE(status.ok()) << status;
    return values;
  }

  std::string directory_;
  WeightFiles files_;
};

TEST_F(StoredWeights, StackedExpertsAreOneWeightEachGateBeforeUp) {
  const std::vector<Bytes> tensors = {
      TensorBytes("a.mlp.experts.gate_up_proj", "F32", {2, 6, 2}, Counted(24)),
      TensorBytes("a.mlp.experts.down_proj", "F32", {2, 2, 3}, Counted(12, 101)),
      TensorBytes("a.mlp.gate.weight", "F32", {2, 2}, Counted(4))};
  const auto weights = Find(tensors);
  ASSERT_TRUE(weights.ok()) << weights.status();
  std::vector<std::string> names;
  for (const auto& [name, weight] : *weights) names.push_back(name);
  EXPECT_THAT(names, ElementsAre("a.mlp.experts.0.down_proj.weight", "a.mlp.experts.0.gate_proj.weight",
                                 "a.mlp.experts.0.up_proj.weight", "a.mlp.experts.1.down_proj.weight",
                                 "a.mlp.experts.1.gate_proj.weight", "a.mlp.experts.1.up_proj.weight",
                                 "a.mlp.gate.weight"));
  const StoredWeight& up = weights->at("a.mlp.experts.1.up_proj.weight");
  EXPECT_THAT(up.shape, ElementsAre(3, 2));
  EXPECT_EQ(Read(up, 0, 3), Counted(6, 19));
  EXPECT_EQ(Read(up, 1, 1), Counted(2, 21));
  EXPECT_EQ(Read(weights->at("a.mlp.experts.0.gate_proj.weight"), 0, 3), Counted(6));
  EXPECT_EQ(Read(weights->at("a.mlp.experts.1.down_proj.weight"), 0, 2), Counted(6, 107));

  const auto stacked = Find(tensors, false, /*split=*/false);
  ASSERT_TRUE(stacked.ok());
  EXPECT_EQ(stacked->size(), 3u);
  EXPECT_EQ(Read(stacked->at("a.mlp.experts.gate_up_proj"), 0, 12), Counted(24));
}

TEST_F(StoredWeights, ManyDtypesAndNoDimensionsAreRead) {
  const auto weights =
      Find({TensorBytes<uint16_t>("half", "F16", {2}, {0x3c00, 0xc000}),
            TensorBytes<float>("scalar", "F32", {}, {5}), TensorBytes<float>("none", "F32", {0, 3}, {}),
            TensorBytes<float>("narrow", "F32", {3, 0}, {})});
  ASSERT_TRUE(weights.ok());
  EXPECT_THAT(Read(weights->at("half"), 0, 1), ElementsAre(1, -2));
  EXPECT_THAT(Read(weights->at("scalar"), 0, 1), ElementsAre(5));
  EXPECT_EQ(weights->at("none").rows(), 0);
  EXPECT_THAT(Read(weights->at("narrow"), 0, 3), ElementsAre());
}

// Experts of 130 x 150: two rows of two blocks each, and the middle of gate and up lies within the first.
TEST_F(StoredWeights, Fp8HasAScaleForEachBlockOfEachMatrixAndAnyRowsCanBeRead) {
  constexpr int64_t kRows = 130, kColumns = 150;
  std::vector<uint8_t> codes(2 * kRows * kColumns);
  for (size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<uint8_t>(i * 37 % 127 | (i % 2) << 7);
  const std::vector<float> scales = {0.5f, 3, 0.1f, 7, 1e-3f, 11, 13, 1e-9f};
  for (const char* dtype : {"F32", "BF16"}) {
    std::vector<float> used = scales;
    Bytes stored = TensorBytes("e.experts.gate_up_proj_scale_inv", dtype, {2, 2, 2}, scales);
    if (stored.info.dtype == "BF16") {
      std::vector<uint16_t> words(8);
      ASSERT_TRUE(EncodeBf16(scales.data(), 8, words.data()));
      DecodeFloats("BF16", words.data(), 8, used.data());
      stored = TensorBytes("e.experts.gate_up_proj_scale_inv", dtype, {2, 2, 2}, words);
    }
    const auto weights =
        Find({TensorBytes("e.experts.gate_up_proj", kFp8Dtype, {2, kRows, kColumns}, codes), stored});
    ASSERT_TRUE(weights.ok()) << weights.status();
    for (int64_t expert = 0; expert < 2; ++expert) {
      for (int64_t half = 0; half < 2; ++half) {
        const StoredWeight& weight = weights->at(
            absl::StrCat("e.experts.", expert, half == 0 ? ".gate_proj.weight" : ".up_proj.weight"));
        for (const auto& [first, count] :
             std::vector<std::pair<int64_t, int64_t>>{{0, 65}, {60, 5}, {62, 2}}) {
          const std::vector<float> values = Read(weight, first, count);
          for (int64_t i = 0; i < count * kColumns; ++i) {
            const int64_t row = half * 65 + first + i / kColumns, column = i % kColumns;
            const float scale = used[expert * 4 + row / 128 * 2 + column / 128];
            ASSERT_EQ(values[i], Fp8Value(codes[(expert * kRows + row) * kColumns + column]) * scale)
                << expert << " " << row << " " << column;
          }
        }
      }
    }
  }
}

// Any rectangle of any dtype, within blocks and across them, is that of the whole.
TEST_F(StoredWeights, PartsAreThoseOfTheWhole) {
  constexpr int64_t kRows = 140, kColumns = 300;
  std::vector<uint8_t> codes(kRows * kColumns);
  std::vector<uint16_t> halves(codes.size());
  for (size_t i = 0; i < codes.size(); ++i) {
    codes[i] = static_cast<uint8_t>(i * 37 % 0x7f);
    halves[i] = static_cast<uint16_t>(0x3f80 + i % 1000);
  }
  const auto weights = Find({TensorBytes("a", kFp8Dtype, {kRows, kColumns}, codes),
                             TensorBytes("a_scale_inv", "F32", {2, 3}, Counted(6)),
                             TensorBytes("b", "BF16", {kRows, kColumns}, halves),
                             TensorBytes("c", "F32", {kRows, kColumns}, Counted(kRows * kColumns))});
  ASSERT_TRUE(weights.ok()) << weights.status();
  for (const auto& [name, weight] : *weights) {
    const std::vector<float> whole = Read(weight, 0, kRows);
    for (const StoredWeight::Part& part : std::vector<StoredWeight::Part>{{0, kRows, 0, 1},
                                                                          {3, 1, 7, 290},
                                                                          {120, 20, 128, 128},
                                                                          {127, 2, 120, 20},
                                                                          {5, 100, 299, 1},
                                                                          {0, 2, 0, kColumns},
                                                                          {4, 0, 0, 5}}) {
      std::vector<float> values(part.rows * part.columns, -1), expected;
      std::vector<uint16_t> stored(values.size());
      ASSERT_TRUE(weight.Read(part, values.data()).ok());
      ASSERT_TRUE(name != "b" || weight.ReadBf16(part, stored.data()).ok());
      for (int64_t i = 0; i < part.rows; ++i) {
        for (int64_t j = 0; j < part.columns; ++j) {
          const int64_t at = (part.first_row + i) * kColumns + part.first_column + j;
          expected.push_back(whole[at]);
          ASSERT_TRUE(name != "b" || stored[i * part.columns + j] == halves[at]);
        }
      }
      EXPECT_EQ(values, expected) << name << " " << part.first_row << " " << part.first_column;
    }
  }
}

TEST_F(StoredWeights, Fp8WithoutItsScalesOrWithStrangeOnesIsRefused) {
  const Bytes weight = TensorBytes("w", kFp8Dtype, {130, 2}, std::vector<uint8_t>(260, 0x38));
  const auto with = [&](const std::string& dtype, const std::vector<int64_t>& shape, auto values) {
    return std::vector<Bytes>{weight, TensorBytes("w_scale_inv", dtype, shape, values)};
  };
  using F = std::vector<float>;
  EXPECT_EQ(ErrorOf(with("F32", {2, 1}, F{1, 2})), "");
  EXPECT_THAT(ErrorOf(with("F32", {2, 1}, F{1, 2}), /*fp8=*/false),
              HasSubstr("w: has dtype F8_E4M3, but config.json has no quantization_config"));
  EXPECT_THAT(ErrorOf({weight}), HasSubstr("w: its scales, w_scale_inv, are missing"));
  EXPECT_THAT(ErrorOf(with("F32", {1, 1}, F{1})),
              HasSubstr("w_scale_inv: has shape [1, 1]; the blocks of [130, 2] are [2, 1]"));
  EXPECT_THAT(ErrorOf(with("F32", {2}, F{1, 2})), HasSubstr("w_scale_inv: has shape [2]"));
  EXPECT_THAT(ErrorOf(with("I32", {2, 1}, F{1, 2})), HasSubstr("w_scale_inv: has dtype I32; scales are F32"));
  EXPECT_THAT(ErrorOf(with(kFp8Dtype, {2, 1}, std::vector<uint8_t>{1, 2})), HasSubstr("has dtype F8_E4M3"));
  for (const float bad : {0.0f, -1.0f, NAN, INFINITY}) {
    EXPECT_THAT(ErrorOf(with("F32", {2, 1}, F{1, bad})), HasSubstr("w_scale_inv: element 1 is "));
  }
  EXPECT_THAT(ErrorOf({TensorBytes("w_scale_inv", "F32", {1}, F{1})}),
              HasSubstr("is the scale of no FP8 tensor"));
  EXPECT_THAT(ErrorOf({TensorBytes("w", "F32", {1}, F{1}), TensorBytes("w_scale_inv", "F32", {1}, F{1})}),
              HasSubstr("w_scale_inv: is the scale of no FP8 tensor"));
  EXPECT_THAT(ErrorOf({TensorBytes("w", kFp8Dtype, {2}, std::vector<uint8_t>{1, 2})}),
              HasSubstr("w: [2] is no matrix"));

  std::vector<Bytes> broken = with("F32", {2, 1}, F{1, 2});
  broken[0].bytes[258] = 0x7f;
  EXPECT_THAT(ErrorOf(broken), HasSubstr("w: element 258 is nan; weights must be finite"));
  EXPECT_THAT(ErrorOf({TensorBytes("w", kFp8Dtype, {1, 1}, std::vector<uint8_t>{0x7e}),
                       TensorBytes("w_scale_inv", "F32", {1, 1}, F{1e37f})}),
              HasSubstr("w: element 0 is inf"));
}

TEST_F(StoredWeights, StackedExpertsOfStrangeShapeOrStoredTwiceAreRefused) {
  const auto stacked = [](const std::vector<int64_t>& shape, int64_t count) {
    return TensorBytes("m.experts.gate_up_proj", "F32", shape, Counted(count));
  };
  EXPECT_EQ(ErrorOf({stacked({1, 2, 1}, 2)}), "");
  EXPECT_THAT(ErrorOf({stacked({1, 3, 1}, 3)}), HasSubstr("[1, 3, 1]; stacked experts are [experts, 2 size"));
  EXPECT_THAT(ErrorOf({stacked({2, 2}, 4)}), HasSubstr("has shape [2, 2]; stacked"));
  EXPECT_THAT(ErrorOf({stacked({5000, 2, 0}, 0)}), HasSubstr("has shape [5000, 2, 0]; stacked"));
  EXPECT_THAT(ErrorOf({stacked({int64_t{1} << 40, 2, 0}, 0)}), HasSubstr("; stacked"));
  EXPECT_THAT(
      ErrorOf({stacked({1, 2, 1}, 2), TensorBytes("m.experts.0.up_proj.weight", "F32", {1, 1}, Counted(1))}),
      HasSubstr("has m.experts.0.up_proj.weight, which"));
}

}  // namespace
}  // namespace temper
