// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/tokenizer/tokenizer.h"
#include "kernels/sample.h"

namespace temper {

// How completions are drawn. One meaning for `sample`, `eval` and every stage.
struct SamplingOptions {
  int64_t min_new_tokens = 0;  // the first so many tokens end nothing; at most max_new_tokens
  int64_t max_new_tokens = 256;
  kernels::SampleParameters parameters;
  bool ignore_eos = false;  // the end token may be sampled and does not stop
  std::vector<int32_t> eos_ids;
  std::vector<int32_t> stop_ids;  // they end a completion whether or not eos_ids do
  // A completion ends with the token that completes one of these in its text (rollout/stop_strings.h); they
  // need the tokenizer.
  std::vector<std::string> stop_strings;
  const Tokenizer* tokenizer = nullptr;
};

}  // namespace temper
