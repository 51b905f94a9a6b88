// SPDX-License-Identifier: Apache-2.0
// Words, and letters that a formula made of them: \text{odd} is o d d.
#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "rewards/math/equal/parts.h"

namespace temper::math {
namespace {

using Kind = ExpressionKind;

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

}  // namespace temper::math
