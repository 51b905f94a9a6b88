// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "model/config.h"

namespace temper {
namespace {

using Init = ParameterSpec::Init;

class Specs {
 public:
  void Add(const std::string& name, std::vector<int64_t> shape, Init init, bool trained = true) {
    list_.push_back({name, std::move(shape), init, trained});
  }
  void Norm(const std::string& name, int64_t size) { Add(name + ".weight", {size}, Init::kOne); }
  void Linear(const std::string& name, int64_t out, int64_t in, bool bias = false,
              Init init = Init::kLinear) {
    Add(name + ".weight", {out, in}, init);
    if (bias) Add(name + ".bias", {out}, Init::kZero);
  }
  void Mlp(const std::string& prefix, int64_t hidden, int64_t size, bool bias) {
    Linear(prefix + "gate_proj", size, hidden, bias);
    Linear(prefix + "up_proj", size, hidden, bias);
    Linear(prefix + "down_proj", hidden, size, bias, Init::kResidual);
  }
  std::vector<ParameterSpec> InNameOrder() && {
    std::sort(list_.begin(), list_.end(),
              [](const ParameterSpec& a, const ParameterSpec& b) { return a.name < b.name; });
    return std::move(list_);
  }

 private:
  std::vector<ParameterSpec> list_;
};

void LatentAttention(const ModelConfig& c, const std::string& prefix, Specs* specs) {
  const int64_t query = c.num_heads * c.qk_head_dim();
  if (c.q_lora_rank > 0) {
    specs->Linear(prefix + "q_a_proj", c.q_lora_rank, c.hidden_size, c.qkv_bias);
    specs->Norm(prefix + "q_a_layernorm", c.q_lora_rank);
    specs->Linear(prefix + "q_b_proj", query, c.q_lora_rank);
  } else {
    specs->Linear(prefix + "q_proj", query, c.hidden_size);
  }
  specs->Linear(prefix + "kv_a_proj_with_mqa", c.kv_lora_rank + c.qk_rope_head_dim, c.hidden_size,
                c.qkv_bias);
  specs->Norm(prefix + "kv_a_layernorm", c.kv_lora_rank);
  specs->Linear(prefix + "kv_b_proj", c.num_heads * (c.qk_nope_head_dim + c.v_head_dim), c.kv_lora_rank);
  specs->Linear(prefix + "o_proj", c.hidden_size, c.num_heads * c.v_head_dim, c.output_bias, Init::kResidual);
}

void GroupedAttention(const ModelConfig& c, const std::string& prefix, Specs* specs) {
  const int64_t query = c.num_heads * c.head_dim, key = c.num_kv_heads * c.head_dim;
  specs->Linear(prefix + "q_proj", query, c.hidden_size, c.qkv_bias);
  specs->Linear(prefix + "k_proj", key, c.hidden_size, c.qkv_bias);
  specs->Linear(prefix + "v_proj", key, c.hidden_size, c.qkv_bias);
  specs->Linear(prefix + "o_proj", c.hidden_size, query, c.output_bias, Init::kResidual);
  if (c.qk_norm) {
    specs->Norm(prefix + "q_norm", c.head_dim);
    specs->Norm(prefix + "k_norm", c.head_dim);
  }
}

}  // namespace

std::vector<ParameterSpec> ParameterSpecs(const ModelConfig& c) {
  Specs specs;
  specs.Add("model.embed_tokens.weight", {c.vocab_size, c.hidden_size}, Init::kEmbedding);
  specs.Norm("model.norm", c.hidden_size);
  if (!c.tie_word_embeddings) specs.Add("lm_head.weight", {c.vocab_size, c.hidden_size}, Init::kHead);
  for (int64_t layer = 0; layer < c.num_layers; ++layer) {
    const std::string prefix = absl::StrCat("model.layers.", layer, ".");
    specs.Norm(prefix + "input_layernorm", c.hidden_size);
    specs.Norm(prefix + "post_attention_layernorm", c.hidden_size);
    c.is_mla() ? LatentAttention(c, prefix + "self_attn.", &specs)
               : GroupedAttention(c, prefix + "self_attn.", &specs);
    if (!c.is_moe_layer(layer)) {
      specs.Mlp(prefix + "mlp.", c.hidden_size, c.intermediate_size, c.mlp_bias);
      continue;
    }
    specs.Linear(prefix + "mlp.gate", c.routed_experts, c.hidden_size);
    if (c.sigmoid_scores) {
      specs.Add(prefix + "mlp.gate.e_score_correction_bias", {c.routed_experts}, Init::kZero,
                /*trained=*/false);
    }
    for (int64_t expert = 0; expert < c.routed_experts; ++expert) {
      specs.Mlp(absl::StrCat(prefix, "mlp.experts.", expert, "."), c.hidden_size, c.moe_intermediate_size,
                false);
    }
    if (c.shared_experts > 0) {
      specs.Mlp(prefix + "mlp.shared_experts.", c.hidden_size, c.shared_experts * c.moe_intermediate_size,
                c.mlp_bias);
    }
  }
  return std::move(specs).InNameOrder();
}

}  // namespace temper
