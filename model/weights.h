// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model/linear.h"
#include "model/parameters.h"

namespace temper {

// The policy's weights as its layers use them: in a backend's memory, with the panels packed from them and
// the places of their gradients. `parameters()` may be changed if Changed follows. Rounded ones compute with
// the nearest bf16 of each number that is trained: what is trained keeps its own precision.
class Weights : public WeightSource {
 public:
  // The backend outlives the weights, which go to its memory if that is not the host's.
  Weights(const ModelConfig& config, Parameters parameters, kernels::Backend* backend, bool rounded = false);
  Weights(const Weights&) = delete;
  Weights& operator=(const Weights&) = delete;

  Parameters& parameters() { return parameters_; }
  const Parameters& parameters() const { return parameters_; }
  // What is computed with: parameters(), or what they were rounded to.
  const Parameters& computed() const { return rounded_ ? *rounded_ : parameters_; }
  bool rounded() const { return rounded_.has_value(); }
  kernels::Backend& backend() const { return *backend_; }
  const Weight* Find(const std::string& name) const override;  // by its name in the layout
  // Of a rank that has it (Layout).
  const Weight& embedding() const { return *embedding_; }
  const Weight& head() const { return head_; }
  // Whether the head is the embedding: of a pipeline, its first and its last rank have it.
  bool tied() const { return tied_; }

  // The policy version that the weights are now; panels packed from older ones are packed anew by Pack.
  void Changed(int64_t version);
  int64_t version() const { return version_; }
  // Before a pass.
  void Pack();
  int64_t packed_bytes() const { return packed_floats_ * 4; }

  // The gradient of every trained parameter, flat, at its offset of the layout; with tied embeddings the
  // head's own part follows (GradientFloats). The buffer is the caller's, in the backend's memory, and is not
  // cleared.
  void BindGradients(float* flat);
  int64_t TrainedFloats() const { return parameters_.layout().trained_elements(); }
  int64_t GradientFloats() const { return TrainedFloats() + (tied_ ? head_.n() * head_.k() : 0); }
  // Tied embedding: adds the head's part to the embedding's (head, then embedding), once a leaf.
  void FoldTiedHead();

 private:
  Parameters parameters_;
  std::optional<Parameters> rounded_;
  kernels::Backend* const backend_;
  bool tied_ = false;
  int64_t version_ = 0, packed_version_ = -1;
  std::vector<Weight> weights_;  // one for each parameter
  Weight* embedding_ = nullptr;
  Weight head_;
  std::vector<Weight*> used_whole_;            // whose products read them packed
  std::vector<kernels::PackedMatrix> packed_;  // of each of them
  std::shared_ptr<void> packed_memory_;
  int64_t packed_floats_ = 0;
};

}  // namespace temper
