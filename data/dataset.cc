// SPDX-License-Identifier: Apache-2.0
#include "data/dataset.h"

#include <algorithm>
#include <map>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/lines.h"
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

using OnLine = absl::FunctionRef<absl::Status(const Line& line)>;
absl::Status ForEachLine(const std::string& path, OnLine on_line) {
  TEMPER_ASSIGN_OR_RETURN(const std::unique_ptr<LineReader> lines, LineReader::Open(path));
  for (;;) {
    TEMPER_ASSIGN_OR_RETURN(const std::optional<Line> line, lines->Next());
    if (!line) return absl::OkStatus();
    TEMPER_RETURN_IF_ERROR(on_line(*line));
  }
}

absl::StatusOr<Json> ParseRow(const Line& line) {
  TEMPER_ASSIGN_OR_RETURN(Json row, ParseLine(line));
  if (!row.is_object()) return absl::InvalidArgumentError(absl::StrCat(line.name, ": is not a JSON object"));
  return row;
}

const Json* Member(const Json& row, const std::string& key) {
  const Json* value = Find(row, key);
  return value != nullptr && !value->is_null() ? value : nullptr;
}

// A string, or a number as it is written.
absl::StatusOr<std::string> Words(const Json& value, const std::string& key, const std::string& where) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number()) return DumpJson(value);
  return absl::InvalidArgumentError(absl::StrCat(where, ": ", key, ": is neither text nor a number"));
}

// Reads the rows of one file.
class ProblemReader {
 public:
  ProblemReader(const Tokenizer& tokenizer, const ReadProblemsOptions& options)
      : tokenizer_(tokenizer), options_(options) {}

  absl::StatusOr<Prompt> Read(const Json& row, int64_t number, const std::string& where) {
    Prompt prompt;
    const Json* id = Member(row, "id");
    prompt.id = absl::StrCat(number);
    if (id != nullptr) {
      TEMPER_ASSIGN_OR_RETURN(prompt.id, Words(*id, "id", where));
    }
    TEMPER_RETURN_IF_ERROR(ReadProblem(row, where, &prompt));
    if (prompt.tokens.empty())
      return absl::InvalidArgumentError(absl::StrCat(where, ": the prompt is empty"));
    TEMPER_RETURN_IF_ERROR(ReadAnswer(row, where, &prompt));
    for (const char* key : {"task", "data_source"}) {
      const Json* task = Member(row, key);
      if (task != nullptr && prompt.task.empty()) {
        TEMPER_ASSIGN_OR_RETURN(prompt.task, Words(*task, key, where));
      }
    }
    prompt.fields = DumpJson(row);
    return prompt;
  }

  std::string fields() const { return absl::StrJoin(fields_, ", "); }

 private:
  void Saw(const std::string& field) {
    if (std::find(fields_.begin(), fields_.end(), field) == fields_.end()) fields_.push_back(field);
  }

  absl::Status ReadProblem(const Json& row, const std::string& where, Prompt* prompt) {
    for (const char* key : {"question", "problem", "prompt", "messages"}) {
      const Json* value = Member(row, key);
      if (value == nullptr) continue;
      if (value->is_string() && std::string_view(key) != "messages") {
        Saw(key);
        return EncodeText(value->get<std::string>(), where, prompt);
      }
      TEMPER_ASSIGN_OR_RETURN(std::vector<Message> messages,
                              ReadMessages(*value, absl::StrCat(where, ": ", key)));
      Saw(std::string_view(key) == "messages" ? key : absl::StrCat(key, " (messages)"));
      while (!messages.empty() && messages.back().role != "user") messages.pop_back();
      if (messages.empty()) {
        return absl::InvalidArgumentError(absl::StrCat(where, ": ", key, ": has no message of the user"));
      }
      return EncodeMessages(messages, where, prompt);
    }
    return absl::InvalidArgumentError(absl::StrCat(where, ": has no question, problem, prompt or messages"));
  }

  absl::Status EncodeText(const std::string& text, const std::string& where, Prompt* prompt) {
    const bool template_r1 = options_.prompt_template == PromptTemplate::kR1;
    prompt->text = template_r1 ? R1Prompt(text) : text;
    absl::StatusOr<std::vector<int32_t>> tokens =
        template_r1 ? EncodeR1(text, prompt->text) : tokenizer_.Encode(text);
    if (!tokens.ok()) return At(where, tokens.status());
    prompt->tokens = *std::move(tokens);
    return absl::OkStatus();
  }

  // The template's tags are tokens where the tokenizer has such; in the problem they are words.
  absl::StatusOr<std::vector<int32_t>> EncodeR1(const std::string& problem, const std::string& text) {
    TEMPER_ASSIGN_OR_RETURN(const std::vector<int32_t> plain, tokenizer_.Encode(problem, kPlain));
    TEMPER_ASSIGN_OR_RETURN(const std::vector<int32_t> read, tokenizer_.Encode(problem, kRead));
    if (plain == read) return tokenizer_.Encode(text);
    TEMPER_ASSIGN_OR_RETURN(std::vector<int32_t> tokens, tokenizer_.Encode(kR1Head));
    TEMPER_ASSIGN_OR_RETURN(const std::vector<int32_t> end, tokenizer_.Encode(kR1Tail, kRead));
    tokens.insert(tokens.end(), plain.begin(), plain.end());
    tokens.insert(tokens.end(), end.begin(), end.end());
    return tokens;
  }

  absl::Status EncodeMessages(const std::vector<Message>& messages, const std::string& where,
                              Prompt* prompt) {
    if (options_.prompt_template == PromptTemplate::kR1) {
      if (messages.size() != 1) {
        return absl::InvalidArgumentError(absl::StrCat(
            where, ": the r1 template takes one message of the user; here are ", messages.size()));
      }
      return EncodeText(messages[0].content, where, prompt);
    }
    absl::StatusOr<std::vector<int32_t>> tokens = EncodeChat(messages, tokenizer_);
    if (!tokens.ok()) return At(where, tokens.status());
    prompt->tokens = *std::move(tokens);
    prompt->text = tokenizer_.Decode(prompt->tokens, false);
    return absl::OkStatus();
  }

  absl::Status ReadAnswer(const Json& row, const std::string& where, Prompt* prompt) {
    const Json* model = Member(row, "reward_model");
    for (const std::string key :
         {"answer", "solution", "ground_truth", "expected", "reward_model.ground_truth"}) {
      const bool inner = key.starts_with("reward_model");
      const Json* value = !inner             ? Member(row, key)
                          : model != nullptr ? Member(*model, "ground_truth")
                                             : nullptr;
      if (value == nullptr) continue;
      TEMPER_ASSIGN_OR_RETURN(prompt->answer, Words(*value, key, where));
      const size_t mark = prompt->answer.rfind("####");
      Saw(mark == std::string::npos ? key : absl::StrCat(key, " (after ####)"));
      if (mark != std::string::npos) {
        prompt->answer.erase(0, mark + 4);
        prompt->answer.erase(0, prompt->answer.find_first_not_of(" \t\r\n"));
        prompt->answer.erase(prompt->answer.find_last_not_of(" \t\r\n") + 1);
      }
      return absl::OkStatus();
    }
    return absl::OkStatus();
  }

  const Tokenizer& tokenizer_;
  const ReadProblemsOptions options_;
  std::vector<std::string> fields_;
};

absl::StatusOr<Document> ReadDocument(const Json& row, const Tokenizer& tokenizer, const std::string& where) {
  if (const Json* list = Member(row, "messages")) {
    TEMPER_ASSIGN_OR_RETURN(std::vector<Message> messages,
                            ReadMessages(*list, absl::StrCat(where, ": messages")));
    if (messages.back().role != "assistant") {
      return absl::InvalidArgumentError(
          absl::StrCat(where, ": messages: the last one is not the assistant's"));
    }
    const std::string target = messages.back().content;
    messages.pop_back();
    Document document;
    TEMPER_ASSIGN_OR_RETURN(document.tokens, EncodeChat(messages, tokenizer));
    document.first_target = static_cast<int64_t>(document.tokens.size());
    TEMPER_ASSIGN_OR_RETURN(const std::vector<int32_t> ids, tokenizer.Encode(target, kRead));
    document.tokens.insert(document.tokens.end(), ids.begin(), ids.end());
    TEMPER_ASSIGN_OR_RETURN(const int32_t end, EndOfTurn(tokenizer));
    document.tokens.push_back(end);
    return document;
  }
  TEMPER_ASSIGN_OR_RETURN(const std::string prompt, GetString(row, "prompt", where));
  TEMPER_ASSIGN_OR_RETURN(const std::string completion, GetString(row, "completion", where));
  return MakeDocument(prompt, completion, tokenizer);
}

}  // namespace

absl::Status ForEachJsonLine(const std::string& path,
                             absl::FunctionRef<absl::Status(const Json&, const std::string&)> row) {
  return ForEachLine(path, [&](const Line& line) -> absl::Status {
    TEMPER_ASSIGN_OR_RETURN(const Json json, ParseRow(line));
    return row(json, line.name);
  });
}

absl::StatusOr<Problems> ReadProblems(const std::string& path, const Tokenizer& tokenizer,
                                      const ReadProblemsOptions& options) {
  Problems problems;
  ProblemReader reader(tokenizer, options);
  std::map<std::string, int64_t> line_of_id;
  const auto read = [&](const Line& line) -> absl::StatusOr<Prompt> {
    TEMPER_ASSIGN_OR_RETURN(const Json row, ParseRow(line));
    return reader.Read(row, line.number, line.name);
  };
  TEMPER_RETURN_IF_ERROR(ForEachLine(path, [&](const Line& line) -> absl::Status {
    absl::StatusOr<Prompt> prompt = read(line);
    if (!prompt.ok() && options.skip_bad_lines) {
      ++problems.skipped_lines;
      return absl::OkStatus();
    }
    if (!prompt.ok()) return prompt.status();
    const auto [first, is_new] = line_of_id.emplace(prompt->id, line.number);
    if (!is_new) {
      return absl::InvalidArgumentError(absl::StrCat(line.name, ": id ", Printable(prompt->id, 60),
                                                     " is that of line ", first->second, " too"));
    }
    problems.prompts.push_back(*std::move(prompt));
    return absl::OkStatus();
  }));
  problems.fields = reader.fields();
  return problems;
}

std::string R1Prompt(std::string_view problem) {
  return absl::StrCat(kR1Head, std::string(problem), kR1Tail);
}

absl::StatusOr<std::vector<Document>> ReadDocuments(const std::string& path, const Tokenizer& tokenizer) {
  std::vector<Document> documents;
  TEMPER_RETURN_IF_ERROR(
      ForEachJsonLine(path, [&](const Json& row, const std::string& where) -> absl::Status {
        absl::StatusOr<Document> document = ReadDocument(row, tokenizer, where);
        if (!document.ok()) {
          const bool located = std::string(document.status().message()).starts_with(where);
          return located ? document.status() : At(where, document.status());
        }
        documents.push_back(*std::move(document));
        return absl::OkStatus();
      }));
  return documents;
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
