// SPDX-License-Identifier: Apache-2.0
// A Jinja template that renders a conversation with a tool.
#include "data/chat/template.h"
#include "tests/fuzz/fuzz.h"

FUZZ(bytes) {
  using namespace temper;
  static const ChatInput input = [] {
    ChatInput chat;
    chat.messages = *ParseJson(R"([{"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Gr\u00fc\u00dfe, \u4e16\u754c"},
        {"role": "assistant", "content": "<think>\nhm\n</think>\n\nok", "tool_calls": [{"type": "function",
         "function": {"name": "f", "arguments": {"a": [1, 2.5, null]}}}]},
        {"role": "tool", "content": "7"}, {"role": "user", "content": "a,b,,c"}])",
                               "messages");
    chat.tools =
        *ParseJson(R"([{"type": "function", "function": {"name": "f", "parameters": {"a": {}}}}])", "tools");
    chat.variables = *ParseJson(R"({"bos_token": "<s>", "eos_token": "</s>", "n": 7, "x": 2.5, "yes": true,
        "words": ["pear", "Apple", "fig"], "nest": [1, [2, []], {"k": [4]}], "text": "The quick\tfox\n."})",
                                "variables");
    chat.add_generation_prompt = true;
    chat.now = absl::FromUnixSeconds(1700000000);
    return chat;
  }();
  const auto chat_template = ChatTemplate::Parse(bytes, "input");
  if (!chat_template.ok()) return;
  const auto chat = chat_template->Render(input);
  if (!chat.ok()) return;
  size_t end = 0;
  for (const RenderedChat::Range& range : chat->content) {
    TEMPER_CHECK(range.begin >= end && range.end >= range.begin && range.end <= chat->text.size(), "ranges");
    end = range.end;
  }
}
