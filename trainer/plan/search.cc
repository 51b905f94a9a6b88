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
#include "model/causal_lm.h"
#include "trainer/plan/counted.h"
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

// A rank, where it trains and where it samples.
struct SearchedRank {
  PolicyPlace trains, samples;
  bool apart = false;
};

// Of the weights that ranks bring together, at least: the largest unit, and the smallest beside it.
int64_t LeastGathered(const Layout& layout) {
  int64_t largest = 0, smallest = std::numeric_limits<int64_t>::max();
  for (const LayoutUnit& unit : layout.units()) {
    if (layout.entries()[unit.begin].name == "model.norm.weight") continue;  // has a place of its own
    largest = std::max(largest, unit.trained_elements());
    smallest = std::min(smallest, unit.trained_elements());
  }
  return largest + smallest;
}

// Less than what layers' inputs take that an update keeps for the way back.
int64_t LeastInputs(const ModelConfig& model, const Workload& work, const MeshPlace& place) {
  const MeshSizes& mesh = place.sizes;
  const UpdateSize size = work.SizeOn(mesh);
  const bool is_long = IsLong(*work.updates, work.longest);
  int64_t rows = is_long ? work.longest / kStretches * (kStretches / mesh.cp)
                         : std::max(work.updates->tokens_per_microbatch, work.longest);
  if (mesh.sequence_parallel) rows /= mesh.tp;
  const int64_t microbatches = size.leaves * size.microbatches * (is_long ? mesh.cp : 1);
  const int64_t at_once = mesh.chunks() == 1 ? std::min(mesh.pp - place[Axis::kPp], microbatches) : 1;
  return at_once * rows * NumLayersOf(model, place) * model.hidden_size * 4;
}

// Less than what a rank takes to train: its numbers of weights, and what it keeps of activations.
int64_t LeastOfUpdates(const ModelConfig& model, const Workload& work, const PolicyPlace& place) {
  const Layout layout(model, place.mesh);
  const MeshSizes& mesh = place.mesh.sizes;
  const bool shared_out = mesh.dp_shard * mesh.cp > 1;
  const int64_t weight = place.bf16 ? 2 : 4, policies = work.reference_stays ? 2 : 1;
  const int64_t each = (place.bf16 ? 4 : 0) + policies * weight + 8 + (shared_out ? 8 : 4);
  return layout.trained_elements() * each + (shared_out ? policies * LeastGathered(layout) * weight : 0) +
         LeastInputs(model, work, place.mesh);
}

// The policy with so few layers that the stage in the middle of a pipeline has one or two of each kind that
// it has of all layers.
ModelConfig WithFewLayers(ModelConfig model, const MeshSizes& mesh) {
  int64_t even = model.first_dense_layers;  // from this one on kinds alternate
  for (const int64_t layer : model.dense_layers) even = std::max(even, layer + 1);
  int64_t each = 2 * model.sparse_step;
  while (mesh.pp / 2 * each < even && mesh.pp > 1) each += model.sparse_step;
  const int64_t layers = mesh.pp == 1 ? even + each : mesh.pp * mesh.chunks() * each;
  model.num_layers = std::min(model.num_layers, layers);
  return model;
}

class LayoutSearcher {
 public:
  LayoutSearcher(const RecipeConfig& recipe, const Cluster& cluster)
      : recipe_(recipe),
        cluster_(cluster),
        memory_(cluster.device.memory_bytes()),
        pool_(std::max(1, static_cast<int>(std::thread::hardware_concurrency()))) {}

  absl::StatusOr<LayoutSearch> Run() {
    for (const StageConfig& stage : recipe_.stages) {
      TEMPER_ASSIGN_OR_RETURN(ModelConfig model, ModelOf(recipe_, stage));
      stages_.push_back({&stage, std::move(model), WorkloadOf(stage)});
    }
    if (stages_.empty()) return absl::InvalidArgumentError("the recipe has no stages");
    std::vector<Candidate> candidates = Candidates();
    if (candidates.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("no layout takes ", cluster_.ranks(),
                       " ranks: give the stages more gradient_leaves, or take fewer devices"));
    }
    search_.layouts = static_cast<int64_t>(candidates.size());
    ForEach(&candidates, [&](Candidate& candidate) { FindLeast(&candidate); });
    ForEach(&candidates, [&](Candidate& candidate) {
      if (candidate.least <= memory_) candidate.least += MoreOf(*candidate.fullest, MiddleOf(candidate.mesh));
    });
    // Those that surely take least come first, so that one that fits is soon there.
    std::stable_sort(candidates.begin(), candidates.end(),
                     [](const Candidate& a, const Candidate& b) { return a.least < b.least; });
    ForEach(&candidates, [&](Candidate& candidate) { Count(candidate); });
    TEMPER_RETURN_IF_ERROR(failed_);
    std::sort(search_.fit.begin(), search_.fit.end(), [](const LayoutProposal& a, const LayoutProposal& b) {
      return std::pair(a.seconds, MeshText(a.mesh)) < std::pair(b.seconds, MeshText(b.mesh));
    });
    return std::move(search_);
  }

 private:
  struct Candidate {
    MeshSizes mesh;
    int64_t least = 0;  // less than what its fullest rank takes
    const SearchedStage* fullest = nullptr;
  };

  template <typename Body>
  void ForEach(std::vector<Candidate>* candidates, const Body& body) {
    pool_.ParallelFor(static_cast<int64_t>(candidates->size()), 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) body((*candidates)[i]);
    });
  }

  std::vector<Candidate> Candidates() const {
    std::vector<Candidate> candidates;
    ForEachMesh(cluster_.ranks(), 0, recipe_.mesh, [&](MeshSizes sizes) {
      sizes.sequence_parallel &= sizes.tp > 1;
      for (const SearchedStage& stage : stages_) {
        const bool has_leaves =
            stage.work.updates == nullptr || stage.work.updates->gradient_leaves >= DataRanks(sizes);
        if (!has_leaves || !CheckMesh(stage.model, sizes).ok()) return;
      }
      candidates.push_back({sizes});
    });
    return candidates;
  }

  RecipeConfig On(const MeshSizes& mesh) const {
    RecipeConfig recipe = recipe_;
    recipe.mesh = mesh;
    return recipe;
  }

  // A rank in the middle of a pipeline.
  SearchedRank MiddleOf(const MeshSizes& mesh) const {
    const auto apart = On(mesh).MeshApart(cluster_.ranks()).value_or(std::nullopt);
    const int64_t number = RanksOf(mesh) / mesh.pp * (mesh.pp / 2);
    return {At(PlaceOf(mesh, number)), At(PlaceOf(apart.value_or(mesh), number)), apart.has_value()};
  }
  PolicyPlace At(const MeshPlace& mesh) const {
    return {.mesh = mesh, .on_gpu = true, .bf16 = recipe_.bf16()};
  }

  // By numbers alone, in no time.
  int64_t LeastOf(const SearchedStage& stage, const SearchedRank& rank) const {
    const Workload& work = stage.work;
    int64_t bytes = work.updates == nullptr ? 0 : LeastOfUpdates(stage.model, work, rank.trains);
    if (work.sampling == nullptr) return bytes;
    bytes += CachePool(stage.model, *work.sampling, rank.samples.mesh);
    if (!rank.apart && work.updates != nullptr) return bytes;
    return bytes + Layout(stage.model, rank.samples.mesh).trained_elements() * (recipe_.bf16() ? 2 : 4);
  }
  // What few layers take beyond that all of them do. A reference that does not stay takes less beside the
  // gradients of more layers.
  int64_t MoreOf(const SearchedStage& stage, const SearchedRank& rank) const {
    if (stage.work.updates == nullptr) return 0;
    const ModelConfig few = WithFewLayers(stage.model, rank.trains.mesh.sizes);
    Workload work = stage.work;
    work.reference &= work.reference_stays;
    return SumOf(UpdatePools(few, work, rank.trains)) - LeastOfUpdates(few, work, rank.trains);
  }
  void FindLeast(Candidate* candidate) const {
    const SearchedRank rank = MiddleOf(candidate->mesh);
    candidate->fullest = &stages_.front();
    for (const SearchedStage& stage : stages_) {
      const int64_t least = LeastOf(stage, rank);
      if (least <= candidate->least) continue;
      candidate->least = least;
      candidate->fullest = &stage;
    }
  }

  // What takes more neither fits nor, as long as nothing does, is the nearest.
  int64_t Limit() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return failed_.ok() ? std::max(memory_, search_.fit.empty() ? least_ : 0) : 0;
  }

  void Count(const Candidate& candidate) {
    if (candidate.least > Limit()) return;
    LayoutProposal proposal{.mesh = candidate.mesh};
    const RecipeConfig on_mesh = On(proposal.mesh);
    std::vector<const SearchedStage*> fullest_first = {candidate.fullest};
    for (const SearchedStage& stage : stages_)
      if (&stage != candidate.fullest) fullest_first.push_back(&stage);
    for (const SearchedStage* const stage : fullest_first) {
      absl::StatusOr<Pools> pools = PoolsOfStage(on_mesh, *stage->stage, stage->model, cluster_.ranks());
      if (!pools.ok()) {
        const std::lock_guard<std::mutex> lock(mutex_);
        return failed_.Update(pools.status());
      }
      if (SumOf(*pools) <= SumOf(proposal.pools)) continue;
      proposal.pools = *std::move(pools);
      proposal.stage = stage->stage->name;
      if (SumOf(proposal.pools) > Limit()) return;
    }
    const int64_t taken = SumOf(proposal.pools);
    for (const SearchedStage& stage : stages_) {
      if (taken > memory_) break;
      const StageEstimate estimate = EstimateOf(on_mesh, *stage.stage, stage.model, cluster_, proposal.mesh);
      proposal.seconds += estimate.stage > 0 ? estimate.stage : estimate.update;
    }
    const std::lock_guard<std::mutex> lock(mutex_);
    // Of those that take the same it is the same one whichever was counted first.
    if (std::pair(taken, MeshText(proposal.mesh)) < std::pair(least_, MeshText(search_.nearest.mesh))) {
      least_ = taken;
      search_.nearest = proposal;
    }
    if (taken <= memory_) search_.fit.push_back(std::move(proposal));
  }

  const RecipeConfig& recipe_;
  const Cluster& cluster_;
  const int64_t memory_;
  std::vector<SearchedStage> stages_;
  ThreadPool pool_;
  std::mutex mutex_;  // of what follows
  LayoutSearch search_;
  int64_t least_ = std::numeric_limits<int64_t>::max();  // that one of them takes
  absl::Status failed_;
};

}  // namespace

absl::StatusOr<LayoutSearch> SearchLayouts(const RecipeConfig& recipe, const Cluster& cluster) {
  return LayoutSearcher(recipe, cluster).Run();
}

}  // namespace temper
