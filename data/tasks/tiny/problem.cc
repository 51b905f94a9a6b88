// SPDX-License-Identifier: Apache-2.0
#include "data/tasks/tiny/problem.h"

#include "absl/strings/str_cat.h"
#include "core/check.h"

namespace temper::tiny {
namespace {

constexpr int64_t kMaxOperations = 26;  // letters
// Of find_x: 5 leaves two values of ten, 1 changes nothing.
constexpr int kFactors[] = {2, 3, 4, 6, 7, 8, 9};

Operation DrawOperation(RandomStream& random) {
  const char sign = "+-*"[random.NextBelow(3)];
  const int by = static_cast<int>(sign == '*' ? 2 + random.NextBelow(8) : 1 + random.NextBelow(9));
  return {sign, by};
}

Operation DrawFactor(RandomStream& random) { return {'*', kFactors[random.NextBelow(std::size(kFactors))]}; }

Problem TryFindX(RandomStream& random, int64_t n) {
  Problem problem;
  problem.operations.push_back(DrawFactor(random));
  while (static_cast<int64_t>(problem.operations.size()) < n - 1) {
    const Operation operation = DrawOperation(random);
    problem.operations.push_back(operation.sign == '*' ? DrawFactor(random) : operation);
  }
  // The last operation takes some start's value to 0.
  const int value = ChainEnd(problem, static_cast<int>(random.NextBelow(10)));
  const bool minus = random.NextBelow(2) == 0;
  problem.operations.push_back({minus ? '-' : '+', minus ? value : (10 - value) % 10});
  return problem;
}

int64_t DrawBetween(RandomStream& random, int64_t min, int64_t max) {
  return min + static_cast<int64_t>(random.NextBelow(max - min + 1));
}

}  // namespace

int Apply(int value, Operation operation) {
  switch (operation.sign) {
    case '+':
      return (value + operation.by) % 10;
    case '-':
      return (value + 10 - operation.by) % 10;
    default:
      return value * operation.by % 10;
  }
}

int ChainEnd(const Problem& problem, int start) {
  int value = start;
  for (const Operation& operation : problem.operations) value = Apply(value, operation);
  return value;
}

std::optional<int> SmallestRoot(const Problem& problem) {
  for (int start = 0; start < 10; ++start) {
    if (ChainEnd(problem, start) == 0) return start;
  }
  return std::nullopt;
}

int AnswerOf(const Problem& problem) {
  if (!problem.is_find_x()) return ChainEnd(problem, problem.start);
  const std::optional<int> root = SmallestRoot(problem);
  TEMPER_CHECK(root.has_value(), ContentOf(problem));
  return *root;
}

std::string OperationText(const Problem& problem, size_t index) {
  const Operation& operation = problem.operations[index];
  const std::string letter(1, static_cast<char>('a' + index));
  return absl::StrCat(" ", letter, " ", std::string(1, operation.sign), operation.by);
}

std::string ContentOf(const Problem& problem) {
  std::string content = problem.is_find_x() ? "x" : absl::StrCat(problem.start);
  for (size_t i = 0; i < problem.operations.size(); ++i) content += OperationText(problem, i);
  return content;
}

std::string PromptTextOf(const Problem& problem) {
  return absl::StrCat("Q ", ContentOf(problem), " ? <think>");
}

Problem DrawChain(RandomStream& random, int64_t n, Split split) {
  TEMPER_CHECK(n >= 1 && n <= kMaxOperations, n);
  for (;;) {
    Problem problem;
    problem.start = static_cast<int>(random.NextBelow(10));
    for (int64_t i = 0; i < n; ++i) problem.operations.push_back(DrawOperation(random));
    if (SplitOf(ContentOf(problem)) == split) return problem;
  }
}

Problem DrawFindX(RandomStream& random, int64_t n, Split split) {
  TEMPER_CHECK(n >= 2 && n <= kMaxOperations, n);
  for (;;) {
    Problem problem = TryFindX(random, n);
    if (problem.operations.back().by != 0 && SplitOf(ContentOf(problem)) == split) return problem;
  }
}

Problem DrawProblem(RandomStream& random, const ProblemOptions& options, Split split) {
  TEMPER_CHECK(options.chain_min <= options.chain_max && options.find_x_min <= options.find_x_max);
  if (random.NextUniform() < options.find_x_share) {
    return DrawFindX(random, DrawBetween(random, options.find_x_min, options.find_x_max), split);
  }
  return DrawChain(random, DrawBetween(random, options.chain_min, options.chain_max), split);
}

}  // namespace temper::tiny
