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
      rope_(config, &weights->backend(), mesh.world().counts_only()) {
  TEMPER_CHECK(mesh.sizes().tp * mesh.sizes().ep == 1 || (backend().exact() && backend().host_memory()),
               "ranks share products on the CPU only");
  const int64_t chunks = mesh.sizes().chunks();
  for (int64_t c = 0; c < chunks; ++c) {
    Chunk& chunk = chunks_.emplace_back();
    chunk.begin = blocks_.size();
    const IndexRange layers = LayersOf(config, mesh.place(), c);
    for (int64_t layer = layers.begin; layer < layers.end; ++layer) {
      const LayerWeights source(*weights, layer);
      layers_.push_back(layer);
      blocks_.push_back(MakeAttentionBlock(config, source, {layer, mesh.place()}));
      blocks_.push_back(MakeMlpBlock(config, source, {layer, mesh.place()}));
    }
    chunk.end = blocks_.size();
    chunk.embeds = c == 0 && pipeline().rank() == 0;
    chunk.predicts = c == chunks - 1 && pipeline().rank() == pipeline().size() - 1;
  }
  TEMPER_CHECK(chunks_.back().predicts == static_cast<bool>(final_norm_));
  if (config.has_mtp() && chunks_.back().predicts)
    mtp_ = std::make_unique<Mtp>(config, LayerWeights(*weights, config.num_layers), mesh.place());
}

void Stack::SendRows(Matrix rows, int to, int tag) const {
  const size_t bytes = rows.rows * rows.cols * sizeof(float);
  if (pipeline().counts_only()) return pipeline().SendCopy(nullptr, bytes, to, tag);
  std::vector<float> host(rows.rows * rows.cols);
  backend().CopyToHost(rows, host.data());
  pipeline().SendCopy(host.data(), bytes, to, tag);
}

void Stack::ReceiveRows(Matrix rows, int from, int tag) const {
  const size_t bytes = rows.rows * rows.cols * sizeof(float);
  if (pipeline().counts_only()) return pipeline().Receive(nullptr, bytes, from, tag);
  std::vector<float> host(rows.rows * rows.cols);
  pipeline().Receive(host.data(), bytes, from, tag);
  backend().CopyFromHost(host.data(), rows);
}

BatchView Stack::View(const std::vector<int32_t>& positions,
                      absl::Span<const kernels::AttentionSequence> sequences) {
  const int32_t last = positions.empty() ? 0 : *std::max_element(positions.begin(), positions.end());
  rope_.Reserve(last + 1);
  return {positions, sequences, rope_.cosines(), rope_.sines(), config_.rope_interleaved};
}

}  // namespace temper
