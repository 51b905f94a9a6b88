// SPDX-License-Identifier: Apache-2.0
#include "cli/eval_problems.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/log.h"
#include "core/stop.h"
#include "core/text.h"
#include "rewards/score.h"
#include "trainer/inputs/problems.h"
#include "trainer/recipe.h"

namespace temper {
namespace {

absl::StatusOr<StageOfRecipe> FindStage(const EvalOptions& options) {
  StageOfRecipe found;
  TEMPER_ASSIGN_OR_RETURN(found.recipe, ReadRecipeFields(options.recipe, {}));
  std::vector<std::string> names;
  for (; found.index < found.recipe.stages.size(); ++found.index) {
    if (found.stage().name == options.stage) return found;
    names.push_back(found.stage().name);
  }
  return absl::InvalidArgumentError(absl::StrCat("--stage ", Printable(options.stage, 60),
                                                 ": is no stage of ", Printable(options.recipe),
                                                 ", whose stages are ", absl::StrJoin(names, ", ")));
}

// What the recipe or the options say; of neither, as in DeepSeek-R1, or by tests where rows have no answer.
absl::StatusOr<Measure> MeasureOf(const EvalOptions& options, const std::optional<StageOfRecipe>& of,
                                  bool answers) {
  if (of) return Measure::Create(EvaluationReward(of->recipe, of->stage()), options.pass_rule);
  if (!options.rule.empty()) {
    TEMPER_ASSIGN_OR_RETURN(const RewardConfig reward, RewardByName(options.rule, options.mode, options.set));
    return Measure::Create(reward, options.pass_rule);
  }
  if (!answers) LogInfo("the first row has no answer: rule code judges by the rows' tests");
  TEMPER_ASSIGN_OR_RETURN(RewardConfig reward,
                          RewardByName(answers ? "accuracy,format" : "code", options.mode, options.set));
  if (answers) {
    reward.rules[0].gate = "format";
    reward.rules[1].format.think_in_prompt = options.think_in_prompt;
  }
  return Measure::Create(reward, options.pass_rule);
}

}  // namespace

absl::StatusOr<EvalOptions> ReadEvalOptions(const CommandLine& line, std::optional<StageOfRecipe>* of) {
  TEMPER_ASSIGN_OR_RETURN(EvalOptions options, OptionsOf<EvalOptions>(line));
  if (options.recipe.empty() != options.stage.empty())
    return absl::InvalidArgumentError("--recipe and --stage go together: a stage's rules are wanted");
  if (options.recipe.empty()) {
    if (!options.data.empty()) return options;
    return absl::InvalidArgumentError("--data is missing: a file of problems, or --recipe with --stage");
  }
  if (!(options.rule.empty() && options.mode.empty() && options.set.empty()))
    return absl::InvalidArgumentError("--recipe says all of the rules: leave out --rule, --mode and --set");
  TEMPER_ASSIGN_OR_RETURN(*of, FindStage(options));
  const EvaluationConfig& evaluation = (*of)->stage().evaluation;
  EvalOptions as_stage;
  static_cast<PromptOptions&>(as_stage) = evaluation.source.prompt;
  as_stage.fields = evaluation.source.fields;
  as_stage.skip_bad_lines = evaluation.source.skip_bad_lines;
  as_stage.k = evaluation.samples_per_prompt;
  as_stage.pass_rule = evaluation.pass_rule;
  static_cast<Sampling&>(as_stage) = evaluation.sampling;
  as_stage.seed = static_cast<uint64_t>((*of)->recipe.seed);
  TEMPER_RETURN_IF_ERROR(ParseOptions(line.arguments, as_stage).status());
  LogInfo("measured as stage ", as_stage.stage, " of ", Printable(as_stage.recipe, 1000), ": k ", as_stage.k,
          ", max_new_tokens ", as_stage.max_new_tokens, ", temperature ", as_stage.temperature, ", seed ",
          as_stage.seed);
  return as_stage;
}

absl::StatusOr<std::vector<Prompt>> EvalProblems::Read() {
  if (policy_.tokenizer() == nullptr)
    return absl::NotFoundError(
        absl::StrCat(options_.model, "/tokenizer.json: is not there, and problems are text"));
  if (of_ || !options_.rule.empty()) TEMPER_RETURN_IF_ERROR(MakeRules(true));
  TEMPER_ASSIGN_OR_RETURN(std::vector<Prompt> prompts,
                          options_.data.empty() ? OfRecipe() : OfFile(options_.data));
  LogInfo(prompts.size(), " problems, ", options_.k, " samples each");
  LogInfo(FirstPromptText(options_.data.empty() ? options_.recipe : options_.data, prompts[0]));
  return prompts;
}

absl::Status EvalProblems::MakeRules(bool answers) {
  TEMPER_ASSIGN_OR_RETURN(measure_, MeasureOf(options_, of_, answers));
  TEMPER_ASSIGN_OR_RETURN(rewards_, RewardPool::Create(measure_->reward(), 2));
  return rewards_->CheckReady();
}

absl::StatusOr<std::unique_ptr<ProblemFile>> EvalProblems::Open(const std::string& path,
                                                                std::optional<Split> side) {
  ProblemFileOptions file;
  file.prompt = options_;
  file.fields = options_.fields;
  file.skip_bad_lines = options_.skip_bad_lines;
  file.side = side;
  if (side) file.held_out_share = of_->stage().evaluation.source.held_out_share;
  if (const int64_t positions = policy_.model().config().max_positions; positions > 0)
    file.max_tokens = std::max<int64_t>(1, positions - options_.max_new_tokens);
  file.now = of_ ? of_->recipe.Date() : absl::Now();
  absl::Status made;  // rules that cannot be made are no row's fault
  file.check = [&](const Prompt& prompt) {
    if (!measure_ && made.ok()) made = MakeRules(!prompt.answer.empty());
    return made.ok() ? rewards_->CheckAnswers(absl::MakeConstSpan(&prompt, 1)) : absl::OkStatus();
  };
  file.progress = [&](int64_t, int64_t) {
    return made.ok() && StopRequested() ? absl::CancelledError("stopped on request") : made;
  };
  TEMPER_ASSIGN_OR_RETURN(std::unique_ptr<ProblemFile> problems,
                          ProblemFile::Open(path, *policy_.tokenizer(), file));
  TEMPER_RETURN_IF_ERROR(made);
  if (problems->skipped_lines() > 0)
    LogWarning(Printable(path, 1000), ": ", problems->skipped_lines(),
               " bad lines skipped; the first: ", problems->first_skipped());
  if (problems->size() == 0)
    return absl::InvalidArgumentError(absl::StrCat(Printable(path, 1000), ": holds no problem"));
  LogInfo(Printable(path, 1000), ": ", problems->size(), " problems (", problems->fields(), ")");
  return problems;
}

absl::StatusOr<std::vector<Prompt>> EvalProblems::OfFile(const std::string& path) {
  TEMPER_ASSIGN_OR_RETURN(const std::unique_ptr<ProblemFile> problems, Open(path, std::nullopt));
  std::vector<Prompt> prompts;
  for (int64_t i = 0; i < Limit(problems->size()); ++i) {
    TEMPER_ASSIGN_OR_RETURN(prompts.emplace_back(), problems->Read(i));
  }
  return prompts;
}

// Those that the stage is measured by, in their order.
absl::StatusOr<std::vector<Prompt>> EvalProblems::OfRecipe() {
  const EvaluationConfig& evaluation = of_->stage().evaluation;
  if (!evaluation.source.is_given()) {
    return absl::InvalidArgumentError(absl::StrCat(Printable(options_.recipe, 1000),
                                                   ": evaluation.held_out of stage ", options_.stage,
                                                   " names no problems: --data names a file of them"));
  }
  std::vector<std::shared_ptr<const ProblemFile>> files;
  for (const std::string& path : evaluation.source.files) {
    TEMPER_ASSIGN_OR_RETURN(files.emplace_back(), Open(path, Split::kHeldOut));
  }
  ProblemsConfig config = evaluation.source;
  config.prompt = options_;
  const ContentKeys none;
  const ProblemSource::Stream stream{kHeldOutStream, Split::kHeldOut, none};
  TEMPER_ASSIGN_OR_RETURN(
      const std::unique_ptr<ProblemSource> source,
      ProblemSource::Make(config, *policy_.tokenizer(), of_->recipe, stream, std::move(files)));
  const int64_t there = source->size() < 0 ? evaluation.problems : source->size();
  return source->Take(0, Limit(std::min(evaluation.problems, there)));
}

}  // namespace temper
