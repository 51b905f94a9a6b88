// SPDX-License-Identifier: Apache-2.0
// What `temper eval` asks, and what judges the answers.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/line/options.h"
#include "cli/line/policy.h"
#include "data/dataset/dataset.h"
#include "rewards/pool.h"
#include "trainer/config/recipe.h"
#include "trainer/measure.h"

namespace temper {

// The stage under whose name a run draws the completions of its evaluations (trainer/evaluation.cc).
constexpr char kHeldOutStream[] = "evaluation/held_out";

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
    v.Field(
        "data", data,
        "A JSONL or Parquet file of problems: question/answer, problem/answer, messages, ...; with --recipe "
        "it may be left out, for the stage's own (evaluation.held_out).");
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
    v.Field(
        "recipe", recipe,
        "Measured as this recipe measures its stage --stage: by its rules, and where no option says another "
        "value with its template, system, suffix, fields, k, max_new_tokens, temperature and seed.");
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

// A recipe, and which of its stages is measured.
struct StageOfRecipe {
  RecipeConfig recipe;
  size_t index = 0;
  const StageConfig& stage() const { return recipe.stages[index]; }
};

// The options as the command line says them, over what the recipe's stage says where there is one, which is
// then in *of.
absl::StatusOr<EvalOptions> ReadEvalOptions(const CommandLine& line, std::optional<StageOfRecipe>* of);

// The problems of --data or of the recipe's stage, and what judges them: made when the first row shows
// whether there are answers.
class EvalProblems {
 public:
  // All three outlive it.
  EvalProblems(const EvalOptions& options, const std::optional<StageOfRecipe>& of, CommandPolicy& policy)
      : options_(options), of_(of), policy_(policy) {}

  // Once, and before the others. A row that is no problem, or that the rules cannot judge by, is an error
  // that names its line, or with skip_bad_lines left out and counted.
  absl::StatusOr<std::vector<Prompt>> Read();
  const Measure& measure() const { return *measure_; }
  RewardPool& rewards() { return *rewards_; }

 private:
  absl::Status MakeRules(bool answers);
  absl::StatusOr<std::unique_ptr<ProblemFile>> Open(const std::string& path, std::optional<Split> side);
  absl::StatusOr<std::vector<Prompt>> OfFile(const std::string& path);
  absl::StatusOr<std::vector<Prompt>> OfRecipe();
  int64_t Limit(int64_t there) const { return options_.limit > 0 ? std::min(options_.limit, there) : there; }

  const EvalOptions& options_;
  const std::optional<StageOfRecipe>& of_;
  CommandPolicy& policy_;
  std::optional<Measure> measure_;
  std::unique_ptr<RewardPool> rewards_;
};

}  // namespace temper
