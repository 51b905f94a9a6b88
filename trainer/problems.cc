// SPDX-License-Identifier: Apache-2.0
#include "trainer/problems.h"

#include <unordered_set>

#include "absl/strings/str_cat.h"
#include "core/log.h"
#include "core/random.h"
#include "core/status.h"
#include "data/dataset.h"

namespace temper {

absl::StatusOr<std::unique_ptr<ProblemSource>> ProblemSource::Open(const ProblemsConfig& config,
                                                                   const Tokenizer& tokenizer, uint64_t seed,
                                                                   const std::string& stream,
                                                                   tiny::Split split) {
  auto source = std::unique_ptr<ProblemSource>(
      new ProblemSource(config, tokenizer, RandomKey(seed, stream, 0, "problems"), split));
  if (config.file.empty()) return source;
  ReadProblemsOptions options;
  options.prompt_template = config.template_name == "r1" ? PromptTemplate::kR1 : PromptTemplate::kNone;
  options.skip_bad_lines = config.skip_bad_lines;
  TEMPER_ASSIGN_OR_RETURN(Problems problems, ReadProblems(config.file, tokenizer, options));
  if (problems.skipped_lines > 0) LogWarning(config.file, ": ", problems.skipped_lines, " bad lines skipped");
  if (problems.prompts.empty())
    return absl::InvalidArgumentError(absl::StrCat(config.file, ": there is no problem in it"));
  source->rows_ = std::move(problems.prompts);
  source->skipped_lines_ = problems.skipped_lines;
  return source;
}

absl::Status ProblemSource::CheckAnswers(const RewardPool& rewards) {
  std::vector<Prompt> good;
  absl::Status first;
  for (Prompt& row : rows_) {
    const absl::Status status = rewards.CheckAnswers(absl::MakeConstSpan(&row, 1));
    if (status.ok()) good.push_back(std::move(row));
    if (first.ok()) first = status;
  }
  if (first.ok()) {
    rows_ = std::move(good);
    return first;
  }
  const std::string what = absl::StrCat(config_.file, ": ", first.message());
  if (!config_.skip_bad_lines || good.empty()) return absl::InvalidArgumentError(what);
  LogWarning(what, "; ", rows_.size() - good.size(), " such problems are left out");
  skipped_lines_ += static_cast<int64_t>(rows_.size() - good.size());
  rows_ = std::move(good);
  return absl::OkStatus();
}

int64_t ProblemSource::size() const { return config_.file.empty() ? -1 : static_cast<int64_t>(rows_.size()); }

absl::StatusOr<std::vector<Prompt>> ProblemSource::Take(int64_t first, int64_t count) const {
  return config_.file.empty() ? Generate(first, count) : FromRows(first, count);
}

absl::StatusOr<std::vector<Prompt>> ProblemSource::Generate(int64_t first, int64_t count) const {
  const tiny::ProblemOptions options{config_.chain_steps[0], config_.chain_steps[1], config_.find_x_steps[0],
                                     config_.find_x_steps[1], config_.find_x_share};
  // A slot's problem is the first of its own little stream that no earlier slot of this call has.
  constexpr int64_t kTries = 1000;
  std::vector<Prompt> prompts;
  std::unordered_set<std::string> seen;
  for (int64_t slot = first; slot < first + count; ++slot) {
    int64_t tries = 0;
    Prompt prompt;
    do {
      if (tries == kTries) {
        return absl::InvalidArgumentError(absl::StrCat(
            "the generator has fewer than ", count, " different problems of ", config_.chain_steps[0], "-",
            config_.chain_steps[1], " (chain) and ", config_.find_x_steps[0], "-", config_.find_x_steps[1],
            " (find_x) operations: ask for fewer or longer ones"));
      }
      prompt = tiny::MakeProblem(key_, slot * kTries + tries++, options, split_);
    } while (!seen.insert(prompt.id).second);
    TEMPER_ASSIGN_OR_RETURN(prompt.tokens, tokenizer_.Encode(prompt.text));
    prompts.push_back(std::move(prompt));
  }
  return prompts;
}

absl::StatusOr<std::vector<Prompt>> ProblemSource::FromRows(int64_t first, int64_t count) const {
  const int64_t rows = static_cast<int64_t>(rows_.size());
  std::vector<Prompt> prompts;
  std::unordered_set<std::string> seen;
  std::vector<int64_t> order;
  int64_t pass = -1;
  for (int64_t index = first; index < first + count; ++index) {
    if (index / rows != pass) {
      pass = index / rows;
      order = Permutation(rows, RandomKey(key_, "pass", static_cast<uint64_t>(pass), "order"));
    }
    prompts.push_back(rows_[order[index % rows]]);
    // The same problem again in one call, at the turn of a pass: its samples need draws of their own.
    std::string& id = prompts.back().id;
    while (!seen.insert(id).second) id += "'";
  }
  return prompts;
}

}  // namespace temper
