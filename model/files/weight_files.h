// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "model/files/safetensors.h"

namespace temper {

// A tensor in one of the files.
struct StoredTensor {
  const SafetensorsFile* file;
  const TensorInfo* info;
};

// The weights of a Hugging Face directory, one file or many, opened and checked but not yet read.
struct WeightFiles {
  std::vector<std::unique_ptr<SafetensorsFile>> files;
  std::map<std::string, StoredTensor> tensors;
  std::string name;  // of the file, or of the index, for errors
};

// The text of a model.safetensors.index.json (`path`, for errors), {"weight_map": {tensor: file}}: the file
// of each tensor, a name without a folder.
absl::StatusOr<std::map<std::string, std::string>> ParseWeightIndex(std::string_view text,
                                                                    const std::string& path);

// model.safetensors, or the shards of model.safetensors.index.json: what the index names must be in the shard
// it says, nothing in two shards, and shards lie in the directory itself.
absl::StatusOr<WeightFiles> OpenWeightFiles(const std::string& directory);

// What to do with an adapter (LoRA), which is no model of its own.
inline constexpr char kMergeAdapter[] =
    ", an adapter: merge it into its base first (PeftModel.from_pretrained(base, DIR).merge_and_unload(), "
    "then "
    "save_pretrained)";

// `FILE: tensor NAME: what`.
absl::Status TensorError(const std::string& file, const std::string& tensor, const std::string& what);

}  // namespace temper
