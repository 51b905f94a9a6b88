// SPDX-License-Identifier: Apache-2.0
// What the files of the tiny language share; not for others.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/random.h"
#include "data/tasks/tiny/tiny.h"

namespace temper::tiny {

constexpr int kAnyDigit = -1;

struct Operation {
  char sign = '+';  // + - *
  int by = 1;       // 1 to 9
};
struct Problem {
  int start = kAnyDigit;  // kAnyDigit: find_x
  std::vector<Operation> operations;
  bool is_find_x() const { return start == kAnyDigit; }
};

// English words that say nothing; "a" is one too, and a letter.
constexpr const char* kFillers[] = {"the", "cat", "dog", "sun", "ran", "saw", "big", "red", "hat", "was",
                                    "and", "on",  "it",  "he",  "she", "we",  "go",  "to",  "my"};

int Apply(int value, Operation operation);
// Where the chain ends if it starts with `start`.
int ChainEnd(const Problem& problem, int start);
// The smallest start with which the chain ends in 0.
std::optional<int> SmallestRoot(const Problem& problem);
int AnswerOf(const Problem& problem);  // find_x must have a root

// " a -3": the words of operation `index`, each with a space before it.
std::string OperationText(const Problem& problem, size_t index);
std::string ContentOf(const Problem& problem);     // "7 a -3 b *2", "x a *4 b +3"
std::string PromptTextOf(const Problem& problem);  // "Q 7 a -3 b *2 ? <think>"

// n operations, drawn until the problem is of that side.
Problem DrawChain(RandomStream& random, int64_t n, Split split);
Problem DrawFindX(RandomStream& random, int64_t n, Split split);
// By the options' share and ranges.
Problem DrawProblem(RandomStream& random, const ProblemOptions& options, Split split);

}  // namespace temper::tiny
