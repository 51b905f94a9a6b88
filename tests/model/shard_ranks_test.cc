// SPDX-License-Identifier: Apache-2.0
// Ranks that share the weights out (mesh.dp_shard) compute with the bits of one, keep their share of them,
// have one unit whole at a time, and send what the axis says.
#include <algorithm>

#include "comm/reduce.h"
#include "comm/threads.h"
#include "gtest/gtest.h"
#include "model/kv_cache.h"
#include "tests/model/odd_models.h"
#include "tests/model/slices.h"

namespace temper {
namespace {

constexpr int kShardRanks = 3;

// Each rank has sequences of its own; the last has none.
Sequences SequencesOf(int rank) {
  if (rank == kShardRanks - 1) return {};
  return {RandomTokens(711, 70 + rank, 1 + rank), RandomTokens(711, 1, 7), RandomTokens(711, 9 + rank, 4)};
}

// What a rank sends for a gathering: all but what its neighbour has.
int64_t SentFor(const Layout& layout, int64_t unit, int rank, int64_t bytes_each) {
  const LayoutUnit& of = layout.units()[unit];
  int64_t sent = 0;
  for (const int64_t n : {of.others.elements, of.experts.elements}) {
    const Share next = ShareOf(n, (rank + 1) % kShardRanks, kShardRanks);
    sent += (n - (next.end - next.begin)) * bytes_each;
  }
  return sent;
}

std::unique_ptr<CausalLm> SharedPolicy(const Json& json, bool rounded, kernels::Backend* backend,
                                       const Mesh& mesh) {
  const ModelConfig config = Parsed(json);
  return std::make_unique<CausalLm>(config, Slice(RandomParameters(config), Layout(config, mesh.place())),
                                    backend, rounded, mesh);
}

class ShardRanks : public ::testing::TestWithParam<Json> {};

TEST_P(ShardRanks, HaveTheLogprobsOfOneAndSendEachUnitOnce) {
  const ModelConfig config = Parsed(GetParam());
  for (const bool rounded : {false, true}) {
    ThreadPool pool(2);
    kernels::CpuBackend backend(&pool);
    CausalLm alone(config, RandomParameters(config), &backend, rounded);
    std::vector<std::vector<float>> expected;
    for (int rank = 0; rank < kShardRanks; ++rank)
      expected.push_back(PackedLogprobs(alone, SequencesOf(rank), 0.9f));
    ThreadWorld(kShardRanks).Run([&](Communicator& comm) {
      const Mesh mesh = Mesh::Create({.dp_shard = kShardRanks}, comm).value();
      ThreadPool mine(1);
      kernels::CpuBackend own(&mine);
      const std::unique_ptr<CausalLm> model = SharedPolicy(GetParam(), rounded, &own, mesh);
      Communicator& ranks = mesh.axis(Axis::kDpShard);
      const int64_t before = ranks.sent_bytes();
      EXPECT_EQ(PackedLogprobs(*model, SequencesOf(comm.rank()), 0.9f), expected[comm.rank()]);
      const Layout& layout = model->parameters().layout();
      const Weights& weights = model->weights();
      int64_t largest = 0, sent = 0, kept = 0, all = 0;
      for (size_t unit = 0; unit < layout.units().size(); ++unit) {
        sent += SentFor(layout, static_cast<int64_t>(unit), comm.rank(), 4);
        largest = std::max(largest, layout.units()[unit].trained_elements());
        all += layout.units()[unit].trained_elements();
      }
      // A tied head is the embedding again.
      if (config.tie_word_embeddings) sent += SentFor(layout, weights.embedding_unit(), comm.rank(), 4);
      if (!rounded) {
        EXPECT_EQ(ranks.sent_bytes() - before, sent);
        EXPECT_EQ(weights.gathered_bytes(), largest * 4);
      } else {
        EXPECT_LT(ranks.sent_bytes() - before, sent * 3 / 5);
        EXPECT_LT(weights.gathered_bytes(), largest * 3);
      }
      for (const Parameter& parameter : weights.computed().list())
        if (parameter.trained) kept += parameter.value.numel();
      EXPECT_EQ(kept, layout.trained_elements());
      EXPECT_LE(kept, all / kShardRanks + static_cast<int64_t>(layout.units().size()));
      EXPECT_EQ(weights.packed_bytes(), 0);
    });
  }
}

INSTANTIATE_TEST_SUITE_P(Models, ShardRanks,
                         ::testing::Values(OddDeepseek(), OddDeepseekV2(), OddQwen2(), OddQwen3Moe()));

}  // namespace
}  // namespace temper
