// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/json/json.h"
#include "core/progress.h"
#include "data/dataset/dataset.h"
#include "data/tokenizer/tokenizer.h"
#include "trainer/config/recipe.h"
#include "trainer/inputs/problems.h"

namespace temper {

// What the stages of a run read, opened and checked as a whole before the first of them trains: every row of
// every file of problems and documents, by the stage's own rules, template and lengths. Each file is read
// once, however many stages take the same of it. What a collect stage will write is the only thing that is
// not there yet.
class Inputs {
 public:
  struct Options {
    std::string run_directory;
    std::function<bool(const std::string& stage)> finished = [](const std::string&) { return false; };
    std::function<bool()> stop = [] { return false; };
    Progress* progress = nullptr;  // of the rank that tells what it reads; null: the others
  };

  // Of the evaluations of all stages, for no stage trains on what another is measured by, and of what
  // unfinished stages train on. Errors: FILE:LINE of the first bad row; Cancelled where it was asked to stop.
  // The recipe must outlive it.
  static absl::StatusOr<std::unique_ptr<Inputs>> Open(const RecipeConfig& recipe, const Options& options);

  // The stage's own stream of the problems it trains on or collects from, without what is held out, and of
  // those that one level of its evaluation, "held_out" or "hard", measures by. It must not outlive this.
  absl::StatusOr<std::unique_ptr<ProblemSource>> TrainProblems(const StageConfig& stage) const;
  absl::StatusOr<std::unique_ptr<ProblemSource>> EvaluationProblems(const StageConfig& stage,
                                                                    const std::string& level) const;
  // The file of one of the stage's documents, of kind file.
  std::shared_ptr<const DocumentFile> Documents(const StageConfig& stage,
                                                const DocumentsConfig& config) const;

  // What the stage trains on of what it could: of each file the rows that no evaluation asks for, where it
  // makes its problems those that it may not make.
  Json RowsOf(const StageConfig& stage) const;
  // An error where that is no longer what a stage that goes on began with.
  absl::Status CheckRows(const StageConfig& stage, const Json& began) const;

  // A line a stage: what it trains on and is measured by, with counts.
  std::string Text() const;

 private:
  // How a stage's problems are read: equal texts are one opening.
  struct Reading {
    const StageConfig* stage;
    const ProblemsConfig* problems;
    RewardConfig reward;
    const SamplingConfig* sampling;
    Split split;
  };
  Inputs(const RecipeConfig& recipe, const Options& options) : recipe_(recipe), options_(options) {}
  bool AllFinished() const;
  absl::Status OpenAll();
  absl::Status OpenProblems(const Reading& reading);
  absl::Status CheckMade(const Reading& reading) const;
  absl::Status OpenDocuments(const StageConfig& stage, const SftConfig& config);
  absl::StatusOr<const Tokenizer*> TokenizerOf(const StageConfig& stage);
  std::string DirectoryOf(const StageConfig& stage) const;
  Reading Training(const StageConfig& stage) const;
  Reading Evaluation(const StageConfig& stage, bool hard) const;
  std::string KeyOf(const Reading& reading) const;
  std::string KeyOf(const StageConfig& stage, const DocumentsConfig& config) const;
  absl::StatusOr<std::unique_ptr<ProblemSource>> SourceOf(const Reading& reading,
                                                          const std::string& stream) const;
  void Tell(const std::string& path, const std::string& what, int64_t skipped,
            const std::string& first_skipped) const;

  const RecipeConfig& recipe_;
  const Options options_;
  std::map<std::string, std::unique_ptr<Tokenizer>> tokenizers_;  // by directory
  std::map<std::string, std::string> directories_;                // of tokenizers, by stage
  ContentKeys held_out_;
  std::map<std::string, std::vector<std::shared_ptr<const ProblemFile>>> problems_;  // by KeyOf
  std::map<std::string, std::shared_ptr<const DocumentFile>> documents_;             // by KeyOf
};

}  // namespace temper
