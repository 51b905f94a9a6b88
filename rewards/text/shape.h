// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "core/config/config.h"
#include "rewards/rule.h"

namespace temper {

struct LengthOptions {
  std::string shape = "overlong";
  int64_t max_tokens = 0;
  int64_t slack_tokens = 0;

  template <class V>
  void Fields(V& v) {
    v.Field("shape", shape,
            "overlong: 1, and a line to 0 at the end (DAPO); cosine: half a wave from 1 at no token to 0 at "
            "max_tokens (arXiv 2502.03373; with requires: accuracy, weight and weight_otherwise).");
    v.Field("max_tokens", max_tokens, "Completions up to max_tokens - slack_tokens score 1.", AtLeast(0));
    v.Field("slack_tokens", slack_tokens, "The score falls to 0 over the last slack_tokens.", AtLeast(0));
  }
};

struct RepetitionOptions {
  int64_t ngram = 4;

  template <class V>
  void Fields(V& v) {
    v.Field("ngram", ngram, "Words of the n-grams that count.", Between(1, 64));
  }
};

// Rule `length`. Shape overlong: the score is 1 up to max_tokens - slack_tokens, falls on a line to 0 at
// max_tokens, and stays there (DAPO's soft overlong punishment, arXiv 2503.14476, shifted from [-1, 0] to [0,
// 1]). Shape cosine: (1 + cos(pi tokens / max_tokens)) / 2, 0 from max_tokens on ("Demystifying Long
// Chain-of-Thought Reasoning", arXiv 2502.03373, of which it is the wave; where it hangs on the answer,
// weights make the rest: docs/rewards.md). Correct where the completion is shorter than max_tokens (overlong:
// where the score is 1).
absl::StatusOr<std::unique_ptr<Reward>> MakeLength(const LengthOptions& config);

// Rule `repetition`: the share of n-grams of words that are different; 1 for texts shorter than an n-gram.
// Words are split at white space, and each Chinese, Japanese or Thai character is one. The first 200,000
// words count.
absl::StatusOr<std::unique_ptr<Reward>> MakeRepetition(const RepetitionOptions& config);

}  // namespace temper
