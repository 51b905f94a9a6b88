// SPDX-License-Identifier: Apache-2.0
#include "model/quantization_config.h"

#include "absl/strings/str_cat.h"
#include "core/status.h"
#include "core/text.h"
#include "model/fp8.h"

namespace temper {
namespace {

constexpr char kKey[] = "quantization_config";

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
    return wrong(
        absl::StrCat(key, " is ", Printable(DumpJson(*is), 60), "; temper knows ", DumpJson(can), " only"));
  }
  return true;
}

absl::StatusOr<bool> IsFp8Config(const std::string& config, const std::string& path) {
  TEMPER_ASSIGN_OR_RETURN(const Json root, ParseJson(config, path));
  return IsFp8Config(root, path);
}

absl::StatusOr<std::string> ConfigTextFor(const std::string& config, WeightDtype dtype) {
  if (dtype == WeightDtype::kKeep) return config;
  TEMPER_ASSIGN_OR_RETURN(Json root, ParseJson(config, "config.json"));
  // With FP8 the word means the tensors that are not quantised, and what is computed in.
  const char* word = dtype == WeightDtype::kF32 ? "float32" : "bfloat16";
  bool known = false;
  for (const char* key : {"torch_dtype", "dtype"}) {
    if (Find(root, key) == nullptr) continue;
    root[key] = word;
    known = true;
  }
  if (!known && dtype != WeightDtype::kF32) root["torch_dtype"] = word;
  if (dtype != WeightDtype::kFp8) {
    root.erase(kKey);
  } else if (Find(root, kKey) == nullptr) {
    root[kKey] = {{"activation_scheme", "dynamic"},
                  {"fmt", "e4m3"},
                  {"quant_method", "fp8"},
                  {"weight_block_size", {kFp8Block, kFp8Block}}};
  }
  return root.dump(2) + "\n";
}

}  // namespace temper
