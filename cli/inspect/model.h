// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace temper {

// A Hugging Face directory, or a checkpoint of ours: what its config says, what state/ says, the shards,
// how many parameters there are, FP8's blocks, every tensor with dtype and shape. Values are not read.
absl::StatusOr<std::string> DescribeModel(const std::string& directory);

// The tensors of one safetensors file.
absl::StatusOr<std::string> DescribeWeightFile(const std::string& path);

}  // namespace temper
