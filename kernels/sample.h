// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "absl/types/span.h"
#include "kernels/matrix.h"

namespace temper::kernels {

inline constexpr int64_t kSampleBlock = 1024;

struct SampleParameters {
  float temperature = 1.0f;  // 0: the largest logit, ties to the lower id
  int top_k = 0;             // 0: all
  float top_p = 1.0f;
  float min_p = 0.0f;
  absl::Span<const int32_t> banned = {};  // ids below vocab that are not chosen, never all of them
};

struct SampledToken {
  int32_t id = 0;
  float logprob = 0;  // of the whole distribution, banned ids too, at this temperature (T = 0 reports T = 1)
  float entropy = 0;
};

// One token of each row of logits[rows, vocab]. Numerators exp(logit / T - max) in f32 of the ids that
// truncation leaves are summed in f64: those of a block of kSampleBlock ids ascending from 0, then the blocks
// ascending over the vocabulary. Banned ids have the logit -inf for all of this. The token is in the first
// block whose cumulative sum exceeds uniform x total; there it is the first id for which (the blocks before +
// the block's sum up to it) does. top-k, then top-p, then min-p leave ids, of equals the lower ones; top-p
// adds up in the order of rank. A function of the row, its parameters and its uniform in [0, 1) alone.
struct SampleTask {
  Matrix logits = {};
  absl::Span<const SampleParameters> parameters;  // [rows]
  absl::Span<const double> uniforms;              // [rows]
  absl::Span<SampledToken> tokens;                // [rows], the results, on the host
};

}  // namespace temper::kernels
