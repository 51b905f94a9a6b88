// SPDX-License-Identifier: Apache-2.0
#include "model/config/config.h"

#include <cmath>
#include <map>

#include "gmock/gmock.h"
#include "tests/model/configs.h"

namespace temper {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

std::string ErrorOf(const Json& json) {
  const auto config = ParseModelConfig(json.dump(), "dir/config.json");
  return config.ok() ? "" : std::string(config.status().message());
}

Json Without(Json json, const std::string& key) {
  json.erase(key);
  return json;
}

TEST(ModelConfig, DeepseekIsReadFieldByField) {
  const ModelConfig c = Parsed(TinyDeepseek());
  EXPECT_TRUE(c.is_mla());
  EXPECT_EQ(c.qk_head_dim(), 9);
  EXPECT_FALSE(c.is_moe_layer(0));
  EXPECT_TRUE(c.is_moe_layer(1));
  EXPECT_EQ(c.expert_groups, 3);
  EXPECT_EQ(c.top_groups, 2);
  EXPECT_EQ(c.experts_per_token, 2);
  EXPECT_EQ(c.shared_experts, 2);
  EXPECT_EQ(c.routed_scaling_factor, 2.5f);
  EXPECT_EQ(c.rms_norm_eps, 1e-5f);
  EXPECT_EQ(c.mtp_layers, 1);
  EXPECT_TRUE(c.rope_interleaved);
  EXPECT_THAT(c.eos_ids, ElementsAre(1));
  EXPECT_EQ(c.bos_id, 0);
  EXPECT_EQ(c.softmax_scale(), 1.0f / 3.0f);
}

TEST(ModelConfig, FamiliesDifferInBiases) {
  const ModelConfig qwen = Parsed(TinyQwen2()), llama = Parsed(TinyLlama());
  EXPECT_TRUE(qwen.qkv_bias);
  EXPECT_FALSE(qwen.output_bias);
  EXPECT_FALSE(llama.qkv_bias);
  EXPECT_EQ(llama.head_dim, 4);
  EXPECT_THAT(llama.eos_ids, ElementsAre(1, 2));
  const ModelConfig biased = Parsed(With(With(TinyLlama(), "attention_bias", true), "mlp_bias", true));
  EXPECT_TRUE(biased.qkv_bias && biased.output_bias && biased.mlp_bias);
}

TEST(ModelConfig, RopeOfTransformers4And5AreTheSame) {
  const Json yarn = Json::parse(R"({"factor": 40, "original_max_position_embeddings": 64, "beta_fast": 16,
                                    "beta_slow": 2, "mscale": 0.7, "mscale_all_dim": 0.5})");
  Json four = With(TinyDeepseek(), "rope_scaling", With(yarn, "type", "yarn"));
  four["rope_theta"] = 5000;
  const Json five = With(Without(TinyDeepseek(), "rope_theta"), "rope_parameters",
                         With(With(yarn, "rope_type", "yarn"), "rope_theta", 5000.0));
  for (const ModelConfig& c : {Parsed(four), Parsed(five)}) {
    EXPECT_EQ(c.rope.type, "yarn");
    EXPECT_EQ(c.rope.theta, 5000);
    EXPECT_EQ(c.rope.factor, 40);
    EXPECT_EQ(c.rope.original_max_positions, 64);
    EXPECT_EQ(c.rope.beta_fast, 16);
    EXPECT_EQ(c.rope.beta_slow, 2);
    EXPECT_EQ(c.rope.mscale, 0.7);
    const double mscale = 0.1 * 0.5 * std::log(40.0) + 1;
    EXPECT_FLOAT_EQ(c.softmax_scale(), static_cast<float>(mscale * mscale / 3));
  }
  EXPECT_THAT(
      ErrorOf(With(four, "rope_parameters", Json{{"rope_type", "default"}})),
      HasSubstr("rope_scaling: has rope_type \"yarn\", and rope_parameters \"default\"; keep one of them"));
}

TEST(ModelConfig, PositionsReachAsFarAsTheRotationIsMadeFor) {
  const Json qwen = With(TinyQwen2(), "max_position_embeddings", 64);
  const Json yarn = {{"type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 64}};
  EXPECT_EQ(Parsed(With(qwen, "rope_scaling", yarn)).max_positions, 256) << "Qwen2.5's recipe";
  EXPECT_EQ(Parsed(With(With(qwen, "rope_scaling", yarn), "max_position_embeddings", 512)).max_positions,
            512);
  EXPECT_EQ(Parsed(With(qwen, "rope_scaling", {{"rope_type", "yarn"}, {"factor", 4}})).max_positions, 256);
  EXPECT_EQ(Parsed(With(qwen, "rope_scaling", {{"type", "linear"}, {"factor", 2.5}})).max_positions, 160);
  Json five = yarn;
  five["rope_type"] = "yarn";
  five["rope_theta"] = 1000.0;
  EXPECT_EQ(Parsed(With(qwen, "rope_parameters", five)).max_positions, 256);
  EXPECT_EQ(Parsed(With(With(qwen, "rope_parameters", five), "rope_scaling", yarn)).rope.theta, 1000)
      << "both forms, as tools write them for old and new versions";
  EXPECT_EQ(Parsed(qwen).max_positions, 64);
}

TEST(ModelConfig, WhatNoAnswerDependsOnIsNoObstacle) {
  for (const Json& json :
       {With(TinyLlama(), "attention_dropout", 0.1), With(TinyLlama(), "hidden_act", "swish"),
        With(TinyLlama(), "pad_token_id", -1), With(TinyLlama(), "anything", {{"a", 1}})}) {
    EXPECT_EQ(ErrorOf(json), "");
  }
}

TEST(ModelConfig, YarnsScoreFactorIsDeepseeksAlone) {
  const Json yarn = {{"rope_type", "yarn"}, {"factor", 4}, {"mscale_all_dim", 1}};
  EXPECT_EQ(Parsed(With(TinyLlama(), "rope_scaling", yarn)).softmax_scale(), 0.5f);
}

TEST(ModelConfig, AnUnknownModelTypeIsRefusedWithTheList) {
  EXPECT_EQ(
      ErrorOf(With(TinyLlama(), "model_type", "gpt2")),
      "dir/config.json: model_type: is 'gpt2'; temper knows deepseek_v2, deepseek_v3, llama, mistral, qwen2, "
      "qwen3, qwen3_moe");
  EXPECT_THAT(ErrorOf(Without(TinyLlama(), "model_type")), HasSubstr("model_type"));
}

TEST(ModelConfig, WhatWouldBeIgnoredIsRefusedWithItsKey) {
  const Json llama = TinyLlama(), qwen = TinyQwen2(), deepseek = TinyDeepseek();
  const std::vector<std::pair<Json, std::string>> cases = {
      {With(llama, "hidden_act", "gelu"), "hidden_act: is 'gelu'; temper knows 'silu' only"},
      {With(llama, "quantization_config", Json::object()), "quantization_config: "},
      {With(llama, "quantization_config", {{"quant_method", "gptq"}}),
       "quantization_config: quant_method is \"gptq\"; temper knows \"fp8\" only: take the model's own "
       "weights"},
      {With(With(llama, "model_type", "llava"), "text_config", Json::object()),
       "model_type: is 'llava', a model of several parts (text_config); temper knows the language models "
       "deepseek"},
      {With(llama, "partial_rotary_factor", 0.5), "partial_rotary_factor: is 0.5"},
      {With(llama, "temper_cache", "fp8"), "temper_cache: is 'fp8'; temper knows f32 and bf16"},
      {With(llama, "architectures", {"LlamaForSequenceClassification"}), "architectures: has"},
      {With(qwen, "layer_types", {"full_attention", "sliding_attention"}),
       "layer_types: has \"sliding_attention\" in layer 1, where a qwen2 of this config has no window"},
      {With(TinyMistral(), "layer_types", {"sliding_attention", "full_attention"}),
       "layer_types: has \"full_attention\" in layer 1, where a mistral of this config has a window"},
      {With(qwen, "layer_types", {"full_attention", "chunked_attention"}), "has \"chunked_attention\""},
      {With(qwen, "layer_types", {"full_attention"}), "layer_types: is not a list of num_hidden_layers 2"},
      {With(TinyMistral(), "attention_bias", true), "attention_bias: is true"},
      {With(deepseek, "mlp_bias", true), "mlp_bias: is true"},
      {With(TinyDeepseekV2(), "topk_method", "noaux_tc"), "topk_method: is 'noaux_tc'"},
      {With(TinyDeepseekV2(), "scoring_func", "sigmoid"), "scoring_func: is 'sigmoid'"},
      {With(TinyQwen3Moe(), "num_local_experts", 4), "num_local_experts: differs from num_experts"},
      {With(TinyQwen3Moe(), "mlp_only_layers", {0.5}), "mlp_only_layers: is not a list of layers"},
      {With(deepseek, "scoring_func", "softmax"), "scoring_func: is 'softmax'"},
      {With(deepseek, "topk_method", "greedy"), "topk_method: is 'greedy'"},
      {With(deepseek, "moe_layer_freq", 2), "moe_layer_freq: is 2"},
      {With(deepseek, "num_key_value_heads", 1), "num_key_value_heads: differs"},
      {With(llama, "rope_scaling", {{"rope_type", "dynamic"}, {"factor", 2}}), "rope_type: is 'dynamic'"},
      {With(llama, "rope_scaling", {{"type", "longrope"}, {"factor", 2}}), "rope_type: is 'longrope'"},
      {With(llama, "rope_scaling", {{"type", "default"}, {"mrope_section", {1, 1}}}),
       "mrope_section: temper does not know this setting"},
      {With(llama, "rope_scaling", {{"type", "linear"}}), "factor"},
  };
  for (const auto& [json, what] : cases) {
    EXPECT_THAT(ErrorOf(json), StartsWith("dir/config.json: "));
    EXPECT_THAT(ErrorOf(json), HasSubstr(what));
    EXPECT_THAT(ErrorOf(json), Not(HasSubstr("\n")));
  }
}

TEST(ModelConfig, WindowsAreThoseOfTransformers) {
  const auto windows = [](const Json& json) {
    const ModelConfig config = Parsed(json);
    std::vector<int64_t> all;
    for (int64_t layer = 0; layer < config.num_layers; ++layer) all.push_back(config.window(layer));
    return all;
  };
  const Json qwen = TinyQwen2(), sliding = With(qwen, "use_sliding_window", true);
  EXPECT_THAT(windows(With(qwen, "sliding_window", 9)), ElementsAre(0, 0)) << "not in use";
  EXPECT_THAT(windows(With(With(sliding, "sliding_window", 9), "max_window_layers", 1)), ElementsAre(0, 9));
  EXPECT_THAT(windows(With(With(sliding, "sliding_window", 9), "max_window_layers", 2)), ElementsAre(0, 0));
  EXPECT_THAT(windows(With(sliding, "max_window_layers", 0)), ElementsAre(4096, 4096)) << "by default";
  EXPECT_THAT(windows(With(sliding, "sliding_window", nullptr)), ElementsAre(0, 0));
  EXPECT_THAT(windows(With(With(sliding, "sliding_window", 9), "layer_types",
                           {"sliding_attention", "full_attention"})),
              ElementsAre(9, 0));
  EXPECT_THAT(windows(TinyMistral()), ElementsAre(5, 5));
  EXPECT_THAT(windows(With(TinyMistral(), "sliding_window", nullptr)), ElementsAre(0, 0));
  EXPECT_THAT(windows(Without(TinyMistral(), "sliding_window")), ElementsAre(4096, 4096)) << "by default";
  EXPECT_THAT(windows(With(With(TinyQwen3Moe(), "use_sliding_window", true), "sliding_window", 7)),
              ElementsAre(7, 7));
}

TEST(ModelConfig, AKeyThatIsAbsentMeansTheDefaultOfItsClass) {
  const ModelConfig v3 =
      Parsed(With(Without(Without(Without(TinyDeepseek(), "n_group"), "topk_group"), "routed_scaling_factor"),
                  "n_routed_experts", 16));
  EXPECT_EQ(v3.expert_groups, 8);
  EXPECT_EQ(v3.top_groups, 4);
  EXPECT_EQ(v3.routed_scaling_factor, 2.5f);
  EXPECT_TRUE(v3.norm_topk_prob);
  EXPECT_EQ(Parsed(Without(TinyDeepseekV2(), "routed_scaling_factor")).routed_scaling_factor, 1.0f);
  EXPECT_FALSE(Parsed(Without(TinyQwen3Moe(), "norm_topk_prob")).norm_topk_prob);
  EXPECT_EQ(Parsed(Without(TinyQwen3(), "head_dim")).head_dim, 128);
  EXPECT_EQ(Parsed(Without(TinyQwen3Moe(), "head_dim")).head_dim, 4);
  const Json yarn = {{"rope_type", "yarn"}, {"factor", nullptr}, {"original_max_position_embeddings", 64}};
  EXPECT_EQ(Parsed(With(TinyLlama(), "rope_scaling", yarn)).rope.factor, 4.0);
}

TEST(ModelConfig, DeepseekV2RoutesBySoftmaxInGroupsOnlyIfItsMethodSaysSo) {
  const ModelConfig grouped = Parsed(TinyDeepseekV2());
  EXPECT_FALSE(grouped.sigmoid_scores);
  EXPECT_FALSE(grouped.norm_topk_prob) << "Transformers does not read it";
  EXPECT_TRUE(grouped.rope_interleaved);
  EXPECT_EQ(grouped.expert_groups, 3);
  const ModelConfig greedy = Parsed(With(TinyDeepseekV2(), "topk_method", "greedy"));
  EXPECT_EQ(greedy.expert_groups, 1);
  EXPECT_EQ(greedy.top_groups, 1);
  EXPECT_EQ(greedy.routed_scaling_factor, 2.5f);
}

TEST(ModelConfig, Qwen3MoeSaysWhichLayersHaveExperts) {
  const auto layers = [](const Json& json) {
    const ModelConfig config = Parsed(With(json, "num_hidden_layers", 6));
    std::string all;
    for (int64_t layer = 0; layer < 6; ++layer) all += config.is_moe_layer(layer) ? 'E' : '-';
    return all;
  };
  EXPECT_EQ(layers(TinyQwen3Moe()), "EEEEEE");
  EXPECT_EQ(layers(With(TinyQwen3Moe(), "decoder_sparse_step", 2)), "-E-E-E");
  EXPECT_EQ(layers(With(With(TinyQwen3Moe(), "decoder_sparse_step", 2), "mlp_only_layers", {1, 2})),
            "---E-E");
  EXPECT_EQ(layers(With(With(Without(TinyQwen3Moe(), "num_experts"), "num_local_experts", 5),
                        "mlp_only_layers", nullptr)),
            "EEEEEE");
}

TEST(ModelConfig, SizesThatDoNotFitAreRefused) {
  const std::vector<std::pair<Json, std::string>> cases = {
      {With(TinyLlama(), "hidden_size", 13), "hidden_size: is 13, not a multiple of num_attention_heads 3"},
      {With(TinyLlama(), "num_key_value_heads", 2), "num_attention_heads: is 3, not a multiple"},
      {With(TinyLlama(), "head_dim", 5), "head_dim: is 5; rotary pairs"},
      {With(TinyLlama(), "eos_token_id", 37), "eos_token_id: is 37, not a token of vocab_size 37"},
      {With(TinyLlama(), "eos_token_id", "</s>"), "eos_token_id: is \"</s>\""},
      {With(TinyLlama(), "bos_token_id", 40), "bos_token_id: is 40"},
      {With(TinyLlama(), "vocab_size", 0), "vocab_size: is 0, not between 1"},
      {With(TinyLlama(), "vocab_size", -5), "vocab_size: is -5"},
      {With(TinyLlama(), "hidden_size", int64_t{1} << 62), "hidden_size: is 4611686018427387904"},
      {With(TinyLlama(), "hidden_size", 12.5), "hidden_size"},
      {With(TinyLlama(), "num_hidden_layers", 1000000), "num_hidden_layers: is 1000000"},
      {With(TinyLlama(), "rms_norm_eps", "small"), "rms_norm_eps"},
      {With(TinyDeepseek(), "qk_rope_head_dim", 5), "qk_rope_head_dim: is 5; rotary pairs"},
      {With(TinyDeepseek(), "n_group", 4), "n_group: is 4: n_routed_experts 6"},
      {With(TinyDeepseek(), "n_group", 6), "n_group: is 6"},
      {With(TinyDeepseek(), "topk_group", 4), "topk_group: is 4"},
      {With(TinyDeepseek(), "num_experts_per_tok", 5),
       "num_experts_per_tok: is 5; topk_group 2 groups have 4"},
      {Without(TinyDeepseek(), "kv_lora_rank"), "kv_lora_rank"},
  };
  for (const auto& [json, what] : cases) EXPECT_THAT(ErrorOf(json), HasSubstr(what));
}

TEST(ModelConfig, TextThatIsNoConfigIsAnErrorWithTheFile) {
  for (const char* text :
       {"", "[]", "null", "3", "{", "{\"model_type\": \"llama\", \"model_type\": \"llama\"}",
        "{\"model_type\": {}}", "\xff"}) {
    const auto config = ParseModelConfig(text, "dir/config.json");
    ASSERT_FALSE(config.ok()) << text;
    EXPECT_THAT(std::string(config.status().message()), StartsWith("dir/config.json:"));
  }
}

}  // namespace
}  // namespace temper
