// SPDX-License-Identifier: Apache-2.0
#include "kernels/matrix.h"

#include "core/check.h"

namespace temper::kernels {

void Matrix::WrongType() const {
  TEMPER_CHECK(false, "a matrix of type ", static_cast<int>(type), " where f32 is computed");
}

}  // namespace temper::kernels
