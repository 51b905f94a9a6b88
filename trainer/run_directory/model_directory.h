// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace temper {

// The model directory that `path` means: itself, or the newest checkpoint of a stage's folder, or that of a
// run's last stage that has one, or the revision main of a model in the hub's cache. `path` itself where it
// is none of these, for whoever reads it to say what is missing.
absl::StatusOr<std::string> ModelDirectory(const std::string& path);

}  // namespace temper
