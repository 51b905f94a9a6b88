// SPDX-License-Identifier: Apache-2.0
#include "trainer/inputs/problems.h"

#include <algorithm>
#include <unordered_set>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/random.h"
#include "core/status.h"
#include "core/stop.h"
#include "data/tasks/procedural.h"
#include "data/tasks/tiny/tiny.h"

namespace temper {

namespace {

constexpr int64_t kTries = 1000;  // problems of a place's own little stream

}  // namespace

absl::StatusOr<std::unique_ptr<ProblemSource>> ProblemSource::Make(
    const ProblemsConfig& config, const Tokenizer& tokenizer, const RecipeConfig& recipe,
    const Stream& stream, std::vector<std::shared_ptr<const ProblemFile>> files) {
  const uint64_t key = RandomKey(static_cast<uint64_t>(recipe.seed), stream.name, 0, "problems");
  auto source = std::unique_ptr<ProblemSource>(
      new ProblemSource(config, tokenizer, key, recipe.Date(), stream.split, stream.exclude));
  for (std::shared_ptr<const ProblemFile>& file : files)
    source->sources_.push_back({.file = std::move(file), .order = {}});
  source->Mix();
  return source;
}

void ProblemSource::Mix() {
  if (sources_.empty() && config_.tasks.empty()) return;
  std::vector<double> weights = config_.weights;
  if (weights.empty()) weights.resize(config_.tasks.size(), 1);
  for (size_t s = 0; config_.weights.empty() && s < sources_.size(); ++s)
    weights.push_back(static_cast<double>(sources_[s].file->size()));
  mixture_.emplace(std::move(weights), RandomKey(key_, "mixture", 0, "source"));
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
    ProblemRow problem;
    problem.text = std::move(prompt.text);
    TEMPER_ASSIGN_OR_RETURN(prompt.tokens, form_.Tokens(problem));
    TEMPER_ASSIGN_OR_RETURN(prompt.text, form_.Text(problem));
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
    TEMPER_RETURN_IF_ERROR(CheckStop());
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
    TEMPER_RETURN_IF_ERROR(CheckStop());
    const Mixture::Place place = mixture_->At(position);
    TEMPER_ASSIGN_OR_RETURN(Prompt prompt, FromFile(place.source, place.index));
    // The same problem again in one call, at the turn of a pass: its samples need draws of their own.
    while (!seen.insert(prompt.id).second) prompt.id += "'";
    prompts.push_back(std::move(prompt));
  }
  return prompts;
}

}  // namespace temper
