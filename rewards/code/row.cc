// SPDX-License-Identifier: Apache-2.0
#include "rewards/code/row.h"

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "core/text.h"
#include "rewards/code/packed.h"
#include "rewards/completion/tags.h"

namespace temper {
namespace {

absl::Status Unfit(const std::string& where, const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat(where, ": ", what));
}

// A member that is there: neither null nor empty.
const Json* Given(const Json& object, const char* key) {
  const Json* value = Find(object, key);
  if (value == nullptr || value->is_null() ||
      (value->is_string() && Trim(value->get_ref<const std::string&>()).empty()))
    return nullptr;
  return value;
}

// An object, or the JSON text of one.
absl::StatusOr<Json> ObjectOf(const Json& value, const std::string& where) {
  if (!value.is_string()) return value;
  return ParseJson(value.get_ref<const std::string&>(), where, Numbers::kAsWritten);
}

absl::Status ReadLanguage(const Json& object, const std::string& where, CodeTask* task) {
  TEMPER_ASSIGN_OR_RETURN(std::string language, GetString(object, "language", where, "python"));
  language = absl::AsciiStrToLower(language);
  task->cpp = language == "cpp" || language == "c++";
  if (task->cpp || language == "python" || language == "python3") return absl::OkStatus();
  return Unfit(where, absl::StrCat("language is python or cpp, not ", Printable(language, 60)));
}

absl::Status ReadOpenR1(const Json& info, const std::string& where, CodeTask* task) {
  TEMPER_ASSIGN_OR_RETURN(const Json object, ObjectOf(info, where + ": verification_info"));
  TEMPER_RETURN_IF_ERROR(ReadLanguage(object, where, task));
  const Json* cases = Given(object, "test_cases");
  if (cases == nullptr) return Unfit(where, "verification_info has no test_cases");
  return AddTests(*cases, false, "", where + ": test_cases", task);
}

// Names of functions and classes that Python code defines at its top.
std::vector<std::string> Defined(std::string_view code) {
  std::vector<std::string> names;
  for (const absl::string_view line : absl::StrSplit(std::string(code), '\n')) {
    for (const char* word : {"def ", "class "}) {
      if (!absl::StartsWith(line, word)) continue;
      const absl::string_view rest = line.substr(std::string_view(word).size());
      names.emplace_back(rest.substr(0, rest.find_first_of("(: ")));
    }
  }
  return names;
}

absl::Status ReadMbpp(const Json& row, const std::string& where, CodeTask* task) {
  if (const Json* imports = Given(row, "test_imports"); imports != nullptr && imports->is_array()) {
    for (const Json& line : *imports) {
      if (line.is_string()) absl::StrAppend(&task->setup, line.get<std::string>(), "\n");
    }
  }
  TEMPER_ASSIGN_OR_RETURN(const std::string setup, GetString(row, "test_setup_code", where, ""));
  task->setup += setup;
  if (const Json* code = Given(row, "code"); code != nullptr && code->is_string())
    task->defines = Defined(code->get_ref<const std::string&>());
  TEMPER_RETURN_IF_ERROR(AddTests(row["test_list"], false, "", where + ": test_list", task));
  const Json* challenge = Given(row, "challenge_test_list");
  if (challenge == nullptr) return absl::OkStatus();
  return AddTests(*challenge, true, "", where + ": challenge_test_list", task);
}

absl::Status ReadHumanEval(const Json& row, const std::string& where, CodeTask* task) {
  TEMPER_ASSIGN_OR_RETURN(task->prompt, GetString(row, "prompt", where, ""));
  TEMPER_ASSIGN_OR_RETURN(const std::string entry, GetString(row, "entry_point", where));
  task->entry = absl::StrReplaceAll(entry, {{"()", ""}});
  const std::string name = task->entry.substr(task->entry.rfind('.') + 1);
  if (name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != name.npos)
    return Unfit(where, "entry_point: expected NAME or CLASS.NAME");
  TEMPER_ASSIGN_OR_RETURN(const std::string test, GetString(row, "test", where));
  CodeTest check;
  check.hidden = true;
  check.check = test;
  // Some data sets' tests call their check, HumanEval's leaves it to the harness.
  if (absl::StrContains(test, "def check(")) absl::StrAppend(&check.check, "\ncheck(", name, ")\n");
  task->tests.push_back(std::move(check));
  return absl::OkStatus();
}

absl::Status ReadLiveCodeBench(const Json& row, const std::string& where, CodeTask* task) {
  std::string function;
  if (const Json* metadata = Given(row, "metadata")) {
    TEMPER_ASSIGN_OR_RETURN(const Json object, ObjectOf(*metadata, where + ": metadata"));
    TEMPER_ASSIGN_OR_RETURN(function, GetString(object, "func_name", where + ": metadata", ""));
  }
  for (const char* key : {"public_test_cases", "private_test_cases"}) {
    const Json* tests = Given(row, key);
    if (tests == nullptr) continue;
    const bool hidden = tests != Find(row, "public_test_cases");
    const std::string place = absl::StrCat(where, ": ", key);
    Json text = *tests;
    if (text.is_string() && Trim(text.get_ref<const std::string&>())[0] != '[') {
      TEMPER_ASSIGN_OR_RETURN(text, UnpackText(Trim(text.get_ref<const std::string&>()), place));
    }
    TEMPER_RETURN_IF_ERROR(AddTests(text, hidden, function, place, task));
  }
  return absl::OkStatus();
}

absl::Status ReadCodeContests(const Json& row, const std::string& where, CodeTask* task) {
  for (const char* key : {"public_tests", "private_tests", "generated_tests"}) {
    if (const Json* tests = Given(row, key)) {
      const bool hidden = tests != Find(row, "public_tests");
      TEMPER_RETURN_IF_ERROR(AddTests(*tests, hidden, "", absl::StrCat(where, ": ", key), task));
    }
  }
  return absl::OkStatus();
}

absl::Status ReadOwn(const Json& row, const std::string& where, CodeTask* task) {
  TEMPER_RETURN_IF_ERROR(ReadLanguage(row, where, task));
  for (const char* key : {"tests", "hidden_tests"}) {
    if (const Json* tests = Given(row, key)) {
      const bool hidden = tests != Find(row, "tests");
      TEMPER_RETURN_IF_ERROR(AddTests(*tests, hidden, "", absl::StrCat(where, ": ", key), task));
    }
  }
  return absl::OkStatus();
}

absl::Status ReadForm(const Json& row, const std::string& where, CodeTask* task) {
  const auto has = [&](const char* key) { return Given(row, key) != nullptr; };
  if (has("tests") || has("hidden_tests")) return ReadOwn(row, where, task);
  if (has("verification_info")) return ReadOpenR1(*Given(row, "verification_info"), where, task);
  if (has("test_list")) return ReadMbpp(row, where, task);
  if (has("entry_point") && has("test")) return ReadHumanEval(row, where, task);
  if (has("public_test_cases") || has("private_test_cases")) return ReadLiveCodeBench(row, where, task);
  if (has("input_output"))
    return AddTests(*Given(row, "input_output"), false, "", where + ": input_output", task);
  if (has("public_tests") || has("private_tests")) return ReadCodeContests(row, where, task);
  if (const Json* model = Given(row, "reward_model")) {
    const Json* truth = Given(*model, "ground_truth");
    if (truth != nullptr) return AddTests(*truth, false, "", where + ": reward_model.ground_truth", task);
  }
  return ReadLanguage(row, where, task);
}

}  // namespace

absl::Status ReadCodeRow(const Json& row, const std::string& where, CodeTask* task) {
  TEMPER_RETURN_IF_ERROR(ReadForm(row, where, task));
  // A published row may name C++; any other language that it names is not the program's (en).
  if (const Json* language = Given(row, "language"); language != nullptr && language->is_string()) {
    const std::string name = absl::AsciiStrToLower(language->get<std::string>());
    task->cpp = task->cpp || name == "cpp" || name == "c++";
  }
  if (!task->tests.empty()) return absl::OkStatus();
  return Unfit(where,
               "has no tests (tests, hidden_tests, or as published data sets have them: docs/rewards.md)");
}

}  // namespace temper
