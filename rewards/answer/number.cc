// SPDX-License-Identifier: Apache-2.0
#include "rewards/answer/number.h"

#include <algorithm>
#include <numeric>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "rewards/answer/plain_math.h"
#include "rewards/completion/tags.h"

namespace temper {
namespace {

using Limbs = std::vector<uint32_t>;
constexpr uint32_t kBase = 1000000000;
constexpr size_t kMaxDigits = 1000;
constexpr int kMaxExponent = 400;

Limbs FromDigits(std::string_view digits) {
  Limbs limbs;
  for (size_t end = digits.size(); end > 0; end -= std::min<size_t>(9, end)) {
    uint32_t limb = 0;
    for (size_t i = end - std::min<size_t>(9, end); i < end; ++i) limb = limb * 10 + (digits[i] - '0');
    limbs.push_back(limb);
  }
  while (!limbs.empty() && limbs.back() == 0) limbs.pop_back();
  return limbs;
}

Limbs Multiply(const Limbs& a, const Limbs& b) {
  Limbs product(a.size() + b.size(), 0);
  for (size_t i = 0; i < a.size(); ++i) {
    uint64_t carry = 0;
    for (size_t j = 0; j < b.size() || carry > 0; ++j) {
      const uint64_t sum = product[i + j] + carry + (j < b.size() ? uint64_t{a[i]} * b[j] : 0);
      product[i + j] = sum % kBase;
      carry = sum / kBase;
    }
  }
  while (!product.empty() && product.back() == 0) product.pop_back();
  return product;
}

Limbs Add(const Limbs& a, const Limbs& b) {
  Limbs sum;
  uint32_t carry = 0;
  for (size_t i = 0; i < std::max(a.size(), b.size()) || carry > 0; ++i) {
    const uint32_t limb = carry + (i < a.size() ? a[i] : 0) + (i < b.size() ? b[i] : 0);
    sum.push_back(limb % kBase);
    carry = limb / kBase;
  }
  return sum;
}

bool Less(const Limbs& a, const Limbs& b) {
  if (a.size() != b.size()) return a.size() < b.size();
  return std::lexicographical_compare(a.rbegin(), a.rend(), b.rbegin(), b.rend());
}

Limbs PowerOfTen(int exponent) { return FromDigits(absl::StrCat("1", std::string(exponent, '0'))); }

// Units that may follow a number, by their spellings without a plural s; what is not here (million, pi, x)
// makes the text no number.
struct Unit {
  std::string_view name;
  std::initializer_list<std::string_view> spellings;
};
const Unit kUnits[] = {{"dollar", {"usd"}},
                       {"cent", {}},
                       {"euro", {}},
                       {"pound", {"lb"}},
                       {"unit", {}},
                       {"degree", {}},
                       {"km", {"kilometer", "kilometre"}},
                       {"m", {"meter", "metre"}},
                       {"cm", {"centimeter", "centimetre"}},
                       {"mm", {"millimeter"}},
                       {"mile", {"mi"}},
                       {"foot", {"feet", "ft"}},
                       {"inch", {"in", "inche"}},
                       {"yard", {"yd"}},
                       {"hour", {"h", "hr"}},
                       {"minute", {"min"}},
                       {"second", {"sec", "s"}},
                       {"day", {}},
                       {"week", {}},
                       {"month", {}},
                       {"year", {}},
                       {"kg", {"kilogram"}},
                       {"g", {"gram"}},
                       {"ounce", {"oz"}},
                       {"liter", {"litre", "l"}},
                       {"mph", {}},
                       {"km/h", {"kph"}},
                       {"m/s", {"m/sec"}},
                       {"ft/s", {"ft/sec"}},
                       {"m^2", {"m^{2}", "square meter", "square metre", "sq m"}},
                       {"cm^2", {"cm^{2}", "square centimeter", "sq cm"}},
                       {"cm^3", {"cm^{3}", "cubic centimeter"}},
                       {"m^3", {"m^{3}", "cubic meter"}},
                       {"point", {}}};

// Its name; empty: it is none.
std::string UnitName(std::string_view text) {
  std::string spelling = absl::AsciiStrToLower(std::string(Trim(text)));
  spelling.erase(std::remove(spelling.begin(), spelling.end(), '$'), spelling.end());
  const std::string_view whole = Trim(spelling);
  const std::string_view stem =
      whole.ends_with('s') && whole.size() > 1 ? whole.substr(0, whole.size() - 1) : whole;
  for (const Unit& unit : kUnits) {
    for (const std::string_view candidate : {whole, stem}) {
      if (candidate == unit.name ||
          std::find(unit.spellings.begin(), unit.spellings.end(), candidate) != unit.spellings.end())
        return std::string(unit.name);
    }
  }
  return "";
}

// (apples) behind a number.
bool IsRemark(std::string_view text) {
  text = Trim(text);
  return text.size() > 4 && text.starts_with('(') && text.ends_with(')') &&
         std::all_of(text.begin() + 1, text.end() - 1,
                     [](char c) { return absl::ascii_isalpha(c) || c == ' '; });
}

class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  std::optional<Number> Read() {
    Number number;
    Spaces();
    for (const std::string_view about : {"\\approx", "\u2248", "="}) {
      if (Take(about)) Spaces();
    }
    bool signed_already = Sign(&number.negative);
    if (Currency(&number.unit)) {
      Spaces();
      if (!signed_already) Sign(&number.negative);
    }
    if (!Magnitude(&number)) return std::nullopt;
    Spaces();
    if (Take("%") || Take("percent")) {
      number.percent = true;
      number.denominator = Multiply(number.denominator, PowerOfTen(2));
      Spaces();
    } else if (!Done()) {
      const std::string_view rest = text_.substr(at_);
      const std::string unit = UnitName(rest);
      std::string sign;
      if (!unit.empty() && number.unit.empty()) {
        number.unit = unit;
        at_ = text_.size();
      } else if (IsRemark(rest)) {
        at_ = text_.size();
      } else if (number.unit.empty() && Currency(&sign)) {
        number.unit = sign;
        Spaces();
      }
    }
    if (!Done()) return std::nullopt;
    return number;
  }

 private:
  bool Done() const { return at_ >= text_.size(); }
  char Peek(size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }
  bool Take(std::string_view word) {
    if (!text_.substr(at_).starts_with(word)) return false;
    at_ += word.size();
    return true;
  }
  void Spaces() {
    while (Peek() == ' ') ++at_;
  }
  bool Sign(bool* negative) {
    if (Peek() != '-' && Peek() != '+') return false;
    *negative = Peek() == '-';
    ++at_;
    Spaces();
    return true;
  }
  bool Currency(std::string* unit) {
    static constexpr struct {
      const char* sign;
      const char* unit;
    } kSigns[] = {{"$", "dollars"}, {"€", "euros"}, {"£", "pounds"}, {"¥", "yen"}, {"₹", "rupees"}};
    for (const auto& [sign, name] : kSigns) {
      if (Take(sign)) return *unit = name, true;
    }
    return false;
  }

  // digits, perhaps grouped, perhaps with a fraction and an exponent.
  bool Decimal(Limbs* numerator, Limbs* denominator, bool* whole, bool* spaced) {
    std::string digits;
    while (absl::ascii_isdigit(Peek()) && digits.size() <= kMaxDigits) digits += text_[at_++];
    const auto group_follows = [&](char separator) {
      return Peek() == separator && absl::ascii_isdigit(Peek(1)) && absl::ascii_isdigit(Peek(2)) &&
             absl::ascii_isdigit(Peek(3)) && !absl::ascii_isdigit(Peek(4));
    };
    const char separator = Peek();
    if ((separator == ',' || separator == ' ') && !digits.empty() && digits.size() <= 3 && digits[0] != '0') {
      while (group_follows(separator) && digits.size() <= kMaxDigits) {
        digits.append(text_.substr(at_ + 1, 3));
        at_ += 4;
        *spaced |= separator == ' ';
      }
    }
    size_t decimals = 0;
    if (Peek() == '.' && (absl::ascii_isdigit(Peek(1)) || !digits.empty())) {
      for (++at_; absl::ascii_isdigit(Peek()) && digits.size() <= kMaxDigits; ++decimals)
        digits += text_[at_++];
      *whole = *whole && decimals == 0;
    }
    if (digits.empty() || digits.size() > kMaxDigits || absl::ascii_isdigit(Peek())) return false;
    *numerator = FromDigits(digits);
    *denominator = PowerOfTen(static_cast<int>(decimals));
    return Exponent(numerator, denominator, whole);
  }

  bool Exponent(Limbs* numerator, Limbs* denominator, bool* whole) {
    const size_t begin = at_;
    bool braces = false;
    if ((Peek() == 'e' || Peek() == 'E') &&
        (absl::ascii_isdigit(Peek(1)) ||
         ((Peek(1) == '-' || Peek(1) == '+') && absl::ascii_isdigit(Peek(2))))) {
      ++at_;
    } else {
      Spaces();
      if (!Take("\\times") && !Take("\\cdot") && !Take("×") && !Take("*") && !Take("x"))
        return at_ = begin, true;
      Spaces();
      if (!Take("10^")) return false;
      braces = Take("{");
    }
    bool negative = false;
    Sign(&negative);
    int exponent = 0;
    const size_t first = at_;
    for (; absl::ascii_isdigit(Peek()); ++at_)
      exponent = std::min(exponent * 10 + (Peek() - '0'), kMaxExponent + 1);
    if (at_ == first || exponent > kMaxExponent || (braces && !Take("}"))) return false;
    *whole = false;
    Limbs* side = negative ? denominator : numerator;
    *side = Multiply(*side, PowerOfTen(exponent));
    return true;
  }

  // {a} or one digit.
  bool Part(bool* negative, Limbs* numerator, Limbs* denominator) {
    Spaces();
    if (!Take("{")) {
      if (!absl::ascii_isdigit(Peek())) return false;
      *numerator = FromDigits(text_.substr(at_++, 1));
      *denominator = PowerOfTen(0);
      return true;
    }
    bool whole = true, spaced = false, minus = false;
    Spaces();
    Sign(&minus);
    *negative ^= minus;
    if (!Decimal(numerator, denominator, &whole, &spaced)) return false;
    Spaces();
    return Take("}");
  }

  bool Fraction(Number* number) {
    Limbs top, top_scale, bottom, bottom_scale;
    if (!Take("\\frac") || !Part(&number->negative, &top, &top_scale) ||
        !Part(&number->negative, &bottom, &bottom_scale) || bottom.empty()) {
      return false;
    }
    number->numerator = Multiply(top, bottom_scale);
    number->denominator = Multiply(bottom, top_scale);
    return true;
  }

  bool Magnitude(Number* number) {
    if (text_.substr(at_).starts_with("\\frac")) return Fraction(number);
    bool whole = true, spaced = false;
    if (!Decimal(&number->numerator, &number->denominator, &whole, &spaced)) return false;
    const size_t after = at_;
    Spaces();
    if (Peek() == '/') return !spaced && Over(number);
    if (whole && !spaced && text_.substr(at_).starts_with("\\frac")) {
      Number part;
      return Fraction(&part) && !part.negative && Mix(part, number);
    }
    if (whole && !spaced && at_ > after && absl::ascii_isdigit(Peek())) {
      Number part;
      bool part_whole = true, part_spaced = false;
      return Decimal(&part.numerator, &part.denominator, &part_whole, &part_spaced) && part_whole &&
             !part_spaced && Peek() == '/' && Over(&part) && Mix(part, number);
    }
    at_ = after;
    return true;
  }

  bool Over(Number* number) {
    Limbs bottom, scale;
    bool whole = true, spaced = false;
    ++at_;
    Spaces();
    if (!Decimal(&bottom, &scale, &whole, &spaced) || spaced || bottom.empty()) return false;
    Spaces();
    if (Peek() == '/') return false;
    number->numerator = Multiply(number->numerator, scale);
    number->denominator = Multiply(number->denominator, bottom);
    return true;
  }

  // 2 1/2: only a proper fraction is a part of a mixed number.
  static bool Mix(const Number& part, Number* number) {
    if (!Less(part.numerator, part.denominator)) return false;
    number->numerator = Add(Multiply(number->numerator, part.denominator), part.numerator);
    number->denominator = part.denominator;
    return true;
  }

  const std::string_view text_;
  size_t at_ = 0;
};

bool SameValue(const Number& a, const Number& b, int scale_b = 0) {
  const Limbs left = Multiply(a.numerator, b.denominator);
  const Limbs right = Multiply(Multiply(b.numerator, a.denominator), PowerOfTen(scale_b));
  return left == right && (left.empty() || a.negative == b.negative);
}

bool SameUnit(const std::string& a, const std::string& b) {
  const auto name = [](const std::string& unit) {
    std::string known = UnitName(unit);
    return known.empty() ? unit : known;
  };
  return a.empty() || b.empty() || name(a) == name(b);
}

}  // namespace

std::optional<Number> ParseNumber(std::string_view text) {
  if (text.size() > 4 * kMaxDigits) return std::nullopt;
  return Reader(PlainMath(text)).Read();
}

bool SameNumber(const Number& a, const Number& b) {
  if (!SameUnit(a.unit, b.unit)) return false;
  if (SameValue(a, b)) return true;
  if (a.percent == b.percent) return false;
  const Number& percent = a.percent ? a : b;
  const Number& bare = a.percent ? b : a;
  return bare.unit.empty() && Less(bare.denominator, bare.numerator) && SameValue(bare, percent, 2);
}

std::string NumberKey(const Number& number) {
  if (number.numerator.empty()) return "0";
  const auto spell = [](const Limbs& limbs) {
    std::string digits = absl::StrCat(limbs.back());
    for (size_t i = limbs.size() - 1; i-- > 0;) absl::StrAppend(&digits, absl::StrFormat("%09d", limbs[i]));
    return digits;
  };
  std::string top = spell(number.numerator), bottom = spell(number.denominator);
  while (top.size() > 1 && bottom.size() > 1 && top.back() == '0' && bottom.back() == '0') {
    top.pop_back();
    bottom.pop_back();
  }
  if (top.size() <= 18 && bottom.size() <= 18) {
    const uint64_t a = std::stoull(top), b = std::stoull(bottom), divisor = std::gcd(a, b);
    top = absl::StrCat(a / divisor);
    bottom = absl::StrCat(b / divisor);
  }
  return absl::StrCat(number.negative ? "-" : "", top, bottom == "1" ? "" : absl::StrCat("/", bottom));
}

}  // namespace temper
