// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/matrix.h"

namespace temper {

// Rotary embedding. Lengths never change it: YaRN's scale is a constant of the config; types that look at the
// current length (dynamic, longrope) are refused.
struct RopeConfig {
  std::string type = "default";  // default, linear, yarn, llama3
  double theta = 10000.0;
  double factor = 1.0;
  // yarn
  double beta_fast = 32, beta_slow = 1, mscale = 1, mscale_all_dim = 0, attention_factor = 0;  // 0: derived
  bool truncate = true;
  // llama3
  double low_freq_factor = 1, high_freq_factor = 4;
  int64_t original_max_positions = 0;

  bool operator==(const RopeConfig&) const = default;
};

// What becomes of the multi-token prediction module behind the last layer (model/blocks/mtp.h): its weights
// go along as they are; or the policy has it, for drafts; or trains it too.
enum class MtpUse { kCarried, kDrafts, kTrained };

// What config.json says of the policy, in our words. One struct for all families: what a family lacks is 0.
struct ModelConfig {
  std::string model_type;  // one of KnownModelTypes()
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t num_layers = 0;
  int64_t intermediate_size = 0;  // of the dense MLP
  int64_t max_positions = 0;  // as far as rope reaches: rope_scaling's factor times the original positions
  float rms_norm_eps = 1e-6f;
  bool tie_word_embeddings = false;

  // Grouped-query attention (llama, mistral, qwen2, qwen3, qwen3_moe).
  int64_t num_heads = 0;
  int64_t num_kv_heads = 0;
  int64_t head_dim = 0;
  bool qkv_bias = false;     // of q_a_proj and kv_a_proj in MLA
  bool output_bias = false;  // of o_proj
  bool mlp_bias = false;     // of dense MLPs and shared experts
  bool qk_norm = false;      // RmsNorm of each head's query and key, before the rotation (qwen3, qwen3_moe)
  std::vector<int64_t> windows;  // of each layer: a token sees so many last positions; 0: all. Empty: all 0

  // Multi-head latent attention (deepseek_v2, deepseek_v3): kv_lora_rank > 0.
  int64_t q_lora_rank = 0;  // 0: a plain q_proj
  int64_t kv_lora_rank = 0;
  int64_t qk_nope_head_dim = 0;
  int64_t qk_rope_head_dim = 0;
  int64_t v_head_dim = 0;

  // Mixture of experts: routed_experts > 0.
  int64_t routed_experts = 0;
  int64_t shared_experts = 0;
  int64_t experts_per_token = 0;
  int64_t moe_intermediate_size = 0;
  int64_t first_dense_layers = 0;
  int64_t sparse_step = 1;            // of layers 0, 1, .. every sparse_step-th has experts: qwen3_moe
  std::vector<int64_t> dense_layers;  // and these have not
  int64_t expert_groups = 1;
  int64_t top_groups = 1;
  float routed_scaling_factor = 1.0f;
  bool norm_topk_prob = true;
  // noaux_tc: sigmoid scores, a bias that steers the selection, groups by their two best. Else softmax, no
  // bias, groups by their best.
  bool sigmoid_scores = true;

  int64_t mtp_layers = 0;  // num_nextn_predict_layers; of these one can be used
  MtpUse mtp = MtpUse::kCarried;

  RopeConfig rope;
  bool rope_interleaved = false;  // pairs (2j, 2j+1): deepseek_v2, deepseek_v3
  std::vector<int32_t> eos_ids;
  int32_t bos_id = -1;

  // What keys and values of earlier tokens are rounded to, in training too (docs/exactness.md):
  // `temper_cache`.
  kernels::Type cache = kernels::Type::kF32;

  // config.json as read, and generation_config.json (empty: there is none), for writing them back.
  std::string json, generation_json;

  bool is_mla() const { return kv_lora_rank > 0; }
  bool has_mtp() const { return mtp != MtpUse::kCarried; }
  bool is_moe_layer(int64_t layer) const {
    return routed_experts > 0 && layer >= first_dense_layers && (layer + 1) % sparse_step == 0 &&
           std::find(dense_layers.begin(), dense_layers.end(), layer) == dense_layers.end();
  }
  int64_t window(int64_t layer) const { return windows.empty() ? 0 : windows[layer]; }
  int64_t qk_head_dim() const { return is_mla() ? qk_nope_head_dim + qk_rope_head_dim : head_dim; }
  // 1/sqrt(qk_head_dim), times YaRN's mscale squared where the config says so.
  float softmax_scale() const;

  bool operator==(const ModelConfig&) const = default;
};

// Reads the text of a Hugging Face config.json (the forms of Transformers 4, `rope_scaling`, and 5,
// `rope_parameters`), as Transformers reads it: a key that is absent means the default of that family's class
// there. `path` names the file in errors. A model_type that temper does not know is refused with the list of
// those it does; so are settings that would be silently ignored (other activations, part of a head rotated,
// ...).
absl::StatusOr<ModelConfig> ParseModelConfig(const std::string& json, const std::string& path);

// The model types that ParseModelConfig reads, in alphabetical order.
std::vector<std::string> KnownModelTypes();

}  // namespace temper
