// SPDX-License-Identifier: Apache-2.0
// Small configs for the tests of this room.
#pragma once

#include <string>

#include "core/json/json.h"
#include "gtest/gtest.h"
#include "model/config/config.h"

namespace temper {

inline Json TinyDeepseek() {
  return Json::parse(R"({"model_type": "deepseek_v3", "architectures": ["DeepseekV3ForCausalLM"],
    "vocab_size": 37, "hidden_size": 12, "num_hidden_layers": 2, "intermediate_size": 20,
    "num_attention_heads": 3, "max_position_embeddings": 256, "rms_norm_eps": 1e-5,
    "q_lora_rank": 7, "kv_lora_rank": 6, "qk_nope_head_dim": 5, "qk_rope_head_dim": 4, "v_head_dim": 3,
    "n_routed_experts": 6, "n_shared_experts": 2, "num_experts_per_tok": 2, "moe_intermediate_size": 9,
    "first_k_dense_replace": 1, "n_group": 3, "topk_group": 2, "routed_scaling_factor": 2.5,
    "num_nextn_predict_layers": 1, "rope_theta": 10000, "bos_token_id": 0, "eos_token_id": 1})");
}

inline Json TinyLlama() {
  return Json::parse(R"({"model_type": "llama", "vocab_size": 37, "hidden_size": 12, "num_hidden_layers": 2,
    "intermediate_size": 20, "num_attention_heads": 3, "num_key_value_heads": 1,
    "max_position_embeddings": 256, "bos_token_id": 0, "eos_token_id": [1, 2]})");
}

inline Json TinyQwen2() {
  Json json = TinyLlama();
  json["model_type"] = "qwen2";
  json["tie_word_embeddings"] = true;
  return json;
}

inline Json TinyMistral() {
  Json json = TinyLlama();
  json["model_type"] = "mistral";
  json["sliding_window"] = 5;
  return json;
}

inline Json TinyQwen3() {
  Json json = TinyLlama();
  json["model_type"] = "qwen3";
  json["head_dim"] = 6;
  return json;
}

inline Json TinyQwen3Moe() {
  Json json = TinyQwen3();
  json.update(Json::parse(R"({"model_type": "qwen3_moe", "num_experts": 5, "num_experts_per_tok": 2,
    "moe_intermediate_size": 9, "norm_topk_prob": true})"));
  return json;
}

inline Json TinyDeepseekV2() {
  Json json = TinyDeepseek();
  json.update(Json::parse(R"({"model_type": "deepseek_v2", "topk_method": "group_limited_greedy",
    "num_nextn_predict_layers": 0})"));
  return json;
}

inline Json With(Json json, const std::string& key, const Json& value) {
  json[key] = value;
  return json;
}

// With "trains_mtp" the policy has its MTP module.
inline ModelConfig Parsed(const Json& json) {
  auto config = ParseModelConfig(json.dump(), "config.json");
  if (!config.ok()) throw std::runtime_error(config.status().ToString());
  if (json.value("trains_mtp", false)) config->mtp = MtpUse::kTrained;
  return *config;
}

}  // namespace temper
