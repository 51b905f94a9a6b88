// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "ATen/core/Tensor.h"

namespace temper {

// A row-major f32 matrix somewhere in a workspace, a weight or a caller's buffer; never owns.
struct Rows {
  float* data = nullptr;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t stride = 0;

  // Columns [begin, begin + count).
  Rows Columns(int64_t begin, int64_t count) const { return {data + begin, rows, count, stride}; }
};

// Where a pass keeps its activations: takes memory from the top of a few large tensors and gives all back at
// once, so that a layer costs no allocation. Memory is not cleared. Not for two threads.
class Workspace {
 public:
  explicit Workspace(at::Device device = at::kCPU) : device_(device) {}

  float* Floats(int64_t count);
  Rows NewRows(int64_t rows, int64_t cols) { return {Floats(rows * cols), rows, cols, cols}; }

  struct Mark {
    size_t chunk = 0;
    int64_t used = 0;
  };
  // What was taken after Here() is given back by Release. Pointers into it die.
  Mark Here() const { return {chunk_, used_}; }
  void Release(const Mark& mark);
  void Clear() { Release({}); }

  bool is_cuda() const { return device_.is_cuda(); }
  int64_t bytes() const;

 private:
  at::Device device_;
  std::vector<at::Tensor> chunks_;
  size_t chunk_ = 0;
  int64_t used_ = 0;  // floats of chunks_[chunk_]
};

}  // namespace temper
