// SPDX-License-Identifier: Apache-2.0
#include "model/files/safetensors.h"

#include <sys/stat.h>
#include <unistd.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <fstream>

#include "ATen/ops/empty.h"
#include "ATen/ops/ones.h"
#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/files/file.h"
#include "core/stop.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace temper {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

std::string Path(const std::string& name) { return ::testing::TempDir() + "safetensors_test_" + name; }

std::string LengthPrefix(uint64_t length) { return std::string(reinterpret_cast<const char*>(&length), 8); }

std::string WriteRaw(const std::string& bytes, const std::string& name = "file") {
  const std::string path = Path(name);
  std::ofstream(path, std::ios::binary) << bytes;
  return path;
}

std::string File(const std::string& header, const std::string& data) {
  return WriteRaw(LengthPrefix(header.size()) + header + data);
}

std::string ErrorOf(const std::string& path) {
  const auto file = SafetensorsFile::Open(path);
  return file.ok() ? "" : std::string(file.status().message());
}

std::string Tensor(const std::string& name, const std::string& dtype, const std::string& shape,
                   const std::string& offsets) {
  return absl::StrCat("\"", name, "\":{\"dtype\":\"", dtype, "\",\"shape\":", shape,
                      ",\"data_offsets\":", offsets, "}");
}

const std::string kEight(8, 'x');

TEST(Safetensors, AFileThatIsCutOrLiesAboutItsHeaderIsRefused) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "has 0 bytes"},
      {"1234567", "has 7 bytes"},
      {LengthPrefix(0), "header length 0"},
      {LengthPrefix(uint64_t{1} << 63), "header length 9223372036854775808"},
      {LengthPrefix(UINT64_MAX) + "{}", "header length 18446744073709551615"},
      {LengthPrefix(100000001) + "{}", "header length 100000001"},
      {LengthPrefix(20) + "{}", "the file was cut"},
      {LengthPrefix(2) + "[]", "not a JSON object"},
      {LengthPrefix(4) + "null", "not a JSON object"},
      {LengthPrefix(4) + " {} ", "not a JSON object"},
      {LengthPrefix(3) + "{}x", "file:1:"},
      {LengthPrefix(3) + std::string("{}\0", 3), "not a JSON object"},
      {LengthPrefix(10) + "{\"a\": {\"dt", "file:1:"},
      {LengthPrefix(8) + "{\"\xff\":{}}", "file:1:"},
      {LengthPrefix(13) + "{\"\\ud800\":{}}", "file:1:"},
      {LengthPrefix(20001) + std::string("{") + std::string(20000, '['), "file:1:"},
      {LengthPrefix(20005) + "{\"a\":" + std::string(20000, '['), "nested deeper"},
  };
  for (const auto& [bytes, what] : cases) {
    const std::string error = ErrorOf(WriteRaw(bytes));
    EXPECT_THAT(error, StartsWith(Path("file") + ":"));
    EXPECT_THAT(error, HasSubstr(what));
    EXPECT_THAT(error, Not(HasSubstr("\n")));
  }
}

TEST(Safetensors, ATensorThatLiesIsRefusedByName) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {Tensor("a", "F33", "[2]", "[0,8]"), "unknown dtype 'F33'"},
      {Tensor("a", "F32", "[2]", "[0,7]"), "has 7 bytes, but dtype and shape say 8"},
      {Tensor("a", "F32", "[3]", "[0,8]"), "has 8 bytes, but dtype and shape say 12"},
      {Tensor("a", "F32", "[3]", "[0,12]"), "leave the 8 bytes"},
      {Tensor("a", "F32", "[2]", "[8,0]"), "leave the 8 bytes"},
      {Tensor("a", "F32", "[2]", "[-1,7]"), "data_offsets are [-1,7]"},
      {Tensor("a", "F32", "[2]", "[0.0,8.0]"), "data_offsets are [0.0,8.0]"},
      {Tensor("a", "F32", "[2]", "[0,18446744073709551616]"), "data_offsets are"},
      {Tensor("a", "F32", "[2]", "[0,18446744073709551615]"), "data_offsets are"},
      {Tensor("a", "F32", "[2]", "[0]"), "has no data_offsets"},
      {Tensor("a", "F32", "[-2]", "[0,8]"), "shape has -2"},
      {Tensor("a", "F32", "[2.0]", "[0,8]"), "shape has 2.0"},
      {Tensor("a", "F32", "2", "[0,8]"), "has no shape"},
      {Tensor("a", "F32", "[4294967296,4294967296,4294967296]", "[0,8]"), "63 bits"},
      {Tensor("a", "F64", "[4611686018427387904]", "[0,8]"), "63 bits"},
      {Tensor("a", "F64", "[4611686018427387904,4,0]", "[0,0]"), "63 bits"},
      {Tensor("a", "U8", "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,8]", "[0,8]"), "has 17 dimensions"},
      {"\"a\":{\"dtype\":\"F32\",\"shape\":[2]}", "other keys"},
      {"\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offset\":[0,8]}", "has no data_offsets"},
      {"\"a\":[]", "is not an object"},
      {"\"a\":{\"dtype\":3,\"shape\":[2],\"data_offsets\":[0,8]}", "has no dtype"},
      {Tensor("b", "U8", "[5]", "[0,5]") + "," + Tensor("a", "U8", "[4]", "[4,8]"), "inside another tensor"},
      {Tensor("b", "U8", "[3]", "[0,3]") + "," + Tensor("a", "U8", "[4]", "[4,8]"),
       "bytes 3 to 4 before it belong to none"},
  };
  for (const auto& [header, what] : cases) {
    const std::string error = ErrorOf(File("{" + header + "}", kEight));
    EXPECT_THAT(error, StartsWith(Path("file") + ": tensor a: "));
    EXPECT_THAT(error, HasSubstr(what));
    EXPECT_LT(error.size(), 300u);
  }
}

TEST(Safetensors, DuplicatesBytesOfNobodyAndStrangeMetadataAreRefused) {
  const std::string a = Tensor("a", "U8", "[8]", "[0,8]");
  EXPECT_EQ(ErrorOf(File("{" + a + "}", kEight)), "");
  EXPECT_THAT(ErrorOf(File("{" + a + "," + a + "}", kEight)), HasSubstr("duplicate key \"a\""));
  EXPECT_THAT(ErrorOf(File("{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[0,8]}}",
                           kEight)),
              HasSubstr("duplicate key \"dtype\""));
  EXPECT_THAT(ErrorOf(File("{" + a + "}", kEight + "y")),
              HasSubstr("has 9 bytes of data, but its tensors have 8"));
  EXPECT_THAT(ErrorOf(File("{}", kEight)), HasSubstr("has 8 bytes of data"));
  EXPECT_THAT(ErrorOf(File("{\"__metadata__\":{\"x\":1}," + a + "}", kEight)),
              HasSubstr("x is not a string"));
  EXPECT_THAT(ErrorOf(File("{\"__metadata__\":[]," + a + "}", kEight)),
              HasSubstr("__metadata__ is not an object"));
}

TEST(Safetensors, WhatIsNoRegularFileIsRefusedAndDoesNotHang) {
  EXPECT_THAT(ErrorOf(Path("absent")), HasSubstr("No such file"));
  EXPECT_THAT(ErrorOf(::testing::TempDir()), HasSubstr("is a folder, not a file"));
  EXPECT_THAT(ErrorOf("/dev/zero"), HasSubstr("is a device, not a file"));
  unlink(Path("pipe").c_str());
  ASSERT_EQ(mkfifo(Path("pipe").c_str(), 0600), 0);
  EXPECT_THAT(ErrorOf(Path("pipe")), HasSubstr("is a pipe, not a file"));
  unlink(Path("loop").c_str());
  ASSERT_EQ(symlink(Path("loop").c_str(), Path("loop").c_str()), 0);
  EXPECT_THAT(ErrorOf(Path("loop")), HasSubstr("symbolic links"));
}

TEST(Safetensors, AFileThatShrinksWhileItIsReadIsAnError) {
  const auto file = SafetensorsFile::Open(File("{" + Tensor("a", "F32", "[2]", "[0,8]") + "}", kEight));
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_EQ(truncate(Path("file").c_str(), 20), 0);
  float values[2];
  EXPECT_THAT(std::string((*file)->ReadFloats((*file)->tensors()[0], values).message()),
              HasSubstr("became shorter"));
}

TEST(Safetensors, TwoHundredThousandTensorsAreRead) {
  std::string header = "{";
  for (int i = 0; i < 200000; ++i) {
    if (i > 0) header += ",";
    header += Tensor(absl::StrCat("t", i), "U8", "[1]", absl::StrCat("[", i, ",", i + 1, "]"));
  }
  const auto file = SafetensorsFile::Open(File(header + "}", std::string(200000, 'z')));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ((*file)->tensors().size(), 200000u);
  EXPECT_EQ((*file)->Find("t199999")->begin, 199999);
  EXPECT_EQ((*file)->Find("u"), nullptr);
}

TEST(Safetensors, EveryHalfAndBfloatIsTheSameNumberAsFloat) {
  std::string words(65536 * 2, '\0');
  for (int i = 0; i < 65536; ++i) {
    const uint16_t word = static_cast<uint16_t>(i);
    memcpy(&words[2 * i], &word, 2);
  }
  const auto file = SafetensorsFile::Open(File("{" + Tensor("f16", "F16", "[65536]", "[0,131072]") + "," +
                                                   Tensor("bf16", "BF16", "[65536]", "[131072,262144]") + "}",
                                               words + words));
  ASSERT_TRUE(file.ok()) << file.status();
  std::vector<float> half(65536), brain(65536);
  ASSERT_TRUE((*file)->ReadFloats(*(*file)->Find("f16"), half.data()).ok());
  ASSERT_TRUE((*file)->ReadFloats(*(*file)->Find("bf16"), brain.data()).ok());
  for (int i = 0; i < 65536; ++i) {
    const int exponent = i >> 10 & 31, fraction = i & 1023;
    double expected = exponent == 0   ? std::ldexp(fraction, -24)
                      : exponent < 31 ? std::ldexp(1024 + fraction, exponent - 25)
                      : fraction == 0 ? INFINITY
                                      : NAN;
    if (i >> 15) expected = -expected;
    if (std::isnan(expected)) {
      EXPECT_TRUE(std::isnan(half[i])) << i;
    } else {
      EXPECT_EQ(half[i], expected) << i;
      EXPECT_EQ(std::signbit(half[i]), i >> 15 != 0) << i;
    }
    EXPECT_EQ(std::bit_cast<uint32_t>(brain[i]), static_cast<uint32_t>(i) << 16);
  }
}

TEST(Safetensors, OtherDtypesAreNoFloats) {
  const auto file = SafetensorsFile::Open(File("{" + Tensor("a", "F64", "[1]", "[0,8]") + "}", kEight));
  ASSERT_TRUE(file.ok());
  float value;
  EXPECT_THAT(std::string((*file)->ReadFloats((*file)->tensors()[0], &value).message()),
              HasSubstr("tensor a: has dtype F64; temper reads F32, BF16, F16 and F8_E4M3"));
  char bytes[8];
  ASSERT_TRUE((*file)->ReadBytes((*file)->tensors()[0], bytes).ok());
  EXPECT_EQ(std::string(bytes, 8), kEight);
}

TEST(Safetensors, AStopRequestEndsTheReading) {
  const at::Tensor ones = at::ones({4}, at::kFloat);
  ASSERT_TRUE(WriteSafetensors(Path("stop"), {{"a", ones}, {"b", ones.to(at::kHalf)}}, {}).ok());
  const auto file = SafetensorsFile::Open(Path("stop"));
  ASSERT_TRUE(file.ok());
  float values[4];
  const StopForTest stop;
  for (const char* name : {"a", "b"})
    EXPECT_TRUE(absl::IsCancelled((*file)->ReadFloats(*(*file)->Find(name), values))) << name;
}

TEST(Safetensors, APieceOfATensorIsRead) {
  const auto file = SafetensorsFile::Open(File("{" + Tensor("a", "F32", "[2]", "[0,8]") + "," +
                                                   Tensor("b", "F8_E4M3", "[2,2]", "[8,12]") + "," +
                                                   Tensor("c", "BF16", "[3]", "[12,18]") + "}",
                                               kEight + "\x38\xb8\x7e\x01" + "ab\x80\x3f" + "cd"));
  ASSERT_TRUE(file.ok()) << file.status();
  float values[3];
  ASSERT_TRUE((*file)->ReadFloats(*(*file)->Find("b"), 1, 3, values).ok());
  EXPECT_THAT(values, ElementsAre(-1.0f, 448.0f, 0x1p-9f));
  ASSERT_TRUE((*file)->ReadFloats(*(*file)->Find("c"), 1, 1, values).ok());
  EXPECT_EQ(values[0], 1.0f);
  char bytes[2];
  ASSERT_TRUE((*file)->ReadBytes(*(*file)->Find("c"), 4, 2, bytes).ok());
  EXPECT_EQ(std::string(bytes, 2), "cd");
  EXPECT_THROW((void)(*file)->ReadFloats(*(*file)->Find("c"), 1, 3, values), InternalError);
}

TEST(Safetensors, TheHeaderIsParsedWithoutAFile) {
  const std::string header = "{" + Tensor("a", "F32", "[2]", "[0,8]") + "}";
  const auto parsed = ParseSafetensorsHeader(header, 8, "there");
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->tensors[0].elements, 2);
  EXPECT_EQ(std::string(ParseSafetensorsHeader(header, 7, "there").status().message()),
            "there: tensor a: data_offsets [0, 8] leave the 7 bytes of data");
}

TEST(Safetensors, AFileIsWrittenPieceByPieceInAnyOrder) {
  {
    auto writer = SafetensorsWriter::Create(Path("pieces"), {{"a", "F32", {2}}, {"b", "BF16", {1}}}, {});
    ASSERT_TRUE(writer.ok()) << writer.status();
    EXPECT_TRUE((*writer)->Write("b", 0, "xy", 2).ok());
    EXPECT_TRUE((*writer)->Write("a", 4, "5678", 4).ok());
    EXPECT_THROW((void)(*writer)->Commit(), InternalError);
    EXPECT_THROW((void)(*writer)->Write("a", 5, "5678", 4), InternalError);
  }
  EXPECT_FALSE(FileExists(Path("pieces"))) << "nothing is there before all of it is";
  auto writer = SafetensorsWriter::Create(Path("pieces"), {{"b", "BF16", {1}}, {"a", "F32", {2}}}, {});
  ASSERT_TRUE(writer.ok()) << writer.status();
  EXPECT_TRUE((*writer)->Write("b", 0, "xy", 2).ok());
  EXPECT_TRUE((*writer)->Write("a", 4, "5678", 4).ok());
  EXPECT_TRUE((*writer)->Write("a", 0, "1234", 4).ok());
  ASSERT_TRUE((*writer)->Commit().ok());
  const std::string bytes = *ReadFile(Path("pieces"));
  EXPECT_EQ(bytes.substr(bytes.size() - 10), "12345678xy");
  EXPECT_TRUE(SafetensorsFile::Open(Path("pieces")).ok());
  EXPECT_EQ(unlink(Path("pieces").c_str()), 0);
}

at::Tensor Floats(const std::vector<int64_t>& shape, float first) {
  at::Tensor tensor = at::empty(shape, at::kFloat);
  for (int64_t i = 0; i < tensor.numel(); ++i)
    tensor.mutable_data_ptr<float>()[i] = first + static_cast<float>(i) / 7;
  return tensor;
}

TEST(Safetensors, WhatIsWrittenIsReadBackBitByBit) {
  const at::Tensor a = Floats({3, 5}, 1e-42f), empty = at::empty({0, 4}, at::kFloat),
                   scalar = Floats({}, -0.0f);
  at::Tensor bytes = at::empty({3}, at::kByte);
  memcpy(bytes.mutable_data_ptr<uint8_t>(), "\x00\x7f\xff", 3);
  const std::vector<NamedTensor> tensors = {
      {"u8", bytes}, {"z", a}, {"a \"quoted\" \u00e9", scalar}, {"empty", empty}};
  ASSERT_TRUE(WriteSafetensors(Path("written"), tensors, {{"step", "12"}}).ok());

  const auto file = SafetensorsFile::Open(Path("written"));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ((*file)->metadata().at("step"), "12");
  ASSERT_EQ((*file)->tensors().size(), 4u);
  for (const NamedTensor& tensor : tensors) {
    const TensorInfo* info = (*file)->Find(tensor.name);
    ASSERT_NE(info, nullptr) << tensor.name;
    EXPECT_EQ(info->shape, tensor.value.sizes().vec());
    std::string read(info->end - info->begin, '?');
    ASSERT_TRUE((*file)->ReadBytes(*info, read.data()).ok());
    EXPECT_EQ(read, std::string(static_cast<const char*>(tensor.value.const_data_ptr()), read.size()));
  }
  const auto raw = ReadFile(Path("written"));
  uint64_t length = 0;
  memcpy(&length, raw->data(), 8);
  EXPECT_EQ(length % 8, 0u) << "the data is aligned";
}

TEST(Safetensors, TheSameTensorsMakeTheSameFileInAnyOrder) {
  const at::Tensor a = Floats({3, 5}, 1), b = Floats({2}, 2);
  ASSERT_TRUE(WriteSafetensors(Path("one"), {{"a", a}, {"b", b}}).ok());
  ASSERT_TRUE(WriteSafetensors(Path("two"), {{"b", b}, {"a", a}}).ok());
  EXPECT_EQ(*ReadFile(Path("one")), *ReadFile(Path("two")));
}

TEST(Safetensors, AViewIsWrittenInItsOwnOrder) {
  const at::Tensor transposed = Floats({2, 3}, 0).t();
  ASSERT_TRUE(WriteSafetensors(Path("view"), {{"t", transposed}}).ok());
  const auto file = SafetensorsFile::Open(Path("view"));
  std::vector<float> read(6);
  ASSERT_TRUE((*file)->ReadFloats((*file)->tensors()[0], read.data()).ok());
  EXPECT_THAT(read, ElementsAre(0.f, 3 / 7.f, 1 / 7.f, 4 / 7.f, 2 / 7.f, 5 / 7.f));
}

TEST(Safetensors, AFailedWriteLeavesTheOldFile) {
  ASSERT_TRUE(WriteSafetensors(Path("old"), {{"a", Floats({2}, 1)}}).ok());
  const std::string before = *ReadFile(Path("old"));
  EXPECT_FALSE(WriteSafetensors(Path("no/such/folder"), {{"a", Floats({2}, 1)}}).ok());
  EXPECT_THROW((void)WriteSafetensors(Path("old"), {{"a", Floats({2}, 1)}, {"a", Floats({2}, 2)}}),
               InternalError);
  EXPECT_EQ(*ReadFile(Path("old")), before);
}

}  // namespace
}  // namespace temper
