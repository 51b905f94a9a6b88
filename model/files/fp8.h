// SPDX-License-Identifier: Apache-2.0
// FP8 e4m3 as DeepSeek-V3's checkpoints have it: torch's float8_e4m3fn (4 bits of exponent, bias 7, no
// infinity, codes 0x7f and 0xff are NaN, the largest number 448), with one scale for each block of 128 x 128.
//
// A weight of block b is code * scale_inv[b], one f32 product. Blocks at the edge are smaller; padding them
// with zeros would change nothing (README_WEIGHTS.md of deepseek-ai/DeepSeek-V3). How DeepSeek chose the
// scales of its files is not published; these are those of its quantizer of activations (inference/kernel.py,
// act_quant), without its floor of 1e-4, which is made for activations: scale_inv = amax / 448, code =
// nearest(value / scale_inv), ties to even. A block of zeros has the scale 1.
#pragma once

#include <cstdint>

#include "model/config/quantization.h"

namespace temper {

constexpr char kFp8Dtype[] = "F8_E4M3";
constexpr char kScaleSuffix[] = "_scale_inv";  // NAME.weight's scales are called NAME.weight_scale_inv
constexpr float kFp8Max = 448;

constexpr int64_t Fp8Blocks(int64_t size) { return (size + kFp8Block - 1) / kFp8Block; }

float Fp8Value(uint8_t code);
// The nearest, ties to even; beyond 448, infinity too, 448 of the same sign; NaN stays NaN.
uint8_t Fp8Code(float value);

// One row of blocks: `rows` (at most 128) x `columns` finite values become codes, scales[Fp8Blocks(columns)].
void QuantizeBlockRow(const float* in, int64_t rows, int64_t columns, uint8_t* codes, float* scales);

// out[rows][columns] = codes * the scales of their blocks; the rows lie in one row of blocks.
void DequantizeBlockRow(const uint8_t* codes, int64_t rows, int64_t columns, const float* scales, float* out);

}  // namespace temper
