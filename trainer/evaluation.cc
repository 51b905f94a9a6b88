// SPDX-License-Identifier: Apache-2.0
#include "trainer/evaluation.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/status.h"
#include "core/trace.h"
#include "rollout/exchange.h"
#include "trainer/inputs/inputs.h"
#include "trainer/rl_metrics.h"
#include "trainer/run_directory/run_directory.h"
#include "trainer/run_directory/sums.h"

namespace temper {
Evaluator::Evaluator(const StageContext& context, const Tokenizer& tokenizer, Measure measure)
    : context_(context),
      config_(context.stage->evaluation),
      tokenizer_(tokenizer),
      measure_(std::move(measure)),
      held_out_{"held_out", &config_.source, config_.HeldOutProblems(), config_.samples_per_prompt},
      hard_{"hard", &config_.hard, config_.HardProblems(), config_.hard_samples_per_prompt} {}

absl::StatusOr<std::unique_ptr<Evaluator>> Evaluator::Open(const StageContext& context,
                                                           const ModelConfig& config,
                                                           const Tokenizer& tokenizer) {
  TEMPER_ASSIGN_OR_RETURN(Measure measure, Measure::Create(EvaluationReward(*context.recipe, *context.stage),
                                                           context.stage->evaluation.pass_rule));
  auto evaluator = std::unique_ptr<Evaluator>(new Evaluator(context, tokenizer, std::move(measure)));
  TEMPER_ASSIGN_OR_RETURN(evaluator->rewards_,
                          RewardPool::Create(evaluator->measure_.reward(), RewardThreads(context)));
  TEMPER_RETURN_IF_ERROR(evaluator->Draw(config, &evaluator->held_out_));
  TEMPER_RETURN_IF_ERROR(evaluator->Draw(config, &evaluator->hard_));
  return evaluator;
}

void Evaluator::Take(CausalLm* model) {
  if (config_.HeldOutProblems() == 0) return;  // its policy may lack what only measuring would ask for
  worker_.reset();
  engine_.emplace(model, EngineOptionsOf(config_.sampling));
  worker_.emplace(&*engine_, &tokenizer_, *context_.sampling_mesh);
}

absl::Status Evaluator::Draw(const ModelConfig& config, Level* level) {
  if (level->count == 0) return absl::OkStatus();
  TEMPER_ASSIGN_OR_RETURN(const std::unique_ptr<ProblemSource> source,
                          context_.inputs->EvaluationProblems(*context_.stage, level->name));
  // A file has so many problems and no more.
  const int64_t count = source->size() < 0 ? level->count : std::min(level->count, source->size());
  TEMPER_ASSIGN_OR_RETURN(level->prompts, source->Take(0, count));
  const SamplingOptions sampling = config_.sampling.For(tokenizer_.eos_ids(), &tokenizer_);
  const EngineOptions engine = EngineOptionsOf(config_.sampling);
  for (const Prompt& prompt : level->prompts)
    TEMPER_RETURN_IF_ERROR(Engine::Check(config, engine, context_.sampling_mesh->place(), prompt, sampling));
  return absl::OkStatus();
}

bool Evaluator::IsDue(int64_t step) const {
  return config_.during_every > 0 && config_.HeldOutProblems() > 0 && step % config_.during_every == 0;
}

absl::Status Evaluator::DuringStage(int64_t step, Figures* figures) {
  figures->clear();
  if (!IsDue(step)) return absl::OkStatus();
  TEMPER_ASSIGN_OR_RETURN(const std::vector<Group> groups,
                          Sample(held_out_, config_.during_problems, config_.during_samples_per_prompt,
                                 EvaluationRecords(context_.directory, absl::StrFormat("during-%06d", step)),
                                 [&](int64_t finished, int64_t total) {
                                   context_.progress->Note(absl::StrCat("evaluation ", finished, "/", total));
                                 }));
  TEMPER_ASSIGN_OR_RETURN(const Json row, RowOf(groups, "eval/"));
  for (const auto& [name, value] : row.items()) figures->emplace_back(name, value.get<double>());
  return absl::OkStatus();
}

absl::StatusOr<Json> Evaluator::AfterStage() {
  Json row = Json::object();
  if (config_.HeldOutProblems() > 0) row["rule"] = measure_.pass_rule();
  for (const auto& [prefix, measured_level] : {std::pair("", &held_out_), std::pair("hard/", &hard_)}) {
    const Level& level = *measured_level;
    if (level.count == 0) continue;
    context_.progress->Start(absl::StrCat(context_.stage->name, " evaluation ", level.name),
                             level.count * level.samples);
    TEMPER_ASSIGN_OR_RETURN(
        const std::vector<Group> groups,
        Sample(level, level.count, level.samples, EvaluationRecords(context_.directory, level.name),
               [&](int64_t finished, int64_t) { context_.progress->Step(finished, ""); }));
    TEMPER_ASSIGN_OR_RETURN(const Json figures, RowOf(groups, prefix));
    context_.progress->Step(
        level.count * level.samples,
        absl::StrFormat("pass@1 %.3f", figures[absl::StrCat(prefix, "pass@1")].get<double>()));
    context_.progress->Finish();
    row.update(figures);
  }
  return row;
}

absl::StatusOr<std::vector<Group>> Evaluator::Sample(const Level& level, int64_t count, int64_t samples,
                                                     const std::string& records,
                                                     absl::FunctionRef<void(int64_t, int64_t)> progress) {
  RolloutRequest request;
  request.seed = context_.recipe->seed;
  request.stage = absl::StrCat("evaluation/", level.name);
  count = std::min(count, static_cast<int64_t>(level.prompts.size()));
  request.prompts.assign(level.prompts.begin(), level.prompts.begin() + count);
  request.samples_per_prompt = samples;
  request.policy_version = engine_->model().version();
  request.sampling = config_.sampling.For(tokenizer_.eos_ids(), &tokenizer_);
  request.records = records;
  RolloutCounts counts;
  const TraceSpan span("phase", "evaluation");
  context_.mesh->world().Announce("measures");
  TEMPER_ASSIGN_OR_RETURN(std::vector<Group> groups,
                          worker_->Collect(request, *rewards_, progress, context_.stop, &counts));
  if (context_.sums != nullptr) TEMPER_RETURN_IF_ERROR(context_.sums->AddRecords(records));
  const Mesh& mesh = *context_.sampling_mesh;
  Deliver(mesh, mesh, Contents::kTexts, std::vector<int>(groups.size(), 0), &groups);
  return groups;
}

absl::StatusOr<Json> Evaluator::RowOf(const std::vector<Group>& groups, const std::string& prefix) {
  std::string text;
  Communicator& ranks = context_.sampling_mesh->dp();
  if (ranks.rank() == 0) {
    Json row = Json::object();
    const Measure::Figures figures = measure_.Of(groups);
    measure_.Append(figures, prefix, &row);
    if (figures.reward) row[prefix + "reward"] = *figures.reward;
    text = DumpJson(row);
  }
  return ParseJson(ranks.AllGather(text)[0], "the first rank's figures");
}

}  // namespace temper
