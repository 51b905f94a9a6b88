// SPDX-License-Identifier: Apache-2.0
#include "trainer/plan.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "core/files/file.h"
#include "core/status.h"
#include "kernels/attention.h"
#include "kernels/backends/counting.h"
#include "model/causal_lm.h"
#include "model/files/hugging_face.h"
#include "model/kv_cache.h"
#include "rollout/engine.h"
#include "trainer/inputs/documents.h"
#include "trainer/recipe.h"
#include "trainer/rl_metrics.h"
#include "trainer/run_directory/checkpoint.h"
#include "trainer/run_directory/model_directory.h"
#include "trainer/run_directory/run_directory.h"

namespace temper {
namespace {

// Prompts are short beside completions; this much is set aside for one.
constexpr int64_t kPromptAllowance = 512;

// Memory of a microbatch hardly depends on where its sequences end: the plan's end here, at the latest.
constexpr int64_t kCountedSequence = 4096;

// Pools that a policy on a GPU has beside it.
constexpr char kHost[] = "host ";

std::string Bytes(int64_t bytes) {
  const double mib = static_cast<double>(bytes) / (1 << 20);
  return mib < 1024 ? absl::StrFormat("%.0f MiB", mib) : absl::StrFormat("%.1f GiB", mib / 1024);
}

// What a policy takes, and with `updates` a training step of it, found by going through the model with no
// memory behind it.
struct Footprint {
  int64_t weights = 0, packed = 0, trained = 0, gradient = 0, activations = 0;
};
Footprint FootprintOf(const ModelConfig& config, const PlanPlace& place,
                      const UpdatesConfig* updates = nullptr, int64_t longest = 0) {
  ThreadPool pool(1);
  kernels::CountingBackend backend(&pool, /*packs=*/!place.on_gpu);
  std::vector<at::Tensor> values;
  Layout layout(config);
  for (const LayoutEntry& entry : layout.entries()) values.push_back(NewTensor(backend, entry.shape));
  Parameters parameters(std::move(layout), std::move(values));
  if (place.bf16 && updates == nullptr) parameters = ForRounded(parameters, backend);
  CausalLm policy(config, std::move(parameters), &backend, place.bf16 && updates != nullptr);
  Footprint footprint;
  footprint.weights = backend.bytes();
  policy.weights().Pack();
  footprint.packed = policy.weights().packed_bytes();
  if (updates == nullptr) return footprint;
  footprint.trained = policy.weights().TrainedFloats() * 4;
  footprint.gradient = policy.weights().GradientFloats() * 4;
  const std::shared_ptr<void> gradient = backend.Allocate(footprint.gradient);
  policy.weights().BindGradients(static_cast<float*>(gradient.get()));

  Microbatch batch;
  const int64_t rows = std::max(updates->tokens_per_microbatch, longest);
  const int64_t length = std::min({rows, config.max_positions, kCountedSequence});
  batch.tokens.resize(rows);
  batch.targets.resize(rows);
  for (int64_t row = 0; row < rows; row += length) batch.lengths.push_back(std::min(length, rows - row));
  std::vector<float> logprobs(rows);
  TrainPass pass(&policy.stack(), updates->keep);
  pass.Logprobs(batch, 1, logprobs.data());
  pass.Backward(logprobs.data());
  footprint.activations = pass.bytes();
  return footprint;
}

PlanPlace PlaceOf(const RecipeConfig& recipe, int ranks) {
  return {.ranks = ranks, .on_gpu = recipe.device != "cpu", .bf16 = recipe.bf16()};
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
      absl::StrAppend(&list, absl::StripPrefix(name, kHost), " ", Bytes(bytes), ", ");
      sum += bytes;
    }
    if (!list.empty())
      absl::StrAppend(text, host ? "    and of the host: " : "    memory a rank: ", list, "sum ", Bytes(sum),
                      "\n");
  }
}

}  // namespace

absl::StatusOr<ModelConfig> ModelOf(const RecipeConfig& recipe, const StageConfig& stage,
                                    const std::string& run_directory) {
  const StageConfig* const before = recipe.StageBefore(stage);
  absl::StatusOr<ModelConfig> model;
  if (before != nullptr) {
    model = ModelOf(recipe, *before, run_directory);
  } else if (stage.from.empty()) {
    model = ReadPolicyConfig(stage.pretrain.init.directory);
  } else {
    const absl::StatusOr<std::string> directory = ModelDirectory(stage.from);
    model = directory.ok() ? ReadPolicyConfig(*directory) : directory.status();
  }
  if (!model.ok() && !run_directory.empty()) {
    const std::string checkpoint = CheckpointInPlaceOf(recipe, stage, run_directory);
    if (!checkpoint.empty()) model = ReadPolicyConfig(checkpoint);
  }
  if (model.ok()) model->cache = recipe.cache;
  return model;
}

std::string CheckpointInPlaceOf(const RecipeConfig& recipe, const StageConfig& stage,
                                const std::string& run_directory) {
  const auto newest = [&](const StageConfig& one) {
    return LatestCheckpoint(CheckpointsDirectory(StageDirectory(run_directory, one.name))).value_or("");
  };
  std::string checkpoint = newest(stage);
  for (const StageConfig& other : recipe.stages) {
    if (checkpoint.empty() && !stage.from.empty() && other.from == stage.from) checkpoint = newest(other);
  }
  return checkpoint;
}

Pools UpdatePools(const ModelConfig& model, const UpdatesConfig& updates, int64_t longest, bool reference,
                  const PlanPlace& place) {
  const Footprint footprint = FootprintOf(model, place, &updates, longest);
  const int ranks = place.ranks;
  const bool on_gpu = place.on_gpu;
  // The leaf being filled, and the sum of those before, which takes two.
  const int64_t gradients = std::clamp<int64_t>((updates.gradient_leaves + ranks - 1) / ranks, 1, 3);
  Pools pools = {{"weights", footprint.weights}};
  if (!on_gpu) pools.emplace_back("packed weights", footprint.packed);
  pools.emplace_back(absl::StrCat("gradients (", gradients, " x gradient leaf)"),
                     footprint.gradient * gradients);
  pools.emplace_back("optimizer", footprint.trained * 2);
  pools.emplace_back("activations", footprint.activations);
  if (reference) pools.emplace_back("reference", FootprintOf(model, place).weights + footprint.packed);
  if (on_gpu && ranks > 1)
    pools.emplace_back(absl::StrCat(kHost, "gradients of all ranks"), footprint.trained);
  return pools;
}

int64_t CachePool(const ModelConfig& model, const SamplingConfig& sampling) {
  return Engine::CachePages(model, EngineOptionsOf(sampling)) * KvCache::BytesPerPage(model);
}

int64_t CachePositions(const ModelConfig& model, const SamplingConfig& sampling) {
  return CachePool(model, sampling) / KvCache::BytesPerPage(model) * kernels::kAttentionBlock;
}

namespace {

constexpr char kEvaluationCache[] = "cache of evaluation";

// What a policy that only samples takes.
Pools SamplingPools(const ModelConfig& model, const char* cache, const SamplingConfig& sampling,
                    const PlanPlace& place) {
  const Footprint footprint = FootprintOf(model, place);
  Pools pools = {{"weights", footprint.weights}};
  if (!place.on_gpu) pools.emplace_back("packed weights", footprint.packed);
  pools.emplace_back(cache, CachePool(model, sampling));
  return pools;
}

// What a stage takes while it runs. One that is measured as it trains has a second cache for that.
Pools PoolsOf(const RecipeConfig& recipe, const StageConfig& stage, const ModelConfig& model, int ranks) {
  const PlanPlace place = PlaceOf(recipe, ranks);
  Pools pools;
  switch (stage.kind) {
    case StageKind::kRl: {
      const int64_t longest = kPromptAllowance + stage.rl.sampling.max_new_tokens;
      pools = UpdatePools(model, stage.rl, longest, stage.rl.loss.kl_coef != 0, place);
      pools.emplace_back("cache", CachePool(model, stage.rl.sampling));
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
    pools.emplace_back(kEvaluationCache, CachePool(model, stage.evaluation.sampling));
  return pools;
}

// What a stage takes at most: while it runs, or when its policy is measured and nothing of the training is
// left.
Pools LargestPools(const RecipeConfig& recipe, const StageConfig& stage, const ModelConfig& model,
                   int ranks) {
  const Pools pools = PoolsOf(recipe, stage, model, ranks);
  if (stage.kind == StageKind::kCollect || stage.evaluation.HeldOutProblems() == 0) return pools;
  const Pools measured =
      SamplingPools(model, kEvaluationCache, stage.evaluation.sampling, PlaceOf(recipe, ranks));
  const auto sum = [](const Pools& some) {
    int64_t bytes = 0;
    for (const auto& pool : some) bytes += pool.second;
    return bytes;
  };
  return sum(measured) > sum(pools) ? measured : pools;
}

// What makes a pool smaller.
std::string Remedy(absl::string_view pool) {
  if (absl::StartsWith(pool, "gradients")) return "fewer gradient_leaves for each rank";
  if (absl::StartsWith(pool, "activations")) return "recompute: mlp or true, or fewer tokens_per_microbatch";
  if (pool == kEvaluationCache) return "less evaluation.sampling.cache_mib or max_new_tokens";
  if (absl::StartsWith(pool, "cache")) return "less sampling.cache_mib or max_new_tokens";
  if (absl::StartsWith(pool, "reference")) return "kl_coef: 0, which needs none";
  return "a smaller model, or a machine with more memory: a policy is whole on each rank";
}

}  // namespace

absl::Status CheckMemory(const RecipeConfig& recipe, int ranks, int local, const FreeMemory& free,
                         const std::function<bool(const std::string& stage)>& finished,
                         const std::string& run_directory) {
  const bool on_gpu = recipe.device != "cpu";
  for (const StageConfig& stage : recipe.stages) {
    if (finished(stage.name)) continue;
    TEMPER_ASSIGN_OR_RETURN(const ModelConfig model, ModelOf(recipe, stage, run_directory));
    const Pools pools = LargestPools(recipe, stage, model, ranks);
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
        "stage ", stage.name, ": takes ", Bytes(sum),
        local > 1 ? absl::StrCat(" on each of ", local, " ranks here") : "", ", and ", free.bound, " leaves ",
        Bytes(free.bytes), local > 1 ? " for each" : "", ": most of it are ", name, ", ",
        Bytes(largest->second), ": set ", Remedy(name), "; --force tries all the same"));
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
    const Pools pools = PoolsOf(recipe, stage, model, ranks);
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
