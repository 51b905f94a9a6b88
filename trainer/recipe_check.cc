// SPDX-License-Identifier: Apache-2.0
// What a recipe's fields must be together, before anything is allocated.
#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "core/files/file.h"
#include "core/status.h"
#include "core/text.h"
#include "core/version.h"
#include "data/tasks/procedural.h"
#include "model/device.h"
#include "model/files/weight_files.h"
#include "model/parameters.h"
#include "rewards/rule.h"
#include "trainer/measure.h"
#include "trainer/plan/plan.h"
#include "trainer/recipe.h"
#include "trainer/run_directory/keep_best.h"
#include "trainer/run_directory/model_directory.h"
#include "trainer/run_directory/run_directory.h"
#include "trainer/run_directory/stage_model.h"

namespace temper {
namespace {

// The order of a pass takes 8 bytes a document.
constexpr int64_t kMostDocuments = 100'000'000;

// " (neither beside the recipe nor in FOLDER)", of a relative path that was not found.
std::string Sought(const std::string& path) {
  std::error_code unknown;
  const std::filesystem::path folder = std::filesystem::current_path(unknown);
  if (path.empty() || std::filesystem::path(path).is_absolute()) return "";
  return absl::StrCat(" (neither beside the recipe nor in ", Printable(folder.string(), 1000), ")");
}

bool IsFileBeside(const std::filesystem::path& folder, const std::string& path) {
  std::error_code none;
  return std::filesystem::is_regular_file(folder / path, none) ||
         std::filesystem::is_regular_file(path, none);
}

// The paths of a recipe, as far as something is there, become absolute.
void ResolvePaths(const std::filesystem::path& folder, RecipeConfig* recipe) {
  const auto resolve = [&](std::string* path) {
    if (path->empty() || std::filesystem::path(*path).is_absolute()) return;
    for (const std::filesystem::path& at : {folder / *path, std::filesystem::path(*path)}) {
      std::error_code error;
      if (!std::filesystem::exists(at, error)) continue;
      const std::filesystem::path absolute = std::filesystem::absolute(at, error);
      if (!error) *path = absolute.lexically_normal().string();
      return;
    }
  };
  const auto resolve_all = [&](std::vector<std::string>* paths) {
    for (std::string& path : *paths) resolve(&path);
  };
  const auto resolve_rules = [&](RewardConfig* reward) {
    for (RuleConfig& rule : reward->rules) {
      resolve(&rule.harmless.refusals);
      resolve_all(&rule.harmless.forbidden);
      // What of a judge's command is a file: its script. A program without a folder is sought in PATH.
      std::vector<std::string>& command = rule.process.command;
      for (size_t i = 0; i < command.size(); ++i) {
        if (i > 0 ? IsFileBeside(folder, command[i]) : absl::StrContains(command[i], '/'))
          resolve(&command[i]);
      }
    }
  };
  const auto resolve_evaluation = [&](EvaluationConfig* evaluation) {
    resolve_all(&evaluation->source.files);
    resolve_all(&evaluation->hard.files);
  };
  resolve_evaluation(&recipe->evaluation);
  resolve_all(&recipe->rl.problems.files);
  resolve_rules(&recipe->rl.reward);
  std::set<std::string> earlier;
  for (StageConfig& stage : recipe->stages) {
    if (!earlier.contains(stage.from)) resolve(&stage.from);
    earlier.insert(stage.name);
    resolve(&stage.pretrain.init.directory);
    for (SftConfig* sft : {&stage.sft, static_cast<SftConfig*>(&stage.pretrain)}) {
      for (DocumentsConfig& documents : sft->documents) resolve(&documents.file);
    }
    for (ProblemsConfig* problems : {&stage.rl.problems, &stage.collect.problems})
      resolve_all(&problems->files);
    for (RewardConfig* reward : {&stage.rl.reward, &stage.collect.reward}) resolve_rules(reward);
    resolve_evaluation(&stage.evaluation);
  }
}

// Overrides of defaults that a stage has a field of its own for.
std::vector<std::string> HiddenOverrides(const RecipeConfig& recipe,
                                         const std::vector<std::string>& overrides,
                                         const ConfigPlaces& places) {
  std::vector<std::string> notes;
  for (const std::string& override : overrides) {
    const std::string key = override.substr(0, override.find('='));
    const bool is_rl = absl::StartsWith(key, "rl."), is_evaluation = absl::StartsWith(key, "evaluation.");
    if (!is_rl && !is_evaluation) continue;
    std::vector<std::string> stages;
    for (const StageConfig& stage : recipe.stages) {
      const bool takes = is_rl ? stage.kind == StageKind::kRl : stage.kind != StageKind::kCollect;
      if (takes && places.Says(absl::StrCat("stages.", stage.name, ".", key))) stages.push_back(stage.name);
    }
    if (stages.empty()) continue;
    notes.push_back(absl::StrCat("--set ", Printable(override), ": ", absl::StrJoin(stages, ", "),
                                 stages.size() == 1 ? " has " : " have ", "another value, stages.", stages[0],
                                 ".", key, ", which stands"));
  }
  return notes;
}

class Checker {
 public:
  Checker(const RecipeConfig& recipe, int ranks, const ConfigPlaces& places, const std::string& run_directory)
      : recipe_(recipe), ranks_(ranks), places_(places), run_directory_(run_directory) {}

  absl::Status Check() {
    if (recipe_.numerics != kNumerics)
      return Fault("numerics",
                   absl::StrCat("is ", recipe_.numerics, ", and this temper has numerics ", kNumerics,
                                ", other bits: leave it out, or use the temper that has them"));
    if (const absl::Status device = CheckDeviceName(recipe_.device); !device.ok())
      return Fault("device", device.message());
    if (!recipe_.date.empty() && !recipe_.Date())
      return Fault("date", absl::StrCat(Printable(recipe_.date, 60), " is no day: YYYY-MM-DD"));
    TEMPER_RETURN_IF_ERROR(CheckMesh());
    if (recipe_.stages.empty()) return Fault("stages", "there is none");
    for (const StageConfig& stage : recipe_.stages) TEMPER_RETURN_IF_ERROR(CheckStage(stage));
    for (const StageConfig& stage : recipe_.stages) {
      if (IsFinished(stage)) continue;
      TEMPER_RETURN_IF_ERROR(CheckMeasure(stage));
      TEMPER_RETURN_IF_ERROR(CheckBest(stage));
    }
    return absl::OkStatus();
  }

 private:
  bool IsFinished(const StageConfig& stage) const {
    return !run_directory_.empty() && FileExists(StageDonePath(StageDirectory(run_directory_, stage.name)));
  }

  // It was checked before it began. Later stages leave out what measured it.
  absl::Status CheckFinished(const StageConfig& stage) {
    earlier_[stage.name] = stage.kind;
    const bool all_are = std::all_of(recipe_.stages.begin(), recipe_.stages.end(),
                                     [&](const StageConfig& each) { return IsFinished(each); });
    if (all_are || stage.kind == StageKind::kCollect) return absl::OkStatus();
    const EvaluationConfig& evaluation = stage.evaluation;
    if (evaluation.HeldOutProblems() > 0)
      TEMPER_RETURN_IF_ERROR(CheckProblems(stage, "evaluation.held_out", evaluation.source));
    if (evaluation.HardProblems() > 0)
      TEMPER_RETURN_IF_ERROR(CheckProblems(stage, "evaluation.hard", evaluation.hard));
    return absl::OkStatus();
  }

  absl::Status CheckMesh() const {
    const absl::StatusOr<MeshSizes> sizes = Resolve(recipe_.mesh, ranks_);
    if (!sizes.ok()) return Fault("mesh", sizes.status().message());
    const auto apart = recipe_.MeshApart(ranks_);
    if (!apart.ok()) return Fault("rollout.mesh", apart.status().message());
    if (*apart && recipe_.device != "cpu")
      return Fault("rollout.mesh", absl::StrCat("is another one than mesh on device ", recipe_.device,
                                                ": ranks share weights out on the CPU only; leave it out"));
    for (const Axis axis : {Axis::kDpShard, Axis::kPp, Axis::kTp, Axis::kEp, Axis::kCp}) {
      if ((*sizes)[axis] == 1 || recipe_.device == "cpu") continue;
      return Fault(absl::StrCat("mesh.", AxisName(axis)),
                   absl::StrCat("is ", (*sizes)[axis], " on device ", recipe_.device,
                                ": ranks share weights out on the CPU only; set it to 1"));
    }
    return absl::OkStatus();
  }

  absl::Status CheckStage(const StageConfig& stage) {
    TEMPER_RETURN_IF_ERROR(CheckName(stage));
    if (IsFinished(stage)) return CheckFinished(stage);
    TEMPER_RETURN_IF_ERROR(CheckFrom(stage));
    switch (stage.kind) {
      case StageKind::kPretrain:
        TEMPER_RETURN_IF_ERROR(CheckDocuments(stage, "pretrain", stage.pretrain));
        if (stage.from.empty() && !FileExists(stage.pretrain.init.directory + "/config.json")) {
          return Error(stage, "pretrain.init.directory",
                       absl::StrCat(Printable(stage.pretrain.init.directory), " has no config.json",
                                    Sought(stage.pretrain.init.directory)));
        }
        break;
      case StageKind::kSft:
        TEMPER_RETURN_IF_ERROR(CheckDocuments(stage, "sft", stage.sft));
        break;
      case StageKind::kRl:
        TEMPER_RETURN_IF_ERROR(CheckRl(stage));
        break;
      case StageKind::kCollect:
        TEMPER_RETURN_IF_ERROR(CheckProblems(stage, "collect.problems", stage.collect.problems));
        TEMPER_RETURN_IF_ERROR(CheckReward(stage, "collect.reward", stage.collect.reward));
        break;
      case StageKind::kEval:
        if (!stage.evaluation.source.is_given()) return NoProblems(stage, "evaluation.held_out");
        break;
    }
    if (stage.kind != StageKind::kCollect && stage.evaluation.HeldOutProblems() > 0) {
      TEMPER_RETURN_IF_ERROR(CheckProblems(stage, "evaluation.held_out", stage.evaluation.source));
      if (stage.evaluation.HardProblems() > 0)
        TEMPER_RETURN_IF_ERROR(CheckProblems(stage, "evaluation.hard", stage.evaluation.hard));
    }
    earlier_[stage.name] = stage.kind;
    return CheckModel(stage);
  }

  absl::Status CheckName(const StageConfig& stage) const {
    for (char c : stage.name) {
      if (!(('a' <= c && c <= 'z') || ('0' <= c && c <= '9') || c == '_' || c == '-')) {
        return Fault(absl::StrCat("stages.", Printable(stage.name)),
                     "a stage's name, which is also its folder's, has a-z, 0-9, _ and - only");
      }
    }
    return absl::OkStatus();
  }

  absl::Status CheckFrom(const StageConfig& stage) const {
    if (stage.from.empty()) {
      if (stage.kind == StageKind::kPretrain) return absl::OkStatus();
      return Error(stage, "from", "is missing: the stage whose policy it starts from, or a model directory");
    }
    if (earlier_.count(stage.from) > 0) return absl::OkStatus();
    const absl::StatusOr<std::string> directory = ModelDirectory(stage.from);
    if (!directory.ok()) return Error(stage, "from", directory.status().message());
    for (const char* name : {"/config.json", "/adapter_config.json"}) {
      if (FileExists(*directory + name)) return absl::OkStatus();
    }
    std::vector<std::string> names;
    for (const auto& [name, kind] : earlier_) names.push_back(name);
    const std::string nearest = Nearest(stage.from, names);
    return Error(
        stage, "from",
        absl::StrCat(Printable(stage.from), " is neither a stage before this one nor a model directory",
                     nearest.empty() ? Sought(stage.from) : "",
                     nearest.empty() ? "" : absl::StrCat("; did you mean ", nearest, "?")));
  }

  absl::Status CheckDocuments(const StageConfig& stage, const std::string& key,
                              const SftConfig& config) const {
    TEMPER_RETURN_IF_ERROR(CheckUpdates(stage, key, config));
    if (config.documents.empty()) return Error(stage, key + ".documents", "is empty");
    for (size_t i = 0; i < config.documents.size(); ++i) {
      const DocumentsConfig& documents = config.documents[i];
      const std::string item = absl::StrCat(key, ".documents[", i, "]");
      if (documents.count > kMostDocuments)
        return Error(stage, item + ".count", absl::StrCat("is more than ", kMostDocuments));
      if (documents.kind == DocumentsKind::kCollect) {
        const auto found = earlier_.find(documents.stage);
        if (found == earlier_.end() || found->second != StageKind::kCollect) {
          return Error(stage, item + ".stage",
                       absl::StrCat(Printable(documents.stage), " is no collect stage before this one"));
        }
      } else if (documents.kind == DocumentsKind::kFile) {
        if (documents.file.empty())
          return Error(stage, item + ".file", "is missing; a source that is no file says its kind");
        if (!FileExists(documents.file))
          return Error(stage, item + ".file",
                       absl::StrCat(Printable(documents.file), " does not exist", Sought(documents.file)));
      } else {
        if (documents.count == 0) return Error(stage, item + ".count", "a generator needs one");
        TEMPER_RETURN_IF_ERROR(CheckSteps(stage, item, documents));
      }
    }
    return absl::OkStatus();
  }

  absl::Status CheckRange(const StageConfig& stage, const std::string& key,
                          const std::vector<int64_t>& range) const {
    if (range.size() == 2 && 1 <= range[0] && range[0] <= range[1] && range[1] <= 16) return absl::OkStatus();
    return Error(
        stage, key,
        absl::StrCat("[", absl::StrJoin(range, ", "), "] is not [fewest, most] operations from 1 to 16"));
  }

  // How long the problems of the tiny generator are; config: ProblemsConfig or DocumentsConfig.
  template <class T>
  absl::Status CheckSteps(const StageConfig& stage, const std::string& key, const T& config) const {
    TEMPER_RETURN_IF_ERROR(CheckRange(stage, key + ".chain_steps", config.chain_steps));
    TEMPER_RETURN_IF_ERROR(CheckRange(stage, key + ".find_x_steps", config.find_x_steps));
    if (config.find_x_share > 0 && config.find_x_steps[0] < 2)
      return Error(stage, key + ".find_x_steps", "a find-x problem has at least 2 operations");
    return absl::OkStatus();
  }

  absl::Status NoProblems(const StageConfig& stage, const std::string& key) const {
    return Error(
        stage, key,
        "there are no problems: write files: [FILE.jsonl], or tasks: [..], or, for the tiny policies "
        "alone, generator: tiny");
  }

  absl::Status CheckProblems(const StageConfig& stage, const std::string& key,
                             const ProblemsConfig& config) const {
    if (!config.is_given()) return NoProblems(stage, key);
    for (const std::string& file : config.files) {
      if (!FileExists(file))
        return Error(stage, key + ".files", absl::StrCat(Printable(file), " does not exist", Sought(file)));
    }
    for (const std::string& task : config.tasks) {
      if (procedural::FindTask(task) != nullptr) continue;
      return Error(
          stage, key + ".tasks",
          absl::StrCat(Printable(task), " is none of ", absl::StrJoin(procedural::TaskNames(), ", ")));
    }
    if (!config.files.empty() || !config.tasks.empty()) return absl::OkStatus();
    if (config.prompt.prompt_template != PromptTemplate::kNone || !config.prompt.suffix.empty())
      return Error(stage, key + ".template",
                   "neither it nor suffix is for the tiny generator, whose problems are prompts");
    return CheckSteps(stage, key, config);
  }

  absl::Status CheckUpdates(const StageConfig& stage, const std::string& key,
                            const UpdatesConfig& config) const {
    TEMPER_ASSIGN_OR_RETURN(const MeshSizes mesh, Resolve(recipe_.mesh, ranks_));
    const absl::Status shared_out = CheckLeaves(config, mesh);
    return shared_out.ok() ? shared_out : Error(stage, key + ".gradient_leaves", shared_out.message());
  }

  absl::Status CheckReward(const StageConfig& stage, const std::string& key,
                           const RewardConfig& config) const {
    const auto rules = MakeRules(config);
    const absl::Status status = rules.ok() ? CheckRulesReady(*rules) : rules.status();
    return status.ok() ? status : Error(stage, key, status.message());
  }

  // After all rewards: a stage may be measured by the rules of a later one.
  absl::Status CheckMeasure(const StageConfig& stage) const {
    if (stage.kind == StageKind::kCollect || stage.evaluation.HeldOutProblems() == 0) return absl::OkStatus();
    const RewardConfig& reward = EvaluationReward(recipe_, stage);
    TEMPER_RETURN_IF_ERROR(CheckReward(stage, "evaluation.reward", reward));
    const absl::Status status = Measure::Create(reward, stage.evaluation.pass_rule).status();
    return status.ok() ? status : Error(stage, "evaluation.pass_rule", status.message());
  }

  absl::Status CheckBest(const StageConfig& stage) const {
    const std::tuple<StageKind, const char*, const UpdatesConfig*> kinds[] = {
        {StageKind::kPretrain, "pretrain.keep_best", &stage.pretrain},
        {StageKind::kSft, "sft.keep_best", &stage.sft},
        {StageKind::kRl, "rl.keep_best", &stage.rl}};
    for (const auto& [kind, key, updates] : kinds) {
      if (kind != stage.kind) continue;
      const absl::Status status = CheckKeepBest(recipe_, stage, *updates);
      if (!status.ok()) return Error(stage, key, status.message());
    }
    return absl::OkStatus();
  }

  absl::Status CheckRl(const StageConfig& stage) const {
    const RlConfig& rl = stage.rl;
    TEMPER_RETURN_IF_ERROR(CheckUpdates(stage, "rl", rl));
    TEMPER_RETURN_IF_ERROR(CheckProblems(stage, "rl.problems", rl.problems));
    TEMPER_RETURN_IF_ERROR(CheckReward(stage, "rl.reward", rl.reward));
    if (rl.loss.normalization == LossNormalization::kConstant && rl.loss.constant_length == 0)
      return Error(stage, "rl.constant_length", "normalization constant needs it");
    return absl::OkStatus();
  }

  // A mesh that does not cut the model; completions that the model cannot sample or the cache cannot hold,
  // whatever the prompts are.
  absl::Status CheckModel(const StageConfig& stage) const {
    TEMPER_ASSIGN_OR_RETURN(const ModelConfig model, ModelOf(recipe_, stage, run_directory_));
    if (const absl::Status cut = CheckMeshes(recipe_, model, ranks_); !cut.ok()) {
      const bool samples = absl::StartsWith(cut.message(), "rollout.");
      return Fault(samples ? "rollout.mesh" : "mesh",
                   absl::StrCat(cut.message(), " (stage ", stage.name, ")"));
    }
    TEMPER_RETURN_IF_ERROR(CheckMtp(stage, model));
    const bool evaluated = stage.kind != StageKind::kCollect && stage.evaluation.HeldOutProblems() > 0;
    const std::pair<const char*, const SamplingConfig*> samplings[] = {
        {"rl", stage.kind == StageKind::kRl ? &stage.rl.sampling : nullptr},
        {"collect", stage.kind == StageKind::kCollect ? &stage.collect.sampling : nullptr},
        {"evaluation", evaluated ? &stage.evaluation.sampling : nullptr}};
    for (const auto& [key, sampling] : samplings) {
      if (sampling == nullptr) continue;
      for (int64_t id : sampling->stop_token_ids) {
        if (id >= model.vocab_size)
          return Error(stage, absl::StrCat(key, ".sampling.stop_token_ids"),
                       absl::StrCat(id, " is outside the model's vocabulary of ", model.vocab_size));
      }
      if (model.max_positions > 0 && sampling->max_new_tokens >= model.max_positions)
        return Error(
            stage, absl::StrCat(key, ".sampling.max_new_tokens"),
            absl::StrCat(sampling->max_new_tokens, " do not fit the model's max_position_embeddings, ",
                         model.max_positions, ", beside a prompt"));
      if (const int64_t held = CachePositions(model, *sampling); sampling->max_new_tokens > held)
        return Error(stage, absl::StrCat(key, ".sampling.cache_mib"),
                     absl::StrCat(sampling->cache_mib, " MiB hold ", held,
                                  " positions of this model, and max_new_tokens is ",
                                  sampling->max_new_tokens, ", beside a prompt: a larger one"));
    }
    return absl::OkStatus();
  }

  // Whether there is a module to train or to draft with: the config's one, that a stage before has drawn or a
  // directory's files have.
  absl::Status CheckMtp(const StageConfig& stage, const ModelConfig& model) const {
    if (stage.mtp() == MtpUse::kCarried) return absl::OkStatus();
    const char* const kind = NameIn(kStageKinds, stage.kind);
    const bool draws =
        stage.kind == StageKind::kCollect || (stage.kind == StageKind::kRl && stage.rl.sampling.by_mtp());
    const std::string key = stage.mtp() == MtpUse::kTrained ? absl::StrCat(kind, ".mtp_weight")
                            : draws                         ? absl::StrCat(kind, ".sampling.drafts")
                                                            : "evaluation.sampling.drafts";
    if (model.mtp_layers != 1) {
      return Error(stage, key,
                   absl::StrCat("its model has num_nextn_predict_layers ", model.mtp_layers,
                                ": temper has modules of one layer, no other number"));
    }
    const StageConfig* first = &stage;
    while (const StageConfig* before = recipe_.StageBefore(*first)) first = before;
    if (first->mtp() == MtpUse::kTrained) return absl::OkStatus();
    if (!first->from.empty()) {
      const auto files = OpenWeightFiles(ModelDirectory(first->from).value_or(first->from));
      if (!files.ok()) return absl::OkStatus();  // told when it is read
      ModelConfig with_module = model;
      with_module.mtp = stage.mtp();
      for (const LayoutEntry& entry : Layout(with_module).entries()) {
        if (entry.layer == MtpLayerOf(model) && !files->tensors.contains(entry.name))
          return Error(stage, key,
                       absl::StrCat("there is no MTP module in ", files->name, ": no tensor ", entry.name));
      }
      return absl::OkStatus();
    }
    return Error(stage, key,
                 absl::StrCat("there is no MTP module in the policy that ", first->name,
                              " draws: give it pretrain.mtp_weight too"));
  }

  // `key` of the stage, or of the recipe's defaults where the stage leaves it to them.
  absl::Status Error(const StageConfig& stage, const std::string& key, absl::string_view what) const {
    const std::string path = absl::StrCat("stages.", stage.name, ".", key);
    const absl::string_view own = absl::StripPrefix(key, "collect.");  // problems, sampling, reward: rl's
    const std::string fallback = own.size() < key.size() ? absl::StrCat("rl.", own) : key;
    const bool has_default = absl::StartsWith(fallback, "rl.") || absl::StartsWith(key, "evaluation.");
    return Fault(has_default && !places_.Says(path) && places_.Says(fallback) ? fallback : path, what);
  }

  absl::Status Fault(const std::string& path, absl::string_view what) const {
    return absl::InvalidArgumentError(absl::StrCat(places_.Of(path), ": ", what));
  }

  const RecipeConfig& recipe_;
  const int ranks_;
  const ConfigPlaces& places_;
  const std::string& run_directory_;
  std::map<std::string, StageKind> earlier_;
};

}  // namespace

absl::Status CheckRecipe(const RecipeConfig& recipe, int ranks, const ConfigPlaces& places,
                         const std::string& run_directory) {
  return Checker(recipe, ranks, places, run_directory).Check();
}

absl::StatusOr<RecipeConfig> ReadRecipeFields(const std::string& path,
                                              const std::vector<std::string>& overrides,
                                              ConfigPlaces* places) {
  RecipeConfig recipe;
  TEMPER_RETURN_IF_ERROR(ReadConfigFile(path, overrides, recipe, places));
  ResolvePaths(std::filesystem::path(path).parent_path(), &recipe);
  return recipe;
}

absl::StatusOr<RecipeConfig> ReadRecipe(const std::string& path, const std::vector<std::string>& overrides,
                                        int ranks, std::vector<std::string>* notes,
                                        const std::string& run_directory) {
  ConfigPlaces places;
  TEMPER_ASSIGN_OR_RETURN(RecipeConfig recipe, ReadRecipeFields(path, overrides, &places));
  TEMPER_RETURN_IF_ERROR(CheckRecipe(recipe, ranks, places, run_directory));
  if (notes != nullptr) *notes = HiddenOverrides(recipe, overrides, places);
  return recipe;
}

}  // namespace temper
