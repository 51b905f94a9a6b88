// SPDX-License-Identifier: Apache-2.0
// A recipe as YAML: every field declared once, with its help and range (core/config/config.h); docs/config.md
// is made from here.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/civil_time.h"
#include "absl/time/time.h"
#include "comm/mesh.h"
#include "core/config/config.h"
#include "core/version.h"
#include "kernels/matrix.h"
#include "trainer/config/collect.h"
#include "trainer/config/evaluation.h"
#include "trainer/config/rl.h"
#include "trainer/config/rollout.h"
#include "trainer/config/sft.h"

namespace temper {

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

  // Of the MTP module's loss; 0: it is not trained.
  double mtp_weight() const {
    return kind == StageKind::kPretrain ? pretrain.mtp_weight : kind == StageKind::kSft ? sft.mtp_weight : 0;
  }
  MtpUse mtp() const {
    if (mtp_weight() > 0) return MtpUse::kTrained;
    const bool drafts = (kind == StageKind::kRl && rl.sampling.by_mtp()) ||
                        (kind == StageKind::kCollect && collect.sampling.by_mtp()) ||
                        (is_measured() && evaluation.sampling.by_mtp());
    return drafts ? MtpUse::kDrafts : MtpUse::kCarried;
  }
  bool is_measured() const { return kind != StageKind::kCollect && evaluation.HeldOutProblems() > 0; }

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
  int64_t numerics = kNumerics;
  int64_t seed = 0;
  int64_t threads = 0;
  std::string device = "cpu";
  kernels::Type weights = kernels::Type::kF32;
  kernels::Type cache = kernels::Type::kF32;
  MeshSizes mesh;
  RolloutConfig rollout;
  double deadline_minutes = 0;
  bool shared = false;
  double cost_per_gpu_hour = 0;
  std::string date;
  EvaluationConfig evaluation;  // defaults of every stage
  RlConfig rl;                  // likewise
  std::vector<StageConfig> stages;

  template <class V>
  void Fields(V& v) {
    v.Field("numerics", numerics,
            "Version of the orders of sums and draws that the run is made with (docs/exactness.md): this "
            "temper's, no other.",
            AtLeast(1));
    v.Field("seed", seed, "Every random draw of the run is a function of it.", AtLeast(0));
    v.Field("threads", threads,
            "Threads of each rank; 0: the cores there are, shared out among the ranks of the machine.",
            Between(0, 1024), Free());
    v.Field(
        "device", device,
        "Where policies live: cpu, cuda (each rank takes its turn among the machine's GPUs) or cuda:N. GPUs "
        "of sm_90 (H100, H200) are to have the CPU's bits, on others the run is not exact "
        "(docs/exactness.md). "
        "sim: a simulated GPU, for tests of the smallest policies.");
    v.Choice("weights", weights, {{"f32", kernels::Type::kF32}, {"bf16", kernels::Type::kBf16}},
             "What policies compute with: bf16 is the nearest to each number that is trained, which itself "
             "stays f32, as do the optimizer's moments. Half the memory and time of reading weights, and the "
             "policy is saved in bf16.");
    v.Choice(
        "cache", cache, {{"f32", kernels::Type::kF32}, {"bf16", kernels::Type::kBf16}},
        "What attention's keys and values are rounded to, in training as in sampling: bf16 takes half the "
        "memory and time of reading them at long contexts. The policy's config.json says so "
        "(temper_cache).");
    v.Section("mesh", mesh, "How the ranks share the work.");
    v.Section("rollout", rollout, "Where samples are drawn.");
    v.Field(
        "deadline_minutes", deadline_minutes,
        "A rank that others wait for and that shows no sign of life for so long is lost: the run names it "
        "and "
        "ends with 75, and goes on from the last checkpoint when it is started again. Longer than a "
        "microbatch takes. 0: five times the median of the stage's last updates, at least 1 and at most 10, "
        "which is also what holds before there are any.",
        Between(0.0, 1e6), Free());
    v.Field("date", date,
            "YYYY-MM-DD: the day that is written by chat templates that ask for one (Llama-3.2's); empty: "
            "such are "
            "an error, for a run must not depend on its day.");
    v.Field("shared", shared,
            "New files and folders of the run are for whom the umask lets, and not for their owner alone.",
            Free());
    v.Field(
        "cost_per_gpu_hour", cost_per_gpu_hour,
        "What an hour of a rank's device costs, in your currency: the stage table, the report, status and "
        "plan count with it. 0: only hours are counted. `temper launch` takes it from the cluster file.",
        AtLeast(0), Free());
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

  bool bf16() const { return weights == kernels::Type::kBf16; }

  // The sizes of rollout.mesh on so many ranks, resolved; none where there is no other mesh than `mesh`, or
  // one of the same sizes. (cp shares a policy out as dp_shard does: where one has cp 2 and the other
  // dp_shard 2 there are two policies all the same, for their ranks' samples are others.) Resolve's errors.
  absl::StatusOr<std::optional<MeshSizes>> MeshApart(int ranks) const {
    if (!rollout.mesh) return std::nullopt;
    const absl::StatusOr<MeshSizes> trains = Resolve(mesh, ranks);
    if (!trains.ok()) return trains.status();
    const absl::StatusOr<MeshSizes> samples = Resolve(rollout.mesh->sizes, ranks);
    if (!samples.ok()) return OfRolloutMesh(samples.status());
    bool alike = trains->chunks() == 1;
    for (int i = 0; i < kAxes; ++i)
      alike &= (*trains)[static_cast<Axis>(i)] == (*samples)[static_cast<Axis>(i)];
    if (alike) return std::nullopt;
    return *samples;
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
