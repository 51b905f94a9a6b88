// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace temper::kernels {

// ln x for positive normal x, relative error below 1e-15, from additions, multiplications and divisions
// alone: libm's bits differ from one C library to the next. Compiled once, so every instruction set has the
// same bits.
double Log(double x);

}  // namespace temper::kernels
