// SPDX-License-Identifier: Apache-2.0
// An update on ranks that share the policy along several axes at once leaves the weights, the moments and the
// figures of one rank: each of the axes that cut weights beside each other one, under every schedule.
#include "tests/trainer/update/layouts.h"

namespace temper {
namespace {

// Sizes that two ranks share, and ten experts, which the ranks of mesh.ep have unlike numbers of.
Json Deep(Json json, int64_t key_heads) {
  json.update(Json::parse(R"({"num_attention_heads": 4, "intermediate_size": 92, "moe_intermediate_size": 28,
      "num_hidden_layers": 5})"));
  json["num_key_value_heads"] = key_heads;
  return json;
}

TEST(UpdateOnMixedRanks, WhoShareTheWeightsOutAndTheLayersHasTheBitsOfOne) {
  ExpectLayoutsHaveTheBitsOfOne(Deep(OddDeepseek(), 4),
                                {{.dp_replicate = 1, .dp_shard = 2, .pp = 2},
                                 {.dp_replicate = 2, .dp_shard = 2, .pp = 2, .pp_schedule = kLate},
                                 {.dp_replicate = 1, .dp_shard = 3, .pp = 2, .pp_chunks = 2},
                                 {.dp_replicate = 1, .dp_shard = 2, .pp = 2, .tp = 2, .pp_schedule = kLate}});
}

TEST(UpdateOnMixedRanks, WhoShareATiedHeadOutHasTheBitsOfOne) {
  const std::vector<MeshSizes> meshes = {
      {.dp_replicate = 1, .dp_shard = 3, .pp = 2},
      {.dp_replicate = 1, .dp_shard = 2, .pp = 2, .pp_chunks = 2, .pp_schedule = kLate},
      {.dp_replicate = 1, .dp_shard = 2, .pp = 5, .pp_schedule = kLate}};
  ExpectLayoutsHaveTheBitsOfOne(Deep(OddQwen2(), 2), meshes);
  // A leaf a microbatch: several are on their way in each rank.
  ExpectLayoutsHaveTheBitsOfOne(Deep(OddQwen2(), 2), meshes, /*tokens=*/4096, /*leaves=*/11);
}

TEST(UpdateOnMixedRanks, WhoShareTheExpertsAndTheLayersHasTheBitsOfOne) {
  ExpectLayoutsHaveTheBitsOfOne(Deep(OddDeepseek(), 4),
                                {{.dp_replicate = 1, .pp = 2, .ep = 2},
                                 {.dp_replicate = 2, .pp = 2, .ep = 2, .pp_schedule = kLate},
                                 {.dp_replicate = 1, .pp = 2, .ep = 4, .pp_chunks = 2, .pp_schedule = kLate},
                                 {.dp_replicate = 1, .pp = 2, .tp = 2, .ep = 2}});
  ExpectLayoutsHaveTheBitsOfOne(Deep(OddQwen3Moe(), 2),
                                {{.dp_replicate = 1, .pp = 3, .ep = 2, .pp_schedule = kLate}},
                                /*tokens=*/4096, /*leaves=*/11);
}

TEST(UpdateOnMixedRanks, WhoShareTheExpertsAndTheWeightsOutHasTheBitsOfOne) {
  ExpectLayoutsHaveTheBitsOfOne(Deep(OddDeepseek(), 4),
                                {{.dp_replicate = 1, .dp_shard = 2, .ep = 2},
                                 {.dp_replicate = 2, .dp_shard = 2, .ep = 4},
                                 {.dp_replicate = 1, .dp_shard = 2, .tp = 2, .ep = 2}},
                                /*tokens=*/50, /*leaves=*/16);
  ExpectLayoutsHaveTheBitsOfOne(Deep(OddQwen3Moe(), 2), {{.dp_replicate = 1, .dp_shard = 3, .ep = 4}},
                                /*tokens=*/4096, /*leaves=*/12);
}

// Each rank has a part of a range of experts.
TEST(UpdateOnMixedRanks, WhoShareTheExpertsBetweenSixteenHasTheBitsOfOne) {
  Json json = Deep(OddDeepseek(), 4);
  json.update(Json::parse(R"({"n_routed_experts": 24, "n_group": 4, "num_hidden_layers": 3})"));
  ExpectLayoutsHaveTheBitsOfOne(json,
                                {{.dp_replicate = 1, .dp_shard = 2, .tp = 2, .ep = 8},
                                 {.dp_replicate = 1, .pp = 2, .ep = 16, .pp_schedule = kLate}},
                                /*tokens=*/50, /*leaves=*/16);
}

TEST(UpdateOnMixedRanks, OfAllAxesHasTheBitsOfOne) {
  ExpectLayoutsHaveTheBitsOfOne(
      Deep(OddDeepseek(), 4),
      {{.dp_replicate = 1, .dp_shard = 2, .pp = 2, .ep = 2},
       {.dp_replicate = 1, .dp_shard = 2, .pp = 2, .tp = 2, .ep = 2, .pp_schedule = kLate},
       {.dp_replicate = 2, .dp_shard = 2, .pp = 2, .ep = 2, .pp_chunks = 2, .pp_schedule = kLate}},
      /*tokens=*/50, /*leaves=*/8);
}

TEST(UpdateOnMixedRanks, OfAllAxesWhereTensorRanksShareRowsHasTheBitsOfOne) {
  ExpectLayoutsHaveTheBitsOfOne(
      Deep(OddDeepseek(), 4),
      {{.dp_replicate = 1, .dp_shard = 2, .tp = 2, .ep = 2, .sequence_parallel = true},
       {.dp_replicate = 1, .pp = 2, .tp = 2, .cp = 2, .pp_schedule = kLate, .sequence_parallel = true}},
      /*tokens=*/50, /*leaves=*/8, {1100});
}

// What a rank has of a policy, and what it takes to train that.
struct Kept {
  int64_t others = 0, experts = 0;
};

// Of routed experts the ranks have each one's share, of all else those of each place of mesh.ep; moments go
// with them.
TEST(UpdateOnMixedRanks, KeepTheirShareOfWhatTheirAxesCut) {
  const Json json = Deep(OddDeepseek(), 4);
  const MeshSizes sizes{.dp_replicate = 1, .dp_shard = 2, .pp = 2, .ep = 2};
  std::vector<Kept> kept(RanksOf(sizes));
  ThreadWorld(static_cast<int>(RanksOf(sizes))).Run([&](Communicator& comm) {
    const Mesh mesh = Mesh::Create(sizes, comm).value();
    Policy policy(json, mesh);
    const Layout& layout = policy.model.parameters().layout();
    int64_t weights = 0;
    for (const Parameter& parameter : policy.model.parameters().list())
      if (parameter.trained) weights += parameter.value.numel();
    EXPECT_EQ(weights, layout.trained_elements());
    Optimizer optimizer(&policy.model);
    EXPECT_EQ(optimizer.m().numel(), layout.trained_elements());
    EXPECT_EQ(optimizer.v().numel(), layout.trained_elements());
    kept[comm.rank()] = {layout.trained_elements() - layout.expert_elements(), layout.expert_elements()};
  });
  const Layout whole(Parsed(json));
  std::vector<int64_t> others(sizes.ep);
  int64_t experts = 0;
  for (size_t rank = 0; rank < kept.size(); ++rank) {
    others[PlaceOf(sizes, static_cast<int64_t>(rank))[Axis::kEp]] += kept[rank].others;
    experts += kept[rank].experts;
  }
  EXPECT_EQ(experts, whole.expert_elements());
  for (const int64_t of_place : others)
    EXPECT_EQ(of_place, whole.trained_elements() - whole.expert_elements());
}

}  // namespace
}  // namespace temper
