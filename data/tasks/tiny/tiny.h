// SPDX-License-Identifier: Apache-2.0
// The tiny language: arithmetic modulo 10 that a 1M-parameter model can learn in a minute, with two tasks.
// `chain`: work through the steps ("Q 7 a -3 b *2 c +5 ? <think>" -> " 7 a -3 4 b *2 8 c +5 3 </think>
// <answer> 3 </answer>"). `find_x`: which start makes the chain end in 0, so guess, check, and `wait` before
// the next try. Letters number the operations. All are functions of (key, index): endless, in any order, on
// any rank.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "data/dataset/split.h"
#include "data/trajectory.h"

namespace temper::tiny {

// A problem belongs to one side by the hash of its operations; about one in eight is held out. The start does
// not count, so the tries of a find_x problem that may be trained on are chains that may be, too: what is
// held out is never shown, wherever and however it is asked.
using temper::Split;
Split SplitOf(
    std::string_view problem);  // the words between "Q" and "?", or a worked chain's start and operations

struct ProblemOptions {
  int64_t chain_min = 2, chain_max = 6;    // operations, 1 to 26
  int64_t find_x_min = 2, find_x_max = 3;  // 2 to 26
  double find_x_share = 0.5;
};

// Problem `index` of the stream `key`, of the side asked for. id: the problem itself; text ends in "<think>";
// task: chain or find_x; answer: the digit (find_x: the smallest root). tokens stay empty.
Prompt MakeProblem(uint64_t key, int64_t index, const ProblemOptions& options, Split split);

// Whether `answer` (trimmed) is one digit and right: chain has one answer, find_x takes any root. False where
// ProblemFault has something to say.
bool IsCorrect(const Prompt& prompt, std::string_view answer);
// Why a prompt of these tasks cannot be judged: its text is no problem, or its answer is not right. Empty: it
// can.
std::string ProblemFault(const Prompt& prompt);
// Why `answer`, which IsCorrect calls wrong, is: "4 is not 3", "with x = 4 the chain ends in 7, not 0".
std::string WhyWrong(const Prompt& prompt, std::string_view answer);

// The words of a completion have a space before each. prompt is empty for text that is no answer to a
// problem.
struct Document {
  std::string prompt;
  std::string completion;
};

// Document `index` of the base corpus: sloppy and careful solutions, guesses, searches, broken formats, text.
struct CorpusOptions {
  bool reasoning =
      true;  // false: answers come without thinking, worked chains only in text without a question
  double chinese_share = 0.3;  // documents that say 等, 好 for wait, ok
};
Document CorpusDocument(uint64_t key, int64_t index, const CorpusOptions& options);
// A clean solution for the cold start: every step written, tries ascending, in English.
Document ColdStartDocument(uint64_t key, int64_t index, const ProblemOptions& options);
// Text that answers no problem, as in the base corpus: English words, and worked chains that nobody asked
// for.
Document GeneralDocument(uint64_t key, int64_t index);

// Every word of the language, the tokens of configs/tiny/*/tokenizer.json beside the bytes.
std::vector<std::string> Words();

}  // namespace temper::tiny
