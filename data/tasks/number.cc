// SPDX-License-Identifier: Apache-2.0
// Tasks whose answer is a number: arithmetic, equations, leg_counting, base_conversion.
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/text.h"
#include "data/tasks/task.h"

namespace temper::procedural {
namespace {

constexpr size_t kMaxDigits = 18;  // of an int64_t

// "1,234,567" without its commas; nothing where they do not part thousands.
std::optional<std::string> WithoutCommas(std::string_view digits) {
  std::string plain;
  const size_t first = digits.find(',');
  for (size_t i = 0; i < digits.size(); ++i) {
    const bool comma = first != std::string_view::npos && i >= first && (i - first) % 4 == 0;
    if (comma != (digits[i] == ',') || (!comma && !absl::ascii_isdigit(digits[i]))) return std::nullopt;
    if (!comma) plain += digits[i];
  }
  const bool whole =
      first == std::string_view::npos || (first >= 1 && first <= 3 && (digits.size() - first) % 4 == 0);
  return whole ? std::optional(plain) : std::nullopt;
}

// " + 3", " - 3", or nothing for 0.
std::string Signed(int64_t value) {
  return value == 0 ? "" : absl::StrCat(value < 0 ? " - " : " + ", value < 0 ? -value : value);
}

int64_t NonZero(RandomStream& random, int64_t most) {
  const int64_t value = Between(random, 1, most);
  return Chance(random, 0.5) ? value : -value;
}

std::string Digits(uint64_t value, int base) {
  std::string digits;
  for (; value > 0 || digits.empty(); value /= base) {
    digits.insert(digits.begin(), "0123456789abcdefghijklmnopqrstuvwxyz"[value % base]);
  }
  return digits;
}

std::optional<uint64_t> ReadDigits(std::string_view text, uint64_t base) {
  uint64_t value = 0;
  for (const char c : text) {
    const char lower = absl::ascii_tolower(c);
    const uint64_t digit = absl::ascii_isdigit(lower)   ? lower - '0'
                           : absl::ascii_isalpha(lower) ? lower - 'a' + 10
                                                        : base;
    if (digit >= base || value > (UINT64_MAX - digit) / base) return std::nullopt;
    value = value * base + digit;
  }
  return text.empty() ? std::nullopt : std::optional(value);
}

struct Animal {
  const char *one, *many;
  int legs;
};
constexpr Animal kAnimals[] = {
    {"ant", "ants", 6},           {"bee", "bees", 6},
    {"beetle", "beetles", 6},     {"bat", "bats", 2},
    {"cat", "cats", 4},           {"chicken", "chickens", 2},
    {"cow", "cows", 4},           {"crab", "crabs", 10},
    {"cricket", "crickets", 6},   {"dog", "dogs", 4},
    {"duck", "ducks", 2},         {"eagle", "eagles", 2},
    {"elephant", "elephants", 4}, {"fly", "flies", 6},
    {"frog", "frogs", 4},         {"goat", "goats", 4},
    {"horse", "horses", 4},       {"kangaroo", "kangaroos", 2},
    {"lion", "lions", 4},         {"lizard", "lizards", 4},
    {"lobster", "lobsters", 10},  {"moth", "moths", 6},
    {"owl", "owls", 2},           {"ostrich", "ostriches", 2},
    {"rabbit", "rabbits", 4},     {"scorpion", "scorpions", 8},
    {"shrimp", "shrimps", 10},    {"snail", "snails", 0},
    {"snake", "snakes", 0},       {"spider", "spiders", 8},
    {"tiger", "tigers", 4},       {"turtle", "turtles", 4},
    {"wasp", "wasps", 6},         {"woodlouse", "woodlice", 14},
};

}  // namespace

std::optional<int64_t> ReadInteger(std::string_view text) {
  text = Trimmed(text);
  if (text.size() > 2 && text.front() == '$' && text.back() == '$') text = text.substr(1, text.size() - 2);
  bool minus = false;
  for (const std::string_view sign : {"-", "\u2212", "+"}) {
    if (text.substr(0, sign.size()) != sign) continue;
    text.remove_prefix(sign.size());
    minus = sign != "+";
    break;
  }
  const size_t point = text.find('.');
  if (point != std::string_view::npos) {
    if (text.find_first_not_of('0', point + 1) != std::string_view::npos) return std::nullopt;
    text = text.substr(0, point);
  }
  if (text.size() > 2 * kMaxDigits) return std::nullopt;
  const std::optional<std::string> digits = WithoutCommas(text);
  int64_t value = 0;
  if (!digits || digits->size() > kMaxDigits || !absl::SimpleAtoi(*digits, &value)) return std::nullopt;
  return minus ? -value : value;
}

std::string_view Trimmed(std::string_view text) {
  const absl::string_view trimmed = absl::StripAsciiWhitespace(absl::string_view(text.data(), text.size()));
  return {trimmed.data(), trimmed.size()};
}

std::string_view ReferenceOf(const Json& row) {
  const Json* const answer = Find(row, "answer");
  return answer != nullptr && answer->is_string() ? std::string_view(answer->get_ref<const std::string&>())
                                                  : std::string_view();
}

std::string IsNot(std::string_view answer, std::string_view reference) {
  return absl::StrCat(Printable(answer, 60), " is not ", Printable(reference, 60));
}

std::string WhyWrongInteger(const Json& row, std::string_view answer) {
  const std::optional<int64_t> reference = ReadInteger(ReferenceOf(row)), value = ReadInteger(answer);
  if (!reference || !value)
    return absl::StrCat(Printable(reference ? answer : ReferenceOf(row), 60), " is no integer");
  return *value == *reference ? "" : IsNot(answer, ReferenceOf(row));
}

Question DrawArithmetic(RandomStream& random, int level) {
  constexpr int kTerms[] = {2, 3, 4, 5, 6, 8};
  constexpr int64_t kMost[] = {99, 99, 999, 999, 9999, 9999};
  int64_t sum = Between(random, 1, kMost[level - 1]);
  std::string text = absl::StrCat(sum);
  for (int i = 1; i < kTerms[level - 1]; ++i) {
    const int64_t term = NonZero(random, kMost[level - 1]);
    sum += term;
    text += Signed(term);
  }
  return {absl::StrCat("What is ", text, "?"), absl::StrCat(sum)};
}

// p x + q = r x + s, where the root comes first and s follows from it.
Question DrawEquation(RandomStream& random, int level) {
  const int64_t x = Between(random, -30, 30);
  std::string left;
  int64_t value = 0, slope = 0;  // of the left side
  const auto bracket = [&](int64_t factor) {
    const int64_t a = level == 4 ? Between(random, 2, 9) : 1, b = NonZero(random, 20);
    value += factor * (a * x + b);
    slope += factor * a;
    return absl::StrCat(left.empty() ? absl::StrCat(factor) : Signed(factor), " * (",
                        a == 1 ? "" : absl::StrCat(a, " * "), "x", Signed(b), ")");
  };
  if (level <= 2) {
    slope = Between(random, 2, 12);
    left = absl::StrCat(slope, " * x");
    value = slope * x;
  } else {
    for (int i = 2; i < level; ++i) left += bracket(i == 2 ? Between(random, 2, 9) : NonZero(random, 9));
  }
  const int64_t constant = NonZero(random, 60);
  absl::StrAppend(&left, Signed(constant));
  value += constant;
  int64_t right_slope = 0;
  if (level >= 2) {
    do {
      right_slope = Between(random, 2, 12);
    } while (right_slope == slope);
  }
  const int64_t rest = value - right_slope * x;
  const std::string right =
      right_slope == 0 ? absl::StrCat(rest) : absl::StrCat(right_slope, " * x", Signed(rest));
  return {absl::StrCat("Solve ", left, " = ", right, " for x. What is x?"), absl::StrCat(x)};
}

std::string WhyWrongEquation(const Json& row, std::string_view answer) {
  std::string_view value = Trimmed(answer);
  if (value.substr(0, 1) == "x") {
    const std::string_view rest = Trimmed(value.substr(1));
    if (rest.substr(0, 1) == "=") value = rest.substr(1);
  }
  return WhyWrongInteger(row, value);
}

Question DrawLegCounting(RandomStream& random, int level) {
  constexpr int kKinds[] = {2, 3, 5, 8, 12};
  constexpr int64_t kMost[] = {9, 12, 20, 50, 99};
  std::vector<const Animal*> animals;
  for (const Animal& animal : kAnimals) animals.push_back(&animal);
  Shuffle(random, animals);
  animals.resize(kKinds[level - 1]);
  int64_t legs = 0;
  const std::string list = absl::StrJoin(animals, ", ", [&](std::string* out, const Animal* animal) {
    const int64_t count = Between(random, 1, kMost[level - 1]);
    legs += count * animal->legs;
    absl::StrAppend(out, count, " ", count == 1 ? animal->one : animal->many);
  });
  return {absl::StrCat("How many legs do these animals have in all: ", list, "?"), absl::StrCat(legs)};
}

Question DrawBaseConversion(RandomStream& random, int level) {
  constexpr int kBits[] = {12, 16, 24, 40};
  constexpr int kFew[] = {2, 8, 10, 16};
  int bases[2];
  do {
    for (int& base : bases) {
      base = level == 1   ? (Chance(random, 0.5) ? 2 : 10)
             : level == 2 ? Pick(random, kFew)
                          : static_cast<int>(Between(random, 2, level == 3 ? 16 : 36));
    }
  } while (bases[0] == bases[1]);
  const uint64_t value = 16 + random.NextBelow((uint64_t{1} << kBits[level - 1]) - 16);
  const char* const digits = bases[1] > 10 ? " Use the letters a to z as the digits after 9." : "";
  Question question{absl::StrCat("The number ", Digits(value, bases[0]), " is written in base ", bases[0],
                                 ". Write it in base ", bases[1], ".", digits),
                    Digits(value, bases[1])};
  question.fields["to_base"] = bases[1];
  return question;
}

std::string WhyWrongBaseConversion(const Json& row, std::string_view answer) {
  const absl::StatusOr<int64_t> base = GetInt(row, "to_base", "row");
  if (!base.ok() || *base < 2 || *base > 36) return "the row has no to_base of 2 to 36";
  const auto reference = ReadDigits(ReferenceOf(row), static_cast<uint64_t>(*base));
  const auto value = ReadDigits(Trimmed(answer), static_cast<uint64_t>(*base));
  if (!reference || !value) {
    return absl::StrCat(Printable(reference ? answer : ReferenceOf(row), 60), " is no number in base ",
                        *base);
  }
  return *value == *reference ? "" : IsNot(answer, ReferenceOf(row));
}

}  // namespace temper::procedural
