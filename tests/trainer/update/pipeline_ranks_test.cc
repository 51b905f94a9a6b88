// SPDX-License-Identifier: Apache-2.0
// An update on ranks that share the layers (mesh.pp), under every schedule, alone and beside ranks that share
// the samples or the products, leaves the weights, the moments and the figures of one rank.
#include <cmath>

#include "tests/trainer/update/layouts.h"

namespace temper {
namespace {

Json Deep(Json json) {
  json["num_hidden_layers"] = 5;
  return json;
}

TEST(UpdateOnPipelineRanks, OfLatentAttentionAndExpertsHasTheBitsOfOne) {
  ExpectLayoutsHaveTheBitsOfOne(Deep(OddDeepseek()),
                                {{.dp_replicate = 1, .pp = 2},
                                 {.dp_replicate = 1, .pp = 5, .pp_schedule = kLate},
                                 {.dp_replicate = 1, .pp = 2, .pp_chunks = 2},
                                 {.dp_replicate = 2, .pp = 2, .pp_chunks = 2, .pp_schedule = kLate}});
}

TEST(UpdateOnPipelineRanks, OfGroupedAttentionAndATiedHeadHasTheBitsOfOne) {
  ExpectLayoutsHaveTheBitsOfOne(Deep(OddQwen2()),
                                {{.dp_replicate = 1, .pp = 3},
                                 {.dp_replicate = 3, .pp = 2, .pp_schedule = kLate},
                                 {.dp_replicate = 1, .pp = 2, .pp_chunks = 2, .pp_schedule = kLate},
                                 {.dp_replicate = 1, .pp = 2, .tp = 2}});
}

// The module is behind the last layer, and what it reads of the embedding comes from the first rank; a tied
// head is on both.
TEST(UpdateOnPipelineRanks, OfAnMtpModuleHasTheBitsOfOne) {
  ExpectLayoutsHaveTheBitsOfOne(OddMtp(), {{.dp_replicate = 1, .pp = 2, .pp_schedule = kLate}});
  Json json = Deep(OddMtp());
  json.update(Json::parse(R"({"num_attention_heads": 4, "num_key_value_heads": 4, "intermediate_size": 92,
                              "moe_intermediate_size": 28, "tie_word_embeddings": true})"));
  ExpectLayoutsHaveTheBitsOfOne(
      json, {{.dp_replicate = 1, .dp_shard = 2, .pp = 2, .pp_chunks = 2},
             {.dp_replicate = 1, .pp = 2, .tp = 2, .pp_schedule = kLate, .sequence_parallel = true}});
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
