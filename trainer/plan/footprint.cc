// SPDX-License-Identifier: Apache-2.0
#include "trainer/plan/footprint.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "comm/reduce.h"
#include "kernels/backends/counting.h"
#include "model/causal_lm.h"
#include "trainer/update/leaf_gradients.h"
#include "trainer/update/pipeline.h"

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

// The largest microbatches: of short sequences, and a long one where there are such.
std::vector<Microbatch> FullMicrobatches(const ModelConfig& config, const UpdatesConfig& updates,
                                         int64_t longest) {
  const bool has_long = updates.long_sequence_tokens > 0 && longest >= updates.long_sequence_tokens;
  const int64_t rows =
      std::max(updates.tokens_per_microbatch, has_long ? updates.long_sequence_tokens - 1 : longest);
  const int64_t length = std::min({rows, config.max_positions, kCountedSequence});
  std::vector<Microbatch> all(1);
  for (int64_t row = 0; row < rows; row += length) all[0].lengths.push_back(std::min(length, rows - row));
  all[0].tokens.resize(rows);
  if (has_long) {
    Microbatch& batch = all.emplace_back();
    batch.is_long = true;
    batch.lengths = {longest};
    batch.tokens.resize(longest);
  }
  for (Microbatch& batch : all) batch.targets.resize(batch.tokens.size());
  return all;
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
  const std::unique_ptr<LeafGradients> leaves = MakeLeafGradients(&counted.policy(), {});

  // As many as are ever on their way in a pipeline's first rank.
  const int64_t ranks = place.mesh.sizes.pp, held = ranks == 1 ? 1 : 2 * ranks;
  Pipeline pipeline(&counted.policy(), updates.keep);
  for (const Microbatch& batch : FullMicrobatches(config, updates, longest)) {
    const std::vector<Microbatch> batches(held, batch);
    const std::array<int64_t, kAxes> before = Sent(counted.mesh());
    pipeline.Run(batches, 1,
                 {.loss = [](size_t, const float*, float*) {},
                  .bind =
                      [&](size_t at) {
                        leaves->Bind({static_cast<int64_t>(at), /*last=*/true, batch.is_long});
                      },
                  .head_done = [](size_t) {},
                  .done = [](size_t) {}});
    footprint.sent = Sent(counted.mesh());
    for (int i = 0; i < kAxes; ++i) footprint.sent[i] = (footprint.sent[i] - before[i]) / held;
  }
  footprint.activations = pipeline.bytes();
  footprint.gathered = weights.gathered_bytes();
  // What becomes of the sums of a share comes to them.
  footprint.gradient = leaves->bytes() + (weights.shared_out() ? footprint.trained : 0);
  const int64_t experts = place.mesh.sizes.ep > 1 ? weights.ExpertFloats() : 0;
  for (const auto& [floats, ranks] : {std::pair(weights.TrainedFloats() - experts, &counted.mesh().keepers()),
                                      std::pair(experts, &counted.mesh().expert_keepers())}) {
    const int64_t sent_before = ranks->sent_bytes();
    SumIntegers(
        floats, [](int64_t, absl::Span<int64_t>) {}, [](int64_t, absl::Span<const int64_t>) {}, *ranks);
    GatherShares(nullptr, floats, *ranks);
    footprint.sent_sum[static_cast<int>(Axis::kDpReplicate)] += ranks->sent_bytes() - sent_before;
  }
  return footprint;
}

}  // namespace temper
