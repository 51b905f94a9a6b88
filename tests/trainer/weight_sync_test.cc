// SPDX-License-Identifier: Apache-2.0
#include "trainer/weight_sync.h"

#include <cmath>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "comm/threads.h"
#include "gtest/gtest.h"
#include "tests/model/odd_models.h"

namespace temper {
namespace {

// Sizes that two ranks share, and ten experts, which ranks of ep have unlike numbers of.
Json Deep(Json json, int64_t key_heads) {
  json.update(Json::parse(R"({"num_attention_heads": 4, "intermediate_size": 92, "moe_intermediate_size": 28,
      "num_hidden_layers": 5})"));
  json["num_key_value_heads"] = key_heads;
  return json;
}

// Which elements of the whole this rank keeps.
std::vector<bool> KeptElements(const LayoutEntry& entry) {
  const int64_t width = entry.whole.size() == 2 ? entry.whole[1] : 1;
  std::vector<bool> kept(entry.whole[0] * width);
  for (const LayoutBlock& block : BlocksOf(entry))
    for (const LayoutRun& run : RunsOf(block, width))
      for (int64_t i = 0; i < run.count; ++i) kept[run.first + i] = true;
  return kept;
}

// Bytes of what the rank wants and has not got.
int64_t LackedBytes(const Parameters& has, const Parameters& wants) {
  int64_t bytes = 0;
  for (const Parameter& parameter : wants.list()) {
    std::vector<bool> lacked = KeptElements(parameter);
    if (const int64_t entry = has.layout().Find(parameter.name); entry >= 0) {
      const std::vector<bool> kept = KeptElements(has.layout().entries()[entry]);
      for (size_t i = 0; i < lacked.size(); ++i) lacked[i] = lacked[i] && !kept[i];
    }
    for (const bool element : lacked) bytes += element ? parameter.value.element_size() : 0;
  }
  return bytes;
}

struct Pair {
  MeshSizes from, to;
};

struct Outcome {
  int64_t sent = 0, lacked = 0;
};

// `rounded`: to bf16.
std::vector<Outcome> Synced(const Json& json, const Pair& pair, bool rounded = false) {
  const ModelConfig config = Parsed(json);
  ThreadPool pool(1);
  kernels::CpuBackend backend(&pool);
  Parameters whole = RandomParameters(config);
  if (rounded) {
    Parameters numbers = ForRounded(whole, backend);
    Round(whole, backend, &numbers);
    whole = std::move(numbers);
  }
  std::vector<Outcome> outcomes(RanksOf(pair.from));
  ThreadWorld(static_cast<int>(outcomes.size())).Run([&](Communicator& world) {
    const MeshPlace from = PlaceOf(pair.from, world.rank()), to = PlaceOf(pair.to, world.rank());
    ThreadPool own_pool(1);
    kernels::CpuBackend own(&own_pool);
    const Parameters mine = Slice(whole, Layout(config, from));
    Parameters copy = WithoutNumbers(config, to, own, rounded);
    for (const Parameter& parameter : copy.list()) parameter.value.fill_(std::nan(""));
    const WeightSync sync(config, mine.layout(), copy.layout());
    for (int time = 0; time < 2; ++time) {
      const int64_t before = world.sent_bytes();
      sync.Copy(mine, world, &copy);
      EXPECT_EQ(world.sent_bytes() - before, sync.SentBytes(mine));
      const Parameters expected = Slice(whole, Layout(config, to));
      for (const Parameter& parameter : copy.list())
        EXPECT_TRUE(parameter.value.equal(expected[parameter.name]))
            << MeshText(pair.from) << " to" << MeshText(pair.to) << ", rank " << world.rank() << ": "
            << parameter.name;
    }
    outcomes[world.rank()] = {sync.SentBytes(mine), LackedBytes(mine, copy)};
  });
  return outcomes;
}

int64_t Sum(const std::vector<Outcome>& outcomes, int64_t Outcome::*bytes) {
  int64_t sum = 0;
  for (const Outcome& outcome : outcomes) sum += outcome.*bytes;
  return sum;
}

const std::vector<Pair> kPairs = {
    {{.dp_replicate = 1, .dp_shard = 2, .pp = 2}, {.dp_replicate = 2, .tp = 2}},
    {{.dp_replicate = 1, .tp = 2}, {.dp_replicate = 1, .pp = 2}},
    {{.dp_replicate = 1, .dp_shard = 3}, {.dp_replicate = 3}},
    {{.dp_replicate = 3}, {.dp_replicate = 1, .dp_shard = 3}},
    {{.dp_replicate = 1, .pp = 2, .ep = 2}, {.dp_replicate = 1, .tp = 2, .ep = 2}},
    {{.dp_replicate = 1, .dp_shard = 2, .ep = 2}, {.dp_replicate = 2, .pp = 2}},
    {{.dp_replicate = 2, .pp = 2, .cp = 2}, {.dp_replicate = 1, .dp_shard = 2, .tp = 2, .ep = 2}},
    {{.dp_replicate = 1, .pp = 2, .tp = 2, .pp_chunks = 2}, {.dp_replicate = 1, .pp = 2, .ep = 2}},
};

TEST(WeightSync, BringsEachRankWhatItLacksOnce) {
  for (const Pair& pair : kPairs) {
    const std::vector<Outcome> outcomes = Synced(Deep(OddDeepseek(), 4), pair);
    EXPECT_EQ(Sum(outcomes, &Outcome::sent), Sum(outcomes, &Outcome::lacked))
        << MeshText(pair.from) << " to" << MeshText(pair.to);
  }
}

TEST(WeightSync, KnowsATiedHeadAndBiases) {
  for (const Pair& pair :
       std::vector<Pair>{{{.dp_replicate = 1, .dp_shard = 2, .pp = 2}, {.dp_replicate = 2, .tp = 2}},
                         {{.dp_replicate = 1, .pp = 4}, {.dp_replicate = 2, .pp = 2}},
                         {{.dp_replicate = 2, .tp = 2}, {.dp_replicate = 1, .dp_shard = 2, .pp = 2}}}) {
    const std::vector<Outcome> outcomes = Synced(Deep(OddQwen2(), 2), pair);
    EXPECT_EQ(Sum(outcomes, &Outcome::sent), Sum(outcomes, &Outcome::lacked));
  }
}

TEST(WeightSync, SendsRoundedWeightsAsTheyAre) {
  const std::vector<Outcome> rounded = Synced(Deep(OddDeepseek(), 4), kPairs[0], /*rounded=*/true),
                             whole = Synced(Deep(OddDeepseek(), 4), kPairs[0]);
  EXPECT_EQ(Sum(rounded, &Outcome::sent), Sum(rounded, &Outcome::lacked));
  EXPECT_LT(Sum(rounded, &Outcome::sent), 0.51 * static_cast<double>(Sum(whole, &Outcome::sent)));
}

// Of ranks that keep the same each sends to those that stand where it does.
TEST(WeightSync, SharesTheSendingOut) {
  const Json json = Deep(OddLlama(), 2);
  for (const Outcome& outcome : Synced(json, {{.dp_replicate = 2, .dp_shard = 2}, {.dp_replicate = 4}}))
    EXPECT_EQ(outcome.sent, outcome.lacked);
  for (const Outcome& outcome : Synced(json, {{.dp_replicate = 4}, {.dp_replicate = 2, .tp = 2}}))
    EXPECT_EQ(outcome.sent, 0) << "each has all";
}

}  // namespace
}  // namespace temper
