// SPDX-License-Identifier: Apache-2.0
#include "cli/eval.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "cli/inspect_records.h"
#include "cli/options.h"
#include "cli/policy.h"
#include "cli/rows.h"
#include "core/log.h"
#include "core/progress.h"
#include "core/stop.h"
#include "core/text.h"
#include "data/dataset.h"
#include "rewards/pool.h"
#include "rewards/score.h"
#include "rollout/worker.h"
#include "trainer/measure.h"

namespace temper {
namespace {

struct EvalOptions : PolicyOptions, DrawOptions, PromptOptions {
  std::string data;
  int64_t k = 16;
  int64_t limit = 0;
  FieldNames fields;
  std::string rule, mode, recipe, stage, pass_rule, output;
  std::vector<std::string> set;
  bool think_in_prompt = true;
  bool skip_bad_lines = false;

  template <class V>
  void Fields(V& v) {
    PolicyOptions::Fields(v);
    v.Field("data", data,
            "A JSONL or Parquet file of problems: question/answer, problem/answer, messages, ...",
            Required());
    v.Field("k", k, "Completions of each problem: k of pass@k and cons@k.", Between(1, 1 << 16));
    v.Field("limit", limit, "Only the file's first problems; 0: all.", AtLeast(0));
    PromptOptions::Fields(v);
    v.Section("fields", fields, "The names of the file's fields, where they are not the common ones.");
    v.Field(
        "rule", rule,
        "What judges, as in score; empty: accuracy where the format is right, or code where no row has an "
        "answer.");
    v.Field("mode", mode, "Of the rules that have modes, as in score.");
    v.Field("set", set, "RULE.OPTION=VALUE, as in a recipe's reward, such as math.mode=strict.", Repeated());
    v.Field("recipe", recipe, "In place of --rule: measured as this recipe measures its stage --stage.");
    v.Field("stage", stage, "The stage of --recipe.");
    v.Field("pass_rule", pass_rule,
            "The rule that pass@1 counts, by its name; empty: the first that judges the answer.");
    v.Field(
        "output", output,
        "Completions with their verdicts, a JSON line each as inspect --export writes them, to this file.");
    v.Field("think_in_prompt", think_in_prompt,
            "Where no rule is named: the format's <think> is the prompt's, or may be missing.");
    v.Field(
        "skip_bad_lines", skip_bad_lines,
        "Leave out (and count) rows that are no problems, have no answer that can be judged by, or are too "
        "long for the model, instead of stopping.");
    DrawOptions::Fields(v);
  }
};

absl::StatusOr<Measure> MeasureOfRecipe(const EvalOptions& options) {
  RecipeConfig recipe;
  TEMPER_RETURN_IF_ERROR(ReadConfigFile(options.recipe, {}, recipe));
  std::vector<std::string> names;
  for (const StageConfig& stage : recipe.stages) {
    if (stage.name != options.stage) {
      names.push_back(stage.name);
      continue;
    }
    return Measure::Create(EvaluationReward(recipe, stage),
                           options.pass_rule.empty() ? stage.evaluation.pass_rule : options.pass_rule);
  }
  return absl::InvalidArgumentError(absl::StrCat("--stage ", Printable(options.stage, 60),
                                                 ": is no stage of ", Printable(options.recipe),
                                                 ", whose stages are ", absl::StrJoin(names, ", ")));
}

// What the options say; of none, as in DeepSeek-R1, or by tests where that is all the rows have.
absl::StatusOr<Measure> MeasureOf(const EvalOptions& options, const std::vector<Prompt>& prompts) {
  if (options.recipe.empty() != options.stage.empty()) {
    return absl::InvalidArgumentError("--recipe and --stage go together: a stage's rules are wanted");
  }
  if (!options.recipe.empty() && !(options.rule.empty() && options.mode.empty() && options.set.empty()))
    return absl::InvalidArgumentError("--recipe says all of the rules: leave out --rule, --mode and --set");
  if (!options.recipe.empty()) return MeasureOfRecipe(options);
  if (!options.rule.empty()) {
    TEMPER_ASSIGN_OR_RETURN(const RewardConfig reward, RewardByName(options.rule, options.mode, options.set));
    return Measure::Create(reward, options.pass_rule);
  }
  const bool answers = std::any_of(prompts.begin(), prompts.end(),
                                   [](const Prompt& prompt) { return !prompt.answer.empty(); });
  if (!answers) LogInfo("no row has an answer: rule code judges by the rows' tests");
  TEMPER_ASSIGN_OR_RETURN(RewardConfig reward,
                          RewardByName(answers ? "accuracy,format" : "code", options.mode, options.set));
  if (answers) {
    reward.rules[0].gate = "format";
    reward.rules[1].format.think_in_prompt = options.think_in_prompt;
  }
  return Measure::Create(reward, options.pass_rule);
}

// Prompts, and where each is: "FILE:LINE".
struct Problems {
  std::vector<Prompt> prompts;
  std::vector<std::string> names;
};

absl::StatusOr<Problems> ReadPrompts(const EvalOptions& options, Policy& policy) {
  if (policy.tokenizer() == nullptr)
    return absl::NotFoundError(
        absl::StrCat(options.model, "/tokenizer.json: is not there, and problems are text"));
  ProblemFileOptions file_options;
  file_options.prompt = options;
  file_options.fields = options.fields;
  file_options.skip_bad_lines = options.skip_bad_lines;
  if (const int64_t positions = policy.model().config().max_positions; positions > 0)
    file_options.max_tokens = std::max<int64_t>(1, positions - options.max_new_tokens);
  file_options.now = absl::Now();
  TEMPER_ASSIGN_OR_RETURN(const std::unique_ptr<ProblemFile> problems,
                          ProblemFile::Open(options.data, *policy.tokenizer(), file_options));
  if (problems->skipped_lines() > 0)
    LogWarning(options.data, ": ", problems->skipped_lines(),
               " bad lines skipped; the first: ", problems->first_skipped());
  if (problems->size() == 0)
    return absl::InvalidArgumentError(absl::StrCat(options.data, ": holds no problem"));
  const int64_t count = options.limit > 0 ? std::min(options.limit, problems->size()) : problems->size();
  LogInfo(options.data, ": ", count, " problems (", problems->fields(), "), ", options.k, " samples each");
  Problems read;
  for (int64_t i = 0; i < count; ++i) {
    TEMPER_ASSIGN_OR_RETURN(Prompt prompt, problems->Read(i));
    read.prompts.push_back(std::move(prompt));
    read.names.push_back(problems->RowName(i));
  }
  LogInfo(FirstPromptText(options.data, read.prompts[0]));
  return read;
}

// Those that the rules can judge by.
absl::StatusOr<std::vector<Prompt>> WithAnswers(const EvalOptions& options, Problems problems,
                                                const RewardPool& rewards) {
  std::vector<Prompt> good;
  std::string first;
  for (size_t i = 0; i < problems.prompts.size(); ++i) {
    const absl::Status status = rewards.CheckAnswers(absl::MakeConstSpan(&problems.prompts[i], 1));
    if (status.ok()) {
      good.push_back(std::move(problems.prompts[i]));
      continue;
    }
    const std::string what = absl::StrCat(problems.names[i], ": ", std::string(status.message()));
    if (!options.skip_bad_lines) return absl::InvalidArgumentError(what);
    if (first.empty()) first = what;
  }
  if (good.empty())
    return absl::InvalidArgumentError(absl::StrCat(first, "; nor has any other row an answer"));
  if (!first.empty()) {
    LogWarning(options.data, ": ", problems.prompts.size() - good.size(),
               " problems skipped that cannot be judged by; the first: ", first);
  }
  return good;
}

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

absl::Status WriteCompletions(const std::string& file, const Measure& measure,
                              const std::vector<Group>& groups) {
  return WriteTrajectories(file, [&](absl::FunctionRef<absl::Status(const Json&)> write) {
    for (const Group& group : groups) {
      for (const Trajectory& trajectory : group.trajectories) {
        Earned earned{.reward = RewardOf(trajectory.verdicts, measure.reward()),
                      .advantage = std::nullopt,
                      .solved = measure.Solves(trajectory)};
        TEMPER_RETURN_IF_ERROR(write(TrajectoryJson(group, trajectory, earned)));
      }
    }
    return absl::OkStatus();
  });
}

absl::StatusOr<std::vector<Group>> Sample(const EvalOptions& options, Policy& policy,
                                          std::vector<Prompt> prompts, RewardPool& rewards) {
  int64_t longest = 0;
  for (const Prompt& prompt : prompts) longest = std::max<int64_t>(longest, prompt.tokens.size());
  TEMPER_ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine,
                          policy.MakeEngine(options, longest + options.max_new_tokens));
  RolloutRequest request;
  request.seed = options.seed;
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
  return groups;
}

}  // namespace

absl::Status RunEval(const CommandLine& line) {
  TEMPER_ASSIGN_OR_RETURN(const EvalOptions options, OptionsOf<EvalOptions>(line));
  TEMPER_ASSIGN_OR_RETURN(const std::unique_ptr<Policy> policy, Policy::Open(options));
  TEMPER_ASSIGN_OR_RETURN(Problems problems, ReadPrompts(options, *policy));
  TEMPER_ASSIGN_OR_RETURN(const Measure measure, MeasureOf(options, problems.prompts));
  TEMPER_ASSIGN_OR_RETURN(const std::unique_ptr<RewardPool> rewards, RewardPool::Create(measure.reward(), 2));
  TEMPER_ASSIGN_OR_RETURN(std::vector<Prompt> prompts, WithAnswers(options, std::move(problems), *rewards));
  TEMPER_ASSIGN_OR_RETURN(const std::vector<Group> groups,
                          Sample(options, *policy, std::move(prompts), *rewards));
  const Measure::Figures figures = measure.Of(groups);
  Json row = {{"rule", measure.pass_rule()}};
  measure.Append(figures, "", &row);
  if (figures.reward) row["reward"] = *figures.reward;
  row["n"] = figures.statistics.problems;
  row["samples"] = figures.statistics.samples;
  LogInfo(Table(measure, row));
  WarnOf(measure, figures);
  if (!options.output.empty()) TEMPER_RETURN_IF_ERROR(WriteCompletions(options.output, measure, groups));
  return WriteOut(DumpJson(row));
}

std::string EvalHelp() { return HelpOf<EvalOptions>(); }

}  // namespace temper
