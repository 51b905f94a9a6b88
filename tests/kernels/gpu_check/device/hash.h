// SPDX-License-Identifier: Apache-2.0
// What sums of a function's values are made of, on a device and on the host.
#pragma once

#include "kernels/cuda/device.h"

namespace temper::kernels {
namespace TEMPER_DEVICE {

constexpr uint64_t kOneNaN = 0x7fc00000, kInfinityDoubled = 0xffe0000000000000;

// Of an input's bits and its value's: SplitMix64's finish (Steele, Lea and Flood 2014).
WORD_HOST uint64_t FunctionHash(uint32_t x, uint64_t y) {
  uint64_t z = y + x * 0x9e3779b97f4a7c15;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
  z = (z ^ z >> 27) * 0x94d049bb133111eb;
  return z ^ z >> 31;
}

}  // namespace TEMPER_DEVICE
}  // namespace temper::kernels
