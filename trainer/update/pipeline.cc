// SPDX-License-Identifier: Apache-2.0
#include "trainer/update/pipeline.h"

#include <chrono>

#include "core/check.h"
#include "core/trace.h"

namespace temper {
namespace {

using Kind = PipelineAction::Kind;
using PipelineClock = std::chrono::steady_clock;

double Since(PipelineClock::time_point begin) {
  return std::chrono::duration<double>(PipelineClock::now() - begin).count();
}

constexpr int kFirstTag = 16;  // below are those of other messages between two ranks

}  // namespace

Pipeline::Pipeline(CausalLm* model, TrainPass::Keep keep)
    : model_(*model), keep_(keep), scratch_(&model->backend()), spare_(model->stack().chunks().size()) {}

PipelineShape Pipeline::ShapeOf(size_t batches) const {
  return {model_.stack().pipeline().size(), static_cast<int64_t>(model_.stack().chunks().size()),
          static_cast<int64_t>(batches)};
}

Pipeline::Turn& Pipeline::TurnOf(const PipelineAction& action, const Microbatch& batch) {
  Turn& turn = turns_[{action.microbatch, action.chunk}];
  if (turn.pass != nullptr) return turn;
  std::vector<std::unique_ptr<TrainPass>>& spare = spare_[action.chunk];
  if (spare.empty())
    spare.push_back(std::make_unique<TrainPass>(&model_.stack(), keep_, action.chunk, &scratch_));
  turn.pass = std::move(spare.back());
  spare.pop_back();
  turn.pass->Begin(batch);
  return turn;
}

void Pipeline::End(const PipelineAction& action) {
  const auto turn = turns_.find({action.microbatch, action.chunk});
  spare_[action.chunk].push_back(std::move(turn->second.pass));
  turns_.erase(turn);
}

// Activations come from the chunk before, whose tag is that of the chunk they are sent to.
void Pipeline::Receive(const PipelineAction& action, Matrix rows) {
  Stack& stack = model_.stack();
  const int ranks = stack.pipeline().size(), rank = stack.pipeline().rank();
  const bool gradients = action.kind == Kind::kReceiveGradients;
  const auto begin = PipelineClock::now();
  const int from = (rank + (gradients ? 1 : ranks - 1)) % ranks;
  stack.ReceiveRows(rows, from, kFirstTag + static_cast<int>(2 * action.chunk) + (gradients ? 1 : 0));
  waited_seconds_ += Since(begin);
}

void Pipeline::Send(const PipelineAction& action, Matrix rows) {
  Stack& stack = model_.stack();
  const int ranks = stack.pipeline().size(), rank = stack.pipeline().rank();
  const bool gradients = action.kind == Kind::kSendGradients;
  const int to = (rank + (gradients ? ranks - 1 : 1)) % ranks;
  // Round the end of the ranks the neighbour has the next chunk, or the one before.
  const int64_t chunk =
      gradients ? action.chunk - (rank == 0 ? 1 : 0) : action.chunk + (rank == ranks - 1 ? 1 : 0);
  stack.SendRows(rows, to, kFirstTag + static_cast<int>(2 * chunk) + (gradients ? 1 : 0));
}

void Pipeline::Run(absl::Span<const Microbatch> batches, float temperature, const Update& update) {
  const auto begin = PipelineClock::now();
  Communicator& ranks = model_.stack().pipeline();
  const PipelineKind kind = ranks.size() == 1 ? PipelineKind::k1f1b : model_.mesh().sizes().pp_schedule;
  for (const PipelineAction& action : ScheduleOf(kind, ShapeOf(batches.size()), ranks.rank())) {
    const Microbatch& batch = batches[action.microbatch];
    const Stack::Chunk& chunk = model_.stack().chunks()[action.chunk];
    Turn& turn = TurnOf(action, batch);
    const TraceSpan span("pipeline", NameOf(action.kind), {"microbatch", action.microbatch},
                         {"chunk", action.chunk});
    switch (action.kind) {
      case Kind::kReceiveActivations:
        Receive(action, turn.pass->input());
        continue;
      case Kind::kForward:
        turn.output = turn.pass->Forward();
        if (!chunk.predicts) continue;
        turn.logprobs.resize(batch.tokens.size());
        turn.dlogprobs.resize(batch.tokens.size());
        turn.pass->Logprobs(temperature, turn.logprobs.data());
        update.loss(action.microbatch, turn.logprobs.data(), turn.dlogprobs.data(), turn.pass->mtp_rows());
        continue;
      case Kind::kSendActivations:
        Send(action, turn.output);
        continue;
      case Kind::kReceiveGradients:
        Receive(action, turn.pass->gradient());
        continue;
      case Kind::kBackward:
      case Kind::kBackwardInputs:
        update.bind(action.microbatch);
        if (chunk.predicts) {
          turn.pass->StartBackward(turn.dlogprobs.data());
          update.head_done(action.microbatch);
        }
        turn.gradient = turn.pass->Backward(/*weights_later=*/action.kind == Kind::kBackwardInputs);
        if (action.kind == Kind::kBackwardInputs || !chunk.embeds) continue;
        break;
      case Kind::kSendGradients:
        Send(action, turn.gradient);
        if (kind == PipelineKind::kZeroBubble) continue;
        break;
      case Kind::kBackwardWeights:
        update.bind(action.microbatch);
        turn.pass->BackwardWeights();
        break;
    }
    End(action);
    if (action.chunk == 0) update.done(action.microbatch);
  }
  TEMPER_CHECK(turns_.empty());
  seconds_ += Since(begin);
}

int64_t Pipeline::bytes() const {
  int64_t bytes = scratch_.bytes();
  for (const auto& passes : spare_)
    for (const std::unique_ptr<TrainPass>& pass : passes) bytes += pass->bytes();
  return bytes;
}

int64_t Pipeline::workspace_bytes() const {
  int64_t bytes = scratch_.allocated_bytes();
  for (const auto& passes : spare_)
    for (const std::unique_ptr<TrainPass>& pass : passes) bytes += pass->allocated_bytes();
  return bytes;
}

void Pipeline::Logprobs(absl::Span<const Microbatch> batches, float temperature,
                        absl::FunctionRef<void(size_t, const float*)> result) {
  Communicator& ranks = model_.stack().pipeline();
  std::vector<size_t> first = {0};
  for (const Microbatch& batch : batches) first.push_back(first.back() + batch.tokens.size());
  std::vector<float> logprobs(first.back());
  for (const PipelineAction& action : ForwardScheduleOf(ShapeOf(batches.size()), ranks.rank())) {
    Turn& turn = TurnOf(action, batches[action.microbatch]);
    if (action.kind == Kind::kReceiveActivations) Receive(action, turn.pass->input());
    if (action.kind == Kind::kForward) turn.output = turn.pass->Forward();
    const bool predicts = model_.stack().chunks()[action.chunk].predicts;
    if (action.kind == Kind::kForward && predicts)
      turn.pass->Logprobs(temperature, logprobs.data() + first[action.microbatch]);
    if (action.kind == Kind::kSendActivations) Send(action, turn.output);
    if (action.kind == Kind::kSendActivations || (action.kind == Kind::kForward && predicts)) End(action);
  }
  if (ranks.size() > 1) ranks.Broadcast(logprobs.data(), logprobs.size() * sizeof(float), ranks.size() - 1);
  for (size_t i = 0; i < batches.size(); ++i) result(i, logprobs.data() + first[i]);
}

}  // namespace temper
