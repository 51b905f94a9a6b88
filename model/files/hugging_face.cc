// SPDX-License-Identifier: Apache-2.0
#include "model/files/hugging_face.h"

#include <algorithm>
#include <atomic>
#include <charconv>
#include <cstring>
#include <set>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "core/files/file.h"
#include "core/json/python.h"
#include "core/log.h"
#include "core/status.h"
#include "core/text.h"
#include "core/thread_pool.h"
#include "data/tokenizer/folder.h"
#include "model/config/quantization.h"
#include "model/files/safetensors.h"

namespace temper {
namespace {

constexpr int64_t kJsonLimit = int64_t{64} << 20;
constexpr unsigned kReaders = 4;
constexpr char kEmbedding[] = "model.embed_tokens.weight", kHead[] = "lm_head.weight";

// Whether the model would compute with a tensor of this name if it had one. Behind its last layer are MTP
// modules (model.layers.N too); heads of values and scores stand beside it.
bool IsInside(const std::string& name, const ModelConfig& config) {
  absl::string_view rest = name;
  if (!absl::ConsumePrefix(&rest, "model.layers."))
    return absl::StartsWith(name, "model.") || absl::StartsWith(name, "lm_head.");
  int64_t layer = -1;
  const auto [stop, error] = std::from_chars(rest.data(), rest.data() + rest.size(), layer);
  return error != std::errc() || layer < config.num_layers;
}

// What old checkpoints keep of the rotation, which the config says.
bool IsRotaryBuffer(absl::string_view name) {
  return absl::EndsWith(name, "rotary_emb.inv_freq") || absl::EndsWith(name, "rotary_emb.cos_cached") ||
         absl::EndsWith(name, "rotary_emb.sin_cached");
}

absl::StatusOr<at::Tensor> ReadTensor(const StoredWeight& source, WeightNumbers numbers) {
  if (numbers == WeightNumbers::kAsStored && source.dtype() == "BF16" && source.shape.size() == 2) {
    at::Tensor value = NewHostTensor(source.shape, at::kBFloat16);
    TEMPER_RETURN_IF_ERROR(source.ReadBf16(static_cast<uint16_t*>(value.mutable_data_ptr())));
    return value;
  }
  at::Tensor value = NewHostTensor(source.shape);
  TEMPER_RETURN_IF_ERROR(source.Read(0, source.rows(), value.mutable_data_ptr<float>()));
  return value;
}

bool IsAllZero(const at::Tensor& value) {
  const auto is_zero = [](const auto* numbers, int64_t count) {
    return std::all_of(numbers, numbers + count, [](auto x) { return x == 0; });
  };
  return value.scalar_type() == at::kFloat
             ? is_zero(value.const_data_ptr<float>(), value.numel())
             : is_zero(static_cast<const uint16_t*>(value.const_data_ptr()), value.numel());
}

// A head that is stored although the config ties it must be the embedding: else one of the two is wrong.
absl::Status CheckTiedHead(const StoredWeight& head, const at::Tensor& embedding) {
  TEMPER_ASSIGN_OR_RETURN(const at::Tensor value, ReadTensor(head, WeightNumbers::kF32));
  const at::Tensor floats = embedding.to(at::kFloat);
  if (value.sizes() == floats.sizes() &&
      memcmp(value.const_data_ptr(), floats.const_data_ptr(), value.numel() * sizeof(float)) == 0) {
    return absl::OkStatus();
  }
  return TensorError(head.stored.file->path(), kHead,
                     "differs from model.embed_tokens.weight, but config.json has tie_word_embeddings true");
}

// What the policy takes of the weights: its own, and what goes along. All names and shapes first: a wrong
// file is refused before gigabytes are read.
absl::StatusOr<Layout> LayoutOf(const ModelConfig& config, const std::string& name,
                                const StoredWeights& weights) {
  TEMPER_ASSIGN_OR_RETURN(const std::vector<std::string> others, CheckWeights(config, name, weights));
  std::vector<LayoutEntry> entries = Layout(config).entries();
  std::string first;
  int64_t count = 0;
  for (const std::string& other : others) {
    if (other == kHead && config.tie_word_embeddings) continue;
    if (IsRotaryBuffer(other)) continue;
    const StoredWeight& source = weights.at(other);
    if (IsInside(other, config)) {
      return TensorError(source.stored.file->path(), other,
                         absl::StrCat("a ", config.model_type, " of this config has no such tensor"));
    }
    if (count++ == 0) first = Printable(other);
    entries.push_back({other, source.shape, LayoutEntry::Init::kLinear, /*trained=*/false});
  }
  if (count > 0 && config.mtp_layers == 0) {
    LogInfo(name, ": ", count, " tensors are no weights of this ", config.model_type,
            " and go along as they are: ", first, count > 1 ? ", ..." : "");
  }
  return Layout(std::move(entries));
}

absl::StatusOr<Parameters> ReadParameters(const ModelConfig& config, const std::string& name,
                                          const StoredWeights& weights, WeightNumbers numbers) {
  TEMPER_ASSIGN_OR_RETURN(Layout layout, LayoutOf(config, name, weights));
  const std::vector<LayoutEntry>& entries = layout.entries();
  std::vector<at::Tensor> values(entries.size());
  std::vector<absl::Status> statuses(entries.size());
  std::atomic<bool> all_zero = true;
  // Most of the time goes into the first touch of the memory, which several cores share.
  ThreadPool pool(static_cast<int>(std::clamp(std::thread::hardware_concurrency(), 1u, kReaders)));
  pool.ParallelFor(static_cast<int64_t>(entries.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      absl::StatusOr<at::Tensor> value = ReadTensor(weights.at(entries[i].name), numbers);
      statuses[i] = value.status();
      if (!value.ok()) continue;
      if (all_zero && !IsAllZero(*value)) all_zero = false;
      values[i] = *std::move(value);
    }
  });
  for (const absl::Status& status : statuses) TEMPER_RETURN_IF_ERROR(status);
  if (all_zero)
    return absl::InvalidArgumentError(name + ": every weight is zero; its data was never written");
  Parameters parameters(std::move(layout), std::move(values));
  if (const auto head = weights.find(kHead); config.tie_word_embeddings && head != weights.end()) {
    TEMPER_RETURN_IF_ERROR(CheckTiedHead(head->second, parameters[kEmbedding]));
  }
  return parameters;
}

absl::Status ReadGenerationConfig(const std::string& path, ModelConfig* config) {
  if (!FileExists(path)) return absl::OkStatus();
  TEMPER_ASSIGN_OR_RETURN(config->generation_json, ReadFile(path, kJsonLimit));
  TEMPER_ASSIGN_OR_RETURN(const Json root, ParsePythonJson(config->generation_json, path));
  const Json* eos = Find(root, "eos_token_id");
  if (eos == nullptr || eos->is_null()) return absl::OkStatus();
  std::vector<int32_t> ids;
  for (const Json& value : eos->is_array() ? *eos : Json::array({*eos})) {
    const int64_t id = value.is_number_integer() ? value.get<int64_t>() : -1;
    if (id < 0 || id >= config->vocab_size) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": eos_token_id: is ",
                                                     Printable(DumpJson(value), 60),
                                                     ", not a token of vocab_size ", config->vocab_size));
    }
    ids.push_back(static_cast<int32_t>(id));
  }
  if (!ids.empty()) config->eos_ids = std::move(ids);
  return absl::OkStatus();
}

// What stands where a weight of the policy should, or what the config should have said.
std::string WhyMissing(const std::string& name, const StoredWeights& weights) {
  const std::string layer(absl::StripSuffix(name, ".weight"));
  if (weights.count(layer + ".qweight") > 0) {
    return absl::StrCat(", but ", layer,
                        ".qweight is there: the weights are quantised (GPTQ, AWQ), and temper reads ",
                        "F32, BF16, F16 and DeepSeek's FP8");
  }
  if (weights.count(layer + ".base_layer.weight") > 0 || weights.count("base_model.model." + name) > 0)
    return absl::StrCat(", but stands below that of", kMergeAdapter);
  if (!weights.empty() && weights.count("model.embed_tokens.weight") == 0)
    return absl::StrCat("; the file has ", Printable(weights.begin()->first), ", ...");
  if (name == kHead) return ", and config.json has tie_word_embeddings false";
  return "";
}

}  // namespace

absl::StatusOr<ModelConfig> ReadPolicyConfig(const std::string& directory) {
  const std::string path = directory + "/config.json";
  if (!FileExists(path) && FileExists(directory + "/adapter_config.json")) {
    return absl::InvalidArgumentError(
        absl::StrCat(directory, ": has adapter_config.json and no config.json", kMergeAdapter));
  }
  TEMPER_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kJsonLimit));
  TEMPER_ASSIGN_OR_RETURN(ModelConfig config, ParseModelConfig(text, path));
  TEMPER_RETURN_IF_ERROR(ReadGenerationConfig(directory + "/generation_config.json", &config));
  return config;
}

absl::StatusOr<PolicyFiles> ReadPolicy(const std::string& directory, WeightNumbers numbers) {
  TEMPER_ASSIGN_OR_RETURN(ModelConfig config, ReadPolicyConfig(directory));
  return ReadPolicy(directory, std::move(config), numbers);
}

absl::StatusOr<PolicyFiles> ReadPolicy(const std::string& directory, ModelConfig config,
                                       WeightNumbers numbers) {
  PolicyFiles policy{.config = std::move(config), .parameters = {}};
  TEMPER_ASSIGN_OR_RETURN(const bool fp8, IsFp8Config(policy.config.json, directory + "/config.json"));
  TEMPER_ASSIGN_OR_RETURN(const WeightFiles files, OpenWeightFiles(directory));
  TEMPER_ASSIGN_OR_RETURN(const StoredWeights weights, FindWeights(files, fp8, /*split_experts=*/true));
  TEMPER_ASSIGN_OR_RETURN(policy.parameters, ReadParameters(policy.config, files.name, weights, numbers));
  return policy;
}

absl::StatusOr<std::vector<std::string>> CheckWeights(const ModelConfig& config, const std::string& name,
                                                      const StoredWeights& weights) {
  std::set<std::string> others;
  for (const auto& [weight, source] : weights) others.insert(others.end(), weight);
  for (const LayoutEntry& entry : Layout(config).entries()) {
    const auto at = weights.find(entry.name);
    if (at == weights.end()) {
      return TensorError(name, entry.name, absl::StrCat("is missing", WhyMissing(entry.name, weights)));
    }
    if (at->second.shape != entry.shape) {
      return TensorError(at->second.stored.file->path(), entry.name,
                         absl::StrCat("has shape ", ShapeText(at->second.shape), "; config.json says ",
                                      ShapeText(entry.shape)));
    }
    others.erase(entry.name);
  }
  return std::vector<std::string>(others.begin(), others.end());
}

std::string GenerationConfigText(const ModelConfig& config) {
  if (!config.generation_json.empty()) return config.generation_json;
  Json generation = Json::object();
  if (config.bos_id >= 0) generation["bos_token_id"] = config.bos_id;
  if (config.eos_ids.size() == 1) generation["eos_token_id"] = config.eos_ids[0];
  if (config.eos_ids.size() > 1) generation["eos_token_id"] = config.eos_ids;
  return generation.dump(2) + "\n";
}

absl::Status WritePolicy(const ModelConfig& config, const Parameters& parameters,
                         const std::string& tokenizer_directory, const std::string& directory) {
  const bool bf16 =
      std::any_of(parameters.list().begin(), parameters.list().end(),
                  [](const Parameter& parameter) { return parameter.value.scalar_type() == at::kBFloat16; });
  TEMPER_ASSIGN_OR_RETURN(const std::string text,
                          ConfigTextFor(config.json, bf16 ? WeightDtype::kBf16 : WeightDtype::kF32));
  TEMPER_RETURN_IF_ERROR(WriteFileAtomic(directory + "/config.json", text));
  std::vector<NamedTensor> tensors;
  for (const Parameter& parameter : parameters.list()) tensors.push_back({parameter.name, parameter.value});
  TEMPER_RETURN_IF_ERROR(
      WriteSafetensors(directory + "/model.safetensors", std::move(tensors), {{"format", "pt"}}));
  TEMPER_RETURN_IF_ERROR(
      WriteFileAtomic(directory + "/generation_config.json", GenerationConfigText(config)));
  return tokenizer_directory.empty() ? absl::OkStatus() : CopyTokenizerFiles(tokenizer_directory, directory);
}

}  // namespace temper
