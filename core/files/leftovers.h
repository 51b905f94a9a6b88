// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/status.h"

namespace temper {

// Removes a folder as a whole: it is renamed to what RemoveLeftovers knows, for good, before the first of its
// files goes, so that no crash leaves a part of it under its name. None there is no error.
absl::Status RemoveWhole(const std::string& directory);

// Removes what a process that died left below `directory` of AtomicFile, AtomicDirectory and RemoveWhole
// (names that begin with a point and end with .tmp), and puts back a folder whose replacement was cut off
// (.NAME.old). Only for who has the folder alone: another's file may be half-written. Links are not followed.
absl::Status RemoveLeftovers(const std::string& directory);

}  // namespace temper
