// SPDX-License-Identifier: Apache-2.0
#include "rewards/code_compare.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "rewards/tags.h"

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

// Of a whole number and a double: exactly, so that 2^53 + 1 is not 2^53.
bool SameMixed(const Json& whole, double number) {
  if (IsNegative(whole)) {
    return number >= -0x1p63 && number < 0 && std::trunc(number) == number &&
           static_cast<int64_t>(number) == whole.get<int64_t>();
  }
  return number >= 0 && number < 0x1p64 && std::trunc(number) == number &&
         static_cast<uint64_t>(number) == whole.get<uint64_t>();
}

bool SameNumber(const Json& expected, const Json& result, double tolerance) {
  if (const Json* big = Tagged(result, "i")) {  // hexadecimal, beyond 64 bits
    if (!expected.is_number_float() || !big->is_string()) return false;
    std::string text = big->get<std::string>();
    text.insert(text.starts_with('-') ? 1 : 0, "0x");
    return std::strtod(text.c_str(), nullptr) == expected.get<double>();
  }
  if (!result.is_number()) return false;
  if (expected.is_number_integer()) {
    return result.is_number_integer() ? SameWhole(expected, result)
                                      : SameMixed(expected, result.get<double>());
  }
  const double number = expected.get<double>();
  if (result.is_number_integer() && SameMixed(result, number)) return true;
  const double got = result.get<double>();
  return result.is_number_integer() ? tolerance > 0 && Near(number, got, tolerance)
                                    : Near(number, got, tolerance);
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
  if (expected.is_number()) return SameNumber(expected, result, tolerance);
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
