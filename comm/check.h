// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>

#include "absl/status/status.h"
#include "comm/communicator.h"

namespace temper {

// Whether all ranks hold the same hash of `what` ("the config", "the weights"). Collective; every rank gets
// the same answer, which names the first rank that differs from rank 0. Throws CommError.
absl::Status AllRanksHold(std::string_view what, uint64_t hash, Communicator& comm);

}  // namespace temper
