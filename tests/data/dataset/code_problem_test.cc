// SPDX-License-Identifier: Apache-2.0
#include "data/dataset/code_problem.h"

#include "data/dataset/problem_row.h"
#include "gtest/gtest.h"

namespace temper {
namespace {

// {what is asked, the fields it is of} as a recipe's problems have it.
std::pair<std::string, std::string> ReadCodeRow(const std::string& row, const FieldNames& names = {}) {
  ProblemFields fields(names);
  DataRow data;
  data.name = "f:1";
  data.json = *ParseJson(row, "f");
  const absl::StatusOr<ProblemRow> problem = fields.Read(data);
  if (!problem.ok()) return {std::string(problem.status().message()), ""};
  return {problem->text + (problem->answer.empty() ? "" : " ANSWER"), fields.seen()};
}

TEST(CodeProblem, IsWhatRowsOfPublishedDataSetsAsk) {
  using Pair = std::pair<std::string, std::string>;
  EXPECT_EQ(
      ReadCodeRow(
          R"({"text":"Add.","code":"def add","test_list":["assert add(1) == 2","assert add(2) == 3"]})"),
      Pair("Add.\n\nYour code should pass these tests:\n\nassert add(1) == 2\nassert add(2) == 3",
           "text + test_list"));
  EXPECT_EQ(ReadCodeRow(R"({"prompt":"Add.","test_list":["assert add(1) == 2"]})").second,
            "prompt + test_list");
  EXPECT_EQ(ReadCodeRow(R"({"question_content":"Add.","starter_code":"","metadata":"{}"})"),
            Pair("Add.", "question_content"));
  EXPECT_EQ(ReadCodeRow(R"({"question_content":"Add.","starter_code":"class S:\n  pass"})"),
            Pair("Add.\n\nGo on from this code:\n\n```python\nclass S:\n  pass\n```",
                 "question_content + starter_code"));
  EXPECT_EQ(ReadCodeRow(R"({"question":"Add.","input_output":"{}","starter_code":"x\n"})").second,
            "question + starter_code");
  EXPECT_EQ(ReadCodeRow(R"({"description":"Add.","public_tests":{}})").second, "description");
  EXPECT_EQ(ReadCodeRow(R"({"prompt":"def f():\n","entry_point":"f","test":"x"})"),
            Pair("def f():\n", "prompt"));
  EXPECT_EQ(
      ReadCodeRow(R"({"prompt":"Add.","reward_model":{"ground_truth":{"inputs":["1"],"outputs":["2"]}}})"),
      Pair("Add.", "prompt"));
}

TEST(CodeProblem, IsNotMadeOfOtherRows) {
  EXPECT_EQ(ReadCodeRow(R"({"question":"1 + 1?","answer":"2","starter_code":"x"})").first, "1 + 1? ANSWER");
  EXPECT_EQ(ReadCodeRow(R"({"text":"Add.","problem":"p","test_list":["a"]})",
                        {.problem = "problem", .answer = "", .task = "", .id = "", .tests = ""})
                .first,
            "p");
  EXPECT_EQ(ReadCodeRow(R"({"description":"d"})").second, "");
}

TEST(CodeProblem, TestsMayStandInAnyField) {
  FieldNames names;
  names.tests = "extra.cases";
  ProblemFields fields(names);
  DataRow row;
  row.name = "f:1";
  row.json = *ParseJson(R"({"question":"q","extra":{"cases":[{"output":"1"}]}})", "f");
  const absl::StatusOr<ProblemRow> problem = fields.Read(row);
  ASSERT_TRUE(problem.ok()) << problem.status();
  EXPECT_EQ(DumpJson(problem->tests), R"([{"output":"1"}])");
  EXPECT_EQ(fields.seen(), "question, extra.cases");
  row.json = *ParseJson(R"({"question":"q"})", "f");
  EXPECT_EQ(fields.Read(row).status().message(), "f:1: has no extra.cases");
}

}  // namespace
}  // namespace temper
