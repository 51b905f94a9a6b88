// SPDX-License-Identifier: Apache-2.0
#include "kernels/convert.h"

#include "kernels/cpu/convert.h"
#include "kernels/isa.h"

namespace temper::kernels {

void BfloatToFloat(int64_t n, const uint16_t* in, float* out) { TEMPER_DISPATCH(BfloatToFloat)(n, in, out); }

void HalfToFloat(int64_t n, const uint16_t* in, float* out) { TEMPER_DISPATCH(HalfToFloat)(n, in, out); }

void Fp8ToFloat(const Fp8Run& run, const uint8_t* in, float* out) {
  TEMPER_DISPATCH(Fp8ToFloat)(run, in, out);
}

void FloatToBfloat(int64_t n, const float* in, uint16_t* out) { TEMPER_DISPATCH(FloatToBfloat)(n, in, out); }

void FloatToFp8(const Fp8Run& run, const float* in, uint8_t* out) {
  TEMPER_DISPATCH(FloatToFp8)(run, in, out);
}

uint32_t LargestSize(int64_t n, const float* in) { return TEMPER_DISPATCH(LargestSize)(n, in); }

}  // namespace temper::kernels
