// SPDX-License-Identifier: Apache-2.0
#include "trainer/sft.h"

#include <chrono>

#include "absl/strings/str_format.h"
#include "core/deal.h"
#include "core/status.h"
#include "trainer/inputs/documents.h"

namespace temper {
namespace {

Leaves DealDocuments(const std::vector<TrainSequence>& documents, int64_t gradient_leaves) {
  std::vector<int64_t> tokens;
  for (const TrainSequence& document : documents)
    tokens.push_back(static_cast<int64_t>(document.tokens.size()));
  const std::vector<std::vector<int64_t>> dealt = Deal(tokens, gradient_leaves);
  Leaves leaves(gradient_leaves);
  for (int64_t l = 0; l < gradient_leaves; ++l) {
    for (int64_t item : dealt[l]) leaves[l].push_back(&documents[item]);
  }
  return leaves;
}

}  // namespace

Figures SftFigures(const StepResult& step, double learning_rate, double seconds) {
  Figures figures = {{"loss", step.sums.loss},
                     {"tokens", step.sums.tokens},
                     {"gradient_norm", step.gradient_norm},
                     {"learning_rate", learning_rate},
                     {"updates/out_of_range", step.applied ? 0.0 : 1.0},
                     {"time/step_seconds", seconds},
                     {"system/local_tokens", static_cast<double>(step.local_tokens)},
                     {"system/leaves_taken_over", static_cast<double>(step.taken_over)},
                     {"system/microbatches", static_cast<double>(step.microbatches)}};
  if (step.bubble > 0) figures.emplace_back("time/bubble", step.bubble);
  if (const LossSums& sums = step.sums; sums.mtp_tokens > 0) {
    figures.insert(figures.begin() + 2, {{"mtp_loss", sums.mtp_nll / sums.mtp_tokens},
                                         {"mtp_accuracy", sums.mtp_right / sums.mtp_tokens}});
  }
  return figures;
}

absl::StatusOr<StagePolicy> RunSft(const StageContext& context) {
  const bool pretrain = context.stage->kind == StageKind::kPretrain;
  const SftConfig& config = pretrain ? context.stage->pretrain : context.stage->sft;
  const bool from_nothing = pretrain && context.stage->from.empty();
  TEMPER_ASSIGN_OR_RETURN(
      std::unique_ptr<TrainingSession> session,
      TrainingSession::Open(context, config, from_nothing ? &context.stage->pretrain.init : nullptr));
  TEMPER_ASSIGN_OR_RETURN(const std::unique_ptr<DocumentSource> source,
                          DocumentSource::Open(context, config.documents, session->tokenizer()));
  // What the stage will be measured by: a problem that cannot be judged shows now, not after the training.
  TEMPER_ASSIGN_OR_RETURN(std::unique_ptr<Evaluator> evaluator,
                          Evaluator::Open(context, session->model().config(), session->tokenizer()));
  const int64_t count = source->size();
  DocumentOrder order(count, config, context.recipe->seed, context.stage->name);
  TEMPER_RETURN_IF_ERROR(session->SetTotalSteps(SftSteps(count, config)));
  context.progress->Start(context.stage->name, session->total_steps(), session->state().step);

  while (!session->finished()) {
    const auto began = std::chrono::steady_clock::now();
    const std::vector<int64_t> chosen = order.OfStep(session->state().step);
    LossDenominators denominators;
    std::vector<TrainSequence> documents;
    for (int64_t index : chosen) {
      TEMPER_ASSIGN_OR_RETURN(TrainSequence document, source->Read(index));
      denominators.sequences += 1;
      denominators.tokens += static_cast<double>(document.counted());
      documents.push_back(std::move(document));
    }
    const double learning_rate = session->learning_rate();
    const Leaves leaves = DealDocuments(documents, config.gradient_leaves);
    TEMPER_ASSIGN_OR_RETURN(
        const StepResult step,
        session->Update(
            leaves, /*temperature=*/1,
            [&](const TrainSequence& sequence, absl::Span<const float> logprobs, absl::Span<float> dlogprobs,
                LossSums* sums) { CrossEntropyLoss(denominators, sequence, logprobs, dlogprobs, sums); }));
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    const Figures figures = SftFigures(step, learning_rate, seconds);
    TEMPER_RETURN_IF_ERROR(session->FinishStep(figures, absl::StrFormat("loss %.4f", step.sums.loss)));
  }
  context.progress->Finish();
  OpenedPolicy policy = session->TakePolicy();
  evaluator->Take(policy.model.get());
  return StagePolicy{std::move(policy), std::move(evaluator), session->state().seconds};
}

}  // namespace temper
