// SPDX-License-Identifier: Apache-2.0
#include "model/files/hugging_face.h"

#include <algorithm>
#include <atomic>
#include <charconv>
#include <cstring>
#include <numeric>
#include <set>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "comm/check.h"
#include "core/files/file.h"
#include "core/files/staged.h"
#include "core/json/python.h"
#include "core/log.h"
#include "core/status.h"
#include "core/text.h"
#include "core/thread_pool.h"
#include "data/tokenizer/folder.h"
#include "model/config/quantization.h"
#include "model/files/safetensors.h"
#include "model/files/shared_tensors.h"

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
  return error != std::errc() || layer < config.num_layers + (config.has_mtp() ? 1 : 0);
}

// Of a policy that has an MTP module: the names of its copies of the embedding and the head, which
// DeepSeek-V3's files have for it, each with that of the weight itself.
std::map<std::string, std::string> MtpCopies(const ModelConfig& config) {
  if (!config.has_mtp()) return {};
  const std::string prefix = absl::StrCat("model.layers.", config.num_layers, ".");
  return {{prefix + "embed_tokens.weight", kEmbedding},
          {prefix + "shared_head.head.weight", config.tie_word_embeddings ? kEmbedding : kHead}};
}

// What old checkpoints keep of the rotation, which the config says.
bool IsRotaryBuffer(absl::string_view name) {
  return absl::EndsWith(name, "rotary_emb.inv_freq") || absl::EndsWith(name, "rotary_emb.cos_cached") ||
         absl::EndsWith(name, "rotary_emb.sin_cached");
}

// What the rank keeps of a weight: shaped, or in one dimension where it is a share.
absl::StatusOr<at::Tensor> ReadTensor(const StoredWeight& source, const LayoutEntry& entry,
                                      WeightNumbers numbers) {
  const bool as_stored =
      numbers == WeightNumbers::kAsStored && source.dtype() == "BF16" && entry.shape.size() == 2;
  const at::ScalarType type = as_stored ? at::kBFloat16 : at::kFloat;
  at::Tensor value = entry.elements == PartElements(entry) ? NewHostTensor(entry.shape, type)
                                                           : NewHostTensor({entry.elements}, type);
  for (const LayoutBlock& block : BlocksOf(entry)) {
    StoredWeight::Part part{block.first_row, block.rows, block.first_column, block.columns};
    // A vector is stored as a row, and what has more dimensions goes along as it is.
    if (entry.shape.size() == 1) part = {0, 1, block.first_row, block.rows};
    if (entry.shape.size() != 1 && entry.shape.size() != 2) part = {0, source.rows(), 0, source.columns()};
    TEMPER_RETURN_IF_ERROR(
        as_stored ? source.ReadBf16(part, static_cast<uint16_t*>(value.mutable_data_ptr()) + block.begin)
                  : source.Read(part, value.mutable_data_ptr<float>() + block.begin));
  }
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

absl::Status HeadDiffers(const StoredWeight& head) {
  return TensorError(head.stored.file->path(), kHead,
                     "differs from model.embed_tokens.weight, but config.json has tie_word_embeddings true");
}

// Whether the stored one is the weight, as far as this rank has that.
absl::StatusOr<bool> IsCopy(const StoredWeight& stored, const Parameter& weight) {
  if (stored.shape != weight.whole) return false;
  TEMPER_ASSIGN_OR_RETURN(const at::Tensor value, ReadTensor(stored, weight, WeightNumbers::kF32));
  const at::Tensor floats = weight.value.to(at::kFloat);
  return memcmp(value.const_data_ptr(), floats.const_data_ptr(), value.numel() * sizeof(float)) == 0;
}

// A head that is stored although the config ties it must be the embedding: else one of the two is wrong.
absl::Status CheckTiedHead(const StoredWeight& head, const Parameter& embedding) {
  TEMPER_ASSIGN_OR_RETURN(const bool is_it, IsCopy(head, embedding));
  return is_it ? absl::OkStatus() : HeadDiffers(head);
}

// The MTP module shares the policy's embedding and head: copies of its own are read to be compared, and are
// written anew. They differ where a policy was trained without its module, say.
absl::Status CompareMtpCopies(const ModelConfig& config, const StoredWeights& weights,
                              const Parameters& parameters) {
  // Else they go along. One rank tells, of its part.
  if (config.mtp != MtpUse::kTrained || RankOf(parameters.layout().place()) != 0) return absl::OkStatus();
  for (const auto& [copy, name] : MtpCopies(config)) {
    const auto stored = weights.find(copy);
    const int64_t at = parameters.layout().Find(name);
    if (stored == weights.end() || at < 0) continue;
    TEMPER_ASSIGN_OR_RETURN(const bool is_it, IsCopy(stored->second, parameters.list()[at]));
    if (is_it) continue;
    LogInfo(stored->second.stored.file->path(), ": ", copy, " is not ", name,
            ", which the MTP module shares: it is left out");
  }
  return absl::OkStatus();
}

// What the policy takes of the weights: its own, and what goes along. All names and shapes first: a wrong
// file is refused before gigabytes are read.
absl::StatusOr<Layout> LayoutOf(const ModelConfig& config, const std::string& name,
                                const StoredWeights& weights, const MeshPlace& place) {
  TEMPER_ASSIGN_OR_RETURN(const std::vector<std::string> others, CheckWeights(config, name, weights));
  std::vector<LayoutEntry> along;
  const std::map<std::string, std::string> copies = MtpCopies(config);
  std::string first;
  int64_t count = 0;
  for (const std::string& other : others) {
    if (other == kHead && config.tie_word_embeddings) continue;
    if (IsRotaryBuffer(other)) continue;
    const bool is_copy = copies.contains(other);
    if (is_copy && config.mtp == MtpUse::kTrained) continue;
    const StoredWeight& source = weights.at(other);
    if (IsInside(other, config) && !is_copy) {
      return TensorError(source.stored.file->path(), other,
                         absl::StrCat("a ", config.model_type, " of this config has no such tensor"));
    }
    if (count++ == 0) first = Printable(other);
    along.push_back({other, source.shape});
  }
  if (count > 0 && config.mtp_layers == 0 && RankOf(place) == 0) {
    LogInfo(name, ": ", count, " tensors are no weights of this ", config.model_type,
            " and go along as they are: ", first, count > 1 ? ", ..." : "");
  }
  return Layout(config, place, std::move(along));
}

absl::StatusOr<Parameters> ReadParameters(const ModelConfig& config, const std::string& name,
                                          const StoredWeights& weights, const PolicyReading& options) {
  TEMPER_ASSIGN_OR_RETURN(Layout layout, LayoutOf(config, name, weights, options.place));
  const std::vector<LayoutEntry>& entries = layout.entries();
  std::vector<at::Tensor> values(entries.size());
  std::vector<absl::Status> statuses(entries.size());
  std::atomic<bool> all_zero = true;
  // Most of the time goes into the first touch of the memory, which several cores share.
  ThreadPool pool(static_cast<int>(std::clamp(std::thread::hardware_concurrency(), 1u, kReaders)));
  pool.ParallelFor(static_cast<int64_t>(entries.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      absl::StatusOr<at::Tensor> value = ReadTensor(weights.at(entries[i].name), entries[i], options.numbers);
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
    const int64_t at = parameters.layout().Find(kEmbedding);
    if (at >= 0) {
      TEMPER_RETURN_IF_ERROR(CheckTiedHead(head->second, parameters.list()[at]));
    }
  }
  TEMPER_RETURN_IF_ERROR(CompareMtpCopies(config, weights, parameters));
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

// Which weights are bf16, of all: every rank says it of its own.
std::vector<bool> AreBf16(const Parameters& parameters, Communicator& world) {
  const std::vector<LayoutEntry>& whole = parameters.layout().whole();
  std::string mine(whole.size(), 0);
  for (size_t i = 0; i < whole.size(); ++i) {
    const int64_t at = parameters.layout().Find(whole[i].name);
    mine[i] = at >= 0 && parameters.list()[at].value.scalar_type() == at::kBFloat16 ? 1 : 0;
  }
  std::vector<bool> are(whole.size());
  for (const std::string& rank : world.AllGather(mine))
    for (size_t i = 0; i < are.size(); ++i) are[i] = are[i] || rank[i] != 0;
  return are;
}

absl::Status WriteBeside(const ModelConfig& config, WeightDtype dtype, const std::string& tokenizer_directory,
                         const std::string& directory, StagedFiles* staged) {
  TEMPER_ASSIGN_OR_RETURN(const std::string text, ConfigTextFor(config.json, dtype));
  TEMPER_RETURN_IF_ERROR(
      WriteOrStage(directory + "/config.json", ConfigTextWithCache(text, config.cache), staged));
  TEMPER_RETURN_IF_ERROR(
      WriteOrStage(directory + "/generation_config.json", GenerationConfigText(config), staged));
  return tokenizer_directory.empty() ? absl::OkStatus()
                                     : CopyTokenizerFiles(tokenizer_directory, directory, staged);
}

// What stands where a weight of the policy should, or what the config should have said.
std::string WhyMissing(const std::string& name, const ModelConfig& config, const StoredWeights& weights) {
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
  if (absl::StartsWith(name, absl::StrCat("model.layers.", config.num_layers, ".")))
    return absl::StrCat(": the MTP module is to ", config.mtp == MtpUse::kTrained ? "be trained" : "draft",
                        ", and there is none");
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

absl::StatusOr<PolicyFiles> ReadPolicy(const std::string& directory, const PolicyReading& options) {
  TEMPER_ASSIGN_OR_RETURN(ModelConfig config, ReadPolicyConfig(directory));
  return ReadPolicy(directory, std::move(config), options);
}

absl::StatusOr<PolicyFiles> ReadPolicy(const std::string& directory, ModelConfig config,
                                       const PolicyReading& options) {
  PolicyFiles policy{.config = std::move(config)};
  TEMPER_ASSIGN_OR_RETURN(const bool fp8, IsFp8Config(policy.config.json, directory + "/config.json"));
  TEMPER_ASSIGN_OR_RETURN(const WeightFiles files, OpenWeightFiles(directory));
  TEMPER_ASSIGN_OR_RETURN(const StoredWeights weights, FindWeights(files, fp8, /*split_experts=*/true));
  TEMPER_ASSIGN_OR_RETURN(policy.parameters, ReadParameters(policy.config, files.name, weights, options));
  for (const auto& file : files.files) policy.bytes_read += file->bytes_read();
  return policy;
}

absl::StatusOr<std::vector<std::string>> CheckWeights(const ModelConfig& config, const std::string& name,
                                                      const StoredWeights& weights) {
  std::set<std::string> others;
  for (const auto& [weight, source] : weights) others.insert(others.end(), weight);
  for (const LayoutEntry& entry : Layout(config).whole()) {
    const auto at = weights.find(entry.name);
    if (at == weights.end()) {
      return TensorError(name, entry.name,
                         absl::StrCat("is missing", WhyMissing(entry.name, config, weights)));
    }
    if (at->second.shape != entry.whole) {
      return TensorError(at->second.stored.file->path(), entry.name,
                         absl::StrCat("has shape ", ShapeText(at->second.shape), "; config.json says ",
                                      ShapeText(entry.whole)));
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

std::map<std::string, size_t> TensorsOf(const ModelConfig& config, const Layout& layout) {
  std::map<std::string, size_t> tensors;
  const std::vector<LayoutEntry>& whole = layout.whole();
  for (size_t i = 0; i < whole.size(); ++i) tensors.emplace_hint(tensors.end(), whole[i].name, i);
  if (config.mtp == MtpUse::kTrained)
    for (const auto& [copy, name] : MtpCopies(config)) tensors.emplace(copy, tensors.at(name));
  return tensors;
}

absl::Status WritePolicy(const ModelConfig& config, const Parameters& parameters,
                         const std::string& tokenizer_directory, const std::string& directory,
                         const PolicyWriting& how) {
  Communicator& world = how.world == nullptr ? Mesh::Single().world() : *how.world;
  const std::vector<bool> bf16 = AreBf16(parameters, world);
  const std::vector<LayoutEntry>& whole = parameters.layout().whole();
  std::vector<SharedTensor> tensors;
  std::vector<int64_t> bytes;
  for (const auto& [name, i] : TensorsOf(config, parameters.layout())) {
    const int64_t mine = parameters.layout().Find(whole[i].name);
    SharedPiece piece{.whole = &whole[i]};
    if (mine >= 0) piece.mine_is = parameters.list()[mine];
    if (mine >= 0) piece.mine = parameters.list()[mine].value;
    tensors.push_back({{name, bf16[i] ? "BF16" : "F32", whole[i].whole}, {std::move(piece)}});
    bytes.push_back(whole[i].elements * (bf16[i] ? 2 : 4));
  }
  const std::vector<size_t> first = DealToFiles(bytes, how.file_bytes);
  std::vector<SharedFile> files;
  std::map<std::string, std::string> file_of;
  for (size_t f = 0; f < first.size(); ++f) {
    const std::string name = FileOf("model", f, first.size());
    SharedFile file{directory + "/" + name, {}, {{"format", "pt"}}};
    for (size_t i = first[f]; i < (f + 1 < first.size() ? first[f + 1] : tensors.size()); ++i) {
      file_of[tensors[i].info.name] = name;
      file.tensors.push_back(std::move(tensors[i]));
    }
    files.push_back(std::move(file));
  }
  TEMPER_RETURN_IF_ERROR(WriteShared(config, parameters.layout().place(), files, world, how.staged));
  absl::Status beside;
  if (world.rank() == 0) {
    if (files.size() > 1) {
      const int64_t all = std::accumulate(bytes.begin(), bytes.end(), int64_t{0});
      beside = WriteOrStage(directory + "/model.safetensors.index.json", WeightIndexText(file_of, all),
                            how.staged);
    }
    if (beside.ok()) {
      const bool any = std::find(bf16.begin(), bf16.end(), true) != bf16.end();
      beside = WriteBeside(config, any ? WeightDtype::kBf16 : WeightDtype::kF32, tokenizer_directory,
                           directory, how.staged);
    }
  }
  return AllRanksOk(beside, world);
}

}  // namespace temper
