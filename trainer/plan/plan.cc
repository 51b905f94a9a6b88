// SPDX-License-Identifier: Apache-2.0
#include "trainer/plan/plan.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "core/files/file.h"
#include "core/status.h"
#include "kernels/attention.h"
#include "model/causal_lm.h"
#include "model/kv_cache.h"
#include "rollout/engine.h"
#include "trainer/inputs/documents.h"
#include "trainer/plan/footprint.h"
#include "trainer/recipe.h"
#include "trainer/rl_metrics.h"
#include "trainer/run_directory/run_directory.h"
#include "trainer/run_directory/stage_model.h"

namespace temper {
namespace {

// Prompts are short beside completions; this much is set aside for one.
constexpr int64_t kPromptAllowance = 512;

// Pools that a policy on a GPU has beside it.
constexpr char kHost[] = "host ";

PolicyPlace At(const RecipeConfig& recipe, const MeshPlace& mesh) {
  return {.mesh = mesh, .on_gpu = recipe.device != "cpu", .bf16 = recipe.bf16()};
}

std::string RlWords(const RlConfig& rl) {
  return absl::StrFormat(
      "%d updates; prompts_per_step %d x samples_per_prompt %d; rollout_batch %d (updates_per_rollout %d); "
      "tokens_per_microbatch %d; max_new_tokens %d",
      rl.steps, rl.prompts_per_step, rl.samples_per_prompt,
      rl.prompts_per_step * rl.updates_per_rollout * rl.samples_per_prompt, rl.updates_per_rollout,
      rl.tokens_per_microbatch, rl.sampling.max_new_tokens);
}

std::string SftWords(const SftConfig& sft) {
  int64_t known = 0;
  bool all_known = true;
  for (const DocumentsConfig& documents : sft.documents) {
    known += documents.count;
    all_known &= documents.count > 0;
  }
  const std::string count = all_known ? absl::StrCat(SftSteps(known, sft), " updates; ") : "";
  return absl::StrFormat("%s%d documents an update; epochs %d; tokens_per_microbatch %d", count,
                         sft.prompts_per_step, sft.epochs, sft.tokens_per_microbatch);
}

void Append(std::string* text, const StageConfig& stage, const std::string& words, const Pools& pools) {
  absl::StrAppend(text, "  ", stage.name, " (", NameIn(kStageKinds, stage.kind), "): ", words, "\n");
  for (bool host : {false, true}) {
    std::string list;
    int64_t sum = 0;
    for (const auto& [name, bytes] : pools) {
      if (absl::StartsWith(name, kHost) != host) continue;
      absl::StrAppend(&list, absl::StripPrefix(name, kHost), " ", BytesText(bytes), ", ");
      sum += bytes;
    }
    if (!list.empty())
      absl::StrAppend(text, host ? "    and of the host: " : "    memory a rank: ", list, "sum ",
                      BytesText(sum), "\n");
  }
}

}  // namespace

std::string BytesText(int64_t bytes) {
  const double mib = static_cast<double>(bytes) / (1 << 20);
  return mib < 1024 ? absl::StrFormat("%.0f MiB", mib) : absl::StrFormat("%.1f GiB", mib / 1024);
}

Pools UpdatePools(const ModelConfig& model, const UpdatesConfig& updates, int64_t longest, bool reference,
                  const PolicyPlace& place) {
  const UpdateFootprint footprint = FootprintOf(model, place, updates, longest);
  const MeshSizes& mesh = place.mesh.sizes;
  const int64_t samples = mesh.dp_replicate * mesh.dp_shard * mesh.ep * mesh.cp;
  const bool on_gpu = place.on_gpu;
  // The leaf being filled, and the sum of those before, which takes two.
  const int64_t gradients = std::clamp<int64_t>((updates.gradient_leaves + samples - 1) / samples, 1, 3);
  Pools pools = {{"weights", footprint.weights}};
  if (!on_gpu) pools.emplace_back("packed weights", footprint.packed);
  if (mesh.dp_shard > 1) {
    pools.emplace_back("gathered weights", footprint.gathered);
    pools.emplace_back("gradients (sums of a share, a layer's)", footprint.gradient);
  } else {
    pools.emplace_back(absl::StrCat("gradients (", gradients, " x gradient leaf)"),
                       footprint.gradient * gradients);
  }
  pools.emplace_back("optimizer", footprint.trained * 2);
  pools.emplace_back("activations", footprint.activations);
  if (reference) pools.emplace_back("reference", FootprintOf(model, place).weights + footprint.packed);
  if (on_gpu && samples > 1)
    pools.emplace_back(absl::StrCat(kHost, "gradients of all ranks"), footprint.trained);
  return pools;
}

int64_t CachePool(const ModelConfig& model, const SamplingConfig& sampling, const MeshPlace& place) {
  return Engine::CachePages(model, EngineOptionsOf(sampling), place) * KvCache::BytesPerPage(model, place);
}

int64_t CachePositions(const ModelConfig& model, const SamplingConfig& sampling) {
  return CachePool(model, sampling, {}) / KvCache::BytesPerPage(model) * kernels::kAttentionBlock;
}

namespace {

constexpr char kEvaluationCache[] = "cache of evaluation";

int64_t Sum(const Pools& pools) {
  int64_t bytes = 0;
  for (const auto& pool : pools) bytes += pool.second;
  return bytes;
}

// What a policy that only samples takes.
Pools SamplingPools(const ModelConfig& model, const char* cache, const SamplingConfig& sampling,
                    const PolicyPlace& place) {
  const PolicyFootprint footprint = FootprintOf(model, place);
  Pools pools = {{"weights", footprint.weights}};
  if (!place.on_gpu) pools.emplace_back("packed weights", footprint.packed);
  pools.emplace_back(cache, CachePool(model, sampling, place.mesh));
  return pools;
}

// What a stage takes while it runs. One that is measured as it trains has a second cache for that.
Pools PoolsAt(const StageConfig& stage, const ModelConfig& model, const PolicyPlace& place) {
  Pools pools;
  switch (stage.kind) {
    case StageKind::kRl: {
      const int64_t longest = kPromptAllowance + stage.rl.sampling.max_new_tokens;
      pools = UpdatePools(model, stage.rl, longest, stage.rl.loss.kl_coef != 0, place);
      pools.emplace_back("cache", CachePool(model, stage.rl.sampling, place.mesh));
      break;
    }
    case StageKind::kSft:
      pools = UpdatePools(model, stage.sft, 0, false, place);
      break;
    case StageKind::kPretrain:
      pools = UpdatePools(model, stage.pretrain, 0, false, place);
      break;
    case StageKind::kCollect:
      return SamplingPools(model, "cache", stage.collect.sampling, place);
    case StageKind::kEval:
      return SamplingPools(model, kEvaluationCache, stage.evaluation.sampling, place);
  }
  if (stage.evaluation.during_every > 0 && stage.evaluation.HeldOutProblems() > 0)
    pools.emplace_back(kEvaluationCache, CachePool(model, stage.evaluation.sampling, place.mesh));
  return pools;
}

// The same at most: while the stage runs, or when its policy is measured and nothing of the training is left.
Pools LargestPoolsAt(const StageConfig& stage, const ModelConfig& model, const PolicyPlace& place) {
  const Pools pools = PoolsAt(stage, model, place);
  if (stage.kind == StageKind::kCollect || stage.evaluation.HeldOutProblems() == 0) return pools;
  const Pools measured = SamplingPools(model, kEvaluationCache, stage.evaluation.sampling, place);
  return Sum(measured) > Sum(pools) ? measured : pools;
}

// Of the rank that takes most: ranks of a pipeline have different layers, those of other axes as much as each
// other, but for what does not divide, of which the last has more.
using PoolsOfRank = Pools (*)(const StageConfig&, const ModelConfig&, const PolicyPlace&);
absl::StatusOr<Pools> OfFullestRank(const RecipeConfig& recipe, const StageConfig& stage,
                                    const ModelConfig& model, int ranks, PoolsOfRank pools_of) {
  TEMPER_ASSIGN_OR_RETURN(const MeshSizes sizes, Resolve(recipe.mesh, ranks));
  TEMPER_RETURN_IF_ERROR(CheckMesh(model, sizes));
  Pools fullest;
  for (int64_t pipeline = 0; pipeline < sizes.pp; ++pipeline) {
    MeshPlace place{sizes, {}};
    for (int i = 0; i < kAxes; ++i) place.at[i] = sizes[static_cast<Axis>(i)] - 1;
    place.at[static_cast<int>(Axis::kPp)] = pipeline;
    Pools pools = pools_of(stage, model, At(recipe, place));
    if (Sum(pools) > Sum(fullest)) fullest = std::move(pools);
  }
  return fullest;
}

// What makes a pool smaller.
std::string Remedy(absl::string_view pool) {
  if (absl::StartsWith(pool, "gradients")) return "fewer gradient_leaves for each rank";
  if (absl::StartsWith(pool, "activations")) return "recompute: mlp or true, or fewer tokens_per_microbatch";
  if (pool == kEvaluationCache) return "less evaluation.sampling.cache_mib or max_new_tokens";
  if (absl::StartsWith(pool, "cache")) return "less sampling.cache_mib or max_new_tokens";
  if (absl::StartsWith(pool, "reference")) return "kl_coef: 0, which needs none";
  return "mesh.tp, mesh.pp or mesh.dp_shard, by which ranks share the policy, or take a smaller model or a "
         "machine with more memory";
}

}  // namespace

absl::StatusOr<Pools> PoolsOfStage(const RecipeConfig& recipe, const StageConfig& stage,
                                   const ModelConfig& model, int ranks) {
  return OfFullestRank(recipe, stage, model, ranks, LargestPoolsAt);
}

absl::Status CheckMemory(const RecipeConfig& recipe, int ranks, int local, const FreeMemory& free,
                         const std::function<bool(const std::string& stage)>& finished,
                         const std::string& run_directory) {
  const bool on_gpu = recipe.device != "cpu";
  for (const StageConfig& stage : recipe.stages) {
    if (finished(stage.name)) continue;
    TEMPER_ASSIGN_OR_RETURN(const ModelConfig model, ModelOf(recipe, stage, run_directory));
    TEMPER_ASSIGN_OR_RETURN(const Pools pools, PoolsOfStage(recipe, stage, model, ranks));
    int64_t sum = 0;
    const std::pair<std::string, int64_t>* largest = nullptr;
    for (const auto& pool : pools) {
      if (on_gpu && !absl::StartsWith(pool.first, kHost)) continue;
      sum += pool.second;
      if (largest == nullptr || pool.second > largest->second) largest = &pool;
    }
    if (largest == nullptr || sum <= free.bytes) continue;
    const absl::string_view name = absl::StripPrefix(largest->first, kHost);
    return absl::FailedPreconditionError(absl::StrCat(
        "stage ", stage.name, ": takes ", BytesText(sum),
        local > 1 ? absl::StrCat(" on each of ", local, " ranks here") : "", ", and ", free.bound, " leaves ",
        BytesText(free.bytes), local > 1 ? " for each" : "", ": most of it are ", name, ", ",
        BytesText(largest->second), ": set ", Remedy(name), "; --force tries all the same"));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> PlanText(const RecipeConfig& recipe, int ranks,
                                     const std::string& run_directory) {
  const bool on_gpu = recipe.device != "cpu";
  std::string text = absl::StrCat("plan: seed ", recipe.seed, ", ", ranks, ranks == 1 ? " rank" : " ranks",
                                  on_gpu ? absl::StrCat(", device ", recipe.device) : "", "\n");
  for (const StageConfig& stage : recipe.stages) {
    if (!run_directory.empty() && FileExists(StageDonePath(StageDirectory(run_directory, stage.name)))) {
      absl::StrAppend(&text, "  ", stage.name, " (", NameIn(kStageKinds, stage.kind), "): finished\n");
      continue;
    }
    TEMPER_ASSIGN_OR_RETURN(const ModelConfig model, ModelOf(recipe, stage, run_directory));
    TEMPER_ASSIGN_OR_RETURN(const Pools pools, OfFullestRank(recipe, stage, model, ranks, PoolsAt));
    if (stage.kind == StageKind::kRl) {
      Append(&text, stage, RlWords(stage.rl), pools);
    } else if (stage.kind == StageKind::kSft || stage.kind == StageKind::kPretrain) {
      const SftConfig& sft = stage.kind == StageKind::kSft ? stage.sft : stage.pretrain;
      const std::string parameters =
          stage.from.empty()
              ? absl::StrFormat("%s, %d parameters; ", model.model_type, Layout(model).elements())
              : "";
      Append(&text, stage, parameters + SftWords(sft), pools);
    } else if (stage.kind == StageKind::kCollect) {
      Append(&text, stage,
             absl::StrFormat("%d prompts x %d samples, at most %d kept of each", stage.collect.prompts,
                             stage.collect.samples_per_prompt, stage.collect.keep_per_prompt),
             pools);
    } else {
      Append(&text, stage, absl::StrCat(stage.evaluation.HeldOutProblems(), " problems"), pools);
    }
  }
  text.pop_back();
  return text;
}

}  // namespace temper
