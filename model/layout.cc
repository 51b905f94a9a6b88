// SPDX-License-Identifier: Apache-2.0
#include "model/layout.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/check.h"

namespace temper {
namespace {

using Init = LayoutEntry::Init;

class Entries {
 public:
  void Add(const std::string& name, std::vector<int64_t> shape, Init init, bool trained = true) {
    list_.push_back({name, std::move(shape), init, trained, 0, 0});
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
  std::vector<LayoutEntry> Take() && { return std::move(list_); }

 private:
  std::vector<LayoutEntry> list_;
};

void LatentAttention(const ModelConfig& c, const std::string& prefix, Entries* entries) {
  const int64_t query = c.num_heads * c.qk_head_dim();
  if (c.q_lora_rank > 0) {
    entries->Linear(prefix + "q_a_proj", c.q_lora_rank, c.hidden_size, c.qkv_bias);
    entries->Norm(prefix + "q_a_layernorm", c.q_lora_rank);
    entries->Linear(prefix + "q_b_proj", query, c.q_lora_rank);
  } else {
    entries->Linear(prefix + "q_proj", query, c.hidden_size);
  }
  entries->Linear(prefix + "kv_a_proj_with_mqa", c.kv_lora_rank + c.qk_rope_head_dim, c.hidden_size,
                  c.qkv_bias);
  entries->Norm(prefix + "kv_a_layernorm", c.kv_lora_rank);
  entries->Linear(prefix + "kv_b_proj", c.num_heads * (c.qk_nope_head_dim + c.v_head_dim), c.kv_lora_rank);
  entries->Linear(prefix + "o_proj", c.hidden_size, c.num_heads * c.v_head_dim, c.output_bias,
                  Init::kResidual);
}

void GroupedAttention(const ModelConfig& c, const std::string& prefix, Entries* entries) {
  const int64_t query = c.num_heads * c.head_dim, key = c.num_kv_heads * c.head_dim;
  entries->Linear(prefix + "q_proj", query, c.hidden_size, c.qkv_bias);
  entries->Linear(prefix + "k_proj", key, c.hidden_size, c.qkv_bias);
  entries->Linear(prefix + "v_proj", key, c.hidden_size, c.qkv_bias);
  entries->Linear(prefix + "o_proj", c.hidden_size, query, c.output_bias, Init::kResidual);
  if (c.qk_norm) {
    entries->Norm(prefix + "q_norm", c.head_dim);
    entries->Norm(prefix + "k_norm", c.head_dim);
  }
}

std::vector<LayoutEntry> EntriesOf(const ModelConfig& c) {
  Entries entries;
  entries.Add("model.embed_tokens.weight", {c.vocab_size, c.hidden_size}, Init::kEmbedding);
  entries.Norm("model.norm", c.hidden_size);
  if (!c.tie_word_embeddings) entries.Add("lm_head.weight", {c.vocab_size, c.hidden_size}, Init::kHead);
  for (int64_t layer = 0; layer < c.num_layers; ++layer) {
    const std::string prefix = absl::StrCat("model.layers.", layer, ".");
    entries.Norm(prefix + "input_layernorm", c.hidden_size);
    entries.Norm(prefix + "post_attention_layernorm", c.hidden_size);
    c.is_mla() ? LatentAttention(c, prefix + "self_attn.", &entries)
               : GroupedAttention(c, prefix + "self_attn.", &entries);
    if (!c.is_moe_layer(layer)) {
      entries.Mlp(prefix + "mlp.", c.hidden_size, c.intermediate_size, c.mlp_bias);
      continue;
    }
    entries.Linear(prefix + "mlp.gate", c.routed_experts, c.hidden_size);
    if (c.sigmoid_scores) {
      entries.Add(prefix + "mlp.gate.e_score_correction_bias", {c.routed_experts}, Init::kZero,
                  /*trained=*/false);
    }
    for (int64_t expert = 0; expert < c.routed_experts; ++expert) {
      entries.Mlp(absl::StrCat(prefix, "mlp.experts.", expert, "."), c.hidden_size, c.moe_intermediate_size,
                  false);
    }
    if (c.shared_experts > 0) {
      entries.Mlp(prefix + "mlp.shared_experts.", c.hidden_size, c.shared_experts * c.moe_intermediate_size,
                  c.mlp_bias);
    }
  }
  return std::move(entries).Take();
}

}  // namespace

Layout::Layout(const ModelConfig& config) : Layout(EntriesOf(config)) {}

Layout::Layout(std::vector<LayoutEntry> entries) : entries_(std::move(entries)) {
  std::sort(entries_.begin(), entries_.end(),
            [](const LayoutEntry& a, const LayoutEntry& b) { return a.name < b.name; });
  for (size_t i = 0; i < entries_.size(); ++i) {
    LayoutEntry& entry = entries_[i];
    TEMPER_CHECK(i == 0 || entries_[i - 1].name < entry.name, entry.name, " is there twice");
    entry.elements = 1;
    for (int64_t size : entry.shape) entry.elements *= size;
    elements_ += entry.elements;
    entry.offset = trained_elements_;
    if (entry.trained) trained_elements_ += entry.elements;
  }
}

int64_t Layout::Find(std::string_view name) const {
  const auto it =
      std::lower_bound(entries_.begin(), entries_.end(), name,
                       [](const LayoutEntry& entry, std::string_view n) { return entry.name < n; });
  return it == entries_.end() || it->name != name ? -1 : it - entries_.begin();
}

}  // namespace temper
