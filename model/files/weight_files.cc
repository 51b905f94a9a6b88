// SPDX-License-Identifier: Apache-2.0
#include "model/files/weight_files.h"

#include <map>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/files/file.h"
#include "core/json/json.h"
#include "core/status.h"
#include "core/text.h"

namespace temper {
namespace {

constexpr int64_t kIndexLimit = int64_t{64} << 20;

absl::Status AddFile(const std::string& path, WeightFiles* weights) {
  TEMPER_ASSIGN_OR_RETURN(std::unique_ptr<SafetensorsFile> file, SafetensorsFile::Open(path));
  for (const TensorInfo& info : file->tensors()) {
    const auto [at, added] = weights->tensors.emplace(info.name, StoredTensor{file.get(), &info});
    if (!added) return TensorError(path, info.name, absl::StrCat("is in ", at->second.file->path(), " too"));
  }
  weights->files.push_back(std::move(file));
  return absl::OkStatus();
}

absl::Status AddShards(const std::string& directory, WeightFiles* weights) {
  const std::string& index = weights->name;
  TEMPER_ASSIGN_OR_RETURN(const std::string text, ReadFile(index, kIndexLimit));
  TEMPER_ASSIGN_OR_RETURN(const auto shard_of, ParseWeightIndex(text, index));
  std::map<std::string, std::string> tensor_of;  // the first of each shard
  for (const auto& [tensor, shard] : shard_of) tensor_of.emplace(shard, tensor);
  for (const auto& [shard, tensor] : tensor_of) {
    const std::string path = absl::StrCat(directory, "/", shard);
    if (!FileExists(path)) {
      return absl::NotFoundError(
          absl::StrCat(path, ": is missing, and ", index, " has tensor ", Printable(tensor), " in it"));
    }
    TEMPER_RETURN_IF_ERROR(AddFile(path, weights));
  }
  for (const auto& [tensor, shard] : shard_of) {
    const auto at = weights->tensors.find(tensor);
    if (at == weights->tensors.end() || at->second.file->path() != absl::StrCat(directory, "/", shard)) {
      return TensorError(index, tensor, absl::StrCat("is not in ", shard));
    }
  }
  return absl::OkStatus();
}

// Weights in a form that is not read, and what to do with them; empty: none are there.
std::string OtherWeights(const std::string& directory) {
  constexpr char kSave[] = ": from_pretrained(..).save_pretrained(..) of Transformers writes safetensors";
  const absl::StatusOr<std::vector<std::string>> names = ListDirectory(directory);
  if (!names.ok()) return "";
  for (const std::string& name : *names) {
    if (absl::StartsWith(name, "adapter_model."))
      return absl::StrCat(", but ", Printable(name), kMergeAdapter);
  }
  for (const std::string& name : *names) {
    if (absl::EndsWith(name, ".safetensors")) return absl::StrCat(", but ", Printable(name));
    for (const char* ending : {".bin", ".pt", ".pth", ".gguf", ".h5", ".msgpack"}) {
      if (absl::EndsWith(name, ending)) return absl::StrCat(", but ", Printable(name), kSave);
    }
  }
  return "";
}

}  // namespace

absl::Status TensorError(const std::string& file, const std::string& tensor, const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat(file, ": tensor ", Printable(tensor), ": ", what));
}

absl::StatusOr<std::map<std::string, std::string>> ParseWeightIndex(std::string_view text,
                                                                    const std::string& path) {
  TEMPER_ASSIGN_OR_RETURN(const Json root, ParseJson(text, path));
  const Json* map = Find(root, "weight_map");
  if (map == nullptr || !map->is_object())
    return absl::InvalidArgumentError(path + ": weight_map: is not an object");
  std::map<std::string, std::string> shard_of;
  for (const auto& [tensor, shard] : map->items()) {
    if (!shard.is_string()) return TensorError(path, tensor, "its shard is not a string");
    const std::string name = shard.get<std::string>();
    if (name.find('/') != name.npos || Printable(name, name.size()) != name ||
        !absl::EndsWith(name, ".safetensors")) {
      return TensorError(path, tensor,
                         absl::StrCat("'", Printable(name), "' is not a .safetensors file of the folder"));
    }
    shard_of[tensor] = name;
  }
  return shard_of;
}

absl::StatusOr<WeightFiles> OpenWeightFiles(const std::string& directory) {
  WeightFiles weights;
  weights.name = directory + "/model.safetensors";
  if (FileExists(weights.name)) {
    TEMPER_RETURN_IF_ERROR(AddFile(weights.name, &weights));
    return weights;
  }
  weights.name = directory + "/model.safetensors.index.json";
  if (!FileExists(weights.name)) {
    return absl::NotFoundError(
        absl::StrCat(directory, ": has neither model.safetensors nor model.safetensors.index.json",
                     OtherWeights(directory)));
  }
  TEMPER_RETURN_IF_ERROR(AddShards(directory, &weights));
  return weights;
}

}  // namespace temper
