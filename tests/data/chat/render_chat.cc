// SPDX-License-Identifier: Apache-2.0
// For templates.py: reads lines of {"template", "messages", "tools", "documents", "variables",
// "add_generation_prompt", "now" (seconds)} and writes {"text", "content": [[begin, end], ..]}. With
// {"tokenizer": folder, "messages"} instead: {"ids"} of the prompt. Or {"error"}.
#include <iostream>
#include <map>
#include <string>

#include "data/chat/chat.h"

namespace temper {
namespace {

absl::StatusOr<Json> Render(const Json& row) {
  TEMPER_ASSIGN_OR_RETURN(const ChatTemplate parsed,
                          ChatTemplate::Parse(row["template"].get<std::string>(), "template"));
  ChatInput input;
  input.messages = row["messages"];
  input.tools = row.value("tools", Json());
  input.documents = row.value("documents", Json());
  input.variables = row.value("variables", Json::object());
  input.add_generation_prompt = row.value("add_generation_prompt", false);
  input.now = absl::FromUnixSeconds(row.value("now", int64_t{0}));
  TEMPER_ASSIGN_OR_RETURN(const RenderedChat rendered, parsed.Render(input));
  Json content = Json::array();
  for (const RenderedChat::Range& range : rendered.content) content.push_back({range.begin, range.end});
  return Json{{"text", rendered.text}, {"content", content}};
}

absl::StatusOr<Json> Encode(const Json& row) {
  static std::map<std::string, std::unique_ptr<Tokenizer>> tokenizers;
  std::unique_ptr<Tokenizer>& tokenizer = tokenizers[row["tokenizer"].get<std::string>()];
  if (tokenizer == nullptr) {
    TEMPER_ASSIGN_OR_RETURN(tokenizer, Tokenizer::Load(row["tokenizer"].get<std::string>()));
  }
  TEMPER_ASSIGN_OR_RETURN(const ChatForm form, ChatForm::Of(*tokenizer, absl::Now()));
  TEMPER_ASSIGN_OR_RETURN(const std::vector<Message> messages, ReadMessages(row["messages"], "row"));
  TEMPER_ASSIGN_OR_RETURN(const std::vector<int32_t> ids, form.EncodePrompt(messages));
  return Json{{"ids", ids}};
}

absl::StatusOr<Json> Answer(const std::string& line) {
  TEMPER_ASSIGN_OR_RETURN(const Json row, ParseJson(line, "the row"));
  return row.contains("tokenizer") ? Encode(row) : Render(row);
}

}  // namespace
}  // namespace temper

int main() {
  std::string line;
  while (std::getline(std::cin, line)) {
    const absl::StatusOr<temper::Json> answer = temper::Answer(line);
    std::cout << temper::DumpJson(
                     answer.ok() ? *answer : temper::Json{{"error", std::string(answer.status().message())}})
              << "\n";
  }
  return 0;
}
