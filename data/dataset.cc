// SPDX-License-Identifier: Apache-2.0
#include "data/dataset.h"

#include <algorithm>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "core/random.h"
#include "core/status.h"
#include "core/text.h"
#include "data/chat.h"

namespace temper {
namespace {

constexpr Tokenizer::EncodeOptions kPlain{.added_tokens = false, .add_special_tokens = false};
constexpr Tokenizer::EncodeOptions kRead{.added_tokens = true, .add_special_tokens = false};

// DeepSeek-R1 (arXiv 2501.12948), table 1, around the problem.
constexpr char kR1Head[] =
    "A conversation between User and Assistant. The user asks a question, and the Assistant solves it. The "
    "assistant first thinks about the reasoning process in the mind and then provides the user with the "
    "answer. "
    "The reasoning process and answer are enclosed within <think> </think> and <answer> </answer> tags, "
    "respectively, i.e., <think> reasoning process here </think> <answer> answer here </answer>. User: ";
constexpr char kR1Tail[] = ". Assistant: <think>";

absl::Status At(const std::string& where, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat(where, ": ", std::string(status.message())));
}

// The template's tags are tokens where the tokenizer has such; in the problem they are words.
absl::StatusOr<std::vector<int32_t>> EncodeR1(const std::string& problem, const Tokenizer& tokenizer) {
  TEMPER_ASSIGN_OR_RETURN(const std::vector<int32_t> plain, tokenizer.Encode(problem, kPlain));
  TEMPER_ASSIGN_OR_RETURN(const std::vector<int32_t> read, tokenizer.Encode(problem, kRead));
  if (plain == read) return tokenizer.Encode(R1Prompt(problem));
  TEMPER_ASSIGN_OR_RETURN(std::vector<int32_t> tokens, tokenizer.Encode(kR1Head));
  TEMPER_ASSIGN_OR_RETURN(const std::vector<int32_t> end, tokenizer.Encode(kR1Tail, kRead));
  tokens.insert(tokens.end(), plain.begin(), plain.end());
  tokens.insert(tokens.end(), end.begin(), end.end());
  return tokens;
}

ContentKeys::value_type KeyOf(const ProblemRow& problem) { return ContentKey(problem.text); }

bool OnSide(uint64_t key, const ProblemFileOptions& options) {
  return !options.side || options.held_out_share == 0 ||
         SplitOf(key, options.held_out_share) == *options.side;
}

// A row's "tools", or null.
Json ToolsOf(const Json& row) {
  const Json* tools = FieldAt(row, "tools");
  return tools == nullptr ? Json() : *tools;
}

absl::StatusOr<Document> ReadDocument(const Json& row, const Tokenizer& tokenizer,
                                      const absl::StatusOr<ChatForm>& chat, const std::string& where) {
  if (const Json* list = FieldAt(row, "messages")) {
    TEMPER_ASSIGN_OR_RETURN(const std::vector<Message> messages,
                            ReadMessages(*list, absl::StrCat(where, ": messages")));
    if (messages.back().role != "assistant") {
      return absl::InvalidArgumentError(
          absl::StrCat(where, ": messages: the last one is not the assistant's"));
    }
    if (!chat.ok()) return chat.status();
    TEMPER_ASSIGN_OR_RETURN(ChatForm::Answered answered, chat->EncodeAnswered(messages, ToolsOf(row)));
    return Document{std::move(answered.tokens), answered.first_answer};
  }
  TEMPER_ASSIGN_OR_RETURN(const std::string prompt, GetString(row, "prompt", where));
  TEMPER_ASSIGN_OR_RETURN(const std::string completion, GetString(row, "completion", where));
  return MakeDocument(prompt, completion, tokenizer);
}

// What a document was asked: its prompt, or the last message of the user.
absl::StatusOr<std::string> QuestionOf(const DataRow& row) {
  const Json* list = FieldAt(row.json, "messages");
  if (list == nullptr) {
    TEMPER_ASSIGN_OR_RETURN(std::string prompt, GetString(row.json, "prompt", row.name));
    TEMPER_RETURN_IF_ERROR(GetString(row.json, "completion", row.name).status());
    return prompt;
  }
  TEMPER_ASSIGN_OR_RETURN(const std::vector<Message> messages,
                          ReadMessages(*list, absl::StrCat(row.name, ": messages")));
  if (messages.back().role != "assistant") {
    return absl::InvalidArgumentError(
        absl::StrCat(row.name, ": messages: the last one is not the assistant's"));
  }
  for (size_t i = messages.size(); i-- > 0;) {
    if (messages[i].role == "user") return messages[i].content;
  }
  return std::string();
}

}  // namespace

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
  absl::flat_hash_map<uint64_t, int64_t> row_of_id;  // by the id's hash: 16 bytes a row
  for (int64_t i = 0; i < file_->size(); ++i) {
    const auto read = [&]() -> absl::StatusOr<ProblemRow> {
      TEMPER_ASSIGN_OR_RETURN(const DataRow row, file_->Read(i));
      TEMPER_ASSIGN_OR_RETURN(ProblemRow problem, fields.Read(row));
      TEMPER_RETURN_IF_ERROR(MakePrompt(row, problem).status());
      return problem;
    };
    const absl::StatusOr<ProblemRow> problem = read();
    if (!problem.ok() && options_.skip_bad_lines) {
      ++skipped_lines_;
      continue;
    }
    if (!problem.ok()) return problem.status();
    const auto [first, is_new] = row_of_id.emplace(RandomKey(0, "id", 0, problem->id), i);
    if (!is_new) {
      return absl::InvalidArgumentError(absl::StrCat(file_->RowName(i), ": id ", Printable(problem->id, 60),
                                                     " is that of line ", file_->Number(first->second),
                                                     " too"));
    }
    const uint64_t key = KeyOf(*problem);
    if (!OnSide(key, options_)) continue;
    if (options_.exclude != nullptr && options_.exclude->contains(key)) {
      ++excluded_;
    } else {
      rows_.push_back(i);
    }
  }
  fields_ = fields.seen();
  return absl::OkStatus();
}

absl::StatusOr<Prompt> ProblemFile::Read(int64_t index) const {
  TEMPER_ASSIGN_OR_RETURN(const DataRow row, file_->Read(rows_[index]));
  ProblemFields fields(options_.fields);
  TEMPER_ASSIGN_OR_RETURN(ProblemRow problem, fields.Read(row));
  return MakePrompt(row, std::move(problem));
}

void ProblemFile::Keep(const std::vector<int64_t>& indices) {
  std::vector<int64_t> kept;
  for (int64_t index : indices) kept.push_back(rows_[index]);
  rows_ = std::move(kept);
}

absl::StatusOr<Prompt> ProblemFile::MakePrompt(const DataRow& row, ProblemRow problem) const {
  Prompt prompt;
  const bool r1 = options_.prompt_template == PromptTemplate::kR1;
  if (r1 && problem.messages.size() > 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        row.name, ": the r1 template takes one message of the user; here are ", problem.messages.size()));
  }
  const bool chat = !r1 && !problem.messages.empty();
  if (chat && !chat_.ok()) return At(row.name, chat_.status());
  absl::StatusOr<std::vector<int32_t>> tokens = r1 ? EncodeR1(problem.text, tokenizer_)
                                                : chat
                                                    ? chat_->EncodePrompt(problem.messages, ToolsOf(row.json))
                                                    : tokenizer_.Encode(problem.text);
  if (!tokens.ok()) return At(row.name, tokens.status());
  if (tokens->empty()) return absl::InvalidArgumentError(absl::StrCat(row.name, ": the prompt is empty"));
  prompt.tokens = *std::move(tokens);
  prompt.text = r1 ? R1Prompt(problem.text) : chat ? tokenizer_.Decode(prompt.tokens, false) : problem.text;
  prompt.id = std::move(problem.id);
  prompt.answer = std::move(problem.answer);
  prompt.task = std::move(problem.task);
  prompt.fields = DumpJson(row.json);
  return prompt;
}

absl::Status AddContentKeys(const std::string& path, const ProblemFileOptions& options, ContentKeys* keys) {
  TEMPER_ASSIGN_OR_RETURN(const std::unique_ptr<RowFile> file, RowFile::Open(path));
  ProblemFields fields(options.fields);
  for (int64_t i = 0; i < file->size(); ++i) {
    const auto read = [&]() -> absl::StatusOr<ProblemRow> {
      TEMPER_ASSIGN_OR_RETURN(const DataRow row, file->Read(i));
      return fields.Read(row);
    };
    const absl::StatusOr<ProblemRow> problem = read();
    if (!problem.ok() && options.skip_bad_lines) continue;
    if (!problem.ok()) return problem.status();
    const uint64_t key = KeyOf(*problem);
    if (OnSide(key, options)) keys->insert(key);
  }
  return absl::OkStatus();
}

std::string R1Prompt(std::string_view problem) {
  return absl::StrCat(kR1Head, std::string(problem), kR1Tail);
}

absl::StatusOr<std::unique_ptr<DocumentFile>> DocumentFile::Open(const std::string& path,
                                                                 const Tokenizer& tokenizer,
                                                                 const ContentKeys* exclude) {
  TEMPER_ASSIGN_OR_RETURN(std::unique_ptr<RowFile> rows, RowFile::Open(path));
  auto file = std::unique_ptr<DocumentFile>(new DocumentFile(std::move(rows), tokenizer));
  for (int64_t i = 0; i < file->file_->size(); ++i) {
    TEMPER_ASSIGN_OR_RETURN(const DataRow row, file->file_->Read(i));
    TEMPER_ASSIGN_OR_RETURN(const std::string question, QuestionOf(row));
    if (exclude == nullptr || !exclude->contains(ContentKey(question))) file->rows_.push_back(i);
  }
  // What a tokenizer cannot do, such as messages without role tokens, it cannot do for the first row either.
  if (!file->rows_.empty()) TEMPER_RETURN_IF_ERROR(file->Read(0).status());
  return file;
}

absl::StatusOr<Document> DocumentFile::Read(int64_t index) const {
  TEMPER_ASSIGN_OR_RETURN(const DataRow row, file_->Read(rows_[index]));
  absl::StatusOr<Document> document = ReadDocument(row.json, tokenizer_, chat_, row.name);
  if (document.ok() || std::string(document.status().message()).starts_with(row.name)) return document;
  return At(row.name, document.status());
}

absl::StatusOr<Document> MakeDocument(const std::string& prompt, const std::string& completion,
                                      const Tokenizer& tokenizer) {
  Document document;
  TEMPER_ASSIGN_OR_RETURN(document.tokens, tokenizer.Encode(prompt));
  // Nothing predicts a text's very first token.
  document.first_target = std::max<int64_t>(1, static_cast<int64_t>(document.tokens.size()));
  TEMPER_ASSIGN_OR_RETURN(const std::vector<int32_t> ids, tokenizer.Encode(completion, kRead));
  document.tokens.insert(document.tokens.end(), ids.begin(), ids.end());
  if (!tokenizer.eos_ids().empty()) document.tokens.push_back(tokenizer.eos_ids()[0]);
  return document;
}

}  // namespace temper
