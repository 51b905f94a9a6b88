// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "model/config/config.h"
#include "model/files/stored_weight.h"
#include "model/parameters.h"

namespace temper {

class StagedFiles;

struct PolicyFiles {
  ModelConfig config;
  Parameters parameters;
  int64_t bytes_read = 0;  // of the weights' files
};

// kAsStored: a matrix that is stored as BF16 stays so, with half the memory and, since its values are the
// same, the same bits of all that is computed with it. What is to be trained is f32.
enum class WeightNumbers { kF32, kAsStored };

struct PolicyReading {
  WeightNumbers numbers = WeightNumbers::kF32;
  MeshPlace place = {};  // whose part is read; nothing else is
};

// Reads config.json and the weights (model.safetensors, or model.safetensors.index.json with its shards) of a
// Hugging Face directory; BF16, F16, F32 and DeepSeek's FP8 become f32, stacked experts become separate ones.
// Memory: the rank's part of the weights, and a block row of the largest. Missing or misshapen tensors, those
// of the model's own layers that it would have to compute with, and weights that are not finite, are errors
// that name file and tensor. Other tensors go along untrained: MTP layers (model.layers.N from
// num_hidden_layers on), heads of values or scores. Where the config says that the policy has its MTP module,
// that must be there; its copies of embedding and head are left out. Buffers of the rotation are left out.
// End tokens are generation_config.json's, where it names some.
absl::StatusOr<PolicyFiles> ReadPolicy(const std::string& directory, const PolicyReading& options = {});
// The same of a directory whose config has been read.
absl::StatusOr<PolicyFiles> ReadPolicy(const std::string& directory, ModelConfig config,
                                       const PolicyReading& options);

// The config alone, with the end tokens as above.
absl::StatusOr<ModelConfig> ReadPolicyConfig(const std::string& directory);

// All weights of this config's model are there, in its shapes: the names of the others; `name` is that of the
// weights' file or index, for errors.
absl::StatusOr<std::vector<std::string>> CheckWeights(const ModelConfig& config, const std::string& name,
                                                      const StoredWeights& weights);

// generation_config.json: as it was read, else of the config's tokens.
std::string GenerationConfigText(const ModelConfig& config);

// With a world, of whose ranks each has the part of the parameters that their layout says, collective: ok, or
// an error, on every rank.
struct PolicyWriting {
  Communicator* world = nullptr;                // null: this rank has all
  int64_t file_bytes = int64_t{5'000'000'000};  // at most, of weights, where one is not larger alone
  StagedFiles* staged = nullptr;                // all files go there; null: they are written
};

// The names of the tensors that are written, in their order, each with the weight of Layout::whole() that it
// is: of a policy that trains its MTP module two are there twice.
std::map<std::string, size_t> TensorsOf(const ModelConfig& config, const Layout& layout);

// Writes config.json, the weights as they are (f32, or matrices of bf16 and vectors of f32; one
// model.safetensors, or several with their model.safetensors.index.json; with an MTP module its copies of
// embedding and head, as DeepSeek-V3's files have them) and generation_config.json, and
// copies the tokenizer's files (data/tokenizer/folder.h) from `tokenizer_directory` ("": none). The same
// bytes for every layout of the ranks. The caller owns atomicity: `directory` exists and is a temporary one.
absl::Status WritePolicy(const ModelConfig& config, const Parameters& parameters,
                         const std::string& tokenizer_directory, const std::string& directory,
                         const PolicyWriting& how = {});

}  // namespace temper
