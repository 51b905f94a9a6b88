// SPDX-License-Identifier: Apache-2.0
#include "model/config.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "model/config_keys.h"

namespace temper {
namespace {

constexpr int64_t kMaxSize = int64_t{1}
                             << 20;  // of one axis; products of a few of these still fit in 63 bits
constexpr int64_t kMaxVocabulary = int64_t{1} << 24;
constexpr int64_t kMaxHeads = 4096;
constexpr int64_t kMaxLayers = 1024;
constexpr int64_t kMaxExperts = 4096;

void ReadTokens(Keys& keys, ModelConfig* config) {
  const auto token = [&](const Json& value) -> int32_t {
    if (value.is_number_integer()) {
      const int64_t id = value.get<int64_t>();
      if (id >= 0 && id < config->vocab_size) return static_cast<int32_t>(id);
    }
    keys.Fail("eos_token_id",
              absl::StrCat("is ", DumpJson(value), ", not a token of vocab_size ", config->vocab_size));
    return 0;
  };
  if (const Json* eos = keys.Member("eos_token_id")) {
    if (eos->is_array()) {
      for (const Json& value : *eos) config->eos_ids.push_back(token(value));
    } else {
      config->eos_ids.push_back(token(*eos));
    }
  }
  config->bos_id = static_cast<int32_t>(keys.Int("bos_token_id", 0, config->vocab_size - 1, -1));
}

void ReadGroupedAttention(Keys& keys, ModelConfig* config) {
  config->num_kv_heads = keys.Int("num_key_value_heads", 1, kMaxHeads, config->num_heads);
  if (config->num_heads % config->num_kv_heads != 0) {
    keys.Fail("num_attention_heads",
              absl::StrCat("is ", config->num_heads, ", not a multiple of num_key_value_heads ",
                           config->num_kv_heads));
  }
  if (!keys.Has("head_dim") && config->hidden_size % config->num_heads != 0) {
    keys.Fail("hidden_size", absl::StrCat("is ", config->hidden_size,
                                          ", not a multiple of num_attention_heads ", config->num_heads));
  }
  config->head_dim = keys.Int("head_dim", 2, kMaxSize, config->hidden_size / config->num_heads);
  if (config->head_dim % 2 != 0) {
    keys.Fail("head_dim", absl::StrCat("is ", config->head_dim, "; rotary pairs need an even number"));
  }
  if (config->model_type == "qwen2") {
    config->qkv_bias = true;
  } else {
    config->qkv_bias = config->output_bias = keys.Bool("attention_bias", false);
    config->mlp_bias = keys.Bool("mlp_bias", false);
  }
  // Windows that no layer reaches are allowed.
  if (keys.Bool("use_sliding_window", false) && keys.Has("sliding_window") &&
      keys.Int("max_window_layers", 0, INT32_MAX, 0) < config->num_layers) {
    keys.Fail("use_sliding_window", "is true; temper attends to every position");
  }
  if (const Json* types = keys.Member("layer_types"); types != nullptr && types->is_array()) {
    for (const Json& type : *types) {
      if (type != "full_attention") {
        keys.Fail("layer_types",
                  absl::StrCat("has ", DumpJson(type), "; temper knows 'full_attention' only"));
      }
    }
  }
}

void ReadDeepseek(Keys& keys, ModelConfig* config) {
  config->q_lora_rank = keys.Int("q_lora_rank", 1, kMaxSize, 0);
  config->kv_lora_rank = keys.Int("kv_lora_rank", 1, kMaxSize);
  config->qk_nope_head_dim = keys.Int("qk_nope_head_dim", 1, kMaxSize);
  config->qk_rope_head_dim = keys.Int("qk_rope_head_dim", 2, kMaxSize);
  config->v_head_dim = keys.Int("v_head_dim", 1, kMaxSize);
  config->num_kv_heads = keys.Int("num_key_value_heads", 1, kMaxHeads, config->num_heads);
  config->rope_interleaved = keys.Bool("rope_interleave", true);
  if (config->num_kv_heads != config->num_heads) {
    keys.Fail("num_key_value_heads",
              "differs from num_attention_heads; latent attention has one for each head");
  }
  if (config->qk_rope_head_dim % 2 != 0) {
    keys.Fail("qk_rope_head_dim",
              absl::StrCat("is ", config->qk_rope_head_dim, "; rotary pairs need an even number"));
  }
  keys.Only("attention_bias", keys.Bool("attention_bias", false), false);
  keys.Only("scoring_func", keys.Text("scoring_func", "sigmoid"), std::string("sigmoid"));
  keys.Only("topk_method", keys.Text("topk_method", "noaux_tc"), std::string("noaux_tc"));
  keys.Only<double>("moe_layer_freq", keys.Int("moe_layer_freq", 0, INT32_MAX, 1), 1);

  config->routed_experts = keys.Int("n_routed_experts", 1, kMaxExperts);
  config->shared_experts = keys.Int("n_shared_experts", 0, kMaxExperts, 0);
  config->experts_per_token = keys.Int("num_experts_per_tok", 1, config->routed_experts);
  config->moe_intermediate_size = keys.Int("moe_intermediate_size", 1, kMaxSize);
  config->first_dense_layers = keys.Int("first_k_dense_replace", 0, INT32_MAX);
  config->expert_groups = keys.Int("n_group", 1, config->routed_experts, 1);
  config->top_groups = keys.Int("topk_group", 1, config->expert_groups, 1);
  config->routed_scaling_factor = static_cast<float>(keys.Number("routed_scaling_factor", 0, 1e6, 1));
  config->norm_topk_prob = keys.Bool("norm_topk_prob", true);
  config->mtp_layers = keys.Int("num_nextn_predict_layers", 0, kMaxLayers, 0);
  const int64_t in_group = config->routed_experts / config->expert_groups;
  if (in_group * config->expert_groups != config->routed_experts || in_group < 2) {
    keys.Fail("n_group",
              absl::StrCat("is ", config->expert_groups, ": n_routed_experts ", config->routed_experts,
                           " must be a multiple of it, two or more a group"));
  }
  if (config->experts_per_token > in_group * config->top_groups) {
    keys.Fail("num_experts_per_tok",
              absl::StrCat("is ", config->experts_per_token, "; topk_group ", config->top_groups,
                           " groups have ", in_group * config->top_groups));
  }
}

constexpr const char* kModelTypes[] = {"deepseek_v3", "llama", "qwen2"};

}  // namespace

absl::StatusOr<ModelConfig> ParseModelConfig(const std::string& json, const std::string& path) {
  TEMPER_ASSIGN_OR_RETURN(const Json root, ParseJson(json, path));
  if (!root.is_object()) return absl::InvalidArgumentError(absl::StrCat(path, ": is not a JSON object"));
  Keys keys(root, path);
  ModelConfig config;
  config.json = json;
  TEMPER_ASSIGN_OR_RETURN(config.model_type, GetString(root, "model_type", path));
  if (std::find(std::begin(kModelTypes), std::end(kModelTypes), config.model_type) == std::end(kModelTypes)) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": model_type: is '", Printable(config.model_type),
                                                   "'; temper knows ", absl::StrJoin(kModelTypes, ", ")));
  }
  config.vocab_size = keys.Int("vocab_size", 1, kMaxVocabulary);
  config.hidden_size = keys.Int("hidden_size", 1, kMaxSize);
  config.num_layers = keys.Int("num_hidden_layers", 1, kMaxLayers);
  config.intermediate_size = keys.Int("intermediate_size", 1, kMaxSize);
  config.num_heads = keys.Int("num_attention_heads", 1, kMaxHeads);
  config.max_positions = keys.Int("max_position_embeddings", 1, INT32_MAX);
  config.rms_norm_eps = static_cast<float>(keys.Number("rms_norm_eps", 0, 1, 1e-6));
  config.tie_word_embeddings = keys.Bool("tie_word_embeddings", false);
  keys.Only("hidden_act", keys.Text("hidden_act", "silu"), std::string("silu"));
  keys.Only("attention_dropout", keys.Number("attention_dropout", 0, 1, 0), 0.0);
  if (keys.Has("quantization_config")) {
    keys.Fail("quantization_config",
              "temper reads BF16, F16 and F32 weights; dequantize the checkpoint first");
  }
  if (const Json* kinds = keys.Member("architectures"); kinds != nullptr && kinds->is_array()) {
    for (const Json& kind : *kinds) {
      if (!kind.is_string() || !absl::EndsWith(kind.get<std::string>(), "ForCausalLM")) {
        keys.Fail("architectures",
                  absl::StrCat("has ", DumpJson(kind), "; temper knows ...ForCausalLM only"));
      }
    }
  }
  config.model_type == "deepseek_v3" ? ReadDeepseek(keys, &config) : ReadGroupedAttention(keys, &config);
  ReadTokens(keys, &config);
  ReadRope(keys, &config);
  TEMPER_RETURN_IF_ERROR(keys.status());
  return config;
}

float ModelConfig::softmax_scale() const {
  double scale = 1.0 / std::sqrt(static_cast<double>(qk_head_dim()));
  // YaRN, arXiv 2309.00071; DeepSeek-V3 moves the factor from the rotated parts to the whole score.
  if (is_mla() && rope.type != "default" && rope.mscale_all_dim != 0 && rope.factor > 1) {
    const double mscale = 0.1 * rope.mscale_all_dim * std::log(rope.factor) + 1.0;
    scale *= mscale * mscale;
  }
  return static_cast<float>(scale);
}

}  // namespace temper
