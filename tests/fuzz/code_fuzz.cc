// SPDX-License-Identifier: Apache-2.0
// Line 1 is a problem's row, the rest a completion with a program: nothing is run.
#include "rewards/code/block.h"
#include "rewards/code/compare.h"
#include "rewards/code/packed.h"
#include "rewards/code/task.h"
#include "tests/fuzz/fuzz.h"

FUZZ(bytes) {
  using namespace temper;
  const auto [row, text] = FirstLine(bytes);
  Prompt prompt;
  prompt.fields = row;
  (void)ReadCodeTask(prompt, {});
  (void)UnpackText(text, "text");
  Completion completion;
  completion.prompt = &prompt;
  completion.text = text;
  for (const bool cpp : {false, true}) FindCode(completion, cpp);
}
