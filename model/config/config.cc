// SPDX-License-Identifier: Apache-2.0
#include "model/config/config.h"

#include <cmath>

#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "core/json/python.h"
#include "model/config/keys.h"
#include "model/config/quantization.h"

namespace temper {
namespace {

constexpr int64_t kMaxVocabulary = int64_t{1} << 24;

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

}  // namespace

absl::StatusOr<ModelConfig> ParseModelConfig(const std::string& json, const std::string& path) {
  TEMPER_ASSIGN_OR_RETURN(const Json root, ParsePythonJson(json, path));
  if (!root.is_object()) return absl::InvalidArgumentError(absl::StrCat(path, ": is not a JSON object"));
  Keys keys(root, path);
  ModelConfig config;
  config.json = json;
  TEMPER_ASSIGN_OR_RETURN(config.model_type, GetString(root, "model_type", path));
  const FamilyReader read_family = FindFamily(config.model_type);
  if (read_family == nullptr) {
    const bool has_parts = Find(root, "text_config") != nullptr;
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": model_type: is '", Printable(config.model_type),
                     has_parts ? "', a model of several parts (text_config)" : "'", "; temper knows ",
                     has_parts ? "the language models " : "", absl::StrJoin(KnownModelTypes(), ", ")));
  }
  config.vocab_size = keys.Int("vocab_size", 1, kMaxVocabulary);
  config.hidden_size = keys.Int("hidden_size", 1, kMaxSize);
  config.num_layers = keys.Int("num_hidden_layers", 1, kMaxLayers);
  config.intermediate_size = keys.Int("intermediate_size", 1, kMaxSize);
  config.num_heads = keys.Int("num_attention_heads", 1, kMaxHeads);
  config.max_positions = keys.Int("max_position_embeddings", 1, INT32_MAX);
  config.rms_norm_eps = static_cast<float>(keys.Number("rms_norm_eps", 0, 1, 1e-6));
  config.tie_word_embeddings = keys.Bool("tie_word_embeddings", false);
  const std::string activation = keys.Text("hidden_act", "silu");
  keys.Only("hidden_act", activation == "swish" ? "silu" : activation, std::string("silu"));
  keys.Keep(IsFp8Config(root, path).status());
  if (const Json* kinds = keys.Member("architectures"); kinds != nullptr && kinds->is_array()) {
    for (const Json& kind : *kinds) {
      if (!kind.is_string() || !absl::EndsWith(kind.get<std::string>(), "ForCausalLM")) {
        keys.Fail("architectures",
                  absl::StrCat("has ", DumpJson(kind), "; temper knows ...ForCausalLM only"));
      }
    }
  }
  const std::string cache = keys.Text(kCacheKey, "f32");
  if (cache != "f32" && cache != "bf16")
    keys.Fail(kCacheKey, absl::StrCat("is '", Printable(cache), "'; temper knows f32 and bf16"));
  config.cache = cache == "bf16" ? kernels::Type::kBf16 : kernels::Type::kF32;
  read_family(keys, &config);
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
