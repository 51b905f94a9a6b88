// SPDX-License-Identifier: Apache-2.0
#include "cli/bench/policy.h"

#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "cli/line/policy.h"
#include "core/files/file.h"
#include "core/json/json.h"
#include "core/log.h"
#include "core/random.h"
#include "core/stop.h"
#include "kernels/peak.h"
#include "model/device.h"

namespace temper {
namespace {

// 5.17 million parameters, 2.47 million of them at work on a token.
constexpr char kTinyConfig[] = R"({"model_type": "deepseek_v3", "architectures": ["DeepseekV3ForCausalLM"],
  "vocab_size": 1024, "hidden_size": 256, "intermediate_size": 704, "moe_intermediate_size": 176,
  "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 4, "n_shared_experts": 1,
  "n_routed_experts": 8, "num_experts_per_tok": 2, "n_group": 2, "topk_group": 1, "first_k_dense_replace": 1,
  "kv_lora_rank": 64, "q_lora_rank": 96, "qk_rope_head_dim": 16, "v_head_dim": 32, "qk_nope_head_dim": 32,
  "max_position_embeddings": 4096, "routed_scaling_factor": 2.5, "rms_norm_eps": 1e-6, "rope_theta": 10000,
  "tie_word_embeddings": false, "num_nextn_predict_layers": 1, "bos_token_id": 1, "eos_token_id": 2})";

}  // namespace

absl::StatusOr<PolicyFiles> BenchPolicy(const BenchOptions& options) {
  std::string directory;
  if (!options.model.empty()) {
    TEMPER_ASSIGN_OR_RETURN(directory, FindModel(options.model));
  }
  const MtpUse mtp = options.by_mtp() ? MtpUse::kDrafts : MtpUse::kCarried;
  const std::filesystem::path folder = directory;
  if (!directory.empty() && (std::filesystem::exists(folder / "model.safetensors") ||
                             std::filesystem::exists(folder / "model.safetensors.index.json"))) {
    TEMPER_ASSIGN_OR_RETURN(ModelConfig config, ReadPolicyConfig(directory));
    config.mtp = mtp;
    return ReadPolicy(directory, std::move(config), {});
  }
  PolicyFiles files;
  if (options.model.empty()) {
    TEMPER_ASSIGN_OR_RETURN(files.config, ParseModelConfig(kTinyConfig, "the built-in config.json"));
  } else {
    TEMPER_ASSIGN_OR_RETURN(files.config, ReadPolicyConfig(directory));
  }
  if (options.by_mtp() && files.config.mtp_layers != 1)
    return absl::InvalidArgumentError(
        absl::StrCat("--drafts mtp: ", directory, " has num_nextn_predict_layers ", files.config.mtp_layers,
                     ": leave --drafts mtp out, or name a directory that has 1"));
  files.config.mtp = mtp;
  files.parameters = InitializeParameters(files.config, 1, InitScales());
  TEMPER_RETURN_IF_ERROR(CheckStop());
  return files;
}

double BenchPeak(const kernels::Backend& backend) {
  return backend.host_memory() ? kernels::PeakGflops(backend.pool()) : 0;
}

// Two for each weight that a token meets, of products with weights alone.
double FlopOfToken(const ModelConfig& config) {
  double flop = 0;
  for (const LayoutEntry& entry : Layout(config).entries()) {
    if (entry.shape.size() != 2 || !entry.trained) continue;
    if (entry.name == "model.embed_tokens.weight" && !config.tie_word_embeddings) continue;
    double share = 1;
    if (entry.name.find(".experts.") != std::string::npos) {
      share = static_cast<double>(config.experts_per_token) / static_cast<double>(config.routed_experts);
    }
    flop += share * 2 * static_cast<double>(entry.elements);
  }
  return flop;
}

PolicyUse BenchUse(const BenchOptions& options, bool trained) {
  return {.trained = trained, .bf16 = options.weights == kernels::Type::kBf16, .cache = options.cache};
}

absl::StatusOr<std::vector<std::vector<int32_t>>> BenchTokens(const BenchOptions& options, int64_t count,
                                                              int64_t length, int64_t vocab) {
  std::vector<std::vector<int32_t>> lists;
  if (!options.token_file.empty()) {
    TEMPER_ASSIGN_OR_RETURN(const std::string text, ReadFile(options.token_file));
    int64_t line = 0;
    for (absl::string_view row : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
      const std::string name = absl::StrCat(options.token_file, ":", ++line);
      TEMPER_ASSIGN_OR_RETURN(const Json json, ParseJson({row.data(), row.size()}, name));
      lists.emplace_back();
      for (const Json& id : json) {
        if (!id.is_number_integer() || id < 0 || id >= vocab) {
          return absl::InvalidArgumentError(absl::StrCat(name, ": not a list of token ids below ", vocab));
        }
        lists.back().push_back(id.get<int32_t>());
      }
      if (lists.back().size() < 2)
        return absl::InvalidArgumentError(absl::StrCat(name, ": fewer than two token ids"));
    }
    if (lists.empty())
      return absl::InvalidArgumentError(absl::StrCat(options.token_file, ": no lists of token ids"));
    for (size_t i = 0; static_cast<int64_t>(lists.size()) < count; ++i) lists.push_back(lists[i]);
    lists.resize(count);
    return lists;
  }
  RandomStream random(2, Purpose::kInit);
  lists.resize(count);
  for (std::vector<int32_t>& list : lists) {
    for (int64_t i = 0; i < length; ++i) list.push_back(static_cast<int32_t>(random.NextBelow(vocab)));
  }
  return lists;
}

Leaves DealInTurn(const std::vector<TrainSequence>& sequences, int64_t count) {
  Leaves leaves(count);
  for (size_t i = 0; i < sequences.size(); ++i)
    leaves[i * leaves.size() / sequences.size()].push_back(&sequences[i]);
  return leaves;
}

}  // namespace temper
