// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"

namespace temper {

// Tokens [begin, end) of a sequence, whose logprobs count.
struct CountedRange {
  int64_t begin = 0, end = 0;
};

// One sequence of an update: prompt and completion, and what the loss needs of each counted token. All other
// tokens (the prompt, what was given to the policy on the way) are context: no loss, no figure and no
// gradient comes from how likely they are.
struct TrainSequence {
  std::vector<int32_t> tokens;       // to the last that counts; empty on ranks that do not train it
  std::vector<CountedRange> ranges;  // at least one, ascending; the first token never counts
  // rl: which prompt of the update it answers, and of how many tokens that is, all before the first that
  // counts; -1: none that others have.
  int64_t group = -1, prompt_tokens = 0;
  float advantage = 0;              // rl
  float weight = 1;                 // 0: masked (cut by length), context for nothing
  std::vector<float> old_logprobs;  // rl: as the sampler stored them, one for each counted token
  std::vector<float> ref_logprobs;  // rl with KL: of the reference policy
  // All of its tokens from `first` on count.
  void CountFrom(int64_t first) { ranges = {{first, static_cast<int64_t>(tokens.size())}}; }
  int64_t length() const { return ranges.back().end; }
  int64_t counted() const {
    int64_t count = 0;
    for (const CountedRange& range : ranges) count += range.end - range.begin;
    return count;
  }
};

// What one sequence adds to the update's figures; summed in the update's order of sequences, in f64.
struct LossSums {
  double loss = 0;     // already divided by the update's denominators
  double kl = 0;       // k3 estimate, summed over tokens
  double clipped = 0;  // tokens whose ratio was cut
  double ratio = 0;    // summed over tokens
  double nll = 0;      // -logprob, summed over tokens
  double tokens = 0;
  double unequal = 0;         // tokens whose logprob is not the stored one
  double max_difference = 0;  // of those
  // Of the MTP module, where it is trained: the tokens that it predicts, -logprob summed over them, and those
  // that it holds likeliest.
  double mtp_tokens = 0, mtp_nll = 0, mtp_right = 0;
};

enum class RatioLevel { kToken, kSequence };
enum class LossNormalization { kSequenceMean, kTokenMean, kConstant };

// The policy-gradient loss. GRPO (DeepSeekMath eq. 3, DeepSeek-R1 eq. 1-3): ratio and clip by token, mean
// over a completion's tokens, mean over completions, KL in the loss by the k3 estimator.
struct PolicyLossConfig {
  RatioLevel ratio_level = RatioLevel::kToken;  // sequence: GSPO
  double clip_low = 0.2;                        // the ratio is cut at 1 - clip_low
  double clip_high = 0.2;                       // and at 1 + clip_high; R1 uses 10 for both
  double kl_coef = 0.001;
  LossNormalization normalization = LossNormalization::kSequenceMean;
  int64_t constant_length = 0;  // kConstant: tokens are divided by this
};

// Counts of the whole update, known before the first backward pass.
struct LossDenominators {
  double sequences = 0;
  double tokens = 0;
};

// dlogprobs and sums of one sequence. logprobs: of its counted tokens under the policy now. The token loss is
// -min(ratio A, clip(ratio) A) + kl_coef * (exp(ref - logprob) - (ref - logprob) - 1), in f64, rounded once
// to f32.
void PolicyLoss(const PolicyLossConfig& config, const LossDenominators& denominators,
                const TrainSequence& sequence, absl::Span<const float> logprobs, absl::Span<float> dlogprobs,
                LossSums* sums);

// Counted tokens that the MTP module predicts: all but a sequence's first two.
int64_t MtpTokens(const TrainSequence& sequence);
// Of a sequence's rows in a microbatch, what the module says of the token two on.
struct MtpLossTask {
  double scale = 0;  // of a token's loss: the weight over the update's tokens that it predicts
  absl::Span<const float> logprobs;
  const std::vector<bool>* likeliest = nullptr;  // of the microbatch, this sequence's from `first` on
  int64_t first = 0;
  absl::Span<float> dlogprobs;  // all 0 so far
};
// Its cross-entropy.
void MtpLoss(const MtpLossTask& task, const TrainSequence& sequence, LossSums* sums);

// Cross-entropy, the mean over the update's counted tokens.
void CrossEntropyLoss(const LossDenominators& denominators, const TrainSequence& sequence,
                      absl::Span<const float> logprobs, absl::Span<float> dlogprobs, LossSums* sums);

}  // namespace temper
