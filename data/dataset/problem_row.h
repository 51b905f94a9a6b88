// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/config/config.h"
#include "data/chat/chat.h"
#include "data/dataset/row_file.h"

namespace temper {

// Which member of a row is what; a point goes into an object ("reward_model.ground_truth"). Empty: the first
// of the names that are common which the row has.
struct FieldNames {
  std::string problem, answer, task, id, tests;

  template <class V>
  void Fields(V& v) {
    v.Field(
        "problem", problem,
        "The problem, text or messages; several texts joined: question + choices. Empty: question, problem, "
        "prompt, messages, conversations or instruction, with a body before a question.");
    v.Field("answer", answer,
            "The reference answer; empty: answer, expected_answer, final_answer, solution, ground_truth, "
            "expected, target, reward_model.ground_truth, or beside an instruction output.");
    v.Field("task", task, "What kind of problem it is; empty: task, data_source.");
    v.Field("id", id, "The problem's id; empty: id; where there is none, the row's number.");
    v.Field("tests", tests,
            "A program's tests, for rule code; empty: tests, hidden_tests, and as MBPP, HumanEval, "
            "LiveCodeBench, "
            "APPS, CodeContests, Open-R1 and verl have them.");
  }
};

// A problem as its row says it.
struct ProblemRow {
  std::string id, answer, task;
  bool has_id = false;            // else id is the row's number
  bool has_answer = false;        // though it may be empty
  std::string text;               // the problem; for messages the last one's, which is the user's
  std::vector<Message> messages;  // the conversation up to there; empty where the problem is text
  Json tests;                     // where their field is named; else null
  Json tools;                     // for its chat template; or null
  std::string system;             // for the same: the row's own system message, or ""
};

// Reads rows in the forms of GSM8K (the answer follows ####), MATH and NuminaMath, NeMo (expected_answer),
// verl and DAPO (prompt as messages, reward_model), TRL, Open-R1, Alpaca (an input stands two lines below its
// instruction), ASDiv and SVAMP (a body before the question), ShareGPT and plain chats, and keeps what it
// recognised.
class ProblemFields {
 public:
  explicit ProblemFields(FieldNames names) : names_(std::move(names)) {}
  // Errors name the row and the field. A row without an answer is none.
  absl::StatusOr<ProblemRow> Read(const DataRow& row);
  // "question, answer (after ####)": the fields that were used, in the order in which they were met.
  std::string seen() const;

 private:
  void Saw(const std::string& field);
  absl::Status ReadProblem(const DataRow& row, ProblemRow* problem);
  absl::Status ReadAnswer(const DataRow& row, ProblemRow* problem);

  const FieldNames names_;
  std::vector<std::string> seen_;
};

// A conversation: [{"role", "content"}, ..] (ReadMessages), or as ShareGPT writes it [{"from", "value"}, ..];
// a list that holds only such a list is that one. Errors name `where`.
absl::StatusOr<std::vector<Message>> ReadConversation(const Json& list, const std::string& where);

// An Alpaca row's instruction with its input; nothing where the row has none.
std::optional<std::string> InstructionOf(const Json& row);

// The row's "system" or "system_prompt", or "".
std::string SystemOf(const Json& row);

// The row's "tools", or null.
Json ToolsOf(const Json& row);

// The member at `path` ("a.b.c"), or null where it is not there or null.
const Json* FieldAt(const Json& row, const std::string& path);

}  // namespace temper
