// SPDX-License-Identifier: Apache-2.0
#include "data/tasks/tiny/tiny.h"

#include <iterator>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "core/one_of.h"
#include "core/text.h"
#include "data/tasks/tiny/problem.h"

namespace temper::tiny {
namespace {

std::vector<std::string> WordsOf(std::string_view text) {
  std::vector<std::string> words(1);
  for (const char c : text) {
    if (!absl::ascii_isspace(c)) {
      words.back() += c;
    } else if (!words.back().empty()) {
      words.emplace_back();
    }
  }
  if (words.back().empty()) words.pop_back();
  return words;
}

std::optional<int> Digit(std::string_view word) {
  if (word.size() != 1 || !absl::ascii_isdigit(word[0])) return std::nullopt;
  return word[0] - '0';
}

// "Q 7 a -3 b *2 ? <think>", the tag or not.
std::optional<Problem> ParseProblem(std::string_view text) {
  std::vector<std::string> words = WordsOf(text.substr(0, 1024));
  if (!words.empty() && words.back() == "<think>") words.pop_back();
  if (words.size() < 5 || words.size() % 2 == 0 || words[0] != "Q" || words.back() != "?")
    return std::nullopt;
  Problem problem;
  if (words[1] != "x") {
    const std::optional<int> start = Digit(words[1]);
    if (!start) return std::nullopt;
    problem.start = *start;
  }
  for (size_t i = 2; i + 1 < words.size(); i += 2) {
    const std::string& by = words[i + 1];
    if (words[i] != std::string(1, static_cast<char>('a' + problem.operations.size())) || words[i] > "z") {
      return std::nullopt;
    }
    if (by.size() != 2 || !IsOneOf(by[0], "+-*")) return std::nullopt;
    if (by[1] < '1' || by[1] > '9') return std::nullopt;
    problem.operations.push_back({by[0], by[1] - '0'});
  }
  return problem;
}

std::string_view TrimSpace(std::string_view text) {
  while (!text.empty() && absl::ascii_isspace(text.front())) text.remove_prefix(1);
  while (!text.empty() && absl::ascii_isspace(text.back())) text.remove_suffix(1);
  return text;
}

bool IsRight(const Problem& problem, int digit) {
  return problem.is_find_x() ? ChainEnd(problem, digit) == 0 : ChainEnd(problem, problem.start) == digit;
}

}  // namespace

Split SplitOf(std::string_view problem) {
  std::string operations;
  const std::vector<std::string> words = WordsOf(problem);
  for (size_t i = 1; i < words.size(); ++i) absl::StrAppend(&operations, " ", words[i]);
  return RandomKey(0, "tiny split", 0, operations) % 8 == 0 ? Split::kHeldOut : Split::kTrain;
}

Prompt MakeProblem(uint64_t key, int64_t index, const ProblemOptions& options, Split split) {
  const char* side = split == Split::kTrain ? "train" : "held out";
  RandomStream random(RandomKey(key, "tiny problem", static_cast<uint64_t>(index), side), Purpose::kTask);
  const Problem problem = DrawProblem(random, options, split);
  Prompt prompt;
  prompt.id = ContentOf(problem);
  prompt.text = PromptTextOf(problem);
  prompt.answer = absl::StrCat(AnswerOf(problem));
  prompt.task = problem.is_find_x() ? "find_x" : "chain";
  return prompt;
}

bool IsCorrect(const Prompt& prompt, std::string_view answer) {
  const std::optional<Problem> problem = ParseProblem(prompt.text);
  const std::optional<int> digit = Digit(TrimSpace(answer));
  return problem && digit && ProblemFault(prompt).empty() && IsRight(*problem, *digit);
}

std::string ProblemFault(const Prompt& prompt) {
  const std::optional<Problem> problem = ParseProblem(prompt.text);
  if (!problem || problem->is_find_x() != (prompt.task == "find_x")) {
    return absl::StrCat("its prompt is no ", prompt.task, " problem: ", Printable(prompt.text, 60));
  }
  const std::optional<int> digit = Digit(TrimSpace(prompt.answer));
  if (digit && IsRight(*problem, *digit)) return "";
  return absl::StrCat("its reference answer is not right: ", Printable(prompt.answer, 60));
}

std::string WhyWrong(const Prompt& prompt, std::string_view answer) {
  const std::optional<Problem> problem = ParseProblem(prompt.text);
  const std::optional<int> digit = Digit(TrimSpace(answer));
  if (problem && problem->is_find_x() && digit) {
    return absl::StrCat("with x = ", *digit, " the chain ends in ", ChainEnd(*problem, *digit), ", not 0");
  }
  if (problem && problem->is_find_x()) return absl::StrCat(Printable(answer, 60), " is not one digit");
  return absl::StrCat(Printable(answer, 60), " is not ", Printable(prompt.answer, 60));
}

std::vector<std::string> Words() {
  std::vector<std::string> words;
  for (char c = '0'; c <= '9'; ++c) words.emplace_back(1, c);
  for (char c = 'a'; c <= 'z'; ++c) words.emplace_back(1, c);
  for (const char sign : {'+', '-', '*'}) {
    for (char by = '1'; by <= '9'; ++by) words.push_back({sign, by});
  }
  for (const char* word : {"Q", "?", ".", "=", "wait", "ok", "check", "again", "no", "so", "等", "好",
                           "<think>", "</think>", "<answer>", "</answer>"}) {
    words.emplace_back(word);
  }
  words.insert(words.end(), std::begin(kFillers), std::end(kFillers));
  return words;
}

}  // namespace temper::tiny
