// SPDX-License-Identifier: Apache-2.0
#include "data/dataset/dataset.h"

#include <algorithm>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/files/crc32c.h"
#include "core/random.h"
#include "core/status.h"
#include "core/text.h"

namespace temper {
namespace {

absl::Status At(const std::string& where, const absl::Status& status) {
  if (absl::StartsWith(status.message(), where)) return status;
  return absl::Status(status.code(), absl::StrCat(where, ": ", std::string(status.message())));
}

// The key of what is asked, in the R1 template or not.
uint64_t KeyOf(std::string_view text) { return ContentKey(WithoutR1(text)); }

// Whether a conversation asks one of these, in whichever turn.
bool Asks(const std::vector<Message>& messages, const ContentKeys& keys) {
  return std::ranges::any_of(messages, [&](const Message& message) {
    return message.role == "user" && keys.contains(KeyOf(message.content));
  });
}

bool OnSide(uint64_t key, const ProblemFileOptions& options) {
  return !options.side || options.held_out_share == 0 ||
         SplitOf(key, options.held_out_share) == *options.side;
}

// Whether a text of so many bytes can have more tokens than `max_tokens` (0: any number will do): a token has
// a byte or more, and normalisation (NFC) makes at most three of one.
bool MayExceed(size_t bytes, int64_t max_tokens) {
  return max_tokens > 0 && static_cast<int64_t>(bytes) * 3 + 16 > max_tokens;
}

absl::Status TooLong(const char* what, int64_t tokens, int64_t max_tokens, const char* why) {
  return absl::InvalidArgumentError(absl::StrCat("the ", what, " has ", tokens, " tokens, and at most ",
                                                 max_tokens, " fit the model's positions", why,
                                                 "; skip_bad_lines leaves such rows out"));
}

// Its text is the problem's, as yet without a template.
Prompt PromptOf(const DataRow& row, const ProblemRow& problem) {
  Prompt prompt;
  prompt.id = problem.id;
  prompt.text = problem.text;
  prompt.answer = problem.answer;
  prompt.task = problem.task;
  Json fields = row.json;
  if (!problem.tests.is_null()) fields["tests"] = problem.tests;  // the name that rules know
  prompt.fields = DumpJson(fields);
  return prompt;
}

absl::Status Told(const RowProgress& progress, int64_t row, int64_t rows) {
  return progress != nullptr ? progress(row, rows) : absl::OkStatus();
}

// Rows that were left out as bad, and why the first was.
struct Skipped {
  int64_t rows = 0;
  std::string first;
  void Add(const absl::Status& status) {
    if (rows++ == 0) first = std::string(status.message());
  }
};

// Calls use(index) behind each row that passes `check`, in order. Rows that do not are counted where the
// options say to go on; else the first of them is the error.
template <class Options>
absl::StatusOr<Skipped> ForEachRow(const RowFile& file, const Options& options,
                                   absl::FunctionRef<absl::Status(const DataRow&)> check,
                                   absl::FunctionRef<absl::Status(int64_t)> use) {
  Skipped skipped;
  for (int64_t i = 0; i < file.size(); ++i) {
    TEMPER_RETURN_IF_ERROR(Told(options.progress, i, file.size()));
    const auto read = [&]() -> absl::Status {
      TEMPER_ASSIGN_OR_RETURN(const DataRow row, file.Read(i));
      const absl::Status status = check(row);
      return status.ok() ? status : At(row.name, status);
    };
    const absl::Status status = read();
    if (status.ok()) {
      TEMPER_RETURN_IF_ERROR(use(i));
    } else if (options.skip_bad_lines && !absl::IsCancelled(status)) {
      skipped.Add(status);
    } else {
      return status;
    }
  }
  return skipped;
}

uint32_t SumOf(const std::vector<int64_t>& rows) {
  return Crc32c({reinterpret_cast<const char*>(rows.data()), rows.size() * sizeof(int64_t)});
}

}  // namespace

uint32_t ProblemFile::rows_sum() const { return SumOf(rows_); }
uint32_t DocumentFile::rows_sum() const { return SumOf(rows_); }

absl::StatusOr<std::unique_ptr<ProblemFile>> ProblemFile::Open(const std::string& path,
                                                               const Tokenizer& tokenizer,
                                                               const ProblemFileOptions& options) {
  TEMPER_ASSIGN_OR_RETURN(std::unique_ptr<RowFile> rows, RowFile::Open(path));
  auto file = std::unique_ptr<ProblemFile>(new ProblemFile(std::move(rows), tokenizer, options));
  TEMPER_RETURN_IF_ERROR(file->ReadAll());
  return file;
}

absl::Status ProblemFile::ReadAll() {
  ProblemFields fields(options_.fields);
  absl::flat_hash_map<uint64_t, int64_t> row_of_id;  // by the id's hash
  row_of_id.reserve(static_cast<size_t>(file_->size()));
  ProblemRow problem;
  uint64_t key = 0;
  const auto check = [&](const DataRow& row) -> absl::Status {
    TEMPER_ASSIGN_OR_RETURN(problem, fields.Read(row));
    key = KeyOf(problem.text);
    return Check(row, problem);
  };
  const auto add = [&](int64_t row) -> absl::Status {
    const auto [first, is_new] = row_of_id.emplace(RandomKey(0, "id", 0, problem.id), row);
    if (!is_new) {
      return absl::InvalidArgumentError(absl::StrCat(file_->RowName(row), ": id ", Printable(problem.id, 60),
                                                     " is that of line ", file_->Number(first->second),
                                                     " too"));
    }
    if (!OnSide(key, options_)) return absl::OkStatus();
    if (options_.exclude != nullptr &&
        (options_.exclude->contains(key) || Asks(problem.messages, *options_.exclude))) {
      ++excluded_;
    } else {
      rows_.push_back(row);
    }
    if (options_.keys != nullptr) options_.keys->insert(key);
    return absl::OkStatus();
  };
  TEMPER_ASSIGN_OR_RETURN(const Skipped skipped, ForEachRow(*file_, options_, check, add));
  skipped_lines_ = skipped.rows;
  first_skipped_ = skipped.first;
  fields_ = fields.seen();
  return absl::OkStatus();
}

absl::Status ProblemFile::Check(const DataRow& row, const ProblemRow& problem) const {
  if (problem.text.find_first_not_of(" \t\r\n") == std::string::npos)
    return absl::InvalidArgumentError("the prompt is empty");
  TEMPER_ASSIGN_OR_RETURN(std::string text, form_.Text(problem));
  if (MayExceed(text.size(), options_.max_tokens)) {
    TEMPER_ASSIGN_OR_RETURN(const std::vector<int32_t> tokens, form_.Tokens(problem));
    if (options_.max_tokens > 0 && static_cast<int64_t>(tokens.size()) > options_.max_tokens)
      return TooLong("prompt", static_cast<int64_t>(tokens.size()), options_.max_tokens,
                     " beside max_new_tokens");
  }
  if (options_.check == nullptr) return absl::OkStatus();
  Prompt prompt = PromptOf(row, problem);
  prompt.text = std::move(text);
  const absl::Status status = options_.check(prompt);
  if (status.ok() || !problem.answer.empty()) return status;
  return absl::InvalidArgumentError(absl::StrCat(
      status.message(),
      problem.has_answer ? ": it is empty" : "; where another field has it, name it (fields.answer)"));
}

absl::StatusOr<Prompt> ProblemFile::Read(int64_t index) const {
  TEMPER_ASSIGN_OR_RETURN(const DataRow row, file_->Read(rows_[index]));
  TEMPER_ASSIGN_OR_RETURN(const ProblemRow problem, ProblemFields(options_.fields).Read(row));
  absl::StatusOr<std::vector<int32_t>> tokens = form_.Tokens(problem);
  if (!tokens.ok()) return At(row.name, tokens.status());
  if (tokens->empty()) return absl::InvalidArgumentError(absl::StrCat(row.name, ": the prompt is empty"));
  absl::StatusOr<std::string> text = form_.Text(problem);
  if (!text.ok()) return At(row.name, text.status());
  Prompt prompt = PromptOf(row, problem);
  prompt.tokens = *std::move(tokens);
  prompt.text = *std::move(text);
  return prompt;
}

std::string FirstPromptText(const std::string& file, const Prompt& prompt) {
  constexpr size_t kBytes = 2000, kIds = 64;
  const bool cut = prompt.text.size() > kBytes, more = prompt.tokens.size() > kIds;
  const absl::Span<const int32_t> ids =
      absl::MakeConstSpan(prompt.tokens).first(std::min(kIds, prompt.tokens.size()));
  return absl::StrCat(Printable(file, 1000), ": first prompt, ", prompt.tokens.size(),
                      " tokens: ", DumpJson(Json(prompt.text.substr(0, kBytes))), cut ? ".." : "", " [",
                      absl::StrJoin(ids, ", "), more ? ", .." : "", "]");
}

std::string FirstDocumentText(const std::string& file, const Document& document, const Tokenizer& tokenizer) {
  constexpr size_t kBytes = 2000;
  const auto quoted = [&](absl::Span<const int32_t> ids) {
    const std::string text = tokenizer.Decode(ids, /*skip_special_tokens=*/false);
    return absl::StrCat(DumpJson(Json(text.substr(0, kBytes))), text.size() > kBytes ? ".." : "");
  };
  const absl::Span<const int32_t> ids = document.tokens;
  const auto first = static_cast<size_t>(document.first_target);
  return absl::StrCat(Printable(file, 1000), ": first document, ", ids.size(), " tokens, ",
                      ids.size() - first, " of them trained on: ", quoted(ids.first(first)), " -> ",
                      quoted(ids.subspan(first)));
}

namespace {

// A document's row: what is asked, and what the assistant says to it.
struct DocumentRow {
  ProblemRow asked;
  Message answer;
  bool alone = false;    // a text that nothing asks for, as of a corpus
  bool sampled = false;  // the answer is what a policy wrote after the prompt, and no message that was said

  absl::StatusOr<Document> Tokens(const PromptForm& form) const {
    return sampled ? form.Sampled(asked, answer.content) : form.Answered(asked, answer);
  }
};

absl::StatusOr<DocumentRow> ReadConversationRow(const DataRow& row, const std::string& key) {
  const std::string where = absl::StrCat(row.name, ": ", key);
  DocumentRow document;
  std::vector<Message>& messages = document.asked.messages;
  TEMPER_ASSIGN_OR_RETURN(messages, ReadConversation(*FieldAt(row.json, key), where));
  const Json* completion = key == "prompt" ? FieldAt(row.json, "completion") : nullptr;
  document.asked.tools = ToolsOf(row.json);
  if (completion != nullptr && completion->is_string()) {  // a collect stage's
    document.asked.text = messages.back().content;
    document.answer.content = completion->get<std::string>();
    document.sampled = true;
    return document;
  }
  if (completion != nullptr) {
    TEMPER_ASSIGN_OR_RETURN(const std::vector<Message> answer,
                            ReadConversation(*completion, row.name + ": completion"));
    messages.insert(messages.end(), answer.begin(), answer.end());
  }
  if (messages.size() < 2 || messages.back().role != "assistant")
    return absl::InvalidArgumentError(absl::StrCat(where, ": the last one is not the assistant's"));
  document.answer = std::move(messages.back());
  messages.pop_back();
  document.asked.text = messages.back().content;
  document.asked.system = SystemOf(row.json);
  return document;
}

absl::StatusOr<DocumentRow> ReadDocumentRow(const DataRow& row) {
  for (const char* key : {"messages", "conversations"}) {
    if (FieldAt(row.json, key) != nullptr) return ReadConversationRow(row, key);
  }
  const Json* prompt = FieldAt(row.json, "prompt");
  if (prompt != nullptr && prompt->is_array()) return ReadConversationRow(row, "prompt");
  DocumentRow document;
  std::string answer = "completion";
  if (prompt != nullptr) {
    TEMPER_ASSIGN_OR_RETURN(document.asked.text, GetString(row.json, "prompt", row.name));
  } else if (const std::optional<std::string> instruction = InstructionOf(row.json)) {
    document.asked.text = *instruction;
    answer = "output";
  } else if (FieldAt(row.json, "question") != nullptr) {
    TEMPER_ASSIGN_OR_RETURN(document.asked.text, GetString(row.json, "question", row.name));
    answer = "answer";
  } else if (FieldAt(row.json, "text") != nullptr) {
    answer = "text";
    document.alone = true;
  } else {
    return absl::InvalidArgumentError(
        absl::StrCat(row.name,
                     ": has no prompt and completion, messages, conversations, instruction and output, "
                     "question and answer, or text"));
  }
  TEMPER_ASSIGN_OR_RETURN(document.answer.content, GetString(row.json, answer, row.name));
  if (document.answer.content.empty())
    return absl::InvalidArgumentError(absl::StrCat(row.name, ": ", answer, ": is empty"));
  document.asked.system = SystemOf(row.json);
  document.answer.role = "assistant";
  document.answer.fields = {{"role", "assistant"}, {"content", document.answer.content}};
  return document;
}

}  // namespace

absl::StatusOr<std::unique_ptr<DocumentFile>> DocumentFile::Open(const std::string& path,
                                                                 const Tokenizer& tokenizer,
                                                                 const DocumentFileOptions& options) {
  TEMPER_ASSIGN_OR_RETURN(std::unique_ptr<RowFile> rows, RowFile::Open(path));
  auto file = std::unique_ptr<DocumentFile>(new DocumentFile(std::move(rows), tokenizer, options));
  TEMPER_RETURN_IF_ERROR(file->ReadAll());
  return file;
}

absl::Status DocumentFile::ReadAll() {
  bool asks = false;
  const auto check = [&](const DataRow& row) { return CheckRow(row, &asks); };
  const auto add = [&](int64_t row) {
    asks ? void(++excluded_) : rows_.push_back(row);
    return absl::OkStatus();
  };
  TEMPER_ASSIGN_OR_RETURN(const Skipped skipped, ForEachRow(*file_, options_, check, add));
  skipped_lines_ = skipped.rows;
  first_skipped_ = skipped.first;
  return absl::OkStatus();
}

absl::Status DocumentFile::CheckRow(const DataRow& row, bool* asks) const {
  TEMPER_ASSIGN_OR_RETURN(const DocumentRow document, ReadDocumentRow(row));
  const ProblemRow& asked = document.asked;
  if (document.alone && options_.prompt.prompt_template != PromptTemplate::kNone)
    return absl::InvalidArgumentError(
        "text: asks nothing that a template could stand around: template: none");
  *asks = options_.exclude != nullptr &&
          (options_.exclude->contains(KeyOf(asked.text)) || Asks(asked.messages, *options_.exclude));
  if (*asks) return absl::OkStatus();
  TEMPER_ASSIGN_OR_RETURN(const std::string text, form_.Text(asked));
  // What a tokenizer cannot do, such as messages without role tokens, it cannot do for the first row either.
  const bool first = rows_.empty();
  if (!first && !MayExceed(text.size() + document.answer.content.size(), options_.max_tokens))
    return absl::OkStatus();
  TEMPER_ASSIGN_OR_RETURN(const Document whole, document.Tokens(form_));
  const int64_t tokens = static_cast<int64_t>(whole.tokens.size());
  if (options_.max_tokens == 0 || tokens <= options_.max_tokens) return absl::OkStatus();
  return TooLong("document", tokens, options_.max_tokens, "");
}

absl::StatusOr<Document> DocumentFile::Read(int64_t index) const {
  TEMPER_ASSIGN_OR_RETURN(const DataRow row, file_->Read(rows_[index]));
  TEMPER_ASSIGN_OR_RETURN(const DocumentRow read, ReadDocumentRow(row));
  absl::StatusOr<Document> document = read.Tokens(form_);
  return document.ok() ? std::move(document) : At(row.name, document.status());
}

}  // namespace temper
