// SPDX-License-Identifier: Apache-2.0
#include "model/hugging_face.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstring>

#include "ATen/ops/empty.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/file.h"
#include "core/json.h"
#include "core/status.h"
#include "core/text.h"
#include "model/safetensors.h"
#include "model/weight_files.h"

namespace temper {
namespace {

constexpr int64_t kJsonLimit = int64_t{64} << 20;
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

absl::StatusOr<at::Tensor> ReadTensor(const StoredTensor& source) {
  at::Tensor value = at::empty(source.info->shape, at::kFloat);
  float* data = value.mutable_data_ptr<float>();
  TEMPER_RETURN_IF_ERROR(source.file->ReadFloats(*source.info, data));
  for (int64_t i = 0; i < source.info->elements; ++i) {
    const uint32_t bits = std::bit_cast<uint32_t>(data[i]);
    if ((bits & 0x7f800000) == 0x7f800000) {
      return TensorError(
          source.file->path(), source.info->name,
          absl::StrCat("element ", i, " is ", FormatFloat(data[i]), "; weights must be finite"));
    }
  }
  return value;
}

std::string ShapeText(const std::vector<int64_t>& shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

// A head that is stored although the config ties it must be the embedding: else one of the two is wrong.
absl::Status CheckTiedHead(const StoredTensor& head, const at::Tensor& embedding) {
  TEMPER_ASSIGN_OR_RETURN(const at::Tensor value, ReadTensor(head));
  if (value.sizes() == embedding.sizes() &&
      memcmp(value.const_data_ptr(), embedding.const_data_ptr(), value.numel() * sizeof(float)) == 0) {
    return absl::OkStatus();
  }
  return TensorError(head.file->path(), kHead,
                     "differs from model.embed_tokens.weight, but config.json has tie_word_embeddings true");
}

absl::StatusOr<Parameters> ReadParameters(const ModelConfig& config, WeightFiles& weights) {
  std::map<std::string, StoredTensor>& tensors = weights.tensors;
  std::vector<ParameterSpec> specs = ParameterSpecs(config);
  // All names and shapes first: a wrong file is refused before gigabytes are read.
  for (const ParameterSpec& spec : specs) {
    const auto at = tensors.find(spec.name);
    if (at == tensors.end()) {
      return TensorError(
          weights.name, spec.name,
          spec.name == kHead ? "is missing, and config.json has tie_word_embeddings false" : "is missing");
    }
    if (at->second.info->shape != spec.shape) {
      return TensorError(at->second.file->path(), spec.name,
                         absl::StrCat("has shape ", ShapeText(at->second.info->shape), "; config.json says ",
                                      ShapeText(spec.shape)));
    }
  }
  for (const auto& [name, source] : tensors) {
    const auto at = std::lower_bound(specs.begin(), specs.end(), name,
                                     [](const ParameterSpec& s, const std::string& n) { return s.name < n; });
    if (at != specs.end() && at->name == name) continue;
    if (name == kHead && config.tie_word_embeddings) continue;
    if (absl::EndsWith(name, ".rotary_emb.inv_freq")) continue;  // old checkpoints keep what the config says
    if (!IsMtp(name, config)) {
      return TensorError(source.file->path(), name,
                         absl::StrCat("a ", config.model_type, " of this config has no such tensor"));
    }
    specs.insert(at, {name, source.info->shape, ParameterSpec::Init::kLinear, /*trained=*/false});
  }
  std::vector<Parameter> list;
  bool all_zero = true;
  for (const ParameterSpec& spec : specs) {
    TEMPER_ASSIGN_OR_RETURN(at::Tensor value, ReadTensor(tensors.at(spec.name)));
    const float* data = value.const_data_ptr<float>();
    all_zero = all_zero && std::all_of(data, data + value.numel(), [](float x) { return x == 0; });
    list.push_back({spec.name, std::move(value), spec.trained});
  }
  if (all_zero)
    return absl::InvalidArgumentError(weights.name + ": every weight is zero; its data was never written");
  Parameters parameters(std::move(list));
  if (const auto head = tensors.find(kHead); config.tie_word_embeddings && head != tensors.end()) {
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

// What is written is f32, whatever was read.
absl::StatusOr<std::string> ConfigText(const ModelConfig& config) {
  TEMPER_ASSIGN_OR_RETURN(Json root, ParseJson(config.json, "config.json"));
  for (const char* key : {"torch_dtype", "dtype"}) {
    if (Find(root, key) != nullptr) root[key] = "float32";
  }
  return root.dump(2) + "\n";
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
  TEMPER_ASSIGN_OR_RETURN(WeightFiles weights, OpenWeightFiles(directory));
  TEMPER_ASSIGN_OR_RETURN(policy.parameters, ReadParameters(policy.config, weights));
  return policy;
}

absl::Status WritePolicy(const ModelConfig& config, const Parameters& parameters,
                         const std::string& tokenizer_directory, const std::string& directory) {
  TEMPER_ASSIGN_OR_RETURN(const std::string text, ConfigText(config));
  TEMPER_RETURN_IF_ERROR(WriteFileAtomic(directory + "/config.json", text));
  std::vector<NamedTensor> tensors;
  for (const Parameter& parameter : parameters.list()) tensors.push_back({parameter.name, parameter.value});
  TEMPER_RETURN_IF_ERROR(
      WriteSafetensors(directory + "/model.safetensors", std::move(tensors), {{"format", "pt"}}));

  Json generation = Json::object();
  if (config.bos_id >= 0) generation["bos_token_id"] = config.bos_id;
  if (config.eos_ids.size() == 1) generation["eos_token_id"] = config.eos_ids[0];
  if (config.eos_ids.size() > 1) generation["eos_token_id"] = config.eos_ids;
  TEMPER_RETURN_IF_ERROR(WriteFileAtomic(directory + "/generation_config.json", generation.dump(2) + "\n"));
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

absl::Status CheckVocabulary(const ModelConfig& config, int64_t tokenizer_size) {
  if (tokenizer_size <= config.vocab_size) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("the tokenizer has ids up to ", tokenizer_size - 1,
                                                 ", but the model's vocab_size is ", config.vocab_size,
                                                 "; they do not belong together"));
}

}  // namespace temper
