// SPDX-License-Identifier: Apache-2.0
#include "rollout/worker.h"

#include <algorithm>
#include <chrono>
#include <deque>
#include <utility>

#include "comm/gather.h"
#include "core/check.h"
#include "core/random.h"
#include "core/status.h"
#include "core/trace.h"
#include "rollout/exchange.h"
#include "rollout/group_table.h"
#include "rollout/hand_out.h"
#include "rollout/replay.h"
#include "rollout/scoring.h"

namespace temper {
namespace {

using Clock = std::chrono::steady_clock;
double SecondsSince(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// What is missing of each prompt.
std::vector<SampleRequest> RequestsOf(const RolloutRequest& request, const GroupTable& table) {
  std::vector<SampleRequest> requests;
  for (size_t i = 0; i < request.prompts.size(); ++i) {
    SampleRequest wanted = {.prompt = &request.prompts[i], .samples = table.Missing(i)};
    if (wanted.samples.empty()) continue;
    wanted.key = RandomKey(request.seed, request.stage, request.rollout, wanted.prompt->id);
    wanted.sampling = &request.sampling;
    requests.push_back(std::move(wanted));
  }
  return requests;
}

// For which share of the slowest replica's time each had nothing to sample any more. Collective.
std::vector<double> IdleShares(double seconds, Communicator& replicas) {
  std::vector<double> shares;
  if (replicas.size() == 1) return shares;
  double longest = 0;
  for (const std::vector<double>& other : AllGather<double>({seconds}, replicas)) {
    shares.push_back(other[0]);
    longest = std::max(longest, other[0]);
  }
  for (double& share : shares) share = longest > 0 ? 1 - share / longest : 0;
  return shares;
}

}  // namespace

absl::StatusOr<std::vector<Group>> RolloutWorker::Collect(
    const RolloutRequest& request, RewardPool& rewards,
    absl::FunctionRef<void(int64_t finished, int64_t total)> progress, absl::FunctionRef<bool()> stop,
    RolloutCounts* counts) {
  *counts = {};
  const TraceSpan span("phase", "rollout", {"prompts", static_cast<int64_t>(request.prompts.size())});
  TEMPER_CHECK(request.policy_version == engine_->model().version(), "a rollout of policy version ",
               request.policy_version, " and a policy of version ", engine_->model().version());
  TEMPER_ASSIGN_OR_RETURN(GroupTable table, GroupTable::Create(request));
  for (const Prompt& prompt : request.prompts)
    TEMPER_RETURN_IF_ERROR(engine_->Check(prompt, request.sampling));
  TEMPER_RETURN_IF_ERROR(ReadRecords(request, rewards, mesh_, /*unjudged_count=*/false, &table, counts));

  // The first of the ranks that sample the same judges, since a clock may decide a verdict, and keeps
  // records. The others step with it, and stop when it says so.
  Communicator& mates = mesh_.mates();
  const bool judges = mates.rank() == 0;
  std::deque<Trajectory> sampled;
  const auto sample = [&]() -> absl::Status {
    const std::vector<SampleRequest> requests = RequestsOf(request, table);
    HandOut hand_out(Dealt(requests), engine_->room(), mesh_);
    Records records(request, mesh_.dp_rank());
    absl::Status status;
    Scoring scoring(&rewards, &records);
    int64_t total = 0, finished = 0;
    const auto begin_groups = [&](const std::vector<int64_t>& groups) {
      if (judges && total == 0 && !groups.empty()) status.Update(records.Open());
      for (const int64_t group : groups) {
        total += static_cast<int64_t>(requests[group].samples.size());
        status.Update(engine_->Submit(requests[group]));
      }
    };
    const Clock::time_point began = Clock::now();
    engine_->Swap(request.policy_version);
    begin_groups(hand_out.first());
    HandOut::Turn turn;
    for (;;) {
      const bool has_part = !engine_->idle() || mesh_.in_step().size() > 1;
      const bool fails = !status.ok() || !records.status().ok();
      turn = hand_out.Next({.stops = judges && (fails || (has_part && stop())),
                            .busy = !engine_->idle(),
                            .room = engine_->room()});
      if (turn.stopped || turn.ended) break;
      begin_groups(turn.groups);
      engine_->Step();
      for (FinishedSample& sample : engine_->Take()) {
        if (!judges) continue;
        sample.trajectory.text = tokenizer_->Decode(sample.trajectory.tokens);
        scoring.Submit(sample.request->prompt, std::move(sample.trajectory), sample.request->samples.size());
        progress(++finished, total);
      }
    }
    engine_->Clear();
    counts->engine = engine_->TakeCounts();
    counts->sample_seconds = SecondsSince(began);
    const Clock::time_point last = Clock::now();
    hand_out.End();
    counts->taken_over = hand_out.taken_over();
    if (turn.stopped) status.Update(absl::CancelledError("stopped on request"));
    status.Update(scoring.Finish(stop));
    counts->score_wait_seconds = SecondsSince(last);
    TEMPER_RETURN_IF_ERROR(records.Sync());
    TEMPER_RETURN_IF_ERROR(status);
    sampled = std::move(scoring.samples());
    return absl::OkStatus();
  };
  const absl::Status status = sample();
  absl::StatusOr<std::deque<Trajectory>> shared = ShareWithMates(mates, status, std::move(sampled));
  if (shared.ok()) sampled = *std::move(shared);
  TEMPER_ASSIGN_OR_RETURN(sampled, Exchange(mesh_.dp(), shared.status(), std::move(sampled)));
  counts->idle_shares = IdleShares(counts->sample_seconds, mesh_.axis(Axis::kDpReplicate));
  table.Place(std::move(sampled));
  TEMPER_ASSIGN_OR_RETURN(std::vector<Group> groups, table.Finish());
  RememberLengths(groups);
  return groups;
}

GroupQueue RolloutWorker::Dealt(const std::vector<SampleRequest>& requests) const {
  std::vector<int64_t> lengths;
  int64_t known = 0, sum = 0;
  for (const SampleRequest& request : requests) {
    const auto found = lengths_.find(request.prompt->id);
    lengths.push_back(found == lengths_.end() ? -1 : found->second);
    if (found == lengths_.end()) continue;
    sum += found->second;
    ++known;
  }
  std::vector<GroupQueue::Item> items;
  for (size_t i = 0; i < requests.size(); ++i) {
    const SampleRequest& request = requests[i];
    if (lengths[i] < 0) lengths[i] = known > 0 ? sum / known : request.sampling->max_new_tokens;
    const auto samples = static_cast<int64_t>(request.samples.size());
    items.push_back({static_cast<int64_t>(request.prompt->tokens.size()) + samples * lengths[i], samples});
  }
  return GroupQueue(std::move(items), mesh_.dp_size());
}

void RolloutWorker::RememberLengths(const std::vector<Group>& groups) {
  for (const Group& group : groups) {
    int64_t tokens = 0;
    for (const Trajectory& trajectory : group.trajectories) tokens += trajectory.sampled();
    lengths_[group.prompt.id] = tokens / static_cast<int64_t>(group.trajectories.size());
  }
}

}  // namespace temper
