// SPDX-License-Identifier: Apache-2.0
// A text as LaTeX, and as a completion with an answer somewhere.
#include "rewards/math/answer.h"
#include "rewards/math/latex/latex.h"
#include "rewards/math/string.h"
#include "tests/fuzz/fuzz.h"

FUZZ(bytes) {
  using namespace temper::math;
  const auto expression = ParseLatex(bytes);
  if (expression.ok()) DebugString(*expression);
  FindMathAnswer(bytes);
  ReadMathReference(bytes);
  MathString(bytes);
}
