// SPDX-License-Identifier: Apache-2.0
// A model's weights in another form on disk: other numbers, other shards, experts stacked or separate. Tensor
// by tensor and piece by piece: memory is a row of FP8 blocks of the widest tensor, whatever the model.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "model/config/quantization.h"
#include "model/files/stored_weight.h"

namespace temper {

enum class ExpertLayout { kKeep, kSeparate, kStacked };  // kKeep: as they are stored

struct ConversionOptions {
  // kBf16 leaves router biases (e_score_correction_bias) F32, as DeepSeek's files have them. kFp8 quantises
  // the projections of attention, MLPs and experts, MTP layers' too; norms, router, embedding, head and
  // eh_proj are as with kBf16. A checkpoint that is FP8 already keeps its codes and scales. FP8 experts are
  // written separate, or as they are. Tensors that are no floats are never changed.
  WeightDtype dtype = WeightDtype::kKeep;
  ExpertLayout experts = ExpertLayout::kKeep;
  int64_t shard_bytes = int64_t{5'000'000'000};  // at most, of tensors, where one tensor is not larger alone
};

// What is written: a tensor, with FP8 its scales too, and where it comes from, part after part.
struct ConvertedWeight {
  TensorInfo tensor, scales;  // no name: no scales
  std::vector<StoredWeight> parts;
  bool copied = false;  // the parts' bytes are taken as they are
};

struct Conversion {
  std::vector<std::vector<ConvertedWeight>> shards;  // weights in name order; scales beside their weights
  std::map<std::string, std::string> metadata;
  int64_t tensors = 0, bytes = 0, elements = 0;  // with scales; without
};

// `fp8`: the files' config says so. Weights that cannot take the form are errors that name file and tensor;
// values are not read. The conversion points into `files`.
absl::StatusOr<Conversion> PlanConversion(const WeightFiles& files, bool fp8,
                                          const ConversionOptions& options);

// Writes model.safetensors, or model-NNNNN-of-NNNNN.safetensors and model.safetensors.index.json, into the
// directory. A dtype that is kept keeps its bytes. `progress` gets the bytes done so far, and ends the work
// with an error of its own. Numbers that are not finite, or beyond BF16, are errors unless they are copied.
absl::Status WriteConversion(const Conversion& conversion, const std::string& directory,
                             absl::FunctionRef<absl::Status(int64_t bytes)> progress);

}  // namespace temper
