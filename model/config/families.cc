// SPDX-License-Identifier: Apache-2.0
// The families of models: one reader each, in the table at the end.
#include "model/config/keys.h"

namespace temper {
namespace {

// --- Grouped-query attention ---

// `head_dim` is what the family's class in Transformers takes where config.json has none.
void ReadHeads(Keys& keys, ModelConfig* config, int64_t head_dim) {
  config->num_kv_heads = keys.Int("num_key_value_heads", 1, kMaxHeads, config->num_heads);
  if (config->num_heads % config->num_kv_heads != 0) {
    keys.Fail("num_attention_heads",
              absl::StrCat("is ", config->num_heads, ", not a multiple of num_key_value_heads ",
                           config->num_kv_heads));
  }
  config->head_dim = keys.Int("head_dim", 2, kMaxSize, head_dim);
  if (config->head_dim % 2 != 0) {
    keys.Fail("head_dim", absl::StrCat("is ", config->head_dim, "; rotary pairs need an even number"));
  }
}

int64_t HiddenByHeads(Keys& keys, const ModelConfig& config) {
  if (!keys.Has("head_dim") && config.hidden_size % config.num_heads != 0) {
    keys.Fail("hidden_size", absl::StrCat("is ", config.hidden_size,
                                          ", not a multiple of num_attention_heads ", config.num_heads));
  }
  return config.hidden_size / config.num_heads;
}

// The window of every layer from `first` on; 0: none.
void SetWindows(ModelConfig* config, int64_t window, int64_t first) {
  if (window == 0 || first >= config->num_layers) return;
  config->windows.assign(config->num_layers, 0);
  for (int64_t layer = first; layer < config->num_layers; ++layer) config->windows[layer] = window;
}

// layer_types where config.json has them. They decide if `window` > 0, else they must say what is the case.
void ReadLayerTypes(Keys& keys, ModelConfig* config, int64_t window) {
  const Json* types = keys.Member("layer_types");
  if (types == nullptr) return;
  if (!types->is_array() || static_cast<int64_t>(types->size()) != config->num_layers) {
    return keys.Fail("layer_types",
                     absl::StrCat("is not a list of num_hidden_layers ", config->num_layers, " names"));
  }
  if (window > 0) config->windows.assign(config->num_layers, 0);
  for (int64_t layer = 0; layer < config->num_layers; ++layer) {
    const Json& type = (*types)[layer];
    if (type != "full_attention" && type != "sliding_attention") {
      return keys.Fail("layer_types",
                       absl::StrCat("has ", Printable(DumpJson(type), 60),
                                    "; temper knows 'full_attention' and 'sliding_attention'"));
    }
    const bool slides = type == "sliding_attention";
    if (window > 0) {
      config->windows[layer] = slides ? window : 0;
    } else if (slides != (config->window(layer) > 0)) {
      return keys.Fail("layer_types", absl::StrCat("has ", DumpJson(type), " in layer ", layer, ", where a ",
                                                   config->model_type, " of this config has ",
                                                   slides ? "no window" : "a window"));
    }
  }
}

// qwen2, qwen3: a window in the layers from max_window_layers on, or where layer_types says so.
void ReadWindows(Keys& keys, ModelConfig* config) {
  const int64_t window =
      keys.Bool("use_sliding_window", false) && (keys.Has("sliding_window") || !keys.Stated("sliding_window"))
          ? keys.Int("sliding_window", 1, INT32_MAX, 4096)
          : 0;
  SetWindows(config, window, keys.Int("max_window_layers", 0, INT32_MAX, 28));
  ReadLayerTypes(keys, config, window);
}

void ReadLlama(Keys& keys, ModelConfig* config) {
  ReadHeads(keys, config, HiddenByHeads(keys, *config));
  config->qkv_bias = config->output_bias = keys.Bool("attention_bias", false);
  config->mlp_bias = keys.Bool("mlp_bias", false);
  ReadLayerTypes(keys, config, 0);
}

// Mistral 7B, arXiv 2310.06825. Without the key its class has a window of 4096; null is none.
void ReadMistral(Keys& keys, ModelConfig* config) {
  ReadHeads(keys, config, HiddenByHeads(keys, *config));
  if (keys.Has("sliding_window") || !keys.Stated("sliding_window")) {
    SetWindows(config, keys.Int("sliding_window", 1, INT32_MAX, 4096), 0);
  }
  keys.Only("attention_bias", keys.Bool("attention_bias", false), false);
  keys.Only("mlp_bias", keys.Bool("mlp_bias", false), false);
  ReadLayerTypes(keys, config, 0);
}

void ReadQwen2(Keys& keys, ModelConfig* config) {
  ReadHeads(keys, config, HiddenByHeads(keys, *config));
  config->qkv_bias = true;
  ReadWindows(keys, config);
}

// Qwen3 report, arXiv 2505.09388.
void ReadQwen3(Keys& keys, ModelConfig* config) {
  ReadHeads(keys, config, 128);
  config->qkv_bias = config->output_bias = keys.Bool("attention_bias", false);
  config->qk_norm = true;
  ReadWindows(keys, config);
}

// --- Mixtures of experts ---

void ReadQwen3Moe(Keys& keys, ModelConfig* config) {
  ReadHeads(keys, config, HiddenByHeads(keys, *config));
  config->qkv_bias = config->output_bias = keys.Bool("attention_bias", false);
  config->qk_norm = true;
  if (keys.Bool("use_sliding_window", false) &&
      (keys.Has("sliding_window") || !keys.Stated("sliding_window")))
    SetWindows(config, keys.Int("sliding_window", 1, INT32_MAX, 4096), 0);
  ReadLayerTypes(keys, config, 0);

  // Transformers 4 writes num_experts, 5 num_local_experts.
  const std::string experts = keys.Has("num_experts") ? "num_experts" : "num_local_experts";
  config->routed_experts = keys.Int(experts, 1, kMaxExperts);
  if (keys.Int("num_local_experts", 1, kMaxExperts, config->routed_experts) != config->routed_experts)
    keys.Fail("num_local_experts", "differs from num_experts; keep one of them");
  config->experts_per_token = keys.Int("num_experts_per_tok", 1, config->routed_experts);
  config->moe_intermediate_size = keys.Int("moe_intermediate_size", 1, kMaxSize);
  config->norm_topk_prob = keys.Bool("norm_topk_prob", false);
  config->sigmoid_scores = false;
  config->sparse_step = keys.Int("decoder_sparse_step", 1, INT32_MAX, 1);
  if (const Json* dense = keys.Member("mlp_only_layers")) {
    for (const Json& layer : dense->is_array() ? *dense : Json::array({*dense})) {
      if (!layer.is_number_integer()) return keys.Fail("mlp_only_layers", "is not a list of layers");
      config->dense_layers.push_back(layer.get<int64_t>());
    }
  }
}

void ReadLatentAttention(Keys& keys, ModelConfig* config) {
  config->q_lora_rank = keys.Int("q_lora_rank", 1, kMaxSize, 0);
  config->kv_lora_rank = keys.Int("kv_lora_rank", 1, kMaxSize);
  config->qk_nope_head_dim = keys.Int("qk_nope_head_dim", 1, kMaxSize);
  config->qk_rope_head_dim = keys.Int("qk_rope_head_dim", 2, kMaxSize);
  config->v_head_dim = keys.Int("v_head_dim", 1, kMaxSize);
  config->num_kv_heads = keys.Int("num_key_value_heads", 1, kMaxHeads, config->num_heads);
  config->qkv_bias = config->output_bias = keys.Bool("attention_bias", false);
  if (config->num_kv_heads != config->num_heads) {
    keys.Fail("num_key_value_heads",
              "differs from num_attention_heads; latent attention has one for each head");
  }
  if (config->qk_rope_head_dim % 2 != 0) {
    keys.Fail("qk_rope_head_dim",
              absl::StrCat("is ", config->qk_rope_head_dim, "; rotary pairs need an even number"));
  }
}

// Sizes and counts; groups are read by then.
void ReadDeepseekExperts(Keys& keys, ModelConfig* config) {
  config->shared_experts = keys.Int("n_shared_experts", 0, kMaxExperts, 0);
  config->moe_intermediate_size = keys.Int("moe_intermediate_size", 1, kMaxSize);
  config->experts_per_token = keys.Int("num_experts_per_tok", 1, config->routed_experts);
  keys.Only<double>("moe_layer_freq", keys.Int("moe_layer_freq", 0, INT32_MAX, 1), 1);
  const int64_t in_group = config->routed_experts / config->expert_groups;
  const int64_t least = config->sigmoid_scores ? 2 : 1;
  if (in_group * config->expert_groups != config->routed_experts || in_group < least) {
    keys.Fail("n_group",
              absl::StrCat("is ", config->expert_groups, ": n_routed_experts ", config->routed_experts,
                           " must be a multiple of it", least == 2 ? ", two or more a group" : ""));
  }
  if (config->experts_per_token > in_group * config->top_groups) {
    keys.Fail("num_experts_per_tok",
              absl::StrCat("is ", config->experts_per_token, "; topk_group ", config->top_groups,
                           " groups have ", in_group * config->top_groups));
  }
}

// DeepSeek-V2, arXiv 2405.04434. norm_topk_prob changes nothing here, as in Transformers: the weights are the
// softmax's own, times routed_scaling_factor. (DeepSeek's first code would normalise and then not scale; no
// published model asks for it.)
void ReadDeepseekV2(Keys& keys, ModelConfig* config) {
  ReadLatentAttention(keys, config);
  config->rope_interleaved = true;
  config->mlp_bias = keys.Bool("mlp_bias", false);
  keys.Only("scoring_func", keys.Text("scoring_func", "softmax"), std::string("softmax"));
  config->sigmoid_scores = false;
  config->norm_topk_prob = false;
  config->routed_experts = keys.Int("n_routed_experts", 1, kMaxExperts, 64);
  const std::string method = keys.Text("topk_method", "greedy");
  if (method == "group_limited_greedy") {
    config->expert_groups = keys.Int("n_group", 1, config->routed_experts);
    config->top_groups = keys.Int("topk_group", 1, config->expert_groups);
  } else if (method != "greedy") {
    keys.Fail("topk_method",
              absl::StrCat("is '", Printable(method), "'; temper knows 'greedy' and 'group_limited_greedy'"));
  }
  config->first_dense_layers = keys.Int("first_k_dense_replace", 0, INT32_MAX, 0);
  config->routed_scaling_factor = static_cast<float>(keys.Number("routed_scaling_factor", 0, 1e6, 1));
  ReadDeepseekExperts(keys, config);
}

// DeepSeek-V3, arXiv 2412.19437; R1 is one.
void ReadDeepseekV3(Keys& keys, ModelConfig* config) {
  ReadLatentAttention(keys, config);
  config->rope_interleaved = keys.Bool("rope_interleave", true);
  keys.Only("mlp_bias", keys.Bool("mlp_bias", false), false);
  keys.Only("scoring_func", keys.Text("scoring_func", "sigmoid"), std::string("sigmoid"));
  keys.Only("topk_method", keys.Text("topk_method", "noaux_tc"), std::string("noaux_tc"));
  config->routed_experts = keys.Int("n_routed_experts", 1, kMaxExperts);
  config->expert_groups = keys.Int("n_group", 1, config->routed_experts, 8);
  config->top_groups = keys.Int("topk_group", 1, config->expert_groups, 4);
  config->first_dense_layers = keys.Int("first_k_dense_replace", 0, INT32_MAX);
  config->routed_scaling_factor = static_cast<float>(keys.Number("routed_scaling_factor", 0, 1e6, 2.5));
  config->norm_topk_prob = keys.Bool("norm_topk_prob", true);
  config->mtp_layers = keys.Int("num_nextn_predict_layers", 0, kMaxLayers, 0);
  ReadDeepseekExperts(keys, config);
}

struct Family {
  const char* model_type;
  FamilyReader read;
};
constexpr Family kFamilies[] = {
    {"deepseek_v2", ReadDeepseekV2},
    {"deepseek_v3", ReadDeepseekV3},
    {"llama", ReadLlama},
    {"mistral", ReadMistral},
    {"qwen2", ReadQwen2},
    {"qwen3", ReadQwen3},
    {"qwen3_moe", ReadQwen3Moe},
};

}  // namespace

FamilyReader FindFamily(const std::string& model_type) {
  for (const Family& family : kFamilies) {
    if (model_type == family.model_type) return family.read;
  }
  return nullptr;
}

std::vector<std::string> KnownModelTypes() {
  std::vector<std::string> types;
  for (const Family& family : kFamilies) types.push_back(family.model_type);
  return types;
}

}  // namespace temper
