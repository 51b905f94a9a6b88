// SPDX-License-Identifier: Apache-2.0
#include "trainer/inputs/inputs.h"

#include <algorithm>
#include <chrono>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/check.h"
#include "core/config/config.h"
#include "core/files/file.h"
#include "core/json/json.h"
#include "core/log.h"
#include "core/status.h"
#include "core/text.h"
#include "rewards/pool.h"
#include "trainer/collect.h"
#include "trainer/inputs/documents.h"
#include "trainer/measure.h"
#include "trainer/recipe.h"
#include "trainer/run_directory/checkpoint.h"
#include "trainer/run_directory/model_directory.h"
#include "trainer/run_directory/run_directory.h"
#include "trainer/run_directory/stage_model.h"

namespace temper {
namespace {

bool Samples(const StageConfig& stage) {
  return stage.kind == StageKind::kRl || stage.kind == StageKind::kCollect;
}

const SftConfig* SftOf(const StageConfig& stage) {
  if (stage.kind == StageKind::kSft) return &stage.sft;
  return stage.kind == StageKind::kPretrain ? &stage.pretrain : nullptr;
}

// Shows a file that takes long to read, and ends it where the run is asked to stop.
RowProgress ReadingOf(const std::string& path, const Inputs::Options& options) {
  const auto began = std::chrono::steady_clock::now();
  return [path, began, options, shown = false](int64_t row, int64_t rows) mutable -> absl::Status {
    if (options.stop()) return absl::CancelledError("stopped on request");
    if (row % 1024 != 0 || options.progress == nullptr) return absl::OkStatus();
    if (!shown && std::chrono::steady_clock::now() - began < std::chrono::seconds(2)) return absl::OkStatus();
    if (!std::exchange(shown, true)) options.progress->Start(absl::StrCat("reading ", path), rows, row);
    options.progress->Step(row, "");
    return absl::OkStatus();
  };
}

std::string Names(const std::vector<std::string>& names) { return absl::StrJoin(names, " + "); }

// "train.jsonl (90)", "countdown, level 2", "the tiny generator"; of an evaluation with its size.
std::string SourceText(const ProblemsConfig& problems,
                       const std::vector<std::shared_ptr<const ProblemFile>>& files) {
  if (!problems.tasks.empty()) return absl::StrCat(Names(problems.tasks), ", level ", problems.level);
  if (problems.files.empty()) return "generator tiny";
  std::vector<std::string> names;
  for (size_t i = 0; i < files.size(); ++i)
    names.push_back(absl::StrCat(Printable(problems.files[i], 200), " (", files[i]->size(), ")"));
  return Names(names);
}

}  // namespace

bool Inputs::AllFinished() const {
  return std::all_of(recipe_.stages.begin(), recipe_.stages.end(),
                     [&](const StageConfig& stage) { return options_.finished(stage.name); });
}

absl::StatusOr<std::unique_ptr<Inputs>> Inputs::Open(const RecipeConfig& recipe, const Options& options) {
  auto inputs = std::unique_ptr<Inputs>(new Inputs(recipe, options));
  TEMPER_RETURN_IF_ERROR(inputs->OpenAll());
  return inputs;
}

Inputs::Reading Inputs::Training(const StageConfig& stage) const {
  const bool collects = stage.kind == StageKind::kCollect;
  return {&stage, collects ? &stage.collect.problems : &stage.rl.problems,
          collects ? stage.collect.reward : stage.rl.reward,
          collects ? &stage.collect.sampling : &stage.rl.sampling, Split::kTrain};
}

Inputs::Reading Inputs::Evaluation(const StageConfig& stage, bool hard) const {
  return {&stage, hard ? &stage.evaluation.hard : &stage.evaluation.source, EvaluationReward(recipe_, stage),
          &stage.evaluation.sampling, Split::kHeldOut};
}

absl::Status Inputs::OpenAll() {
  if (AllFinished()) return absl::OkStatus();
  for (const StageConfig& stage : recipe_.stages) {
    if (stage.kind == StageKind::kCollect) continue;
    if (stage.evaluation.HeldOutProblems() > 0)
      TEMPER_RETURN_IF_ERROR(OpenProblems(Evaluation(stage, false)));
    if (stage.evaluation.HardProblems() > 0) TEMPER_RETURN_IF_ERROR(OpenProblems(Evaluation(stage, true)));
  }
  for (const StageConfig& stage : recipe_.stages) {
    if (options_.finished(stage.name)) continue;
    if (Samples(stage)) TEMPER_RETURN_IF_ERROR(OpenProblems(Training(stage)));
    if (const SftConfig* sft = SftOf(stage)) TEMPER_RETURN_IF_ERROR(OpenDocuments(stage, *sft));
  }
  return absl::OkStatus();
}

// Where a stage's tokenizer is now: the newest checkpoint of it or of what it comes from, else the model
// directory that all of them began with.
std::string Inputs::DirectoryOf(const StageConfig& stage) const {
  const absl::StatusOr<std::string> checkpoint =
      LatestCheckpoint(CheckpointsDirectory(StageDirectory(options_.run_directory, stage.name)));
  if (checkpoint.ok() && !checkpoint->empty()) return *checkpoint;
  if (const StageConfig* before = recipe_.StageBefore(stage)) return DirectoryOf(*before);
  if (stage.from.empty()) return stage.pretrain.init.directory;
  const std::string from = ModelDirectory(stage.from).value_or(stage.from);
  const std::string other =
      FileExists(from) ? "" : CheckpointInPlaceOf(recipe_, stage, options_.run_directory);
  return other.empty() ? from : other;
}

absl::StatusOr<const Tokenizer*> Inputs::TokenizerOf(const StageConfig& stage) {
  const std::string directory = DirectoryOf(stage);
  directories_[stage.name] = directory;
  std::unique_ptr<Tokenizer>& tokenizer = tokenizers_[directory];
  if (tokenizer == nullptr) {
    TEMPER_ASSIGN_OR_RETURN(tokenizer, Tokenizer::Load(directory));
  }
  return tokenizer.get();
}

std::string Inputs::KeyOf(const Reading& reading) const {
  return absl::StrCat(directories_.at(reading.stage->name), "\n", static_cast<int>(reading.split), " ",
                      reading.sampling->max_new_tokens, "\n", WriteConfig(*reading.problems),
                      WriteConfig(reading.reward));
}

std::string Inputs::KeyOf(const StageConfig& stage, const DocumentsConfig& config) const {
  DocumentsConfig read = config;
  read.count = 0;
  return absl::StrCat(directories_.at(stage.name), "\n", WriteConfig(read));
}

absl::Status Inputs::OpenProblems(const Reading& reading) {
  TEMPER_ASSIGN_OR_RETURN(const Tokenizer* const tokenizer, TokenizerOf(*reading.stage));
  const auto [entry, is_new] = problems_.try_emplace(KeyOf(reading));
  if (reading.problems->files.empty()) return CheckMade(reading);
  if (!is_new) return absl::OkStatus();
  TEMPER_ASSIGN_OR_RETURN(const ModelConfig model, ModelOf(recipe_, *reading.stage, options_.run_directory));
  TEMPER_ASSIGN_OR_RETURN(const std::vector<std::unique_ptr<Reward>> rules, MakeRules(reading.reward));
  ProblemFileOptions options = reading.problems->FileOptions();
  options.side = reading.split;
  options.now = recipe_.Date();
  if (model.max_positions > 0)
    options.max_tokens = std::max<int64_t>(1, model.max_positions - reading.sampling->max_new_tokens);
  options.check = [&](const Prompt& prompt) {
    for (const std::unique_ptr<Reward>& rule : rules) TEMPER_RETURN_IF_ERROR(rule->CheckAnswer(prompt));
    return absl::OkStatus();
  };
  // What measures is opened first, so that its keys are all there when what is trained on is opened.
  const bool trains = reading.split == Split::kTrain;
  if (trains) options.exclude = &held_out_;
  if (!trains) options.keys = &held_out_;
  for (const std::string& path : reading.problems->files) {
    options.progress = ReadingOf(path, options_);
    absl::StatusOr<std::unique_ptr<ProblemFile>> file = ProblemFile::Open(path, *tokenizer, options);
    if (options_.progress != nullptr) options_.progress->Finish();
    TEMPER_RETURN_IF_ERROR(file.status());
    std::string what = absl::StrCat((*file)->size(), " problems (", (*file)->fields(), ")");
    if ((*file)->excluded() > 0)
      absl::StrAppend(&what, "; ", (*file)->excluded(), " that evaluations ask are left out");
    Tell(path, what, (*file)->skipped_lines(), (*file)->first_skipped());
    if ((*file)->size() == 0) {
      return absl::InvalidArgumentError(
          absl::StrCat(Printable(path, 1000), ": there is no problem in it",
                       (*file)->excluded() > 0 ? " that no evaluation asks" : ""));
    }
    TEMPER_ASSIGN_OR_RETURN(const Prompt first, (*file)->Read(0));
    if (options_.progress != nullptr) LogInfo(FirstPromptText(path, first));
    entry->second.push_back(*std::move(file));
  }
  return absl::OkStatus();
}

// Whether a generator has as many different problems as the stage takes at once.
absl::Status Inputs::CheckMade(const Reading& reading) const {
  const StageConfig& stage = *reading.stage;
  int64_t count = stage.rl.prompts_per_step * stage.rl.updates_per_rollout;
  if (stage.kind == StageKind::kCollect) count = std::min(kCollectedTogether, stage.collect.prompts);
  std::string stream = stage.name;
  if (reading.split == Split::kHeldOut) {
    const bool hard = reading.problems == &stage.evaluation.hard;
    count = hard ? stage.evaluation.HardProblems() : stage.evaluation.HeldOutProblems();
    stream = hard ? "evaluation/hard" : "evaluation/held_out";
  }
  TEMPER_ASSIGN_OR_RETURN(const std::unique_ptr<ProblemSource> source, SourceOf(reading, stream));
  TEMPER_ASSIGN_OR_RETURN(const std::vector<Prompt> prompts, source->Take(0, count));
  return absl::OkStatus();
}

absl::Status Inputs::OpenDocuments(const StageConfig& stage, const SftConfig& config) {
  TEMPER_ASSIGN_OR_RETURN(const Tokenizer* const tokenizer, TokenizerOf(stage));
  for (size_t number = 0; number < config.documents.size(); ++number) {
    const DocumentsConfig& documents = config.documents[number];
    if (documents.kind != DocumentsKind::kFile) continue;
    std::shared_ptr<const DocumentFile>& opened = documents_[KeyOf(stage, documents)];
    if (opened == nullptr) {
      TEMPER_ASSIGN_OR_RETURN(const ModelConfig model, ModelOf(recipe_, stage, options_.run_directory));
      DocumentFileOptions options;
      options.prompt = documents.prompt;
      options.skip_bad_lines = documents.skip_bad_lines;
      options.max_tokens = model.max_positions;
      options.exclude = &held_out_;
      options.now = recipe_.Date();
      options.progress = ReadingOf(documents.file, options_);
      absl::StatusOr<std::unique_ptr<DocumentFile>> file =
          DocumentFile::Open(documents.file, *tokenizer, options);
      if (options_.progress != nullptr) options_.progress->Finish();
      TEMPER_RETURN_IF_ERROR(file.status());
      opened = *std::move(file);
      std::string what = absl::StrCat(opened->size(), " documents");
      if (opened->excluded() > 0)
        absl::StrAppend(&what, "; ", opened->excluded(), " on problems that evaluations ask are left out");
      Tell(documents.file, what, opened->skipped_lines(), opened->first_skipped());
      if (opened->size() == 0)
        return absl::InvalidArgumentError(
            absl::StrCat(Printable(documents.file, 1000), ": there is no document in it"));
      TEMPER_ASSIGN_OR_RETURN(const Document first, opened->Read(0));
      if (options_.progress != nullptr) LogInfo(FirstDocumentText(documents.file, first, *tokenizer));
    }
    TEMPER_RETURN_IF_ERROR(CheckDocumentCount(stage, number, opened->size()));
  }
  return absl::OkStatus();
}

void Inputs::Tell(const std::string& path, const std::string& what, int64_t skipped,
                  const std::string& first_skipped) const {
  if (options_.progress == nullptr) return;
  LogInfo(Printable(path, 1000), ": ", what);
  if (skipped > 0)
    LogWarning(Printable(path, 1000), ": ", skipped, " bad lines skipped; the first: ", first_skipped);
}

absl::StatusOr<std::unique_ptr<ProblemSource>> Inputs::SourceOf(const Reading& reading,
                                                                const std::string& stream) const {
  const auto files = problems_.find(KeyOf(reading));
  TEMPER_CHECK(files != problems_.end(), "problems of ", reading.stage->name, " were not opened");
  static const ContentKeys* const none = new ContentKeys();  // sources keep a reference
  return ProblemSource::Make(
      *reading.problems, *tokenizers_.at(directories_.at(reading.stage->name)), recipe_,
      {stream, reading.split, reading.split == Split::kTrain ? held_out_ : *none}, files->second);
}

absl::StatusOr<std::unique_ptr<ProblemSource>> Inputs::TrainProblems(const StageConfig& stage) const {
  return SourceOf(Training(stage), stage.name);
}

absl::StatusOr<std::unique_ptr<ProblemSource>> Inputs::EvaluationProblems(const StageConfig& stage,
                                                                          const std::string& level) const {
  return SourceOf(Evaluation(stage, level == "hard"), absl::StrCat("evaluation/", level));
}

std::shared_ptr<const DocumentFile> Inputs::Documents(const StageConfig& stage,
                                                      const DocumentsConfig& config) const {
  return documents_.at(KeyOf(stage, config));
}

Json Inputs::RowsOf(const StageConfig& stage) const {
  Json rows = Json::array();
  if (Samples(stage)) {
    const auto files = problems_.find(KeyOf(Training(stage)));
    TEMPER_CHECK(files != problems_.end(), "problems of ", stage.name, " were not opened");
    for (const auto& file : files->second) rows.push_back({file->size(), file->rows_sum()});
    uint64_t sum = 0;  // in any order
    for (const uint64_t key : held_out_) sum += key;
    if (files->second.empty()) rows.push_back({held_out_.size(), sum});
  }
  const SftConfig* const sft = SftOf(stage);
  for (size_t i = 0; sft != nullptr && i < sft->documents.size(); ++i) {
    if (sft->documents[i].kind != DocumentsKind::kFile) continue;
    const auto file = Documents(stage, sft->documents[i]);
    rows.push_back({file->size(), file->rows_sum()});
  }
  return rows;
}

absl::Status Inputs::CheckRows(const StageConfig& stage, const Json& began) const {
  const Json now = RowsOf(stage);
  if (began.is_null() || began == now) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("stage ", stage.name,
                   ": what evaluations ask is left out of what it trains on, and they ask for "
                   "something else than when it began (rows and their sums ",
                   DumpJson(began), " then, ", DumpJson(now),
                   " now): set back what the evaluations of all stages read, or use another --run-dir"));
}

std::string Inputs::Text() const {
  if (AllFinished()) return "what the stages read: nothing, all are finished";
  std::string text = "what the stages read:";
  for (const StageConfig& stage : recipe_.stages) {
    std::vector<std::string> parts;
    if (Samples(stage) && !options_.finished(stage.name)) {
      const Reading reading = Training(stage);
      parts.push_back(
          absl::StrCat("problems: ", SourceText(*reading.problems, problems_.at(KeyOf(reading)))));
    }
    if (const SftConfig* sft = SftOf(stage); sft != nullptr && !options_.finished(stage.name)) {
      std::vector<std::string> names;
      for (const DocumentsConfig& d : sft->documents) {
        const int64_t all = d.kind == DocumentsKind::kFile ? documents_.at(KeyOf(stage, d))->size() : 0;
        names.push_back(absl::StrCat(d.kind == DocumentsKind::kFile      ? Printable(d.file, 200)
                                     : d.kind == DocumentsKind::kCollect ? "dataset of " + d.stage
                                                                         : NameIn(kDocumentsKinds, d.kind),
                                     d.count > 0 ? absl::StrCat(" (", d.count, ")")
                                     : all > 0   ? absl::StrCat(" (", all, ")")
                                                 : ""));
      }
      parts.push_back(absl::StrCat("documents: ", Names(names)));
    }
    const EvaluationConfig& e = stage.evaluation;
    const auto measured = [&](const char* name, bool hard, int64_t problems, int64_t samples) {
      if (problems == 0) return;
      const Reading reading = Evaluation(stage, hard);
      const auto& files = problems_.at(KeyOf(reading));
      int64_t there = files.empty() ? problems : 0;
      for (const auto& file : files) there += file->size();
      parts.push_back(absl::StrCat(name, ": ", SourceText(*reading.problems, files), ", ",
                                   std::min(problems, there), " x ", samples));
    };
    if (stage.kind != StageKind::kCollect) {
      measured("evaluation", false, e.HeldOutProblems(), e.samples_per_prompt);
      measured("harder", true, e.HardProblems(), e.hard_samples_per_prompt);
      if (e.HeldOutProblems() == 0)
        parts.push_back(e.source.is_given() ? "no evaluation (evaluation.problems is 0)"
                                            : "no evaluation (evaluation.held_out names no problems)");
    }
    absl::StrAppend(&text, "\n  ", stage.name, " (", NameIn(kStageKinds, stage.kind),
                    "): ", absl::StrJoin(parts, "; "));
  }
  return text;
}

}  // namespace temper
