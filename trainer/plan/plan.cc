// SPDX-License-Identifier: Apache-2.0
#include "trainer/plan/plan.h"

#include <algorithm>
#include <optional>
#include <set>

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
#include "trainer/plan/counted.h"
#include "trainer/plan/footprint.h"
#include "trainer/plan/splits.h"
#include "trainer/plan/workload.h"
#include "trainer/recipe.h"
#include "trainer/rl_metrics.h"
#include "trainer/run_directory/run_directory.h"
#include "trainer/run_directory/stage_model.h"

namespace temper {
namespace {

// Pools that a policy on a GPU has beside it, and those that are there where they have room.
constexpr char kHost[] = "host ", kIfFree[] = "if free ";
constexpr char kCopy[] = "copy of a checkpoint";

bool IsBeside(std::string_view pool) { return pool.starts_with(kHost) || pool.starts_with(kIfFree); }

// A simulated one's memory is the host's.
bool IsOnGpu(const RecipeConfig& recipe) { return recipe.device.starts_with("cuda"); }

PolicyPlace At(const RecipeConfig& recipe, const MeshPlace& mesh) {
  return {.mesh = mesh, .on_gpu = IsOnGpu(recipe), .bf16 = recipe.bf16()};
}

// A rank in the mesh that trains and in the one that samples, for which there may be a second policy.
struct RankPlaces {
  PolicyPlace trains, samples;
  bool apart = false;
};

std::string RlWords(const RlConfig& rl) {
  return absl::StrFormat(
      "%d updates; prompts_per_step %d x samples_per_prompt %d; rollout_batch %d (updates_per_rollout %d); "
      "tokens_per_microbatch %d; tokens_per_shared_prompt %d; max_new_tokens %d",
      rl.steps, rl.prompts_per_step, rl.samples_per_prompt,
      rl.prompts_per_step * rl.updates_per_rollout * rl.samples_per_prompt, rl.updates_per_rollout,
      rl.tokens_per_microbatch, rl.tokens_per_shared_prompt, rl.sampling.max_new_tokens);
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
  for (const std::string& where : {std::string(), std::string(kHost)}) {
    std::string list;
    int64_t sum = 0;
    for (const auto& [name, bytes] : pools) {
      if (IsBeside(name) ? where.empty() || !absl::StartsWith(name, where) : !where.empty()) continue;
      absl::StrAppend(&list, absl::StripPrefix(name, where), " ", BytesText(bytes), ", ");
      sum += bytes;
    }
    if (!list.empty())
      absl::StrAppend(text, where.empty() ? "    memory a rank: " : "    and of the host: ", list, "sum ",
                      BytesText(sum), "\n");
  }
  for (const auto& [name, bytes] : pools) {
    if (absl::StartsWith(name, kIfFree))
      absl::StrAppend(text, "    and where twice as much is free: ", absl::StripPrefix(name, kIfFree), " ",
                      BytesText(bytes), "\n");
  }
}

}  // namespace

int64_t SumOf(const Pools& pools) {
  int64_t bytes = 0;
  for (const auto& [name, size] : pools) bytes += IsBeside(name) ? 0 : size;
  return bytes;
}

const std::pair<std::string, int64_t>& LargestOf(const Pools& pools) {
  return *std::max_element(pools.begin(), pools.end(),
                           [](const auto& a, const auto& b) { return SumOf({a}) < SumOf({b}); });
}

std::string BytesText(int64_t bytes) {
  const double mib = static_cast<double>(bytes) / (1 << 20);
  if (bytes > 0 && mib < 0.5) return absl::StrFormat("%.3g KiB", static_cast<double>(bytes) / (1 << 10));
  return mib < 1024 ? absl::StrFormat("%.0f MiB", mib) : absl::StrFormat("%.1f GiB", mib / 1024);
}

namespace {

constexpr char kScratch[] = "scratch of kernels";

// `sampling`: what the same device keeps for sampling, which has the same memory.
Pools UpdatePools(const ModelConfig& model, const Workload& work, const PolicyPlace& place,
                  const kernels::ScratchBytes& sampling) {
  const MeshSizes& mesh = place.mesh.sizes;
  UpdateFootprint footprint = FootprintOf(model, place, *work.updates, work.longest, work.MostOn(mesh));
  footprint.scratch.Grow(sampling);
  const bool on_gpu = place.on_gpu;
  Pools pools = {{"weights", footprint.weights}};
  if (!on_gpu) pools.emplace_back("packed weights", footprint.packed);
  if (footprint.gathered > 0) pools.emplace_back("gathered weights", footprint.gathered);
  pools.emplace_back("gradients", footprint.gradients);
  pools.emplace_back("optimizer", footprint.trained * 2);
  pools.emplace_back("activations", footprint.activations);
  if (on_gpu) pools.emplace_back(kScratch, footprint.scratch.sum());
  if (work.reference) {
    const int64_t reference = FootprintOf(model, place).weights + footprint.packed + footprint.gathered;
    // One that does not stay has the memory of gradients first, and what more it needs.
    pools.emplace_back("reference", work.reference_stays
                                        ? reference
                                        : std::max<int64_t>(reference - footprint.gradients, 0));
  }
  if (on_gpu && DataRanks(mesh) > 1 && footprint.gathered == 0)
    pools.emplace_back(absl::StrCat(kHost, "gradients of all ranks (none where NCCL adds them)"),
                       footprint.trained);
  const InBackground background = work.updates->checkpoint_in_background;
  if (background != InBackground::kNo) {
    pools.emplace_back(
        absl::StrCat(background == InBackground::kAuto ? kIfFree : "", on_gpu ? kHost : "", kCopy),
        footprint.copied);
  }
  return pools;
}

}  // namespace

Pools UpdatePools(const ModelConfig& model, const Workload& work, const PolicyPlace& place) {
  return UpdatePools(model, work, place, {});
}

int64_t CachePool(const ModelConfig& model, const SamplingConfig& sampling, const MeshPlace& place) {
  return Engine::CachePages(model, EngineOptionsOf(sampling), place) * KvCache::BytesPerPage(model, place);
}

int64_t CachePositions(const ModelConfig& model, const SamplingConfig& sampling) {
  return CachePool(model, sampling, {}) / KvCache::BytesPerPage(model) * kernels::kAttentionBlock;
}

namespace {

constexpr char kEvaluationCache[] = "cache of evaluation";
constexpr char kSampling[] = "activations of sampling";
constexpr char kSamplingScratch[] = "scratch of kernels that sample";
constexpr char kSampler[] = "policy of rollout.mesh";

// What a policy takes that samples: an engine's largest pass, and the weights that ranks bring together for
// it. All samples but one decode beside as much of prompts as a pass takes.
struct SamplingFootprint : PolicyFootprint {
  int64_t activations = 0, gathered = 0;
  kernels::ScratchBytes scratch;
};

// So many rows that are dealt to sequences, as many as the first ones can have of at most `longest`, and one
// to each of the others at least.
class DealtRows {
 public:
  DealtRows(int64_t rows, int64_t sequences, int64_t longest)
      : pages_(PagesFor(std::min(rows, longest))), logit_rows_(sequences) {
    for (int64_t s = 0; s < sequences; ++s) {
      const int64_t left = rows - static_cast<int64_t>(batch_.tokens.size()) - (sequences - 1 - s);
      batch_.sequences.push_back({.rows = std::min(left, longest), .pages = pages_});
      batch_.tokens.resize(batch_.tokens.size() + batch_.sequences[s].rows);
      logit_rows_[s] = static_cast<int32_t>(batch_.tokens.size()) - 1;
    }
  }
  DealtRows(const DealtRows&) = delete;  // its batch points to its pages

  const TokenBatch& batch() const { return batch_; }
  absl::Span<const int32_t> logit_rows() const { return logit_rows_; }  // the last row of each sequence
  int64_t pages() const { return static_cast<int64_t>(pages_.size()); }

 private:
  std::vector<int32_t> pages_;
  TokenBatch batch_;
  std::vector<int32_t> logit_rows_;
};

SamplingFootprint SamplingFootprintOf(const ModelConfig& config, const PolicyPlace& place,
                                      const SamplingConfig& sampling) {
  CountedRank rank(place);
  const std::unique_ptr<CausalLm> policy = rank.NewPolicy(config, /*trained=*/false);
  SamplingFootprint footprint{FootprintOf(rank, *policy)};
  const EngineOptions options = EngineOptionsOf(sampling);
  const int64_t longest = config.max_positions > 0 ? config.max_positions : options.prefill_tokens;
  // Prompts have as many rows as a pass takes of them, and each sequence beside them has one.
  const int64_t prompts = std::min(options.max_batch, (options.prefill_tokens + longest - 1) / longest);
  const DealtRows pass(options.prefill_tokens + options.max_batch - prompts, options.max_batch, longest);
  // The MTP module's beside few sequences, of as many rows as Engine gives it.
  const DealtRows drafts(options.prefill_tokens + 2 * kRowsWithDrafts,
                         std::min(options.max_batch, kRowsWithDrafts - 1), longest);
  const KvCache cache(config, drafts.pages(), policy->backend(), place.mesh);  // nobody looks into it
  if (options.mtp) policy->decode_pass().ForwardMtp(drafts.batch(), cache, drafts.logit_rows());
  const auto logits = policy->decode_pass().Forward(pass.batch(), cache, pass.logit_rows(), options.mtp);
  footprint.activations = policy->decode_pass().bytes();
  footprint.gathered = policy->weights().gathered_bytes();
  if (!place.on_gpu) return footprint;
  const std::vector<kernels::SampleParameters> parameters(logits.rows);
  const std::vector<double> uniforms(logits.rows);
  std::vector<kernels::SampledToken> tokens(logits.rows);
  rank.backend().Sample({logits, parameters, uniforms, absl::MakeSpan(tokens)});
  const int64_t drafted = options.max_batch * std::max<int64_t>(options.draft_tokens, options.mtp ? 1 : 0);
  CountSplits(AttentionShapeOf(config, place.mesh),
              {.prompt_rows = options.prefill_tokens + drafted,
               .sequences = options.max_batch,
               .positions = std::min(longest, options.prefill_tokens + sampling.max_new_tokens),
               .spare_rows = config.routed_experts == 0},
              &rank.backend());
  footprint.scratch = rank.backend().scratch();
  return footprint;
}

// What a policy that only samples takes.
Pools SamplingPools(const ModelConfig& model, const char* cache, const SamplingConfig& sampling,
                    const PolicyPlace& place) {
  const SamplingFootprint footprint = SamplingFootprintOf(model, place, sampling);
  Pools pools = {{"weights", footprint.weights}};
  if (!place.on_gpu) pools.emplace_back("packed weights", footprint.packed);
  pools.emplace_back(cache, CachePool(model, sampling, place.mesh));
  if (footprint.gathered > 0) pools.emplace_back("gathered weights", footprint.gathered);
  pools.emplace_back(kSampling, footprint.activations);
  if (place.on_gpu) pools.emplace_back(kSamplingScratch, footprint.scratch.sum());
  return pools;
}

// What a stage takes while it runs. An rl stage that is measured as it trains has a second cache for that.
Pools PoolsAt(const StageConfig& stage, const ModelConfig& model, const RankPlaces& places) {
  const Workload work = WorkloadOf(stage);
  const PolicyPlace& samples = places.samples;
  const char* const cache = stage.kind == StageKind::kEval ? kEvaluationCache : "cache";
  if (work.updates == nullptr) return SamplingPools(model, cache, *work.sampling, samples);
  if (work.sampling == nullptr) return UpdatePools(model, work, places.trains);
  SamplingFootprint passes;  // the policy makes one after another, in the same memory
  const auto pass = [&](const SamplingConfig& sampling) {
    const SamplingFootprint of_it = SamplingFootprintOf(model, samples, sampling);
    kernels::ScratchBytes scratch = passes.scratch;
    scratch.Grow(of_it.scratch);
    if (of_it.activations > passes.activations) passes = of_it;
    passes.scratch = scratch;
  };
  const bool measures = stage.evaluation.during_every > 0 && stage.evaluation.HeldOutProblems() > 0;
  pass(*work.sampling);
  if (measures) pass(stage.evaluation.sampling);
  // One backend has one memory for its calls, whatever they are for.
  Pools pools =
      UpdatePools(model, work, places.trains, places.apart ? kernels::ScratchBytes() : passes.scratch);
  if (places.apart) pools.emplace_back(kSampler, passes.weights + passes.packed + passes.gathered);
  pools.emplace_back(cache, CachePool(model, *work.sampling, samples.mesh));
  pools.emplace_back(kSampling, passes.activations);
  if (samples.on_gpu && places.apart) pools.emplace_back(kSamplingScratch, passes.scratch.sum());
  if (measures)
    pools.emplace_back(kEvaluationCache, CachePool(model, stage.evaluation.sampling, samples.mesh));
  return pools;
}

// The same of one that trained, as its weights go to the mesh that measures them, and nothing else is left.
Pools PublishingPools(const Pools& trained, const ModelConfig& model, const PolicyPlace& samples) {
  Pools pools;
  for (const auto& pool : trained)
    if (absl::EndsWith(pool.first, "weights")) pools.push_back(pool);
  pools.emplace_back(kSampler, FootprintOf(model, samples).weights);
  return pools;
}

// The same at most: while the stage runs, or when its policy is measured and nothing of the training is left.
Pools LargestPoolsAt(const StageConfig& stage, const ModelConfig& model, const RankPlaces& places) {
  Pools largest = PoolsAt(stage, model, places);
  if (stage.kind == StageKind::kCollect || stage.evaluation.HeldOutProblems() == 0) return largest;
  const auto or_these = [&largest](Pools pools) {
    if (SumOf(pools) > SumOf(largest)) largest = std::move(pools);
  };
  if (places.apart && stage.kind != StageKind::kEval)
    or_these(PublishingPools(largest, model, places.samples));
  or_these(SamplingPools(model, kEvaluationCache, stage.evaluation.sampling, places.samples));
  return largest;
}

// What the layers are that the rank at this place has, and of how many experts: equal of ranks that take as
// much as each other.
void AppendKinds(const ModelConfig& model, const MeshPlace& place, std::vector<int64_t>* kinds) {
  const int64_t stage = place[Axis::kPp];
  const IndexRange experts = ExpertsOf(model, place);
  kinds->insert(kinds->end(), {stage == 0, stage == place.sizes.pp - 1, experts.end - experts.begin});
  for (int64_t chunk = 0; chunk < place.sizes.chunks(); ++chunk) {
    const IndexRange layers = LayersOf(model, place, chunk);
    int64_t moe_layers = 0;
    for (int64_t layer = layers.begin; layer < layers.end; ++layer)
      moe_layers += model.is_moe_layer(layer) ? 1 : 0;
    kinds->insert(kinds->end(), {layers.end - layers.begin, moe_layers});
  }
}

// Stage after stage of the mesh's pipeline, of each the last rank first.
std::vector<int64_t> RanksByStage(const MeshSizes& sizes) {
  std::vector<int64_t> ranks;
  const int64_t each = RanksOf(sizes) / sizes.pp;
  for (int64_t stage = 0; stage < sizes.pp; ++stage)
    for (int64_t rank = each; rank-- > 0;) ranks.push_back(stage * each + rank);
  return ranks;
}

// Of the rank that takes most: ranks of a pipeline have different layers, those of other axes as much as each
// other, but for experts that do not divide, and what else does not, of which the last has more. Of ranks
// with layers of the same kinds between a pipeline's ends the first holds most microbatches; it is counted
// alone.
using PoolsOfRank = Pools (*)(const StageConfig&, const ModelConfig&, const RankPlaces&);
absl::StatusOr<Pools> OfFullestRank(const RecipeConfig& recipe, const StageConfig& stage,
                                    const ModelConfig& model, int ranks, PoolsOfRank pools_of) {
  TEMPER_ASSIGN_OR_RETURN(const MeshSizes sizes, Resolve(recipe.mesh, ranks));
  TEMPER_ASSIGN_OR_RETURN(const std::optional<MeshSizes> apart, recipe.MeshApart(ranks));
  TEMPER_RETURN_IF_ERROR(CheckMeshes(recipe, model, ranks));
  Pools fullest;
  std::set<std::vector<int64_t>> counted;
  for (const int64_t rank : RanksByStage(sizes)) {
    const MeshPlace trains = PlaceOf(sizes, rank), samples = PlaceOf(apart.value_or(sizes), rank);
    std::vector<int64_t> kinds;
    AppendKinds(model, trains, &kinds);
    if (apart) AppendKinds(model, samples, &kinds);
    if (!counted.insert(kinds).second) continue;
    Pools pools = pools_of(stage, model, {At(recipe, trains), At(recipe, samples), apart.has_value()});
    if (SumOf(pools) > SumOf(fullest)) fullest = std::move(pools);
  }
  return fullest;
}

// `local` ranks of this machine take the pools each.
absl::Status CheckFits(const std::string& stage, const Pools& pools, int local, const FreeMemory& free,
                       bool on_gpu) {
  const int64_t sum = SumOf(pools);
  if (pools.empty() || sum <= free.bytes) return absl::OkStatus();
  const auto& [name, bytes] = LargestOf(pools);
  return absl::FailedPreconditionError(
      absl::StrCat("stage ", stage, ": takes ", BytesText(sum),
                   local > 1 ? absl::StrCat(" on each of ", local, " ranks here") : "", ", and ", free.bound,
                   " leaves ", BytesText(free.bytes), local > 1 ? " for each" : "", ": most of it are ", name,
                   ", ", BytesText(bytes), ": set ", Remedy(name, on_gpu), "; --force tries all the same"));
}

}  // namespace

std::string Remedy(std::string_view pool, bool on_gpu) {
  const std::string name(pool);
  if (name == "gradients") return "fewer gradient_leaves for each rank";
  if (name == kCopy) return "checkpoint_in_background: false";
  if (name == kSampling || name == kSamplingScratch) return "less sampling.max_batch";
  if (absl::StartsWith(name, "activations")) {
    return "recompute: mlp or true, or fewer tokens_per_microbatch (rl: and tokens_per_shared_prompt)";
  }
  if (name == kEvaluationCache) return "less evaluation.sampling.cache_mib or max_new_tokens";
  if (absl::StartsWith(name, "cache")) return "less sampling.cache_mib or max_new_tokens";
  if (name == kSampler) return "a rollout.mesh that cuts the policy more, or none, for one policy";
  if (absl::StartsWith(name, "reference"))
    return "reference_in_memory: false, or kl_coef: 0, which needs none";
  if (on_gpu)
    return "device: cpu, where ranks share the policy, or take a smaller model or a GPU with more memory";
  return "mesh.tp, mesh.pp or mesh.dp_shard, by which ranks share the policy, or take a smaller model or a "
         "machine with more memory";
}

absl::StatusOr<Pools> PoolsOfStage(const RecipeConfig& recipe, const StageConfig& stage,
                                   const ModelConfig& model, int ranks) {
  return OfFullestRank(recipe, stage, model, ranks, LargestPoolsAt);
}

absl::Status CheckMemory(const RecipeConfig& recipe, int ranks, int local, const FreeForRank& free,
                         const std::function<bool(const std::string& stage)>& finished,
                         const std::string& run_directory) {
  const bool on_gpu = IsOnGpu(recipe);
  for (const StageConfig& stage : recipe.stages) {
    if (finished(stage.name)) continue;
    TEMPER_ASSIGN_OR_RETURN(const ModelConfig model, ModelOf(recipe, stage, run_directory));
    TEMPER_ASSIGN_OR_RETURN(const Pools pools, PoolsOfStage(recipe, stage, model, ranks));
    Pools host, device;
    for (const auto& [name, bytes] : pools) {
      if (!IsBeside(name)) (on_gpu ? device : host).emplace_back(name, bytes);
      if (on_gpu && absl::StartsWith(name, kHost)) host.emplace_back(absl::StripPrefix(name, kHost), bytes);
    }
    TEMPER_RETURN_IF_ERROR(CheckFits(stage.name, host, local, free.host, on_gpu));
    TEMPER_RETURN_IF_ERROR(CheckFits(stage.name, device, local, free.device, on_gpu));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> PlanText(const RecipeConfig& recipe, int ranks,
                                     const std::string& run_directory) {
  const bool on_gpu = IsOnGpu(recipe);
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
