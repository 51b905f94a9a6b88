// SPDX-License-Identifier: Apache-2.0
// Datasets as the field publishes them: JSONL or Parquet, with the field names that are common.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "core/json.h"
#include "data/chat.h"
#include "data/problem_row.h"
#include "data/row_file.h"
#include "data/split.h"
#include "data/tokenizer.h"
#include "data/trajectory.h"

namespace temper {

// How a problem becomes a prompt.
enum class PromptTemplate {
  kNone,
  kR1
};  // kR1: R1-Zero's User/Assistant template (DeepSeek-R1, table 1), ends in "<think>"

struct ProblemFileOptions {
  PromptTemplate prompt_template = PromptTemplate::kNone;
  FieldNames fields;
  bool skip_bad_lines = false;           // counted instead of an error
  std::optional<Split> side;             // of a split by content (data/split.h); nothing: both
  double held_out_share = 0;             // of that split
  const ContentKeys* exclude = nullptr;  // problems that must not come, such as those that measure
  std::optional<absl::Time> now;         // for chat templates that ask for it (data/chat.h)
};

// The problems of a file (data/row_file.h), in any order, without holding them. Open reads the whole file
// once, so that a bad row is found before anything is sampled: no JSON, no problem, a conversation that the
// chat template refuses. Tokens are made by Read alone; after Open it fails only where the file has changed,
// or a tokenizer's regular expression gives up on a text. Read may be called from any thread.
//
// Messages (what follows the last user's left out) become the tokens of the policy's own chat form
// (data/chat.h); their content, and a problem inside the R1 template, are never read as special tokens.
// Without a template a string is the prompt as it stands, special tokens in it included. Ids that are there
// twice are an error.
class ProblemFile {
 public:
  // The tokenizer must outlive it.
  static absl::StatusOr<std::unique_ptr<ProblemFile>> Open(const std::string& path,
                                                           const Tokenizer& tokenizer,
                                                           const ProblemFileOptions& options);

  int64_t size() const { return static_cast<int64_t>(rows_.size()); }
  int64_t skipped_lines() const { return skipped_lines_; }
  int64_t excluded() const { return excluded_; }  // by `exclude`
  // Which fields were recognised: "question, answer (after ####)".
  const std::string& fields() const { return fields_; }
  absl::StatusOr<Prompt> Read(int64_t index) const;
  // Without its tokens, which cost the most: what rules need to check the reference answer. A conversation's
  // text is what the template writes.
  absl::StatusOr<Prompt> ReadText(int64_t index) const;
  // Leaves out all but these problems, ascending indices.
  void Keep(const std::vector<int64_t>& indices);

 private:
  ProblemFile(std::unique_ptr<RowFile> file, const Tokenizer& tokenizer, const ProblemFileOptions& options)
      : file_(std::move(file)),
        tokenizer_(tokenizer),
        chat_(ChatForm::Of(tokenizer, options.now)),
        options_(options) {}
  absl::Status ReadAll();
  bool is_r1() const { return options_.prompt_template == PromptTemplate::kR1; }
  bool IsChat(const ProblemRow& problem) const { return !is_r1() && !problem.messages.empty(); }
  absl::StatusOr<std::string> TextOf(const DataRow& row, const ProblemRow& problem) const;

  const std::unique_ptr<RowFile> file_;
  const Tokenizer& tokenizer_;
  const absl::StatusOr<ChatForm> chat_;  // an error where messages are met
  const ProblemFileOptions options_;
  std::vector<int64_t> rows_;  // of the file
  int64_t skipped_lines_ = 0, excluded_ = 0;
  std::string fields_;
};

// Adds the keys of the file's problems that ProblemFile would give.
absl::Status AddContentKeys(const std::string& path, const ProblemFileOptions& options, ContentKeys* keys);

// The text of the R1-Zero template around a problem.
std::string R1Prompt(std::string_view problem);
// Its tokens: the template's tags are tokens where the tokenizer has such; in the problem they are words.
absl::StatusOr<std::vector<int32_t>> EncodeR1(std::string_view problem, const Tokenizer& tokenizer);

// A supervised document: the loss counts tokens from first_target on.
struct Document {
  std::vector<int32_t> tokens;
  int64_t first_target = 1;
};
// Documents of a file: rows of {"prompt","completion"}, to which an end token is appended, or {"messages"}
// (and "tools"), as ChatForm::EncodeAnswered writes them. The last message is the target: it must be the
// assistant's, and special tokens in it are read (<think>), as in a completion. Open reads the rows once, the
// tokens are made by Read (any thread).
class DocumentFile {
 public:
  // Rows whose prompt, or any user message, is in `exclude` (may be null) are left out. `now` is for chat
  // templates that ask for it. The tokenizer must outlive it.
  static absl::StatusOr<std::unique_ptr<DocumentFile>> Open(const std::string& path,
                                                            const Tokenizer& tokenizer,
                                                            const ContentKeys* exclude = nullptr,
                                                            std::optional<absl::Time> now = std::nullopt);
  int64_t size() const { return static_cast<int64_t>(rows_.size()); }
  int64_t excluded() const { return file_->size() - size(); }
  absl::StatusOr<Document> Read(int64_t index) const;

 private:
  DocumentFile(std::unique_ptr<RowFile> file, const Tokenizer& tokenizer, std::optional<absl::Time> now)
      : file_(std::move(file)), tokenizer_(tokenizer), chat_(ChatForm::Of(tokenizer, now)) {}

  const std::unique_ptr<RowFile> file_;
  const Tokenizer& tokenizer_;
  const absl::StatusOr<ChatForm> chat_;  // an error where messages are met
  std::vector<int64_t> rows_;            // of the file
};
// prompt + completion (+ the first end token); first_target is the completion's first token.
absl::StatusOr<Document> MakeDocument(const std::string& prompt, const std::string& completion,
                                      const Tokenizer& tokenizer);

}  // namespace temper
