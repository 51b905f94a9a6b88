// SPDX-License-Identifier: Apache-2.0
#include "cli/inspect/model.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "core/files/file.h"
#include "core/json/json.h"
#include "core/text.h"
#include "model/files/fp8.h"
#include "model/files/hugging_face.h"
#include "model/files/safetensors.h"
#include "model/files/weight_files.h"

namespace temper {
namespace {

// "1048576" -> "1,048,576"
std::string Grouped(int64_t value) {
  const std::string digits = absl::StrCat(value);
  std::string text;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) text.push_back(',');
    text.push_back(digits[i]);
  }
  return text;
}

// Scales of FP8 are no parameters: they are told with it.
std::string DescribeTensors(const std::vector<const TensorInfo*>& tensors) {
  int64_t elements = 0, bytes = 0, scales = 0, blocks = 0, weights = 0;
  size_t width = 0;
  std::map<std::string, int64_t> dtypes;
  for (const TensorInfo* info : tensors) {
    bytes += info->end - info->begin;
    width = std::max(width, info->name.size());
    if (absl::EndsWith(info->name, kScaleSuffix)) {
      ++scales;
      blocks += info->elements;
      continue;
    }
    elements += info->elements;
    ++weights;
    ++dtypes[info->dtype];
  }
  std::vector<std::string> kinds;
  for (const auto& [dtype, count] : dtypes) kinds.push_back(absl::StrCat(count, " ", dtype));
  std::string text = absl::StrCat("parameters   ", Grouped(elements), " in ", weights, " tensors (",
                                  absl::StrJoin(kinds, ", "), "), ", Grouped(bytes), " bytes\n");
  if (scales > 0) {
    absl::StrAppend(&text, "FP8          ", scales, " tensors in blocks of ", kFp8Block, "x", kFp8Block, ", ",
                    Grouped(blocks), " scales\n");
  }
  for (const TensorInfo* info : tensors) {
    absl::StrAppendFormat(&text, "  %-*s  %-4s [%s]\n", int(std::min<size_t>(width, 80)),
                          Printable(info->name, 400), info->dtype, absl::StrJoin(info->shape, ", "));
  }
  return text;
}

// "3 files, largest 4,999,610,368 bytes"
std::string DescribeShards(const WeightFiles& weights) {
  std::map<const SafetensorsFile*, int64_t> bytes;
  for (const auto& [name, stored] : weights.tensors)
    bytes[stored.file] += stored.info->end - stored.info->begin;
  int64_t largest = 0;
  for (const auto& [file, size] : bytes) largest = std::max(largest, size);
  return absl::StrCat("shards       ", weights.files.size(), ", the largest has ", Grouped(largest),
                      " bytes\n");
}

void AddLine(std::string* text, const char* name, int64_t value) {
  if (value != 0) absl::StrAppendFormat(text, "  %-18s %d\n", name, value);
}

std::string DescribeConfig(const ModelConfig& config) {
  std::string text =
      absl::StrCat("model        ", Printable(config.model_type), ", ", config.num_layers, " layers\n");
  AddLine(&text, "vocabulary", config.vocab_size);
  AddLine(&text, "hidden size", config.hidden_size);
  AddLine(&text, "intermediate size", config.intermediate_size);
  AddLine(&text, "positions", config.max_positions);
  AddLine(&text, "heads", config.num_heads);
  AddLine(&text, "key/value heads", config.num_kv_heads);
  AddLine(&text, "head size", config.head_dim);
  AddLine(&text, "query rank", config.q_lora_rank);
  AddLine(&text, "key/value rank", config.kv_lora_rank);
  AddLine(&text, "routed experts", config.routed_experts);
  return text;
}

// A checkpoint's state.json, key by key.
absl::StatusOr<std::string> DescribeState(const std::string& directory) {
  const std::string path = directory + "/state/state.json";
  if (!FileExists(path)) return std::string();
  TEMPER_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(path, 1 << 24));
  TEMPER_ASSIGN_OR_RETURN(const Json state, ParseJson(bytes, path));
  std::string text = "state\n";
  for (const auto& [key, value] : state.items()) {
    absl::StrAppendFormat(&text, "  %-18s %s\n", Printable(key), Printable(DumpJson(value)));
  }
  TEMPER_ASSIGN_OR_RETURN(const std::vector<std::string> files, ListDirectory(directory + "/state"));
  size_t tensors = 0;
  for (const std::string& name : files) {
    if (!absl::EndsWith(name, ".safetensors")) continue;
    TEMPER_ASSIGN_OR_RETURN(const auto file, SafetensorsFile::Open(absl::StrCat(directory, "/state/", name)));
    tensors += file->tensors().size();
  }
  if (tensors > 0) absl::StrAppendFormat(&text, "  %-18s %d tensors\n", "optimizer", tensors);
  return text;
}

}  // namespace

absl::StatusOr<std::string> DescribeModel(const std::string& directory) {
  std::string text;
  if (FileExists(directory + "/config.json")) {
    TEMPER_ASSIGN_OR_RETURN(const ModelConfig config, ReadPolicyConfig(directory));
    text += DescribeConfig(config);
  }
  TEMPER_ASSIGN_OR_RETURN(const std::string state, DescribeState(directory));
  text += state;
  TEMPER_ASSIGN_OR_RETURN(const WeightFiles weights, OpenWeightFiles(directory));
  std::vector<const TensorInfo*> tensors;
  for (const auto& [name, stored] : weights.tensors) tensors.push_back(stored.info);
  if (weights.files.size() > 1) text += DescribeShards(weights);
  return text + DescribeTensors(tensors);
}

absl::StatusOr<std::string> DescribeWeightFile(const std::string& path) {
  TEMPER_ASSIGN_OR_RETURN(const std::unique_ptr<SafetensorsFile> file, SafetensorsFile::Open(path));
  std::vector<const TensorInfo*> tensors;
  for (const TensorInfo& info : file->tensors()) tensors.push_back(&info);
  return DescribeTensors(tensors);
}

}  // namespace temper
