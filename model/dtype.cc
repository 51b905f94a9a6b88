// SPDX-License-Identifier: Apache-2.0
#include "model/dtype.h"

#include <bit>
#include <cstring>

#include "core/check.h"
#include "model/fp8.h"

namespace temper {
namespace {

// IEEE 754 binary16.
float FromHalf(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16;
  const uint32_t exponent = half >> 10 & 31, fraction = half & 0x3ff;
  if (exponent == 0) return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(fraction * 0x1p-24f));
  return std::bit_cast<float>(sign | (exponent == 31 ? 255 : exponent + 112) << 23 | fraction << 13);
}

uint16_t Word(const void* words, int64_t i) {
  uint16_t word;
  memcpy(&word, static_cast<const char*>(words) + 2 * i, 2);
  return word;
}

}  // namespace

int64_t DtypeBytes(std::string_view dtype) {
  static constexpr struct {
    std::string_view name;
    int bytes;
  } kTypes[] = {{"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"F8_E5M2", 1}, {"F8_E4M3", 1}, {"F8_E8M0", 1},
                {"I16", 2},  {"U16", 2}, {"F16", 2}, {"BF16", 2},    {"I32", 4},     {"U32", 4},
                {"F32", 4},  {"F64", 8}, {"I64", 8}, {"U64", 8},     {"C64", 8}};
  for (const auto& type : kTypes) {
    if (dtype == type.name) return type.bytes;
  }
  return 0;
}

bool IsFloatDtype(std::string_view dtype) {
  return dtype == "F32" || dtype == "BF16" || dtype == "F16" || dtype == kFp8Dtype;
}

void DecodeFloats(std::string_view dtype, const void* in, int64_t count, float* out) {
  if (dtype == "F32") {
    memcpy(out, in, count * sizeof(float));
  } else if (dtype == "BF16") {
    for (int64_t i = 0; i < count; ++i)
      out[i] = std::bit_cast<float>(static_cast<uint32_t>(Word(in, i)) << 16);
  } else if (dtype == "F16") {
    for (int64_t i = 0; i < count; ++i) out[i] = FromHalf(Word(in, i));
  } else {
    TEMPER_CHECK(dtype == kFp8Dtype, "not a float dtype");
    DecodeFp8(static_cast<const uint8_t*>(in), count, out);
  }
}

bool EncodeBf16(const float* in, int64_t count, uint16_t* out) {
  uint32_t beyond = 0;
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t bits = std::bit_cast<uint32_t>(in[i]), size = bits & 0x7fffffff;
    const uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    beyond |= size >= 0x7f7f8000 && size < 0x7f800000;
    // A NaN stays one: rounding could carry its fraction into the exponent.
    out[i] = static_cast<uint16_t>(size > 0x7f800000 ? bits >> 16 | 0x40 : rounded);
  }
  return beyond == 0;
}

}  // namespace temper
