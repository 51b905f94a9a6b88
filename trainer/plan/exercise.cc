// SPDX-License-Identifier: Apache-2.0
#include "trainer/plan/exercise.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "core/status.h"
#include "core/thread_pool.h"
#include "rollout/engine.h"
#include "trainer/plan/footprint.h"
#include "trainer/plan/plan.h"
#include "trainer/rl_metrics.h"
#include "trainer/run_directory/checkpoint.h"
#include "trainer/run_directory/stage_model.h"
#include "trainer/weight_sync.h"

namespace temper {
namespace {

constexpr char kPublish[] = "publish", kPrefill[] = "prefill", kDecode[] = "decode",
               kReference[] = "reference", kUpdate[] = "update";

class StageExercise {
 public:
  StageExercise(const RecipeConfig& recipe, const StageConfig& stage, const ModelConfig& model,
                const ExerciseOptions& options, const std::pair<MeshSizes, MeshSizes>& meshes)
      : recipe_(recipe),
        stage_(stage),
        model_(model),
        options_(options),
        work_(WorkloadOf(stage)),
        mesh_(meshes.first),
        sampling_mesh_(meshes.second),
        apart_(recipe.MeshApart(options.ranks).value().has_value() && work_.sampling != nullptr),
        size_(SizeOf(work_, mesh_)),
        log_(mesh_),
        sampling_log_(sampling_mesh_),
        syncs_(options.ranks),
        peaks_(options.ranks) {}

  absl::StatusOr<std::string> Text() {
    bool again = true;
    while (again) {
      TEMPER_RETURN_IF_ERROR(RunAll());
      again = log_.Hear();
      again |= sampling_log_.Hear();
    }
    if (options_.spoil != nullptr) options_.spoil(&log_);
    int64_t messages = 0;
    for (const MessageLog* log : {&log_, &sampling_log_}) {
      const absl::StatusOr<int64_t> matched = log->Match();
      if (!matched.ok()) return Fault(std::string(matched.status().message()));
      messages += *matched;
    }
    std::string text = absl::StrCat(stage_.name, " (", NameIn(kStageKinds, stage_.kind), ")\n", Done(),
                                    "  messages  ", messages, " were sent and taken; of tensors ");
    std::vector<std::string> parts;
    for (const char* phase : {kPublish, kPrefill, kDecode, kReference, kUpdate}) {
      PartBytes all = {};
      for (const MessageLog* log : {&log_, &sampling_log_}) {
        for (int64_t rank = 0; rank < log->ranks(); ++rank) {
          const PartBytes mine = TensorBytes(log->of(rank), phase);
          for (int i = 0; i < kMeshParts; ++i) all[i] += mine[i];
        }
      }
      std::vector<std::string> list;
      for (int i = 0; i < kMeshParts; ++i)
        if (all[i] > 0) list.push_back(absl::StrCat(MeshParts()[i].name, " ", BytesText(all[i])));
      if (!list.empty()) parts.push_back(absl::StrCat(phase, " ", absl::StrJoin(list, ", ")));
    }
    absl::StrAppend(&text, parts.empty() ? "nothing" : absl::StrJoin(parts, "; "), "\n");
    TEMPER_RETURN_IF_ERROR(CheckPlannedBytes(&text));
    TEMPER_RETURN_IF_ERROR(CheckMemory(&text));
    return text;
  }

 private:
  // Of long sequences, which are put through the policy one by one and leave nothing but sums, as few as take
  // the same memory.
  static UpdateSize SizeOf(const Workload& work, const MeshSizes& mesh) {
    if (work.updates == nullptr) return {};
    const UpdateSize all = work.MostOn(mesh);
    return IsLong(*work.updates, work.longest) ? LeastLike(all, mesh, *work.updates, work.longest) : all;
  }
  absl::Status Fault(const std::string& what) const {
    return absl::FailedPreconditionError(absl::StrCat("stage ", stage_.name, ": ", what));
  }

  PolicyPlace PlaceAt(int64_t rank) const { return PlaceIn(mesh_, rank); }
  PolicyPlace PlaceIn(const MeshSizes& mesh, int64_t rank) const {
    return {.mesh = PlaceOf(mesh, rank), .on_gpu = options_.cluster != nullptr, .bf16 = recipe_.bf16()};
  }

  // Every rank, as many side by side as there are processors.
  absl::Status RunAll() {
    std::vector<absl::Status> statuses(options_.ranks);
    ThreadPool(std::max(1, static_cast<int>(std::thread::hardware_concurrency())))
        .ParallelFor(options_.ranks, 1, [&](int64_t begin, int64_t end) {
          for (int64_t rank = begin; rank < end; ++rank) statuses[rank] = Run(rank);
        });
    for (const absl::Status& status : statuses) TEMPER_RETURN_IF_ERROR(status);
    return absl::OkStatus();
  }

  absl::Status Run(int64_t rank) {
    RankMessages& messages = log_.of(rank);
    messages.Begin("start");
    CountedRank counted(PlaceAt(rank), &messages);
    const bool trains = work_.updates != nullptr;
    const std::unique_ptr<CausalLm> policy = trains || !apart_ ? counted.NewPolicy(model_, trains) : nullptr,
                                    reference = work_.reference ? counted.NewPolicy(model_, /*trained=*/false)
                                                                : nullptr;
    std::unique_ptr<Optimizer> optimizer;
    if (trains) optimizer = std::make_unique<Optimizer>(policy.get());
    // What samples where it has a mesh of its own, beside all that.
    std::unique_ptr<CountedRank> beside;
    std::unique_ptr<CausalLm> copy;
    if (apart_) {
      sampling_log_.of(rank).Begin("start");
      beside = std::make_unique<CountedRank>(PlaceIn(sampling_mesh_, rank), &sampling_log_.of(rank));
      copy = beside->NewPolicy(model_, /*trained=*/false);
    }
    if (apart_ && trains) {
      messages.Begin(kPublish);
      std::unique_ptr<WeightSync>& sync = syncs_[rank];
      if (sync == nullptr)
        sync =
            std::make_unique<WeightSync>(model_, policy->parameters().layout(), copy->parameters().layout());
      sync->Copy(policy->weights().computed(), counted.mesh().world(), &copy->parameters());
    }
    CausalLm& sampler = apart_ ? *copy : *policy;
    std::unique_ptr<Engine> engine;  // its cache stays
    if (work_.sampling != nullptr && (stage_.kind != StageKind::kEval || stage_.is_measured())) {
      engine = std::make_unique<Engine>(&sampler, EngineOptionsOf(*work_.sampling));
      TEMPER_RETURN_IF_ERROR(Sample(engine.get(), apart_ ? &sampling_log_.of(rank) : &messages));
    }
    // Workspaces take memory in large pieces, of which they use a part.
    int64_t untouched = sampler.decode_pass().allocated_bytes() - sampler.decode_pass().bytes();
    const int64_t sampling =
        (beside == nullptr ? counted.backend().peak_bytes()
                           : counted.backend().bytes() + beside->backend().peak_bytes()) -
        untouched + (beside == nullptr ? counted : *beside).backend().scratch_bytes();
    peaks_[rank] = sampling;
    if (!trains) return absl::OkStatus();
    const EvenUpdate update(model_, *work_.updates, work_.longest, size_);
    if (reference != nullptr) {
      messages.Begin(kReference);
      update.Score(reference.get());
    }
    policy->WeightsChanged(0);  // as the plan's update begins: no layer lies there still
    messages.Begin(kUpdate);
    const UpdateMemory memory = update.Run(policy.get(), optimizer.get());
    untouched += memory.workspaces - memory.activations;
    const int64_t updating = counted.backend().peak_bytes() - untouched + counted.backend().scratch_bytes();
    peaks_[rank] =
        beside == nullptr
            ? updating
            : std::max(sampling, updating + beside->backend().bytes() + beside->backend().scratch_bytes());
    // It lies beside the backend's memory, and where the policy does only on processors.
    if (options_.cluster == nullptr && work_.updates->checkpoint_in_background == InBackground::kYes)
      peaks_[rank] += BytesOfCopy(*policy, static_cast<int>(rank));
    return absl::OkStatus();
  }

  // A prefill of as many prompts as fill a pass, and a step in which their samples decode.
  absl::Status Sample(Engine* engine, RankMessages* messages) const {
    SamplingOptions sampling;
    sampling.max_new_tokens = work_.sampling->max_new_tokens;
    sampling.ignore_eos = true;
    std::vector<Prompt> prompts(PromptsHere());
    std::vector<SampleRequest> requests(prompts.size());
    for (size_t p = 0; p < prompts.size(); ++p) {
      prompts[p].id = absl::StrCat("exercise-", p);
      // None begins like another one.
      prompts[p].tokens.assign(PromptTokens(), static_cast<int32_t>(p % model_.vocab_size));
      requests[p].prompt = &prompts[p];
      requests[p].sampling = &sampling;
    }
    for (int64_t i = 0; i < SamplesHere(); ++i)
      requests[i % requests.size()].samples.push_back(static_cast<int32_t>(i));
    for (const SampleRequest& request : requests) TEMPER_RETURN_IF_ERROR(engine->Submit(request));
    messages->Begin(kPrefill);
    engine->Step();
    messages->Begin(kDecode);
    engine->Step();
    engine->Clear();
    return absl::OkStatus();
  }
  int64_t PromptTokens() const {
    const int64_t room = model_.max_positions - work_.sampling->max_new_tokens;
    const int64_t longest = EngineOptionsOf(*work_.sampling).prefill_tokens;
    return model_.max_positions > 0 ? std::clamp<int64_t>(room, 1, longest) : longest;
  }
  int64_t PromptsHere() const {
    const int64_t prefill = EngineOptionsOf(*work_.sampling).prefill_tokens;
    return std::min((prefill + PromptTokens() - 1) / PromptTokens(), SamplesHere());
  }
  // Of a stage that samples and does not train a pass is full.
  int64_t SamplesHere() const {
    if (work_.updates == nullptr) return work_.sampling->max_batch;
    const int64_t all = std::max<int64_t>(work_.samples / DataRanks(sampling_mesh_), 1);
    return std::min(all, work_.sampling->max_batch);
  }

  std::string Done() const {
    std::string text = absl::StrCat("  did       on each of ", options_.ranks, " ranks ");
    if (work_.sampling != nullptr) {
      const int64_t prompts = PromptsHere();
      absl::StrAppend(&text, "a prefill of ", prompts > 1 ? absl::StrCat(prompts, " prompts of ") : "",
                      PromptTokens(), " tokens and a decode step of ", SamplesHere(), " sequences",
                      work_.updates != nullptr ? ", then " : "");
    }
    if (work_.updates != nullptr) {
      const UpdateSize all = work_.MostOn(mesh_);
      absl::StrAppend(&text, work_.reference ? "the reference's logprobs and " : "", "an update of ",
                      size_.leaves, " leaves of ", size_.microbatches, " microbatches of ",
                      EvenUpdate(model_, *work_.updates, work_.longest, size_).rows(), " tokens");
      if (size_.leaves * size_.microbatches < all.leaves * all.microbatches) {
        absl::StrAppend(&text, " (the recipe's has ", all.leaves, " of ", all.microbatches,
                        ", which take no more memory)");
      }
    }
    if (model_.routed_experts > 0) absl::StrAppend(&text, ", as many rows to each expert");
    return text + "\n";
  }

  // Of the first rank of each stage of a pipeline.
  absl::Status CheckPlannedBytes(std::string* text) const {
    if (work_.updates == nullptr) return absl::OkStatus();
    for (int64_t stage = 0; stage < mesh_.pp; ++stage) {
      MeshPlace place{mesh_, {}};
      place.at[static_cast<int>(Axis::kPp)] = stage;
      const int64_t rank = RankOf(place);
      const PartBytes planned = MessagesOf(model_, PlaceAt(rank), *work_.updates, work_.longest, size_);
      const PartBytes sent = TensorBytes(log_.of(rank), kUpdate);
      for (int i = 0; i < kMeshParts; ++i) {
        if (planned[i] == sent[i]) continue;
        return Fault(absl::StrCat("rank ", rank, " sends ", sent[i], " bytes of ", MeshParts()[i].name,
                                  " in an update, and its plan says ", planned[i]));
      }
    }
    absl::StrAppend(text, "  plan      the bytes of an update are the plan's, part by part\n");
    return absl::OkStatus();
  }

  absl::Status CheckMemory(std::string* text) const {
    const auto fullest = std::max_element(peaks_.begin(), peaks_.end());
    const int64_t rank = fullest - peaks_.begin();
    TEMPER_ASSIGN_OR_RETURN(const Pools pools, PoolsOfStage(recipe_, stage_, model_, options_.ranks));
    const int64_t planned = SumOf(pools);
    const std::string most = absl::StrCat("rank ", rank, " takes ", BytesText(*fullest), " at once");
    absl::StrAppendFormat(text, "  memory    %s, which is the most; the plan's sum is %s, %.0f%% of it", most,
                          BytesText(planned),
                          100.0 * static_cast<double>(planned) / static_cast<double>(*fullest));
    if (options_.cluster != nullptr) {
      const double device = options_.cluster->device.memory_gib * (int64_t{1} << 30);
      const double share = static_cast<double>(*fullest) / device;
      if (share > 1) {
        return Fault(absl::StrCat(most, ", and a device has ", BytesText(static_cast<int64_t>(device)),
                                  ": temper plan names the pools"));
      }
      absl::StrAppendFormat(text, ": %.0f%% of a device", 100 * share);
    }
    absl::StrAppend(text, "\n");
    return absl::OkStatus();
  }

  const RecipeConfig& recipe_;
  const StageConfig& stage_;
  const ModelConfig& model_;
  const ExerciseOptions& options_;
  const Workload work_;
  const MeshSizes mesh_, sampling_mesh_;
  const bool apart_;       // there are two policies
  const UpdateSize size_;  // of the update that is exercised
  MessageLog log_, sampling_log_;
  std::vector<std::unique_ptr<WeightSync>> syncs_;  // of each rank, made when it runs first
  std::vector<int64_t> peaks_;                      // likewise
};

}  // namespace

absl::StatusOr<std::string> ExerciseText(const RecipeConfig& recipe, const ExerciseOptions& options) {
  TEMPER_ASSIGN_OR_RETURN(const MeshSizes mesh, Resolve(recipe.mesh, options.ranks));
  TEMPER_ASSIGN_OR_RETURN(const std::optional<MeshSizes> apart, recipe.MeshApart(options.ranks));
  const MeshSizes sampling_mesh = apart.value_or(mesh);
  std::string text;
  for (const StageConfig& stage : recipe.stages) {
    TEMPER_ASSIGN_OR_RETURN(const ModelConfig model, ModelOf(recipe, stage));
    TEMPER_RETURN_IF_ERROR(CheckMeshes(recipe, model, options.ranks));
    TEMPER_ASSIGN_OR_RETURN(const std::string part,
                            StageExercise(recipe, stage, model, options, {mesh, sampling_mesh}).Text());
    text += part;
  }
  if (!text.empty()) text.pop_back();
  return text;
}

}  // namespace temper
