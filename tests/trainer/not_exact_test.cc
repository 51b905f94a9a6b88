// SPDX-License-Identifier: Apache-2.0
// The way of a run on a GPU, with LibTorch's backend on the CPU, and where there is a GPU on it: old logprobs
// recomputed, and all of it said.
#include <cmath>
#include <map>

#include "ATen/Parallel.h"
#include "comm/threads.h"
#include "core/files/sealed.h"
#include "core/json/json.h"
#include "core/metrics.h"
#include "core/status.h"
#include "data/record_file.h"
#include "gmock/gmock.h"
#include "model/device.h"
#include "model/files/hugging_face.h"
#include "tests/model/odd_models.h"
#include "tests/trainer/small_recipe.h"
#include "trainer/plan/plan.h"
#include "trainer/run_directory/checkpoint.h"
#include "trainer/run_directory/run_directory.h"
#include "trainer/update/step.h"

namespace temper {
namespace {

using ::testing::HasSubstr;

absl::Status RunAlone(
    const RecipeConfig& recipe, const std::string& directory,
    const std::function<bool()>& stop = [] { return false; }) {
  SelfCommunicator self;
  ThreadPool pool(2);
  const auto device = DeviceByName(recipe.device);
  TEMPER_RETURN_IF_ERROR(device.status());
  TorchBackend backend(*device, &pool);
  return RunRecipe(recipe, directory, self, stop, &backend);
}

std::vector<MetricsLine> Metrics(const std::string& run) {
  const auto lines = ReadMetrics(run + "/metrics.jsonl");
  EXPECT_TRUE(lines.ok()) << lines.status();
  return lines.value_or(std::vector<MetricsLine>());
}

// The first update of every rollout has ratio 1, and those after it another. Which groups have spread, so
// that an update has tokens at all, depends on the machine here.
void ExpectTheTrainersOwnDenominators(const std::vector<MetricsLine>& lines, const std::string& stage,
                                      int64_t updates) {
  int64_t first = 0, later = 0, moved = 0;
  for (const MetricsLine& line : lines) {
    if (line.stage != stage) continue;
    EXPECT_EQ(*line.Find("exact"), 0) << line.step;
    if (*line.Find("trained_tokens") == 0) continue;
    if ((line.step - 1) % updates != 0) {
      ++later;
      moved += *line.Find("unequal_tokens") > 0 && *line.Find("ratio") != 1 ? 1 : 0;
      continue;
    }
    ++first;
    EXPECT_EQ(*line.Find("ratio"), 1) << line.step;
    EXPECT_EQ(*line.Find("unequal_tokens"), 0) << line.step;
  }
  EXPECT_GT(first + later, 0) << stage;
  EXPECT_EQ(moved, later) << "later updates are compared with the rollout's policy";
}

// Tokens of the stage's first rollout whose stored logprob is another than the packed forward's of the policy
// that sampled them.
int64_t UnequalTokens(const std::string& run, const std::string& from, const std::string& stage,
                      float temperature, at::Device device) {
  const auto checkpoint = LatestCheckpoint(CheckpointsDirectory(StageDirectory(run, from)));
  EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
  auto files = ReadPolicy(*checkpoint);
  EXPECT_TRUE(files.ok()) << files.status();
  ThreadPool pool(1);
  TorchBackend backend(device, &pool);
  CausalLm model(std::move(files->config), std::move(files->parameters), &backend);
  const auto groups = ReadGroups(TrajectoriesDirectory(StageDirectory(run, stage)) + "/rollout-000000");
  EXPECT_TRUE(groups.ok()) << groups.status();
  int64_t unequal = 0;
  for (const Group& group : *groups) {
    for (const Trajectory& trajectory : group.trajectories) {
      TrainSequence sequence;
      sequence.tokens = group.prompt.tokens;
      sequence.tokens.insert(sequence.tokens.end(), trajectory.tokens.begin(), trajectory.tokens.end());
      sequence.CountFrom(static_cast<int64_t>(group.prompt.tokens.size()));
      const TrainSequence* const one[] = {&sequence};
      SequenceLogprobs(model, one, {4096, temperature}, [&](size_t, absl::Span<const float> logprobs) {
        for (size_t i = 0; i < logprobs.size(); ++i) {
          unequal += logprobs[i] != trajectory.logprobs[i] ? 1 : 0;
          EXPECT_NEAR(logprobs[i], trajectory.logprobs[i], 1e-4);
        }
      });
    }
  }
  return unequal;
}

class OnDevices : public ::testing::TestWithParam<at::Device> {
 protected:
  static std::string Name() { return GetParam().is_cpu() ? "cpu" : "cuda"; }
};
INSTANTIATE_TEST_SUITE_P(NotExact, OnDevices, ::testing::ValuesIn(LibraryDevices()),
                         [](const auto& info) { return info.param.is_cpu() ? "cpu" : "cuda"; });

TEST_P(OnDevices, RecipeOfEveryKindOfStageSaysSoAndTakesTheTrainersOwnOldLogprobs) {
  at::set_num_threads(1);
  const TestFolder folder;
  WriteSmallModel(folder / "model");
  const RecipeConfig recipe = SmallRecipe(folder / "model", {"device=" + Name()});
  const std::string run = folder / "run";
  int64_t calls = 0;
  ::testing::internal::CaptureStderr();
  const absl::Status stopped = RunAlone(recipe, run, [&] { return ++calls > 60; });
  const absl::Status status = RunAlone(recipe, run);
  const std::string said = ::testing::internal::GetCapturedStderr();
  EXPECT_EQ(stopped.code(), absl::StatusCode::kCancelled) << stopped;
  ASSERT_TRUE(status.ok()) << status;
  const size_t first = said.find("device " + Name() + ": not exact: ");
  EXPECT_NE(first, std::string::npos) << said;
  EXPECT_EQ(said.find("not exact", said.find("not exact", first + 30) + 1), std::string::npos)
      << "once a start";

  const auto text = ReadFile(run + "/summary.json");
  ASSERT_TRUE(text.ok()) << text.status();
  for (const Json& row : Json::parse(*text)) EXPECT_EQ(row["exact"], false) << row;
  const std::vector<MetricsLine> lines = Metrics(run);
  ExpectTheTrainersOwnDenominators(lines, "zero", 2);
  ExpectTheTrainersOwnDenominators(lines, "reason", 3);
  // The trajectories keep what the sampler knew, which is not what the trainer knows.
  EXPECT_GT(UnequalTokens(run, "base", "zero", 0.9f, GetParam()), 0);
  EXPECT_TRUE(RunDigest(run).ok());
}

TEST(NotExact, RanksRecomputeTheirOwnSequences) {
  at::set_num_threads(1);
  const TestFolder folder;
  WriteSmallModel(folder / "model");
  RecipeConfig recipe = SmallRecipe(folder / "model");
  recipe.stages.resize(2);
  const std::string run = folder / "run";
  ThreadWorld world(2);
  world.Run([&](Communicator& comm) {
    ThreadPool pool(1);
    TorchBackend backend(at::kCPU, &pool);
    const absl::Status status = RunRecipe(
        recipe, run, comm, [] { return false; }, &backend);
    EXPECT_TRUE(status.ok()) << status;
  });
  ExpectTheTrainersOwnDenominators(Metrics(run), "zero", 2);
}

TEST(NotExact, RunOnAnotherDeviceIsAnotherRun) {
  const TestFolder folder;
  WriteSmallModel(folder / "model");
  const RecipeConfig recipe = SmallRecipe(folder / "model");
  const std::string run = folder / "run";
  EXPECT_EQ(RunAlone(recipe, run, [] { return true; }).code(), absl::StatusCode::kCancelled);
  auto text = ReadSealedYaml(run + "/config.yaml");
  ASSERT_TRUE(text.ok()) << text.status();
  const size_t at = text->find("device: cpu\n");
  ASSERT_NE(at, std::string::npos) << *text;
  text->replace(at, 11, "device: cuda");
  ASSERT_TRUE(WriteFileAtomic(run + "/config.yaml", SealedYaml(*text)).ok());
  EXPECT_THAT(std::string(RunAlone(recipe, run).message()), HasSubstr("device: cuda there, cpu now"));
}

// A machine from which a job is sent off need not have the GPU.
TEST(NotExact, DeviceIsReadByItsNameAndLookedForWhereTheRunIs) {
  const TestFolder folder;
  WriteSmallModel(folder / "model");
  const auto begins = [](const absl::Status& status, const char* device) {
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), ::testing::StartsWith(device));
  };
  begins(CheckRecipe(SmallRecipe(folder / "model", {"device=tpu"}), 1), "device: tpu");
  const RecipeConfig far = SmallRecipe(folder / "model", {"device=cuda:99"});
  EXPECT_TRUE(CheckRecipe(far, 1).ok());
  SelfCommunicator self;
  begins(RunRecipe(far, folder / "run", self, [] { return false; }), "cuda:99");
}

TEST(NotExact, PlanTellsTheGpusMemoryFromTheHosts) {
  const TestFolder folder;
  WriteSmallModel(folder / "model");
  RecipeConfig recipe = SmallRecipe(folder / "model");
  const auto cpu = PlanText(recipe, 2);
  ASSERT_TRUE(cpu.ok()) << cpu.status();
  EXPECT_THAT(*cpu, ::testing::StartsWith("plan: seed 7, 2 ranks\n"));
  EXPECT_THAT(*cpu, ::testing::Not(HasSubstr("host")));
  EXPECT_THAT(*cpu, ::testing::Not(HasSubstr("scratch")));
  recipe.device = "cuda";
  const auto gpu = PlanText(recipe, 2);
  ASSERT_TRUE(gpu.ok()) << gpu.status();
  EXPECT_THAT(*gpu, ::testing::StartsWith("plan: seed 7, 2 ranks, device cuda\n"));
  EXPECT_THAT(*gpu, ::testing::Not(HasSubstr("packed weights")));
  EXPECT_THAT(*gpu, HasSubstr(" KiB, optimizer "));
  EXPECT_THAT(*gpu, HasSubstr(", scratch of kernels "));
  EXPECT_THAT(*gpu, HasSubstr(", scratch of kernels that sample "));
  EXPECT_THAT(*gpu, HasSubstr("\n    and of the host: gradients of all ranks "));
}

// One update of a few sequences, by the kernels or by LibTorch's ops.
struct Updated {
  std::vector<float> gradient, weights;
};
Updated UpdateOnce(Policy& policy) {
  at::set_num_threads(1);
  std::vector<TrainSequence> sequences(4);
  Leaves leaves(2);
  LossDenominators denominators;
  for (size_t i = 0; i < sequences.size(); ++i) {
    sequences[i].tokens = RandomTokens(711, 20 + 13 * static_cast<int64_t>(i), i);
    sequences[i].CountFrom(1);
    leaves[i % 2].push_back(&sequences[i]);
    denominators.tokens += static_cast<double>(sequences[i].counted());
  }
  Optimizer optimizer(&policy.model);
  Updater updater(&policy.model, &optimizer, {50, 2}, Mesh::Single());
  Updated updated;
  for (int64_t version = 1; version < 3; ++version) {
    const StepResult result = updater.Update(
        leaves, 1, {}, 1e-3,
        [&](const TrainSequence& sequence, absl::Span<const float> logprobs, absl::Span<float> dlogprobs,
            LossSums* sums) { CrossEntropyLoss(denominators, sequence, logprobs, dlogprobs, sums); });
    EXPECT_TRUE(result.applied);
    policy.model.WeightsChanged(version);
    if (version == 1) updated.gradient = updater.gradient();
  }
  for (const Parameter& parameter : policy.model.parameters().list()) {
    const at::Tensor host = parameter.value.cpu();
    const float* data = host.const_data_ptr<float>();
    updated.weights.insert(updated.weights.end(), data, data + host.numel());
  }
  return updated;
}

TEST_P(OnDevices, UpdatesAreTheKernelsUpToRounding) {
  for (const Json& json : {OddDeepseek(), OddQwen2()}) {
    Policy cpu(json, 1), torch(json, GetParam());
    const Updated exact = UpdateOnce(cpu), library = UpdateOnce(torch);
    ASSERT_EQ(library.gradient.size(), exact.gradient.size());
    EXPECT_NE(library.gradient, exact.gradient) << "the kernels ran on both sides";
    double size = 0, difference = 0;
    for (size_t i = 0; i < exact.gradient.size(); ++i) {
      size = std::max(size, std::abs(static_cast<double>(exact.gradient[i])));
      difference =
          std::max(difference, std::abs(static_cast<double>(exact.gradient[i]) - library.gradient[i]));
    }
    EXPECT_LT(difference, 1e-5 * size);
    // Adam's first steps are signs: where a gradient is nearly 0 the two may part.
    int64_t apart = 0;
    for (size_t i = 0; i < exact.weights.size(); ++i)
      apart += std::abs(exact.weights[i] - library.weights[i]) > 1e-5 ? 1 : 0;
    EXPECT_LT(apart, static_cast<int64_t>(exact.weights.size() / 100));
  }
}

}  // namespace
}  // namespace temper
