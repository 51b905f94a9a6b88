// SPDX-License-Identifier: Apache-2.0
// Jinja templates that write a conversation down, as `apply_chat_template` of Hugging Face Transformers
// (5.23) renders them: byte for byte what jinja2 does in its sandbox. Templates are not trusted: steps, text,
// nesting and ranges are limited (jinja/runtime.h).
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "core/json/json.h"
#include "core/status.h"

namespace temper {

// What a template writes down. Members of messages that are null are left out but for `content`, which a call
// of tools has so and templates ask for; a message's reasoning is found under all its names
// (reasoning_content, thinking, reasoning), as in Transformers.
struct ChatInput {
  Json messages = Json::array();    // of objects with a role
  Json tools, documents;            // lists, or null
  Json variables = Json::object();  // others that the template may read, over the tokenizer's special tokens
  bool add_generation_prompt = false;
  size_t trusted_from =
      SIZE_MAX;                   // messages from here on are the template's own words, not marked as content
  std::optional<absl::Time> now;  // what strftime_now writes, in the local time zone; nothing: it is an error
};

struct RenderedChat {
  std::string text;
  // The bytes that came from the conversation (not roles), ascending, apart from each other. Marks follow a
  // text through filters, slices, splits and joins.
  struct Range {
    size_t begin, end;
  };
  std::vector<Range> content;
};

// Immutable, so any number of threads may render with it.
class ChatTemplate {
 public:
  // Errors, here and of Render, are one line: `NAME:LINE: what`.
  static absl::StatusOr<ChatTemplate> Parse(std::string_view source, const std::string& name);
  ChatTemplate(ChatTemplate&&) noexcept;
  ~ChatTemplate();

  absl::StatusOr<RenderedChat> Render(const ChatInput& input) const;

 private:
  struct State;
  explicit ChatTemplate(std::unique_ptr<const State> state);
  std::unique_ptr<const State> state_;
};

}  // namespace temper
