// SPDX-License-Identifier: Apache-2.0
// An update on ranks that share the products of each layer (mesh.tp), alone and beside ranks that share the
// samples, leaves the weights, the moments and the figures of one rank.
#include <cmath>

#include "comm/threads.h"
#include "gtest/gtest.h"
#include "tests/trainer/update/layouts.h"

namespace temper {
namespace {

TEST(UpdateOnTensorRanks, OfLatentAttentionAndExpertsHasTheBitsOfOne) {
  ExpectLayoutsHaveTheBitsOfOne(SharedByFour(OddDeepseek(), 8),
                                {{.dp_replicate = 1, .tp = 4}, {.dp_replicate = 2, .tp = 2}});
}

TEST(UpdateOnTensorRanks, OfAnMtpModuleHasTheBitsOfOne) {
  ExpectLayoutsHaveTheBitsOfOne(
      SharedByFour(OddMtp(), 8),
      {{.dp_replicate = 2, .tp = 2}, {.dp_replicate = 1, .tp = 4, .sequence_parallel = true}});
}

TEST(UpdateOnTensorRanks, OfGroupedAttentionAndATiedHeadHasTheBitsOfOne) {
  ExpectLayoutsHaveTheBitsOfOne(SharedByFour(OddQwen2(), 4),
                                {{.dp_replicate = 1, .tp = 2}, {.dp_replicate = 3, .tp = 2}});
}

// Rows that do not divide, fewer rows than ranks, short sequences and long ones.
TEST(UpdateOnTensorRanks, ThatShareRowsHasTheBitsOfOne) {
  ExpectLayoutsHaveTheBitsOfOne(SharedByFour(OddDeepseek(), 8),
                                {{.dp_replicate = 1, .tp = 4, .sequence_parallel = true}});
  ExpectLayoutsHaveTheBitsOfOne(SharedByFour(OddQwen2(), 4),
                                {{.dp_replicate = 1, .tp = 4, .sequence_parallel = true},
                                 {.dp_replicate = 1, .tp = 2, .cp = 2, .sequence_parallel = true}},
                                /*tokens=*/1, /*leaves=*/5, {1100});
}

// A value that is not finite on one rank alone, in its part of a weight, makes no rank take the step.
TEST(UpdateOnTensorRanks, ThatIsOutOfRangeOnOneLeavesTheWeightsOfAll) {
  const Json json = SharedByFour(OddQwen3(), 4);
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
