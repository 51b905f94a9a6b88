// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/text.h"
#include "data/tasks/expression.h"
#include "data/tasks/task.h"

namespace temper::procedural {
namespace {

struct Part {
  int64_t value;
  std::string text;
  bool bracketed;  // text is an operation
};

// An operation whose result is a whole number of at least 1; division where it comes out whole.
std::optional<Part> Combine(RandomStream& random, const Part& a, const Part& b) {
  int64_t value = 0;
  const char sign = "+-*/"[random.NextBelow(4)];
  if (sign == '+') value = a.value + b.value;
  if (sign == '-') value = a.value - b.value;
  if (sign == '*') value = a.value * b.value;
  if (sign == '/' && b.value > 1 && a.value % b.value == 0) value = a.value / b.value;
  if (value < 1) return std::nullopt;
  const auto wrapped = [](const Part& part) {
    return part.bracketed ? absl::StrCat("(", part.text, ")") : part.text;
  };
  return Part{value, absl::StrCat(wrapped(a), " ", std::string(1, sign), " ", wrapped(b)), true};
}

// One expression out of all the numbers; nothing where its value is over `most`, or on the way 10^6.
std::optional<Part> DrawExpression(RandomStream& random, const std::vector<int64_t>& numbers, int64_t most) {
  std::vector<Part> parts;
  for (const int64_t number : numbers) parts.push_back({number, absl::StrCat(number), false});
  while (parts.size() > 1) {
    Shuffle(random, parts);
    std::optional<Part> part = Combine(random, parts[parts.size() - 1], parts[parts.size() - 2]);
    if (!part) continue;
    if (part->value > 1'000'000) return std::nullopt;
    parts.pop_back();
    parts.back() = *std::move(part);
  }
  if (parts[0].value > most) return std::nullopt;
  return parts[0];
}

}  // namespace

Question DrawCountdown(RandomStream& random, int level) {
  constexpr int64_t kMost[] = {20, 30, 50, 100}, kMostTarget[] = {100, 200, 500, 999};
  for (;;) {
    std::vector<int64_t> numbers;
    for (int i = 0; i < level + 2; ++i) numbers.push_back(Between(random, 1, kMost[level - 1]));
    std::ranges::sort(numbers);
    const std::optional<Part> expression = DrawExpression(random, numbers, kMostTarget[level - 1]);
    if (!expression || expression->value < 10) continue;
    Question question{
        absl::StrCat("Use all of the numbers ", absl::StrJoin(numbers, ", "),
                     ", each exactly once, with +, -, * and / "
                     "to make an expression that equals ",
                     expression->value, ". Brackets are allowed. Answer with the expression alone."),
        expression->text};
    question.fields["numbers"] = numbers;
    question.fields["target"] = expression->value;
    return question;
  }
}

std::string WhyWrongCountdown(const Json& row, std::string_view answer) {
  std::vector<int64_t> numbers;
  const Json* const list = Find(row, "numbers");
  const absl::StatusOr<int64_t> target = GetInt(row, "target", "row");
  if (list == nullptr || !list->is_array() || !target.ok()) return "the row has no numbers and target";
  for (const Json& number : *list) {
    if (!number.is_number_integer()) return "the row's numbers are not whole";
    numbers.push_back(number.get<int64_t>());
  }
  // "expression = target" says the same.
  const size_t equals = answer.find('=');
  if (equals != std::string_view::npos) {
    if (ReadInteger(answer.substr(equals + 1)) != *target)
      return absl::StrCat(Printable(answer, 60), " does not end in = ", *target);
    answer = answer.substr(0, equals);
  }
  absl::StatusOr<Value> value = Evaluate(answer);
  if (!value.ok()) return std::string(value.status().message());
  std::ranges::sort(numbers);
  std::ranges::sort(value->numbers);
  if (value->numbers != numbers) {
    return absl::StrCat("it uses ", absl::StrJoin(value->numbers, ", "), ", not each of ",
                        absl::StrJoin(numbers, ", "), " once");
  }
  const Fraction result = value->value;
  if (result.den == 1 && result.num == *target) return "";
  return absl::StrCat("it makes ", result.num, result.den == 1 ? "" : absl::StrCat("/", result.den), ", not ",
                      *target);
}

}  // namespace temper::procedural
