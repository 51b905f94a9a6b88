// SPDX-License-Identifier: Apache-2.0
#include "trainer/evaluation.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/status.h"
#include "rewards/accuracy.h"
#include "rewards/answer.h"
#include "trainer/problems.h"
#include "trainer/rl_metrics.h"

namespace temper {
namespace {

RewardConfig EvaluationRules(const EvaluationConfig& config) {
  RewardConfig rules;
  rules.rules = {{.rule = "accuracy"}, {.rule = "format"}, {.rule = "language"}};
  rules.rules[2].language = config.language;
  rules.rules[2].min_words = 1;
  return rules;
}

std::string EvaluationRecords(const StageContext& context, const std::string& name) {
  return context.directory + "/evaluation/" + name;
}

}  // namespace

Outcomes OutcomesOf(const std::vector<Group>& groups) {
  Outcomes outcomes;
  for (const Group& group : groups) {
    std::vector<Outcome>& samples = outcomes.emplace_back();
    for (const Trajectory& trajectory : group.trajectories) {
      const Verdict& accuracy = trajectory.verdicts[0];
      const Completion completion{.prompt = &group.prompt, .text = trajectory.text, .stop = trajectory.stop};
      Outcome& outcome = samples.emplace_back();
      outcome.format = trajectory.verdicts[1].kind == VerdictKind::kCorrect;
      outcome.correct = accuracy.kind == VerdictKind::kCorrect && outcome.format;
      outcome.correct_lenient = outcome.correct || JudgeLenient(completion).kind == VerdictKind::kCorrect;
      outcome.checks = LooksBack(trajectory.text);
      outcome.cut = trajectory.stop == StopReason::kLength;
      outcome.key = outcome.format ? AnswerKey(accuracy.extracted) : "";
      outcome.tokens = static_cast<int64_t>(trajectory.tokens.size());
    }
  }
  return outcomes;
}

void AppendStatistics(const Statistics& statistics, const std::string& prefix, Json* row) {
  const std::pair<const char*, double> fields[] = {{"pass@1", statistics.pass_1},
                                                   {"pass@1_error", statistics.pass_1_error},
                                                   {"pass@1_lenient", statistics.pass_1_lenient},
                                                   {"pass@k", statistics.pass_k},
                                                   {"cons@k", statistics.cons_k},
                                                   {"format", statistics.format},
                                                   {"length_mean", statistics.length_mean},
                                                   {"length_p10", statistics.length_p10},
                                                   {"length_p50", statistics.length_p50},
                                                   {"length_p90", statistics.length_p90},
                                                   {"checks", statistics.checks},
                                                   {"cut", statistics.cut}};
  (*row)[prefix + "k"] = statistics.k;
  (*row)[prefix + "problems"] = statistics.problems;
  for (const auto& [name, value] : fields) (*row)[prefix + name] = value;
}

void Evaluator::Append(const Measured& measured, const std::string& prefix, Json* row) {
  AppendStatistics(measured.statistics, prefix, row);
  (*row)[prefix + "language"] = measured.language;
}

Evaluator::Evaluator(const StageContext& context, CausalLm& model, const Tokenizer& tokenizer)
    : context_(context),
      config_(context.stage->evaluation),
      model_(model),
      tokenizer_(tokenizer),
      engine_(&model, EngineOptionsOf(config_.sampling)),
      worker_(&engine_, &tokenizer, *context.mesh),
      held_out_{"held_out", &config_.source, config_.problems, config_.samples_per_prompt},
      hard_{"hard", &config_.hard, config_.problems > 0 ? config_.hard_problems : 0,
            config_.hard_samples_per_prompt} {}

absl::StatusOr<std::unique_ptr<Evaluator>> Evaluator::Open(const StageContext& context, CausalLm& model,
                                                           const Tokenizer& tokenizer) {
  auto evaluator = std::unique_ptr<Evaluator>(new Evaluator(context, model, tokenizer));
  TEMPER_ASSIGN_OR_RETURN(evaluator->rewards_,
                          RewardPool::Create(EvaluationRules(evaluator->config_), RewardThreads(context)));
  TEMPER_RETURN_IF_ERROR(evaluator->Draw(&evaluator->held_out_));
  TEMPER_RETURN_IF_ERROR(evaluator->Draw(&evaluator->hard_));
  return evaluator;
}

absl::Status Evaluator::Draw(Level* level) {
  if (level->count == 0) return absl::OkStatus();
  TEMPER_ASSIGN_OR_RETURN(const std::unique_ptr<ProblemSource> source,
                          ProblemSource::Open(*level->problems, tokenizer_, *context_.recipe,
                                              absl::StrCat("evaluation/", level->name), Split::kHeldOut));
  TEMPER_RETURN_IF_ERROR(source->CheckAnswers(*rewards_));
  // A file has so many problems and no more.
  const int64_t count = source->size() < 0 ? level->count : std::min(level->count, source->size());
  TEMPER_ASSIGN_OR_RETURN(level->prompts, source->Take(0, count));
  const SamplingOptions sampling = SamplingOptionsOf(config_.sampling, tokenizer_);
  for (const Prompt& prompt : level->prompts) TEMPER_RETURN_IF_ERROR(engine_.Check(prompt, sampling));
  return absl::OkStatus();
}

absl::Status Evaluator::DuringStage(int64_t step, Figures* figures) {
  figures->clear();
  if (config_.during_every == 0 || config_.problems == 0 || step % config_.during_every != 0)
    return absl::OkStatus();
  TEMPER_ASSIGN_OR_RETURN(
      const Measured measured,
      Measure(held_out_, config_.during_problems, config_.during_samples_per_prompt,
              EvaluationRecords(context_, absl::StrFormat("during-%06d", step)),
              [&](int64_t finished, int64_t total) {
                context_.progress->Note(absl::StrCat("evaluation ", finished, "/", total));
              }));
  Json row;
  Append(measured, "eval/", &row);
  for (const auto& [name, value] : row.items()) figures->emplace_back(name, value.get<double>());
  return absl::OkStatus();
}

absl::StatusOr<Json> Evaluator::AfterStage() {
  Json row = Json::object();
  for (const auto& [prefix, measured_level] : {std::pair("", &held_out_), std::pair("hard/", &hard_)}) {
    const Level& level = *measured_level;
    if (level.count == 0) continue;
    context_.progress->Start(absl::StrCat(context_.stage->name, " evaluation ", level.name),
                             level.count * level.samples);
    TEMPER_ASSIGN_OR_RETURN(
        const Measured measured,
        Measure(level, level.count, level.samples, EvaluationRecords(context_, level.name),
                [&](int64_t finished, int64_t) { context_.progress->Step(finished, ""); }));
    context_.progress->Step(level.count * level.samples,
                            absl::StrFormat("pass@1 %.3f", measured.statistics.pass_1));
    context_.progress->Finish();
    Append(measured, prefix, &row);
  }
  return row;
}

absl::StatusOr<Evaluator::Measured> Evaluator::Measure(const Level& level, int64_t count, int64_t samples,
                                                       const std::string& records,
                                                       absl::FunctionRef<void(int64_t, int64_t)> progress) {
  RolloutRequest request;
  request.seed = context_.recipe->seed;
  request.stage = absl::StrCat("evaluation/", level.name);
  count = std::min(count, static_cast<int64_t>(level.prompts.size()));
  request.prompts.assign(level.prompts.begin(), level.prompts.begin() + count);
  request.samples_per_prompt = samples;
  request.policy_version = model_.version();
  request.sampling = SamplingOptionsOf(config_.sampling, tokenizer_);
  request.records = records;
  RolloutCounts counts;
  TEMPER_ASSIGN_OR_RETURN(const std::vector<Group> groups,
                          worker_.Collect(request, *rewards_, progress, context_.stop, &counts));
  Measured measured{Evaluate(OutcomesOf(groups))};
  double score = 0, completions = 0;
  for (const Group& group : groups) {
    for (const Trajectory& trajectory : group.trajectories) {
      score += trajectory.verdicts[2].score;
      completions += 1;
    }
  }
  measured.language = score / completions;
  return measured;
}

}  // namespace temper
