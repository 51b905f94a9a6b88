// SPDX-License-Identifier: Apache-2.0
#include "trainer/plan/estimate.h"

#include <algorithm>
#include <optional>

#include "model/kv_cache.h"
#include "trainer/plan/workload.h"
#include "trainer/update/schedule.h"

namespace temper {
namespace {

// Multiplications of a token, twice. An MTP module has its part in updates that train it, whose head takes
// two rows a token; what it drafts it drafts beside few sequences.
double FlopsPerToken(ModelConfig config, double context, bool is_update) {
  if (!is_update || config.mtp != MtpUse::kTrained) config.mtp = MtpUse::kCarried;
  double weights = config.has_mtp() ? static_cast<double>(config.vocab_size * config.hidden_size) : 0;
  for (const LayoutEntry& entry : Layout(config).whole()) {
    if (entry.whole.size() != 2 || entry.init == LayoutEntry::Init::kEmbedding) continue;
    const double share = entry.expert < 0 ? 1
                                          : static_cast<double>(config.experts_per_token) /
                                                static_cast<double>(config.routed_experts);
    weights += share * static_cast<double>(entry.elements);
  }
  if (config.tie_word_embeddings) weights += static_cast<double>(config.vocab_size * config.hidden_size);
  const kernels::AttentionShape shape = AttentionShapeOf(config);
  const double attention = static_cast<double>(config.num_layers + (config.has_mtp() ? 1 : 0)) *
                           shape.q_heads * (shape.qk_dim + shape.v_dim) * context;
  return 2 * (weights + attention);
}

double Bubble(const MeshSizes& mesh, int64_t microbatches) {
  if (mesh.pp == 1) return 0;
  const PipelineShape shape{mesh.pp, mesh.pp_chunks, microbatches};
  const auto timeline = TimelineOf(ScheduleOf(mesh.pp_schedule, shape), shape, {});
  return timeline.ok() ? timeline->bubble : 0;
}

// All of what an estimate is made of.
struct Asked {
  const ModelConfig& model;
  const Cluster& cluster;
  const MeshSizes& mesh;
  const Workload work;
  const PolicyPlace first;
  const std::optional<MeshSizes> apart;  // of what samples, where it is another one

  PolicyPlace samples() const {
    PolicyPlace place = first;
    if (apart) place.mesh = PlaceOf(*apart, 0);
    return place;
  }

  // That messages between ranks of the mesh's parts take.
  double SecondsOf(const PartBytes& sent, const MeshSizes& sizes) const {
    double seconds = 0;
    for (int i = 0; i < kMeshParts; ++i) {
      const bool inside = IsOnOneMachine(MeshParts()[i], sizes, cluster);
      const double rate = inside ? cluster.device.link_gbytes : cluster.device.network_gbytes;
      seconds += static_cast<double>(sent[i]) / (rate * 1e9 * kLinkShare);
    }
    return seconds;
  }
  double flops() const { return cluster.device.f32_tflops * 1e12 * kComputeShare; }
};

void EstimateUpdate(const Asked& asked, StageEstimate* estimate) {
  const UpdatesConfig& updates = *asked.work.updates;
  const UpdateSize size = asked.work.SizeOn(asked.mesh);
  estimate->sent = MessagesOf(asked.model, asked.first, updates, asked.work.longest, size);
  if (asked.work.reference) {
    const PartBytes reference =
        MessagesOf(asked.model, asked.first, updates, asked.work.longest, size, PassOf::kReference);
    for (int i = 0; i < kMeshParts; ++i) estimate->sent[i] += reference[i];
  }
  estimate->messages = asked.SecondsOf(estimate->sent, asked.mesh);
  const double rank_tokens =
      static_cast<double>(asked.work.tokens) / static_cast<double>(asked.cluster.ranks());
  // Forward, twice as much back, forward again for what is not kept, and the reference's.
  const double passes =
      3 + (updates.keep == TrainPass::Keep::kInputs ? 1 : 0) + (asked.work.reference ? 1 : 0);
  estimate->products =
      passes * FlopsPerToken(asked.model, asked.work.context, true) * rank_tokens / asked.flops();
  estimate->bubble = Bubble(asked.mesh, size.leaves * size.microbatches);
  estimate->update = estimate->products / (1 - estimate->bubble) + estimate->messages;
}

// Every stage of a pipeline in turn: its weights streamed once a step, and brought together where ranks share
// them out.
void EstimateRollout(const Asked& asked, const RlConfig& rl, StageEstimate* estimate) {
  const PolicyPlace first = asked.samples();
  const MeshSizes& mesh = first.mesh.sizes;
  const double length = kExpectedLength * static_cast<double>(rl.sampling.max_new_tokens);
  estimate->sequences =
      static_cast<double>(asked.work.samples * rl.updates_per_rollout) / static_cast<double>(DataRanks(mesh));
  estimate->together = std::min<double>(estimate->sequences, static_cast<double>(rl.sampling.max_batch));
  const double steps = std::max(1.0, estimate->sequences / estimate->together) * length;
  PolicyPlace whole = first;  // what it computes with, brought together
  for (const Axis axis : {Axis::kDpShard, Axis::kCp}) {
    whole.mesh.sizes.at(axis) = 1;
    whole.mesh.at[static_cast<int>(axis)] = 0;
  }
  const double weights = static_cast<double>(FootprintOf(asked.model, whole).weights);
  const double cache = estimate->together * (length / 2) / kernels::kAttentionBlock *
                       static_cast<double>(KvCache::BytesPerPage(asked.model, first.mesh));
  const double stream = (weights + cache) / (asked.cluster.device.memory_gbytes * 1e9 * kMemoryShare);
  const double compute = estimate->together * FlopsPerToken(asked.model, length / 2, false) /
                         static_cast<double>(mesh.tp * mesh.pp) / asked.flops();
  estimate->decode_sent =
      DecodeMessagesOf(asked.model, first, std::max<int64_t>(1, static_cast<int64_t>(estimate->together)));
  const double messages = asked.SecondsOf(estimate->decode_sent, mesh);
  estimate->rollout = steps * static_cast<double>(mesh.pp) * (std::max(stream, compute) + messages);
  if (asked.apart) {
    estimate->published = PublishedBytes(asked.model, asked.first, first);
    PartBytes sent = {};
    sent[kWorldPart] = estimate->published;
    estimate->publish = asked.SecondsOf(sent, asked.mesh);
  }
  const double updates = static_cast<double>(rl.steps);
  estimate->stage = updates * (estimate->update + (estimate->rollout + estimate->publish) /
                                                      static_cast<double>(rl.updates_per_rollout));
}

}  // namespace

bool IsOnOneMachine(const MeshPart& part, const MeshSizes& mesh, const Cluster& cluster) {
  int64_t neighbours = 1;
  for (int i = kAxes - 1; i >= static_cast<int>(part.axes.front()); --i)
    neighbours *= mesh[static_cast<Axis>(i)];
  return neighbours <= cluster.per_node;
}

StageEstimate EstimateOf(const RecipeConfig& recipe, const StageConfig& stage, const ModelConfig& model,
                         const Cluster& cluster, const MeshSizes& mesh) {
  const Asked asked{model,
                    cluster,
                    mesh,
                    WorkloadOf(stage),
                    {.mesh = PlaceOf(mesh, 0), .on_gpu = cluster.device.gpu(), .bf16 = recipe.bf16()},
                    recipe.MeshApart(cluster.ranks()).value_or(std::nullopt)};
  StageEstimate estimate;
  if (asked.work.updates != nullptr) EstimateUpdate(asked, &estimate);
  if (stage.kind == StageKind::kRl) EstimateRollout(asked, stage.rl, &estimate);
  return estimate;
}

}  // namespace temper
