// SPDX-License-Identifier: Apache-2.0
#include "trainer/sampling.h"

#include <utility>

#include "rollout/engine.h"

namespace temper {

SamplingOptions Sampling::For(std::vector<int32_t> eos_ids, const Tokenizer* tokenizer) const {
  SamplingOptions options;
  options.min_new_tokens = min_new_tokens;
  options.max_new_tokens = max_new_tokens;
  options.parameters = {.temperature = temperature, .top_k = top_k, .top_p = top_p, .min_p = min_p};
  options.ignore_eos = ignore_eos;
  options.eos_ids = std::move(eos_ids);
  options.stop_ids.assign(stop_token_ids.begin(), stop_token_ids.end());
  options.stop_strings = stop;
  options.tokenizer = tokenizer;
  return options;
}

}  // namespace temper
