// SPDX-License-Identifier: Apache-2.0
#include "model/files/dtype.h"

#include <cstring>

#include "core/check.h"
#include "kernels/convert.h"
#include "model/files/fp8.h"

namespace temper {
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
    kernels::BfloatToFloat(count, static_cast<const uint16_t*>(in), out);
  } else if (dtype == "F16") {
    kernels::HalfToFloat(count, static_cast<const uint16_t*>(in), out);
  } else {
    TEMPER_CHECK(dtype == kFp8Dtype, "not a float dtype");
    kernels::Fp8ToFloat({count, 1.0f}, static_cast<const uint8_t*>(in), out);
  }
}

bool EncodeBf16(const float* in, int64_t count, uint16_t* out) {
  kernels::FloatToBfloat(count, in, out);
  const uint32_t largest = kernels::LargestSize(count, in);
  return largest < 0x7f7f8000 || largest >= 0x7f800000;
}

}  // namespace temper
