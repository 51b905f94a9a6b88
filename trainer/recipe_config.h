// SPDX-License-Identifier: Apache-2.0
// A recipe as YAML: every field declared once, with its help and range (core/config.h); docs/config.md is
// made from here.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/civil_time.h"
#include "absl/time/time.h"
#include "comm/mesh.h"
#include "core/config.h"
#include "data/dataset/dataset.h"
#include "model/parameters.h"
#include "rewards/rules.h"
#include "trainer/advantage.h"
#include "trainer/loss.h"
#include "trainer/optimizer.h"
#include "trainer/sampling.h"

namespace temper {

template <class V>
void OptimizerConfig::Fields(V& v) {
  v.Field("learning_rate", learning_rate, "Peak learning rate of AdamW.", Between(0.0, 10.0));
  v.Choice("schedule", schedule,
           {{"constant", ScheduleKind::kConstant},
            {"linear", ScheduleKind::kLinear},
            {"cosine", ScheduleKind::kCosine}},
           "How the learning rate falls over the stage's steps.");
  v.Field("warmup_steps", warmup_steps, "Updates of linear warm-up.", AtLeast(0));
  v.Field("final_fraction", final_fraction,
          "Share of the learning rate left at the last step (linear, cosine).", Between(0.0, 1.0));
  // AdamW computes in f32, where 0.99999998 is 1: a moment would never move, and its correction divide by 0.
  v.Field("beta1", beta1, "AdamW's decay of the first moment.", Between(0.0, 0.9999999));
  v.Field("beta2", beta2, "AdamW's decay of the second moment.", Between(0.0, 0.9999999));
  v.Field("epsilon", epsilon, "AdamW's epsilon.", Between(1e-37, 1.0));
  v.Field("weight_decay", weight_decay, "Decoupled weight decay of matrices; norms and biases never decay.",
          Between(0.0, 1.0));
  v.Field("clip_norm", clip_norm, "The gradient's norm is cut to this; 0: never.", Between(0.0, 1e30));
  v.Check(learning_rate == 0 || learning_rate >= 1e-37, "learning_rate", "is 0 in f32; the least is 1e-37");
  v.Check(clip_norm == 0 || clip_norm >= 1e-30, "clip_norm",
          "would cut gradients to 0 in f32; the least is 1e-30, and 0 is no clipping");
}

// Where problems come from: files, else procedural tasks (data/tasks/procedural.h), else a generator; with
// none of them there are no problems.
struct ProblemsConfig {
  std::vector<std::string> files;  // JSONL or Parquet
  std::vector<std::string> tasks;
  std::string generator = "none";  // none, tiny
  int64_t level = 1;
  std::vector<double> weights;
  FieldNames fields;
  double held_out_share = 0;
  PromptOptions prompt;
  bool skip_bad_lines = false;
  std::vector<int64_t> chain_steps = {2, 6};  // fewest and most operations of a chain problem
  std::vector<int64_t> find_x_steps = {2, 3};
  double find_x_share = 0.5;

  template <class V>
  void Fields(V& v) {
    v.Field("files", files,
            "JSONL or Parquet files of problems (question/answer, problem/answer, messages): docs/data.md.",
            Place());
    v.Field(
        "tasks", tasks,
        "Procedural tasks (docs/data.md) that problems are made of, endlessly, where there are no files.");
    v.Choice(
        "generator", generator, {{"none", std::string("none")}, {"tiny", std::string("tiny")}},
        "tiny: arithmetic modulo 10, for the policies of configs/tiny alone, where there are neither files "
        "nor tasks. With none of the three there are no problems.");
    v.Field("level", level, "How hard the tasks' problems are; a task's hardest where that is less.",
            Between(1, 16));
    v.Field("weights", weights,
            "How often a problem of each file or task comes, in proportion; empty: by the files' numbers of "
            "problems, tasks alike.",
            Between(1e-6, 1e6));
    v.Section("fields", fields, "The names of the files' fields, where they are not the common ones.");
    v.Field(
        "held_out_share", held_out_share,
        "Share of the files' problems, by a hash of their text, that only evaluations get; 0: all problems "
        "are for both.",
        Between(0.0, 0.9));
    prompt.Fields(v);
    v.Field("skip_bad_lines", skip_bad_lines,
            "Leave out (and count) rows of the files that are no problems, have no answer that the rules can "
            "judge by, or are too long for the model, instead of stopping.");
    if (v.All() || generator == "tiny") {
      v.Field("chain_steps", chain_steps, "generator tiny: fewest and most operations of a chain problem.");
      v.Field("find_x_steps", find_x_steps,
              "generator tiny: fewest and most operations of a find-x problem.");
      v.Field("find_x_share", find_x_share, "generator tiny: share of find-x problems.", Between(0.0, 1.0));
    }
    v.Check(files.empty() || tasks.empty(), "tasks", "are not for problems that come from files");
    v.Check(weights.empty() || weights.size() == files.size() + tasks.size(), "weights",
            "is not one for each of files or tasks");
  }

  bool is_given() const { return !files.empty() || !tasks.empty() || generator != "none"; }

  // How its files are read, as far as it says.
  ProblemFileOptions FileOptions() const {
    ProblemFileOptions options;
    options.prompt = prompt;
    options.fields = fields;
    options.skip_bad_lines = skip_bad_lines;
    options.held_out_share = held_out_share;
    return options;
  }
};

struct SamplingConfig : Sampling {
  SamplingConfig() { max_new_tokens = 112; }
  int64_t max_batch = 256;
  int64_t cache_mib = 1024;

  template <class V>
  void Fields(V& v) {
    Sampling::Fields(v);
    v.Field("max_batch", max_batch, "Sequences that decode together on a rank.", Between(1, 1 << 16), Free());
    v.Field("cache_mib", cache_mib, "Paged cache, at most, in MiB.", Between(1, 1 << 24), Free());
  }
};

// What every training stage says of its updates.
struct UpdatesConfig {
  int64_t prompts_per_step = 32;
  int64_t tokens_per_microbatch = 4096;
  int64_t gradient_leaves = 8;
  bool recompute = false;
  double checkpoint_minutes = 10;
  int64_t checkpoint_every = 0;
  int64_t keep_last = 2;
  int64_t keep_every = 0;
  std::string keep_best;
  OptimizerConfig optimizer;

  template <class V>
  void Fields(V& v) {
    v.Field("prompts_per_step", prompts_per_step, "Prompts (sft, pretrain: documents) of one update.",
            Between(1, 1 << 24));
    v.Field("tokens_per_microbatch", tokens_per_microbatch,
            "Tokens that go through the model at once; changes memory and speed, never bits.",
            Between(1, 1 << 24), Free());
    v.Field("gradient_leaves", gradient_leaves,
            "Parts whose gradients are summed apart and then in a tree: a power of two, at least dp.",
            Between(1, 1024));
    v.Field(
        "recompute", recompute,
        "Run blocks again in the backward pass instead of keeping what they saved: same bits, less memory.",
        Free());
    v.Field("checkpoint_minutes", checkpoint_minutes,
            "Minutes between checkpoints: what a crash can cost. There is one at the end of a stage and at a "
            "requested stop in any case; 0: none by the clock.",
            AtLeast(0.0), Free());
    v.Field("checkpoint_every", checkpoint_every, "Updates between checkpoints, beside the minutes; 0: none.",
            Between(0, 1 << 20), Free());
    v.Field("keep_last", keep_last,
            "Checkpoints that are kept, the newest; where the newest is damaged the run goes on from the one "
            "before.",
            Between(2, 1 << 20), Free());
    v.Field("keep_every", keep_every,
            "Milestones: a checkpoint after every so many updates that is never removed; 0: none.",
            Between(0, 1 << 20), Free());
    v.Field(
        "keep_best", keep_best,
        "A figure of metrics.jsonl, such as eval/pass@1: the checkpoint of the update where it was highest "
        "is saved and kept (-loss: lowest); empty: none.",
        Free());
    v.Section("optimizer", optimizer, "AdamW and its schedule.");
  }
};

enum class TruncatedCompletions { kScored, kMasked };

struct RlConfig : UpdatesConfig {
  int64_t steps = 60;
  int64_t samples_per_prompt = 8;
  int64_t updates_per_rollout = 1;
  SamplingConfig sampling;
  ProblemsConfig problems;
  RewardConfig reward;
  PolicyLossConfig loss;
  AdvantageConfig advantage;
  TruncatedCompletions truncated = TruncatedCompletions::kScored;
  bool skip_groups_without_spread = true;
  bool shuffle_rewards = false;
  int64_t reference_refresh_steps = 0;

  template <class V>
  void Fields(V& v) {
    v.Field("steps", steps, "Updates of the stage.", AtLeast(1));
    UpdatesConfig::Fields(v);
    v.Field("samples_per_prompt", samples_per_prompt, "Completions of a group.", Between(2, 1 << 16));
    v.Field("updates_per_rollout", updates_per_rollout,
            "A rollout of prompts_per_step x updates_per_rollout prompts is split at random into this many "
            "updates.",
            Between(1, 1024));
    v.Section("sampling", sampling, "How completions are drawn.");
    v.Check(sampling.temperature >= 0.01f, "sampling.temperature",
            "is too low to train with: the completions of a group would be one; the least is 0.01");
    v.Section("problems", problems, "Where problems come from.");
    v.Section("reward", reward, "Rules, weights and gates.");
    v.Choice("ratio_level", loss.ratio_level,
             {{"token", RatioLevel::kToken}, {"sequence", RatioLevel::kSequence}},
             "The importance ratio: by token (GRPO) or the completion's geometric mean (GSPO).");
    v.Field("clip_low", loss.clip_low, "The ratio is cut at 1 - clip_low.", Between(0.0, 1e30));
    v.Field("clip_high", loss.clip_high, "The ratio is cut at 1 + clip_high.", Between(0.0, 1e30));
    v.Field("kl_coef", loss.kl_coef,
            "Weight of the k3 KL estimate to the reference policy, in the loss; 0: no reference.",
            Between(0.0, 1e30));
    v.Choice("normalization", loss.normalization,
             {{"sequence_mean", LossNormalization::kSequenceMean},
              {"token_mean", LossNormalization::kTokenMean},
              {"constant", LossNormalization::kConstant}},
             "Mean over a completion's tokens then over completions (GRPO), over all tokens (DAPO), or by "
             "constant_length (Dr. GRPO).");
    v.Field("constant_length", loss.constant_length, "normalization constant: tokens are divided by this.",
            AtLeast(0));
    v.Field("divide_by_std", advantage.divide_by_std,
            "Divide advantages by the group's standard deviation (GRPO).");
    v.Field("advantage_epsilon", advantage.epsilon, "Added to that standard deviation.", Between(0.0, 1e30));
    v.Choice("truncated", truncated,
             {{"scored", TruncatedCompletions::kScored}, {"masked", TruncatedCompletions::kMasked}},
             "Completions cut by length: scored as they are, or left out of the loss and of their group's "
             "statistics.");
    v.Field("skip_groups_without_spread", skip_groups_without_spread,
            "Leave groups whose rewards are all equal out of the update (only without KL do they add "
            "nothing). An update of such groups alone moves neither weights nor optimizer.");
    v.Field("shuffle_rewards", shuffle_rewards,
            "A control: rewards are permuted within the batch, so that they say nothing.");
    v.Field(
        "reference_refresh_steps", reference_refresh_steps,
        "The reference becomes the policy every so many updates; 0: never. Where kl_coef is 0 there is none.",
        AtLeast(0));
  }
};

// Where sft and pretrain documents come from. Counts are documents; they are mixed and shuffled.
struct DocumentsConfig {
  std::string kind = "file";                  // file, collect; corpus, cold_start, general
  int64_t count = 0;                          // 0: all (collect, file)
  std::string stage;                          // collect: the stage whose dataset it is
  std::string file;                           // file: rows of prompt and completion
  PromptOptions prompt;                       // file
  bool skip_bad_lines = false;                // file
  bool reasoning = true;                      // corpus: false leaves out every document that reasons
  double chinese_share = 0.3;                 // corpus: documents whose little words are Chinese
  std::vector<int64_t> chain_steps = {2, 6};  // cold_start
  std::vector<int64_t> find_x_steps = {2, 3};
  double find_x_share = 0.5;

  template <class V>
  void Fields(V& v) {
    v.Choice("kind", kind,
             {{"file", std::string("file")},
              {"collect", std::string("collect")},
              {"corpus", std::string("corpus")},
              {"cold_start", std::string("cold_start")},
              {"general", std::string("general")}},
             "file: JSONL or Parquet; collect: a collect stage's dataset; corpus, cold_start, general: "
             "generators of the tiny language.");
    v.Field("count", count, "Documents; 0: all there are (collect, file).", AtLeast(0));
    v.Field("stage", stage, "collect: the stage whose dataset it is.");
    v.Field("file", file,
            "file: JSONL or Parquet with prompt and completion, messages, text, ...: docs/data.md.", Place());
    if (v.All() || kind == "file") {
      prompt.Fields(v);
      v.Field("skip_bad_lines", skip_bad_lines,
              "file: leave out (and count) rows that are no documents or too long for the model, instead of "
              "stopping.");
    }
    v.Field("reasoning", reasoning,
            "corpus: false leaves out every document that reasons before it answers.");
    v.Field("chinese_share", chinese_share, "corpus: share of documents whose little words are Chinese.",
            Between(0.0, 1.0));
    v.Field("chain_steps", chain_steps, "cold_start: fewest and most operations of a chain problem.");
    v.Field("find_x_steps", find_x_steps, "cold_start: fewest and most operations of a find-x problem.");
    v.Field("find_x_share", find_x_share, "cold_start: share of find-x problems.", Between(0.0, 1.0));
  }
};

struct SftConfig : UpdatesConfig {
  int64_t epochs = 1;
  std::vector<DocumentsConfig> documents;

  template <class V>
  void Fields(V& v) {
    v.Field("epochs", epochs, "Passes over the documents, each in its own order.", AtLeast(1));
    UpdatesConfig::Fields(v);
    v.List("documents", documents, "What is trained on.");
  }
};

// Where a model that nobody trained yet comes from.
struct InitConfig {
  std::string directory;  // config.json and tokenizer.json
  double embedding_std = 0.02;
  double linear_gain = 1.0;
  double head_gain = 1.0;

  template <class V>
  void Fields(V& v) {
    v.Field("directory", directory,
            "Folder with config.json and the tokenizer's files; weights are drawn at random.", Place());
    v.Field("embedding_std", embedding_std, "Standard deviation of the embedding.", Between(0.0, 1e30));
    v.Field("linear_gain", linear_gain, "Linears are drawn from N(0, gain^2 / fan_in).", Between(0.0, 1e30));
    v.Field("head_gain", head_gain, "The same of the head.", Between(0.0, 1e30));
  }
};

struct PretrainConfig : SftConfig {
  InitConfig init;

  template <class V>
  void Fields(V& v) {
    v.Section("init", init, "The model before its first update.");
    SftConfig::Fields(v);
  }
};

struct CollectConfig {
  int64_t prompts = 1024;
  int64_t samples_per_prompt = 4;
  int64_t keep_per_prompt = 2;
  SamplingConfig sampling;
  ProblemsConfig problems;
  RewardConfig reward;
  double min_reward = 1.0;

  template <class V>
  void Fields(V& v) {
    v.Field("prompts", prompts, "Problems to sample.", AtLeast(1));
    v.Field("samples_per_prompt", samples_per_prompt, "Completions of each.", Between(1, 1 << 16));
    v.Field("keep_per_prompt", keep_per_prompt, "Completions kept of each, the first that are good enough.",
            AtLeast(1));
    v.Section("sampling", sampling, "How completions are drawn; as rl.sampling unless said here.");
    v.Section("problems", problems, "Where problems come from; the recipe's rl.problems unless said here.");
    v.Section("reward", reward, "Rules, weights and gates; the recipe's rl.reward unless said here.");
    v.Field("min_reward", min_reward, "A completion is kept from this reward on.");
  }
};

// How a policy is measured, after a stage and, on fewer problems, during it; not at all where held_out says
// no source of problems.
struct EvaluationConfig {
  int64_t problems = 256;
  int64_t samples_per_prompt = 16;
  int64_t hard_problems = 256;
  int64_t hard_samples_per_prompt = 16;
  int64_t during_every = 0;
  int64_t during_problems = 64;
  int64_t during_samples_per_prompt = 2;
  SamplingConfig sampling;
  ProblemsConfig source;
  ProblemsConfig hard;
  std::optional<RewardConfig> reward;  // none: the stage's own (trainer/measure.h)
  std::string pass_rule;
  bool before = true;

  template <class V>
  void Fields(V& v) {
    v.Field("problems", problems,
            "Held-out problems; 0, or nothing that held_out takes them from: no evaluation.", AtLeast(0));
    v.Field("samples_per_prompt", samples_per_prompt, "Samples of each: k of pass@k and cons@k.",
            Between(1, 4096));
    v.Field("hard_problems", hard_problems,
            "Problems of the harder level; 0, or nothing that hard takes them from: none.", AtLeast(0));
    v.Field("hard_samples_per_prompt", hard_samples_per_prompt, "Samples of each.", Between(1, 4096));
    v.Field("during_every", during_every,
            "Updates between the small evaluations of a running stage; 0: none.", AtLeast(0), Free());
    v.Field("during_problems", during_problems, "Held-out problems of a small evaluation.", AtLeast(1),
            Free());
    v.Field("during_samples_per_prompt", during_samples_per_prompt, "Samples of each.", Between(1, 4096),
            Free());
    v.Section("sampling", sampling, "How completions are drawn.");
    v.Section("held_out", source, "The held-out problems.");
    v.Section("hard", hard, "The harder level.");
    v.Section("reward", reward,
              "The rules that policies are measured by. Without this section: those that train the stage; of "
              "stages that no reward trains those of the last rl stage before, else of the first after.");
    v.Field("pass_rule", pass_rule,
            "The rule by whose verdict a problem counts as solved (pass@1); empty: the first that judges the "
            "answer, and not how it is written.");
    v.Field("before", before,
            "A model directory that a stage trains is measured before that, too, as a stage NAME.before.");
  }

  // How many problems each level has, at most.
  int64_t HeldOutProblems() const { return source.is_given() ? problems : 0; }
  int64_t HardProblems() const { return HeldOutProblems() > 0 && hard.is_given() ? hard_problems : 0; }
};

enum class StageKind { kPretrain, kSft, kRl, kCollect, kEval };
inline constexpr std::initializer_list<std::pair<const char*, StageKind>> kStageKinds = {
    {"pretrain", StageKind::kPretrain},
    {"sft", StageKind::kSft},
    {"rl", StageKind::kRl},
    {"collect", StageKind::kCollect},
    {"eval", StageKind::kEval}};

struct StageConfig {
  std::string name;
  StageKind kind = StageKind::kRl;
  std::string from;  // a stage of the recipe, or a model directory; empty only for pretrain
  PretrainConfig pretrain;
  SftConfig sft;
  RlConfig rl;
  CollectConfig collect;
  EvaluationConfig evaluation;

  template <class V>
  void Fields(V& v) {
    v.Choice("kind", kind, kStageKinds, "What the stage does.");
    v.Field("from", from, "The stage whose policy it starts from, or a model directory.", Place());
    if (v.All() || kind == StageKind::kPretrain) v.Section("pretrain", pretrain, "A tiny base from nothing.");
    if (v.All() || kind == StageKind::kSft) v.Section("sft", sft, "Supervised fine-tuning.");
    if (v.All() || kind == StageKind::kRl) v.Section("rl", rl, "Reinforcement learning with rule rewards.");
    if (v.All() || kind == StageKind::kCollect)
      v.Section("collect", collect, "Rejection sampling into a dataset.");
    v.Section("evaluation", evaluation, "How the stage's policy is measured.");
  }
};

struct RecipeConfig {
  int64_t seed = 0;
  int64_t threads = 0;
  std::string device = "cpu";
  MeshSizes mesh;
  bool shared = false;
  std::string date;
  EvaluationConfig evaluation;  // defaults of every stage
  RlConfig rl;                  // likewise
  std::vector<StageConfig> stages;

  template <class V>
  void Fields(V& v) {
    v.Field("seed", seed, "Every random draw of the run is a function of it.", AtLeast(0));
    v.Field("threads", threads,
            "Threads of each rank; 0: the cores there are, shared out among the ranks of the machine.",
            Between(0, 1024), Free());
    v.Field(
        "device", device,
        "Where policies live: cpu, cuda (each rank takes its turn among the machine's GPUs) or cuda:N. On a "
        "GPU the run is not exact (docs/exactness.md).");
    v.Section("mesh", mesh, "How the ranks share the work.");
    v.Field("date", date,
            "YYYY-MM-DD: the day that is written by chat templates that ask for one (Llama-3.2's); empty: "
            "such are "
            "an error, for a run must not depend on its day.");
    v.Field("shared", shared,
            "New files and folders of the run are for whom the umask lets, and not for their owner alone.",
            Free());
    v.Section("evaluation", evaluation, "Defaults of every stage's evaluation.");
    v.Section("rl", rl,
              "Defaults of every rl stage, and of what collect stages draw from, how, and score by.");
    v.NamedSections("stages", stages, "The stages, in order.", [this](StageConfig& stage) {
      stage.evaluation = evaluation;
      stage.rl = rl;
      stage.collect.problems = rl.problems;
      stage.collect.sampling = rl.sampling;
      stage.collect.reward = rl.reward;
    });
  }

  // `date` as chat templates get it; nothing where it is empty.
  std::optional<absl::Time> Date() const {
    absl::CivilDay day;
    if (!absl::ParseCivilTime(date, &day)) return std::nullopt;
    return absl::FromCivil(day, absl::LocalTimeZone());
  }

  // The earlier stage whose policy `stage`, one of these, starts from; null: a model directory's, or none.
  const StageConfig* StageBefore(const StageConfig& stage) const {
    for (const StageConfig& other : stages) {
      if (other.name == stage.name) break;
      if (other.name == stage.from) return &other;
    }
    return nullptr;
  }
};

}  // namespace temper
