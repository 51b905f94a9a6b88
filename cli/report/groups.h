// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "cli/report/run.h"
#include "core/json/json.h"

namespace temper {

// A few held-out prompts, each with one completion of every stage that sampled it:
// [{"prompt","answer","task","stages":
// [{"stage","correct","samples","completion":COMPLETION}]}]. Which: the first two of each task, sample 0:
// never chosen by result. COMPLETION:
// {"sample","reward","advantage","tokens","logprob","stop","verdicts":[..]} and "text", or, where the stage's
// tokenizer could be read, "pieces" and "logprobs". Long ones lose their middle. What cannot be read is a
// note in `run`.
Json SamePrompts(ReportRun& run);

// The first, middle and last rollout of each rl stage:
// [{"stage","rollouts":[{"rollout","of","groups":[{"prompt","answer",
// "task","correct","samples","completions":[COMPLETION..]}]}]}], in all at most about `budget` bytes.
Json RolloutGroups(ReportRun& run, int64_t budget);

}  // namespace temper
