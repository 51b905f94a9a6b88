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
  // Reads the weights that the session's state names. Costs one more copy of them.
  static absl::StatusOr<std::unique_ptr<ReferencePolicy>> Open(TrainingSession& session);

  CausalLm& model() { return *model_; }

  // The reference becomes the policy, and the session's state names it; the next checkpoint makes it lasting.
  absl::Status Refresh(TrainingSession& session);

 private:
  std::unique_ptr<CausalLm> model_;
};

}  // namespace temper
