// SPDX-License-Identifier: Apache-2.0
// What the ranks tell each other of a rollout: of every sample its head to all, and what it holds to the one
// rank that needs it. Nothing is sent to everyone that grows with its tokens.
#pragma once

#include <deque>
#include <vector>

#include "absl/status/statusor.h"
#include "comm/communicator.h"
#include "comm/mesh.h"
#include "data/trajectory.h"

namespace temper {

// What the ranks hand each other at the two ends of a rollout: each how it fared and the heads of its
// trajectories. Returns all of them, in rank order: this rank's own whole, of the others the heads. Where a
// rank's status is an error, that error, the same on every rank (of several the first that is not Cancelled).
// A collective: every rank calls it, however it fared.
absl::StatusOr<std::deque<Trajectory>> Exchange(Communicator& ranks, const absl::Status& mine,
                                                std::deque<Trajectory> trajectories);

// What the first of ranks that sample the same ends with, whole, on all of them: how it fared and its
// trajectories. Where that is an error, so it is on all. Collective.
absl::StatusOr<std::deque<Trajectory>> ShareWithMates(Communicator& mates, const absl::Status& status,
                                                      std::deque<Trajectory> trajectories);

// Sends tokens and logprobs, or texts, from the ranks that have them, all of those that sampled together
// (Mesh::mates of `sampled`), to the owner of each group, by its number among those of Mesh::dp of `owning`;
// -1: nobody. Then all ranks that are the owner have those of all its trajectories, and no others have any.
// Both meshes are of the same ranks. Collective; `owners` and the heads of the groups are the same on every
// rank.
enum class Contents { kTokens, kTexts };
void Deliver(const Mesh& sampled, const Mesh& owning, Contents contents, const std::vector<int>& owners,
             std::vector<Group>* groups);

}  // namespace temper
