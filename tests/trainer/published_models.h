// SPDX-License-Identifier: Apache-2.0
// Folders of published models as far as a plan needs them: config.json of the real shape, and a tokenizer
// that is small.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "core/files/file.h"
#include "core/json/json.h"
#include "gtest/gtest.h"

namespace temper {

// Where Qwen2.5's and Llama's differ among themselves.
struct DenseShape {
  const char* name;
  int64_t hidden, mlp, layers, heads, kv_heads, vocab;
};

inline Json DenseConfig(const DenseShape& shape) {
  return Json{{"hidden_act", "silu"},
              {"hidden_size", shape.hidden},
              {"intermediate_size", shape.mlp},
              {"num_hidden_layers", shape.layers},
              {"num_attention_heads", shape.heads},
              {"num_key_value_heads", shape.kv_heads},
              {"vocab_size", shape.vocab},
              {"bos_token_id", 1},
              {"eos_token_id", 2},
              {"torch_dtype", "bfloat16"}};
}

inline Json QwenConfig(const DenseShape& shape) {
  const bool of_mathematics = std::string(shape.name).find("Math") != std::string::npos;
  Json json = DenseConfig(shape);
  json.update(Json{{"model_type", "qwen2"},
                   {"architectures", {"Qwen2ForCausalLM"}},
                   {"tie_word_embeddings", shape.hidden < 2000},
                   {"max_position_embeddings", of_mathematics ? 4096 : 131072},
                   {"rope_theta", of_mathematics ? 1e4 : 1e6},
                   {"rms_norm_eps", shape.hidden < 5000 ? 1e-6 : 1e-5},
                   {"use_sliding_window", false}});
  return json;
}

inline Json LlamaConfig(const DenseShape& shape) {
  Json json = DenseConfig(shape);
  json.update(Json::parse(R"({"model_type": "llama", "architectures": ["LlamaForCausalLM"], "head_dim": 128,
    "tie_word_embeddings": false, "max_position_embeddings": 131072, "rope_theta": 500000.0,
    "rms_norm_eps": 1e-5, "attention_bias": false, "mlp_bias": false,
    "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                     "original_max_position_embeddings": 8192}})"));
  return json;
}

inline Json DeepseekV3Config() {
  return Json::parse(R"({"model_type": "deepseek_v3", "architectures": ["DeepseekV3ForCausalLM"],
    "vocab_size": 129280, "hidden_size": 7168, "intermediate_size": 18432, "moe_intermediate_size": 2048,
    "num_hidden_layers": 61, "first_k_dense_replace": 3, "moe_layer_freq": 1, "num_nextn_predict_layers": 1,
    "num_attention_heads": 128, "num_key_value_heads": 128, "q_lora_rank": 1536, "kv_lora_rank": 512,
    "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128, "attention_bias": false,
    "n_routed_experts": 256, "n_shared_experts": 1, "num_experts_per_tok": 8, "n_group": 8, "topk_group": 4,
    "norm_topk_prob": true, "routed_scaling_factor": 2.5, "scoring_func": "sigmoid",
    "topk_method": "noaux_tc", "hidden_act": "silu", "rms_norm_eps": 1e-6, "rope_theta": 10000,
    "max_position_embeddings": 163840, "tie_word_embeddings": false, "torch_dtype": "bfloat16",
    "bos_token_id": 1, "eos_token_id": 2,
    "rope_scaling": {"type": "yarn", "factor": 40, "original_max_position_embeddings": 4096, "beta_fast": 32,
                     "beta_slow": 1, "mscale": 1.0, "mscale_all_dim": 1.0}})");
}

// `source`: the repository.
inline void WritePublishedModel(const std::string& source, const std::string& directory, const Json& config) {
  std::filesystem::create_directories(directory);
  ASSERT_TRUE(WriteFileAtomic(directory + "/config.json", config.dump()).ok());
  for (const char* name : {"tokenizer.json", "tokenizer_config.json"})
    std::filesystem::copy_file(source + "/configs/tiny/base/" + name, directory + "/" + name);
  constexpr char kTemplate[] =
      "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"
      "{% if add_generation_prompt %}[assistant]{% endif %}";
  ASSERT_TRUE(WriteFileAtomic(directory + "/chat_template.jinja", kTemplate).ok());
}

inline void WritePublishedModels(const std::string& source, const std::string& folder) {
  WritePublishedModel(source, folder + "/DeepSeek-V3-Base", DeepseekV3Config());
  for (const DenseShape& shape : std::vector<DenseShape>{{"Qwen2.5-0.5B", 896, 4864, 24, 14, 2, 151936},
                                                         {"Qwen2.5-1.5B", 1536, 8960, 28, 12, 2, 151936},
                                                         {"Qwen2.5-7B", 3584, 18944, 28, 28, 4, 152064},
                                                         {"Qwen2.5-Math-1.5B", 1536, 8960, 28, 12, 2, 151936},
                                                         {"Qwen2.5-Math-7B", 3584, 18944, 28, 28, 4, 152064},
                                                         {"Qwen2.5-14B", 5120, 13824, 48, 40, 8, 152064},
                                                         {"Qwen2.5-32B", 5120, 27648, 64, 40, 8, 152064}})
    WritePublishedModel(source, folder + "/" + shape.name, QwenConfig(shape));
  for (const DenseShape& shape :
       std::vector<DenseShape>{{"Llama-3.1-8B", 4096, 14336, 32, 32, 8, 128256},
                               {"Llama-3.3-70B-Instruct", 8192, 28672, 80, 64, 8, 128256}})
    WritePublishedModel(source, folder + "/" + shape.name, LlamaConfig(shape));
}

}  // namespace temper
