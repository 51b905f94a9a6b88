// SPDX-License-Identifier: Apache-2.0
// Datasets as the field publishes them: JSONL or Parquet, with the field names that are common.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "core/json/json.h"
#include "data/chat/chat.h"
#include "data/dataset/problem_row.h"
#include "data/dataset/prompt_form.h"
#include "data/dataset/row_file.h"
#include "data/dataset/split.h"
#include "data/tokenizer/tokenizer.h"
#include "data/trajectory.h"

namespace temper {

// What is asked for each row while a file is opened: its index and how many there are. An error ends it.
using RowProgress = std::function<absl::Status(int64_t row, int64_t rows)>;

struct ProblemFileOptions {
  PromptOptions prompt;
  FieldNames fields;
  bool skip_bad_lines = false;  // counted instead of an error
  std::function<absl::Status(const Prompt&)>
      check;                             // of a prompt without tokens: whether rules can judge by it
  int64_t max_tokens = 0;                // of a prompt, at most; 0: any
  std::optional<Split> side;             // of a split by content (data/dataset/split.h); nothing: both
  double held_out_share = 0;             // of that split
  const ContentKeys* exclude = nullptr;  // problems that must not come, such as those that measure
  ContentKeys* keys = nullptr;           // the file's problems join them
  std::optional<absl::Time> now;         // for chat templates that ask for it (data/chat/chat.h)
  RowProgress progress;
};

// The problems of a file (data/dataset/row_file.h), in any order, without holding them. Open reads the whole
// file once, so that a bad row is found before anything is sampled: no JSON, no problem, a conversation that
// the chat template refuses, an answer that `check` refuses, a prompt that is too long. Such an error names
// the row. Tokens are made by Read, and while opening only of texts long enough to exceed max_tokens; after
// Open, Read fails only where the file has changed, or a tokenizer's regular expression gives up on a text.
// Read may be called from any thread.
//
// Of messages what follows the last user's is left out. Ids that are there twice are an error.
class ProblemFile {
 public:
  // The tokenizer must outlive it.
  static absl::StatusOr<std::unique_ptr<ProblemFile>> Open(const std::string& path,
                                                           const Tokenizer& tokenizer,
                                                           const ProblemFileOptions& options);

  int64_t size() const { return static_cast<int64_t>(rows_.size()); }
  int64_t skipped_lines() const { return skipped_lines_; }
  const std::string& first_skipped() const { return first_skipped_; }  // why, with its line
  int64_t excluded() const { return excluded_; }                       // by `exclude`
  uint32_t rows_sum() const;                                           // CRC-32C of which rows there are
  // Which fields were recognised: "question, answer (after ####)".
  const std::string& fields() const { return fields_; }
  absl::StatusOr<Prompt> Read(int64_t index) const;
  std::string RowName(int64_t index) const { return file_->RowName(rows_[index]); }  // "FILE:LINE"

 private:
  ProblemFile(std::unique_ptr<RowFile> file, const Tokenizer& tokenizer, const ProblemFileOptions& options)
      : file_(std::move(file)), form_(tokenizer, options.prompt, options.now), options_(options) {}
  absl::Status ReadAll();
  absl::Status Check(const DataRow& row, const ProblemRow& problem) const;

  const std::unique_ptr<RowFile> file_;
  const PromptForm form_;
  const ProblemFileOptions options_;
  std::vector<int64_t> rows_;  // of the file
  int64_t skipped_lines_ = 0, excluded_ = 0;
  std::string first_skipped_, fields_;
};

// "FILE: first prompt, 3 tokens: "Q 7 ?" [5, 23, 9]", for a person: what the policy will be given, escaped
// and shortened.
std::string FirstPromptText(const std::string& file, const Prompt& prompt);
// The same of a document: what is asked, then what is trained on.
std::string FirstDocumentText(const std::string& file, const Document& document, const Tokenizer& tokenizer);

struct DocumentFileOptions {
  PromptOptions prompt;                  // of rows that are two texts
  bool skip_bad_lines = false;           // counted instead of an error
  int64_t max_tokens = 0;                // of a document, at most; 0: any
  const ContentKeys* exclude = nullptr;  // rows whose prompt, or any user message, is one of these
  std::optional<absl::Time> now;         // for chat templates that ask for it
  RowProgress progress;
};

// Documents of a file: rows of {"prompt","completion"}, {"instruction", perhaps "input", "output"} or
// {"question","answer"}, in the template that is asked for; of {"messages"} or {"conversations"} (and
// "tools"), or prompt and completion as messages, as ChatForm::EncodeAnswered writes them; of a prompt as
// messages and a completion as text, which is what a policy sampled (PromptForm::Sampled). The last message
// is the target: it must be the assistant's, and special tokens in it are read (<think>), as in a completion.
// Open reads the rows once, and makes tokens only of texts long enough to exceed max_tokens; the others' are
// made by Read (any thread).
class DocumentFile {
 public:
  // The tokenizer must outlive it.
  static absl::StatusOr<std::unique_ptr<DocumentFile>> Open(const std::string& path,
                                                            const Tokenizer& tokenizer,
                                                            const DocumentFileOptions& options = {});
  int64_t size() const { return static_cast<int64_t>(rows_.size()); }
  int64_t excluded() const { return excluded_; }
  uint32_t rows_sum() const;  // CRC-32C of which rows there are
  int64_t skipped_lines() const { return skipped_lines_; }
  const std::string& first_skipped() const { return first_skipped_; }  // why, with its line
  absl::StatusOr<Document> Read(int64_t index) const;

 private:
  DocumentFile(std::unique_ptr<RowFile> file, const Tokenizer& tokenizer, const DocumentFileOptions& options)
      : file_(std::move(file)), form_(tokenizer, options.prompt, options.now), options_(options) {}
  absl::Status ReadAll();
  // *asks: the row is one of `exclude`.
  absl::Status CheckRow(const DataRow& row, bool* asks) const;

  const std::unique_ptr<RowFile> file_;
  const PromptForm form_;
  const DocumentFileOptions options_;
  std::vector<int64_t> rows_;  // of the file
  int64_t skipped_lines_ = 0, excluded_ = 0;
  std::string first_skipped_;
};

}  // namespace temper
