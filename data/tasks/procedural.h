// SPDX-License-Identifier: Apache-2.0
// Procedural tasks: endless problems in plain English whose answers a rule can check, after those that
// Reasoning Gym (arXiv 2505.24760) and TinyZero train on. A problem is a function of (task, level, key,
// index): in any order, on any rank, the same on every machine.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/json/json.h"
#include "core/random.h"
#include "data/dataset/split.h"
#include "data/trajectory.h"

namespace temper::procedural {

struct Question {
  std::string text, answer;
  Json fields = Json::object();  // what the check needs beside the answer
};

struct Task {
  const char* name;
  const char* summary;
  int levels;         // 1 is the easiest
  bool is_number;     // the answer is one integer
  const char* grows;  // what grows with the level
  Question (*draw)(RandomStream& random, int level);
  // Why `answer` is wrong, in one line; empty: it is right. `row` is the problem's row. Bounded for any
  // bytes; a row that it cannot use makes every answer wrong.
  std::string (*why_wrong)(const Json& row, std::string_view answer);
};

// All of them; in this order in the docs and in messages.
const std::vector<Task>& Tasks();
const Task* FindTask(std::string_view name);  // null: there is none
std::vector<std::string> TaskNames();

// About one problem in eight is held out, by the hash of its text (data/dataset/split.h).
constexpr double kHeldOutShare = 0.125;

// Problem `index` of the stream `key`, of the side asked for; level is 1 to task.levels. The id is the text's
// hash, so equal ids are equal problems. fields is the row that `temper problems` writes: id, problem,
// answer, task, level and the task's own. tokens stay empty.
Prompt MakeProblem(const Task& task, int level, uint64_t key, int64_t index, Split split);

// A prompt as the task's own check needs it, read once for any number of answers.
class Problem {
 public:
  // Nothing where the prompt is of no task here: another name in `task`, or no "level" in its row, as in a
  // dataset that uses a name of ours for its own problems.
  static std::optional<Problem> Of(const Prompt& prompt);

  const Task& task() const { return *task_; }
  // Why it cannot be judged by: its row lacks something, or its reference answer is wrong. Empty: it can.
  std::string Fault() const;
  std::string WhyWrong(std::string_view answer) const { return task_->why_wrong(row_, answer); }

 private:
  Problem(const Task* task, Json row) : task_(task), row_(std::move(row)) {}
  const Task* task_;
  Json row_;
};

}  // namespace temper::procedural
