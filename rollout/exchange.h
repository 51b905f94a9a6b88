// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>

#include "absl/status/statusor.h"
#include "comm/communicator.h"
#include "data/trajectory.h"

namespace temper {

// What the ranks hand each other at the two ends of a rollout: each how it fared and its trajectories.
// Returns all of them, in rank order; where a rank's status is an error, that error, the same on every rank
// (of several the first that is not Cancelled). A collective: every rank calls it, however it fared.
absl::StatusOr<std::deque<Trajectory>> Exchange(Communicator& ranks, const absl::Status& mine,
                                                const std::deque<Trajectory>& trajectories);

}  // namespace temper
