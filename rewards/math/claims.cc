// SPDX-License-Identifier: Apache-2.0
#include "rewards/math/claims.h"

#include <algorithm>
#include <string>

#include "absl/strings/ascii.h"
#include "core/one_of.h"
#include "rewards/math/latex/quantity_words.h"
#include "rewards/math/prose.h"

namespace temper::math {
namespace {

constexpr size_t kClause = 200;  // bytes of a clause that are read

std::string Lower(std::string_view text) { return absl::AsciiStrToLower(std::string(text)); }

// Of the words of a clause, which stand between spaces and marks.
bool HasWord(std::string_view clause, std::initializer_list<std::string_view> words) {
  for (const std::string_view word : words) {
    for (size_t at = clause.find(word); at != clause.npos; at = clause.find(word, at + 1)) {
      const size_t end = at + word.size();
      const bool left = at == 0 || !absl::ascii_isalpha(clause[at - 1]) || word.starts_with("n't") ||
                        word.starts_with("n\u2019t");
      if (left && (end == clause.size() || !absl::ascii_isalpha(clause[end]))) return true;
    }
  }
  return false;
}

// Whether what follows "actually", "wait" or "hmm" gives another answer or says that it was none, and is no
// remark: "Actually, it is 9", "Hmm, no", not "Hmm, nice problem".
bool Withdraws(std::string_view lower, size_t at) {
  std::string_view rest = lower.substr(at, 80);
  while (!rest.empty() && IsOneOf(rest[0], " ,.:;!-")) rest.remove_prefix(1);
  if (rest.empty()) return false;
  if (absl::ascii_isdigit(rest[0]) || rest[0] == '$' || rest[0] == '\\') {
    const size_t word = rest.find_first_not_of("0123456789.,$ ");
    return word == rest.npos || !rest.substr(word).starts_with("is ") || rest.find(" wrong") != rest.npos ||
           rest.find(" not ") != rest.npos;
  }
  for (const std::string_view other :
       {"it is",    "it's",  "it should", "it must", "answer", "that is", "that's",    "that was",
        "wrong",    "right", "mistake",   "error",   "no",     "not",     "should be", "must be",
        "would be", "i ",    "let me",    "recheck", "let's",  "the "}) {
    const size_t found = rest.find(other);
    if (found != rest.npos && (found == 0 || !absl::ascii_isalpha(rest[found - 1]))) return true;
  }
  return false;
}

}  // namespace

bool IsDenied(std::string_view before) {
  static constexpr std::string_view kDenials[] = {"not",  "never", "cannot", "neither", "nor",
                                                  "no",   "nicht", "kein",   "pas",     "niet",
                                                  "inte", "ikke",  "не",     "não",     "non"};
  static constexpr std::string_view kBetween[] = {"be",    "equal", "equals", "to",  "the", "number",
                                                  "value", "is",    "es",     "est", "ist"};
  const std::string lower = LowerTail(before);
  std::string_view rest = lower;
  for (int words = 0; words < 6; ++words) {
    rest = WithoutTail(rest, " \t\n$*([{\\");
    const std::string_view word = LastWord(rest);
    if (word.ends_with("不是") || word.ends_with("不为") || word.ends_with("不等于")) return true;
    if (word.ends_with("n't") || word.ends_with("n\u2019t") || IsOneOf(word, kDenials)) return true;
    if (!IsOneOf(word, kBetween)) return false;
    rest = rest.substr(0, rest.size() - word.size());
  }
  return false;
}

bool IsDeniedBox(std::string_view before) {
  const std::string lower_before = LowerTail(before);
  // The answer is no: \boxed{\text{No}}
  return IsDenied(before) && LastWord(WithoutTail(lower_before, " \t\n$*([{\\")) != "no";
}

bool IsChanged(std::string_view before) {
  const std::string lower = LowerTail(before);
  std::string_view rest = WithoutTail(lower, " \t\n$*([{");
  if (rest.ends_with("<answer>")) return false;
  for (const std::string_view sign : {"<", ">", "\\ge", "\\geq", "\\le", "\\leq", "\\ne", "\\neq", "\\gt",
                                      "\\lt", "\u2264", "\u2265", "\u2260", "\\sqrt"}) {
    if (rest.ends_with(sign)) return true;
  }
  return MakesAnother(rest);
}

bool IsDoubted(std::string_view before) {
  before = before.substr(before.size() - std::min(before.size(), kClause));
  while (!before.empty() && IsOneOf(before.back(), " :*\t")) before.remove_suffix(1);
  std::string clause = Lower(before);
  for (size_t at = clause.size(); at-- > 0;) {
    const bool point = clause[at] == '.' && at + 1 < clause.size() && absl::ascii_isdigit(clause[at + 1]);
    if (!point && IsOneOf(clause[at], ".!?;,:\n")) {
      clause = clause.substr(at + 1);
      break;
    }
  }
  for (const std::string_view turn : {" so ", " therefore ", " thus ", " hence ", " then ", " but "}) {
    if (const size_t at = clause.rfind(turn); at != clause.npos) clause = clause.substr(at + turn.size());
  }
  // No doubt that the answer is 5; it is not hard to see that it is.
  if (HasWord(clause,
              {"no doubt", "without doubt", "without a doubt", "beyond doubt", "undoubtedly", "no question",
               "not hard", "not difficult", "not surprising", "not a surprise", "why not", "if not",
               "cannot doubt", "can't doubt", "not wrong to", "should not surprise"}))
    return false;
  return HasWord(
      clause,
      {"not",        "n't",       "n\u2019t",    "never",    "cannot",     "doubt",         "doubts",
       "doubtful",   "false",     "wrong",       "wrongly",  "incorrect",  "incorrectly",   "nobody",
       "no one",     "none",      "untrue",      "unlikely", "impossible", "deny",          "denies",
       "denied",     "refute",    "reject",      "rejects",  "disagree",   "disagrees",     "mistaken",
       "mistakenly", "mistake",   "hardly",      "neither",  "nor",        "whether",       "unless",
       "suppose",    "pretend",   "lie",         "absurd",   "ridiculous", "nonsense",      "myth",
       "fallacy",    "few would", "except",      "tempting", "falsely",    "erroneously",   "erroneous",
       "fake",       "unclear",   "contradicts", "disprove", "disproves",  "misconception", "opposite"});
}

std::optional<std::string_view> TakenBack(std::string_view behind, bool strictly) {
  if (behind.find_first_not_of(" \t\n$.}") == behind.npos) return std::nullopt;
  const std::string lower = Lower(behind.substr(0, 4096));
  size_t best = lower.size();
  const auto take = [&](std::string_view phrase, bool at_start) {
    for (size_t at = lower.find(phrase); at < best; at = lower.find(phrase, at + 1)) {
      const size_t end = at + phrase.size();
      if (end < lower.size() && absl::ascii_isalpha(lower[end])) continue;
      if (at > 0 && absl::ascii_isalpha(lower[at - 1])) continue;
      if (lower.compare(end, 4, " to ") == 0) continue;  // it is wrong to forget the first day
      const size_t last = at == 0 ? lower.npos : lower.find_last_not_of(" \t*_\"'(", at - 1);
      const bool starts = last == lower.npos || IsOneOf(lower[last], ".!?\n;$}");
      if (!at_start || starts) best = at;
    }
  };
  static constexpr std::string_view kSubjects[] = {
      "that is",  "that's",         "that was",      "this is",   "it is",          "it's",
      "which is", "which was",      "that can't be", "this was",  "that answer is", "is",
      "was",      "that cannot be", "that seems",    "that looks"};
  for (const std::string_view fault :
       {"wrong", "incorrect", "false", "mistaken", "not right", "not correct", "not the answer", "a mistake",
        "an error", "not true", "right, no", "impossible", "not it", "right? no", "not what"}) {
    if (lower.find(fault) == lower.npos) continue;
    // "is wrong" right behind the answer; elsewhere it may say so of another number.
    for (const std::string_view subject : kSubjects)
      take(std::string(subject) + " " + std::string(fault), subject == "is" || subject == "was");
  }
  for (const std::string_view phrase :
       {// A mistake
        "made a mistake", "made an error", "made a slip", "made an arithmetic error", "made a sign error",
        "my mistake", "my bad", "i was wrong", "i was mistaken", "i misread", "i miscounted",
        "i miscalculated",
        // Taken back
        "scratch that", "strike that", "take that back", "take it back", "disregard that", "ignore that",
        "ignore the above", "disregard the above", "on second thought", "i retract",
        // Corrected
        "i meant", "let me correct", "i should have", "should have been", "correct that to", "correction",
        "i mean"})
    take(phrase, false);
  if (!strictly) {
    for (const std::string_view phrase :
         {"actually", "wait",      "no",      "nope",      "hmm",      "oops",        "sorry",
          "rather",   "apologies", "hold on", "or rather", "but no",   "oh no",       "not so fast",
          "or is it", "edit",      "update",  "whoops",    "well, no", "just kidding"})
      if (const size_t before = best;
          take(phrase, true), best < before && !Withdraws(lower, best + phrase.size()))
        best = before;
  }
  if (best == lower.size()) return std::nullopt;
  return behind.substr(best);
}

}  // namespace temper::math
