// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/bench/report.h"
#include "core/thread_pool.h"
#include "model/causal_lm.h"
#include "model/files/hugging_face.h"
#include "model/policy.h"
#include "trainer/update/loss.h"
#include "trainer/update/step.h"

namespace temper {

// The policy that a benchmark runs: the directory's, or random weights of the built-in config.
absl::StatusOr<PolicyFiles> BenchPolicy(const BenchOptions& options);

// What the CPU's cores can reach at most (kernels/peak.h); 0, not told, of a backend elsewhere.
double BenchPeak(const kernels::Backend& backend);

// Two for each weight that a token meets in products.
double FlopOfToken(const ModelConfig& config);

// How a benchmark uses a policy.
PolicyUse BenchUse(const BenchOptions& options, bool trained);

// `count` lists of `length` ids: the file's, in turn, or random ones.
absl::StatusOr<std::vector<std::vector<int32_t>>> BenchTokens(const BenchOptions& options, int64_t count,
                                                              int64_t length, int64_t vocab);

// Sequences dealt to so many leaves.
Leaves DealInTurn(const std::vector<TrainSequence>& sequences, int64_t count);

}  // namespace temper
