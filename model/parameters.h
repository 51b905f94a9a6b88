// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "ATen/core/Tensor.h"
#include "kernels/backend.h"
#include "model/layout.h"

namespace temper {

// A tensor in the backend's memory, or the host's, not cleared. One in memory that is not the host's is of a
// device that LibTorch computes nothing on; the backend outlives it.
at::Tensor NewTensor(kernels::Backend& backend, at::IntArrayRef sizes, at::ScalarType type = at::kFloat);
at::Tensor NewHostTensor(at::IntArrayRef sizes, at::ScalarType type = at::kFloat);
// The tensor itself, or a copy in the host's memory.
at::Tensor OnHost(const at::Tensor& value);
// Numbers [first, first + count) of a vector, where they lie.
at::Tensor Elements(const at::Tensor& vector, int64_t first, int64_t count);
// to = from, both contiguous and of one size and type, each wherever it lies.
void CopyTensor(const at::Tensor& from, const at::Tensor& to);

// A parameter as kernels see it; a vector is of one column.
kernels::Matrix MatrixOf(const at::Tensor& value);

struct Parameter : LayoutEntry {
  at::Tensor value;  // f32; a matrix that is computed with and not trained may be bf16
};

// The policy's weights: its layout, each entry with its values, which are contiguous.
class Parameters {
 public:
  Parameters() = default;
  // values[i] is what the layout's entry i says, in one dimension where the rank keeps a share of it; another
  // shape is a broken invariant.
  Parameters(Layout layout, std::vector<at::Tensor> values);

  const Layout& layout() const { return layout_; }
  std::vector<Parameter>& list() { return list_; }
  const std::vector<Parameter>& list() const { return list_; }
  // A name that is not there is a broken invariant.
  const at::Tensor& operator[](std::string_view name) const;
  bool Has(std::string_view name) const { return layout_.Find(name) >= 0; }
  // A deep copy, in the host's memory.
  Parameters Clone() const;

 private:
  Layout layout_;
  std::vector<Parameter> list_;
};

// What a policy with bf16 weights computes with: of what is trained, matrices are bf16 and vectors f32 of
// bf16 numbers. The rest is shared. Not yet filled, in the backend's memory.
Parameters ForRounded(const Parameters& parameters, kernels::Backend& backend);
// Fills it.
void Round(const Parameters& parameters, kernels::Backend& backend, Parameters* rounded);

// Scales of the random initial values: embedding N(0, embedding_std); linear N(0, gain^2 / fan_in); the
// projections onto the residual stream (o_proj, down_proj) also divided by sqrt(2 layers); the head N(0,
// head_gain^2 / fan_in); norms 1, biases 0.
struct InitScales {
  float embedding_std = 0.02f;
  float linear_gain = 1.0f;
  float head_gain = 1.0f;
};

// Philox draws, keyed by (seed, parameter name): a tensor's values do not depend on the others, nor on who
// has which part of it. Once a stop was requested the rest is not drawn, so callers that would go on ask
// CheckStop (core/stop.h).
Parameters InitializeParameters(const ModelConfig& config, uint64_t seed, const InitScales& scales,
                                const MeshPlace& place = {});

}  // namespace temper
