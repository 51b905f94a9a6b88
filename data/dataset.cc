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

// The key of what is asked, in the R1 template or not.
uint64_t KeyOf(std::string_view text) {
  constexpr std::string_view kHead = kR1Head, kTail = kR1Tail;
  if (text.size() >= kHead.size() + kTail.size() && text.starts_with(kHead) && text.ends_with(kTail)) {
    text = text.substr(kHead.size(), text.size() - kHead.size() - kTail.size());
  }
  return ContentKey(text);
}

// Whether a conversation asks one of these, in whichever turn.
bool Asks(const std::vector<Message>& messages, const ContentKeys& keys) {
  return std::any_of(messages.begin(), messages.end(), [&](const Message& message) {
    return message.role == "user" && keys.contains(KeyOf(message.content));
  });
}

bool OnSide(uint64_t key, const ProblemFileOptions& options) {
  return !options.side || options.held_out_share == 0 ||
         SplitOf(key, options.held_out_share) == *options.side;
}

absl::Status EmptyPrompt(const std::string& where) {
  return absl::InvalidArgumentError(absl::StrCat(where, ": the prompt is empty"));
}

// Its text is the problem's, as yet without a template.
Prompt PromptOf(const DataRow& row, ProblemRow problem) {
  Prompt prompt;
  prompt.id = std::move(problem.id);
  prompt.text = std::move(problem.text);
  prompt.answer = std::move(problem.answer);
  prompt.task = std::move(problem.task);
  Json fields = row.json;
  if (!problem.tests.is_null()) fields["tests"] = std::move(problem.tests);  // the name that rules know
  prompt.fields = DumpJson(fields);
  return prompt;
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

// Whether a document answers one of these: its prompt, or a message of the user.
absl::StatusOr<bool> DocumentAsks(const DataRow& row, const ContentKeys& keys) {
  const Json* list = FieldAt(row.json, "messages");
  if (list == nullptr) {
    TEMPER_ASSIGN_OR_RETURN(const std::string prompt, GetString(row.json, "prompt", row.name));
    TEMPER_RETURN_IF_ERROR(GetString(row.json, "completion", row.name).status());
    return keys.contains(KeyOf(prompt));
  }
  TEMPER_ASSIGN_OR_RETURN(const std::vector<Message> messages,
                          ReadMessages(*list, absl::StrCat(row.name, ": messages")));
  if (messages.back().role != "assistant") {
    return absl::InvalidArgumentError(
        absl::StrCat(row.name, ": messages: the last one is not the assistant's"));
  }
  return Asks(messages, keys);
}

// Calls use(index, problem, key) with the problem of each row that reads as one and passes `check`, in order.
// How many did not, where the options say to go on; else the first of them is the error.
absl::StatusOr<int64_t> ForEachProblem(
    const RowFile& file, const ProblemFileOptions& options, ProblemFields* fields,
    absl::FunctionRef<absl::Status(const DataRow&, const ProblemRow&)> check,
    absl::FunctionRef<absl::Status(int64_t, const ProblemRow&, uint64_t)> use) {
  int64_t bad = 0;
  for (int64_t i = 0; i < file.size(); ++i) {
    const auto read = [&]() -> absl::StatusOr<ProblemRow> {
      TEMPER_ASSIGN_OR_RETURN(const DataRow row, file.Read(i));
      TEMPER_ASSIGN_OR_RETURN(ProblemRow problem, fields->Read(row));
      TEMPER_RETURN_IF_ERROR(check(row, problem));
      return problem;
    };
    const absl::StatusOr<ProblemRow> problem = read();
    if (problem.ok()) {
      TEMPER_RETURN_IF_ERROR(use(i, *problem, KeyOf(problem->text)));
    } else if (options.skip_bad_lines) {
      ++bad;
    } else {
      return problem.status();
    }
  }
  return bad;
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
  absl::flat_hash_map<uint64_t, int64_t> row_of_id;  // by the id's hash
  row_of_id.reserve(static_cast<size_t>(file_->size()));
  const auto add = [&](int64_t row, const ProblemRow& problem, uint64_t key) -> absl::Status {
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
    return absl::OkStatus();
  };
  const auto check = [&](const DataRow& row, const ProblemRow& problem) {
    return TextOf(row, problem).status();
  };
  TEMPER_ASSIGN_OR_RETURN(skipped_lines_, ForEachProblem(*file_, options_, &fields, check, add));
  fields_ = fields.seen();
  return absl::OkStatus();
}

absl::StatusOr<Prompt> ProblemFile::ReadText(int64_t index) const {
  TEMPER_ASSIGN_OR_RETURN(const DataRow row, file_->Read(rows_[index]));
  TEMPER_ASSIGN_OR_RETURN(ProblemRow problem, ProblemFields(options_.fields).Read(row));
  TEMPER_ASSIGN_OR_RETURN(std::string text, TextOf(row, problem));
  Prompt prompt = PromptOf(row, std::move(problem));
  prompt.text = std::move(text);
  return prompt;
}

absl::StatusOr<Prompt> ProblemFile::Read(int64_t index) const {
  TEMPER_ASSIGN_OR_RETURN(const DataRow row, file_->Read(rows_[index]));
  TEMPER_ASSIGN_OR_RETURN(ProblemRow problem, ProblemFields(options_.fields).Read(row));
  const bool is_chat = IsChat(problem);
  if (is_chat && !chat_.ok()) return At(row.name, chat_.status());
  absl::StatusOr<std::vector<int32_t>> tokens = is_r1() ? EncodeR1(problem.text, tokenizer_)
                                                : is_chat
                                                    ? chat_->EncodePrompt(problem.messages, ToolsOf(row.json))
                                                    : tokenizer_.Encode(problem.text);
  if (!tokens.ok()) return At(row.name, tokens.status());
  if (tokens->empty()) return EmptyPrompt(row.name);
  Prompt prompt = PromptOf(row, std::move(problem));
  if (is_r1()) prompt.text = R1Prompt(prompt.text);
  if (is_chat) prompt.text = tokenizer_.Decode(*tokens, false);
  prompt.tokens = *std::move(tokens);
  return prompt;
}

void ProblemFile::Keep(const std::vector<int64_t>& indices) {
  std::vector<int64_t> kept;
  for (int64_t index : indices) kept.push_back(rows_[index]);
  rows_ = std::move(kept);
}

absl::StatusOr<std::string> ProblemFile::TextOf(const DataRow& row, const ProblemRow& problem) const {
  if (is_r1() && problem.messages.size() > 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        row.name, ": the r1 template takes one message of the user; here are ", problem.messages.size()));
  }
  if (is_r1()) return R1Prompt(problem.text);
  if (!IsChat(problem)) {
    // Without a BOS a text may have no tokens; one that has words is not asked, it would cost as much as all.
    if (problem.text.find_first_not_of(" \t\r\n") != std::string::npos) return problem.text;
    const absl::StatusOr<std::vector<int32_t>> tokens = tokenizer_.Encode(problem.text);
    if (!tokens.ok()) return At(row.name, tokens.status());
    return tokens->empty() ? EmptyPrompt(row.name) : absl::StatusOr<std::string>(problem.text);
  }
  if (!chat_.ok()) return At(row.name, chat_.status());
  absl::StatusOr<std::string> text = chat_->PromptText(problem.messages, ToolsOf(row.json));
  if (!text.ok()) return At(row.name, text.status());
  if (text->empty()) return EmptyPrompt(row.name);
  return text;
}

absl::Status AddContentKeys(const std::string& path, const ProblemFileOptions& options, ContentKeys* keys) {
  TEMPER_ASSIGN_OR_RETURN(const std::unique_ptr<RowFile> file, RowFile::Open(path));
  ProblemFields fields(options.fields);
  const auto check = [](const DataRow&, const ProblemRow&) { return absl::OkStatus(); };
  const auto add = [&](int64_t, const ProblemRow&, uint64_t key) {
    if (OnSide(key, options)) keys->insert(key);
    return absl::OkStatus();
  };
  return ForEachProblem(*file, options, &fields, check, add).status();
}

std::string R1Prompt(std::string_view problem) {
  return absl::StrCat(kR1Head, std::string(problem), kR1Tail);
}

absl::StatusOr<std::vector<int32_t>> EncodeR1(std::string_view problem, const Tokenizer& tokenizer) {
  TEMPER_ASSIGN_OR_RETURN(const std::vector<int32_t> plain, tokenizer.Encode(problem, kPlain));
  TEMPER_ASSIGN_OR_RETURN(const std::vector<int32_t> read, tokenizer.Encode(problem, kRead));
  if (plain == read) return tokenizer.Encode(R1Prompt(problem));
  TEMPER_ASSIGN_OR_RETURN(std::vector<int32_t> tokens, tokenizer.Encode(kR1Head));
  TEMPER_ASSIGN_OR_RETURN(const std::vector<int32_t> end, tokenizer.Encode(kR1Tail, kRead));
  tokens.insert(tokens.end(), plain.begin(), plain.end());
  tokens.insert(tokens.end(), end.begin(), end.end());
  return tokens;
}

absl::StatusOr<std::unique_ptr<DocumentFile>> DocumentFile::Open(const std::string& path,
                                                                 const Tokenizer& tokenizer,
                                                                 const ContentKeys* exclude,
                                                                 std::optional<absl::Time> now) {
  TEMPER_ASSIGN_OR_RETURN(std::unique_ptr<RowFile> rows, RowFile::Open(path));
  auto file = std::unique_ptr<DocumentFile>(new DocumentFile(std::move(rows), tokenizer, now));
  const ContentKeys none;
  for (int64_t i = 0; i < file->file_->size(); ++i) {
    TEMPER_ASSIGN_OR_RETURN(const DataRow row, file->file_->Read(i));
    TEMPER_ASSIGN_OR_RETURN(const bool asks, DocumentAsks(row, exclude == nullptr ? none : *exclude));
    if (!asks) file->rows_.push_back(i);
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
