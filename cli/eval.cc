// SPDX-License-Identifier: Apache-2.0
#include "cli/eval.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/options.h"
#include "cli/policy.h"
#include "cli/rows.h"
#include "core/log.h"
#include "core/progress.h"
#include "core/text.h"
#include "data/dataset.h"
#include "rewards/pool.h"
#include "rewards/statistics.h"
#include "rollout/worker.h"
#include "trainer/evaluation.h"

namespace temper {
namespace {

struct EvalOptions : PolicyOptions, DrawOptions {
  std::string data;
  int64_t k = 16;
  int64_t limit = 0;
  PromptTemplate prompt_template = PromptTemplate::kNone;
  FieldNames fields;
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
    v.Choice("template", prompt_template, {{"none", PromptTemplate::kNone}, {"r1", PromptTemplate::kR1}},
             "How a problem becomes a prompt: as it is, or in R1-Zero's User/Assistant template.");
    v.Section("fields", fields, "The names of the file's fields, where they are not the common ones.");
    v.Field("think_in_prompt", think_in_prompt, "The format's <think> is the prompt's, or may be missing.");
    v.Field("skip_bad_lines", skip_bad_lines,
            "Skip (and count) lines that are no problems, instead of stopping.");
    DrawOptions::Fields(v);
  }
};

// Accuracy, then format: what OutcomesOf reads.
RewardConfig Rules(const EvalOptions& options) {
  RewardConfig config;
  config.rules = {{.rule = "accuracy"}, {.rule = "format"}};
  config.rules[1].think_in_prompt = options.think_in_prompt;
  return config;
}

absl::StatusOr<std::vector<Prompt>> ReadPrompts(const EvalOptions& options, const Policy& policy) {
  if (policy.tokenizer() == nullptr)
    return absl::NotFoundError(
        absl::StrCat(options.model, "/tokenizer.json: is not there, and problems are text"));
  ProblemFileOptions file_options;
  file_options.prompt_template = options.prompt_template;
  file_options.fields = options.fields;
  file_options.skip_bad_lines = options.skip_bad_lines;
  file_options.now = absl::Now();
  TEMPER_ASSIGN_OR_RETURN(const std::unique_ptr<ProblemFile> problems,
                          ProblemFile::Open(options.data, *policy.tokenizer(), file_options));
  if (problems->skipped_lines() > 0)
    LogWarning(options.data, ": skipped ", problems->skipped_lines(), " lines that are no problems");
  if (problems->size() == 0)
    return absl::InvalidArgumentError(absl::StrCat(options.data, ": holds no problem"));
  const int64_t count = options.limit > 0 ? std::min(options.limit, problems->size()) : problems->size();
  LogInfo(options.data, ": ", count, " problems (", problems->fields(), "), ", options.k, " samples each");
  std::vector<Prompt> prompts;
  for (int64_t i = 0; i < count; ++i) {
    TEMPER_ASSIGN_OR_RETURN(Prompt prompt, problems->Read(i));
    prompts.push_back(std::move(prompt));
  }
  return prompts;
}

std::string Table(const Statistics& s) {
  return absl::StrFormat(
      "%-16s %7.4f  +- %.4f over problems\n%-16s %7.4f  format ignored\n%-16s %7.4f  k = %d\n%-16s %7.4f\n"
      "%-16s %7.4f\n%-16s %7.4f  of the completions\n%-16s %7.4f  of the completions\n"
      "%-16s %7.1f  tokens; p10 %.0f, p50 %.0f, p90 %.0f",
      "pass@1", s.pass_1, s.pass_1_error, "pass@1 lenient", s.pass_1_lenient, "pass@k", s.pass_k, s.k,
      "cons@k", s.cons_k, "format", s.format, "check themselves", s.checks, "cut by length", s.cut, "length",
      s.length_mean, s.length_p10, s.length_p50, s.length_p90);
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
  TEMPER_ASSIGN_OR_RETURN(const std::unique_ptr<RewardPool> rewards, RewardPool::Create(Rules(options), 2));
  TEMPER_ASSIGN_OR_RETURN(std::vector<Prompt> prompts, ReadPrompts(options, *policy));
  if (const absl::Status status = rewards->CheckAnswers(prompts); !status.ok())
    return absl::Status(status.code(), absl::StrCat(Printable(options.data), ": ", status.message()));
  TEMPER_ASSIGN_OR_RETURN(const std::vector<Group> groups,
                          Sample(options, *policy, std::move(prompts), *rewards));
  const Statistics statistics = Evaluate(OutcomesOf(groups));
  LogInfo(Table(statistics));
  Json row = Json::object();
  AppendStatistics(statistics, "", &row);
  row["n"] = statistics.problems;
  row["samples"] = statistics.samples;
  return WriteOut(DumpJson(row));
}

std::string EvalHelp() { return HelpOf<EvalOptions>(); }

}  // namespace temper
