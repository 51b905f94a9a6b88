// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "data/tokenizer/tokenizer.h"
#include "model/causal_lm.h"
#include "model/files/hugging_face.h"

namespace temper {

// A policy on its backend, and the tokenizer that goes with it: its eos_ids() are the model's too.
struct OpenedPolicy {
  std::unique_ptr<CausalLm> model;
  std::unique_ptr<Tokenizer> tokenizer;
  int64_t bytes_read = 0;  // of the weights' files, on this rank
};

struct PolicyUse {
  bool may_lack_tokenizer = false;          // a directory without one is fine: `tokenizer` is null
  bool trained = false;                     // its weights can be trained; else they stay as they are stored
  bool bf16 = false;                        // it computes with bf16 weights, whatever is stored
  std::optional<kernels::Type> cache = {};  // of keys and values; none: the config's
  MtpUse mtp = MtpUse::kCarried;
  const Mesh* mesh = &Mesh::Single();  // whose ranks have it between them; outlives the policy
};

// From a model directory. The tokenizer comes first: it is read in no time, and one that does not belong to
// the model should not cost the reading of all weights.
absl::StatusOr<OpenedPolicy> OpenPolicy(const std::string& directory, kernels::Backend* backend,
                                        const PolicyUse& use = {});

// A policy of these files, of this rank's part of the weights: what OpenPolicy makes of a directory's.
std::unique_ptr<CausalLm> PolicyOf(PolicyFiles files, kernels::Backend* backend, const PolicyUse& use = {});

// Weights that no directory has, with that directory's tokenizer.
absl::StatusOr<OpenedPolicy> MakePolicy(PolicyFiles files, const std::string& tokenizer_directory,
                                        kernels::Backend* backend, const PolicyUse& use);

}  // namespace temper
