// SPDX-License-Identifier: Apache-2.0
#include "cli/line/prompts.h"

#include <algorithm>
#include <map>
#include <optional>

#include "absl/strings/str_cat.h"
#include "cli/line/rows.h"
#include "core/status.h"
#include "core/text.h"

namespace temper {
namespace {

absl::Status Bad(const std::string& name, const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat(name, ": ", what));
}

absl::StatusOr<std::vector<int32_t>> RowTokens(const Row& row, const PromptForm* form,
                                               const ModelConfig& config) {
  if (!row.json.is_object()) return Bad(row.name, "a row is an object with prompt, tokens or messages");
  std::vector<std::string> found;
  for (const char* key : {"prompt", "tokens", "messages"}) {
    if (Find(row.json, key) != nullptr) found.push_back(key);
  }
  if (found.size() != 1) {
    return Bad(row.name, found.empty() ? "has neither prompt nor tokens nor messages"
                                       : absl::StrCat("has both ", found[0], " and ", found[1]));
  }
  if (found[0] == "tokens") return TokensOf(row.json, "tokens", config.vocab_size, row.name);
  if (form == nullptr)
    return Bad(row.name, absl::StrCat(found[0], ": the model directory has no tokenizer.json; give tokens"));
  const std::string where = absl::StrCat(row.name, ": ", found[0]);
  ProblemRow problem;
  problem.tools = ToolsOf(row.json);
  if (const Json& value = row.json[found[0]]; found[0] == "messages" || value.is_array()) {
    TEMPER_ASSIGN_OR_RETURN(problem.messages, ReadConversation(value, where));
    problem.text = problem.messages.back().content;
  } else {
    TEMPER_ASSIGN_OR_RETURN(problem.text, GetString(row.json, "prompt", row.name));
  }
  absl::StatusOr<std::vector<int32_t>> tokens = form->Tokens(problem);
  if (!tokens.ok()) return Bad(where, std::string(tokens.status().message()));
  return tokens;
}

absl::StatusOr<Json> RowId(const Row& row) {
  const Json* id = Find(row.json, "id");
  if (id == nullptr || id->is_null()) return Json(row.line);
  if (!id->is_string() && !id->is_number_integer())
    return Bad(row.name, "id: is neither text nor a whole number");
  return *id;
}

}  // namespace

absl::StatusOr<SamplePrompts> ReadSamplePrompts(const std::string& path, const PromptOptions& form,
                                                const Tokenizer* tokenizer, const ModelConfig& config,
                                                int64_t max_new_tokens) {
  SamplePrompts result;
  std::map<std::string, int64_t> line_of;  // by id
  std::optional<PromptForm> prompt_form;
  if (tokenizer != nullptr) prompt_form.emplace(*tokenizer, form, absl::Now());
  TEMPER_ASSIGN_OR_RETURN(const std::unique_ptr<RowReader> rows, RowReader::Open(path));
  for (;;) {
    TEMPER_ASSIGN_OR_RETURN(const std::optional<Row> row, rows->Next());
    if (!row) return result;
    Prompt prompt;
    TEMPER_ASSIGN_OR_RETURN(prompt.tokens, RowTokens(*row, prompt_form ? &*prompt_form : nullptr, config));
    const int64_t length = static_cast<int64_t>(prompt.tokens.size());
    if (length == 0) return Bad(row->name, "the prompt has no tokens");
    const int32_t largest = *std::max_element(prompt.tokens.begin(), prompt.tokens.end());
    if (largest >= config.vocab_size)
      return Bad(row->name, absl::StrCat("token ", largest, " is outside the model's vocabulary of ",
                                         config.vocab_size));
    if (config.max_positions > 0 && length + max_new_tokens > config.max_positions) {
      return Bad(row->name,
                 absl::StrCat("a prompt of ", length, " tokens and --max-new-tokens ", max_new_tokens,
                              " exceed the model's max_position_embeddings ", config.max_positions));
    }
    TEMPER_ASSIGN_OR_RETURN(Json id, RowId(*row));
    prompt.id = id.is_string() ? id.get<std::string>() : DumpJson(id);
    const auto [at, is_new] = line_of.emplace(prompt.id, row->line);
    if (!is_new) {
      return Bad(row->name, absl::StrCat("id ", Printable(DumpJson(id), 60), " is also that of line ",
                                         at->second, "; ids name the random draws, so each is there once"));
    }
    result.prompts.push_back(std::move(prompt));
    result.ids.push_back(std::move(id));
  }
}

}  // namespace temper
