// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/config/config.h"
#include "rewards/rule.h"

namespace temper {

struct FormatOptions {
  bool think_in_prompt = true;
  std::vector<std::string> tags = {"think", "answer"};
  bool text_after = false;

  template <class V>
  void Fields(V& v) {
    v.Field("think_in_prompt", think_in_prompt, "The completion begins inside the thinking.");
    v.Field("tags", tags, "The sections, in their order: each <tag> and </tag> once.");
    v.Field("text_after", text_after,
            "Text must follow the last section (DeepSeek-R1's summary); else nothing may.");
  }
};

// Rule `format`: the sections of option tags, by default `<think>`..`</think>` then `<answer>`..`</answer>`:
// each tag once, in this order, nothing but white space outside, and something in the last section. Options:
// think_in_prompt (the first tag may be missing, as the prompt ends with it; where the prompt's text does end
// with it, it must be missing), text_after (some text follows the last section: DeepSeek-R1's summary, with
// tags [think]). Stop by length is malformed. `raw` completions are malformed.
absl::StatusOr<std::unique_ptr<Reward>> MakeFormat(const FormatOptions& config);

}  // namespace temper
