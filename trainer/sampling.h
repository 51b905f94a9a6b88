// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "core/config/config.h"
#include "data/tokenizer/tokenizer.h"

namespace temper {

struct SamplingOptions;  // rollout/sampling.h

// What drafts the next tokens of a sample.
enum class Drafts { kRepeats, kMtp };
inline constexpr std::initializer_list<std::pair<const char*, Drafts>> kDraftsNames = {
    {"repeats", Drafts::kRepeats}, {"mtp", Drafts::kMtp}};

// How completions are drawn, as recipes and commands say it.
struct Sampling {
  int64_t max_new_tokens = 256;
  int64_t min_new_tokens = 0;
  float temperature = 1;
  float top_p = 1;
  int top_k = 0;
  float min_p = 0;
  bool ignore_eos = false;
  std::vector<std::string> stop;
  std::vector<int64_t> stop_token_ids;
  int64_t draft_tokens = 8;
  Drafts drafts = Drafts::kRepeats;

  template <class V>
  void Fields(V& v) {
    v.Field("max_new_tokens", max_new_tokens, "A completion is cut at this many tokens.",
            Between(1, 1 << 20));
    v.Field(
        "min_new_tokens", min_new_tokens,
        "The first so many tokens end nothing: no end token or stop id is drawn among them (logprobs stay "
        "those of all tokens), and stop texts that they complete do not count.",
        Between(0, 1 << 20));
    v.Check(min_new_tokens <= max_new_tokens, "min_new_tokens", "is more than max_new_tokens");
    v.Field("temperature", temperature,
            "Of sampling and of every logprob (log_softmax(logits / T)); 0: the likeliest token, logprobs at "
            "1.",
            Between(0.0, 100.0));
    v.Field("top_p", top_p, "Only the likeliest tokens that make up this probability.", MoreThan(0.0),
            AtMost(1.0));
    v.Field("top_k", top_k, "Only this many likeliest tokens; 0: all.", AtLeast(0));
    v.Field("min_p", min_p, "Only tokens of at least this share of the likeliest one's probability.",
            Between(0.0, 1.0));
    v.Field("ignore_eos", ignore_eos,
            "The end token may be sampled and does not stop; stop texts and ids do.");
    v.Field("stop", stop, "A completion ends with the token that completes this text.", Repeated());
    v.Check(std::find(stop.begin(), stop.end(), "") == stop.end(), "stop", "the text is empty");
    v.Field("stop_token_ids", stop_token_ids,
            "A completion ends with any of these tokens, and keeps it, as it does with the end token.",
            Between(0, INT32_MAX));
    v.Field("draft_tokens", draft_tokens,
            "Where few sequences decode, a step tries this many tokens at most that followed the same few "
            "tokens before, and keeps those that it draws itself; 0: none. Changes speed, never bits.",
            Between(0, 64), Free());
    v.Choice(
        "drafts", drafts, kDraftsNames,
        "What these tokens come from. repeats: what followed the same few tokens before. mtp: DeepSeek-V3's "
        "multi-token prediction module, one token a step; it is to be trained (mtp_weight). Its pass costs "
        "time: it is made where steps are faster with it, which the engine tries by the clock. Changes "
        "speed, "
        "never bits.",
        Free());
  }
  bool by_mtp() const { return drafts == Drafts::kMtp && draft_tokens > 0; }

  // The same of a policy that ends with `eos_ids`; only `stop` needs the tokenizer, which outlives it.
  SamplingOptions For(std::vector<int32_t> eos_ids, const Tokenizer* tokenizer) const;
};

}  // namespace temper
