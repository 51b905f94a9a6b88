// SPDX-License-Identifier: Apache-2.0
// logprob = log_softmax(logits / T) of one token, the same bits in sampler, trainer and reference. The
// vocabulary is summed in kChunks chunks [floor(cV/8), floor((c+1)V/8)): in a chunk the maximum, then exp
// sums in 16 strided lanes and the fixed tree; the chunks' (max, sum) are merged as a binary tree. T divides
// each logit once; T = 0 reports T = 1.
#pragma once

#include <cstdint>

#include "absl/types/span.h"
#include "kernels/gemm.h"
#include "kernels/matrix.h"

namespace temper::kernels {

// One row of logits, on the host. Where ranks have parts of the vocabulary `part` says which these are.
struct LogitRow {
  const float* logits = nullptr;
  int64_t vocab = 0;
  float temperature = 1;
  AxisPart part = {};
};

struct LogSumExp {
  float max = 0;      // of logits / T
  float log_sum = 0;  // log(sum exp(logit / T - max)), by our own log
};

LogSumExp RowLogSumExp(const LogitRow& row);
// logits[id] / T - max - log_sum, in this order.
float RowLogprob(const LogitRow& row, int64_t id, const LogSumExp& sum);
// -sum p log p of softmax(logits / T), f64 accumulation in a fixed order. For metrics.
double RowEntropy(const LogitRow& row, const LogSumExp& sum);

// What one part of the vocabulary knows of a token: of its chunks the largest logit / T and the sum of
// exp(logit / T - max), over the subtree; and the target's logit / T, where the target is one of the part.
struct LogitPart {
  float max = 0, sum = 0, target = 0;
};
// The logprobs of parts[part][row], in the order of parts: their sums merge as the tree over chunks goes on.
// As of whole rows: logprob, and sums where not null; 0 where the target is -1.
struct JoinLogprobsTask {
  absl::Span<const LogitPart> parts;
  absl::Span<const int32_t> targets;  // [rows]
  int64_t vocab = 0;
  float* logprob = nullptr;
  LogSumExp* sums = nullptr;
};
void JoinLogprobs(const JoinLogprobsTask& task);

// The head over many tokens: hidden[rows, cols] against head[vocab, cols] (or its packed form); at most a
// tile of rows' logits exists at once, unless `logits` is memory for those of all rows that have a target:
// the gradient then need not compute them again. Writes logprob[rows]; sums[rows] (for backward) and
// entropy[rows] where not null. A target of -1 is skipped: logprob 0. All but hidden and head is on the host.
// Of a part of the vocabulary only parts[rows] are written, those of skipped rows not.
struct TokenLogprobsTask {
  Matrix hidden = {};
  Matrix head = {};
  const PackedMatrix* packed = nullptr;
  const int32_t* targets = nullptr;  // [rows]
  float temperature = 1;
  float* logprob = nullptr;
  LogSumExp* sums = nullptr;
  double* entropy = nullptr;
  AxisPart part = {};
  LogitPart* parts = nullptr;
  Matrix logits = {};
};

// From dlogprob[rows] (0 rows are skipped): dhidden[rows, cols] is overwritten (summed over the vocabulary in
// kChunks chunks); dhead[vocab, cols] continues its chain over rows ascending. Logits are recomputed tile by
// tile, or, if TokenLogprobs has put them into `logits`, taken from there, which is overwritten. Of a part of
// the vocabulary: dhidden is the sum over its chunks, a subtree.
struct TokenLogprobsBackwardTask {
  Matrix hidden = {};
  Matrix head = {};
  const PackedMatrix* packed = nullptr;
  const int32_t* targets = nullptr;
  float temperature = 1;
  const LogSumExp* sums = nullptr;
  const float* dlogprob = nullptr;
  Matrix dhidden = {}, dhead = {};
  AxisPart part = {};
  Matrix logits = {};
};

}  // namespace temper::kernels
