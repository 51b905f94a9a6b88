// SPDX-License-Identifier: Apache-2.0
// Times of day.
#include <cstdlib>
#include <optional>

#include "rewards/math/equal/parts.h"

namespace temper::math {
namespace {

using Kind = ExpressionKind;

struct Time {
  int hour = 0, minute = 0;
  bool half = false;  // whether AM or PM is said
};

// Also of 3:30, which was read as a quotient.
std::optional<Time> ReadClock(const Expression& x) {
  const bool named = x.kind == Kind::kFunction && (x.name == "time" || x.name == "clock");
  if (named && x.args.size() == 2)
    return Time{std::atoi(x.args[0].name.c_str()), std::atoi(x.args[1].name.c_str()), x.name == "time"};
  if (x.kind != Kind::kMultiply || x.args.size() != 2 || x.args[1].kind != Kind::kPower) return std::nullopt;
  const Expression &hour = x.args[0], &minute = x.args[1].args[0];
  if (!(x.args[1].args[1] == NumberOf(-1)) || hour.kind != Kind::kNumber || minute.kind != Kind::kNumber)
    return std::nullopt;
  if (hour.name.size() > 2 || minute.name.size() != 2 || minute.name > "59") return std::nullopt;
  return Time{std::atoi(hour.name.c_str()), std::atoi(minute.name.c_str())};
}

bool IsTime(const Expression& x) {
  return x.kind == Kind::kFunction && (x.name == "time" || x.name == "clock");
}

}  // namespace

Decision CompareTimes(const Expression& gold, const Expression& answer) {
  if (!IsTime(gold) && !IsTime(answer)) return Unknown("");
  const std::optional<Time> a = ReadClock(gold), b = ReadClock(answer);
  if (!a || !b) return No("a time and something else");
  // Where the reference does not say which half of the day, the answer may.
  const int hours = !a->half && a->hour > 0 && a->hour <= 12 && b->half ? 12 : 24;
  const bool same = a->minute == b->minute && a->hour % hours == b->hour % hours;
  return same ? Yes("the same time") : No("another time");
}

}  // namespace temper::math
