// SPDX-License-Identifier: Apache-2.0
#include "cli/eval.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/eval_problems.h"
#include "cli/inspect/records.h"
#include "cli/line/rows.h"
#include "core/log.h"
#include "core/progress.h"
#include "core/stop.h"
#include "core/text.h"
#include "rewards/score.h"
#include "rollout/worker.h"
#include "trainer/run_directory/model_directory.h"

namespace temper {
namespace {

// A line a figure, shares with four decimals.
std::string Table(const Measure& measure, const Json& row) {
  const auto number = [&](const char* name) { return row[name].get<double>(); };
  std::string table = absl::StrFormat("%-16s %7.4f  +- %.4f over problems, by rule %s\n", "pass@1",
                                      number("pass@1"), number("pass@1_error"), measure.pass_rule());
  const std::pair<const char*, const char*> lines[] = {{"pass@1_lenient", "whatever the form"},
                                                       {"pass@k", ""},
                                                       {"cons@k", ""},
                                                       {"format", "mean score"},
                                                       {"language", "mean score"},
                                                       {"checks", "of the completions check themselves"},
                                                       {"cut", "of the completions are cut by length"}};
  for (const auto& [name, what] : lines) {
    if (!row.contains(name)) continue;
    const std::string k =
        absl::StartsWith(name, "pass@k") ? absl::StrCat("k = ", row["k"].get<int64_t>()) : what;
    absl::StrAppendFormat(&table, "%-16s %7.4f%s%s\n", name, number(name), k.empty() ? "" : "  ", k);
  }
  for (const auto& [name, value] : row.items()) {
    if (absl::StartsWith(name, "reward/"))
      absl::StrAppendFormat(&table, "%-16s %7.4f  mean score\n", name, value.get<double>());
  }
  absl::StrAppendFormat(&table, "%-16s %7.1f  tokens; p10 %.0f, p50 %.0f, p90 %.0f", "length",
                        number("length_mean"), number("length_p10"), number("length_p50"),
                        number("length_p90"));
  return table;
}

// What a reader of a low figure should know.
void WarnOf(const Measure& measure, const Measure::Figures& figures) {
  const Statistics& s = figures.statistics;
  if (figures.unjudged > 0)
    LogWarning(figures.unjudged, " completions could not be judged and are in no figure");
  if (s.pass_1 < s.pass_1_lenient / 2) {
    LogWarning("pass@1 of rule ", measure.pass_rule(),
               " leaves out right answers that do not stand in the form it "
               "wants: --rule math, or --mode lenient, takes them wherever they stand");
  }
}

absl::Status WriteCompletions(const Measure& measure, const std::vector<Group>& groups, LinesFile* out) {
  for (const Group& group : groups) {
    for (const Trajectory& trajectory : group.trajectories) {
      Earned earned{.reward = RewardOf(trajectory.verdicts, measure.reward()),
                    .advantage = std::nullopt,
                    .solved = measure.Solves(trajectory)};
      TEMPER_RETURN_IF_ERROR(out->Write(TrajectoryJson(group, trajectory, earned)));
    }
  }
  return out->Commit();
}

absl::StatusOr<std::vector<Group>> Sample(const EvalOptions& options, CommandPolicy& policy,
                                          std::vector<Prompt> prompts, RewardPool& rewards) {
  int64_t longest = 0;
  for (const Prompt& prompt : prompts) longest = std::max<int64_t>(longest, prompt.tokens.size());
  TEMPER_ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine,
                          policy.MakeEngine(options, longest + options.max_new_tokens));
  RolloutRequest request;
  request.seed = options.seed;
  if (!options.recipe.empty()) request.stage = kHeldOutStream;  // the run's own draws
  request.prompts = std::move(prompts);
  request.samples_per_prompt = options.k;
  TEMPER_ASSIGN_OR_RETURN(request.sampling, policy.Sampling(options));
  RolloutWorker worker(engine.get(), policy.tokenizer(), Mesh::Single());
  Progress progress;
  progress.Start("eval", static_cast<int64_t>(request.prompts.size()) * options.k);
  RolloutCounts counts;
  auto groups = worker.Collect(
      request, rewards, [&](int64_t finished, int64_t) { progress.Step(finished, ""); }, StopRequested,
      &counts);
  progress.Finish();
  if (counts.engine.preemptions > 0) LogInfo(PreemptionText(counts.engine));
  if (counts.engine.accepted_tokens > 0) LogInfo(DraftText(counts.engine));
  return groups;
}

}  // namespace

absl::Status RunEval(const CommandLine& line) {
  std::optional<StageOfRecipe> of;
  TEMPER_ASSIGN_OR_RETURN(const EvalOptions options, ReadEvalOptions(line, &of));
  std::unique_ptr<LinesFile> out;
  if (!options.output.empty()) {
    TEMPER_ASSIGN_OR_RETURN(const std::string model, ModelDirectory(options.model));
    TEMPER_ASSIGN_OR_RETURN(out, LinesFile::Create(options.output, {options.data, options.recipe, model}));
  }
  TEMPER_ASSIGN_OR_RETURN(const std::unique_ptr<CommandPolicy> policy,
                          CommandPolicy::Open(options, options.mtp()));
  EvalProblems problems(options, of, *policy);
  TEMPER_ASSIGN_OR_RETURN(std::vector<Prompt> prompts, problems.Read());
  TEMPER_ASSIGN_OR_RETURN(const std::vector<Group> groups,
                          Sample(options, *policy, std::move(prompts), problems.rewards()));
  const Measure& measure = problems.measure();
  const Measure::Figures figures = measure.Of(groups);
  Json row = {{"rule", measure.pass_rule()}};
  measure.Append(figures, "", &row);
  if (figures.reward) row["reward"] = *figures.reward;
  row["n"] = figures.statistics.problems;
  row["samples"] = figures.statistics.samples;
  LogInfo(Table(measure, row));
  WarnOf(measure, figures);
  TEMPER_RETURN_IF_ERROR(WriteRow(DumpJson(row)));
  return out == nullptr ? absl::OkStatus() : WriteCompletions(measure, groups, out.get());
}

std::string EvalHelp() { return HelpOf<EvalOptions>(); }

}  // namespace temper
