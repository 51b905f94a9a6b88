// SPDX-License-Identifier: Apache-2.0
// Dates: May 5, 5 May 2020. Times of day: 12:00, 5 o'clock, 9:00 AM, 2:15\text{ p.m.}, 9 am. Amounts in
// several units: 2 hours 30 min, 5 ft 3 in.
#include <algorithm>
#include <cstdlib>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_split.h"
#include "core/one_of.h"
#include "rewards/math/latex/parser.h"

namespace temper::math {
namespace {

// Without braces, fonts and commands that are spaces.
std::string Spaced(std::string_view text) {
  std::string plain;
  for (size_t at = 0; at < text.size(); ++at) {
    const std::string_view rest = text.substr(at);
    size_t dress = rest[0] == '{' || rest[0] == '}' ? 1 : 0;
    for (const std::string_view command :
         {"\\text", "\\mathrm", "\\textrm", "\\!", "\\,", "\\;", "\\ ", "~", "$"}) {
      if (rest.starts_with(command)) dress = command.size();
    }
    plain += dress == 0 ? rest[0] : ' ';
    at += dress == 0 ? 0 : dress - 1;
  }
  return plain;
}

// In small letters and without spaces: 2:15pm.
std::string Bare(std::string_view text) {
  std::string bare = absl::AsciiStrToLower(Spaced(text));
  bare.erase(std::remove(bare.begin(), bare.end(), ' '), bare.end());
  return bare;
}

}  // namespace

std::optional<Expression> ReadTime(std::string_view text) {
  constexpr size_t kLongest = 48;
  if (text.size() > kLongest) return std::nullopt;
  const std::string bare = Bare(text);
  if (bare.empty() || !absl::ascii_isdigit(bare[0])) return std::nullopt;
  const auto digits = [&](size_t at) {
    size_t count = 0;
    while (at + count < bare.size() && absl::ascii_isdigit(bare[at + count])) ++count;
    return count;
  };
  const size_t whole = digits(0);
  if (whole > 2) return std::nullopt;
  int hour = std::atoi(bare.c_str()), minute = 0;
  size_t at = whole;
  const bool minutes = bare.compare(at, 1, ":") == 0 && digits(at + 1) == 2;
  if (minutes) {
    minute = std::atoi(bare.c_str() + at + 1);
    at += 3;
  }
  const std::string half = bare.substr(at);
  const bool am = IsOneOf(half, {"am", "a.m.", "a.m"});
  const bool pm = IsOneOf(half, {"pm", "p.m.", "p.m"});
  const auto time = [&](const char* name) {
    return Node(Kind::kFunction, name, NumberNode(std::to_string(hour)), NumberNode(std::to_string(minute)));
  };
  if (minute > 59 || hour > 23) return std::nullopt;
  if (hour == 12 && minute == 0 && half == "noon") return time("time");
  if (hour == 12 && minute == 0 && half == "midnight") {
    hour = 0;
    return time("time");
  }
  if (half == "o'clock" || half == "o\u2019clock") return time("clock");
  if (am || pm) {
    if (hour == 0 || hour > 12) return std::nullopt;
    hour = hour % 12 + (pm ? 12 : 0);
    return time("time");
  }
  // 2:15 may be a ratio, but nobody writes 12:00 or 9:05 for one.
  if (!half.empty() || !minutes || bare[whole + 1] != '0') return std::nullopt;
  return time("clock");
}

std::optional<Expression> ReadAmounts(std::string_view text) {
  constexpr size_t kLongest = 80;
  struct Unit {
    std::string_view name;
    std::initializer_list<std::string_view> spellings;
  };
  static const Unit kUnits[] = {{"year", {"y", "yr", "yrs"}},
                                {"month", {"mo"}},
                                {"week", {"wk", "wks"}},
                                {"day", {"d"}},
                                {"hour", {"h", "hr", "hrs"}},
                                {"minute", {"m", "min", "mins"}},
                                {"second", {"s", "sec", "secs"}},
                                {"foot", {"ft", "feet"}},
                                {"inch", {"in", "inches"}},
                                {"pound", {"lb", "lbs"}},
                                {"ounce", {"oz"}},
                                {"kilogram", {"kg"}},
                                {"gram", {"g"}},
                                {"kilometer", {"km"}},
                                {"meter", {"m"}},
                                {"centimeter", {"cm"}},
                                {"dollar", {}},
                                {"cent", {}}};
  if (text.size() > kLongest) return std::nullopt;
  std::string plain;  // numbers and words, a space between
  for (const char c : Spaced(text)) {
    const bool digit = absl::ascii_isdigit(c) || c == '.';
    const bool edge = !plain.empty() && plain.back() != ' ' &&
                      digit != (absl::ascii_isdigit(plain.back()) || plain.back() == '.');
    if (edge) plain += ' ';
    if (absl::ascii_isalnum(c) || digit)
      plain += absl::ascii_tolower(c);
    else if (c != ' ' && c != ',')
      return std::nullopt;
    else if (!plain.empty() && plain.back() != ' ')
      plain += ' ';
  }
  Expression amounts{Kind::kFunction, "amounts", {}};
  std::string before;
  int count = 0;
  const std::vector<std::string> words = absl::StrSplit(plain, ' ', absl::SkipEmpty());
  for (size_t at = 0; at + 1 < words.size(); at += 2, ++count) {
    if (words[at] == "and" && count > 0) ++at;
    if (at + 1 >= words.size() || words[at].find_first_not_of("0123456789") != std::string::npos)
      return std::nullopt;
    const std::string& word = words[at + 1];
    std::string name;
    for (const Unit& unit : kUnits) {
      const bool known =
          word == unit.name ||
          (word.ends_with('s') && std::string_view(word).substr(0, word.size() - 1) == unit.name) ||
          std::ranges::find(unit.spellings, word) != unit.spellings.end();
      // The m behind hours is a minute, alone it is a meter.
      if (known && !(word == "m" && (unit.name == "minute") != (before == "hour")))
        name = std::string(unit.name);
    }
    if (name.empty()) return std::nullopt;
    amounts.args.push_back(NumberNode(words[at]));
    amounts.args.push_back(Node(Kind::kSymbol, name));
    before = name;
    if (at + 3 == words.size()) return std::nullopt;  // a number without a unit
  }
  if (count < 2) return std::nullopt;
  return amounts;
}

std::optional<Expression> ReadDate(std::string_view text) {
  constexpr size_t kLongest = 48;
  constexpr std::string_view kMonths[] = {"january",   "february", "march",    "april",
                                          "may",       "june",     "july",     "august",
                                          "september", "october",  "november", "december"};
  if (text.empty() || text.size() > kLongest) return std::nullopt;
  std::string plain = absl::AsciiStrToLower(Spaced(text));
  for (char& c : plain) c = c == ',' || c == '.' ? ' ' : c;
  const std::vector<std::string> words = absl::StrSplit(plain, ' ', absl::SkipEmpty());
  std::string month, day, year;
  for (const std::string& word : words) {
    const size_t digits = std::min(word.find_first_not_of("0123456789"), word.size());
    const std::string rest = word.substr(digits);
    if (digits == 0) {
      if (word == "of" || word == "the") continue;
      const auto* known = std::ranges::find_if(kMonths, [&](std::string_view name) {
        return word == name || (word.size() == 3 && name.substr(0, 3) == word) ||
               (word == "sept" && name[0] == 's');
      });
      if (known == std::end(kMonths) || !month.empty()) return std::nullopt;
      month = std::to_string(known - std::begin(kMonths) + 1);
    } else if (digits <= 2 && day.empty() && (rest.empty() || IsOneOf(rest, {"st", "nd", "rd", "th"}))) {
      day = std::to_string(std::atoi(word.c_str()));
    } else if (digits == 4 && year.empty() && rest.empty()) {
      year = word;
    } else {
      return std::nullopt;
    }
  }
  if (month.empty() || (day.empty() && year.empty())) return std::nullopt;
  Expression date{Kind::kFunction, "date", {}};
  for (const std::string& part : {month, day.empty() ? "0" : day, year.empty() ? "0" : year})
    date.args.push_back(NumberNode(part));
  return date;
}

}  // namespace temper::math
