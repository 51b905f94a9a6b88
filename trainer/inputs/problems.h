// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "data/dataset/dataset.h"
#include "data/dataset/mixture.h"
#include "data/tokenizer/tokenizer.h"
#include "data/trajectory.h"
#include "trainer/config/recipe.h"

namespace temper {

// A stage's problems, ready for the policy: the endless streams of procedural tasks, mixed, or of
// the tiny generator, or the problems of files, mixed, over and over, each file in an order of its own in
// each pass. Held-out problems are fixed for a run and never in a train stream.
class ProblemSource {
 public:
  struct Stream {
    std::string name;  // of the draws ("zero", "evaluation")
    Split split;
    const ContentKeys& exclude;  // problems that are left out of what is made
  };
  // Of the recipe, its seed and date. `files` are those of config, in its order, opened for this split and
  // without what is excluded. All but the config outlives it.
  static absl::StatusOr<std::unique_ptr<ProblemSource>> Make(
      const ProblemsConfig& config, const Tokenizer& tokenizer, const RecipeConfig& recipe,
      const Stream& stream, std::vector<std::shared_ptr<const ProblemFile>> files);

  // Prompts [first, first + count) of the stream; no id twice in what one call returns.
  absl::StatusOr<std::vector<Prompt>> Take(int64_t first, int64_t count);
  // Problems of the files; -1: endless.
  int64_t size() const;

 private:
  struct Source {
    std::shared_ptr<const ProblemFile> file;
    int64_t pass = -1;           // of `order`
    std::vector<int64_t> order;  // of the file's problems in that pass
  };
  ProblemSource(const ProblemsConfig& config, const Tokenizer& tokenizer, uint64_t key,
                std::optional<absl::Time> date, Split split, const ContentKeys& exclude)
      : config_(config),
        tokenizer_(tokenizer),
        key_(key),
        form_(tokenizer, config.prompt, date),
        split_(split),
        exclude_(exclude) {}
  absl::StatusOr<std::vector<Prompt>> Generate(int64_t first, int64_t count) const;
  absl::StatusOr<std::vector<Prompt>> FromTasks(int64_t first, int64_t count);
  // Of each position the first of make(position, 0), make(position, 1), .. that is new to this call and not
  // excluded; too_few(position) is the error where there is none.
  absl::StatusOr<std::vector<Prompt>> Draw(int64_t first, int64_t count,
                                           absl::FunctionRef<Prompt(int64_t, int64_t)> make,
                                           absl::FunctionRef<std::string(int64_t)> too_few) const;
  absl::StatusOr<std::vector<Prompt>> FromFiles(int64_t first, int64_t count);
  absl::StatusOr<Prompt> FromFile(int number, int64_t index);
  void Mix();

  const ProblemsConfig config_;
  const Tokenizer& tokenizer_;
  const uint64_t key_;
  const PromptForm form_;
  const Split split_;
  const ContentKeys& exclude_;
  std::vector<Source> sources_;
  std::optional<Mixture> mixture_;
};

}  // namespace temper
