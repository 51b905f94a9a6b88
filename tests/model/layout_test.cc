// SPDX-License-Identifier: Apache-2.0
#include "model/layout.h"

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "core/check.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/model/configs.h"

namespace temper {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::StartsWith;

TEST(Layout, CountsInNameOrderAndGivesTheTrainedTheirOffsets) {
  const Layout layout({{"c", {2, 3}}, {"a", {5}}, {"b", {7}, LayoutEntry::Init::kZero, false}});
  std::vector<std::string> names;
  for (const LayoutEntry& entry : layout.entries()) names.push_back(entry.name);
  EXPECT_THAT(names, ElementsAre("a", "b", "c"));
  EXPECT_EQ(layout.elements(), 5 + 7 + 6);
  EXPECT_EQ(layout.trained_elements(), 5 + 6);
  EXPECT_EQ(layout.entries()[0].offset, 0);
  EXPECT_EQ(layout.entries()[2].offset, 5) << "b is not trained and takes no room";
  EXPECT_EQ(layout.entries()[2].elements, 6);
}

TEST(Layout, FindsByName) {
  const Layout layout({{"b", {1}}, {"a", {1}}});
  EXPECT_EQ(layout.Find("a"), 0);
  EXPECT_EQ(layout.Find("b"), 1);
  for (const char* name : {"", "aa", "c"}) EXPECT_EQ(layout.Find(name), -1) << name;
  EXPECT_THROW(Layout({{"a", {1}}, {"a", {1}}}), InternalError);
}

std::map<std::string, LayoutEntry> EntriesOf(const Json& json) {
  std::map<std::string, LayoutEntry> entries;
  std::string before;
  for (const LayoutEntry& entry : Layout(Parsed(json)).entries()) {
    EXPECT_LT(before, entry.name) << "name order";
    before = entry.name;
    entries[entry.name] = entry;
  }
  return entries;
}

TEST(Layout, DeepseekHasTheCheckpointsNamesAndShapes) {
  const auto entries = EntriesOf(TinyDeepseek());
  const auto shape = [&](const std::string& name) { return entries.at(name).shape; };
  EXPECT_THAT(shape("model.layers.0.self_attn.q_a_proj.weight"), ElementsAre(7, 12));
  EXPECT_THAT(shape("model.layers.0.self_attn.q_b_proj.weight"), ElementsAre(27, 7));
  EXPECT_THAT(shape("model.layers.0.self_attn.kv_a_proj_with_mqa.weight"), ElementsAre(10, 12));
  EXPECT_THAT(shape("model.layers.0.self_attn.kv_b_proj.weight"), ElementsAre(24, 6));
  EXPECT_THAT(shape("model.layers.0.self_attn.o_proj.weight"), ElementsAre(12, 9));
  EXPECT_THAT(shape("model.layers.0.mlp.gate_proj.weight"), ElementsAre(20, 12));
  EXPECT_THAT(shape("model.layers.1.mlp.experts.5.down_proj.weight"), ElementsAre(12, 9));
  EXPECT_THAT(shape("model.layers.1.mlp.shared_experts.up_proj.weight"), ElementsAre(18, 12));
  EXPECT_THAT(shape("model.layers.1.mlp.gate.weight"), ElementsAre(6, 12));
  EXPECT_EQ(entries.count("model.layers.1.mlp.gate_proj.weight"), 0u);
  // A layer: 2 norms and 7 tensors of attention; its MLP; then embedding, head and norm.
  EXPECT_EQ(entries.size(), 2u * (2 + 7) + 3 + (2 + 3 * 6 + 3) + 3);
  for (const auto& [name, entry] : entries) {
    EXPECT_EQ(entry.trained, name.find("e_score_correction_bias") == std::string::npos) << name;
  }
  EXPECT_EQ(entries.at("model.layers.1.mlp.experts.0.down_proj.weight").init, LayoutEntry::Init::kResidual);
  EXPECT_EQ(entries.at("model.layers.0.self_attn.o_proj.weight").init, LayoutEntry::Init::kResidual);

  const auto plain = EntriesOf(With(TinyDeepseek(), "q_lora_rank", nullptr));
  EXPECT_THAT(plain.at("model.layers.0.self_attn.q_proj.weight").shape, ElementsAre(27, 12));
  EXPECT_EQ(plain.count("model.layers.0.self_attn.q_a_proj.weight"), 0u);
}

TEST(Layout, TiedModelsHaveNoHeadAndQwen2HasQkvBiases) {
  const auto qwen = EntriesOf(TinyQwen2()), llama = EntriesOf(TinyLlama());
  EXPECT_EQ(qwen.count("lm_head.weight"), 0u);
  EXPECT_EQ(llama.count("lm_head.weight"), 1u);
  EXPECT_THAT(qwen.at("model.layers.1.self_attn.k_proj.bias").shape, ElementsAre(4));
  EXPECT_EQ(qwen.count("model.layers.1.self_attn.o_proj.bias"), 0u);
  EXPECT_EQ(llama.count("model.layers.1.self_attn.k_proj.bias"), 0u);
}

// The sizes of config.json as published, and the models' numbers of parameters as their safetensors count
// them.
TEST(Layout, PublishedModelsHaveTheirNumberOfParameters) {
  const std::vector<std::pair<const char*, int64_t>> models = {
      {R"({"model_type": "deepseek_v2", "vocab_size": 102400, "hidden_size": 2048, "num_hidden_layers": 27,
           "intermediate_size": 10944, "moe_intermediate_size": 1408, "num_attention_heads": 16,
           "num_key_value_heads": 16, "max_position_embeddings": 163840, "q_lora_rank": null,
           "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
           "n_routed_experts": 64, "n_shared_experts": 2, "num_experts_per_tok": 6, "n_group": 1,
           "topk_group": 1, "topk_method": "greedy", "scoring_func": "softmax", "norm_topk_prob": false,
           "first_k_dense_replace": 1, "moe_layer_freq": 1, "routed_scaling_factor": 1.0, "ep_size": 1,
           "seq_aux": true, "aux_loss_alpha": 0.001, "rope_theta": 10000, "auto_map": {"AutoConfig": "x.Y"},
           "rope_scaling": {"beta_fast": 32, "beta_slow": 1, "factor": 40, "mscale": 0.707,
             "mscale_all_dim": 0.707, "original_max_position_embeddings": 4096, "type": "yarn"}})",
       15706484224},
      {R"({"model_type": "deepseek_v3", "vocab_size": 129280, "hidden_size": 7168, "num_hidden_layers": 61,
           "intermediate_size": 18432, "moe_intermediate_size": 2048, "num_attention_heads": 128,
           "num_key_value_heads": 128, "max_position_embeddings": 163840, "q_lora_rank": 1536,
           "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
           "n_routed_experts": 256, "n_shared_experts": 1, "num_experts_per_tok": 8, "n_group": 8,
           "topk_group": 4, "first_k_dense_replace": 3, "num_nextn_predict_layers": 1})",
       671026419200},
      {R"({"model_type": "llama", "vocab_size": 128256, "hidden_size": 4096, "num_hidden_layers": 32,
           "intermediate_size": 14336, "num_attention_heads": 32, "num_key_value_heads": 8,
           "max_position_embeddings": 131072, "rope_theta": 500000.0, "pretraining_tp": 1,
           "rope_scaling": {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
             "original_max_position_embeddings": 8192, "rope_type": "llama3"}})",
       8030261248},
      {R"({"model_type": "mistral", "vocab_size": 32000, "hidden_size": 4096, "num_hidden_layers": 32,
           "intermediate_size": 14336, "num_attention_heads": 32, "num_key_value_heads": 8,
           "max_position_embeddings": 32768, "sliding_window": 4096, "rope_theta": 10000.0})",
       7241732096},
      {R"({"model_type": "qwen2", "vocab_size": 151936, "hidden_size": 896, "num_hidden_layers": 24,
           "intermediate_size": 4864, "num_attention_heads": 14, "num_key_value_heads": 2,
           "max_position_embeddings": 32768, "sliding_window": 32768, "max_window_layers": 21,
           "use_sliding_window": false, "tie_word_embeddings": true, "rope_theta": 1000000.0})",
       494032768},
      {R"({"model_type": "qwen3", "vocab_size": 151936, "hidden_size": 1024, "num_hidden_layers": 28,
           "intermediate_size": 3072, "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128,
           "max_position_embeddings": 40960, "sliding_window": null, "max_window_layers": 28,
           "use_sliding_window": false, "tie_word_embeddings": true, "attention_bias": false})",
       596049920},
      {R"({"model_type": "qwen3_moe", "vocab_size": 151936, "hidden_size": 2048, "num_hidden_layers": 48,
           "intermediate_size": 6144, "moe_intermediate_size": 768, "num_attention_heads": 32,
           "num_key_value_heads": 4, "head_dim": 128, "max_position_embeddings": 40960, "num_experts": 128,
           "num_experts_per_tok": 8, "decoder_sparse_step": 1, "mlp_only_layers": [],
           "norm_topk_prob": true, "max_window_layers": 48, "sliding_window": null,
           "use_sliding_window": false, "router_aux_loss_coef": 0.001, "output_router_logits": false})",
       30532122624},
  };
  for (const auto& [json, expected] : models) {
    EXPECT_EQ(Layout(Parsed(Json::parse(json))).elements(), expected) << std::string(json).substr(0, 40);
  }
}

TEST(Layout, Qwen3NormsItsHeadsAndHasNoBiases) {
  const auto entries = EntriesOf(TinyQwen3Moe());
  EXPECT_THAT(entries.at("model.layers.1.self_attn.q_norm.weight").shape, ElementsAre(6));
  EXPECT_THAT(entries.at("model.layers.1.self_attn.k_norm.weight").shape, ElementsAre(6));
  EXPECT_THAT(entries.at("model.layers.1.self_attn.q_proj.weight").shape, ElementsAre(18, 12));
  EXPECT_THAT(entries.at("model.layers.0.mlp.experts.4.up_proj.weight").shape, ElementsAre(9, 12));
  for (const auto& [name, entry] : entries) {
    EXPECT_TRUE(entry.trained) << name << ": a softmax router has no selection bias";
    EXPECT_EQ(name.find("bias"), std::string::npos) << name;
  }
}

TEST(Layout, LatentAttentionsBiasesAreThreeAndSharedExpertsHaveTheirs) {
  const auto entries = EntriesOf(With(With(TinyDeepseekV2(), "attention_bias", true), "mlp_bias", true));
  int biases = 0;
  for (const auto& [name, entry] : entries) biases += name.find(".bias") != std::string::npos ? 1 : 0;
  EXPECT_EQ(biases, 2 * 3 + 3 + 3);  // attention; the dense MLP; the shared experts
  EXPECT_THAT(entries.at("model.layers.0.self_attn.q_a_proj.bias").shape, ElementsAre(7));
  EXPECT_THAT(entries.at("model.layers.0.self_attn.kv_a_proj_with_mqa.bias").shape, ElementsAre(10));
  EXPECT_THAT(entries.at("model.layers.0.self_attn.o_proj.bias").shape, ElementsAre(12));
  EXPECT_THAT(entries.at("model.layers.1.mlp.shared_experts.up_proj.bias").shape, ElementsAre(18));
  EXPECT_EQ(EntriesOf(With(With(TinyDeepseekV2(), "attention_bias", true), "q_lora_rank", nullptr))
                .count("model.layers.0.self_attn.q_proj.bias"),
            0u);
}

MeshSizes SizesOf(int64_t tp, int64_t ep, int64_t pp) {
  return {.dp_replicate = 1, .pp = pp, .tp = tp, .ep = ep};
}

// Every element of every weight is some rank's, and one's only but for what ranks hold alike; one writes it.
TEST(Layout, RanksShareOutEveryWeight) {
  Json json = TinyDeepseek();
  json.update(
      Json::parse(R"({"num_attention_heads": 4, "vocab_size": 711, "n_routed_experts": 10, "n_group": 1,
    "topk_group": 1})"));
  const ModelConfig config = Parsed(json);
  const Layout whole(config);
  const MeshSizes shards = {.dp_replicate = 1, .dp_shard = 3};
  const MeshSizes sequences = {.dp_replicate = 1, .cp = 4};
  const MeshSizes all_axes = {.dp_replicate = 1, .dp_shard = 5, .pp = 2, .tp = 2, .ep = 2, .cp = 2};
  for (const MeshSizes& sizes : {SizesOf(2, 1, 1), SizesOf(1, 4, 1), SizesOf(1, 1, 2), SizesOf(2, 2, 2),
                                 SizesOf(2, 4, 2), shards, sequences, all_axes}) {
    ASSERT_TRUE(CheckMesh(config, sizes).ok()) << CheckMesh(config, sizes);
    const int64_t ranks = RanksOf(sizes);
    std::map<std::string, std::vector<int>> owners, writers;
    for (int64_t rank = 0; rank < ranks; ++rank) {
      const Layout layout(config, PlaceOf(sizes, rank));
      for (const LayoutEntry& entry : layout.entries()) {
        const int64_t at = whole.Find(entry.name);
        ASSERT_GE(at, 0) << entry.name;
        const std::vector<int64_t>& all = whole.entries()[at].shape;
        ASSERT_EQ(entry.whole, all) << entry.name;
        const int64_t columns = all.size() == 2 ? all[1] : 1;
        std::vector<int>&counts = owners[entry.name], &written = writers[entry.name];
        counts.resize(whole.entries()[at].elements);
        written.resize(counts.size());
        const int64_t width = entry.shape.size() == 2 ? entry.shape[1] : 1;
        for (int64_t i = entry.first_element; i < entry.first_element + entry.elements; ++i) {
          const int64_t in_whole = (entry.first_row + i / width) * columns + entry.first_column + i % width;
          ++counts[in_whole];
          written[in_whole] += Writes(PlaceOf(sizes, rank), entry) ? 1 : 0;
        }
      }
    }
    ASSERT_EQ(owners.size(), whole.entries().size());
    for (const LayoutEntry& entry : whole.entries()) {
      const bool expert = entry.name.find(".experts.") != std::string::npos;
      const int64_t kept = entry.trained ? 1 : sizes.dp_shard * sizes.cp;
      const int64_t alike = kept * (expert                            ? 1
                                    : entry.sharing != Sharing::kNone ? sizes.ep
                                                                      : sizes.ep * sizes.tp);
      for (int count : owners[entry.name]) ASSERT_EQ(count, alike) << entry.name;
      for (int count : writers[entry.name]) ASSERT_EQ(count, 1) << entry.name;
    }
  }
}

TEST(Layout, RanksThatShareUnitsKeepTheSameOfEach) {
  const ModelConfig config = Parsed(TinyDeepseek());
  const Layout whole(config);
  ASSERT_EQ(whole.units().size(), 5u);  // head, embedding, two layers, norm
  for (const int64_t ranks : {2, 3, 50}) {
    for (int64_t rank = 0; rank < ranks; ++rank) {
      const Layout layout(config, PlaceOf({.dp_replicate = 1, .dp_shard = ranks}, rank));
      ASSERT_EQ(layout.units().size(), whole.units().size());
      for (const LayoutUnit& unit : layout.units()) {
        LayoutUnit kept;
        for (int64_t i = unit.begin; i < unit.end; ++i) {
          const LayoutEntry& entry = layout.entries()[i];
          if (!entry.trained) continue;
          const LayoutUnit::Half& half = entry.expert >= 0 ? unit.experts : unit.others;
          EXPECT_EQ(entry.offset, half.offset + kept.HalfOf(entry).elements);
          kept.HalfOf(entry).elements += entry.elements;
        }
        for (const auto& [mine, all] : {std::pair(kept.others.elements, unit.others.elements),
                                        std::pair(kept.experts.elements, unit.experts.elements)}) {
          EXPECT_LE(mine, all / ranks + 1);
          EXPECT_GE(mine, all / ranks);
        }
      }
    }
  }
}

TEST(Layout, OutputsOfAHeadStayTogether) {
  const ModelConfig config = Parsed(With(TinyDeepseek(), "num_attention_heads", 4));
  const Layout second(config, PlaceOf(SizesOf(2, 1, 1), 1));
  const LayoutEntry& queries = second.entries()[second.Find("model.layers.0.self_attn.q_b_proj.weight")];
  EXPECT_THAT(queries.whole, ElementsAre(36, 7));
  EXPECT_THAT(queries.shape, ElementsAre(18, 7));
  EXPECT_EQ(queries.first_row, 18);
  const LayoutEntry& out = second.entries()[second.Find("model.layers.0.self_attn.o_proj.weight")];
  EXPECT_THAT(out.shape, ElementsAre(12, 6));
  EXPECT_EQ(out.first_row, 0);
  EXPECT_EQ(out.first_column, 6);
}

TEST(Layout, WhatCannotBeCutSoIsNamed) {
  const ModelConfig deepseek = Parsed(TinyDeepseek());  // 3 heads, 6 experts, 2 layers
  const auto error = [&](const MeshSizes& sizes) {
    return std::string(CheckMesh(deepseek, sizes).message());
  };
  EXPECT_EQ(error(SizesOf(1, 1, 1)), "");
  EXPECT_THAT(error(SizesOf(2, 1, 1)),
              AllOf(StartsWith("mesh.tp is 2, but it has to divide 8 chunks, 3 heads"),
                    EndsWith("the nearest that works is 1")));
  EXPECT_THAT(error(SizesOf(1, 3, 1)),
              AllOf(StartsWith("mesh.ep is 3"), EndsWith("the nearest that works is 2")));
  EXPECT_THAT(error(SizesOf(1, 8, 1)), EndsWith("the nearest that works is 4"));
  EXPECT_THAT(error(SizesOf(1, 1, 3)), AllOf(StartsWith("mesh.pp is 3, but the policy has 2 layers"),
                                             EndsWith("the nearest that works is 2")));
}

}  // namespace
}  // namespace temper
