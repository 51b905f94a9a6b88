// SPDX-License-Identifier: Apache-2.0
#include "data/chat/template.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "data/chat/jinja/jinja.h"

namespace temper {

struct ChatTemplate::State {
  std::string name;
  jinja::Block block;
};

namespace {

using jinja::Value;
using Members = std::vector<std::pair<Value, Value>>;

// The member, or null where it is not there or null.
const Json* FindSet(const Json& message, const char* name) {
  const Json* found = Find(message, name);
  return found != nullptr && !found->is_null() ? found : nullptr;
}

const Json* FindReasoning(const Json& message) {
  for (const char* name : {"reasoning_content", "thinking", "reasoning"}) {
    if (const Json* found = FindSet(message, name)) return found;
  }
  return nullptr;
}

// A role as templates know them (user, tool, ipython, developer, ...). Anything else that stands there is
// what somebody wrote.
bool IsRole(const Json& value) {
  if (!value.is_string()) return false;
  const std::string& role = value.get_ref<const std::string&>();
  return role.size() <= 64 &&
         std::ranges::all_of(role, [](char c) { return absl::ascii_isalnum(c) || c == '_' || c == '-'; });
}

// A message as the template sees it. The role is no content: templates build tokens of it.
Value ReadMessage(jinja::Runtime& runtime, const Json& message, bool marked) {
  if (!message.is_object()) return runtime.Fail("a message is no object");
  Members members;
  const auto add = [&](const std::string& key, const Json& value) {
    if (value.is_null() && key != "content") return;
    const bool is_role = key == "role" && IsRole(value);
    members.emplace_back(jinja::FromUtf8(key, marked), jinja::FromJson(runtime, value, marked && !is_role));
  };
  // As in Transformers a message with reasoning begins with `thinking`, and `reasoning_content` joins at the
  // end.
  const Json* reasoning = FindReasoning(message);
  const Json* thinking = FindSet(message, "thinking");
  if (reasoning != nullptr) add("thinking", thinking != nullptr ? *thinking : *reasoning);
  for (const auto& [key, value] : message.items()) {
    if (reasoning == nullptr || key != "thinking") add(key, value);
  }
  if (reasoning != nullptr && FindSet(message, "reasoning_content") == nullptr)
    add("reasoning_content", *reasoning);
  return jinja::MakeDict(runtime, std::move(members));
}

Value MessagesValue(jinja::Runtime& runtime, const ChatInput& input) {
  std::vector<Value> messages;
  for (const Json& message : input.messages) {
    messages.push_back(ReadMessage(runtime, message, messages.size() < input.trusted_from));
  }
  return jinja::MakeList(runtime, std::move(messages));
}

std::vector<RenderedChat::Range> MarkedBytes(jinja::TextView text) {
  std::vector<RenderedChat::Range> ranges;
  size_t at = 0;
  bool was_marked = false;
  for (const char32_t marked : text) {
    const char32_t c = jinja::Bare(marked);
    const size_t size = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    const bool is_marked = c != marked;
    if (is_marked && !was_marked) ranges.push_back({at, at});
    at += size;
    if (is_marked) ranges.back().end = at;
    was_marked = is_marked;
  }
  return ranges;
}

}  // namespace

ChatTemplate::ChatTemplate(std::unique_ptr<const State> state) : state_(std::move(state)) {}
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate::~ChatTemplate() = default;

absl::StatusOr<ChatTemplate> ChatTemplate::Parse(std::string_view source, const std::string& name) {
  auto state = std::make_unique<State>();
  state->name = name;
  TEMPER_ASSIGN_OR_RETURN(state->block, jinja::Parse(source, name));
  return ChatTemplate(std::move(state));
}

absl::StatusOr<RenderedChat> ChatTemplate::Render(const ChatInput& input) const {
  jinja::Runtime runtime(state_->name);
  if (input.now) {
    const int64_t microseconds = absl::ToUnixMicros(*input.now) % 1000000;
    runtime.set_now(absl::ToTM(*input.now, absl::LocalTimeZone()),
                    static_cast<int>(std::max<int64_t>(microseconds, 0)));
  }
  std::vector<std::pair<std::string, Value>> variables;
  for (const auto& [name, value] : input.variables.items()) {
    variables.emplace_back(name, jinja::FromJson(runtime, value, false));
  }
  variables.emplace_back("messages", MessagesValue(runtime, input));
  variables.emplace_back("tools", jinja::FromJson(runtime, input.tools, true));
  variables.emplace_back("documents", jinja::FromJson(runtime, input.documents, true));
  variables.emplace_back("add_generation_prompt", input.add_generation_prompt);
  const jinja::Text text = jinja::Render(state_->block, runtime, std::move(variables));
  if (runtime.failed()) return runtime.status();
  return RenderedChat{jinja::ToUtf8(text), MarkedBytes(text)};
}

}  // namespace temper
