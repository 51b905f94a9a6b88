// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "trainer/session.h"

namespace temper {

// The reference policy of the KL term: the policy at the stage's start, or at the last refresh. Its logprobs
// come from the packed forward without a graph, just before the update that needs them, at the policy's
// temperature.
class ReferencePolicy {
 public:
  // Of the weights that the session's state names: read now, and one more copy of them for as long as this
  // lives; or, if it is not to be in memory (RlConfig::reference_in_memory), whenever it is asked for.
  static absl::StatusOr<std::unique_ptr<ReferencePolicy>> Open(TrainingSession& session);

  // The policy, until LetGo. Where it is read now the memory of the last update's gradient makes room for it.
  absl::StatusOr<CausalLm*> Take(TrainingSession& session);
  // It is not needed before the next update.
  void LetGo(const TrainingSession& session);

  // The reference becomes the policy, and the session's state names it; the next checkpoint makes it lasting.
  absl::Status Refresh(TrainingSession& session);

 private:
  absl::Status Read(TrainingSession& session);

  std::unique_ptr<CausalLm> model_;  // null: it is on disk alone
};

}  // namespace temper
