// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "data/tasks/tiny.h"
#include "data/tokenizer.h"
#include "data/trajectory.h"
#include "rewards/pool.h"
#include "trainer/recipe_config.h"

namespace temper {

// A stage's problems, ready for the policy: a generator's endless stream, or a file's rows over and over, in
// an order of their own in each pass. Held-out problems are fixed for a run and never in a train stream.
class ProblemSource {
 public:
  // `stream` names the draws ("zero", "evaluation"). The prompts of a file are all read at once.
  static absl::StatusOr<std::unique_ptr<ProblemSource>> Open(const ProblemsConfig& config,
                                                             const Tokenizer& tokenizer, uint64_t seed,
                                                             const std::string& stream, tiny::Split split);

  // A file's problems whose reference answer the rules cannot judge by: an error, or, with skip_bad_lines,
  // left out with a warning. Before Take.
  absl::Status CheckAnswers(const RewardPool& rewards);

  // Prompts [first, first + count) of the stream; no id twice in what one call returns.
  absl::StatusOr<std::vector<Prompt>> Take(int64_t first, int64_t count) const;
  // Problems of a file; -1: endless.
  int64_t size() const;
  int64_t skipped_lines() const { return skipped_lines_; }

 private:
  ProblemSource(const ProblemsConfig& config, const Tokenizer& tokenizer, uint64_t key, tiny::Split split)
      : config_(config), tokenizer_(tokenizer), key_(key), split_(split) {}
  absl::StatusOr<std::vector<Prompt>> Generate(int64_t first, int64_t count) const;
  absl::StatusOr<std::vector<Prompt>> FromRows(int64_t first, int64_t count) const;

  const ProblemsConfig config_;
  const Tokenizer& tokenizer_;
  const uint64_t key_;
  const tiny::Split split_;
  std::vector<Prompt> rows_;  // of a file
  int64_t skipped_lines_ = 0;
};

}  // namespace temper
