// SPDX-License-Identifier: Apache-2.0
#include "trainer/plan/cluster_plan.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "core/status.h"
#include "model/kv_cache.h"
#include "model/parameters.h"
#include "trainer/plan/footprint.h"
#include "trainer/plan/plan.h"
#include "trainer/run_directory/stage_model.h"
#include "trainer/update/schedule.h"

namespace temper {
namespace {

// What is taken for granted; the text says so.
constexpr double kComputeShare = 0.6;  // of the f32 peak, in products
constexpr double kMemoryShare = 0.7;   // of the bandwidth, where weights are streamed
constexpr double kLinkShare = 0.7;     // of a link
constexpr double kLengthShare = 0.5;   // of max_new_tokens, that a completion has
constexpr int64_t kPromptTokens = 200;

// Multiplications of a token, twice.
double FlopsPerToken(const ModelConfig& config, double context) {
  double weights = 0;
  for (const LayoutEntry& entry : Layout(config).whole()) {
    if (entry.whole.size() != 2 || entry.init == LayoutEntry::Init::kEmbedding) continue;
    const double share = entry.expert < 0 ? 1
                                          : static_cast<double>(config.experts_per_token) /
                                                static_cast<double>(config.routed_experts);
    weights += share * static_cast<double>(entry.elements);
  }
  if (config.tie_word_embeddings) weights += static_cast<double>(config.vocab_size * config.hidden_size);
  const kernels::AttentionShape shape = AttentionShapeOf(config);
  const double attention =
      static_cast<double>(config.num_layers) * shape.q_heads * (shape.qk_dim + shape.v_dim) * context;
  return 2 * (weights + attention);
}

class StagePlan {
 public:
  StagePlan(const RecipeConfig& recipe, const StageConfig& stage, const ModelConfig& model,
            const Cluster& cluster)
      : recipe_(recipe),
        stage_(stage),
        model_(model),
        cluster_(cluster),
        mesh_(Resolve(recipe.mesh, cluster.ranks()).value()),
        samplers_(mesh_.dp_replicate * mesh_.dp_shard * mesh_.ep * mesh_.cp) {}

  absl::StatusOr<std::string> Text() const {
    TEMPER_ASSIGN_OR_RETURN(const Pools pools, PoolsOfStage(recipe_, stage_, model_, cluster_.ranks()));
    std::string text = absl::StrCat(stage_.name, " (", NameIn(kStageKinds, stage_.kind), ")\n");
    Memory(pools, &text);
    if (stage_.kind == StageKind::kRl) Rl(&text);
    if (stage_.kind == StageKind::kSft) Updates(stage_.sft, 0, 0, &text);
    if (stage_.kind == StageKind::kPretrain) Updates(stage_.pretrain, 0, 0, &text);
    return text;
  }

 private:
  void Memory(const Pools& pools, std::string* text) const {
    int64_t sum = 0;
    const std::pair<std::string, int64_t>* largest = nullptr;
    std::vector<std::string> list;
    for (const auto& pool : pools) {
      sum += pool.second;
      list.push_back(absl::StrCat(pool.first, " ", BytesText(pool.second)));
      if (largest == nullptr || pool.second > largest->second) largest = &pool;
    }
    const double share = static_cast<double>(sum) / (cluster_.device.memory_gib * (int64_t{1} << 30));
    absl::StrAppend(text, "  memory    ", absl::StrJoin(list, ", "), "; sum ", BytesText(sum), ": ",
                    absl::StrFormat("%.0f%% of a device", 100 * share));
    if (share > 1) absl::StrAppend(text, ": DOES NOT FIT, most of it are ", largest->first);
    absl::StrAppend(text, "\n");
  }

  // Of the first rank; ranks of an axis send as much as each other, but for the ends of a pipeline.
  void Updates(const UpdatesConfig& updates, int64_t tokens, int64_t longest, std::string* text) const {
    const PolicyPlace place{.mesh = PlaceOf(mesh_, 0), .on_gpu = true, .bf16 = recipe_.bf16()};
    const UpdateFootprint footprint = FootprintOf(model_, place, updates, longest);
    const double in_one = static_cast<double>(std::max(updates.tokens_per_microbatch, longest));
    // Ranks of cp share long ones.
    const bool has_long = updates.long_sequence_tokens > 0 && longest >= updates.long_sequence_tokens;
    const auto apart = static_cast<double>(has_long ? samplers_ / mesh_.cp : samplers_);
    const double microbatches = tokens == 0 ? static_cast<double>(updates.gradient_leaves) / apart
                                            : std::max(1.0, static_cast<double>(tokens) / in_one / apart);
    std::vector<std::string> sent;
    double seconds = 0;
    for (int i = 0; i < kAxes; ++i) {
      const double bytes =
          microbatches * static_cast<double>(footprint.sent[i]) + static_cast<double>(footprint.sent_sum[i]);
      if (bytes == 0) continue;
      const Axis axis = static_cast<Axis>(i);
      const bool inside = Spans(axis) <= cluster_.per_node;
      const double rate = inside ? cluster_.device.link_gbytes : cluster_.device.network_gbytes;
      seconds += bytes / (rate * 1e9 * kLinkShare);
      sent.push_back(absl::StrCat(AxisName(axis), " ", BytesText(static_cast<int64_t>(bytes)),
                                  inside ? " (links)" : " (network)"));
    }
    absl::StrAppend(text, "  messages  a rank sends an update ",
                    sent.empty() ? "nothing" : absl::StrJoin(sent, ", "), "\n");
    if (tokens == 0) return;
    const double rank_tokens = static_cast<double>(tokens) / static_cast<double>(cluster_.ranks());
    const double passes = updates.keep == TrainPass::Keep::kInputs ? 4 : 3;
    const double context = static_cast<double>(longest) / 2;
    const double compute = passes * FlopsPerToken(model_, context) * rank_tokens /
                           (cluster_.device.f32_tflops * 1e12 * kComputeShare);
    const double bubble = Bubble(static_cast<int64_t>(microbatches));
    update_seconds_ = compute / (1 - bubble) + seconds;
    absl::StrAppend(
        text, absl::StrFormat("  update    %s: products %s, bubble %.0f%%, messages %s\n",
                              Seconds(update_seconds_), Seconds(compute), 100 * bubble, Seconds(seconds)));
  }

  void Rl(std::string* text) const {
    const RlConfig& rl = stage_.rl;
    const double length = kLengthShare * static_cast<double>(rl.sampling.max_new_tokens);
    const int64_t samples = rl.prompts_per_step * rl.samples_per_prompt;
    const int64_t tokens = samples * (kPromptTokens + static_cast<int64_t>(length));
    Updates(rl, tokens, kPromptTokens + rl.sampling.max_new_tokens, text);
    // A rollout: every stage of a pipeline in turn, its weights streamed once a step.
    const double here =
        static_cast<double>(samples * rl.updates_per_rollout) / static_cast<double>(samplers_);
    const double batch = std::min<double>(here, static_cast<double>(rl.sampling.max_batch));
    const double steps = std::max(1.0, here / batch) * length;
    const PolicyPlace place{.mesh = PlaceOf(mesh_, 0), .on_gpu = true, .bf16 = recipe_.bf16()};
    const double weights = static_cast<double>(FootprintOf(model_, place).weights);
    const double cache = batch * (length / 2) / kernels::kAttentionBlock *
                         static_cast<double>(KvCache::BytesPerPage(model_, place.mesh));
    const double stream = (weights + cache) / (cluster_.device.memory_gbytes * 1e9 * kMemoryShare);
    const double ranks_of_layers = static_cast<double>(mesh_.tp * mesh_.pp);
    const double compute = batch * FlopsPerToken(model_, length / 2) / ranks_of_layers /
                           (cluster_.device.f32_tflops * 1e12 * kComputeShare);
    const double rollout = steps * static_cast<double>(mesh_.pp) * std::max(stream, compute);
    const double updates = static_cast<double>(rl.steps);
    const double total =
        updates * update_seconds_ + updates / static_cast<double>(rl.updates_per_rollout) * rollout;
    absl::StrAppend(
        text,
        absl::StrFormat("  rollout   %s for %d updates: %.0f sequences a data rank, %.0f decode together\n",
                        Seconds(rollout), rl.updates_per_rollout, here, batch),
        absl::StrFormat("  stage     %d updates: %s, %.0f device hours%s\n", rl.steps, Seconds(total),
                        total / 3600 * cluster_.ranks(), Cost(total / 3600 * cluster_.ranks())));
  }

  // Neighbouring ranks among which the axis's lie.
  int64_t Spans(Axis axis) const {
    int64_t span = 1;
    for (int i = kAxes - 1; i >= static_cast<int>(axis); --i) span *= mesh_[static_cast<Axis>(i)];
    return span;
  }

  double Bubble(int64_t microbatches) const {
    if (mesh_.pp == 1) return 0;
    const PipelineShape shape{mesh_.pp, mesh_.pp_chunks, std::max<int64_t>(microbatches, 1)};
    const auto timeline = TimelineOf(ScheduleOf(mesh_.pp_schedule, shape), shape, {});
    return timeline.ok() ? timeline->bubble : 0;
  }

  std::string Cost(double hours) const {
    const double price = recipe_.cost_per_gpu_hour;
    return price == 0 ? "" : absl::StrFormat(", at %g an hour %.0f", price, hours * price);
  }

  static std::string Seconds(double seconds) {
    if (seconds < 120) return absl::StrFormat("%.3g s", seconds);
    if (seconds < 7200) return absl::StrFormat("%.3g min", seconds / 60);
    return absl::StrFormat("%.3g h", seconds / 3600);
  }

  const RecipeConfig& recipe_;
  const StageConfig& stage_;
  const ModelConfig& model_;
  const Cluster& cluster_;
  const MeshSizes mesh_;
  const int64_t samplers_;  // ranks, or groups of them, that share out the samples
  mutable double update_seconds_ = 0;
};

}  // namespace

absl::StatusOr<std::string> ClusterPlanText(const RecipeConfig& recipe, const Cluster& cluster) {
  TEMPER_ASSIGN_OR_RETURN(const MeshSizes sizes, Resolve(recipe.mesh, cluster.ranks()));
  std::string text = absl::StrFormat("%d x %d %s:", cluster.nodes, cluster.per_node, cluster.device.name);
  for (int i = 0; i < kAxes; ++i) {
    const Axis axis = static_cast<Axis>(i);
    if (sizes[axis] > 1) absl::StrAppend(&text, " ", AxisName(axis), " ", sizes[axis]);
  }
  absl::StrAppend(&text, "\n");
  for (const StageConfig& stage : recipe.stages) {
    TEMPER_ASSIGN_OR_RETURN(const ModelConfig model, ModelOf(recipe, stage));
    TEMPER_ASSIGN_OR_RETURN(const std::string part, StagePlan(recipe, stage, model, cluster).Text());
    text += part;
  }
  absl::StrAppendFormat(&text,
                        "Assumed: products at %.0f%% of %.1f f32 TFLOP/s, weights and cache at %.0f%% of "
                        "%.0f GB/s, messages at "
                        "%.0f%% of %.0f GB/s (links) or %.0f GB/s (network) and not hidden behind products, "
                        "prompts of %d tokens, "
                        "completions half of max_new_tokens, no time for rewards.",
                        100 * kComputeShare, cluster.device.f32_tflops, 100 * kMemoryShare,
                        cluster.device.memory_gbytes, 100 * kLinkShare, cluster.device.link_gbytes,
                        cluster.device.network_gbytes, kPromptTokens);
  return text;
}

}  // namespace temper
