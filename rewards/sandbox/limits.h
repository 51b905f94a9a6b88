// SPDX-License-Identifier: Apache-2.0
// The kernel's limits of a process in the sandbox.
#pragma once

#include <vector>

#include "absl/status/status.h"
#include "rewards/sandbox/child.h"
#include "rewards/sandbox/sandbox.h"

namespace temper {

std::vector<SandboxLimit> LimitsOf(const SandboxLimits& given);

// An ordinary user can only go down from the hard limits that he has: FailedPrecondition with the first one
// that does not allow what is wanted.
absl::Status CheckAllowed(const std::vector<SandboxLimit>& limits);

}  // namespace temper
