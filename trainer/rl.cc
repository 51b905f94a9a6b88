// SPDX-License-Identifier: Apache-2.0
// The algorithm is this page: sample -> score -> advantage -> update -> publish.
#include "trainer/rl.h"

#include <algorithm>
#include <chrono>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "comm/check.h"
#include "core/log.h"
#include "core/random.h"
#include "core/status.h"
#include "rollout/exchange.h"
#include "rollout/replay.h"
#include "rollout/worker.h"
#include "trainer/inputs/inputs.h"
#include "trainer/reference.h"
#include "trainer/rl_metrics.h"
#include "trainer/run_directory/sums.h"
#include "trainer/session.h"
#include "trainer/update_batch.h"

namespace temper {
namespace {

// The updates of a rollout, all of which exist before the first moves the policy: its groups are split at
// random, the same way on every rank.
std::vector<UpdateBatch> BatchesOf(const StageContext& context, const RlConfig& config, int64_t rollout,
                                   const std::vector<Group>& groups, const Rewards& rewards) {
  std::vector<int64_t> order(groups.size());
  std::iota(order.begin(), order.end(), 0);
  if (config.updates_per_rollout > 1)
    order = Permutation(static_cast<int64_t>(groups.size()),
                        RandomKey(context.recipe->seed, context.stage->name, rollout, "split"));
  std::vector<UpdateBatch> batches;
  for (int64_t u = 0; u < config.updates_per_rollout; ++u) {
    const auto begin = order.begin() + u * config.prompts_per_step;
    batches.push_back(MakeUpdateBatch(groups, rewards, {begin, begin + config.prompts_per_step}, config));
  }
  return batches;
}

// Each rank gets the tokens of the groups that its gradient leaves have, and no others.
void DeliverTokens(const StageContext& context, const RlConfig& config, std::vector<Group>* groups,
                   std::vector<UpdateBatch>* batches) {
  Deliver(*context.sampling_mesh, *context.mesh, Contents::kTokens,
          TrainingRanks(*batches, static_cast<int64_t>(groups->size()), *context.mesh, config), groups);
  for (UpdateBatch& batch : *batches) {
    FillTokens(*groups, &batch);
    ShareLongSequences(config, *context.mesh, &batch);
  }
}

// Of a policy that is not exact the trainer knows other logprobs than the sampler stored: the ratio's
// denominators are the trainer's own, of the policy as it was at the rollout. A stage that resumes between
// the updates of a rollout has them no more, and goes on with the sampler's.
void RecomputeOldLogprobs(TrainingSession& session, const RlConfig& config,
                          std::vector<UpdateBatch>& batches) {
  if (session.model().exact() || session.state().step % config.updates_per_rollout != 0) return;
  for (UpdateBatch& batch : batches)
    FillLogprobs(session.model(), config, *session.context().mesh, &TrainSequence::old_logprobs, &batch);
}

// In a rollout's first update the policy is the sampler: a single unequal bit is a defect, and stops the run
// (E1).
absl::Status CheckExact(TrainingSession& session, const LossSums& sums) {
  if (!session.model().exact() || sums.unequal == 0) return absl::OkStatus();
  return absl::InternalError(absl::StrFormat(
      "stage %s, update %d: %d of %d tokens have another logprob in the trainer than the sampler stored "
      "(largest difference %g): "
      "rollout and trainer disagree, which must never happen; please report it with this run directory",
      session.context().stage->name, session.state().step, static_cast<int64_t>(sums.unequal),
      static_cast<int64_t>(sums.tokens), sums.max_difference));
}

// So many updates in a row that rewards do not move are told.
constexpr int64_t kIdleUpdates = 3;
std::string IdleText(const TrainingSession& session, int64_t updates) {
  return absl::StrFormat(
      "stage %s, update %d: %d in a row had nothing to train on: in no group do the rewards differ, so they "
      "move no weight. Look at reward/* in metrics.jsonl and at completions in the report: problems too hard "
      "or too easy for this policy, a form that a rule wants and the prompt does not ask for, too few "
      "max_new_tokens",
      session.context().stage->name, session.state().step, updates);
}

// The evaluation that is due, the update's line of metrics, and its checkpoint. A stop that cuts the
// evaluation off leaves the figures in the checkpoint, for the next start to come here with.
absl::Status MeasureAndFinish(TrainingSession& session, Evaluator& evaluator, Figures row) {
  Figures evaluation;
  if (evaluator.IsDue(session.state().step)) session.Publish();
  const absl::Status measured = evaluator.DuringStage(session.state().step, &evaluation);
  if (absl::IsCancelled(measured)) return session.StoppedMeasuring(row);
  TEMPER_RETURN_IF_ERROR(measured);
  InsertEvaluation(evaluation, &row);
  const RewardConfig& reward = session.context().stage->rl.reward;
  return session.FinishStep(row, RlFigures::StatusText(row, AnswerRule(reward).Name()));
}

double SecondsSince(std::chrono::steady_clock::time_point began) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
}

}  // namespace

absl::StatusOr<StagePolicy> RunRl(const StageContext& context) {
  const RlConfig& config = context.stage->rl;
  TEMPER_ASSIGN_OR_RETURN(std::unique_ptr<TrainingSession> session, TrainingSession::Open(context, config));
  TEMPER_RETURN_IF_ERROR(session->SetTotalSteps(config.steps));
  TEMPER_ASSIGN_OR_RETURN(std::unique_ptr<ProblemSource> problems,
                          context.inputs->TrainProblems(*context.stage));
  TEMPER_ASSIGN_OR_RETURN(std::unique_ptr<RewardPool> rewards,
                          RewardPool::Create(config.reward, RewardThreads(context)));
  TEMPER_ASSIGN_OR_RETURN(std::unique_ptr<Evaluator> evaluator,
                          Evaluator::Open(context, session->model().config(), session->tokenizer()));
  evaluator->Take(&session->sampler());
  std::unique_ptr<ReferencePolicy> reference;
  if (config.loss.kl_coef != 0) {
    TEMPER_ASSIGN_OR_RETURN(reference, ReferencePolicy::Open(*session));
  }
  Engine engine(&session->sampler(), EngineOptionsOf(config.sampling));
  RolloutWorker worker(&engine, &session->tokenizer(), *context.sampling_mesh);
  ReplaySource replay(*context.sampling_mesh);
  const float temperature = config.sampling.temperature;
  context.progress->Start(context.stage->name, session->total_steps(), session->state().step);
  if (Figures row = session->TakeCutOff(); !row.empty())
    TEMPER_RETURN_IF_ERROR(MeasureAndFinish(*session, *evaluator, std::move(row)));
  int64_t idle = 0;  // updates in a row that had nothing to train on

  while (!session->finished()) {
    const int64_t rollout = session->state().step / config.updates_per_rollout;
    RlFigures figures;
    context.mesh->world().Announce("samples");
    const absl::StatusOr<RolloutRequest> drawn = MakeRolloutRequest(*session, *problems, config, rollout);
    const absl::Status all_have = AllRanksOk(drawn.status(), context.mesh->world());
    if (!all_have.ok()) {
      // Ranks save together; one that has an error of its own keeps it.
      const absl::Status stopped = session->Stopped();
      return IsStop(all_have) ? stopped : all_have;
    }
    const RolloutRequest& request = *drawn;
    // A stage that resumes between the updates of a rollout has its sampler no more.
    const int64_t first = session->state().step % config.updates_per_rollout;
    GroupSource& source = first > 0 ? static_cast<GroupSource&>(replay) : worker;
    if (first == 0) session->Publish();
    absl::StatusOr<std::vector<Group>> collected =
        source.Collect(request, *rewards, RolloutProgress(context), context.stop, &figures.rollout);
    if (absl::IsCancelled(collected.status())) return session->Stopped();
    TEMPER_RETURN_IF_ERROR(collected.status());
    std::vector<Group>& groups = *collected;
    if (context.sums != nullptr) TEMPER_RETURN_IF_ERROR(context.sums->AddRecords(request.records));
    const Rewards group_rewards =
        RewardsOf(groups, config, context.recipe->seed, context.stage->name, rollout);
    std::vector<UpdateBatch> batches = BatchesOf(context, config, rollout, groups, group_rewards);
    DeliverTokens(context, config, &groups, &batches);
    RecomputeOldLogprobs(*session, config, batches);

    bool moved = first > 0;  // the policy, since it was the sampler; of a resume that is not known
    for (int64_t u = first; u < config.updates_per_rollout && !session->finished(); ++u) {
      const auto began = std::chrono::steady_clock::now();
      figures.batch = std::move(batches[u]);
      const Leaves leaves = DealToLeaves(figures.batch, config.gradient_leaves);
      if (reference != nullptr) {
        TEMPER_ASSIGN_OR_RETURN(CausalLm * policy, reference->Take(*session));
        FillLogprobs(*policy, config, *context.mesh, &TrainSequence::ref_logprobs, &figures.batch);
        reference->LetGo(*session);
      }
      figures.learning_rate = session->learning_rate();
      TEMPER_ASSIGN_OR_RETURN(
          figures.step, session->Update(leaves, temperature,
                                        [&](const TrainSequence& sequence, absl::Span<const float> logprobs,
                                            absl::Span<float> dlogprobs, LossSums* sums) {
                                          PolicyLoss(config.loss, figures.batch.denominators, sequence,
                                                     logprobs, dlogprobs, sums);
                                        }));
      if (!moved) TEMPER_RETURN_IF_ERROR(CheckExact(*session, figures.step.sums));
      const bool has_spread =
          figures.batch.groups_without_spread < static_cast<int64_t>(figures.batch.groups.size());
      idle = has_spread && !figures.step.skipped ? 0 : idle + 1;
      if (idle == std::min<int64_t>(kIdleUpdates, session->total_steps()) && context.mesh->is_first())
        LogWarning(IdleText(*session, idle));
      moved |= !figures.step.skipped && figures.step.applied;
      if (reference != nullptr && config.reference_refresh_steps > 0 &&
          session->state().step % config.reference_refresh_steps == 0) {
        TEMPER_RETURN_IF_ERROR(reference->Refresh(*session));
      }
      figures.update_seconds = SecondsSince(began);
      figures.exact = session->model().exact();
      TEMPER_RETURN_IF_ERROR(
          MeasureAndFinish(*session, *evaluator, figures.Row(groups, group_rewards, rewards->TakeMetrics())));
      figures.rollout = {};  // told once: sums over the updates are right
    }
  }
  context.progress->Finish();
  return StagePolicy{session->TakePolicy(), std::move(evaluator), session->state().seconds};
}

}  // namespace temper
