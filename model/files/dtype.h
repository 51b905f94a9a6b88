// SPDX-License-Identifier: Apache-2.0
// The number formats of safetensors, by the format's own words: F32, BF16, F16, F8_E4M3, I64, ...
#pragma once

#include <cstdint>
#include <string_view>

namespace temper {

// Of one element; 0: no such dtype.
int64_t DtypeBytes(std::string_view dtype);

// F32, BF16, F16 and F8_E4M3: every value of them is an f32.
bool IsFloatDtype(std::string_view dtype);

// out[i] is the number in[i], exactly. The dtype is one of those above, `in` aligned to it.
void DecodeFloats(std::string_view dtype, const void* in, int64_t count, float* out);

// The nearest BF16, ties to even. False if finite values only are given and one is beyond all of BF16 (it
// becomes infinite).
bool EncodeBf16(const float* in, int64_t count, uint16_t* out);

}  // namespace temper
