// SPDX-License-Identifier: Apache-2.0
#include "data/dataset/code_problem.h"

#include "absl/strings/str_cat.h"

namespace temper {
namespace {

// The text of a member; "" where it is none.
std::string TextOf(const Json& row, const char* key) {
  const Json* value = Find(row, key);
  return value != nullptr && value->is_string() ? value->get<std::string>() : "";
}

}  // namespace

std::optional<CodeProblem> CodeProblemOf(const Json& row) {
  const Json* list = Find(row, "test_list");
  if (list != nullptr && list->is_array()) {
    const char* key = Find(row, "text") != nullptr ? "text" : "prompt";
    CodeProblem problem{TextOf(row, key), absl::StrCat(key, " + test_list")};
    if (problem.text.empty()) return std::nullopt;
    absl::StrAppend(&problem.text, "\n\nYour code should pass these tests:\n");
    for (const Json& test : *list) {
      if (test.is_string()) absl::StrAppend(&problem.text, "\n", test.get<std::string>());
    }
    return problem;
  }
  constexpr const char* kForms[][2] = {// the problem, and what tells the data set
                                       {"question_content", "question_content"},
                                       {"question", "input_output"},
                                       {"description", "public_tests"}};
  for (const auto& [key, mark] : kForms) {
    CodeProblem problem{TextOf(row, key), key};
    if (Find(row, mark) == nullptr || problem.text.empty()) continue;
    const std::string starter = TextOf(row, "starter_code");
    if (!starter.empty()) {
      absl::StrAppend(&problem.text, "\n\nGo on from this code:\n\n```python\n", starter,
                      starter.back() == '\n' ? "" : "\n", "```");
      problem.seen += " + starter_code";
    }
    return problem;
  }
  return std::nullopt;
}

}  // namespace temper
