// SPDX-License-Identifier: Apache-2.0
// What config.json says of the numbers that weights are stored in: `torch_dtype` or `dtype`, and
// `quantization_config` where they are DeepSeek's FP8 (model/files/fp8.h); and of those that keys and values
// are rounded to, `temper_cache`, which is ours.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "core/json/json.h"
#include "kernels/matrix.h"

namespace temper {

constexpr int64_t kFp8Block = 128;  // rows and columns that share a scale

enum class WeightDtype { kKeep, kF32, kBf16, kFp8 };  // kKeep: each tensor its own

// Whether the object config.json has a quantization_config. An error that names the key if it is another than
// FP8 e4m3 in blocks of 128 x 128; keys that say which modules are not quantised are of no interest, each
// tensor has its dtype.
absl::StatusOr<bool> IsFp8Config(const Json& config, const std::string& path);
absl::StatusOr<bool> IsFp8Config(const std::string& config, const std::string& path);  // the file's text

// The text of config.json for the same model with weights of this dtype. Members that do not speak of it keep
// their bytes.
absl::StatusOr<std::string> ConfigTextFor(const std::string& config, WeightDtype dtype);

// The same model with this cache.
inline constexpr char kCacheKey[] = "temper_cache";
std::string ConfigTextWithCache(const std::string& config, kernels::Type cache);

}  // namespace temper
