// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "core/config/config.h"
#include "rewards/rule.h"

namespace temper {

struct InstructionsOptions {
  bool loose = false;
  bool share = false;

  template <class V>
  void Fields(V& v) {
    v.Field("loose", loose, "Also without the first or last line, and without * (IFEval's loose accuracy).");
    v.Field("share", share, "The score is the share of the instructions that were followed, not 0 or 1.");
  }
};

// Rule `instructions`: instructions that a program can check (IFEval, arXiv 2311.07911; its 25 kinds are in
// rewards/text/instruction_kinds.h), in IFEval's own form: the row has `instruction_id_list`, names of kinds,
// and `kwargs`, an object for each. Judged is what follows the thinking, inside <answer> where there is one.
// Correct where all are followed, else wrong, and the reason names the first that is not; the score is 1 or
// 0, with option `share` the share that is followed. An empty answer follows nothing. Option `loose`: an
// instruction is followed also where the answer without its first line, its last or both, or without `*`,
// follows it. A row with a kind that is not known, or without what a kind needs, is CheckAnswer's error.
absl::StatusOr<std::unique_ptr<Reward>> MakeInstructions(const InstructionsOptions& config);

}  // namespace temper
