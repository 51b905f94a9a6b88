// SPDX-License-Identifier: Apache-2.0
#include "rewards/math/number.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "core/one_of.h"
#include "rewards/completion/tags.h"
#include "rewards/math/algebra/exact.h"
#include "rewards/math/expression.h"
#include "rewards/math/latex/latex.h"

namespace temper::math {
namespace {

// Units that two numbers must agree on: a name and other spellings of each, without a plural's s and spaces.
constexpr std::string_view kUnits =
    "dollar usd,cent,euro €,pound lb £,yen ¥,rupee ₹,unit,degree,km kilometer kilometre,m meter metre,"
    "cm centimeter centimetre,mm millimeter,mile mi,foot feet ft,inch in inche,yard yd,hour h hr,minute min,"
    "second sec s,day,week,month,year,kg kilogram,g gram,ounce oz,liter litre l,mph,km/h kph,m/s m/sec,"
    "ft/s ft/sec,m^2 squaremeter squaremetre sqm,cm^2 squarecentimeter sqcm,cm^3 cubiccentimeter,m^3 "
    "cubicmeter,"
    "point";

// The name of the unit that `text` is, whatever its dress; nothing: it is none.
std::optional<std::string> UnitName(std::string_view text) {
  std::string spelling = absl::AsciiStrToLower(std::string(text));
  constexpr std::string_view kDress = " {}()\\,.*$";
  std::erase_if(spelling, [&](char c) { return kDress.find(c) != kDress.npos; });
  for (std::string_view units = kUnits; !units.empty();) {
    std::string_view names = TakePart(&units, ',');
    const std::string_view unit = names.substr(0, names.find(' '));
    while (!names.empty()) {
      const std::string name(TakePart(&names, ' '));
      if (spelling == name || spelling == name + "s") return std::string(unit);
    }
  }
  return std::nullopt;
}

// The unit that is written in a text that is a number; empty: none; nothing: words that are no unit.
std::optional<std::string> UnitOf(std::string_view text) {
  for (const std::string_view sign : {"€", "£", "¥", "₹"}) {
    if (text.find(sign) != text.npos) return UnitName(sign);
  }
  const bool formula = text.find("\\$") == text.npos && std::ranges::count(text, '$') % 2 == 0;  // $5$
  if (!formula) return "dollar";
  if (text.find("°") != text.npos || text.find("\\circ") != text.npos) return "degree";
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\') {
      while (i + 1 < text.size() && absl::ascii_isalpha(text[i + 1])) ++i;
    } else if (absl::ascii_isalpha(text[i])) {
      const bool power_of_ten =
          i + 1 < text.size() && !absl::ascii_isalpha(text[i + 1]) && IsOneOf(text[i], "eEx");
      if (power_of_ten) continue;
      const bool remark = i > 0 && text[i - 1] == '(' && text.ends_with(')');  // 9 (apples)
      return remark ? "" : UnitName(text.substr(i));
    }
  }
  return "";
}

// A decimal number, perhaps with signs.
bool IsDecimal(const Expression& x) {
  if (x.kind != Kind::kMultiply) return x.kind == Kind::kNumber;
  return x.args.size() == 2 && IsMinusOne(x.args[0]) && IsDecimal(x.args[1]);
}

// 1/b, or 10^n where n is whole.
bool IsScale(const Expression& x) {
  if (x.kind != Kind::kPower) return false;
  return IsMinusOne(x.args[1]) ? IsDecimal(x.args[0])
                               : IsWhole(x.args[0]) && x.args[0].name == "10" && IsDecimal(x.args[1]);
}

bool IsWritten(const Expression& x) {
  switch (x.kind) {
    case Kind::kNumber:
      return true;
    case Kind::kPercent:
      return x.args[0].kind != Kind::kPercent && IsWritten(x.args[0]);
    case Kind::kAdd: {  // 2 1/2: only a proper fraction is a part of a mixed number
      const Expression &whole = x.args[0], &part = x.args[1];
      if (x.args.size() != 2 || !IsWhole(whole) || part.kind != Kind::kMultiply || part.args.size() != 2)
        return false;
      return IsWhole(part.args[0]) && part.args[1].kind == Kind::kPower && IsWhole(part.args[1].args[0]) &&
             EvaluateExact(part).value < Rational(1);
    }
    case Kind::kMultiply:
      if (IsMinusOne(x.args[0])) {
        Expression rest = x;
        rest.args.erase(rest.args.begin());
        if (rest.args.size() > 1) return IsWritten(rest);
        return IsWritten(rest.args[0]) ||
               (IsScale(rest.args[0]) && IsMinusOne(rest.args[0].args[1]));  // -1/2
      }
      return x.args.size() == 2 && IsDecimal(x.args[0]) && IsScale(x.args[1]);
    default:
      return false;
  }
}

bool IsPercent(const Expression& x) {
  return x.kind == Kind::kPercent || (x.kind == Kind::kMultiply && IsPercent(x.args.back()));
}

}  // namespace

std::optional<Number> ParseNumber(std::string_view text) {
  FreeFlintAtThreadEnd();
  const auto tree = ParseLatex(text, {.letters_are_units = true, .known_words = ""});
  if (!tree.ok() || !IsWritten(*tree) || text.find(':') != text.npos) return std::nullopt;
  if (tree->kind == Kind::kAdd && text.find('+') != text.npos) return std::nullopt;
  Exact exact = EvaluateExact(*tree);
  if (exact.existence != Existence::kValue) return std::nullopt;
  const bool percent = IsPercent(*tree);
  std::optional<std::string> unit = percent ? "" : UnitOf(text);
  if (!unit) return std::nullopt;
  return Number{std::move(exact.value), percent, *std::move(unit)};
}

bool SameNumber(const Number& a, const Number& b) {
  if (!a.unit.empty() && !b.unit.empty() && a.unit != b.unit) return false;
  if (a.value == b.value) return true;
  if (a.percent == b.percent) return false;
  const Number &percent = a.percent ? a : b, &bare = a.percent ? b : a;
  const bool beyond_one = Rational(1) < bare.value || bare.value < Rational(-1);
  return bare.unit.empty() && beyond_one && bare.value == percent.value * Rational(100);
}

}  // namespace temper::math
