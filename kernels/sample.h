// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "absl/types/span.h"
#include "kernels/matrix.h"

namespace temper::kernels {

struct SampleParameters {
  float temperature = 1.0f;  // 0: the largest logit, ties to the lower id
  int top_k = 0;             // 0: all
  float top_p = 1.0f;
  float min_p = 0.0f;
};

struct SampledToken {
  int32_t id = 0;
  float logprob = 0;  // of the untruncated distribution at this temperature (T = 0 reports T = 1)
  float entropy = 0;
};

// One token of each row of logits[rows, vocab]: the first id, ascending, whose cumulative probability (f64,
// after truncation, renormalised) exceeds the row's uniform in [0, 1). A function of the row, its parameters
// and its uniform alone.
struct SampleTask {
  Matrix logits = {};
  absl::Span<const SampleParameters> parameters;  // [rows]
  absl::Span<const double> uniforms;              // [rows]
  absl::Span<SampledToken> tokens;                // [rows], the results, on the host
};

}  // namespace temper::kernels
