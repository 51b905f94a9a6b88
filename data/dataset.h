// SPDX-License-Identifier: Apache-2.0
// JSONL datasets with the field names that are common (GSM8K, MATH, messages, verl).
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "core/json.h"
#include "data/tokenizer.h"
#include "data/trajectory.h"

namespace temper {

// Calls row(object, "FILE:LINE") for each line that is not blank. "-" is standard input. Stops at row's first
// error. A line that is no JSON object is an error that names it.
absl::Status ForEachJsonLine(const std::string& path,
                             absl::FunctionRef<absl::Status(const Json&, const std::string&)> row);

// How a problem becomes a prompt.
enum class PromptTemplate {
  kNone,
  kR1
};  // kR1: R1-Zero's User/Assistant template (DeepSeek-R1, table 1), ends in "<think>"

struct ReadProblemsOptions {
  PromptTemplate prompt_template = PromptTemplate::kNone;
  bool skip_bad_lines = false;  // counted instead of an error
};
struct Problems {
  std::vector<Prompt> prompts;  // text and tokens filled in; id: the row's "id", else its line number
  int64_t skipped_lines = 0;
  std::string fields;  // which fields were recognised: "question, answer (after ####)"
};
// Problems out of JSONL: question or problem or prompt (a string, or messages) or messages; the reference
// answer out of answer, solution, ground_truth, expected, reward_model.ground_truth (of each what follows the
// last ####); the task out of task, data_source. A row without an answer is no error here: rules say what
// they need. Ids that are there twice are an error. Messages (what follows the last user's left out) become
// the tokens of the policy's own chat form where its tokenizer has DeepSeek's or ChatML's role tokens; their
// content, and a problem inside the R1 template, are never read as special tokens. Without a template a
// string is the prompt as it stands, special tokens in it included.
absl::StatusOr<Problems> ReadProblems(const std::string& path, const Tokenizer& tokenizer,
                                      const ReadProblemsOptions& options);

// The text of the R1-Zero template around a problem.
std::string R1Prompt(std::string_view problem);

// A supervised document: the loss counts tokens from first_target on.
struct Document {
  std::vector<int32_t> tokens;
  int64_t first_target = 1;
};
// JSONL of {"prompt","completion"} or {"messages"}; an end token is appended. The last message is the target:
// it must be the assistant's, and special tokens in it are read (<think>), as in a completion.
absl::StatusOr<std::vector<Document>> ReadDocuments(const std::string& path, const Tokenizer& tokenizer);
// prompt + completion (+ the first end token); first_target is the completion's first token.
absl::StatusOr<Document> MakeDocument(const std::string& prompt, const std::string& completion,
                                      const Tokenizer& tokenizer);

}  // namespace temper
