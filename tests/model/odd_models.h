// SPDX-License-Identifier: Apache-2.0
// Small random policies of unfriendly sizes, for the proofs of exactness.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "ATen/Context.h"
#include "core/random.h"
#include "kernels/backends/cpu.h"
#include "model/causal_lm.h"
#include "model/parameters.h"
#include "model/torch_backend.h"
#include "tests/model/configs.h"
#include "tests/model/slices.h"

namespace temper {

inline Json OddDeepseek() {
  Json json = TinyDeepseek();
  json.update(Json::parse(R"({"vocab_size": 711, "hidden_size": 100, "num_hidden_layers": 2,
    "intermediate_size": 90, "max_position_embeddings": 4096, "q_lora_rank": 37, "kv_lora_rank": 21,
    "qk_nope_head_dim": 13, "qk_rope_head_dim": 6, "v_head_dim": 11, "n_routed_experts": 10,
    "n_shared_experts": 1, "num_experts_per_tok": 3, "moe_intermediate_size": 27, "n_group": 5,
    "topk_group": 3, "num_nextn_predict_layers": 0})"));
  return json;
}

// It trains its MTP module.
inline Json OddMtp() { return With(OddDeepseek(), "trains_mtp", true); }

inline Json OddYarn() {
  Json json = With(OddDeepseek(), "q_lora_rank", nullptr);
  json["rope_scaling"] =
      Json::parse(R"({"type": "yarn", "factor": 4.0, "beta_fast": 32, "beta_slow": 1, "mscale": 1.0,
                      "mscale_all_dim": 0.7, "original_max_position_embeddings": 64})");
  return json;
}

inline Json OddLlama() {
  Json json = TinyLlama();
  json.update(Json::parse(R"({"vocab_size": 711, "hidden_size": 100, "intermediate_size": 90,
    "max_position_embeddings": 4096, "head_dim": 18})"));
  return json;
}

inline Json OddQwen2() {
  Json json = OddLlama();
  json.update(Json::parse(R"({"model_type": "qwen2", "tie_word_embeddings": true, "num_attention_heads": 6,
    "num_key_value_heads": 2})"));
  return json;
}

// Two windows that rows of a batch leave behind, and a layer without one.
inline Json OddWindows() {
  Json json = OddQwen2();
  json.update(Json::parse(R"({"num_hidden_layers": 3, "use_sliding_window": true, "sliding_window": 21,
    "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]})"));
  return json;
}

inline Json OddMistral() {
  Json json = OddLlama();
  json.update(Json::parse(R"({"model_type": "mistral", "sliding_window": 50})"));
  return json;
}

inline Json OddQwen3() {
  Json json = OddLlama();
  json.update(Json::parse(R"({"model_type": "qwen3", "head_dim": 22})"));
  return json;
}

// Of four layers the second has experts; the fourth would, but is told to have none.
inline Json OddQwen3Moe() {
  Json json = OddQwen3();
  json.update(Json::parse(R"({"model_type": "qwen3_moe", "num_hidden_layers": 4, "decoder_sparse_step": 2,
    "mlp_only_layers": [3], "num_experts": 10, "num_experts_per_tok": 3, "moe_intermediate_size": 27,
    "norm_topk_prob": true, "attention_bias": true})"));
  return json;
}

// Softmax routing in groups, biases everywhere.
inline Json OddDeepseekV2() {
  Json json = OddDeepseek();
  json.update(Json::parse(R"({"model_type": "deepseek_v2", "topk_method": "group_limited_greedy",
    "attention_bias": true, "mlp_bias": true, "routed_scaling_factor": 1.7})"));
  return json;
}

inline Json OddDeepseekV2Lite() {
  Json json = With(OddYarn(), "model_type", "deepseek_v2");
  json.erase("topk_method");
  return json;
}

// Weights of which none is 1 or 0, norms and biases included.
inline Parameters RandomParameters(const ModelConfig& config, uint64_t seed = 5) {
  const float embedding_std = config.tie_word_embeddings ? 0.1f : 0.5f;
  Parameters parameters =
      InitializeParameters(config, seed, {.embedding_std = embedding_std, .head_gain = 2.0f});
  for (Parameter& parameter : parameters.list()) {
    if (parameter.value.dim() != 1) continue;
    RandomStream stream(RandomKey(seed, "odd", 0, parameter.name), Purpose::kInit);
    float* values = parameter.value.mutable_data_ptr<float>();
    for (int64_t i = 0; i < parameter.value.numel(); ++i) {
      values[i] += 0.2f * static_cast<float>(stream.NextNormal());
    }
  }
  return parameters;
}

// A policy with threads and a backend of its own.
struct Policy {
  explicit Policy(const Json& json, int threads = 2)
      : pool(threads),
        backend(std::make_unique<kernels::CpuBackend>(&pool)),
        model(Parsed(json), RandomParameters(Parsed(json)), backend.get()) {}
  // What a rank of the mesh has of it.
  Policy(const Json& json, const Mesh& mesh, int threads = 1)
      : pool(threads),
        backend(std::make_unique<kernels::CpuBackend>(&pool)),
        model(Parsed(json), Slice(RandomParameters(Parsed(json)), Layout(Parsed(json), mesh.place())),
              backend.get(), /*rounded=*/false, mesh) {}
  // By LibTorch's ops on a device.
  Policy(const Json& json, at::Device library)
      : pool(2),
        backend(std::make_unique<TorchBackend>(library, &pool)),
        model(Parsed(json), RandomParameters(Parsed(json)), backend.get()) {}
  ThreadPool pool;
  std::unique_ptr<kernels::Backend> backend;
  CausalLm model;
};

// Where LibTorch's ops are tried: the CPU, and the GPU where there is one.
inline std::vector<at::Device> LibraryDevices() {
  std::vector<at::Device> devices = {at::kCPU};
  if (at::hasCUDA()) devices.emplace_back(at::kCUDA, 0);
  return devices;
}

// `length` tokens of the vocabulary, a function of `name`.
inline std::vector<int32_t> RandomTokens(int64_t vocabulary, int64_t length, uint64_t name) {
  RandomStream stream(RandomKey(name, "tokens", 0, ""), Purpose::kTask);
  std::vector<int32_t> tokens(length);
  for (int32_t& token : tokens) token = static_cast<int32_t>(stream.NextBelow(vocabulary));
  return tokens;
}

using Sequences = std::vector<std::vector<int32_t>>;

// Sequences one after another; each token's target is the next.
inline Microbatch Packed(const Sequences& sequences) {
  Microbatch batch;
  for (const std::vector<int32_t>& sequence : sequences) {
    batch.tokens.insert(batch.tokens.end(), sequence.begin(), sequence.end());
    batch.targets.insert(batch.targets.end(), sequence.begin() + 1, sequence.end());
    batch.targets.push_back(-1);
    batch.lengths.push_back(static_cast<int64_t>(sequence.size()));
  }
  return batch;
}

inline std::vector<float> PackedLogprobs(CausalLm& model, const Sequences& sequences, float temperature) {
  const Microbatch batch = Packed(sequences);
  std::vector<float> logprobs(batch.tokens.size());
  model.Logprobs(batch, temperature, logprobs.data());
  return logprobs;
}

}  // namespace temper
