// SPDX-License-Identifier: Apache-2.0
#include "data/dataset/problem_row.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "core/one_of.h"
#include "core/status.h"
#include "core/text.h"
#include "data/dataset/code_problem.h"

namespace temper {
namespace {

// A string, or a number as it is written; a list of one is that one.
absl::StatusOr<std::string> Words(const Json& value, const std::string& key, const std::string& where) {
  if (value.is_array() && value.size() == 1) return Words(value[0], key, where);
  if (value.is_string()) return value.get<std::string>();
  if (IsNumber(value)) return DumpJson(value);
  return absl::InvalidArgumentError(absl::StrCat(where, ": ", key, ": is neither text nor a number"));
}

// What ShareGPT calls who speaks.
std::string RoleOf(const std::string& from) {
  if (from == "human") return "user";
  if (IsOneOf(from, {"gpt", "chatgpt", "bing", "bard", "model"})) return "assistant";
  if (from == "observation" || from == "function_response") return "tool";
  return from;
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

// What a problem of several fields is made of: "body + question".
std::vector<std::string> PartsOf(const std::string& name) { return absl::StrSplit(name, " + "); }

// A text, or a list of choices as lettered lines.
absl::StatusOr<std::string> PartText(const DataRow& row, const std::string& key) {
  const Json* value = FieldAt(row.json, key);
  if (value == nullptr)
    return absl::InvalidArgumentError(absl::StrCat(row.name, ": has no ", Printable(key, 100)));
  if (!value->is_array() || value->size() > 26) return Words(*value, key, row.name);
  std::string text;
  for (const Json& choice : *value) {
    TEMPER_ASSIGN_OR_RETURN(const std::string words, Words(choice, key, row.name));
    const char letter = static_cast<char>('A' + (&choice - &(*value)[0]));
    absl::StrAppend(&text, text.empty() ? "" : "\n", std::string(1, letter), ". ", words);
  }
  return text;
}

absl::StatusOr<std::string> Joined(const DataRow& row, const std::vector<std::string>& keys) {
  std::vector<std::string> texts;
  for (const std::string& key : keys) {
    TEMPER_ASSIGN_OR_RETURN(texts.emplace_back(), PartText(row, key));
  }
  return absl::StrJoin(texts, "\n\n");
}

bool IsText(const Json* value) { return value != nullptr && value->is_string(); }

// ASDiv and SVAMP tell a problem's story in a field of its own.
std::string StoryName(const Json& row) {
  if (IsText(FieldAt(row, "body")) && IsText(FieldAt(row, "question"))) return "body + question";
  if (IsText(FieldAt(row, "Body")) && IsText(FieldAt(row, "Question"))) return "Body + Question";
  return "";
}

// Of a field that was taken alone: others that often belong to a problem.
std::string LeftOut(const Json& row) {
  std::vector<std::string> there;
  for (const char* key : {"context", "passage", "article", "choices", "options"}) {
    const Json* value = FieldAt(row, key);
    if (value != nullptr && !value->empty()) there.push_back(key);
  }
  return there.empty() ? "" : absl::StrCat(" (without ", absl::StrJoin(there, ", "), ")");
}

}  // namespace

absl::StatusOr<std::vector<Message>> ReadConversation(const Json& list, const std::string& where) {
  if (list.is_array() && list.size() == 1 && list[0].is_array()) return ReadConversation(list[0], where);
  const bool is_share_gpt = list.is_array() && !list.empty() && Find(list[0], "role") == nullptr &&
                            Find(list[0], "from") != nullptr;
  if (!is_share_gpt) return ReadMessages(list, where);
  Json messages = Json::array();
  for (const Json& item : list) {
    const std::string name = absl::StrCat(where, ": message ", messages.size() + 1);
    TEMPER_ASSIGN_OR_RETURN(const std::string from, GetString(item, "from", name));
    TEMPER_ASSIGN_OR_RETURN(const std::string value, GetString(item, "value", name));
    messages.push_back({{"role", RoleOf(from)}, {"content", value}});
  }
  return ReadMessages(messages, where);
}

std::optional<std::string> InstructionOf(const Json& row) {
  const Json* instruction = FieldAt(row, "instruction");
  if (instruction == nullptr || !instruction->is_string()) return std::nullopt;
  std::string text = instruction->get<std::string>();
  const Json* input = FieldAt(row, "input");
  if (input != nullptr && input->is_string() && !input->get_ref<const std::string&>().empty())
    absl::StrAppend(&text, "\n\n", input->get_ref<const std::string&>());
  return text;
}

std::string SystemOf(const Json& row) {
  for (const char* key : {"system", "system_prompt"}) {
    if (const Json* value = FieldAt(row, key); IsText(value)) return value->get<std::string>();
  }
  return "";
}

Json ToolsOf(const Json& row) {
  const Json* tools = FieldAt(row, "tools");
  return tools == nullptr ? Json() : *tools;
}

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
  if (std::ranges::find(seen_, field) == seen_.end()) seen_.push_back(field);
}

std::string ProblemFields::seen() const { return absl::StrJoin(seen_, ", "); }

absl::Status ProblemFields::ReadProblem(const DataRow& row, ProblemRow* problem) {
  if (const std::optional<CodeProblem> code = CodeProblemOf(row.json); code && names_.problem.empty()) {
    problem->text = code->text;
    Saw(code->seen);
    return absl::OkStatus();
  }
  problem->tools = ToolsOf(row.json);
  problem->system = SystemOf(row.json);
  const std::string several = names_.problem.empty()               ? StoryName(row.json)
                              : PartsOf(names_.problem).size() > 1 ? names_.problem
                                                                   : "";
  if (!several.empty()) {
    TEMPER_ASSIGN_OR_RETURN(problem->text, Joined(row, PartsOf(several)));
    Saw(several);
    return absl::OkStatus();
  }
  TEMPER_ASSIGN_OR_RETURN(const Found found, Choose(row, names_.problem,
                                                    {"question", "problem", "prompt", "messages",
                                                     "conversations", "instruction"}));
  if (found.value == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat(row.name,
                     ": has no question, problem, prompt, messages, conversations "
                     "or instruction; name the field (fields.problem)"));
  }
  if (names_.problem.empty() && found.key == "instruction" && found.value->is_string()) {
    problem->text = *InstructionOf(row.json);
    Saw(problem->text == found.value->get_ref<const std::string&>() ? found.key : "instruction + input");
    return absl::OkStatus();
  }
  if (found.value->is_string() && found.key != "messages" && found.key != "conversations") {
    Saw(names_.problem.empty() ? found.key + LeftOut(row.json) : found.key);
    problem->text = found.value->get<std::string>();
    if (problem->text.find_first_not_of(" \t\r\n") == std::string::npos)
      return absl::InvalidArgumentError(absl::StrCat(row.name, ": ", found.key, ": is empty"));
    return absl::OkStatus();
  }
  TEMPER_ASSIGN_OR_RETURN(problem->messages,
                          ReadConversation(*found.value, absl::StrCat(row.name, ": ", found.key)));
  Saw(found.key == "messages" || found.key == "conversations" ? found.key
                                                              : absl::StrCat(found.key, " (messages)"));
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
  TEMPER_ASSIGN_OR_RETURN(Found found,
                          Choose(row, names_.answer,
                                 {"answer", "expected_answer", "final_answer", "solution", "ground_truth",
                                  "expected", "target", "reward_model.ground_truth"}));
  if (found.value == nullptr && FieldAt(row.json, "instruction") != nullptr) {
    if (const Json* output = FieldAt(row.json, "output")) found = {"output", output};
  }
  if (found.value == nullptr) return absl::OkStatus();
  // Tests are no answer (verl's rows of programs).
  const bool is_list_of_one =
      found.value->is_array() && found.value->size() == 1 && !(*found.value)[0].is_structured();
  if (names_.answer.empty() && found.key == "reward_model.ground_truth" && found.value->is_structured() &&
      !is_list_of_one)
    return absl::OkStatus();
  problem->has_answer = true;
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
