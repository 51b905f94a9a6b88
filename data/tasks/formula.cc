// SPDX-License-Identifier: Apache-2.0
#include "data/tasks/formula.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/check.h"
#include "core/one_of.h"

namespace temper::procedural {
namespace {

constexpr size_t kMaxWords = 64, kMaxNames = 32;
constexpr std::string_view kWords[] = {"", "not", "and", "or", "implies", "iff"};  // by -Operation

int IndexOf(std::string_view word, const std::vector<std::string>& names) {
  for (size_t i = 0; i < names.size(); ++i) {
    if (absl::EqualsIgnoreCase(names[i], absl::string_view(word.data(), word.size())))
      return static_cast<int>(i);
  }
  return -1;
}

}  // namespace

std::optional<Formula> Formula::Read(std::string_view prefix, const std::vector<std::string>& names) {
  if (names.size() > kMaxNames || prefix.size() > 4096) return std::nullopt;
  Formula formula;
  int open = 1;  // operands that are still to come
  for (const std::string& word :
       std::vector<std::string>(absl::StrSplit(absl::string_view(prefix.data(), prefix.size()), ' '))) {
    if (open == 0 || formula.code_.size() == kMaxWords) return std::nullopt;
    const auto* const operation = std::find(std::begin(kWords) + 1, std::end(kWords), word);
    const int code = operation != std::end(kWords) ? -static_cast<int>(operation - std::begin(kWords))
                                                   : IndexOf(word, names);
    if (operation == std::end(kWords) && code < 0) return std::nullopt;
    open += code >= 0 ? -1 : code == kNot ? 0 : 1;
    formula.code_.push_back(code);
  }
  return open == 0 ? std::optional(std::move(formula)) : std::nullopt;
}

Formula Formula::Draw(RandomStream& random, int names, int literals) {
  std::vector<int> order(names);
  for (int i = 0; i < names; ++i) order[i] = i;
  for (int i = names; i > 1; --i) std::swap(order[i - 1], order[random.NextBelow(i)]);
  Formula formula;
  int next = 0;
  const auto part = [&](const auto& self, int size) -> void {
    if (size == 1) {
      if (random.NextBelow(2) == 0) formula.code_.push_back(kNot);
      formula.code_.push_back(order[next++ % names]);
      return;
    }
    constexpr Operation kJoins[] = {kAnd, kOr, kImplies, kIff};
    formula.code_.push_back(kJoins[random.NextBelow(4)]);
    const int left = 1 + static_cast<int>(random.NextBelow(size - 1));
    self(self, left);
    self(self, size - left);
  };
  part(part, literals);
  return formula;
}

bool Formula::Holds(uint32_t truths) const {
  // From the back, prefix form is evaluated with a stack: the last 64 values as bits.
  uint64_t stack = 0;
  for (size_t i = code_.size(); i-- > 0;) {
    const int code = code_[i];
    const uint64_t left = stack & 1, right = (stack >> 1) & 1;
    if (code >= 0) {
      stack = (stack << 1) | ((truths >> code) & 1);
    } else if (code == kNot) {
      stack ^= 1;
    } else {
      const uint64_t value = code == kAnd       ? left & right
                             : code == kOr      ? left | right
                             : code == kImplies ? (left ^ 1) | right
                                                : (left ^ right) ^ 1;
      stack = ((stack >> 2) << 1) | value;
    }
  }
  return (stack & 1) != 0;
}

std::string Formula::Prefix(const std::vector<std::string>& names) const {
  std::string text;
  for (const int code : code_) {
    absl::StrAppend(&text, text.empty() ? "" : " ", code >= 0 ? names[code] : std::string(kWords[-code]));
  }
  return text;
}

std::string Formula::Words(const std::function<std::string(int, bool)>& literal) const {
  size_t at = 0;
  const auto part = [&](const auto& self, bool inside) -> std::string {
    const int code = code_[at++];
    if (code >= 0) return literal(code, true);
    if (code == kNot) {
      if (code_[at] >= 0) return literal(code_[at++], false);
      return absl::StrCat("it is not so that ", self(self, true));
    }
    const std::string left = self(self, true), right = self(self, true);
    const std::string text = code == kAnd       ? absl::StrCat(left, " and ", right)
                             : code == kOr      ? absl::StrCat(left, " or ", right)
                             : code == kImplies ? absl::StrCat("if ", left, " then ", right)
                                                : absl::StrCat(left, " if and only if ", right);
    return inside ? absl::StrCat("(", text, ")") : text;
  };
  return part(part, false);
}

std::optional<uint32_t> ReadTruths(std::string_view text, const std::vector<std::string>& names,
                                   std::string_view yes, std::string_view no) {
  if (names.empty() || names.size() > kMaxNames || text.size() > 4096) return std::nullopt;
  uint32_t truths = 0, seen = 0;
  int name = -1;
  for (const absl::string_view word :
       absl::StrSplit(absl::string_view(text.data(), text.size()), absl::ByAnyChar(" \t\r\n,.;:=()[]{}*\"'"),
                      absl::SkipEmpty())) {
    const std::string lower = absl::AsciiStrToLower(word);
    if (lower == yes || lower == no) {
      if (name < 0) return std::nullopt;
      const uint32_t bit = uint32_t{1} << name;
      if ((seen & bit) != 0) return std::nullopt;
      seen |= bit;
      if (lower == yes) truths |= bit;
      name = -1;
    } else if (const int index = IndexOf(lower, names); index >= 0 && name < 0) {
      name = index;
    } else if (!IsOneOf(lower, {"is", "and", "a"})) {
      return std::nullopt;
    }
  }
  const uint32_t all = names.size() == 32 ? ~uint32_t{0} : (uint32_t{1} << names.size()) - 1;
  return name < 0 && seen == all ? std::optional(truths) : std::nullopt;
}

}  // namespace temper::procedural
