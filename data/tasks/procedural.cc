// SPDX-License-Identifier: Apache-2.0
#include "data/tasks/procedural.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/check.h"
#include "data/tasks/task.h"

namespace temper::procedural {

const std::vector<Task>& Tasks() {
  static const std::vector<Task>* const tasks = new std::vector<Task>{
      {"arithmetic", "sums and differences of integers", 6, true, "2 to 8 terms of 2 to 4 digits",
       DrawArithmetic, WhyWrongInteger},
      {"countdown", "an expression out of all the numbers that makes the target", 4, false,
       "3 to 6 numbers, up to 20 to 100", DrawCountdown, WhyWrongCountdown},
      {"equations", "a linear equation in x", 4, true, "x on one side, on both, in one bracket, in two",
       DrawEquation, WhyWrongEquation},
      {"number_sorting", "numbers in ascending or descending order", 5, false,
       "4 to 16 numbers; negative from 2, decimals from 4", DrawNumberSorting, WhyWrongNumberSorting},
      {"letter_counting", "how often a letter is in a text", 4, true, "4 to 32 words", DrawLetterCounting,
       WhyWrongInteger},
      {"knights_and_knaves", "who tells the truth and who lies", 5, false, "2 to 6 people, longer statements",
       DrawKnights, WhyWrongKnights},
      {"propositional_logic", "truth values with which all statements hold", 4, false,
       "3 to 6 variables, longer statements", DrawPropositional, WhyWrongPropositional},
      {"sudoku_4x4", "a 4x4 sudoku with one solution", 4, false, "5, 7, 9, 11 empty cells", DrawSudoku,
       WhyWrongSudoku},
      {"base_conversion", "a number in another base", 4, false,
       "bases 2 and 10; 2, 8, 10, 16; up to 16; up to 36; 12 to 40 bits", DrawBaseConversion,
       WhyWrongBaseConversion},
      {"calendar", "days and weekdays", 4, false,
       "a weekday in n days; days between dates; the date in n days; the weekday of a date", DrawCalendar,
       WhyWrongCalendar},
      {"leg_counting", "the legs of some animals", 5, true, "2 to 12 kinds, up to 9 to 99 of each",
       DrawLegCounting, WhyWrongInteger},
      {"string_manipulation", "a word after some operations", 4, false, "2 to 8 operations, 5 to 14 letters",
       DrawStringManipulation, WhyWrongString},
  };
  return *tasks;
}

const Task* FindTask(std::string_view name) {
  for (const Task& task : Tasks()) {
    if (name == task.name) return &task;
  }
  return nullptr;
}

std::vector<std::string> TaskNames() {
  std::vector<std::string> names;
  for (const Task& task : Tasks()) names.emplace_back(task.name);
  return names;
}

Prompt MakeProblem(const Task& task, int level, uint64_t key, int64_t index, Split split) {
  TEMPER_CHECK(level >= 1 && level <= task.levels, task.name, " has no level ", level);
  RandomStream random(RandomKey(key, task.name, static_cast<uint64_t>(index), absl::StrCat(level)),
                      Purpose::kTask);
  Question question;
  do {
    question = task.draw(random, level);
  } while (SplitOf(ContentKey(question.text), kHeldOutShare) != split);

  Prompt prompt;
  prompt.id = absl::StrFormat("%s/%016x", task.name, RandomKey(0, "problem", 0, question.text));
  prompt.text = std::move(question.text);
  prompt.answer = std::move(question.answer);
  prompt.task = task.name;
  Json row = {{"id", prompt.id},
              {"problem", prompt.text},
              {"answer", prompt.answer},
              {"task", prompt.task},
              {"level", level}};
  row.update(question.fields);
  prompt.fields = DumpJson(row);
  return prompt;
}

std::optional<Problem> Problem::Of(const Prompt& prompt) {
  const Task* const task = FindTask(prompt.task);
  if (task == nullptr) return std::nullopt;
  absl::StatusOr<Json> row = ParseJson(prompt.fields, "row");
  if (!row.ok() || !row->is_object()) return std::nullopt;
  const Json* const level = Find(*row, "level");
  if (level == nullptr || !level->is_number()) return std::nullopt;
  (*row)["answer"] = prompt.answer;
  return Problem(task, *std::move(row));
}

std::string Problem::Fault() const {
  const std::string answer = row_["answer"].get<std::string>();
  const std::string why = WhyWrong(answer);
  return why.empty() ? "" : absl::StrCat("its reference answer is not right (task ", task_->name, "): ", why);
}

}  // namespace temper::procedural
