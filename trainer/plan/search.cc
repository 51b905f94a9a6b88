// SPDX-License-Identifier: Apache-2.0
#include "trainer/plan/search.h"

#include <algorithm>
#include <limits>
#include <mutex>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/status.h"
#include "core/thread_pool.h"
#include "trainer/plan/estimate.h"
#include "trainer/plan/workload.h"
#include "trainer/run_directory/stage_model.h"

namespace temper {
namespace {

// A stage, and the policy that it is about.
struct SearchedStage {
  const StageConfig* stage;
  ModelConfig model;
  Workload work;
};

// Calls body(sizes) for every way to share `ranks` out to the axes from `axis` on.
template <typename Body>
void ForEachMesh(int64_t ranks, int axis, MeshSizes sizes, const Body& body) {
  if (axis == kAxes) {
    if (ranks == 1) body(sizes);
    return;
  }
  for (int64_t size = 1; size <= ranks; ++size) {
    if (ranks % size != 0) continue;
    sizes.at(static_cast<Axis>(axis)) = size;
    ForEachMesh(ranks / size, axis + 1, sizes, body);
  }
}

// Less than what the fullest rank takes, from its number of weights alone: what each weight takes for itself.
int64_t LeastOf(const RecipeConfig& recipe, const SearchedStage& stage, const MeshSizes& mesh) {
  const Layout layout(stage.model, PlaceOf(mesh, RanksOf(mesh) / mesh.pp * (mesh.pp / 2)));
  const int64_t trained = layout.trained_elements();
  const int64_t weight = recipe.bf16() ? 2 : 4;
  if (stage.work.updates == nullptr) return trained * weight;
  return trained * ((recipe.bf16() ? weight : 0) + 4 + 4 + 8 + (stage.work.reference_stays ? weight : 0));
}

}  // namespace

absl::StatusOr<LayoutSearch> SearchLayouts(const RecipeConfig& recipe, const Cluster& cluster) {
  std::vector<SearchedStage> stages;
  for (const StageConfig& stage : recipe.stages) {
    TEMPER_ASSIGN_OR_RETURN(ModelConfig model, ModelOf(recipe, stage));
    stages.push_back({&stage, std::move(model), WorkloadOf(stage)});
  }
  std::vector<MeshSizes> meshes;
  ForEachMesh(cluster.ranks(), 0, recipe.mesh, [&](MeshSizes sizes) {
    sizes.sequence_parallel &= sizes.tp > 1;
    for (const SearchedStage& stage : stages) {
      const bool has_leaves =
          stage.work.updates == nullptr || stage.work.updates->gradient_leaves >= DataRanks(sizes);
      if (!has_leaves || !CheckMesh(stage.model, sizes).ok()) return;
    }
    meshes.push_back(sizes);
  });
  if (meshes.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("no layout takes ", cluster.ranks(),
                     " ranks: give the stages more gradient_leaves, or take fewer devices"));
  }

  // Those that surely take least are counted first, and those that surely do not fit not at all, unless none
  // does.
  const int64_t memory = cluster.device.memory_bytes();
  std::vector<std::pair<int64_t, size_t>> order(meshes.size());
  ThreadPool pool(std::max(1, static_cast<int>(std::thread::hardware_concurrency())));
  pool.ParallelFor(static_cast<int64_t>(meshes.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      order[i].second = i;
      for (const SearchedStage& stage : stages)
        order[i].first = std::max(order[i].first, LeastOf(recipe, stage, meshes[i]));
    }
  });
  std::sort(order.begin(), order.end());
  LayoutSearch search;
  search.layouts = static_cast<int64_t>(meshes.size());
  std::mutex mutex;
  int64_t least = std::numeric_limits<int64_t>::max();
  absl::Status failed;
  pool.ParallelFor(search.layouts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      {
        const std::lock_guard<std::mutex> lock(mutex);
        if (!failed.ok() || order[i].first > std::max(memory, least)) continue;
        if (order[i].first > memory && !search.fit.empty()) continue;
      }
      LayoutProposal proposal{.mesh = meshes[order[i].second]};
      RecipeConfig on_mesh = recipe;
      on_mesh.mesh = proposal.mesh;
      on_mesh.rollout.mesh.reset();
      absl::Status status;
      for (const SearchedStage& stage : stages) {
        absl::StatusOr<Pools> pools = PoolsOfStage(on_mesh, *stage.stage, stage.model, cluster.ranks());
        if (!pools.ok()) {
          status = pools.status();
        } else if (SumOf(*pools) > SumOf(proposal.pools)) {
          proposal.pools = *std::move(pools);
          proposal.stage = stage.stage->name;
        }
      }
      const bool fits = SumOf(proposal.pools) <= memory;
      for (const SearchedStage& stage : stages) {
        if (!fits) break;
        const StageEstimate estimate = EstimateOf(on_mesh, *stage.stage, stage.model, cluster, proposal.mesh);
        proposal.seconds += estimate.stage > 0 ? estimate.stage : estimate.update;
      }
      const std::lock_guard<std::mutex> lock(mutex);
      failed.Update(status);
      if (SumOf(proposal.pools) < least) {
        least = SumOf(proposal.pools);
        search.nearest = proposal;
      }
      if (fits) search.fit.push_back(std::move(proposal));
    }
  });
  TEMPER_RETURN_IF_ERROR(failed);
  std::sort(search.fit.begin(), search.fit.end(), [](const LayoutProposal& a, const LayoutProposal& b) {
    return std::pair(a.seconds, MeshText(a.mesh)) < std::pair(b.seconds, MeshText(b.mesh));
  });
  return search;
}

}  // namespace temper
