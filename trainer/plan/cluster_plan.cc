// SPDX-License-Identifier: Apache-2.0
#include "trainer/plan/cluster_plan.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "core/status.h"
#include "trainer/plan/estimate.h"
#include "trainer/plan/plan.h"
#include "trainer/plan/search.h"
#include "trainer/plan/workload.h"
#include "trainer/run_directory/stage_model.h"

namespace temper {
namespace {

// On others of the device table's GPUs LibTorch's ops compute (model/torch_backend.h).
bool HasOwnKernels(const DeviceSpec& gpu) { return absl::string_view(gpu.name) != "a100"; }

std::string Seconds(double seconds) {
  if (seconds < 120) return absl::StrFormat("%.3g s", seconds);
  if (seconds < 7200) return absl::StrFormat("%.3g min", seconds / 60);
  return absl::StrFormat("%.3g h", seconds / 3600);
}

std::string MemoryText(const Pools& pools, const Cluster& cluster) {
  std::vector<std::string> list;
  for (const auto& pool : pools) list.push_back(absl::StrCat(pool.first, " ", BytesText(pool.second)));
  std::string text =
      absl::StrCat("  memory    ", absl::StrJoin(list, ", "), "; sum ", BytesText(SumOf(pools)));
  if (!cluster.device.gpu()) return text + "\n";
  const double share = static_cast<double>(SumOf(pools)) / static_cast<double>(cluster.device.memory_bytes());
  absl::StrAppendFormat(&text, ": %.0f%% of a device", 100 * share);
  if (share > 1) {
    absl::StrAppend(&text, ": DOES NOT FIT, most of it are ", LargestOf(pools).first,
                    "; --search looks for a layout that does");
  }
  return text + "\n";
}

std::string CostText(const RecipeConfig& recipe, double hours) {
  const double price = recipe.cost_per_gpu_hour;
  return price == 0 ? "" : absl::StrFormat(", at %g an hour %.0f", price, hours * price);
}

// "tp 12 MiB (links), ..", or nothing.
std::string SentText(const PartBytes& sent, const MeshSizes& mesh, const Cluster& cluster) {
  std::vector<std::string> list;
  for (int i = 0; i < kMeshParts; ++i) {
    if (sent[i] == 0) continue;
    list.push_back(absl::StrCat(MeshParts()[i].name, " ", BytesText(sent[i]),
                                IsOnOneMachine(MeshParts()[i], mesh, cluster) ? " (links)" : " (network)"));
  }
  return list.empty() ? "nothing" : absl::StrJoin(list, ", ");
}

std::string EstimateText(const RecipeConfig& recipe, const StageConfig& stage, const Cluster& cluster,
                         const StageEstimate& estimate, const MeshSizes& mesh) {
  const MeshSizes sampling_mesh = recipe.MeshApart(cluster.ranks()).value_or(std::nullopt).value_or(mesh);
  const Workload work = WorkloadOf(stage);
  if (work.updates == nullptr) return "";
  std::string text =
      absl::StrCat("  messages  a rank sends an update ", SentText(estimate.sent, mesh, cluster), "\n");
  absl::StrAppend(
      &text,
      absl::StrFormat("  update    %s%s: products %s, bubble %.0f%%, messages %s\n", Seconds(estimate.update),
                      stage.kind == StageKind::kRl ? "" : " with a full microbatch a gradient leaf",
                      Seconds(estimate.products), 100 * estimate.bubble, Seconds(estimate.messages)));
  if (stage.kind != StageKind::kRl) return text;
  const double hours = estimate.stage / 3600 * cluster.devices();
  if (estimate.published > 0) {
    absl::StrAppend(&text, "  publish   ", Seconds(estimate.publish),
                    " before a rollout: the first rank sends ", BytesText(estimate.published), " of weights",
                    IsOnOneMachine(MeshParts()[kWorldPart], mesh, cluster) ? " (links)" : " (network)",
                    " to rollout.mesh\n");
  }
  absl::StrAppend(&text,
                  absl::StrFormat("  rollout   %s for %d updates: %.0f sequences a data rank, %.0f decode "
                                  "together, and a pass sends %s\n",
                                  Seconds(estimate.rollout), stage.rl.updates_per_rollout, estimate.sequences,
                                  estimate.together, SentText(estimate.decode_sent, sampling_mesh, cluster)),
                  absl::StrFormat("  stage     %d updates: %s, %.0f device hours%s\n", stage.rl.steps,
                                  Seconds(estimate.stage), hours, CostText(recipe, hours)));
  return text;
}

std::string Assumptions(const Cluster& cluster) {
  std::string text = absl::StrFormat(
      "Assumed: products at %.0f%% of %.3g f32 TFLOP/s, weights and cache at %.0f%% of %.0f GB/s, messages "
      "at %.0f%% of %.3g GB/s (links) or %.3g GB/s (network) and not hidden behind products, prompts of %d "
      "tokens, completions half of max_new_tokens, no time for rewards.",
      100 * kComputeShare, cluster.device.f32_tflops, 100 * kMemoryShare, cluster.device.memory_gbytes,
      100 * kLinkShare, cluster.device.link_gbytes, cluster.device.network_gbytes, kExpectedPrompt);
  if (cluster.device.gpu() && !HasOwnKernels(cluster.device))
    absl::StrAppend(
        &text, " Not counted on ", cluster.device.name,
        ": what LibTorch's ops take beside, of attention alone 4 bytes for each head, row and key "
        "of a sequence, and an f32 copy of the bf16 weights of a product.");
  return text;
}

std::string ClusterText(const Cluster& cluster) {
  return absl::StrCat(cluster.nodes, " x ", cluster.per_node, " ", cluster.device.name,
                      cluster.spare_nodes > 0 ? absl::StrCat(" and ", cluster.spare_nodes, " to spare") : "");
}

}  // namespace

absl::StatusOr<std::string> ClusterPlanText(const RecipeConfig& recipe, const Cluster& cluster) {
  TEMPER_ASSIGN_OR_RETURN(const MeshSizes mesh, Resolve(recipe.mesh, cluster.ranks()));
  TEMPER_ASSIGN_OR_RETURN(const std::optional<MeshSizes> apart, recipe.MeshApart(cluster.ranks()));
  std::string text = absl::StrCat(ClusterText(cluster), ":", MeshText(mesh),
                                  apart ? absl::StrCat("; rollout.mesh:", MeshText(*apart)) : "", "\n");
  for (const StageConfig& stage : recipe.stages) {
    TEMPER_ASSIGN_OR_RETURN(const ModelConfig model, ModelOf(recipe, stage));
    TEMPER_ASSIGN_OR_RETURN(const Pools pools, PoolsOfStage(recipe, stage, model, cluster.ranks()));
    absl::StrAppend(
        &text, stage.name, " (", NameIn(kStageKinds, stage.kind), ")\n", MemoryText(pools, cluster),
        EstimateText(recipe, stage, cluster, EstimateOf(recipe, stage, model, cluster, mesh), mesh));
  }
  return text + Assumptions(cluster);
}

absl::StatusOr<std::string> ClusterSearchText(const RecipeConfig& recipe, const Cluster& cluster) {
  TEMPER_ASSIGN_OR_RETURN(const LayoutSearch found, SearchLayouts(recipe, cluster));
  std::string samples;
  if (recipe.rollout.mesh) {
    TEMPER_ASSIGN_OR_RETURN(const MeshSizes sizes, Resolve(recipe.rollout.mesh->sizes, cluster.ranks()));
    samples = absl::StrCat("; rollout.mesh:", MeshText(sizes));
  }
  std::string text = absl::StrCat(ClusterText(cluster), samples, ": ");
  if (found.fit.empty()) {
    const LayoutProposal& nearest = found.nearest;
    return absl::StrCat(text, "none of ", found.layouts, " layouts fits; the nearest,",
                        MeshText(nearest.mesh), ", takes ", BytesText(SumOf(nearest.pools)), " in stage ",
                        nearest.stage, ", ", BytesText(SumOf(nearest.pools) - cluster.device.memory_bytes()),
                        " more than a device has: most of it are ", LargestOf(nearest.pools).first, ", ",
                        BytesText(LargestOf(nearest.pools).second), ": set ",
                        Remedy(LargestOf(nearest.pools).first));
  }
  absl::StrAppend(&text, found.fit.size(), " of ", found.layouts,
                  " layouts fit; by the time that they are estimated to take:\n");
  for (size_t i = 0; i < std::min<size_t>(found.fit.size(), 10); ++i) {
    const LayoutProposal& layout = found.fit[i];
    const double share =
        static_cast<double>(SumOf(layout.pools)) / static_cast<double>(cluster.device.memory_bytes());
    absl::StrAppendFormat(&text, "  %-9s %s of a device's memory (%.0f%%) for%s\n", Seconds(layout.seconds),
                          BytesText(SumOf(layout.pools)), 100 * share, MeshText(layout.mesh));
  }
  return text + Assumptions(cluster);
}

}  // namespace temper
