// SPDX-License-Identifier: Apache-2.0
#include "trainer/sft.h"

#include <chrono>

#include "absl/strings/str_format.h"
#include "core/status.h"
#include "data/packing.h"
#include "trainer/documents.h"
#include "trainer/session.h"

namespace temper {
namespace {

Leaves DealDocuments(const std::vector<TrainSequence>& documents, const std::vector<int64_t>& chosen,
                     int64_t gradient_leaves) {
  std::vector<int64_t> tokens;
  for (int64_t index : chosen) tokens.push_back(static_cast<int64_t>(documents[index].tokens.size()));
  const std::vector<std::vector<int64_t>> dealt = DealLeaves(tokens, gradient_leaves);
  Leaves leaves(gradient_leaves);
  for (int64_t l = 0; l < gradient_leaves; ++l) {
    for (int64_t item : dealt[l]) leaves[l].push_back(&documents[chosen[item]]);
  }
  return leaves;
}

}  // namespace

absl::Status RunSft(const StageContext& context) {
  const bool pretrain = context.stage->kind == StageKind::kPretrain;
  const SftConfig& config = pretrain ? context.stage->pretrain : context.stage->sft;
  const bool from_nothing = pretrain && context.stage->from.empty();
  TEMPER_ASSIGN_OR_RETURN(
      std::unique_ptr<TrainingSession> session,
      TrainingSession::Open(context, config, from_nothing ? &context.stage->pretrain.init : nullptr));
  TEMPER_ASSIGN_OR_RETURN(const std::vector<TrainSequence> documents,
                          LoadDocuments(context, config.documents, session->tokenizer()));
  const int64_t count = static_cast<int64_t>(documents.size());
  session->set_total_steps(SftSteps(count, config));
  context.progress->Start(context.stage->name, session->total_steps(), session->state().step);

  while (!session->finished()) {
    const auto began = std::chrono::steady_clock::now();
    const std::vector<int64_t> chosen =
        DocumentsOfStep(count, config, context.recipe->seed, context.stage->name, session->state().step);
    LossDenominators denominators;
    for (int64_t index : chosen) {
      denominators.sequences += 1;
      denominators.tokens += static_cast<double>(documents[index].counted());
    }
    const double learning_rate = session->learning_rate();
    const Leaves leaves = DealDocuments(documents, chosen, config.gradient_leaves);
    TEMPER_ASSIGN_OR_RETURN(
        const StepResult step,
        session->Update(
            leaves, /*temperature=*/1,
            [&](const TrainSequence& sequence, absl::Span<const float> logprobs, absl::Span<float> dlogprobs,
                LossSums* sums) { CrossEntropyLoss(denominators, sequence, logprobs, dlogprobs, sums); }));
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    const Figures figures = {{"loss", step.sums.loss},
                             {"tokens", step.sums.tokens},
                             {"gradient_norm", step.gradient_norm},
                             {"learning_rate", learning_rate},
                             {"time/step_seconds", seconds},
                             {"system/local_tokens", static_cast<double>(step.local_tokens)},
                             {"system/microbatches", static_cast<double>(step.microbatches)}};
    TEMPER_RETURN_IF_ERROR(session->FinishStep(figures, absl::StrFormat("loss %.4f", step.sums.loss)));
  }
  context.progress->Finish();
  return absl::OkStatus();
}

}  // namespace temper
