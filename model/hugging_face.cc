// SPDX-License-Identifier: Apache-2.0
#include "model/hugging_face.h"

#include <algorithm>
#include <atomic>
#include <charconv>
#include <cstring>
#include <set>
#include <thread>

#include "ATen/ops/empty.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/file.h"
#include "core/json.h"
#include "core/status.h"
#include "core/text.h"
#include "core/thread_pool.h"
#include "model/quantization_config.h"
#include "model/safetensors.h"

namespace temper {
namespace {

constexpr int64_t kJsonLimit = int64_t{64} << 20;
constexpr unsigned kReaders = 4;
constexpr char kEmbedding[] = "model.embed_tokens.weight", kHead[] = "lm_head.weight";

// model.layers.N of an N that only the MTP modules have.
bool IsMtp(const std::string& name, const ModelConfig& config) {
  constexpr absl::string_view kPrefix = "model.layers.";
  if (!absl::StartsWith(name, kPrefix)) return false;
  int64_t layer = -1;
  const char* end = name.data() + name.size();
  const auto [stop, error] = std::from_chars(name.data() + kPrefix.size(), end, layer);
  return error == std::errc() && stop != end && *stop == '.' && layer >= config.num_layers &&
         layer < config.num_layers + config.mtp_layers;
}

using Weights = std::map<std::string, StoredWeight>;

absl::StatusOr<at::Tensor> ReadTensor(const StoredWeight& source) {
  at::Tensor value = at::empty(source.shape, at::kFloat);
  TEMPER_RETURN_IF_ERROR(source.Read(0, source.rows(), value.mutable_data_ptr<float>()));
  return value;
}

// A head that is stored although the config ties it must be the embedding: else one of the two is wrong.
absl::Status CheckTiedHead(const StoredWeight& head, const at::Tensor& embedding) {
  TEMPER_ASSIGN_OR_RETURN(const at::Tensor value, ReadTensor(head));
  if (value.sizes() == embedding.sizes() &&
      memcmp(value.const_data_ptr(), embedding.const_data_ptr(), value.numel() * sizeof(float)) == 0) {
    return absl::OkStatus();
  }
  return TensorError(head.stored.file->path(), kHead,
                     "differs from model.embed_tokens.weight, but config.json has tie_word_embeddings true");
}

// What the policy takes of the weights: its own, and those of MTP layers. All names and shapes first: a wrong
// file is refused before gigabytes are read.
absl::StatusOr<std::vector<ParameterSpec>> SpecsOf(const ModelConfig& config, const std::string& name,
                                                   const Weights& weights) {
  TEMPER_ASSIGN_OR_RETURN(const std::vector<std::string> others, CheckWeights(config, name, weights));
  std::vector<ParameterSpec> specs = ParameterSpecs(config);
  for (const std::string& other : others) {
    if (other == kHead && config.tie_word_embeddings) continue;
    if (absl::EndsWith(other, ".rotary_emb.inv_freq")) continue;  // old checkpoints keep what the config says
    const StoredWeight& source = weights.at(other);
    if (!IsMtp(other, config)) {
      return TensorError(source.stored.file->path(), other,
                         absl::StrCat("a ", config.model_type, " of this config has no such tensor"));
    }
    specs.push_back({other, source.shape, ParameterSpec::Init::kLinear, /*trained=*/false});
  }
  std::sort(specs.begin(), specs.end(),
            [](const ParameterSpec& a, const ParameterSpec& b) { return a.name < b.name; });
  return specs;
}

absl::StatusOr<Parameters> ReadParameters(const ModelConfig& config, const std::string& name,
                                          const Weights& weights) {
  TEMPER_ASSIGN_OR_RETURN(const std::vector<ParameterSpec> specs, SpecsOf(config, name, weights));
  std::vector<Parameter> list(specs.size());
  std::vector<absl::Status> statuses(specs.size());
  std::atomic<bool> all_zero = true;
  // Most of the time goes into the first touch of the memory, which several cores share.
  ThreadPool pool(static_cast<int>(std::clamp(std::thread::hardware_concurrency(), 1u, kReaders)));
  pool.ParallelFor(static_cast<int64_t>(specs.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      absl::StatusOr<at::Tensor> value = ReadTensor(weights.at(specs[i].name));
      statuses[i] = value.status();
      if (!value.ok()) continue;
      const float* data = value->const_data_ptr<float>();
      if (all_zero && !std::all_of(data, data + value->numel(), [](float x) { return x == 0; }))
        all_zero = false;
      list[i] = {specs[i].name, *std::move(value), specs[i].trained};
    }
  });
  for (const absl::Status& status : statuses) TEMPER_RETURN_IF_ERROR(status);
  if (all_zero)
    return absl::InvalidArgumentError(name + ": every weight is zero; its data was never written");
  Parameters parameters(std::move(list));
  if (const auto head = weights.find(kHead); config.tie_word_embeddings && head != weights.end()) {
    TEMPER_RETURN_IF_ERROR(CheckTiedHead(head->second, parameters[kEmbedding]));
  }
  return parameters;
}

absl::Status ReadEndTokens(const std::string& path, ModelConfig* config) {
  if (!FileExists(path)) return absl::OkStatus();
  TEMPER_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kJsonLimit));
  TEMPER_ASSIGN_OR_RETURN(const Json root, ParseJson(text, path));
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

}  // namespace

absl::StatusOr<ModelConfig> ReadPolicyConfig(const std::string& directory) {
  const std::string path = directory + "/config.json";
  TEMPER_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kJsonLimit));
  TEMPER_ASSIGN_OR_RETURN(ModelConfig config, ParseModelConfig(text, path));
  TEMPER_RETURN_IF_ERROR(ReadEndTokens(directory + "/generation_config.json", &config));
  return config;
}

absl::StatusOr<PolicyFiles> ReadPolicy(const std::string& directory) {
  PolicyFiles policy;
  TEMPER_ASSIGN_OR_RETURN(policy.config, ReadPolicyConfig(directory));
  TEMPER_ASSIGN_OR_RETURN(const bool fp8, IsFp8Config(policy.config.json, directory + "/config.json"));
  TEMPER_ASSIGN_OR_RETURN(const WeightFiles files, OpenWeightFiles(directory));
  TEMPER_ASSIGN_OR_RETURN(const Weights weights, FindWeights(files, fp8, /*split_experts=*/true));
  TEMPER_ASSIGN_OR_RETURN(policy.parameters, ReadParameters(policy.config, files.name, weights));
  return policy;
}

absl::StatusOr<std::vector<std::string>> CheckWeights(const ModelConfig& config, const std::string& name,
                                                      const std::map<std::string, StoredWeight>& weights) {
  std::set<std::string> others;
  for (const auto& [weight, source] : weights) others.insert(others.end(), weight);
  for (const ParameterSpec& spec : ParameterSpecs(config)) {
    const auto at = weights.find(spec.name);
    if (at == weights.end()) {
      return TensorError(
          name, spec.name,
          spec.name == kHead ? "is missing, and config.json has tie_word_embeddings false" : "is missing");
    }
    if (at->second.shape != spec.shape) {
      return TensorError(at->second.stored.file->path(), spec.name,
                         absl::StrCat("has shape ", ShapeText(at->second.shape), "; config.json says ",
                                      ShapeText(spec.shape)));
    }
    others.erase(spec.name);
  }
  return std::vector<std::string>(others.begin(), others.end());
}

std::string GenerationConfigText(const ModelConfig& config) {
  Json generation = Json::object();
  if (config.bos_id >= 0) generation["bos_token_id"] = config.bos_id;
  if (config.eos_ids.size() == 1) generation["eos_token_id"] = config.eos_ids[0];
  if (config.eos_ids.size() > 1) generation["eos_token_id"] = config.eos_ids;
  return generation.dump(2) + "\n";
}

absl::Status WritePolicy(const ModelConfig& config, const Parameters& parameters,
                         const std::string& tokenizer_directory, const std::string& directory) {
  TEMPER_ASSIGN_OR_RETURN(const std::string text, ConfigTextFor(config.json, WeightDtype::kF32));
  TEMPER_RETURN_IF_ERROR(WriteFileAtomic(directory + "/config.json", text));
  std::vector<NamedTensor> tensors;
  for (const Parameter& parameter : parameters.list()) tensors.push_back({parameter.name, parameter.value});
  TEMPER_RETURN_IF_ERROR(
      WriteSafetensors(directory + "/model.safetensors", std::move(tensors), {{"format", "pt"}}));
  TEMPER_RETURN_IF_ERROR(
      WriteFileAtomic(directory + "/generation_config.json", GenerationConfigText(config)));
  if (tokenizer_directory.empty()) return absl::OkStatus();
  for (const char* name :
       {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja"}) {
    const std::string from = absl::StrCat(tokenizer_directory, "/", name);
    if (!FileExists(from)) continue;
    TEMPER_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(from));
    TEMPER_RETURN_IF_ERROR(WriteFileAtomic(absl::StrCat(directory, "/", name), bytes));
  }
  return absl::OkStatus();
}

absl::Status CheckVocabulary(const ModelConfig& config, int64_t tokenizer_size,
                             const std::string& tokenizer_directory) {
  if (tokenizer_size <= config.vocab_size) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      Printable(tokenizer_directory, 1000), "/tokenizer.json: has ids up to ", tokenizer_size - 1,
      ", but the model's vocab_size is ", config.vocab_size, "; they do not belong together"));
}

}  // namespace temper
