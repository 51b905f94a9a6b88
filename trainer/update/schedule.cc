// SPDX-License-Identifier: Apache-2.0
#include "trainer/update/schedule.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <utility>

#include "absl/strings/str_format.h"
#include "core/check.h"

namespace temper {
namespace {

using Kind = PipelineAction::Kind;

// A chunk's turn with a microbatch.
struct Turn {
  int64_t microbatch, chunk;
};

// How many microbatches go through a chunk before the next one's turn: as many as there are ranks, the first
// time with those that are left over, so that no rank waits for what comes behind its own.
int64_t GroupAt(int64_t first, const PipelineShape& shape) {
  if (first > 0) return shape.ranks;
  return std::min(shape.microbatches, shape.ranks + shape.microbatches % shape.ranks);
}

// In which order a rank goes through its chunks.
std::vector<Turn> Turns(const PipelineShape& shape, bool backward) {
  std::vector<Turn> turns;
  for (int64_t first = 0, size = 0; first < shape.microbatches; first += size) {
    size = GroupAt(first, shape);
    for (int64_t c = 0; c < shape.chunks; ++c) {
      const int64_t chunk = backward ? shape.chunks - 1 - c : c;
      for (int64_t m = first; m < first + size; ++m) turns.push_back({m, chunk});
    }
  }
  return turns;
}

// Puts a rank's work in a row, with the messages around it.
class Row {
 public:
  Row(const PipelineShape& shape, int64_t rank) : shape_(shape), rank_(rank) {}

  void Forward(const Turn& turn) {
    const int64_t place = PlaceOf(turn);
    if (place > 0) Put(Kind::kReceiveActivations, turn);
    Put(Kind::kForward, turn);
    if (place < Last()) Put(Kind::kSendActivations, turn);
  }
  void Backward(Kind kind, const Turn& turn) {
    const int64_t place = PlaceOf(turn);
    if (place < Last()) Put(Kind::kReceiveGradients, turn);
    Put(kind, turn);
    if (place > 0) Put(Kind::kSendGradients, turn);
  }
  void Weights(const Turn& turn) { Put(Kind::kBackwardWeights, turn); }
  std::vector<PipelineAction> Take() && { return std::move(actions_); }

 private:
  int64_t PlaceOf(const Turn& turn) const { return turn.chunk * shape_.ranks + rank_; }
  int64_t Last() const { return shape_.chunks * shape_.ranks - 1; }
  void Put(Kind kind, const Turn& turn) { actions_.push_back({kind, turn.microbatch, turn.chunk}); }

  const PipelineShape& shape_;
  const int64_t rank_;
  std::vector<PipelineAction> actions_;
};

}  // namespace

const char* NameOf(PipelineAction::Kind kind) {
  static constexpr const char* kNames[] = {"ReceiveActivations", "Forward",      "SendActivations",
                                           "ReceiveGradients",   "Backward",     "BackwardInputs",
                                           "BackwardWeights",    "SendGradients"};
  return kNames[static_cast<int>(kind)];
}

std::vector<PipelineAction> ScheduleOf(PipelineKind kind, const PipelineShape& shape, int64_t rank) {
  TEMPER_CHECK(shape.ranks >= 1 && shape.chunks >= 1 && rank >= 0 && rank < shape.ranks);
  const std::vector<Turn> forward = Turns(shape, /*backward=*/false), backward = Turns(shape, true);
  const auto turns = static_cast<int64_t>(forward.size());
  // Forward before the first backward: what the ranks behind need to be busy.
  const int64_t behind = shape.ranks - 1 - rank;
  const int64_t ahead = shape.chunks == 1 ? behind : 2 * behind + (shape.chunks - 1) * GroupAt(0, shape);
  const int64_t late = kind == PipelineKind::kZeroBubble ? rank : 0;
  const bool apart = kind == PipelineKind::kZeroBubble;
  Row row(shape, rank);
  for (int64_t turn = 0; turn < std::min(ahead, turns); ++turn) row.Forward(forward[turn]);
  for (int64_t turn = 0; turn < turns; ++turn) {
    if (turn + ahead < turns) row.Forward(forward[turn + ahead]);
    row.Backward(apart ? Kind::kBackwardInputs : Kind::kBackward, backward[turn]);
    if (apart && turn >= late) row.Weights(backward[turn - late]);
  }
  for (int64_t turn = std::max<int64_t>(turns - late, 0); apart && turn < turns; ++turn)
    row.Weights(backward[turn]);
  return std::move(row).Take();
}

std::vector<PipelineAction> ForwardScheduleOf(const PipelineShape& shape, int64_t rank) {
  Row row(shape, rank);
  for (const Turn& turn : Turns(shape, /*backward=*/false)) row.Forward(turn);
  return std::move(row).Take();
}

PipelineTable ScheduleOf(PipelineKind kind, const PipelineShape& shape) {
  PipelineTable table;
  for (int64_t rank = 0; rank < shape.ranks; ++rank) table.push_back(ScheduleOf(kind, shape, rank));
  return table;
}

namespace {

// Goes through a table in time.
class Clockwork {
 public:
  Clockwork(const PipelineTable& table, const PipelineShape& shape, const PipelineCosts& costs)
      : table_(table), shape_(shape), costs_(costs), next_(table.size()), now_(table.size()) {
    timeline_.spans.resize(table.size());
    timeline_.held.resize(table.size());
  }

  absl::StatusOr<PipelineTimeline> Run() {
    if (static_cast<int64_t>(table_.size()) != shape_.ranks)
      return absl::InvalidArgumentError(absl::StrFormat("%d rows for %d ranks", table_.size(), shape_.ranks));
    for (bool moved = true; moved;) {
      moved = false;
      for (size_t rank = 0; rank < table_.size(); ++rank) {
        while (next_[rank] < table_[rank].size()) {
          absl::StatusOr<bool> done = Do(static_cast<int64_t>(rank));
          if (!done.ok()) return done.status();
          if (!*done) break;
          ++next_[rank];
          moved = true;
        }
      }
    }
    for (size_t rank = 0; rank < table_.size(); ++rank) {
      if (next_[rank] < table_[rank].size())
        return Error(static_cast<int64_t>(rank), "waits for what never comes");
    }
    const int64_t all = shape_.microbatches * shape_.chunks * shape_.ranks;
    for (const Kind kind : {Kind::kForward, Kind::kBackwardInputs, Kind::kBackwardWeights}) {
      int64_t done = 0;
      for (const Key& key : done_) done += std::get<0>(key) == kind ? 1 : 0;
      if (done != all)
        return absl::InvalidArgumentError(
            absl::StrFormat("%s is there %d times, not %d", NameOf(kind), done, all));
    }
    if (!sent_.empty())
      return absl::InvalidArgumentError(absl::StrFormat("%d messages are never received", sent_.size()));
    for (double now : now_) timeline_.length = std::max(timeline_.length, now);
    if (timeline_.length > 0)
      timeline_.bubble = 1 - busy_ / (timeline_.length * static_cast<double>(shape_.ranks));
    return std::move(timeline_);
  }

 private:
  using Key = std::tuple<Kind, int64_t, int64_t>;  // what was done, for which microbatch, at which place

  absl::Status Error(int64_t rank, const std::string& what) const {
    const PipelineAction& action = table_[rank][next_[rank]];
    return absl::InvalidArgumentError(
        absl::StrFormat("rank %d, action %d, %s of microbatch %d in chunk %d: %s", rank, next_[rank],
                        NameOf(action.kind), action.microbatch, action.chunk, what));
  }

  // The rank's next action; false: it waits for another rank's.
  absl::StatusOr<bool> Do(int64_t rank) {
    const PipelineAction& a = table_[rank][next_[rank]];
    if (a.microbatch < 0 || a.microbatch >= shape_.microbatches || a.chunk < 0 || a.chunk >= shape_.chunks)
      return Error(rank, "there is no such turn");
    const int64_t place = a.chunk * shape_.ranks + rank, last = shape_.chunks * shape_.ranks - 1;
    const auto has = [&](Kind kind) { return done_.contains({kind, a.microbatch, place}); };
    double cost = 0;
    switch (a.kind) {
      case Kind::kReceiveActivations:
      case Kind::kReceiveGradients: {
        const bool gradients = a.kind == Kind::kReceiveGradients;
        if (place == (gradients ? last : 0)) return Error(rank, "nobody sends it");
        const Kind sent = gradients ? Kind::kSendGradients : Kind::kSendActivations;
        const auto message = sent_.find({sent, a.microbatch, place + (gradients ? 1 : -1)});
        if (message == sent_.end()) return false;
        now_[rank] = std::max(now_[rank], message->second + costs_.message);
        sent_.erase(message);
        break;
      }
      case Kind::kForward:
        if (place > 0 && !has(Kind::kReceiveActivations)) return Error(rank, "its activations are not there");
        cost = costs_.forward;
        timeline_.held[rank] = std::max(timeline_.held[rank], ++held_[rank]);
        break;
      case Kind::kBackward:
      case Kind::kBackwardInputs:
        if (!has(Kind::kForward)) return Error(rank, "it was not forward");
        if (place < last && !has(Kind::kReceiveGradients)) return Error(rank, "its gradients are not there");
        cost = costs_.inputs;
        break;
      case Kind::kBackwardWeights:
        if (!has(Kind::kBackwardInputs)) return Error(rank, "dX comes first");
        break;
      case Kind::kSendActivations:
        if (!has(Kind::kForward)) return Error(rank, "it was not forward");
        break;
      case Kind::kSendGradients:
        if (!has(Kind::kBackwardInputs)) return Error(rank, "dX comes first");
        break;
    }
    if (a.kind == Kind::kBackward || a.kind == Kind::kBackwardWeights) {
      cost += costs_.weights;
      --held_[rank];
      if (weights_[{rank, a.chunk}]++ != a.microbatch) return Error(rank, "microbatches are out of order");
      if (!done_.insert({Kind::kBackwardWeights, a.microbatch, place}).second)
        return Error(rank, "it is there twice");
    }
    const double begin = now_[rank];
    now_[rank] += cost;
    busy_ += cost;
    timeline_.spans[rank].push_back({begin, now_[rank]});
    if (a.kind == Kind::kSendActivations || a.kind == Kind::kSendGradients)
      sent_[{a.kind, a.microbatch, place}] = now_[rank];
    const Kind as = a.kind == Kind::kBackward ? Kind::kBackwardInputs : a.kind;
    const bool is_new = as == Kind::kBackwardWeights || done_.insert({as, a.microbatch, place}).second;
    return is_new ? absl::StatusOr<bool>(true) : Error(rank, "it is there twice");
  }

  const PipelineTable& table_;
  const PipelineShape& shape_;
  const PipelineCosts& costs_;
  std::vector<size_t> next_;
  std::vector<double> now_;
  std::map<Key, double> sent_;  // and not received: when
  std::set<Key> done_;
  std::map<int64_t, int64_t> held_;                         // by rank
  std::map<std::pair<int64_t, int64_t>, int64_t> weights_;  // by rank and chunk: the next microbatch
  double busy_ = 0;
  PipelineTimeline timeline_;
};

}  // namespace

absl::StatusOr<PipelineTimeline> TimelineOf(const PipelineTable& table, const PipelineShape& shape,
                                            const PipelineCosts& costs) {
  return Clockwork(table, shape, costs).Run();
}

std::string BubbleText(PipelineKind kind, const PipelineShape& shape, double measured) {
  const absl::StatusOr<PipelineTimeline> timeline = TimelineOf(ScheduleOf(kind, shape), shape, {});
  TEMPER_CHECK(timeline.ok(), timeline.status().message());
  const std::string chunks = shape.chunks > 1 ? absl::StrFormat(" of %d chunks", shape.chunks) : "";
  return absl::StrFormat(
      "a pipeline of %d ranks%s, %s, with %d microbatches: a bubble of %.1f%% by its schedule, and ranks "
      "waited "
      "for %.1f%% of the time",
      shape.ranks, chunks, kind == PipelineKind::k1f1b ? "1f1b" : "zero_bubble", shape.microbatches,
      100 * timeline->bubble, 100 * measured);
}

}  // namespace temper
