// SPDX-License-Identifier: Apache-2.0
// An update on ranks that share the layers (mesh.pp), under every schedule, alone and beside ranks that share
// the samples or the products, leaves the weights, the moments and the figures of one rank.
#include <cmath>
#include <string>

#include "comm/threads.h"
#include "gtest/gtest.h"
#include "tests/trainer/update/sample.h"

namespace temper {
namespace {

Json Deep(Json json) {
  json["num_hidden_layers"] = 5;
  return json;
}

struct Outcome {
  Parameters weights, m, v;
  StepResult last;
  std::vector<float> logprobs;
};

Parameters OfFlat(const at::Tensor& flat, const Layout& layout) {
  std::vector<at::Tensor> values;
  for (const LayoutEntry& entry : layout.entries()) {
    values.push_back(NewHostTensor(entry.shape).zero_());
    if (entry.trained)
      std::copy_n(flat.const_data_ptr<float>() + entry.offset, entry.elements,
                  values.back().mutable_data_ptr<float>());
  }
  return Parameters(layout, std::move(values));
}

Outcome TwoUpdates(const Json& json, const Sample& sample, int64_t tokens, const Mesh& mesh) {
  Policy policy(json, mesh);
  Optimizer optimizer(&policy.model);
  Updater updater(&policy.model, &optimizer, {tokens, 5, TrainPass::Keep::kAttention}, mesh);
  const OptimizerConfig config{.learning_rate = 1e-3, .weight_decay = 0.1, .clip_norm = 1e-3};
  Outcome outcome;
  for (int64_t update = 0; update < 2; ++update) {
    outcome.last = updater.Update(
        sample.Deal(5), kTemperature, config, config.learning_rate,
        [&](const TrainSequence& sequence, absl::Span<const float> logprobs, absl::Span<float> dlogprobs,
            LossSums* sums) { PolicyLoss({}, sample.denominators, sequence, logprobs, dlogprobs, sums); });
    policy.model.WeightsChanged(update + 1);
  }
  std::vector<const TrainSequence*> all;
  for (const TrainSequence& sequence : sample.sequences) all.push_back(&sequence);
  SequenceLogprobs(policy.model, all, tokens, kTemperature, [&](size_t, absl::Span<const float> logprobs) {
    outcome.logprobs.insert(outcome.logprobs.end(), logprobs.begin(), logprobs.end());
  });
  const Layout& layout = policy.model.parameters().layout();
  outcome.weights = policy.model.parameters().Clone();
  outcome.m = OfFlat(optimizer.m(), layout);
  outcome.v = OfFlat(optimizer.v(), layout);
  return outcome;
}

void ExpectPart(const Parameters& whole, const Parameters& part, const std::string& what) {
  const Parameters expected = Slice(whole, part.layout());
  for (const Parameter& parameter : part.list())
    EXPECT_TRUE(parameter.value.equal(expected[parameter.name])) << what << parameter.name;
}

void ExpectTheBitsOfOne(const Json& json, const std::vector<MeshSizes>& meshes) {
  const Sample sample(json);
  const Outcome alone = TwoUpdates(json, sample, 4096, Mesh::Single());
  ASSERT_TRUE(alone.last.applied);
  for (const MeshSizes& sizes : meshes) {
    ThreadWorld world(static_cast<int>(sizes.dp_replicate * sizes.pp * sizes.tp));
    world.Run([&](Communicator& comm) {
      const Mesh mesh = Mesh::Create(sizes, comm).value();
      const Outcome got = TwoUpdates(json, sample, 50, mesh);
      const std::string what =
          "rank " + std::to_string(comm.rank()) + " of " + std::to_string(comm.size()) + ": ";
      ExpectPart(alone.weights, got.weights, what + "weight ");
      ExpectPart(alone.m, got.m, what + "first moment ");
      ExpectPart(alone.v, got.v, what + "second moment ");
      EXPECT_EQ(got.last.gradient_norm, alone.last.gradient_norm) << what;
      EXPECT_EQ(got.last.sums.loss, alone.last.sums.loss) << what;
      EXPECT_EQ(got.last.sums.tokens, alone.last.sums.tokens) << what;
      EXPECT_EQ(got.last.grown, alone.last.grown) << what;
      EXPECT_EQ(got.last.largest, alone.last.largest) << what;
      EXPECT_EQ(got.logprobs, alone.logprobs) << what;
      EXPECT_EQ(got.last.bubble > 0, sizes.pp > 1) << what;
    });
  }
}

constexpr PipelineKind kLate = PipelineKind::kZeroBubble;

TEST(UpdateOnPipelineRanks, OfLatentAttentionAndExpertsHasTheBitsOfOne) {
  ExpectTheBitsOfOne(Deep(OddDeepseek()),
                     {{.dp_replicate = 1, .pp = 2},
                      {.dp_replicate = 1, .pp = 5, .pp_schedule = kLate},
                      {.dp_replicate = 1, .pp = 2, .pp_chunks = 2},
                      {.dp_replicate = 2, .pp = 2, .pp_chunks = 2, .pp_schedule = kLate}});
}

TEST(UpdateOnPipelineRanks, OfGroupedAttentionAndATiedHeadHasTheBitsOfOne) {
  ExpectTheBitsOfOne(Deep(OddQwen2()), {{.dp_replicate = 1, .pp = 3},
                                        {.dp_replicate = 3, .pp = 2, .pp_schedule = kLate},
                                        {.dp_replicate = 1, .pp = 2, .pp_chunks = 2, .pp_schedule = kLate},
                                        {.dp_replicate = 1, .pp = 2, .tp = 2}});
}

// A value that is not finite on one rank alone makes no rank take the step.
TEST(UpdateOnPipelineRanks, ThatIsOutOfRangeOnOneLeavesTheWeightsOfAll) {
  const Json json = Deep(OddQwen3());
  const Sample sample(json);
  ThreadWorld world(2);
  world.Run([&](Communicator& comm) {
    const Mesh mesh = Mesh::Create({.pp = 2}, comm).value();
    Policy policy(json, mesh);
    const Parameters before = policy.model.parameters().Clone();
    Optimizer optimizer(&policy.model);
    StepOptions options{64, 5, TrainPass::Keep::kAll};
    options.gradient_bits = 58;
    Updater updater(&policy.model, &optimizer, options, mesh);
    const Leaves leaves = sample.Deal(5);
    const StepResult result = updater.Update(
        leaves, kTemperature, {}, 1e-3,
        [&](const TrainSequence& sequence, absl::Span<const float>, absl::Span<float> dlogprobs, LossSums*) {
          if (&sequence == leaves[1].front()) dlogprobs[0] = 40.0f;
        });
    EXPECT_FALSE(result.applied || result.skipped);
    EXPECT_TRUE(std::isnan(result.gradient_norm));
    for (const Parameter& parameter : policy.model.parameters().list())
      EXPECT_TRUE(parameter.value.equal(before[parameter.name]));
  });
}

}  // namespace
}  // namespace temper
