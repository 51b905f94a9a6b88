// SPDX-License-Identifier: Apache-2.0
// An update on ranks that share the products of each layer (mesh.tp), alone and beside ranks that share the
// samples, leaves the weights, the moments and the figures of one rank.
#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "comm/threads.h"
#include "gtest/gtest.h"
#include "tests/trainer/update/sample.h"

namespace temper {
namespace {

// Sizes that four ranks share; the MLPs' down projections take more than one piece of the norm.
Json Shared(Json json, int64_t key_heads) {
  json.update(
      Json::parse(R"({"num_attention_heads": 8, "intermediate_size": 1404, "moe_intermediate_size": 28})"));
  json["num_key_value_heads"] = key_heads;
  return json;
}

struct Outcome {
  Parameters weights, m, v;
  StepResult last;
};

// A flat buffer's tensors.
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
  Updater updater(&policy.model, &optimizer, {tokens, 5, TrainPass::Keep::kAll}, mesh);
  const OptimizerConfig config{.learning_rate = 1e-3, .weight_decay = 0.1, .clip_norm = 1e-3};
  Outcome outcome;
  for (int64_t update = 0; update < 2; ++update) {
    outcome.last = updater.Update(
        sample.Deal(5), kTemperature, config, config.learning_rate,
        [&](const TrainSequence& sequence, absl::Span<const float> logprobs, absl::Span<float> dlogprobs,
            LossSums* sums) { PolicyLoss({}, sample.denominators, sequence, logprobs, dlogprobs, sums); });
    policy.model.WeightsChanged(update + 1);
  }
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
    ThreadWorld world(static_cast<int>(sizes.dp_replicate * sizes.tp));
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
      EXPECT_EQ(got.last.grown, alone.last.grown) << what;
      EXPECT_EQ(got.last.growth, alone.last.growth) << what;
      EXPECT_EQ(got.last.largest, alone.last.largest) << what;
      EXPECT_EQ(got.last.local_tokens<alone.last.local_tokens, sizes.dp_replicate> 1) << what;
    });
  }
}

TEST(UpdateOnTensorRanks, OfLatentAttentionAndExpertsHasTheBitsOfOne) {
  ExpectTheBitsOfOne(Shared(OddDeepseek(), 8), {{.dp_replicate = 1, .tp = 4}, {.dp_replicate = 2, .tp = 2}});
}

TEST(UpdateOnTensorRanks, OfGroupedAttentionAndATiedHeadHasTheBitsOfOne) {
  ExpectTheBitsOfOne(Shared(OddQwen2(), 4), {{.dp_replicate = 1, .tp = 2}, {.dp_replicate = 3, .tp = 2}});
}

// A value that is not finite on one rank alone, in its part of a weight, makes no rank take the step.
TEST(UpdateOnTensorRanks, ThatIsOutOfRangeOnOneLeavesTheWeightsOfAll) {
  const Json json = Shared(OddQwen3(), 4);
  const Sample sample(json);
  ThreadWorld world(2);
  world.Run([&](Communicator& comm) {
    const Mesh mesh = Mesh::Create({.tp = 2}, comm).value();
    Policy policy(json, mesh);
    const Parameters before = policy.model.parameters().Clone();
    Optimizer optimizer(&policy.model);
    // The head's gradient of the token that is predicted passes this rule's largest value, on its owner only.
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
