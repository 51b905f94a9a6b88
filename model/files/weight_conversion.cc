// SPDX-License-Identifier: Apache-2.0
#include "model/files/weight_conversion.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "core/status.h"
#include "model/files/dtype.h"
#include "model/files/fp8.h"
#include "model/files/shared_tensors.h"

namespace temper {
namespace {

constexpr const char* kExpertProjections[] = {"gate_proj.weight", "up_proj.weight", "down_proj.weight"};

// What DeepSeek's FP8 files have in FP8, the same projections of other families, and stacked experts.
bool IsQuantizedProjection(const std::string& name) {
  static constexpr const char* kProjections[] = {"q_proj",    "k_proj",   "v_proj",    "o_proj",
                                                 "q_a_proj",  "q_b_proj", "kv_b_proj", "kv_a_proj_with_mqa",
                                                 "gate_proj", "up_proj",  "down_proj"};
  if (absl::EndsWith(name, ".experts.gate_up_proj") || absl::EndsWith(name, ".experts.down_proj"))
    return true;
  if (!absl::EndsWith(name, ".weight")) return false;
  const std::string module(absl::StripSuffix(name, ".weight"));
  const std::string last = module.substr(module.find_last_of('.') + 1);
  return std::find(std::begin(kProjections), std::end(kProjections), last) != std::end(kProjections);
}

std::string TargetDtype(const std::string& name, const StoredWeight& from, WeightDtype dtype, bool fp8) {
  if (dtype == WeightDtype::kKeep || !IsFloatDtype(from.dtype())) return from.dtype();
  if (dtype == WeightDtype::kF32) return "F32";
  if (dtype == WeightDtype::kFp8) {
    if (from.dtype() == kFp8Dtype) return kFp8Dtype;
    if (!fp8 && IsQuantizedProjection(name) && from.shape.size() >= 2) return kFp8Dtype;
  }
  return absl::EndsWith(name, ".e_score_correction_bias") ? "F32" : "BF16";
}

absl::Status Wrong(const StoredWeight& source, const std::string& what) {
  return TensorError(source.stored.file->path(), source.stored.info->name, what);
}

// Codes and scales can be taken out of a stacked tensor only in whole rows of blocks. New ones are not
// written stacked: Transformers 5.23 reads them on a CPU, without a word, as if their scales were 1.
absl::Status CheckFp8(const ConvertedWeight& weight) {
  const StoredWeight& part = weight.parts[0];
  if (!weight.copied || weight.parts.size() > 1) {
    if (weight.tensor.shape.size() == 2) return absl::OkStatus();
    return Wrong(part,
                 "its experts would be FP8 and stacked, which few programs read; use --experts separate");
  }
  const int64_t matrix = part.matrix_rows(), rows = part.rows();
  if (rows == 0 || rows % matrix == 0) return absl::OkStatus();
  if (part.first_row % matrix % kFp8Block == 0 && rows % kFp8Block == 0) return absl::OkStatus();
  return Wrong(part, absl::StrCat("an expert's ", rows, " rows are no multiple of ", kFp8Block,
                                  ", so its FP8 blocks cannot be separated; use --dtype bf16"));
}

absl::StatusOr<ConvertedWeight> PlanWeight(const std::string& name, std::vector<int64_t> shape,
                                           std::vector<StoredWeight> parts, WeightDtype dtype, bool fp8) {
  ConvertedWeight weight;
  weight.tensor = {name, TargetDtype(name, parts[0], dtype, fp8), std::move(shape)};
  weight.parts = std::move(parts);
  weight.copied = true;
  for (const StoredWeight& part : weight.parts) {
    if (part.dtype() == weight.tensor.dtype) continue;
    weight.copied = false;
    if (dtype == WeightDtype::kKeep) {
      return Wrong(part, absl::StrCat("is ", part.dtype(), ", other experts of its layer are ",
                                      weight.tensor.dtype, "; name a --dtype to stack them"));
    }
  }
  if (weight.tensor.dtype != kFp8Dtype) return weight;
  std::vector<int64_t> blocks = weight.tensor.shape;
  for (size_t i = blocks.size() - 2; i < blocks.size(); ++i) blocks[i] = Fp8Blocks(blocks[i]);
  weight.scales = {name + kScaleSuffix, weight.copied ? weight.parts[0].scales->info->dtype : "F32",
                   std::move(blocks)};
  TEMPER_RETURN_IF_ERROR(CheckFp8(weight));
  return weight;
}

using Expert = std::array<const StoredWeight*, 3>;  // in the order of kExpertProjections

// {prefix: {expert: its three weights}} of "prefix.experts.N.gate_proj.weight" and so on.
std::map<std::string, std::map<int64_t, Expert>> FindExperts(const StoredWeights& weights) {
  std::map<std::string, std::map<int64_t, Expert>> layers;
  for (const auto& [name, source] : weights) {
    for (size_t i = 0; i < std::size(kExpertProjections); ++i) {
      if (!absl::EndsWith(name, absl::StrCat(".", kExpertProjections[i]))) continue;
      const std::string module = name.substr(0, name.size() - std::string(kExpertProjections[i]).size() - 1);
      const size_t dot = module.find_last_of('.');
      int64_t expert = -1;
      if (dot == module.npos || !absl::SimpleAtoi(module.substr(dot + 1), &expert)) continue;
      if (absl::StrCat(expert) != module.substr(dot + 1)) continue;
      const std::string prefix = module.substr(0, dot);
      if (absl::EndsWith(prefix, ".experts")) layers[prefix][expert][i] = &source;
    }
  }
  return layers;
}

// Takes the experts of one layer (of FindExperts) out of `weights` and adds them as two stacked ones.
absl::Status StackExperts(const WeightFiles& files,
                          const std::pair<const std::string, std::map<int64_t, Expert>>& layer,
                          const ConversionOptions& options, bool fp8, StoredWeights* weights,
                          std::map<std::string, ConvertedWeight>* converted) {
  const std::string& prefix = layer.first;
  const std::map<int64_t, Expert>& experts = layer.second;
  std::vector<StoredWeight> gate_up, down;
  std::vector<std::string> taken;
  const int64_t count = static_cast<int64_t>(experts.size());
  for (int64_t expert = 0; expert < count; ++expert) {
    for (size_t i = 0; i < std::size(kExpertProjections); ++i) {
      const std::string name = absl::StrCat(prefix, ".", expert, ".", kExpertProjections[i]);
      const auto at = experts.find(expert);
      if (at == experts.end() || at->second[i] == nullptr) {
        return TensorError(files.name, name,
                           absl::StrCat("is missing; there are ", count, " experts to stack"));
      }
      const StoredWeight& source = *at->second[i];
      const std::vector<StoredWeight>& others = i == 2 ? down : gate_up;
      if (source.shape.size() != 2 || (!others.empty() && source.shape != others[0].shape)) {
        return Wrong(source, absl::StrCat("has shape ", ShapeText(source.shape),
                                          "; experts that are stacked are matrices of one shape"));
      }
      (i == 2 ? down : gate_up).push_back(source);
      taken.push_back(name);
    }
  }
  const auto add = [&](const char* name, int64_t rows, std::vector<StoredWeight> parts) -> absl::Status {
    const std::string full = absl::StrCat(prefix, ".", name);
    const std::vector<int64_t> shape = {count, rows, parts[0].columns()};
    TEMPER_ASSIGN_OR_RETURN((*converted)[full], PlanWeight(full, shape, parts, options.dtype, fp8));
    return absl::OkStatus();
  };
  TEMPER_RETURN_IF_ERROR(add("gate_up_proj", 2 * gate_up[0].rows(), gate_up));
  TEMPER_RETURN_IF_ERROR(add("down_proj", down[0].rows(), down));
  for (const std::string& name : taken) weights->erase(name);
  return absl::OkStatus();
}

int64_t Elements(const TensorInfo& info) {
  int64_t elements = 1;
  for (const int64_t size : info.shape) elements *= size;
  return elements;
}

int64_t Bytes(const TensorInfo& info) {
  return info.name.empty() ? 0 : Elements(info) * DtypeBytes(info.dtype);
}

void Deal(std::map<std::string, ConvertedWeight> weights, int64_t shard_bytes, Conversion* conversion) {
  std::vector<int64_t> bytes;
  for (const auto& [name, weight] : weights) bytes.push_back(Bytes(weight.tensor) + Bytes(weight.scales));
  const std::vector<size_t> first = DealToFiles(bytes, shard_bytes);
  size_t number = 0;
  for (auto& [name, weight] : weights) {
    if (conversion->shards.size() < first.size() && number == first[conversion->shards.size()])
      conversion->shards.emplace_back();
    conversion->bytes += bytes[number++];
    conversion->elements += Elements(weight.tensor);
    ++conversion->tensors;
    conversion->shards.back().push_back(std::move(weight));
  }
  if (weights.empty()) conversion->shards.emplace_back();
}

}  // namespace

absl::StatusOr<Conversion> PlanConversion(const WeightFiles& files, bool fp8,
                                          const ConversionOptions& options) {
  TEMPER_ASSIGN_OR_RETURN(StoredWeights weights,
                          FindWeights(files, fp8, /*split_experts=*/options.experts != ExpertLayout::kKeep));
  std::map<std::string, ConvertedWeight> converted;
  if (options.experts == ExpertLayout::kStacked) {
    for (const auto& layer : FindExperts(weights))
      TEMPER_RETURN_IF_ERROR(StackExperts(files, layer, options, fp8, &weights, &converted));
  }
  for (const auto& [name, source] : weights) {
    TEMPER_ASSIGN_OR_RETURN(converted[name], PlanWeight(name, source.shape, {source}, options.dtype, fp8));
  }
  Conversion conversion;
  for (const auto& file : files.files)
    conversion.metadata.insert(file->metadata().begin(), file->metadata().end());
  conversion.metadata["format"] = "pt";  // Transformers reads no file without it
  Deal(std::move(converted), options.shard_bytes, &conversion);
  return conversion;
}

}  // namespace temper
