// SPDX-License-Identifier: Apache-2.0
#include "trainer/problems.h"

#include <algorithm>
#include <set>
#include <unordered_set>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/config.h"
#include "core/log.h"
#include "core/random.h"
#include "core/status.h"
#include "data/tasks/procedural.h"
#include "data/tasks/tiny.h"

namespace temper {

namespace {

constexpr int64_t kTries = 1000;  // problems of a place's own little stream

ProblemFileOptions OptionsOf(const ProblemsConfig& config, Split split, const ContentKeys* exclude) {
  ProblemFileOptions options;
  options.prompt_template = config.template_name == "r1" ? PromptTemplate::kR1 : PromptTemplate::kNone;
  options.fields = config.fields;
  options.skip_bad_lines = config.skip_bad_lines;
  options.side = split;
  options.held_out_share = config.held_out_share;
  options.exclude = exclude;
  return options;
}

}  // namespace

absl::StatusOr<std::unique_ptr<ProblemSource>> ProblemSource::Open(const ProblemsConfig& config,
                                                                   const Tokenizer& tokenizer,
                                                                   const RecipeConfig& recipe,
                                                                   const std::string& stream, Split split,
                                                                   ContentKeys exclude) {
  auto source = std::unique_ptr<ProblemSource>(new ProblemSource(
      config, tokenizer, RandomKey(static_cast<uint64_t>(recipe.seed), stream, 0, "problems"), recipe.Date(),
      split, std::move(exclude)));
  TEMPER_RETURN_IF_ERROR(source->OpenFiles());
  return source;
}

absl::Status ProblemSource::OpenFiles() {
  ProblemFileOptions options = OptionsOf(config_, split_, &exclude_);
  options.now = date_;
  for (const std::string& path : config_.files) {
    TEMPER_ASSIGN_OR_RETURN(std::unique_ptr<ProblemFile> file, ProblemFile::Open(path, tokenizer_, options));
    if (file->skipped_lines() > 0) LogWarning(path, ": ", file->skipped_lines(), " bad lines skipped");
    LogInfo(path, ": ", file->size(), " problems (", file->fields(), ")",
            file->excluded() > 0 ? absl::StrCat("; ", file->excluded(), " that evaluations ask are left out")
                                 : "");
    if (file->size() == 0)
      return absl::InvalidArgumentError(absl::StrCat(path, ": there is no problem in it"));
    skipped_lines_ += file->skipped_lines();
    sources_.push_back({.file = std::move(file), .order = {}});
  }
  Mix();
  return absl::OkStatus();
}

void ProblemSource::Mix() {
  if (sources_.empty() && config_.tasks.empty()) return;
  std::vector<double> weights = config_.weights;
  if (weights.empty()) weights.resize(config_.tasks.size(), 1);
  for (size_t s = 0; config_.weights.empty() && s < sources_.size(); ++s)
    weights.push_back(static_cast<double>(sources_[s].file->size()));
  mixture_.emplace(std::move(weights), RandomKey(key_, "mixture", 0, "source"));
}

absl::Status ProblemSource::CheckAnswers(const RewardPool& rewards) {
  for (size_t s = 0; s < sources_.size(); ++s) {
    ProblemFile& file = *sources_[s].file;
    std::vector<int64_t> good;
    absl::Status first;
    for (int64_t i = 0; i < file.size(); ++i) {
      TEMPER_ASSIGN_OR_RETURN(const Prompt prompt, file.ReadText(i));
      const absl::Status status = rewards.CheckAnswers(absl::MakeConstSpan(&prompt, 1));
      if (status.ok()) good.push_back(i);
      if (first.ok()) first = status;
    }
    if (first.ok()) continue;
    const std::string what = absl::StrCat(config_.files[s], ": ", first.message());
    if (!config_.skip_bad_lines || good.empty()) return absl::InvalidArgumentError(what);
    const int64_t left_out = file.size() - static_cast<int64_t>(good.size());
    LogWarning(what, "; ", left_out, " such problems are left out");
    skipped_lines_ += left_out;
    file.Keep(good);
  }
  Mix();
  return absl::OkStatus();
}

int64_t ProblemSource::size() const {
  if (sources_.empty()) return -1;
  int64_t problems = 0;
  for (const Source& source : sources_) problems += source.file->size();
  return problems;
}

absl::StatusOr<std::vector<Prompt>> ProblemSource::Take(int64_t first, int64_t count) {
  if (!sources_.empty()) return FromFiles(first, count);
  return config_.tasks.empty() ? Generate(first, count) : FromTasks(first, count);
}

absl::StatusOr<std::vector<Prompt>> ProblemSource::FromTasks(int64_t first, int64_t count) {
  const auto task_at = [&](const Mixture::Place& place) {
    const procedural::Task* const task = procedural::FindTask(config_.tasks[place.source]);
    TEMPER_CHECK(task != nullptr, "there is no task ", config_.tasks[place.source]);
    return std::make_pair(task, static_cast<int>(std::min<int64_t>(config_.level, task->levels)));
  };
  const auto make = [&](int64_t position, int64_t nth) {
    const Mixture::Place place = mixture_->At(position);
    const auto [task, level] = task_at(place);
    return procedural::MakeProblem(*task, level, key_, place.index * kTries + nth, split_);
  };
  const auto too_few = [&](int64_t position) {
    const auto [task, level] = task_at(mixture_->At(position));
    return absl::StrCat("task ", task->name, " has too few problems of level ", level, " for ", count,
                        " different ones");
  };
  TEMPER_ASSIGN_OR_RETURN(std::vector<Prompt> prompts, Draw(first, count, make, too_few));
  for (Prompt& prompt : prompts) {
    const bool r1 = config_.template_name == "r1";
    TEMPER_ASSIGN_OR_RETURN(prompt.tokens,
                            r1 ? EncodeR1(prompt.text, tokenizer_) : tokenizer_.Encode(prompt.text));
    if (r1) prompt.text = R1Prompt(prompt.text);
  }
  return prompts;
}

absl::StatusOr<std::vector<Prompt>> ProblemSource::Generate(int64_t first, int64_t count) const {
  const tiny::ProblemOptions options{config_.chain_steps[0], config_.chain_steps[1], config_.find_x_steps[0],
                                     config_.find_x_steps[1], config_.find_x_share};
  const auto make = [&](int64_t position, int64_t nth) {
    return tiny::MakeProblem(key_, position * kTries + nth, options, split_);
  };
  const auto too_few = [&](int64_t) {
    return absl::StrCat("the generator has fewer than ", count, " different problems of ",
                        config_.chain_steps[0], "-", config_.chain_steps[1], " (chain) and ",
                        config_.find_x_steps[0], "-", config_.find_x_steps[1],
                        " (find_x) operations: ask for fewer or longer ones");
  };
  TEMPER_ASSIGN_OR_RETURN(std::vector<Prompt> prompts, Draw(first, count, make, too_few));
  for (Prompt& prompt : prompts) {
    TEMPER_ASSIGN_OR_RETURN(prompt.tokens, tokenizer_.Encode(prompt.text));
  }
  return prompts;
}

absl::StatusOr<std::vector<Prompt>> ProblemSource::Draw(
    int64_t first, int64_t count, absl::FunctionRef<Prompt(int64_t, int64_t)> make,
    absl::FunctionRef<std::string(int64_t)> too_few) const {
  std::vector<Prompt> prompts;
  std::unordered_set<std::string> seen;
  for (int64_t position = first; position < first + count; ++position) {
    Prompt prompt;
    int64_t tries = 0;
    do {
      if (tries == kTries) return absl::InvalidArgumentError(too_few(position));
      prompt = make(position, tries++);
    } while (exclude_.contains(ContentKey(prompt.text)) || !seen.insert(prompt.id).second);
    prompts.push_back(std::move(prompt));
  }
  return prompts;
}

absl::StatusOr<Prompt> ProblemSource::FromFile(int number, int64_t index) {
  Source& source = sources_[number];
  const int64_t size = source.file->size(), pass = index / size;
  if (pass != source.pass) {
    const uint64_t key = number == 0 ? key_ : RandomKey(key_, "file", static_cast<uint64_t>(number), "order");
    source.order = Permutation(size, RandomKey(key, "pass", static_cast<uint64_t>(pass), "order"));
    source.pass = pass;
  }
  TEMPER_ASSIGN_OR_RETURN(Prompt prompt, source.file->Read(source.order[index % size]));
  // Ids name the random draws; files may use the same ones.
  if (sources_.size() > 1) prompt.id = absl::StrCat(number, "/", prompt.id);
  return prompt;
}

absl::StatusOr<std::vector<Prompt>> ProblemSource::FromFiles(int64_t first, int64_t count) {
  std::vector<Prompt> prompts;
  std::unordered_set<std::string> seen;
  for (int64_t position = first; position < first + count; ++position) {
    const Mixture::Place place = mixture_->At(position);
    TEMPER_ASSIGN_OR_RETURN(Prompt prompt, FromFile(place.source, place.index));
    // The same problem again in one call, at the turn of a pass: its samples need draws of their own.
    while (!seen.insert(prompt.id).second) prompt.id += "'";
    prompts.push_back(std::move(prompt));
  }
  return prompts;
}

absl::StatusOr<ContentKeys> HeldOutKeys(const RecipeConfig& recipe) {
  ContentKeys keys;
  std::set<std::string> read;  // stages mostly share their evaluation: its files are read once
  for (const StageConfig& stage : recipe.stages) {
    const EvaluationConfig& evaluation = stage.evaluation;
    if (stage.kind == StageKind::kCollect || evaluation.problems == 0) continue;
    for (const ProblemsConfig* problems : {&evaluation.source, &evaluation.hard}) {
      if (problems == &evaluation.hard && evaluation.hard_problems == 0) continue;
      if (!read.insert(WriteConfig(*problems)).second) continue;
      for (const std::string& file : problems->files) {
        TEMPER_RETURN_IF_ERROR(AddContentKeys(file, OptionsOf(*problems, Split::kHeldOut, nullptr), &keys));
      }
    }
  }
  return keys;
}

absl::StatusOr<std::unique_ptr<ProblemSource>> OpenTrainProblems(const StageContext& context,
                                                                 const ProblemsConfig& config,
                                                                 const Tokenizer& tokenizer) {
  TEMPER_ASSIGN_OR_RETURN(ContentKeys held_out, HeldOutKeys(*context.recipe));
  return ProblemSource::Open(config, tokenizer, *context.recipe, context.stage->name, Split::kTrain,
                             std::move(held_out));
}

}  // namespace temper
