// SPDX-License-Identifier: Apache-2.0
// A run directory that no run made: base -> zero -> final, with metrics, stage table and record files.
#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/config/config.h"
#include "core/files/file.h"
#include "core/files/sealed.h"
#include "core/json/json.h"
#include "core/metrics.h"
#include "data/record_file.h"
#include "gtest/gtest.h"
#include "trainer/config/recipe.h"

namespace temper {

struct SyntheticRun {
  std::string directory = absl::StrCat(testing::TempDir(), "synthetic_run_",
                                       testing::UnitTest::GetInstance()->current_test_info()->name());
  std::string text = "7 a -3 4 b *2 8 </think> <answer> 8 </answer>";  // of every completion
  std::string tokenizer;  // a folder; its files become the checkpoints'
  int64_t steps = 40;     // of each rl stage
  int64_t rollouts = 3;
  int64_t samples = 8;
  int64_t problems = 4;

  // As a recipe leaves it. What is there before goes.
  void Write() const {
    ASSERT_TRUE(RemoveTree(directory).ok());
    ASSERT_TRUE(MakeDirectories(directory).ok());
    ASSERT_TRUE(WriteFileAtomic(directory + "/config.yaml", SealedYaml(WriteConfig(Recipe()))).ok());
    ASSERT_TRUE(WriteFileAtomic(directory + "/summary.json", DumpJson(Summary())).ok());
    WriteMetrics();
    for (int stage = 0; stage < 3; ++stage) WriteStage(stage);
  }

  static std::string Stage(int stage) { return std::vector<std::string>{"base", "zero", "final"}[stage]; }

  RecipeConfig Recipe() const {
    RecipeConfig recipe;
    for (int stage = 0; stage < 3; ++stage) {
      StageConfig config;
      config.name = Stage(stage);
      config.kind = stage == 0 ? StageKind::kPretrain : StageKind::kRl;
      config.from = stage == 0 ? "" : Stage(stage - 1);
      config.rl.steps = steps;
      if (stage == 0) config.pretrain.documents = {{.kind = DocumentsKind::kCorpus, .count = 36000}};
      recipe.stages.push_back(config);
    }
    return recipe;
  }

  Json Summary() const {
    Json rows = Json::array();
    const double pass[] = {0.2137, 0.8613, 0.9021}, hard[] = {0.0871, 0.3312, 0.5518},
                 length[] = {18.2, 36.9, 38.4};
    for (int i = 0; i < 3; ++i) {
      rows.push_back({{"stage", Stage(i)},
                      {"kind", i == 0 ? "pretrain" : "rl"},
                      {"seconds", 61.25 + 30 * i},
                      {"problems", 256},
                      {"samples", 4096},
                      {"k", 16},
                      {"pass@1", pass[i]},
                      {"pass@1_error", 0.0123},
                      {"pass@1_lenient", pass[i] + 0.02},
                      {"pass@k", 0.7 + 0.1 * i},
                      {"cons@k", 0.4 + 0.25 * i},
                      {"format", 0.88 + 0.04 * i},
                      {"length_mean", length[i]},
                      {"checks", 0.16 + 0.14 * i},
                      {"hard/pass@1", hard[i]},
                      {"hard/pass@1_error", 0.0156},
                      {"hard/k", 16},
                      {"hard/cons@k", hard[i] + 0.1}});
    }
    return rows;
  }

  void WriteMetrics() const {
    auto writer = MetricsWriter::Open(directory + "/metrics.jsonl");
    ASSERT_TRUE(writer.ok());
    for (int64_t step = 1; step <= 20 * steps; ++step) {
      ASSERT_TRUE((*writer)
                      ->Write({"base",
                               step,
                               {{"loss", 0.6 + 2 / std::sqrt(step)},
                                {"learning_rate", 2e-3},
                                {"gradient_norm", 1.0 / step}}})
                      .ok());
    }
    for (const int stage : {1, 2}) {
      for (int64_t step = 1; step <= steps; ++step) ASSERT_TRUE((*writer)->Write(RlLine(stage, step)).ok());
    }
  }

  MetricsLine RlLine(int stage, int64_t step) const {
    const double t = 1 - std::exp(-double(step) / (0.3 * steps)), wave = 0.03 * std::sin(double(step * step));
    const double accuracy = stage == 1 ? 0.21 + 0.64 * t + wave : 0.86 + 0.05 * t + wave,
                 length = 18 + 19 * t;
    MetricsLine line{Stage(stage),
                     step,
                     {{"reward/mean", accuracy + 0.09},
                      {"reward/accuracy", accuracy},
                      {"reward/format", 0.88 + 0.1 * t},
                      {"length/mean", length},
                      {"length/p10", 0.3 * length},
                      {"length/p50", 0.9 * length},
                      {"length/p90", 1.9 * length},
                      {"entropy", 0.35 - 0.22 * t + wave},
                      {"kl", 0.08 * t * t},
                      {"clip_share", 0.01 + wave * wave},
                      {"checks", 0.16 + 0.28 * t + wave},
                      {"stop/length", 0.06 * (1 - t)},
                      {"gradient_norm", 0.4 + wave},
                      {"learning_rate", 7e-4 * (1 - 0.8 * double(step) / steps)},
                      {"loss", 0.01 * wave},
                      {"time/update", 1.5}}};
    if (step % 10 == 0) line.values.push_back({"eval/pass@1", accuracy - 0.02});
    return line;
  }

  void WriteStage(int stage) const {
    const std::string folder = directory + "/" + Stage(stage);
    for (const char* name : {"/trajectories", "/evaluation", "/checkpoints/step-000040/state"}) {
      ASSERT_TRUE(MakeDirectories(folder + name).ok());
    }
    if (!tokenizer.empty()) {
      for (const char* name : {"/tokenizer.json", "/tokenizer_config.json"}) {
        ASSERT_TRUE(
            WriteFileAtomic(folder + "/checkpoints/step-000040" + name, *ReadFile(tokenizer + name)).ok());
      }
    }
    WriteRecords(folder + "/evaluation/held_out", "evaluation/held_out", 0);
    for (int64_t rollout = 0; rollout < (stage == 0 ? 0 : rollouts); ++rollout) {
      WriteRecords(folder + absl::StrFormat("/trajectories/rollout-%06d", rollout), Stage(stage), rollout);
    }
  }

  void WriteRecords(const std::string& prefix, const std::string& stage, int64_t rollout) const {
    auto writer = RecordWriter::Open(RecordPath(prefix, 0));
    ASSERT_TRUE(writer.ok()) << writer.status().message();
    for (int64_t p = 0; p < problems; ++p) {
      Prompt prompt;
      prompt.id = absl::StrCat("problem-", p);
      prompt.text = absl::StrCat("Q ", p, " a -3 b *2 ? <think>");
      prompt.tokens = {300, 301};
      prompt.answer = "8";
      prompt.task = p % 2 == 0 ? "chain" : "find_x";
      ASSERT_TRUE((*writer)->WritePrompt(stage, rollout, prompt).ok());
      for (int64_t s = 0; s < samples; ++s)
        ASSERT_TRUE((*writer)->WriteTrajectory(Sample(prompt.id, s, rollout)).ok());
    }
    ASSERT_TRUE((*writer)->Sync().ok());
  }

  Trajectory Sample(const std::string& id, int64_t sample, int64_t rollout) const {
    Trajectory trajectory;
    trajectory.prompt_id = id;
    trajectory.sample = static_cast<int32_t>(sample);
    for (int32_t token = 0; token < 24 + 4 * sample; ++token) {
      trajectory.tokens.push_back(260 + (token * 7 + static_cast<int32_t>(sample)) % 30);
      trajectory.logprobs.push_back(-0.01f * static_cast<float>((token * token) % 400));
    }
    trajectory.Extend(Segment::Kind::kSampled, rollout, static_cast<int64_t>(trajectory.tokens.size()));
    trajectory.text = text;
    trajectory.stop = sample == 7 ? StopReason::kLength : StopReason::kEndOfText;
    trajectory.entropy_sum = 3.5;
    const bool right = (sample + rollout) % 3 != 0;
    trajectory.verdicts = {{"accuracy", right ? VerdictKind::kCorrect : VerdictKind::kWrong,
                            right ? 1.0 : 0.0, right ? "8" : "3", right ? "" : "3 is not 8"},
                           {"format", VerdictKind::kCorrect, 1.0, "", ""}};
    return trajectory;
  }
};

}  // namespace temper
