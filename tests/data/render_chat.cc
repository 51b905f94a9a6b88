// SPDX-License-Identifier: Apache-2.0
// For chat_templates.py: reads lines of {"template", "messages", "tools", "documents", "variables",
// "add_generation_prompt", "now" (seconds)} and writes {"text", "content": [[begin, end], ..]} or {"error"}.
#include <iostream>
#include <string>

#include "data/chat_template.h"

namespace temper {
namespace {

Json Render(const Json& row) {
  const absl::StatusOr<ChatTemplate> parsed =
      ChatTemplate::Parse(row["template"].get<std::string>(), "template");
  if (!parsed.ok()) return {{"error", std::string(parsed.status().message())}};
  ChatInput input;
  input.messages = row["messages"];
  input.tools = row.value("tools", Json());
  input.documents = row.value("documents", Json());
  input.variables = row.value("variables", Json::object());
  input.add_generation_prompt = row.value("add_generation_prompt", false);
  input.now = absl::FromUnixSeconds(row.value("now", int64_t{0}));
  const absl::StatusOr<RenderedChat> rendered = parsed->Render(input);
  if (!rendered.ok()) return {{"error", std::string(rendered.status().message())}};
  Json content = Json::array();
  for (const RenderedChat::Range& range : rendered->content) content.push_back({range.begin, range.end});
  return {{"text", rendered->text}, {"content", content}};
}

}  // namespace
}  // namespace temper

int main() {
  std::string line;
  while (std::getline(std::cin, line)) {
    const absl::StatusOr<temper::Json> row = temper::ParseJson(line, "the row");
    std::cout << temper::DumpJson(row.ok() ? temper::Render(*row)
                                           : temper::Json{{"error", std::string(row.status().message())}})
              << "\n";
  }
  return 0;
}
