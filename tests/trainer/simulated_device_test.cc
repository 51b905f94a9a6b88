// SPDX-License-Identifier: Apache-2.0
// A run on the simulated GPU: the digest that the CPU's run has.
#include <array>
#include <numeric>

#include "comm/reduce.h"
#include "comm/threads.h"
#include "core/files/file.h"
#include "core/json/json.h"
#include "gtest/gtest.h"
#include "kernels/backends/device.h"
#include "tests/model/on_backend.h"
#include "tests/trainer/small_recipe.h"
#include "trainer/plan/counted.h"

namespace temper {
namespace {

// Pretraining, GRPO with its reference refreshed and tokens of an earlier policy, and SFT.
RecipeConfig Recipe(const std::string& model, const std::string& device) {
  RecipeConfig recipe = SmallRecipe(
      model,
      {"rl.steps=2", "rl.prompts_per_step=2", "rl.samples_per_prompt=2", "rl.sampling.max_new_tokens=6",
       "rl.reference_refresh_steps=1", "evaluation.problems=1", "evaluation.samples_per_prompt=1",
       "evaluation.hard_problems=0", "evaluation.during_every=0", "evaluation.sampling.max_new_tokens=4"});
  recipe.stages.resize(3);
  recipe.stages[0].pretrain.documents[0].count = 2;
  recipe.stages[2].sft.documents.resize(1);
  recipe.stages[2].sft.documents[0].count = 2;
  recipe.device = device;
  return recipe;
}

// Stands for NCCL: what lies in the memory of the ranks' devices is added up there.
class SimulatedRanks final : public DeviceRanks {
 public:
  explicit SimulatedRanks(Communicator* host) : host_(*host) {}

  void SumIntegers(int64_t* numbers, int64_t count) override {
    const kernels::Matrix words = kernels::F32(reinterpret_cast<float*>(numbers), 1, 2 * count);
    std::vector<int64_t> mine(count), sums(count);
    device_->CopyToHost(words, mine.data());
    ::temper::SumIntegers(
        count,
        [&](int64_t begin, absl::Span<int64_t> to) {
          for (size_t i = 0; i < to.size(); ++i) to[i] += mine[begin + i];
        },
        [&](int64_t begin, absl::Span<const int64_t> done) {
          std::copy(done.begin(), done.end(), sums.begin() + begin);
        },
        host_);
    std::vector<int64_t> edges;
    for (int r = 0; r <= host_.size(); ++r) edges.push_back(8 * ShareOf(count, r, host_.size()).begin);
    GatherBytes(sums.data(), edges, host_);
    device_->CopyFromHost(sums.data(), words);
    ++calls_;
  }
  void GiveUp() override {}
  int64_t calls() const { return calls_; }

 private:
  Communicator& host_;
  ThreadPool pool_{1};
  const std::unique_ptr<kernels::Backend> device_ = kernels::sim::MakeBackend(&pool_, {});
  int64_t calls_ = 0;
};

// Two ranks share the samples, and their gradients are summed where they are.
TEST(SimulatedDevice, RunsARecipeOnTwoRanksToTheDigestOfOneOfTheCpu) {
  const TestFolder folder;
  WriteSmallModel(folder / "model");
  SelfCommunicator self;
  const absl::Status status = RunRecipe(Recipe(folder / "model", "cpu"), folder / "cpu", self, Never);
  ASSERT_TRUE(status.ok()) << status;
  const std::string run = folder / "sim";
  ThreadWorld(2).Run([&](Communicator& world) {
    auto device = std::make_unique<SimulatedRanks>(&world);
    const SimulatedRanks& summed = *device;
    world.set_device(std::move(device));
    const absl::Status status = RunRecipe(Recipe(folder / "model", "sim"), run, world, Never);
    EXPECT_TRUE(status.ok()) << status;
    EXPECT_GT(summed.calls(), 0);
  });
  EXPECT_EQ(Digest(run), Digest(folder / "cpu"));
  const auto text = ReadFile(run + "/summary.json");
  ASSERT_TRUE(text.ok()) << text.status();
  for (const Json& row : Json::parse(*text)) EXPECT_EQ(row["exact"], true) << row;
}

TEST(SimulatedDevice, RunsARecipeOfBf16WeightsToTheDigestOfTheCpu) {
  const TestFolder folder;
  WriteSmallModel(folder / "model");
  const auto digest = [&](const std::string& device) {
    RecipeConfig recipe = Recipe(folder / "model", device);
    recipe.weights = recipe.cache = kernels::Type::kBf16;
    recipe.stages.resize(2);
    recipe.stages[1].rl.steps = 1;
    SelfCommunicator self;
    const absl::Status status = RunRecipe(recipe, folder / device, self, Never);
    EXPECT_TRUE(status.ok()) << status;
    return Digest(folder / device);
  };
  EXPECT_EQ(digest("sim"), digest("cpu"));
}

// What was taken for a microbatch, a sum of two leaves and a token behind 1,100 others, as long as this
// lives.
struct Work {
  explicit Work(CausalLm* model)
      : cache(model->config(), 18, model->backend()), pass(&model->stack(), TrainPass::Keep::kAll) {
    kernels::Backend& backend = model->backend();
    const int64_t floats = model->weights().GradientFloats();
    for (std::shared_ptr<void>& leaf : leaves) leaf = backend.Allocate(4 * floats);
    const auto leaf = [&](size_t i) { return static_cast<float*>(leaves[i].get()); };
    for (size_t i = 0; i < leaves.size(); ++i) backend.Zero(kernels::F32(leaf(i), 1, floats));
    model->weights().BindGradients(leaf(0));
    const Microbatch batch = Packed({RandomTokens(kVocabulary, 70, 1), RandomTokens(kVocabulary, 9, 2)});
    std::vector<float> logprobs(79), dlogprobs(79, 0.1f);
    pass.Logprobs(batch, 1, logprobs.data());
    pass.Backward(dlogprobs.data());
    kernels::LeafSum sum{.rule = {.leaves = 2}, .n = floats, .first = leaf(0)};
    backend.AddLeaf(leaf(1), &sum);
    std::vector<int64_t> quanta(floats);
    backend.AddQuanta(sum, 0, absl::MakeSpan(quanta));
    backend.SumOfSquares(leaf(0), floats);
    std::vector<int32_t> pages(18);
    std::iota(pages.begin(), pages.end(), 0);
    backend.Zero(kernels::F32(static_cast<float*>(cache.Block(0, 0)), 1, cache.bytes() / 4));
    const Matrix logits = model->Forward({{5}, {{1, 1100, pages}}}, cache, {0});
    const kernels::SampleParameters parameters[1] = {{.top_p = 0.9f}};
    const double uniforms[1] = {0.5};
    kernels::SampledToken token;
    backend.Sample({logits, parameters, uniforms, {&token, 1}});
  }
  KvCache cache;
  TrainPass pass;
  std::array<std::shared_ptr<void>, 2> leaves;
};

TEST(SimulatedDevice, TakesWhatAPlanCounts) {
  for (const Json& json : {OddDeepseek(), OddWindows()}) {
    const ModelConfig config = Parsed(json);
    const int64_t before = kernels::sim::TakenBytes();
    ThreadPool pool(1);
    const std::unique_ptr<kernels::Backend> device =
        kernels::sim::MakeBackend(&pool, {.stream = {.watched = false, .host_memory = false}});
    CausalLm model(config, RandomParameters(config), device.get());
    const Work on_device(&model);
    CountedRank rank({.on_gpu = true});
    const std::unique_ptr<CausalLm> without_numbers = rank.NewPolicy(config, /*trained=*/true);
    const Work counted(without_numbers.get());
    EXPECT_EQ(rank.backend().bytes() + rank.backend().scratch_bytes(), kernels::sim::TakenBytes() - before);
    EXPECT_GT(rank.backend().scratch_bytes(), 79 * kVocabulary * 4);
  }
}

}  // namespace
}  // namespace temper
