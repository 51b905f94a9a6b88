// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "c10/core/Device.h"

namespace temper {

// Where a policy lives: "cpu"; "cuda", of the machine's GPUs the one that is this rank's turn; "cuda:N".
// Refuses other names, a GPU that is not there, and every GPU in a build without CUDA.
absl::StatusOr<at::Device> DeviceByName(const std::string& name);

// What a command that runs on the device says where the policy is not exact.
std::string NotExactText(const std::string& name);

}  // namespace temper
