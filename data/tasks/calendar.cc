// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <chrono>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/one_of.h"
#include "core/text.h"
#include "data/tasks/task.h"

namespace temper::procedural {
namespace {

using std::chrono::days;
using std::chrono::sys_days;
using std::chrono::year_month_day;

constexpr const char* kWeekdays[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                     "Thursday", "Friday", "Saturday"};
constexpr const char* kMonths[] = {"January", "February", "March",     "April",   "May",      "June",
                                   "July",    "August",   "September", "October", "November", "December"};

std::string LongDate(sys_days date) {
  const year_month_day ymd{date};
  return absl::StrCat(static_cast<unsigned>(ymd.day()), " ", kMonths[static_cast<unsigned>(ymd.month()) - 1],
                      " ", static_cast<int>(ymd.year()));
}
std::string IsoDate(sys_days date) {
  const year_month_day ymd{date};
  return absl::StrFormat("%04d-%02u-%02u", static_cast<int>(ymd.year()), static_cast<unsigned>(ymd.month()),
                         static_cast<unsigned>(ymd.day()));
}
const char* WeekdayOf(sys_days date) { return kWeekdays[std::chrono::weekday(date).c_encoding()]; }

sys_days DrawDate(RandomStream& random, int first_year, int last_year) {
  using std::chrono::January;
  const sys_days first = std::chrono::year(first_year) / January / 1;
  const sys_days end = std::chrono::year(last_year + 1) / January / 1;
  return first + days(Between(random, 0, (end - first).count() - 1));
}

Question Of(std::string text, std::string answer, const char* kind) {
  Question question{std::move(text), std::move(answer)};
  question.fields["kind"] = kind;
  return question;
}

bool SameWord(std::string_view a, std::string_view b) {
  return absl::EqualsIgnoreCase(absl::string_view(a.data(), a.size()), absl::string_view(b.data(), b.size()));
}

}  // namespace

Question DrawCalendar(RandomStream& random, int level) {
  if (level == 1) {
    const int64_t today = Between(random, 0, 6), count = Between(random, 2, 999);
    const bool later = Chance(random, 0.5);
    const int64_t day = ((today + (later ? count : -count)) % 7 + 7) % 7;
    return Of(absl::StrCat("Today is ", kWeekdays[today], ". Which day of the week ",
                           later ? "will it be in " : "was it ", count, later ? " days?" : " days ago?"),
              kWeekdays[day], "weekday");
  }
  const sys_days date = DrawDate(random, level == 4 ? 1800 : 2000, level == 4 ? 2199 : 2049);
  if (level == 2) {
    const sys_days end = date + days(Between(random, 2, 400));
    return Of(absl::StrCat("How many days after ", LongDate(date), " is ", LongDate(end), "?"),
              absl::StrCat((end - date).count()), "days");
  }
  if (level == 3) {
    const int64_t count = Between(random, 10, 999);
    const bool later = Chance(random, 0.5);
    return Of(absl::StrCat("Which date is ", count, " days ", later ? "after " : "before ", LongDate(date),
                           "? Answer in the form YYYY-MM-DD."),
              IsoDate(date + days(later ? count : -count)), "date");
  }
  return Of(absl::StrCat("Which day of the week is ", LongDate(date), " in the Gregorian calendar?"),
            WeekdayOf(date), "weekday");
}

std::string WhyWrongCalendar(const Json& row, std::string_view answer) {
  const absl::StatusOr<std::string> kind = GetString(row, "kind", "row");
  if (!kind.ok() || !IsOneOf(*kind, {"days", "weekday", "date"}))
    return "the row's kind is not days, weekday or date";
  if (*kind == "days") return WhyWrongInteger(row, answer);
  std::string_view words = Trimmed(answer);
  if (!words.empty() && words.back() == '.') words.remove_suffix(1);
  const std::string_view reference = ReferenceOf(row);
  if (*kind == "weekday" &&
      std::ranges::none_of(kWeekdays, [&](const char* day) { return SameWord(day, reference); }))
    return IsNot(reference, "a day of the week");
  return SameWord(words, reference) ? "" : IsNot(answer, reference);
}

}  // namespace temper::procedural
