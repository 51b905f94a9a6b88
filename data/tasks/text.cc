// SPDX-License-Identifier: Apache-2.0
// Tasks about words and lists: number_sorting, letter_counting, string_manipulation.
#include "core/text.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "data/tasks/task.h"

namespace temper::procedural {
namespace {

constexpr const char* kTextWords[] = {
    "after",    "apple",   "autumn",  "bridge",  "butter",  "candle",  "carpet",  "cherry",  "cloud",
    "coffee",   "corner",  "cotton",  "dinner",  "donkey",  "engine",  "evening", "feather", "fellow",
    "fiddle",   "flower",  "forest",  "garden",  "ginger",  "hammer",  "harbour", "hollow",  "island",
    "jacket",   "kettle",  "kitchen", "ladder",  "lantern", "letter",  "little",  "meadow",  "middle",
    "mirror",   "morning", "narrow",  "needle",  "number",  "orange",  "parrot",  "pepper",  "pillow",
    "planet",   "pocket",  "potato",  "quarter", "quiet",   "rabbit",  "ribbon",  "river",   "saddle",
    "scissors", "shadow",  "silver",  "sister",  "spring",  "summer",  "sunset",  "teapot",  "thunder",
    "ticket",   "tomato",  "tunnel",  "valley",  "velvet",  "village", "walnut",  "water",   "whistle",
    "window",   "winter",  "yellow",  "zipper"};

// 1250 hundredths: "12.50" where `places` is 2.
std::string DecimalText(int64_t value, int places) {
  int64_t unit = 1;
  for (int i = 0; i < places; ++i) unit *= 10;
  const int64_t size = value < 0 ? -value : value;
  std::string text = absl::StrCat(value < 0 ? "-" : "", size / unit);
  if (places > 0) {
    const std::string part = absl::StrCat(size % unit);
    absl::StrAppend(&text, ".", std::string(places - part.size(), '0'), part);
  }
  return text;
}

// In millionths; nothing for what is no plain decimal number below 10^12.
std::optional<int64_t> ReadDecimal(absl::string_view text) {
  constexpr size_t kPlaces = 6;
  const bool minus = absl::ConsumePrefix(&text, "-") || absl::ConsumePrefix(&text, "\u2212");
  const std::pair<absl::string_view, absl::string_view> parts = absl::StrSplit(text, absl::MaxSplits('.', 1));
  if (parts.first.empty() || parts.first.size() > 12 || parts.second.size() > kPlaces ||
      (parts.second.empty() && text.size() > parts.first.size())) {
    return std::nullopt;
  }
  int64_t value = 0;
  for (const char c :
       absl::StrCat(parts.first, parts.second, std::string(kPlaces - parts.second.size(), '0'))) {
    if (!absl::ascii_isdigit(c)) return std::nullopt;
    value = value * 10 + (c - '0');
  }
  return minus ? -value : value;
}

// "[3, 5, 10]": numbers between commas or white space, brackets and quotes around them or not.
std::optional<std::vector<int64_t>> ReadList(std::string_view text) {
  std::vector<int64_t> values;
  for (const absl::string_view word :
       absl::StrSplit(absl::string_view(text.data(), std::min(text.size(), kMaxAnswerBytes)),
                      absl::ByAnyChar(" \t\r\n,[]'\""), absl::SkipEmpty())) {
    const std::optional<int64_t> value = ReadDecimal(word);
    if (!value) return std::nullopt;
    values.push_back(*value);
  }
  return values;
}

struct Step {
  std::string text;    // what the question says
  std::string result;  // the word after it
};

Step DrawStep(RandomStream& random, const std::string& word) {
  const std::string letter(1, word[random.NextBelow(word.size())]);
  const std::string other(1, static_cast<char>('a' + random.NextBelow(26)));
  std::string result = word;
  switch (random.NextBelow(8)) {
    case 0:
      std::ranges::reverse(result);
      return {"write it backwards", result};
    case 1:
      result.erase(std::remove(result.begin(), result.end(), letter[0]), result.end());
      return {absl::StrCat("remove every ", letter), result};
    case 2:
      std::replace(result.begin(), result.end(), letter[0], other[0]);
      return {absl::StrCat("change every ", letter, " to ", other), result};
    case 3: {
      const int64_t count = Between(random, 1, std::min<int64_t>(4, static_cast<int64_t>(word.size())));
      std::rotate(result.begin(), result.begin() + count, result.end());
      return {count == 1 ? "move the first letter to the end"
                         : absl::StrCat("move the first ", count, " letters to the end"),
              result};
    }
    case 4:
      std::swap(result.front(), result.back());
      return {"swap the first and the last letter", result};
    case 5:
      return {"write the first letter twice", absl::StrCat(word.substr(0, 1), word)};
    case 6:
      return {absl::StrCat("put ", other, " in front"), absl::StrCat(other, word)};
    default:
      return {absl::StrCat("put ", other, " at the end"), absl::StrCat(word, other)};
  }
}

}  // namespace

Question DrawNumberSorting(RandomStream& random, int level) {
  constexpr int kCounts[] = {4, 6, 8, 12, 16}, kPlaces[] = {0, 0, 0, 1, 2};
  constexpr int64_t kMost[] = {99, 99, 999, 9999, 99999};
  std::vector<int64_t> values;
  for (int i = 0; i < kCounts[level - 1]; ++i) {
    values.push_back(Between(random, level == 1 ? 0 : -kMost[level - 1], kMost[level - 1]));
  }
  const auto texts = [&] {
    std::vector<std::string> list;
    for (const int64_t value : values) list.push_back(DecimalText(value, kPlaces[level - 1]));
    return list;
  };
  const std::vector<std::string> asked = texts();
  const bool ascending = Chance(random, 0.5);
  std::ranges::sort(values);
  if (!ascending) std::ranges::reverse(values);
  const char* const direction = ascending ? "ascending" : "descending";
  Question question{
      absl::StrCat("Sort these numbers in ", direction, " order: ", absl::StrJoin(asked, ", "),
                   ". Answer with the list in square brackets, with commas between the numbers."),
      absl::StrCat("[", absl::StrJoin(texts(), ", "), "]")};
  question.fields["numbers"] = asked;
  question.fields["direction"] = direction;
  return question;
}

std::string WhyWrongNumberSorting(const Json& row, std::string_view answer) {
  const Json* const numbers = Find(row, "numbers");
  const absl::StatusOr<std::string> direction = GetString(row, "direction", "row");
  if (numbers == nullptr || !numbers->is_array() || !direction.ok() ||
      (*direction != "ascending" && *direction != "descending")) {
    return "the row has no numbers and direction";
  }
  std::vector<int64_t> sorted;
  for (const Json& number : *numbers) {
    const std::optional<int64_t> value =
        number.is_string() ? ReadDecimal(number.get_ref<const std::string&>()) : std::nullopt;
    if (!value) return "the row's numbers cannot be read";
    sorted.push_back(*value);
  }
  const std::optional<std::vector<int64_t>> values = ReadList(answer);
  if (!values) return absl::StrCat(Printable(answer, 60), " is not a list of numbers");
  std::ranges::sort(sorted);
  if (*direction == "descending") std::ranges::reverse(sorted);
  if (*values == sorted) return "";
  std::vector<int64_t> same = *values;
  std::ranges::sort(same);
  std::ranges::sort(sorted);
  return same == sorted ? absl::StrCat("the numbers are not in ", *direction, " order")
                        : "the list has not the same numbers";
}

Question DrawLetterCounting(RandomStream& random, int level) {
  std::vector<const char*> words;
  for (int i = 0; i < 2 << level; ++i) words.push_back(Pick(random, kTextWords));
  const std::string text = absl::StrJoin(words, " ");
  // Mostly a letter that is there.
  char letter = static_cast<char>('a' + random.NextBelow(26));
  if (Chance(random, 0.9)) {
    const std::string word = words[random.NextBelow(words.size())];
    letter = word[random.NextBelow(word.size())];
  }
  return {
      absl::StrCat("How many times does the letter ", std::string(1, letter), " occur in \"", text, "\"?"),
      absl::StrCat(std::ranges::count(text, letter))};
}

Question DrawStringManipulation(RandomStream& random, int level) {
  constexpr int kSteps[] = {2, 3, 5, 8}, kLetters[] = {5, 7, 10, 14};
  std::string word;
  for (int i = 0; i < kLetters[level - 1]; ++i) word += static_cast<char>('a' + random.NextBelow(26));
  std::string text = absl::StrCat("Begin with the word ", word, " and do this in order:");
  for (int i = 1; i <= kSteps[level - 1]; ++i) {
    Step step;
    do {
      step = DrawStep(random, word);
    } while (step.result == word || step.result.size() < 3);
    word = step.result;
    absl::StrAppend(&text, "\n", i, ". ", step.text);
  }
  return {absl::StrCat(text, "\nWhich word do you get?"), word};
}

std::string WhyWrongString(const Json& row, std::string_view answer) {
  std::string_view words = Trimmed(answer);
  if (words.size() >= 2 && (words[0] == '"' || words[0] == '\'') && words.back() == words[0])
    words = words.substr(1, words.size() - 2);
  if (ReferenceOf(row).empty()) return "the row has no answer";
  return ReferenceOf(row) == words ? "" : IsNot(answer, ReferenceOf(row));
}

}  // namespace temper::procedural
