// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace temper {

// Rows of a recorded step (model/decode/pass.h) in which so many sequences decode: products take 8 rows at a
// time.
inline int64_t StepRows(int64_t sequences) {
  if (sequences <= 2) return sequences;
  const int64_t each = sequences <= 4 ? 4 : sequences <= 64 ? 8 : sequences <= 256 ? 16 : 64;
  return (sequences + each - 1) / each * each;
}

}  // namespace temper
