// SPDX-License-Identifier: Apache-2.0
#include "rewards/code/compare.h"

#include <flint/fmpz.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "rewards/completion/tags.h"

namespace temper {
namespace {

// Cuts the first line off.
std::string_view TakeLine(std::string_view* text) {
  const size_t end = std::min(text->find('\n'), text->size());
  std::string_view line = text->substr(0, end);
  text->remove_prefix(std::min(end + 1, text->size()));
  return line;
}

std::string_view TakeWord(std::string_view* text) {
  *text = TrimLeft(*text);
  size_t end = 0;
  while (end < text->size() && !absl::ascii_isspace((*text)[end])) ++end;
  const std::string_view word = text->substr(0, end);
  text->remove_prefix(end);
  return word;
}

std::string_view TrimRight(std::string_view text) {
  while (!text.empty() && absl::ascii_isspace(text.back())) text.remove_suffix(1);
  return text;
}

struct Decimal {
  double value = 0;
  bool whole = true;  // neither a point nor an exponent
};

std::optional<Decimal> ReadDecimal(std::string_view word) {
  Decimal decimal;
  size_t at = 0, digits = 0;
  const auto run = [&] {
    const size_t begin = at;
    while (at < word.size() && absl::ascii_isdigit(word[at])) ++at;
    return at - begin;
  };
  const auto sign = [&] { at += at < word.size() && (word[at] == '-' || word[at] == '+'); };
  sign();
  digits = run();
  if (at < word.size() && word[at] == '.') {
    ++at;
    digits += run();
    decimal.whole = false;
  }
  if (digits == 0) return std::nullopt;
  if (at < word.size() && (word[at] == 'e' || word[at] == 'E')) {
    ++at;
    sign();
    if (run() == 0) return std::nullopt;
    decimal.whole = false;
  }
  if (at != word.size() || word.size() > 400) return std::nullopt;
  if (!absl::SimpleAtod(std::string(word), &decimal.value) || !std::isfinite(decimal.value))
    return std::nullopt;
  return decimal;
}

bool Near(double expected, double got, double tolerance) {
  return expected == got || std::fabs(expected - got) <= tolerance * std::max(1.0, std::fabs(expected));
}

bool SameWord(std::string_view expected, std::string_view printed, double tolerance) {
  if (expected == printed) return true;
  if (tolerance <= 0) return false;
  const std::optional<Decimal> number = ReadDecimal(expected);
  if (!number || number->whole) return false;
  const std::optional<Decimal> got = ReadDecimal(printed);
  return got && Near(number->value, got->value, tolerance);
}

bool SameWords(std::string_view expected, std::string_view printed, double tolerance) {
  for (;;) {
    const std::string_view a = TakeWord(&expected), b = TakeWord(&printed);
    if (!SameWord(a, b, tolerance)) return false;
    if (a.empty()) return true;
  }
}

bool SameLine(std::string_view expected, std::string_view printed, double tolerance) {
  expected = TrimRight(expected), printed = TrimRight(printed);
  return expected == printed || (tolerance > 0 && SameWords(expected, printed, tolerance));
}

// The tag of a driver's {"i": ..}, {"f": ..} or {"d": ..}, and what it holds.
const Json* Tagged(const Json& result, const char* tag) {
  return result.is_object() && result.size() == 1 ? Find(result, tag) : nullptr;
}

bool IsNegative(const Json& whole) { return !whole.is_number_unsigned() && whole.get<int64_t>() < 0; }

bool SameWhole(const Json& a, const Json& b) {
  return IsNegative(a) == IsNegative(b) && a.get<uint64_t>() == b.get<uint64_t>();
}

// A whole number of any size.
class Whole {
 public:
  Whole() { fmpz_init(value_); }
  ~Whole() { fmpz_clear(value_); }
  Whole(const Whole&) = delete;
  Whole& operator=(const Whole&) = delete;

  bool Read(const std::string& digits, int base) { return fmpz_set_str(value_, digits.c_str(), base) == 0; }
  void Set(double whole) { fmpz_set_d(value_, whole); }
  double Rounded() const {
    return fmpz_bits(value_) > 1024 ? HUGE_VAL * fmpz_sgn(value_) : fmpz_get_d(value_);
  }
  bool operator==(const Whole& other) const { return fmpz_equal(value_, other.value_) != 0; }

 private:
  fmpz_t value_;
};

// A number of a row or of a driver's, as exactly as it was written.
struct Figure {
  bool is_whole = false;
  Whole whole;       // is_whole
  double value = 0;  // else
};

bool ReadFigure(const Json& json, Figure* figure) {
  if (const Json* big = Tagged(json, "i")) {  // hexadecimal, beyond 64 bits
    figure->is_whole = true;
    return big->is_string() && figure->whole.Read(big->get<std::string>(), 16);
  }
  if (!IsNumber(json)) return false;
  const std::string written = json.is_number_float() ? "" : DumpJson(json);
  figure->is_whole = !written.empty() && written.find_first_of(".eE") == written.npos;
  if (figure->is_whole) return figure->whole.Read(written, 10);
  figure->value = written.empty() ? json.get<double>() : std::strtod(written.c_str(), nullptr);
  return true;
}

// Exactly: 2^53 + 1 is not 2^53, and 25! no double. A number that is expected with a point or an exponent may
// be met within a tolerance.
bool SameNumber(const Json& expected, const Json& result, double tolerance) {
  if (expected.is_number_integer() && result.is_number_integer()) return SameWhole(expected, result);
  Figure want, got;
  if (!ReadFigure(expected, &want) || !ReadFigure(result, &got)) return false;
  if (want.is_whole && got.is_whole) return want.whole == got.whole;
  if (!want.is_whole && !got.is_whole) return Near(want.value, got.value, tolerance);
  const double number = want.is_whole ? got.value : want.value;
  if (!std::isfinite(number)) return false;
  Whole whole;
  whole.Set(std::trunc(number));
  if (std::trunc(number) == number && whole == (want.is_whole ? want.whole : got.whole)) return true;
  return !want.is_whole && tolerance > 0 && Near(want.value, got.whole.Rounded(), tolerance);
}

}  // namespace

bool SameOutput(std::string_view expected, std::string_view printed, const CodeCompare& compare) {
  if (compare.text == CodeCompare::Text::kExact) return expected == printed;
  if (compare.text == CodeCompare::Text::kWords) return SameWords(expected, printed, compare.tolerance);
  expected = TrimRight(expected), printed = TrimRight(printed);
  while (!expected.empty() || !printed.empty()) {
    if (!SameLine(TakeLine(&expected), TakeLine(&printed), compare.tolerance)) return false;
  }
  return true;
}

bool SameValue(const Json& expected, const Json& result, double tolerance) {
  if (IsNumber(expected)) return SameNumber(expected, result, tolerance);
  if (expected.is_array()) {
    if (!result.is_array() || result.size() != expected.size()) return false;
    for (size_t i = 0; i < expected.size(); ++i) {
      if (!SameValue(expected[i], result[i], tolerance)) return false;
    }
    return true;
  }
  if (expected.is_object()) {
    const Json* members = Tagged(result, "d");
    if (members == nullptr || !members->is_object() || members->size() != expected.size()) return false;
    std::map<std::string_view, const Json*> values;
    for (const auto& [key, value] : members->items()) values.emplace(key, &value);
    for (const auto& [key, value] : expected.items()) {
      const auto found = values.find(key);
      if (found == values.end() || !SameValue(value, *found->second, tolerance)) return false;
    }
    return true;
  }
  return expected.type() == result.type() && expected == result;  // null, true, false, text
}

}  // namespace temper
