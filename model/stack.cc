// SPDX-License-Identifier: Apache-2.0
#include "model/stack.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "core/check.h"

namespace temper {
namespace {

// A layer's weights behind its prefix.
class LayerWeights : public WeightSource {
 public:
  LayerWeights(const WeightSource& all, int64_t layer)
      : all_(all), prefix_(absl::StrCat("model.layers.", layer, ".")) {}
  const Weight* Find(const std::string& name) const override { return all_.Find(prefix_ + name); }

 private:
  const WeightSource& all_;
  const std::string prefix_;
};

}  // namespace

Stack::Stack(const ModelConfig& config, Weights* weights, const Mesh& mesh)
    : config_(config),
      weights_(*weights),
      mesh_(mesh),
      vocabulary_(config, weights),
      final_norm_(*weights, "model.norm", config.rms_norm_eps),
      rope_(config, &weights->backend()) {
  TEMPER_CHECK(static_cast<bool>(final_norm_));
  TEMPER_CHECK(mesh.sizes().tp == 1 || (backend().exact() && backend().host_memory()),
               "ranks share products on the CPU only");
  for (int64_t layer = 0; layer < config.num_layers; ++layer) {
    const LayerWeights source(*weights, layer);
    blocks_.push_back(MakeAttentionBlock(config, source, {layer, mesh.place()}));
    blocks_.push_back(MakeMlpBlock(config, source, {layer, mesh.place()}));
  }
}

BatchView Stack::View(const std::vector<int32_t>& positions,
                      absl::Span<const kernels::AttentionSequence> sequences) {
  const int32_t last = positions.empty() ? 0 : *std::max_element(positions.begin(), positions.end());
  rope_.Reserve(last + 1);
  return {positions, sequences, rope_.cosines(), rope_.sines(), config_.rope_interleaved};
}

}  // namespace temper
