// SPDX-License-Identifier: Apache-2.0
// Words, and letters that a formula made of them: \text{odd} is o d d. Times of day.
#include <algorithm>
#include <cstdlib>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "rewards/math/equal/parts.h"

namespace temper::math {
namespace {

// The letters of a text, a symbol, e, i, or a product of such; empty: it is none.
std::string Letters(const Expression& x) {
  if (x.kind == Kind::kText || x.kind == Kind::kSymbol) return x.name;
  if (x.kind == Kind::kConstant && x.name != "pi" && x.name != "oo") return x.name;  // e, i, true, false
  if (x.kind != Kind::kMultiply) return "";
  std::string letters;
  for (const Expression& arg : x.args) {
    const std::string part = Letters(arg);
    if (part.size() != 1 || arg.kind == Kind::kMultiply) return "";
    letters += part;
  }
  return letters;
}

std::string Folded(std::string letters) {
  const size_t stem = std::min(letters.find('_'), letters.size());
  if (stem == 1 && letters.size() > 1) return letters;  // x_A is not x_a
  if (letters.size() > 1) absl::AsciiStrToLower(&letters);
  letters.erase(std::remove(letters.begin(), letters.end(), ' '), letters.end());
  if (letters.starts_with("no") && letters.ends_with("solutions")) letters.pop_back();
  return letters;
}

bool IsWord(const Expression& x) {
  return x.kind == Kind::kText || (x.kind == Kind::kSymbol && SymbolKey(x.name) != x.name) ||
         (x.kind == Kind::kSymbol && x.name.size() > 1);
}

bool IsE(const Expression& x) {
  const bool named = x.kind == Kind::kConstant ? x.name == "e" : x.kind == Kind::kSymbol;
  return named && (x.name == "e" || x.name == "E");
}

struct Time {
  int hour = 0, minute = 0;
  bool half = false;  // whether AM or PM is said
};

bool IsTime(const Expression& x) {
  return x.kind == Kind::kFunction && (x.name == "time" || x.name == "clock");
}

// Also of 3:30, which was read as a quotient.
std::optional<Time> ReadClock(const Expression& x) {
  if (IsTime(x) && x.args.size() == 2)
    return Time{std::atoi(x.args[0].name.c_str()), std::atoi(x.args[1].name.c_str()), x.name == "time"};
  if (x.kind != Kind::kMultiply || x.args.size() != 2 || x.args[1].kind != Kind::kPower) return std::nullopt;
  const Expression &hour = x.args[0], &minute = x.args[1].args[0];
  if (!IsMinusOne(x.args[1].args[1]) || hour.kind != Kind::kNumber || minute.kind != Kind::kNumber)
    return std::nullopt;
  if (hour.name.size() > 2 || minute.name.size() != 2 || minute.name > "59") return std::nullopt;
  return Time{std::atoi(hour.name.c_str()), std::atoi(minute.name.c_str())};
}

}  // namespace

Decision CompareNames(const Expression& gold, const Expression& answer) {
  if (IsE(gold) && IsE(answer)) return Yes("the same letter");
  const bool text = gold.kind == Kind::kText || answer.kind == Kind::kText;
  if (!text && !IsWord(gold) && !IsWord(answer)) return Unknown("");
  if (gold.kind == Kind::kSymbol && answer.kind == Kind::kSymbol) {
    return SymbolKey(gold.name) == SymbolKey(answer.name) ? Yes("the same symbol") : No("another symbol");
  }
  const std::string a = Letters(gold), b = Letters(answer);
  if (!a.empty() && !b.empty() && Folded(a) == Folded(b)) return Yes("the same word");
  if (text) return No("another word");
  return Unknown("");
}

Decision CompareTimes(const Expression& gold, const Expression& answer) {
  if (!IsTime(gold) && !IsTime(answer)) return Unknown("");
  const std::optional<Time> a = ReadClock(gold), b = ReadClock(answer);
  if (!a || !b) return No("a time and something else");
  // Where the reference does not say which half of the day, the answer may.
  const int hours = !a->half && a->hour > 0 && a->hour <= 12 && b->half ? 12 : 24;
  const bool same = a->minute == b->minute && a->hour % hours == b->hour % hours;
  return same ? Yes("the same time") : No("another time");
}

}  // namespace temper::math
