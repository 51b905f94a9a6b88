// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace temper {

// Whether PATH has a program of this name.
bool IsOnPath(const std::string& program);

// What a program of PATH writes to standard output, once it has ended. Errors: it does not start, or ends
// with another code than 0; they have its last line, of standard error where it wrote there.
absl::StatusOr<std::string> OutputOf(const std::vector<std::string>& command);

// This process becomes a program of PATH; returns only its failure.
absl::Status Become(const std::vector<std::string>& command);

}  // namespace temper
