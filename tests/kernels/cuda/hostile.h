// SPDX-License-Identifier: Apache-2.0
// What the tests of kernels/cuda share: numbers in memory whose ends are watched, and a launch under every
// hostile stream beside the CPU's backend.
#pragma once

#include <gtest/gtest.h>

#include <vector>

#include "kernels/cuda/stream.h"
#include "tests/kernels/reference.h"

namespace temper::kernels {

// Rows of numbers that lie `apart` or more; the numbers between them must stay what they are.
struct Grid {
  Grid(int64_t row_count, int64_t col_count, uint32_t seed, int64_t between = 0)
      : rows(row_count), cols(col_count), stride(col_count + between), data(Numbers(rows * stride, seed)) {}
  Matrix matrix() { return {data.data(), Type::kF32, rows, cols, stride}; }

  int64_t rows, cols, stride;
  std::vector<float> data;
};

// launch(stream) under each of the streams; then check(). A sanitizer, with which threads of a block change
// slowly, sees two of them.
template <typename Launch, typename Check>
void UnderHostileStreams(const Launch& launch, const Check& check) {
  std::vector<sim::Stream> streams = sim::HostileStreams();
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  streams.erase(streams.begin(), streams.end() - 2);
#endif
  for (sim::Stream stream : streams) {
    SCOPED_TRACE(testing::Message() << "order " << static_cast<int>(stream.order) << ", copies "
                                    << (stream.late_copies ? "late" : "at once"));
    launch(stream);
    check();
  }
}

}  // namespace temper::kernels
