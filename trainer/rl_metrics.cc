// SPDX-License-Identifier: Apache-2.0
#include "trainer/rl_metrics.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/status.h"
#include "rewards/statistics.h"
#include "trainer/run_directory/run_directory.h"

namespace temper {
namespace {

double Ratio(double part, double whole) { return whole > 0 ? part / whole : 0.0; }

// Sums over the trajectories of an update.
struct Totals {
  int64_t samples = 0, tokens = 0, cut = 0, looks_back = 0, rewarded = 0;
  double reward = 0, reward_squares = 0, entropy = 0;
  std::vector<double> lengths;
  // By rule, in the order of the verdicts.
  std::vector<std::string> rules;
  std::vector<double> score;
  std::vector<std::map<VerdictKind, int64_t>> kinds;

  void Add(const TrajectoryHead& trajectory, const std::optional<double>& sample_reward) {
    ++samples;
    tokens += trajectory.sampled();
    lengths.push_back(static_cast<double>(trajectory.sampled()));
    cut += trajectory.stop == StopReason::kLength ? 1 : 0;
    looks_back += trajectory.looks_back ? 1 : 0;
    entropy += trajectory.entropy_sum;
    if (sample_reward.has_value()) {
      ++rewarded;
      reward += *sample_reward;
      reward_squares += *sample_reward * *sample_reward;
    }
    if (rules.empty()) {
      for (const Verdict& verdict : trajectory.verdicts) rules.push_back(verdict.rule);
      score.resize(rules.size());
      kinds.resize(rules.size());
    }
    for (size_t i = 0; i < trajectory.verdicts.size(); ++i) {
      score[i] += trajectory.verdicts[i].score;
      ++kinds[i][trajectory.verdicts[i].kind];
    }
  }
};

constexpr VerdictKind kKinds[] = {VerdictKind::kCorrect,  VerdictKind::kWrong,
                                  VerdictKind::kNoAnswer, VerdictKind::kMalformed,
                                  VerdictKind::kTimeout,  VerdictKind::kInfrastructureError};

}  // namespace

Figures RlFigures::Row(const std::vector<Group>& groups, const Rewards& rewards, const Figures& pool) const {
  Totals totals;
  for (int64_t g : batch.groups) {
    for (size_t i = 0; i < groups[g].trajectories.size(); ++i)
      totals.Add(groups[g].trajectories[i], rewards[g][i]);
  }
  const double samples = static_cast<double>(totals.samples), rewarded = static_cast<double>(totals.rewarded);
  const double mean = Ratio(totals.reward, rewarded);
  Figures row = {
      {"reward/mean", mean},
      {"reward/std", std::sqrt(std::max(0.0, Ratio(totals.reward_squares, rewarded) - mean * mean))}};
  for (size_t r = 0; r < totals.rules.size(); ++r) {
    const std::map<VerdictKind, int64_t>& kinds = totals.kinds[r];
    const auto broken = kinds.find(VerdictKind::kInfrastructureError);
    const double judged = samples - (broken == kinds.end() ? 0 : static_cast<double>(broken->second));
    row.emplace_back("reward/" + totals.rules[r], Ratio(totals.score[r], judged));
    for (VerdictKind kind : kKinds) {
      const auto found = kinds.find(kind);
      row.emplace_back(absl::StrCat("verdict/", totals.rules[r], "/", Name(kind)),
                       found == kinds.end() ? 0 : static_cast<double>(found->second));
    }
  }
  const LossSums& sums = step.sums;
  const Figures more = {{"length/mean", Ratio(static_cast<double>(totals.tokens), samples)},
                        {"length/p10", Quantile(totals.lengths, 0.1)},
                        {"length/p50", Quantile(totals.lengths, 0.5)},
                        {"length/p90", Quantile(totals.lengths, 0.9)},
                        {"checks", Ratio(static_cast<double>(totals.looks_back), samples)},
                        {"stop/length", Ratio(static_cast<double>(totals.cut), samples)},
                        {"entropy", Ratio(totals.entropy, static_cast<double>(totals.tokens))},
                        {"loss", sums.loss},
                        {"kl", Ratio(sums.kl, sums.tokens)},
                        {"ratio", Ratio(sums.ratio, sums.tokens)},
                        {"clip_share", Ratio(sums.clipped, sums.tokens)},
                        {"trained_tokens", sums.tokens},
                        {"exact", exact ? 1.0 : 0.0},
                        {"unequal_tokens", sums.unequal},
                        {"max_logprob_difference", sums.max_difference},
                        {"gradient_norm", step.gradient_norm},
                        {"learning_rate", learning_rate},
                        {"updates/skipped", step.skipped ? 1.0 : 0.0},
                        {"updates/out_of_range", step.applied ? 0.0 : 1.0},
                        {"groups/without_spread", static_cast<double>(batch.groups_without_spread)},
                        {"samples/dropped", static_cast<double>(batch.dropped_samples)},
                        {"samples/masked", static_cast<double>(batch.masked_samples)}};
  row.insert(row.end(), more.begin(), more.end());
  const double local = static_cast<double>(rollout.engine.sampled_tokens);
  const Figures clocks = {
      {"time/sample_seconds", rollout.sample_seconds},
      {"time/score_wait_seconds", rollout.score_wait_seconds},
      {"time/update_seconds", update_seconds},
      {"time/trained_tokens_per_second", Ratio(static_cast<double>(step.local_tokens), update_seconds)},
      {"system/local_sampled_tokens", local},
      {"system/preemptions", static_cast<double>(rollout.engine.preemptions)},
      {"system/recomputed_tokens", static_cast<double>(rollout.engine.recomputed_tokens)},
      {"system/shared_prompt_tokens", static_cast<double>(rollout.engine.shared_tokens)},
      {"system/drafted_tokens", static_cast<double>(rollout.engine.drafted_tokens)},
      {"system/accepted_tokens", static_cast<double>(rollout.engine.accepted_tokens)},
      {"system/local_tokens", static_cast<double>(step.local_tokens)},
      {"system/leaves_taken_over", static_cast<double>(step.taken_over)},
      {"resume/resumed_samples", static_cast<double>(rollout.resumed_samples)},
      {"resume/repeated_samples", static_cast<double>(rollout.repeated_samples)}};
  row.insert(row.end(), clocks.begin(), clocks.end());
  if (!rollout.idle_shares.empty())
    row.emplace_back("system/prompts_taken_over", static_cast<double>(rollout.taken_over));
  for (size_t replica = 0; replica < rollout.idle_shares.size(); ++replica)
    row.emplace_back(absl::StrCat("time/rollout_idle_share/", replica), rollout.idle_shares[replica]);
  if (step.bubble > 0) row.emplace_back("time/bubble", step.bubble);
  if (rollout.sample_seconds > 0)
    row.emplace_back("time/sampled_tokens_per_second", local / rollout.sample_seconds);
  // The pool counts what this rank judged; only its clocks are of interest here.
  for (const auto& [name, value] : pool) {
    if (absl::StartsWith(name, "time/") || absl::StartsWith(name, "system/")) row.emplace_back(name, value);
  }
  return row;
}

void InsertEvaluation(const Figures& evaluation, Figures* row) {
  const auto clocks = std::find_if(
      row->begin(), row->end(), [](const auto& figure) { return absl::StartsWith(figure.first, "time/"); });
  row->insert(clocks, evaluation.begin(), evaluation.end());
}

std::string RlFigures::StatusText(const Figures& row, const std::string& rule) {
  std::map<std::string, double> by_name(row.begin(), row.end());
  return absl::StrFormat("reward %.2f %s %.2f len %.0f kl %.3f", by_name["reward/mean"], rule,
                         by_name["reward/" + rule], by_name["length/mean"], by_name["kl"]);
}

EngineOptions EngineOptionsOf(const SamplingConfig& config) {
  EngineOptions options;
  options.max_batch = config.max_batch;
  options.draft_tokens = config.draft_tokens;
  options.mtp = config.by_mtp();
  options.cache_bytes = config.cache_mib << 20;
  return options;
}

int RewardThreads(const StageContext& context) { return std::max(1, context.backend->pool().threads() / 2); }

absl::StatusOr<RolloutRequest> MakeRolloutRequest(TrainingSession& session, ProblemSource& problems,
                                                  const RlConfig& config, int64_t rollout) {
  const StageContext& context = session.context();
  RolloutRequest request;
  request.seed = context.recipe->seed;
  request.stage = context.stage->name;
  request.rollout = rollout;
  const int64_t prompts = config.prompts_per_step * config.updates_per_rollout;
  TEMPER_ASSIGN_OR_RETURN(request.prompts, problems.Take(rollout * prompts, prompts));
  request.samples_per_prompt = config.samples_per_prompt;
  request.policy_version = session.state().policy_version - session.state().step % config.updates_per_rollout;
  request.sampling = config.sampling.For(session.tokenizer().eos_ids(), &session.tokenizer());
  request.records = RolloutRecords(context.directory, rollout);
  return request;
}

std::function<void(int64_t, int64_t)> RolloutProgress(const StageContext& context) {
  return [&context](int64_t finished, int64_t total) {
    context.progress->Note(absl::StrCat("rollout ", finished, "/", total));
  };
}

}  // namespace temper
