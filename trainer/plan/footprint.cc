// SPDX-License-Identifier: Apache-2.0
#include "trainer/plan/footprint.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "comm/reduce.h"
#include "kernels/backends/counting.h"
#include "model/causal_lm.h"
#include "trainer/update/pipeline.h"
#include "trainer/update/unit_sum.h"

namespace temper {
namespace {

// Memory of a microbatch hardly depends on where its sequences end: these end here, at the latest.
constexpr int64_t kCountedSequence = 4096;

// A policy without numbers.
class Counted {
 public:
  Counted(const ModelConfig& config, const PolicyPlace& place, bool trained)
      : mesh_(Mesh::Counting(place.mesh)), pool_(1), backend_(&pool_, /*packs=*/!place.on_gpu) {
    Layout layout(config, place.mesh);
    std::vector<at::Tensor> values;
    for (const LayoutEntry& entry : layout.entries())
      values.push_back(entry.elements == PartElements(entry) ? NewTensor(backend_, entry.shape)
                                                             : NewTensor(backend_, {entry.elements}));
    Parameters parameters(std::move(layout), std::move(values));
    if (place.bf16 && !trained) parameters = ForRounded(parameters, backend_);
    policy_ =
        std::make_unique<CausalLm>(config, std::move(parameters), &backend_, place.bf16 && trained, mesh_);
  }

  PolicyFootprint Footprint() {
    PolicyFootprint footprint{.weights = backend_.bytes()};
    policy_->weights().Pack();
    footprint.packed = policy_->weights().packed_bytes();
    return footprint;
  }
  const Mesh& mesh() const { return mesh_; }
  kernels::CountingBackend& backend() { return backend_; }
  CausalLm& policy() { return *policy_; }

 private:
  const Mesh mesh_;
  ThreadPool pool_;
  kernels::CountingBackend backend_;
  std::unique_ptr<CausalLm> policy_;
};

std::array<int64_t, kAxes> Sent(const Mesh& mesh) {
  std::array<int64_t, kAxes> sent;
  for (int i = 0; i < kAxes; ++i) sent[i] = mesh.axis(static_cast<Axis>(i)).sent_bytes();
  return sent;
}

}  // namespace

PolicyFootprint FootprintOf(const ModelConfig& config, const PolicyPlace& place) {
  return Counted(config, place, /*trained=*/false).Footprint();
}

UpdateFootprint FootprintOf(const ModelConfig& config, const PolicyPlace& place, const UpdatesConfig& updates,
                            int64_t longest) {
  Counted counted(config, place, /*trained=*/true);
  Weights& weights = counted.policy().weights();
  UpdateFootprint footprint{counted.Footprint()};
  footprint.trained = weights.TrainedFloats() * 4;
  std::shared_ptr<void> gradient;
  std::unique_ptr<UnitSum> units;
  if (weights.shared_out()) {
    units = std::make_unique<UnitSum>(&weights, kernels::QuantaRule{}, &counted.mesh().axis(Axis::kDpShard));
    units->BeginLeaf(1);
    units->BeginMicrobatch(/*last=*/true);
  } else if (place.mesh.sizes.ep > 1) {  // a leaf of each rank's rows for the experts
    const int64_t ep = place.mesh.sizes.ep, experts = weights.ExpertFloats();
    const int64_t others = weights.GradientFloats() - experts;
    footprint.gradient = (others + ep * experts) * 4;
    gradient = counted.backend().Allocate(footprint.gradient);
    auto* const floats = static_cast<float*>(gradient.get());
    std::vector<float*> of_ranks;
    for (int64_t r = 0; r < ep; ++r) of_ranks.push_back(floats + others + r * experts);
    weights.BindGradients(floats, of_ranks);
  } else {
    footprint.gradient = weights.GradientFloats() * 4;
    gradient = counted.backend().Allocate(footprint.gradient);
    weights.BindGradients(static_cast<float*>(gradient.get()));
  }

  Microbatch batch;
  const int64_t rows = std::max(updates.tokens_per_microbatch, longest);
  const int64_t length = std::min({rows, config.max_positions, kCountedSequence});
  batch.tokens.resize(rows);
  batch.targets.resize(rows);
  for (int64_t row = 0; row < rows; row += length) batch.lengths.push_back(std::min(length, rows - row));
  // As many as are ever on their way in a pipeline's first rank.
  const int64_t ranks = place.mesh.sizes.pp, held = ranks == 1 ? 1 : 2 * ranks;
  const std::vector<Microbatch> batches(held, batch);
  Pipeline pipeline(&counted.policy(), updates.keep);
  pipeline.Run(batches, 1,
               {.loss = [](size_t, const float*, float*) {},
                .bind = [](size_t) {},
                .head_done = [](size_t) {},
                .done = [](size_t) {}});
  footprint.activations = pipeline.bytes();
  footprint.gathered = weights.gathered_bytes();
  // The share's sums, of 8 bytes, and what becomes of them.
  if (units != nullptr) footprint.gradient = units->bytes() + 3 * footprint.trained;
  footprint.sent = Sent(counted.mesh());
  for (int64_t& bytes : footprint.sent) bytes /= held;
  Communicator& samples = units != nullptr ? counted.mesh().axis(Axis::kDpReplicate) : counted.mesh().dp();
  const int64_t sent_before = samples.sent_bytes();
  SumIntegers(
      weights.TrainedFloats(), [](int64_t, absl::Span<int64_t>) {}, [](int64_t, absl::Span<const int64_t>) {},
      samples);
  GatherShares(nullptr, weights.TrainedFloats(), samples);
  footprint.sent_sum[static_cast<int>(Axis::kDpReplicate)] = samples.sent_bytes() - sent_before;
  return footprint;
}

}  // namespace temper
