// SPDX-License-Identifier: Apache-2.0
// Line 1 is the gold answer, the rest the answer, both as LaTeX.
#include "rewards/math/equal/equal.h"
#include "rewards/math/latex/latex.h"
#include "tests/fuzz/fuzz.h"

FUZZ(bytes) {
  using namespace temper::math;
  const auto [gold_text, answer_text] = temper::FirstLine(bytes);
  const auto gold = ParseLatex(gold_text), answer = ParseLatex(answer_text);
  if (!gold.ok() || !answer.ok()) return;
  Equal(*gold, *answer);
  Equal(*answer, *gold, EqualOptions::Strict());
}
