// SPDX-License-Identifier: Apache-2.0
#include "rewards/code_task.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/text.h"

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
  return parts.size() <= 2 && std::all_of(parts.begin(), parts.end(), [](const std::string& part) {
           return !part.empty() && !absl::ascii_isdigit(part[0]) &&
                  std::all_of(part.begin(), part.end(),
                              [](char c) { return absl::ascii_isalnum(c) || c == '_'; });
         });
}

// A value as it stands, or parsed where it is text.
absl::StatusOr<Json> Unwrapped(const Json& value, const std::string& where) {
  if (value.is_string()) return ParseJson(value.get_ref<const std::string&>(), where);
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

// A call in Open-R1's words: the arguments in "input", the result in "output".
absl::Status ReadNamedCall(const Json& input, const Json& output, const std::string& where, CodeTest* test) {
  if (input.is_array()) {
    test->args = input;
  } else if (input.is_string()) {
    test->args = Json::array();
    for (const absl::string_view line :
         absl::StrSplit(input.get<std::string>(), '\n', absl::SkipWhitespace())) {
      TEMPER_ASSIGN_OR_RETURN(Json value, ParseJson(std::string(line), where + ": input"));
      test->args.push_back(std::move(value));
    }
  } else {
    return Wrong(where, "input: expected a list of the arguments, or JSON, one a line");
  }
  TEMPER_ASSIGN_OR_RETURN(test->expected, Unwrapped(output, where + ": output"));
  if (output.is_array() && output.size() == 1) test->expected = Json(output[0]);
  return absl::OkStatus();
}

absl::StatusOr<CodeTest> ReadTest(const Json& json, const Json* function, const std::string& where) {
  CodeTest test;
  if (!json.is_object()) return Wrong(where, "is no object");
  if (const Json* own = Member(json, "function")) function = own;
  if (const Json* own = Member(json, "fn_name")) function = own;
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
    TEMPER_ASSIGN_OR_RETURN(test.input, GetString(json, "input", where, ""));
    TEMPER_ASSIGN_OR_RETURN(test.output, GetString(json, "output", where));
  }
  return test;
}

// A list of tests, {"inputs","outputs"}, or the JSON text of either.
absl::Status ReadTests(const Json& given, bool hidden, const std::string& where,
                       std::vector<CodeTest>* tests) {
  TEMPER_ASSIGN_OR_RETURN(const Json json, Unwrapped(given, where));
  const Json* function = Member(json, "fn_name");
  Json list = json;
  if (const Json* inputs = Member(json, "inputs")) {
    const Json* outputs = Member(json, "outputs");
    if (!inputs->is_array() || outputs == nullptr || !outputs->is_array() ||
        inputs->size() != outputs->size()) {
      return Wrong(where, "inputs and outputs: expected two lists of the same length");
    }
    list = Json::array();
    for (size_t i = 0; i < inputs->size(); ++i) {
      list.push_back(Json{{"input", (*inputs)[i]}, {"output", (*outputs)[i]}});
    }
  }
  if (!list.is_array()) return Wrong(where, "expected a list of tests");
  for (size_t i = 0; i < list.size(); ++i) {
    TEMPER_ASSIGN_OR_RETURN(CodeTest test, ReadTest(list[i], function, absl::StrCat(where, "[", i, "]")));
    test.hidden = hidden;
    tests->push_back(std::move(test));
  }
  return absl::OkStatus();
}

absl::Status ReadLanguage(const Json& object, const std::string& where, CodeTask* task) {
  TEMPER_ASSIGN_OR_RETURN(std::string language, GetString(object, "language", where, "python"));
  language = absl::AsciiStrToLower(language);
  task->cpp = language == "cpp" || language == "c++";
  if (task->cpp || language == "python" || language == "python3") return absl::OkStatus();
  return Wrong(where, absl::StrCat("language is python or cpp, not ", Printable(language, 60)));
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

absl::StatusOr<CodeTask> ReadCodeTask(const Prompt& prompt, const CodeCompare& compare) {
  const std::string where =
      prompt.id.empty() ? "the problem" : absl::StrCat("problem ", Printable(prompt.id));
  CodeTask task;
  task.compare = compare;
  TEMPER_ASSIGN_OR_RETURN(const Json row, ParseJson(prompt.fields.empty() ? "{}" : prompt.fields, where));
  const Json* tests = Member(row, "tests");
  const Json* hidden = Member(row, "hidden_tests");
  const Json* info = Member(row, "verification_info");
  if (tests == nullptr && hidden == nullptr && info != nullptr) {
    TEMPER_ASSIGN_OR_RETURN(const Json object, Unwrapped(*info, where + ": verification_info"));
    TEMPER_RETURN_IF_ERROR(ReadLanguage(object, where, &task));
    const Json* cases = Member(object, "test_cases");
    if (cases == nullptr) return Wrong(where, "verification_info has no test_cases");
    TEMPER_RETURN_IF_ERROR(ReadTests(*cases, false, where + ": test_cases", &task.tests));
  } else {
    TEMPER_RETURN_IF_ERROR(ReadLanguage(row, where, &task));
  }
  if (tests != nullptr) TEMPER_RETURN_IF_ERROR(ReadTests(*tests, false, where + ": tests", &task.tests));
  if (hidden != nullptr)
    TEMPER_RETURN_IF_ERROR(ReadTests(*hidden, true, where + ": hidden_tests", &task.tests));
  if (task.tests.empty()) return Wrong(where, "has no tests (tests, hidden_tests or verification_info)");
  TEMPER_RETURN_IF_ERROR(ReadCompare(row, where, &task.compare));
  return task;
}

}  // namespace temper
