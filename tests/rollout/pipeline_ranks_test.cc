// SPDX-License-Identifier: Apache-2.0
// Ranks that share the layers (mesh.pp) sample what one rank does, each with its own layers of the cache.
#include "comm/threads.h"
#include "gtest/gtest.h"
#include "tests/rollout/samples.h"

namespace temper {
namespace {

void ExpectTheSamplesOfOne(const Json& json, const std::vector<MeshSizes>& meshes, int64_t pages) {
  const ModelConfig config = Parsed(json);
  const std::vector<Prompt> prompts = Prompts({1, 70, 9, 70, 130});
  const SamplingOptions options = Options();
  const auto engine_options = [&](const MeshSizes& sizes) {
    return EngineOptions{.max_batch = 6,
                         .prefill_tokens = 50,
                         .draft_tokens = 4,
                         .cache_bytes = pages * KvCache::BytesPerPage(config, {sizes, {}})};
  };
  Policy alone(json, 1);
  Engine engine(&alone.model, engine_options({.dp_replicate = 1}));
  const Outcomes expected = Sampled(engine, Requests(prompts, 3), options);
  ASSERT_EQ(expected.size(), 15u);
  const int64_t all = engine.cache_bytes();
  for (const MeshSizes& sizes : meshes) {
    ThreadWorld world(static_cast<int>(sizes.pp * sizes.tp));
    world.Run([&](Communicator& comm) {
      const Mesh mesh = Mesh::Create(sizes, comm).value();
      Policy policy(json, mesh);
      Engine mine(&policy.model, engine_options(sizes));
      EXPECT_EQ(Sampled(mine, Requests(prompts, 3), options), expected) << "rank " << comm.rank();
      const int64_t layers = config.num_layers, most = MostLayers(config, sizes);
      if (sizes.tp == 1) EXPECT_EQ(mine.cache_bytes() * layers, all * most);
    });
  }
}

Json FiveLayers(Json json) { return With(std::move(json), "num_hidden_layers", 5); }

TEST(EngineOnPipelineRanks, OfLatentAttentionAndExpertsSamplesWhatOneDoes) {
  ExpectTheSamplesOfOne(FiveLayers(OddDeepseek()), {{.pp = 2}, {.pp = 5}, {.pp = 2, .pp_chunks = 2}}, 40);
}

// The cache is too small for all, so that samples give up their pages, on every rank the same.
TEST(EngineOnPipelineRanks, OfATiedHeadAndASmallCacheSamplesWhatOneDoes) {
  ExpectTheSamplesOfOne(FiveLayers(OddQwen2()), {{.pp = 3}, {.pp = 2, .tp = 2}}, 6);
}

}  // namespace
}  // namespace temper
