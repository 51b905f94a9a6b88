// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "trainer/session.h"
#include "trainer/update_batch.h"

namespace temper {

// The reference policy of the KL term: the policy at the stage's start, or at the last refresh. Its logprobs
// come from the packed forward without a graph, just before the update that needs them, at the policy's
// temperature.
class ReferencePolicy {
 public:
  // Reads the weights that the session's state names. Costs one more copy of them.
  static absl::StatusOr<std::unique_ptr<ReferencePolicy>> Open(TrainingSession& session);

  // Fills ref_logprobs of this rank's sequences. `leaves` point into `batch`.
  void Fill(UpdateBatch* batch, const Leaves& leaves, const LeafRange& mine, int64_t tokens_per_microbatch,
            float temperature);

  // The reference becomes the policy, and the session's state names it; the next checkpoint makes it lasting.
  absl::Status Refresh(TrainingSession& session);

 private:
  std::unique_ptr<CausalLm> model_;
};

}  // namespace temper
