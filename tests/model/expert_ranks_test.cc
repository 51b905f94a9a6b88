// SPDX-License-Identifier: Apache-2.0
// Ranks that share the experts and have rows of their own (mesh.ep), alone and beside ranks that share
// products (mesh.tp): each one's logprobs, gradients and logits are those that one rank has of the same rows.
// One of them has no rows at all.
#include <algorithm>

#include "comm/threads.h"
#include "gtest/gtest.h"
#include "model/kv_cache.h"
#include "tests/model/odd_models.h"

namespace temper {
namespace {

Json Shared(Json json) {
  json.update(Json::parse(R"({"num_attention_heads": 4, "num_key_value_heads": 4, "intermediate_size": 92,
      "moe_intermediate_size": 28})"));
  return json;
}
Json Deepseek() { return Shared(OddDeepseek()); }
Json DeepseekV2() { return Shared(OddDeepseekV2()); }
Json Qwen3Moe() { return Shared(OddQwen3Moe()); }
// All tokens of a row choose the same experts, so that some get all rows and others none.
Json OneChoice() {
  Json json = Shared(OddQwen3Moe());
  json["num_experts_per_tok"] = 1;
  return json;
}

// More ranks than ranges of ids, which have unlike numbers of experts.
Json DeepseekOfMany() {
  Json json = Deepseek();
  json.update(
      Json::parse(R"({"n_routed_experts": 24, "n_group": 4, "topk_group": 3, "num_experts_per_tok": 5})"));
  return json;
}
Json Qwen3MoeOfMany() {
  Json json = Qwen3Moe();
  json["num_experts"] = 19;
  return json;
}

// Of each rank that has samples of its own: two microbatches of other lengths.
std::vector<Sequences> MicrobatchesOf(int64_t rank) {
  if (rank == 1) return {{}, {RandomTokens(711, 1, 5)}};
  const uint64_t name = 100 * rank;
  return {{RandomTokens(711, 40 + 9 * rank, name), RandomTokens(711, 1, name + 1)},
          {RandomTokens(711, 7, name + 2)}};
}

struct Outcome {
  std::vector<float> logprobs, logits;
  std::vector<float> gradients;             // of one rank flat by the layout, else without the experts
  std::vector<std::vector<float>> experts;  // of each rank's leaf
};

Outcome ThereAndBack(CausalLm& model, int64_t rank, int64_t ep) {
  Outcome outcome;
  Weights& weights = model.weights();
  outcome.gradients.resize(weights.GradientFloats());
  std::vector<float*> buffers;
  for (int64_t r = 0; r < ep; ++r) outcome.experts.emplace_back(weights.ExpertFloats());
  for (std::vector<float>& buffer : outcome.experts) buffers.push_back(buffer.data());
  ep == 0 ? weights.BindGradients(outcome.gradients.data())
          : weights.BindGradients(outcome.gradients.data(), buffers);
  TrainPass pass(&model.stack(), TrainPass::Keep::kAttention);
  for (const Sequences& sequences : MicrobatchesOf(rank)) {
    const Microbatch batch = Packed(sequences);
    std::vector<float> logprobs(batch.tokens.size()), dlogprobs(batch.tokens.size());
    for (size_t i = 0; i < dlogprobs.size(); ++i) dlogprobs[i] = 0.1f * static_cast<float>(i % 7) - 0.3f;
    pass.Logprobs(batch, 0.7f, logprobs.data());
    pass.Backward(dlogprobs.data());
    outcome.logprobs.insert(outcome.logprobs.end(), logprobs.begin(), logprobs.end());
  }
  const KvCache cache(model.config(), 2, model.backend(), model.mesh().place());
  const std::vector<int32_t> pages = {1};
  for (int64_t step = 0; step < 2; ++step) {
    TokenBatch batch;
    std::vector<int32_t> rows;
    if (rank != 1) {
      batch.tokens = RandomTokens(711, step == 0 ? 6 : 1, rank + 10 * step);
      batch.sequences = {{static_cast<int64_t>(batch.tokens.size()), step * 6, pages}};
      rows = {static_cast<int32_t>(batch.tokens.size()) - 1};
    }
    const Matrix logits = model.Forward(batch, cache, rows);
    if (rank != 1) outcome.logits.insert(outcome.logits.end(), logits.f32(), logits.f32() + logits.cols);
  }
  return outcome;
}

// One tensor's part of a flat gradient of the whole policy.
std::vector<float> PartOf(const std::vector<float>& flat, const LayoutEntry& whole, const LayoutEntry& part) {
  std::vector<float> values;
  const int64_t cols = whole.shape.size() == 2 ? whole.shape[1] : 1,
                part_cols = part.shape.size() == 2 ? part.shape[1] : 1;
  for (int64_t row = 0; row < part.shape[0]; ++row) {
    const auto begin = flat.begin() + whole.offset + (part.first_row + row) * cols + part.first_column;
    values.insert(values.end(), begin, begin + part_cols);
  }
  return values;
}

struct Case {
  const char* name;
  Json (*json)();
  std::vector<MeshSizes> meshes;
};
class ExpertRanks : public ::testing::TestWithParam<Case> {};

TEST_P(ExpertRanks, HaveTheBitsOfOneForTheirRows) {
  const ModelConfig config = Parsed(GetParam().json());
  const Layout whole(config);
  for (const MeshSizes& sizes : GetParam().meshes) {
    std::vector<Outcome> alone;
    for (int64_t rank = 0; rank < sizes.ep; ++rank) {
      Policy policy(GetParam().json(), 1);
      alone.push_back(ThereAndBack(policy.model, rank, 0));
    }
    ThreadWorld world(static_cast<int>(sizes.ep * sizes.tp));
    world.Run([&](Communicator& comm) {
      const Mesh mesh = Mesh::Create(sizes, comm).value();
      const int64_t rank = mesh.place()[Axis::kEp];
      Policy policy(GetParam().json(), mesh);
      const Outcome got = ThereAndBack(policy.model, rank, sizes.ep);
      const std::string what =
          "ep " + std::to_string(sizes.ep) + ", rank " + std::to_string(comm.rank()) + " ";
      EXPECT_EQ(got.logprobs, alone[rank].logprobs) << what;
      EXPECT_EQ(got.logits, alone[rank].logits) << what;
      const auto same = [&](const std::vector<float>& mine, const Outcome& of, const LayoutEntry& entry) {
        EXPECT_EQ(mine, PartOf(of.gradients, whole.entries()[whole.Find(entry.name)], entry))
            << what << entry.name;
      };
      int64_t offset = 0, other = 0, of_experts = 0;
      for (const LayoutEntry& entry : policy.model.parameters().layout().entries()) {
        if (!entry.trained) continue;
        if (entry.expert < 0) {
          const auto begin = got.gradients.begin() + other;
          other += entry.elements;
          same({begin, begin + entry.elements}, alone[rank], entry);
          continue;
        }
        for (int64_t leaf = 0; leaf < sizes.ep; ++leaf) {
          const auto begin = got.experts[leaf].begin() + offset;
          same({begin, begin + entry.elements}, alone[leaf], entry);
        }
        offset += entry.elements;
        ++of_experts;
      }
      EXPECT_GT(of_experts, 0);
      EXPECT_EQ(offset, policy.model.weights().ExpertFloats());
    });
  }
}

// Every row has all experts, so that all are known: forward in each layer a row goes to each other rank, with
// ids and weights, and comes back as one; or where ranges are cut, as one of each expert there.
TEST(ExpertRanksOfAllExperts, SendWhatTheAxisSays) {
  const auto rows_of = [](int64_t rank) { return 5 + 3 * rank; };
  for (const int64_t ep : {2, 4, 16}) {
    Json json = ep == 16 ? Qwen3MoeOfMany() : Qwen3Moe();
    json["num_experts_per_tok"] = json["num_experts"];
    const ModelConfig config = Parsed(json);
    int64_t layers = 0;
    for (int64_t layer = 0; layer < config.num_layers; ++layer) layers += config.is_moe_layer(layer) ? 1 : 0;
    ASSERT_GT(layers, 0);
    ThreadWorld(static_cast<int>(ep)).Run([&](Communicator& comm) {
      const Mesh mesh = Mesh::Create({.dp_replicate = 1, .ep = ep}, comm).value();
      Policy policy(json, mesh);
      const Microbatch batch = Packed({RandomTokens(711, rows_of(comm.rank()), comm.rank())});
      std::vector<float> logprobs(batch.tokens.size());
      const Communicator& ranks = mesh.axis(Axis::kEp);
      const int64_t before = ranks.sent_bytes();
      policy.model.Logprobs(batch, 0.7f, logprobs.data());
      const IndexRange experts = ExpertsOf(config, mesh.place());
      const int64_t hidden = config.hidden_size, top_k = config.experts_per_token,
                    of_each = ep == 16 ? experts.end - experts.begin : 1;
      int64_t others = 0;
      for (int64_t rank = 0; rank < ep; ++rank) others += rank == comm.rank() ? 0 : rows_of(rank);
      const int64_t there = (ep - 1) * (8 + 4 * rows_of(comm.rank()) * (hidden + 2 * top_k)),
                    back = 4 * others * of_each * hidden;
      EXPECT_EQ(ranks.sent_bytes() - before, layers * (there + back)) << ep << ", rank " << comm.rank();
    });
  }
}

INSTANTIATE_TEST_SUITE_P(
    Models, ExpertRanks,
    ::testing::Values(
        Case{"deepseek_v3",
             Deepseek,
             {{.dp_replicate = 1, .ep = 2},
              {.dp_replicate = 1, .ep = 8},
              {.dp_replicate = 1, .tp = 2, .ep = 2}}},
        Case{
            "deepseek_v2", DeepseekV2, {{.dp_replicate = 1, .ep = 4}, {.dp_replicate = 1, .tp = 2, .ep = 4}}},
        Case{"qwen3_moe", Qwen3Moe, {{.dp_replicate = 1, .tp = 4, .ep = 2}, {.dp_replicate = 1, .ep = 4}}},
        Case{"one_choice", OneChoice, {{.dp_replicate = 1, .ep = 8}}},
        Case{"deepseek_of_many",
             DeepseekOfMany,
             {{.dp_replicate = 1, .ep = 16},
              {.dp_replicate = 1, .tp = 2, .ep = 8},
              {.dp_replicate = 1, .tp = 4, .ep = 6}}},
        Case{"qwen3_moe_of_many",
             Qwen3MoeOfMany,
             {{.dp_replicate = 1, .ep = 16}, {.dp_replicate = 1, .tp = 4, .ep = 4}}}),
    [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace temper
