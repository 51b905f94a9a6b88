// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "comm/mesh.h"
#include "kernels/backend.h"

namespace temper {

using kernels::Matrix;

// Where a pass keeps its activations: takes memory from the top of a few large pieces and gives all back at
// once, so that a layer costs no allocation. Memory is not cleared. Not for two threads.
class Workspace {
 public:
  // Memory is the backend's, which outlives it.
  explicit Workspace(kernels::Backend* backend) : backend_(backend) {}

  float* Floats(int64_t count);
  int32_t* Ints(int64_t count) { return reinterpret_cast<int32_t*>(Floats(count)); }
  Matrix NewRows(int64_t rows, int64_t cols) { return kernels::F32(Floats(rows * cols), rows, cols); }

  struct Mark {
    size_t chunk = 0;
    int64_t used = 0;
  };
  // What was taken after Here() is given back by Release. Pointers into it die.
  Mark Here() const { return {chunk_, used_}; }
  void Release(const Mark& mark);
  void Clear() { Release({}); }

  // That were taken at once, at most: what is never taken of a piece is never touched.
  int64_t bytes() const;
  // Of all pieces.
  int64_t allocated_bytes() const;

 private:
  struct Chunk {
    std::shared_ptr<void> memory;
    int64_t floats;
    int64_t taken = 0;  // at most
  };

  kernels::Backend* backend_;
  std::vector<Chunk> chunks_;
  size_t chunk_ = 0;
  int64_t used_ = 0;  // floats of chunks_[chunk_]
};

class WeightQueue;
struct Stretches;

// What a block computes with. `later`: where the gradients of weights are put, which else are computed at
// once (model/linear.h). `stretches`: of the rows, where they are a long sequence's (model/stretches.h); then
// gradients of weights do not go on in a leaf but are added stretch by stretch. `shares_rows`: between the
// products ranks of mesh.tp have their own rows alone (model/across.h).
struct Context {
  kernels::Backend* backend = nullptr;
  Workspace* workspace = nullptr;
  const Mesh* mesh = &Mesh::Single();
  WeightQueue* later = nullptr;
  const Stretches* stretches = nullptr;
  bool shares_rows = false;
  // Nothing may be waited for: how many rows experts have, the backend alone knows (kernels::Routing).
  bool never_waits = false;
};

}  // namespace temper
