// SPDX-License-Identifier: Apache-2.0
#include "rollout/worker.h"

#include <chrono>
#include <deque>
#include <utility>

#include "core/check.h"
#include "core/random.h"
#include "core/status.h"
#include "core/trace.h"
#include "rollout/exchange.h"
#include "rollout/group_table.h"
#include "rollout/replay.h"
#include "rollout/scoring.h"

namespace temper {
namespace {

using Clock = std::chrono::steady_clock;
double SecondsSince(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// This rank's share of what is missing: prompts in turn.
std::vector<SampleRequest> RequestsOf(const RolloutRequest& request, const GroupTable& table,
                                      const Mesh& mesh) {
  std::vector<SampleRequest> share;
  int64_t turn = 0;
  for (size_t i = 0; i < request.prompts.size(); ++i) {
    SampleRequest wanted = {.prompt = &request.prompts[i], .samples = table.Missing(i)};
    if (wanted.samples.empty() || turn++ % mesh.dp_size() != mesh.dp_rank()) continue;
    wanted.key = RandomKey(request.seed, request.stage, request.rollout, wanted.prompt->id);
    wanted.sampling = &request.sampling;
    share.push_back(std::move(wanted));
  }
  return share;
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
    const std::vector<SampleRequest> requests = RequestsOf(request, table, mesh_);
    if (requests.empty() && mesh_.in_step().size() == 1) return absl::OkStatus();
    int64_t total = 0, finished = 0;
    for (const SampleRequest& each : requests) total += static_cast<int64_t>(each.samples.size());
    Records records(request, mesh_.dp_rank());
    absl::Status status = judges && !requests.empty() ? records.Open() : absl::OkStatus();
    Scoring scoring(&rewards, &records);
    const Clock::time_point begin = Clock::now();
    engine_->Swap(request.policy_version);
    const absl::Status all = SampleAll(
        *engine_, requests,
        [&](const SampleRequest& of, Trajectory trajectory) {
          if (!judges) return;
          trajectory.text = tokenizer_->Decode(trajectory.tokens);
          scoring.Submit(of.prompt, std::move(trajectory), of.samples.size());
          progress(++finished, total);
        },
        [&] {
          char stops = judges && (stop() || !status.ok() || !records.status().ok()) ? 1 : 0;
          mates.Broadcast(&stops, sizeof stops, 0);
          return stops != 0;
        });
    status.Update(all);
    counts->engine = engine_->TakeCounts();
    counts->sample_seconds = SecondsSince(begin);
    const Clock::time_point last = Clock::now();
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
  table.Place(std::move(sampled));
  return table.Finish();
}

}  // namespace temper
