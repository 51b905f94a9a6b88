// SPDX-License-Identifier: Apache-2.0
#include "rewards/code/task.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "core/text.h"
#include "rewards/code/row.h"

namespace temper {
namespace {

absl::Status Wrong(const std::string& where, const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat(where, ": ", what));
}

const Json* Member(const Json& object, const char* key) {
  const Json* value = Find(object, key);
  return value != nullptr && !value->is_null() ? value : nullptr;
}

// NAME or CLASS.NAME, in ASCII.
bool IsFunctionName(const std::string& name) {
  const std::vector<std::string> parts = absl::StrSplit(name, '.');
  return parts.size() <= 2 && std::ranges::all_of(parts, [](const std::string& part) {
           return !part.empty() && !absl::ascii_isdigit(part[0]) &&
                  std::ranges::all_of(part, [](char c) { return absl::ascii_isalnum(c) || c == '_'; });
         });
}

// A value as it stands, or parsed where it is text.
absl::StatusOr<Json> Unwrapped(const Json& value, const std::string& where) {
  if (value.is_string()) return ParseJson(value.get_ref<const std::string&>(), where, Numbers::kAsWritten);
  return value;
}

// {"function","args","expected"}
absl::Status ReadCall(const Json& json, const std::string& where, CodeTest* test) {
  const Json* args = Find(json, "args");
  const Json* expected = Find(json, "expected");
  if (args == nullptr || !args->is_array()) return Wrong(where, "args: expected a list of the arguments");
  if (expected == nullptr) return Wrong(where, "has no expected");
  test->args = *args;
  test->expected = *expected;
  return absl::OkStatus();
}

// A call in APPS' and Open-R1's words: the arguments in "input", the result in "output".
absl::Status ReadNamedCall(const Json& input, const Json& output, const std::string& where, CodeTest* test) {
  if (input.is_string()) {
    test->args = Json::array();
    for (const absl::string_view line :
         absl::StrSplit(input.get<std::string>(), '\n', absl::SkipWhitespace())) {
      TEMPER_ASSIGN_OR_RETURN(Json value,
                              ParseJson(std::string(line), where + ": input", Numbers::kAsWritten));
      test->args.push_back(std::move(value));
    }
  } else if (input.is_null()) {
    return Wrong(where, "input: expected a list of the arguments, or JSON, one a line");
  } else {
    test->args = input.is_array() ? input : Json::array({input});
  }
  TEMPER_ASSIGN_OR_RETURN(test->expected, Unwrapped(output, where + ": output"));
  // Some rows wrap the result in a list, as the arguments are, and some do not: which does not show.
  test->alone = output.is_array() && output.size() == 1;
  if (test->alone) test->expected = Json(output[0]);
  return absl::OkStatus();
}

// A text, or a list of its lines.
absl::StatusOr<std::string> Lines(const Json* value, const std::string& where) {
  if (value == nullptr || !value->is_array()) return Wrong(where, "missing");
  std::vector<std::string> lines;
  for (const Json& line : *value) {
    if (line.is_structured() || line.is_null()) return Wrong(where, "expected a text or a list of lines");
    lines.push_back(line.is_string() ? line.get<std::string>() : DumpJson(line));
  }
  return absl::StrJoin(lines, "\n");
}

absl::StatusOr<CodeTest> ReadTest(const Json& json, const Json* function, const std::string& where) {
  CodeTest test;
  if (json.is_string()) {
    test.check = json.get<std::string>();
    return test;
  }
  if (!json.is_object()) return Wrong(where, "is no object");
  if (const Json* own = Member(json, "function")) function = own;
  if (const Json* own = Member(json, "fn_name")) function = own;
  if (const Json* metadata = Member(json, "metadata")) {
    if (const Json* own = Member(*metadata, "func_name")) function = own;
  }
  const Json* type = Member(json, "testtype");
  if (type == nullptr) type = Member(json, "type");
  if (type != nullptr && type->is_string() && absl::StartsWith(type->get<std::string>(), "stdin"))
    function = nullptr;
  if (function != nullptr) {
    if (!function->is_string() || !IsFunctionName(function->get<std::string>())) {
      return Wrong(where, "function: expected NAME or CLASS.NAME");
    }
    test.function = function->get<std::string>();
  }
  const Json* input = Find(json, "input");
  const Json* output = Find(json, "output");
  if (function != nullptr && input != nullptr && output != nullptr) {
    TEMPER_RETURN_IF_ERROR(ReadNamedCall(*input, *output, where, &test));
  } else if (function != nullptr) {
    TEMPER_RETURN_IF_ERROR(ReadCall(json, where, &test));
  } else {
    if (input != nullptr && input->is_array()) {
      TEMPER_ASSIGN_OR_RETURN(test.input, Lines(input, where + ": input"));
    } else {
      TEMPER_ASSIGN_OR_RETURN(test.input, GetString(json, "input", where, ""));
    }
    if (output != nullptr && output->is_array()) {
      TEMPER_ASSIGN_OR_RETURN(test.output, Lines(output, where + ": output"));
    } else {
      TEMPER_ASSIGN_OR_RETURN(test.output, GetString(json, "output", where));
    }
  }
  return test;
}

// {"inputs","outputs"}, or CodeContests' {"input","output"}, as a list of tests; what is no such thing as it
// is.
absl::StatusOr<Json> Zipped(const Json& json, const std::string& where) {
  const Json* inputs = Member(json, "inputs");
  const Json* outputs = Member(json, "outputs");
  if (inputs == nullptr && outputs == nullptr) {
    inputs = Member(json, "input");
    outputs = Member(json, "output");
  }
  if (const Json* checks = Member(json, "assert_case")) return *checks;
  if (inputs == nullptr && outputs == nullptr) return json;
  if (inputs == nullptr || !inputs->is_array() || outputs == nullptr || !outputs->is_array() ||
      inputs->size() != outputs->size()) {
    return Wrong(where, "inputs and outputs: expected two lists of the same length");
  }
  Json list = Json::array();
  for (size_t i = 0; i < inputs->size(); ++i) {
    list.push_back(Json{{"input", (*inputs)[i]}, {"output", (*outputs)[i]}});
  }
  return list;
}

absl::Status ReadCompare(const Json& row, const std::string& where, CodeCompare* compare) {
  TEMPER_ASSIGN_OR_RETURN(const std::string text, GetString(row, "compare", where, ""));
  if (!text.empty()) {
    const absl::StatusOr<CodeCompare::Text> named = CompareByName(text);
    if (!named.ok()) return Wrong(where, std::string(named.status().message()));
    compare->text = *named;
  }
  TEMPER_ASSIGN_OR_RETURN(compare->tolerance, GetDouble(row, "tolerance", where, compare->tolerance));
  if (compare->tolerance >= 0 && compare->tolerance < 1) return absl::OkStatus();
  return Wrong(where, "tolerance: expected a number from 0 to below 1");
}

}  // namespace

absl::StatusOr<CodeCompare::Text> CompareByName(const std::string& name) {
  if (name == "lines") return CodeCompare::Text::kLines;
  if (name == "exact") return CodeCompare::Text::kExact;
  if (name == "words") return CodeCompare::Text::kWords;
  return absl::InvalidArgumentError(
      absl::StrCat("compare is lines, exact or words, not ", Printable(name, 60)));
}

absl::Status AddTests(const Json& given, bool hidden, const std::string& function, const std::string& where,
                      CodeTask* task) {
  TEMPER_ASSIGN_OR_RETURN(const Json json, Unwrapped(given, where));
  const Json* named = Member(json, "fn_name");
  const Json functional = function;
  TEMPER_ASSIGN_OR_RETURN(const Json list, Zipped(json, where));
  if (!list.is_array()) return Wrong(where, "expected a list of tests");
  for (size_t i = 0; i < list.size(); ++i) {
    const Json* type = Member(list[i], "testtype");
    const bool calls = !function.empty() && type != nullptr && *type == "functional";
    TEMPER_ASSIGN_OR_RETURN(CodeTest test,
                            ReadTest(list[i], calls ? &functional : named, absl::StrCat(where, "[", i, "]")));
    test.hidden = hidden;
    task->tests.push_back(std::move(test));
  }
  return absl::OkStatus();
}

absl::StatusOr<CodeTask> ReadCodeTask(const Prompt& prompt, const CodeCompare& compare) {
  const std::string where =
      prompt.id.empty() ? "the problem" : absl::StrCat("problem ", Printable(prompt.id));
  CodeTask task;
  task.compare = compare;
  TEMPER_ASSIGN_OR_RETURN(
      const Json row, ParseJson(prompt.fields.empty() ? "{}" : prompt.fields, where, Numbers::kAsWritten));
  TEMPER_RETURN_IF_ERROR(ReadCodeRow(row, where, &task));
  const bool checks =
      std::ranges::any_of(task.tests, [](const CodeTest& test) { return !test.check.empty(); });
  if (checks && task.cpp) return Wrong(where, "has tests in Python for a program in C++");
  TEMPER_RETURN_IF_ERROR(ReadCompare(row, where, &task.compare));
  return task;
}

}  // namespace temper
