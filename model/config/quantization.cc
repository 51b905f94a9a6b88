// SPDX-License-Identifier: Apache-2.0
#include "model/config/quantization.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/json/python.h"
#include "core/status.h"
#include "core/text.h"

namespace temper {
namespace {

constexpr char kKey[] = "quantization_config";

std::string WrittenObject(const std::vector<std::string>& members) {
  return absl::StrCat("{\n  ", absl::StrJoin(members, ",\n  "), "\n}\n");
}

}  // namespace

absl::StatusOr<bool> IsFp8Config(const Json& config, const std::string& path) {
  const Json* quantization = Find(config, kKey);
  if (quantization == nullptr || quantization->is_null()) return false;
  const auto wrong = [&](const std::string& what) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", kKey, ": ", what));
  };
  if (!quantization->is_object()) return wrong("is not an object");
  const struct {
    const char* key;
    Json can;
    bool required;
  } kFields[] = {{"quant_method", "fp8", true},
                 {"fmt", "e4m3", false},
                 {"weight_block_size", {kFp8Block, kFp8Block}, true},
                 {"activation_scheme", "dynamic", false},
                 {"expert_dtype", "fp8", false}};
  for (const auto& [key, can, required] : kFields) {
    const Json* is = Find(*quantization, key);
    if (is == nullptr && required) return wrong(absl::StrCat(key, " is missing"));
    if (is == nullptr || is->is_null() || *is == can) continue;
    return wrong(absl::StrCat(key, " is ", Printable(DumpJson(*is), 60), "; temper knows ", DumpJson(can),
                              " only: take the model's own weights, or dequantise them and save them anew"));
  }
  return true;
}

absl::StatusOr<bool> IsFp8Config(const std::string& config, const std::string& path) {
  TEMPER_ASSIGN_OR_RETURN(const Json root, ParsePythonJson(config, path));
  return IsFp8Config(root, path);
}

absl::StatusOr<std::string> ConfigTextFor(const std::string& config, WeightDtype dtype) {
  if (dtype == WeightDtype::kKeep) return config;
  TEMPER_RETURN_IF_ERROR(ParsePythonJson(config, "config.json").status());
  // With FP8 the word means the tensors that are not quantised, and what is computed in.
  const std::string word = dtype == WeightDtype::kF32 ? "\"float32\"" : "\"bfloat16\"";
  std::vector<std::string> members;
  bool is_named = false, is_quantised = false;
  for (const WrittenMember& member : WrittenMembers(config)) {
    const bool is_dtype = member.name == "torch_dtype" || member.name == "dtype";
    const bool is_quantisation = member.name == kKey;
    is_named |= is_dtype;
    is_quantised |= is_quantisation;
    if (is_quantisation && dtype != WeightDtype::kFp8) continue;
    members.push_back(
        absl::StrCat("\"", std::string(member.name), "\": ", is_dtype ? word : std::string(member.value)));
  }
  if (!is_named && dtype != WeightDtype::kF32) members.push_back(absl::StrCat("\"torch_dtype\": ", word));
  if (!is_quantised && dtype == WeightDtype::kFp8) {
    const Json fp8 = {{"activation_scheme", "dynamic"},
                      {"fmt", "e4m3"},
                      {"quant_method", "fp8"},
                      {"weight_block_size", {kFp8Block, kFp8Block}}};
    members.push_back(absl::StrCat("\"", kKey, "\": ", DumpJson(fp8)));
  }
  return WrittenObject(members);
}

std::string ConfigTextWithCache(const std::string& config, kernels::Type cache) {
  std::vector<std::string> members;
  bool is_named = false;
  for (const WrittenMember& member : WrittenMembers(config)) {
    is_named |= member.name == kCacheKey;
    if (member.name != kCacheKey)
      members.push_back(absl::StrCat("\"", std::string(member.name), "\": ", std::string(member.value)));
  }
  if (cache == kernels::Type::kF32 && !is_named) return config;
  if (cache == kernels::Type::kBf16) members.push_back(absl::StrCat("\"", kCacheKey, "\": \"bf16\""));
  return WrittenObject(members);
}

}  // namespace temper
