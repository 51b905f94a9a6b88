// SPDX-License-Identifier: Apache-2.0
#include "data/problem_row.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "core/text.h"
#include "data/code_problem.h"

namespace temper {
namespace {

// A string, or a number as it is written.
absl::StatusOr<std::string> Words(const Json& value, const std::string& key, const std::string& where) {
  if (value.is_string()) return value.get<std::string>();
  if (IsNumber(value)) return DumpJson(value);
  return absl::InvalidArgumentError(absl::StrCat(where, ": ", key, ": is neither text nor a number"));
}

struct Found {
  std::string key;
  const Json* value = nullptr;
};

// The named member, or else the first of `common`.
absl::StatusOr<Found> Choose(const DataRow& row, const std::string& name,
                             std::initializer_list<const char*> common) {
  if (!name.empty()) {
    const Json* value = FieldAt(row.json, name);
    if (value == nullptr)
      return absl::InvalidArgumentError(absl::StrCat(row.name, ": has no ", Printable(name, 100)));
    return Found{name, value};
  }
  for (const char* key : common) {
    if (const Json* value = FieldAt(row.json, key)) return Found{key, value};
  }
  return Found{};
}

}  // namespace

const Json* FieldAt(const Json& row, const std::string& path) {
  const Json* at = Find(row, path);  // a key may have points itself
  if (at == nullptr && path.find('.') != std::string::npos) {
    at = &row;
    for (const std::string& key : std::vector<std::string>(absl::StrSplit(path, '.'))) {
      at = at == nullptr ? nullptr : Find(*at, key);
    }
  }
  return at != nullptr && !at->is_null() ? at : nullptr;
}

void ProblemFields::Saw(const std::string& field) {
  if (std::find(seen_.begin(), seen_.end(), field) == seen_.end()) seen_.push_back(field);
}

std::string ProblemFields::seen() const { return absl::StrJoin(seen_, ", "); }

absl::Status ProblemFields::ReadProblem(const DataRow& row, ProblemRow* problem) {
  if (const std::optional<CodeProblem> code = CodeProblemOf(row.json); code && names_.problem.empty()) {
    problem->text = code->text;
    Saw(code->seen);
    return absl::OkStatus();
  }
  TEMPER_ASSIGN_OR_RETURN(
      const Found found,
      Choose(row, names_.problem, {"question", "problem", "prompt", "messages", "instruction"}));
  if (found.value == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(
        row.name,
        ": has no question, problem, prompt, messages or instruction; name the field (fields.problem)"));
  }
  if (found.value->is_string() && found.key != "messages") {
    Saw(found.key);
    problem->text = found.value->get<std::string>();
    return absl::OkStatus();
  }
  TEMPER_ASSIGN_OR_RETURN(problem->messages,
                          ReadMessages(*found.value, absl::StrCat(row.name, ": ", found.key)));
  Saw(found.key == "messages" ? found.key : absl::StrCat(found.key, " (messages)"));
  std::vector<Message>& messages = problem->messages;
  while (!messages.empty() && messages.back().role != "user") messages.pop_back();
  if (messages.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(row.name, ": ", found.key, ": has no message of the user"));
  }
  problem->text = messages.back().content;
  return absl::OkStatus();
}

absl::Status ProblemFields::ReadAnswer(const DataRow& row, ProblemRow* problem) {
  TEMPER_ASSIGN_OR_RETURN(const Found found, Choose(row, names_.answer,
                                                    {"answer", "solution", "ground_truth", "expected",
                                                     "reward_model.ground_truth"}));
  if (found.value == nullptr) return absl::OkStatus();
  // Tests are no answer (verl's rows of programs).
  if (names_.answer.empty() && found.key == "reward_model.ground_truth" && found.value->is_structured())
    return absl::OkStatus();
  TEMPER_ASSIGN_OR_RETURN(problem->answer, Words(*found.value, found.key, row.name));
  std::string& answer = problem->answer;
  const size_t mark = answer.rfind("####");
  Saw(mark == std::string::npos ? found.key : absl::StrCat(found.key, " (after ####)"));
  if (mark == std::string::npos) return absl::OkStatus();
  answer.erase(0, mark + 4);
  answer.erase(0, answer.find_first_not_of(" \t\r\n"));
  answer.erase(answer.find_last_not_of(" \t\r\n") + 1);
  return absl::OkStatus();
}

absl::StatusOr<ProblemRow> ProblemFields::Read(const DataRow& row) {
  ProblemRow problem;
  TEMPER_ASSIGN_OR_RETURN(const Found id, Choose(row, names_.id, {"id"}));
  problem.has_id = id.value != nullptr;
  problem.id = absl::StrCat(row.number);
  if (problem.has_id) {
    TEMPER_ASSIGN_OR_RETURN(problem.id, Words(*id.value, id.key, row.name));
  }
  TEMPER_RETURN_IF_ERROR(ReadProblem(row, &problem));
  TEMPER_RETURN_IF_ERROR(ReadAnswer(row, &problem));
  TEMPER_ASSIGN_OR_RETURN(const Found task, Choose(row, names_.task, {"task", "data_source"}));
  if (task.value != nullptr) {
    TEMPER_ASSIGN_OR_RETURN(problem.task, Words(*task.value, task.key, row.name));
  }
  if (!names_.tests.empty()) {
    TEMPER_ASSIGN_OR_RETURN(const Found tests, Choose(row, names_.tests, {}));
    problem.tests = *tests.value;
    Saw(tests.key);
  }
  return problem;
}

}  // namespace temper
