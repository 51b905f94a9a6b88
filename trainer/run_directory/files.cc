// SPDX-License-Identifier: Apache-2.0
#include "trainer/run_directory/files.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <map>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/files/file.h"
#include "core/files/sealed.h"
#include "core/json/json.h"
#include "core/log.h"
#include "core/status.h"
#include "core/text.h"
#include "core/version.h"
#include "data/record_file.h"
#include "data/tokenizer/folder.h"
#include "model/device.h"
#include "model/files/weight_files.h"
#include "trainer/measure.h"
#include "trainer/run_directory/checkpoint.h"
#include "trainer/run_directory/model_directory.h"
#include "trainer/run_directory/run_directory.h"

namespace temper {
namespace {

constexpr int64_t kIndexLimit = int64_t{64} << 20;

// What a stage reads, before it is read.
using Named = std::vector<RunFile>;

bool IsRegularFile(const std::string& path) {
  std::error_code error;
  return std::filesystem::is_regular_file(path, error);
}

// The weights' files by their names in the folder.
absl::StatusOr<std::vector<std::string>> WeightFileNames(const std::string& directory) {
  constexpr char kWhole[] = "model.safetensors", kIndex[] = "model.safetensors.index.json";
  if (FileExists(absl::StrCat(directory, "/", kWhole))) return std::vector<std::string>{kWhole};
  const std::string index = absl::StrCat(directory, "/", kIndex);
  if (!FileExists(index)) return std::vector<std::string>();
  TEMPER_ASSIGN_OR_RETURN(const std::string text, ReadFile(index, kIndexLimit));
  TEMPER_ASSIGN_OR_RETURN(const auto shard_of, ParseWeightIndex(text, index));
  std::set<std::string> names = {kIndex};
  for (const auto& [tensor, shard] : shard_of) names.insert(shard);
  return std::vector<std::string>(names.begin(), names.end());
}

// Of a program the script too: a later word of the command that is a file with a script's ending. Other words
// may name what the program writes.
bool IsProgram(const std::vector<std::string>& command, size_t i) {
  const bool script = absl::EndsWith(command[i], ".py") || absl::EndsWith(command[i], ".sh") ||
                      absl::EndsWith(command[i], ".js") || absl::EndsWith(command[i], ".pl") ||
                      absl::EndsWith(command[i], ".rb");
  return (i == 0 ? command[i].find('/') != std::string::npos : script) && IsRegularFile(command[i]);
}

// Lists what one stage reads.
class Lister {
 public:
  Lister(const RecipeConfig& recipe, const StageConfig& stage) : recipe_(recipe), stage_(stage) {}

  absl::StatusOr<Named> List() {
    if (stage_.from.empty()) {
      TEMPER_RETURN_IF_ERROR(AddModel("pretrain.init.directory", stage_.pretrain.init.directory, false));
    } else if (recipe_.StageBefore(stage_) == nullptr) {
      TEMPER_ASSIGN_OR_RETURN(const std::string directory, ModelDirectory(stage_.from));
      TEMPER_RETURN_IF_ERROR(AddModel("from", directory, true));
    }
    switch (stage_.kind) {
      case StageKind::kPretrain:
        AddDocuments("pretrain", stage_.pretrain);
        break;
      case StageKind::kSft:
        AddDocuments("sft", stage_.sft);
        break;
      case StageKind::kRl:
        AddProblems("rl.problems", stage_.rl.problems);
        AddRules("rl.reward", stage_.rl.reward);
        break;
      case StageKind::kCollect:
        AddProblems("collect.problems", stage_.collect.problems);
        AddRules("collect.reward", stage_.collect.reward);
        break;
      case StageKind::kEval:
        break;
    }
    const EvaluationConfig& evaluation = stage_.evaluation;
    if (stage_.kind == StageKind::kCollect || evaluation.HeldOutProblems() == 0) return std::move(named_);
    AddProblems("evaluation.held_out", evaluation.source);
    if (evaluation.HardProblems() > 0) AddProblems("evaluation.hard", evaluation.hard);
    AddRules("evaluation.reward", EvaluationReward(recipe_, stage_));
    return std::move(named_);
  }

 private:
  void Add(const std::string& field, const std::string& path, const std::string& name = "") {
    named_.push_back({.stage = stage_.name, .field = field, .name = name, .path = path, .sha256 = ""});
  }

  absl::Status AddModel(const std::string& field, const std::string& directory, bool weights) {
    std::vector<std::string> names = TokenizerFileNames(directory);
    for (const char* name : {"generation_config.json", "config.json"}) {
      if (FileExists(absl::StrCat(directory, "/", name))) names.insert(names.begin(), name);
    }
    if (weights) {
      TEMPER_ASSIGN_OR_RETURN(const std::vector<std::string> more, WeightFileNames(directory));
      names.insert(names.end(), more.begin(), more.end());
    }
    for (const std::string& name : names) Add(field, absl::StrCat(directory, "/", name), name);
    return absl::OkStatus();
  }

  void AddAll(const std::string& field, const std::vector<std::string>& paths) {
    for (size_t i = 0; i < paths.size(); ++i) Add(absl::StrCat(field, "[", i, "]"), paths[i]);
  }

  void AddProblems(const std::string& field, const ProblemsConfig& problems) {
    AddAll(field + ".files", problems.files);
  }

  void AddDocuments(const std::string& field, const SftConfig& config) {
    for (size_t i = 0; i < config.documents.size(); ++i) {
      const DocumentsConfig& documents = config.documents[i];
      if (documents.kind == DocumentsKind::kFile)
        Add(absl::StrCat(field, ".documents[", i, "].file"), documents.file);
    }
  }

  void AddRules(const std::string& field, const RewardConfig& reward) {
    for (size_t i = 0; i < reward.rules.size(); ++i) {
      const RuleConfig& rule = reward.rules[i];
      const std::string its = absl::StrCat(field, ".rules[", i, "].");
      if (rule.rule == "harmless") {
        if (!rule.harmless.refusals.empty()) Add(its + "refusals", rule.harmless.refusals);
        AddAll(its + "forbidden", rule.harmless.forbidden);
      }
      if (rule.rule != "process") continue;
      const std::vector<std::string>& command = rule.process.command;
      for (size_t word = 0; word < command.size(); ++word) {
        if (IsProgram(command, word)) Add(absl::StrCat(its, "command[", word, "]"), command[word]);
      }
    }
  }

  const RecipeConfig& recipe_;
  const StageConfig& stage_;
  Named named_;
};

// Shows a file that takes long, and ends it where the run is asked to stop.
std::function<absl::Status(int64_t)> HashingOf(const std::string& path, int64_t bytes,
                                               const std::function<bool()>& stop, Progress* progress) {
  const auto began = std::chrono::steady_clock::now();
  return [=, shown = false](int64_t done) mutable -> absl::Status {
    if (done % (int64_t{16} << 20) != 0) return absl::OkStatus();
    if (stop()) return absl::CancelledError("stopped on request");
    if (progress == nullptr) return absl::OkStatus();
    if (!shown && std::chrono::steady_clock::now() - began < std::chrono::seconds(2)) return absl::OkStatus();
    if (!std::exchange(shown, true))
      progress->Start(absl::StrCat("checking ", Printable(path, 1000), ", MiB"), bytes >> 20, done >> 20);
    progress->Step(done >> 20, "");
    return absl::OkStatus();
  };
}

// The programs of a stage's judges: what of which field of which stage.
void ForEachCommand(
    StageConfig& stage,
    absl::FunctionRef<void(const std::string& field, std::vector<std::string>& command)> call) {
  const std::pair<const char*, RewardConfig*> rewards[] = {
      {"rl.reward", &stage.rl.reward},
      {"collect.reward", &stage.collect.reward},
      {"evaluation.reward", stage.evaluation.reward ? &*stage.evaluation.reward : nullptr}};
  for (const auto& [field, reward] : rewards) {
    for (size_t i = 0; reward != nullptr && i < reward->rules.size(); ++i) {
      if (reward->rules[i].rule == "process")
        call(absl::StrCat(field, ".rules[", i, "].command"), reward->rules[i].process.command);
    }
  }
}

std::string ProgramName(const std::string& path) { return path.substr(path.rfind('/') + 1); }

const RunFile* FindFile(const RunFiles& all, const RunFile& like) {
  for (const RunFile& file : all.files) {
    if (file.stage == like.stage && file.field == like.field && file.name == like.name) return &file;
  }
  return nullptr;
}

// Whether nothing of a finished stage is read again: not even more updates may be asked for.
bool IsSettled(const RecipeConfig& recipe, size_t i, const std::string& run_directory) {
  if (!FileExists(StageDonePath(StageDirectory(run_directory, recipe.stages[i].name)))) return false;
  if (i + 1 == recipe.stages.size()) return false;
  const std::string next = StageDirectory(run_directory, recipe.stages[i + 1].name);
  const absl::StatusOr<std::string> checkpoint = LatestCheckpoint(CheckpointsDirectory(next));
  return FileExists(StageDonePath(next)) || (checkpoint.ok() && !checkpoint->empty());
}

// The field as it stands in a config: without the number of an item.
bool IsOf(const RunFile& file, const std::string& stage, const std::string& field) {
  return file.stage == stage && (file.field == field || absl::StartsWith(file.field, field + "["));
}

std::string Short(const std::string& sha256) { return sha256.substr(0, 12); }

// "finished", "step-000004, SHA-256 of its state", "not begun".
std::string HowFar(const std::string& directory, std::string* where) {
  if (FileExists(StageDonePath(directory))) {
    *where = StageDonePath(directory);
    return Sha256OfFile(*where).value_or("unreadable");
  }
  const std::string checkpoint = LatestCheckpoint(CheckpointsDirectory(directory)).value_or("");
  if (checkpoint.empty()) return "not begun";
  *where = StatePath(checkpoint);
  return Sha256OfFile(*where).value_or("unreadable");
}

}  // namespace

std::vector<std::string> RunFiles::Differences(const RunFiles& kept, const std::string& stage, bool begun,
                                               const std::set<std::string>& fields) const {
  std::vector<std::string> lines;
  const auto passed = [&](const RunFile& file) {
    return file.stage != stage || std::any_of(fields.begin(), fields.end(), [&](const std::string& field) {
             return IsOf(file, stage, field);
           });
  };
  const auto add = [&](const RunFile& file, const std::string& what, const char* advice) {
    lines.push_back(absl::StrCat(Printable(file.path, 1000), ": ", what, " (stages.", stage, ".", file.field,
                                 ")", begun ? absl::StrCat(": ", advice, ", or use another --run-dir") : ""));
  };
  for (const RunFile& was : kept.files) {
    if (passed(was)) continue;
    const RunFile* is = FindFile(*this, was);
    if (is == nullptr) {
      add(was, begun ? absl::StrCat("is missing, and stage ", stage, " began with it") : "is gone",
          "restore it");
    } else if (is->sha256 != was.sha256) {
      const std::string what = begun ? absl::StrCat("is not the file that stage ", stage, " began with")
                                     : std::string("is another file");
      add(*is, absl::StrCat(what, ": SHA-256 ", Short(was.sha256), " then, ", Short(is->sha256), " now"),
          "restore it");
    }
  }
  for (const RunFile& is : files) {
    if (passed(is) || FindFile(kept, is) != nullptr) continue;
    add(is, begun ? absl::StrCat("was not there when stage ", stage, " began") : "is new", "move it away");
  }
  return lines;
}

bool RunFiles::Moved(const RunFiles& kept, const std::string& stage, const std::string& field) const {
  const auto contents = [&](const std::vector<RunFile>& all) {
    std::set<std::string> set;
    for (const RunFile& file : all) {
      if (IsOf(file, stage, field)) set.insert(absl::StrCat(file.field, "/", file.name, "\n", file.sha256));
    }
    return set;
  };
  const std::set<std::string> was = contents(kept.files);
  return !was.empty() && was == contents(files);
}

bool RunFiles::Gone(const RunFiles& kept, const std::string& stage, const std::string& field) const {
  const auto has = [&](const std::vector<RunFile>& all) {
    return std::any_of(all.begin(), all.end(), [&](const RunFile& file) { return IsOf(file, stage, field); });
  };
  return has(kept.files) && !has(files);
}

std::string RunFiles::Text() const {
  std::string text = absl::StrCat("{\n\"temper\": ", DumpJson(temper),
                                  ",\n\"numerics\": ", DumpJson(numerics), ",\n\"files\": [");
  for (size_t i = 0; i < files.size(); ++i) {
    const RunFile& file = files[i];
    absl::StrAppend(&text, i == 0 ? "\n" : ",\n",
                    DumpJson(Json{{"stage", file.stage},
                                  {"field", file.field},
                                  {"name", file.name},
                                  {"path", file.path},
                                  {"bytes", file.bytes},
                                  {"sha256", file.sha256}}));
  }
  return SealedJson(text + "\n]");
}

StageConfig WithProgramsByContent(StageConfig stage, const std::vector<const RunFiles*>& known) {
  ForEachCommand(stage, [&](const std::string& field, std::vector<std::string>& command) {
    for (size_t word = 0; word < command.size(); ++word) {
      const RunFile like{
          .stage = stage.name, .field = absl::StrCat(field, "[", word, "]"), .name = "", .path = ""};
      for (const RunFiles* files : known) {
        const RunFile* file = FindFile(*files, like);
        if (file == nullptr || file->path != command[word]) continue;
        command[word] = absl::StrCat(ProgramName(file->path), " (SHA-256 ", Short(file->sha256), ")");
        break;
      }
    }
  });
  return stage;
}

absl::Status CheckPrograms(const RunFiles& files, const std::string& stage) {
  for (const RunFile& file : files.files) {
    if (file.stage != stage || !absl::StrContains(file.field, "].command[")) continue;
    TEMPER_ASSIGN_OR_RETURN(const std::string now, Sha256OfFile(file.path));
    if (now == file.sha256) continue;
    return absl::FailedPreconditionError(
        absl::StrCat(Printable(file.path, 1000), ": was replaced while the run goes on (stages.", stage, ".",
                     file.field, "): SHA-256 ", Short(file.sha256), " at the start, ", Short(now),
                     " now: restore it and start again"));
  }
  return absl::OkStatus();
}

absl::StatusOr<RunFiles> KeptFiles(const std::string& run_directory) {
  RunFiles kept;
  const std::string path = FilesPath(run_directory);
  if (!FileExists(path)) return kept;
  TEMPER_ASSIGN_OR_RETURN(const Json json, ReadSealedJson(path));
  TEMPER_ASSIGN_OR_RETURN(kept.temper, GetString(json, "temper", path));
  TEMPER_ASSIGN_OR_RETURN(kept.numerics, GetString(json, "numerics", path));
  const Json* files = Find(json, "files");
  if (files == nullptr || !files->is_array())
    return absl::DataLossError(absl::StrCat(path, ": files: is no list; restore it from a copy"));
  for (const Json& row : *files) {
    RunFile& file = kept.files.emplace_back();
    const std::pair<const char*, std::string*> texts[] = {{"stage", &file.stage},
                                                          {"field", &file.field},
                                                          {"name", &file.name},
                                                          {"path", &file.path},
                                                          {"sha256", &file.sha256}};
    for (const auto& [key, value] : texts) {
      TEMPER_ASSIGN_OR_RETURN(*value, GetString(row, key, path));
    }
    TEMPER_ASSIGN_OR_RETURN(file.bytes, GetInt(row, "bytes", path));
  }
  return kept;
}

absl::StatusOr<RunFiles> ReadRunFiles(const RecipeConfig& recipe, const std::string& run_directory,
                                      bool exact, const std::function<bool()>& stop, Progress* progress) {
  TEMPER_ASSIGN_OR_RETURN(const RunFiles kept, KeptFiles(run_directory));
  RunFiles now;
  now.temper = kVersion;
  now.numerics = NumericsText(recipe, exact);
  std::map<std::string, std::string> sums;  // by path
  for (size_t i = 0; i < recipe.stages.size(); ++i) {
    const bool settled = IsSettled(recipe, i, run_directory);
    const bool finished = FileExists(StageDonePath(StageDirectory(run_directory, recipe.stages[i].name)));
    absl::StatusOr<Named> named = Lister(recipe, recipe.stages[i]).List();
    if (!named.ok() && finished) continue;
    TEMPER_RETURN_IF_ERROR(named.status());
    for (RunFile& file : *named) {
      const RunFile* was = FindFile(kept, file);
      if (finished && !FileExists(file.path)) {
        if (progress != nullptr)
          LogInfo(Printable(file.path, 1000), ": is not there any more, and only stage ", file.stage,
                  ", which is finished, read it");
        continue;
      }
      if (settled && (was == nullptr || was->path == file.path)) continue;
      std::error_code unknown;
      file.bytes = static_cast<int64_t>(std::filesystem::file_size(file.path, unknown));
      if (sums.count(file.path) == 0) {
        const absl::StatusOr<std::string> sum =
            Sha256OfFile(file.path, HashingOf(file.path, file.bytes, stop, progress));
        if (progress != nullptr) progress->Finish();
        TEMPER_RETURN_IF_ERROR(sum.status());
        sums[file.path] = *sum;
      }
      file.sha256 = sums[file.path];
      now.files.push_back(std::move(file));
    }
  }
  return now;
}

std::string NumericsText(const RecipeConfig& recipe, bool exact) {
  if (!exact) return NotExactText(recipe.device);
  return absl::StrCat(recipe.bf16() ? "bf16 weights" : "f32",
                      recipe.cache == kernels::Type::kBf16 ? ", bf16 cache" : "", ", exact, numerics ",
                      kNumerics);
}

std::vector<Held> HeldOfRecipe(const RecipeConfig& recipe, bool exact) {
  std::vector<Held> held = {{"temper's version", kVersion, ""},
                            {"the numerics", NumericsText(recipe, exact), ""}};
  RecipeConfig copy = recipe;
  // What a judge's program is, its sum says later.
  for (StageConfig& stage : copy.stages) {
    ForEachCommand(stage, [](const std::string&, std::vector<std::string>& command) {
      for (size_t word = 0; word < command.size(); ++word) {
        if (IsProgram(command, word)) command[word] = ProgramName(command[word]);
      }
    });
  }
  for (const FieldChange& field :
       CompareFields([](FieldVisitor&) {}, [&](FieldVisitor& v) { copy.Fields(v); })) {
    if (!field.place) held.push_back({"the recipe's " + field.path, field.after, ""});
  }
  for (const StageConfig& stage : recipe.stages) {
    const StageConfig* before = recipe.StageBefore(stage);
    if (before != nullptr)
      held.push_back({absl::StrCat("the recipe's stages.", stage.name, ".from"), before->name, ""});
  }
  return held;
}

std::vector<Held> HeldOfFiles(const RecipeConfig& recipe, const std::string& run_directory,
                              const RunFiles& files) {
  std::vector<Held> held;
  for (const StageConfig& stage : WithMeasuredStarts(recipe).stages) {
    std::string where;
    const std::string how_far = HowFar(StageDirectory(run_directory, stage.name), &where);
    held.push_back({absl::StrCat("what the run directory has of stage ", stage.name), how_far, where});
  }
  for (const RunFile& file : files.files) {
    held.push_back(
        {absl::StrCat(file.name, file.name.empty() ? "" : " in ", "stages.", file.stage, ".", file.field),
         file.sha256, file.path});
  }
  return held;
}

}  // namespace temper
