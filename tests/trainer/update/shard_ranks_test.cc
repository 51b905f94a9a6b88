// SPDX-License-Identifier: Apache-2.0
// An update on ranks that share the weights out (mesh.dp_shard), alone and beside others, leaves the weights,
// the moments and the figures of one rank.
#include <cmath>
#include <limits>

#include "comm/reduce.h"
#include "tests/trainer/update/layouts.h"

namespace temper {
namespace {

// A down projection takes more than one piece of the norm.
Json Wide(Json json) {
  json.update(Json::parse(R"({"intermediate_size": 1404})"));
  return json;
}

TEST(UpdateOnShardRanks, OfLatentAttentionAndExpertsHasTheBitsOfOne) {
  ExpectLayoutsHaveTheBitsOfOne(Wide(OddDeepseek()), {{.dp_replicate = 1, .dp_shard = 2},
                                                      {.dp_replicate = 1, .dp_shard = 3},
                                                      {.dp_replicate = 2, .dp_shard = 2}});
}

TEST(UpdateOnShardRanks, OfGroupedAttentionAndATiedHeadHasTheBitsOfOne) {
  ExpectLayoutsHaveTheBitsOfOne(Wide(OddQwen2()),
                                {{.dp_replicate = 1, .dp_shard = 4}, {.dp_replicate = 2, .dp_shard = 2}});
}

// A tied head, leaves of several microbatches and of one, and a long sequence.
TEST(UpdateOnShardRanks, OfAnMtpModuleHasTheBitsOfOne) {
  ExpectLayoutsHaveTheBitsOfOne(OddMtp(), {{.dp_replicate = 1, .dp_shard = 3}});
  ExpectLayoutsHaveTheBitsOfOne(With(OddMtp(), "tie_word_embeddings", true),
                                {{.dp_replicate = 1, .dp_shard = 2, .ep = 2}, {.dp_replicate = 3}},
                                /*tokens=*/4096, /*leaves=*/5, {1100});
}

TEST(UpdateOnShardRanks, OfLeavesThatAreOneMicrobatchEachHasTheBitsOfOne) {
  ExpectLayoutsHaveTheBitsOfOne(Wide(OddDeepseek()), {{.dp_replicate = 1, .dp_shard = 3}}, /*tokens=*/4096);
  ExpectLayoutsHaveTheBitsOfOne(Wide(OddQwen2()), {{.dp_replicate = 1, .dp_shard = 3}}, /*tokens=*/4096);
}

// More leaves than sequences: some ranks have nothing.
TEST(UpdateOnShardRanks, OfWhomSomeHaveNoSequenceHasTheBitsOfOne) {
  ExpectLayoutsHaveTheBitsOfOne(OddQwen3Moe(), {{.dp_replicate = 1, .dp_shard = 13}}, /*tokens=*/4096,
                                /*leaves=*/13);
}

TEST(UpdateOnShardRanks, WhoShareTheProductsToo) {
  Json json = Wide(OddDeepseek());
  json.update(
      Json::parse(R"({"num_attention_heads": 4, "num_key_value_heads": 4, "moe_intermediate_size": 28})"));
  ExpectLayoutsHaveTheBitsOfOne(
      json, {{.dp_replicate = 1, .dp_shard = 3, .tp = 2}, {.dp_replicate = 2, .dp_shard = 2, .tp = 2}});
}

// Of a leaf that is one microbatch: weights there and back, each unit once but for what still lies there, and
// the integers of each gradient once. Nothing is of the model's size.
void ExpectShares(const MeshSizes& sizes) {
  const auto share_ranks = static_cast<int>(RanksOf(sizes));
  ThreadWorld(share_ranks).Run([&](Communicator& comm) {
    const Mesh mesh = Mesh::Create(sizes, comm).value();
    Policy policy(OddDeepseek(), mesh);
    Weights& weights = policy.model.weights();
    Communicator& ranks = mesh.sharers();
    const auto leaves = MakeLeafGradients(&policy.model, {.bits = 50, .leaves = 5});
    TrainPass pass(&policy.model.stack(), TrainPass::Keep::kAll);
    const Microbatch batch = Packed({RandomTokens(711, 20 + comm.rank(), 1)});
    std::vector<float> logprobs(batch.tokens.size());
    const int64_t before = ranks.sent_bytes();
    leaves->Bind({.leaf = 0, .last = true});
    pass.Logprobs(batch, 1.0f, logprobs.data());
    pass.Backward(logprobs.data());
    int64_t expected = 0, all = 0;
    const Layout& layout = policy.model.parameters().layout();
    for (int64_t unit = 0; unit < static_cast<int64_t>(layout.units().size()); ++unit) {
      const LayoutUnit& of = layout.units()[unit];
      // Norm, head and the last layer lie there still when the way back begins; the embedding's weights are
      // not needed on it.
      const int64_t layer = layout.entries()[of.begin].layer;
      const int times = layer >= 0 && layer < policy.model.config().num_layers - 1 ? 2 : 1;
      for (const int64_t n : {of.others.elements, of.experts.elements}) {
        const Share share = ShareOf(n, comm.rank(), share_ranks);
        const int64_t own = share.end - share.begin;
        expected += times * 4 * (share_ranks - 1) * own + 8 * (n - own);
      }
      all += of.trained_elements();
    }
    EXPECT_EQ(ranks.sent_bytes() - before, expected);
    EXPECT_LE(layout.trained_elements(), all / share_ranks + static_cast<int64_t>(layout.units().size()));
    Optimizer optimizer(&policy.model);
    EXPECT_EQ(optimizer.m().numel(), layout.trained_elements());
    EXPECT_EQ(optimizer.v().numel(), layout.trained_elements());
  });
}

TEST(UpdateOnShardRanks, KeepTheirShareAndSendWhatTheAxisSays) {
  for (const MeshSizes& sizes :
       {MeshSizes{.dp_replicate = 1, .dp_shard = 3}, MeshSizes{.dp_replicate = 1, .dp_shard = 2, .cp = 2},
        MeshSizes{.dp_replicate = 1, .cp = 4}})
    ExpectShares(sizes);
}

// A value that is not finite in one rank's leaf makes no rank take the step.
TEST(UpdateOnShardRanks, ThatIsOutOfRangeOnOneLeavesTheWeightsOfAll) {
  const Sample sample(OddQwen3());
  ThreadWorld(3).Run([&](Communicator& comm) {
    const Mesh mesh = Mesh::Create({.dp_shard = 3}, comm).value();
    Policy policy(OddQwen3(), mesh);
    const Parameters before = policy.model.parameters().Clone();
    Optimizer optimizer(&policy.model);
    StepOptions options{64, 5, TrainPass::Keep::kAll};
    options.gradient_bits = 58;
    Updater updater(&policy.model, &optimizer, options, mesh);
    const Leaves leaves = sample.Deal(5);
    for (const float wrong : {40.0f, std::numeric_limits<float>::quiet_NaN()}) {
      const StepResult result = updater.Update(leaves, kTemperature, {}, 1e-3,
                                               [&](const TrainSequence& sequence, absl::Span<const float>,
                                                   absl::Span<float> dlogprobs, LossSums*) {
                                                 if (&sequence == leaves[1].front()) dlogprobs[0] = wrong;
                                               });
      EXPECT_FALSE(result.applied || result.skipped);
      EXPECT_TRUE(std::isnan(result.gradient_norm));
    }
    for (const Parameter& parameter : policy.model.parameters().list())
      EXPECT_TRUE(parameter.value.equal(before[parameter.name]));
  });
}

}  // namespace
}  // namespace temper
