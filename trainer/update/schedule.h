// SPDX-License-Identifier: Apache-2.0
// Who does what when in a pipeline of ranks that share the layers (mesh.pp): a table of actions a rank, made
// and checked without a model or a message.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "comm/mesh.h"

namespace temper {

// One thing that a rank does for a microbatch in one of its chunks of layers. Receive comes right before what
// needs it, Send right behind what made it, and waits for nobody. Activations go to the rank with the layers
// after, gradients to the one with those before.
struct PipelineAction {
  enum class Kind {
    kReceiveActivations,
    kForward,
    kSendActivations,
    kReceiveGradients,
    kBackward,         // dX and dW together,
    kBackwardInputs,   // or dX now,
    kBackwardWeights,  // and dW later: those of a chunk in the order of microbatches
    kSendGradients,
  };
  Kind kind = Kind::kForward;
  int64_t microbatch = 0, chunk = 0;

  bool operator==(const PipelineAction&) const = default;
};

const char* NameOf(PipelineAction::Kind kind);  // "Forward"

// The ranks of a pipeline have `chunks` chunks of layers each: chunk c of rank r is the one of number
// c * ranks + r from the embedding to the head.
struct PipelineShape {
  int64_t ranks = 1, chunks = 1, microbatches = 0;
};

// What each rank does, one action behind the other.
using PipelineTable = std::vector<std::vector<PipelineAction>>;

// 1F1B (PipeDream-Flush; Narayanan et al. 2021), with more than one chunk interleaved (the same paper, 2.2):
// of any number of microbatches. kZeroBubble: the same order of forward and backward, dW apart and a rank's
// number of microbatches behind, so that no rank holds more than the first (ZB-H1, Qi et al. 2023).
PipelineTable ScheduleOf(PipelineKind kind, const PipelineShape& shape);
// What rank `rank` does in it, alone.
std::vector<PipelineAction> ScheduleOf(PipelineKind kind, const PipelineShape& shape, int64_t rank);

// Forward alone, in the order of microbatches in each chunk.
std::vector<PipelineAction> ForwardScheduleOf(const PipelineShape& shape, int64_t rank);

// How long a chunk of a microbatch takes, in one unit. dX and dW together take both.
struct PipelineCosts {
  double forward = 1, inputs = 1, weights = 1, message = 0;
};

// When each action of a table begins and ends, where every rank does its own as soon as it can.
struct PipelineTimeline {
  struct Span {
    double begin = 0, end = 0;
  };
  std::vector<std::vector<Span>> spans;
  double length = 0;
  double bubble = 0;  // the share of all ranks' time in which they wait
  // Microbatches in chunks of a rank whose activations it holds at once, at most.
  std::vector<int64_t> held;
};

// Errors name rank and action: what has no partner, comes before what it needs, or out of the order of
// microbatches; what is missing, or there twice; ranks that wait for each other.
absl::StatusOr<PipelineTimeline> TimelineOf(const PipelineTable& table, const PipelineShape& shape,
                                            const PipelineCosts& costs);

// "a pipeline of 4 ranks, 1f1b, with 8 microbatches: a bubble of 27.3% by its schedule, ..", for a person.
// `measured`: the share of the time in which the ranks waited.
std::string BubbleText(PipelineKind kind, const PipelineShape& shape, double measured);

}  // namespace temper
