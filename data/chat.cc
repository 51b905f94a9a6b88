// SPDX-License-Identifier: Apache-2.0
#include "data/chat.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/text.h"

namespace temper {
namespace {

// DeepSeek-V3 and R1 (their tokenizer_config.json) without tools: the system's words stand bare after the
// beginning, and the thinking of past turns is dropped.
constexpr char kDeepSeek[] =
    "{{ '<｜begin▁of▁sentence｜>' }}"
    "{% for m in messages %}"
    "{% if m.role == 'user' %}{{ '<｜User｜>' + m.content }}"
    "{% elif m.role == 'assistant' %}"
    "{{ '<｜Assistant｜>' + (m.content if loop.last else m.content.split('</think>')[-1]) + "
    "'<｜end▁of▁sentence｜>' }}"
    "{% elif m.role == 'system' %}{{ m.content }}"
    "{% else %}{{ raise_exception('the built-in form has no role ' + m.role) }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<｜Assistant｜>' }}{% endif %}";

// Qwen's: the role as text after one token for all.
constexpr char kChatMl[] =
    "{% for m in messages %}"
    "{% if m.role not in ['system', 'user', 'assistant'] %}"
    "{{ raise_exception('the built-in form has no role ' + m.role) }}{% endif %}"
    "{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

absl::StatusOr<const char*> BuiltIn(const Tokenizer& tokenizer) {
  const auto has = [&](std::initializer_list<const char*> tokens) {
    return std::all_of(tokens.begin(), tokens.end(),
                       [&](const char* token) { return tokenizer.TokenId(token).has_value(); });
  };
  if (has({"<｜begin▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>"}))
    return kDeepSeek;
  if (has({"<|im_start|>", "<|im_end|>"})) return kChatMl;
  return absl::InvalidArgumentError(
      "messages need role tokens, and the tokenizer has no chat template and neither <｜User｜> and "
      "<｜Assistant｜> "
      "nor <|im_start|> and <|im_end|>; give the problem as text (question)");
}

const std::string* FileOf(const Tokenizer& tokenizer, std::string_view name) {
  for (const auto& [each, bytes] : tokenizer.files()) {
    if (each == name) return &bytes;
  }
  return nullptr;
}

// The special tokens that a file names ("bos_token": a text, or an object with its content) join `variables`.
void AddSpecialTokens(const Json& config, Json& variables) {
  for (const char* name :
       {"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"}) {
    const Json* token = Find(config, name);
    if (token != nullptr && token->is_object()) token = Find(*token, "content");
    if (token != nullptr && token->is_string() && !variables.contains(name)) variables[name] = *token;
  }
}

bool IsSpace(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }

std::string_view WithoutSpaceAtEnd(std::string_view text) {
  while (!text.empty() && IsSpace(text.back())) text.remove_suffix(1);
  return text;
}

// What is left of an answer where the prompt has opened its thinking; nothing: it has not.
std::optional<std::string_view> AfterOpenedThinking(std::string_view prompt, std::string_view answer) {
  constexpr std::string_view kThink = "<think>";
  const std::string_view begin = WithoutSpaceAtEnd(prompt);
  if (!begin.ends_with(kThink) || !answer.starts_with(kThink)) return std::nullopt;
  const std::string_view space = prompt.substr(begin.size());
  answer.remove_prefix(kThink.size());
  if (answer.starts_with(space)) answer.remove_prefix(space.size());
  return answer;
}

}  // namespace

absl::StatusOr<std::vector<Message>> ReadMessages(const Json& list, const std::string& where) {
  if (!list.is_array() || list.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, ": messages are a list of {\"role\", \"content\"}"));
  }
  std::vector<Message> messages;
  for (const Json& item : list) {
    const std::string name = absl::StrCat(where, ": message ", messages.size() + 1);
    Message message;
    TEMPER_ASSIGN_OR_RETURN(message.role, GetString(item, "role", name));
    const Json* calls = Find(item, "tool_calls");
    if (calls != nullptr && !calls->empty()) {
      TEMPER_ASSIGN_OR_RETURN(message.content, GetString(item, "content", name, ""));
    } else {
      TEMPER_ASSIGN_OR_RETURN(message.content, GetString(item, "content", name));
    }
    const bool known = message.role == "user" || message.role == "assistant" || message.role == "system" ||
                       message.role == "tool";
    if (!known || (message.role == "system" && !messages.empty())) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, ": role: is ", Printable(message.role, 60),
                       "; temper knows user, assistant, tool, and system as the first"));
    }
    message.fields = item;
    messages.push_back(std::move(message));
  }
  return messages;
}

absl::StatusOr<ChatForm> ChatForm::Of(const Tokenizer& tokenizer, std::optional<absl::Time> now) {
  ChatForm form(tokenizer, now);
  TEMPER_RETURN_IF_ERROR(form.ReadTemplates());
  return form;
}

absl::Status ChatForm::ReadTemplates() {
  constexpr char kConfig[] = "tokenizer_config.json";
  Json config;
  if (const std::string* bytes = FileOf(*tokenizer_, kConfig)) {
    TEMPER_ASSIGN_OR_RETURN(config, ParseJson(*bytes, kConfig));
    AddSpecialTokens(config, variables_);
  }
  if (const std::string* bytes = FileOf(*tokenizer_, "special_tokens_map.json")) {
    TEMPER_ASSIGN_OR_RETURN(const Json map, ParseJson(*bytes, "special_tokens_map.json"));
    if (!config.contains("added_tokens_decoder")) AddSpecialTokens(map, variables_);
  }
  const auto read = [](std::string_view source, const std::string& name,
                       std::optional<ChatTemplate>* into) -> absl::Status {
    TEMPER_ASSIGN_OR_RETURN(ChatTemplate parsed, ChatTemplate::Parse(source, name));
    into->emplace(std::move(parsed));
    return absl::OkStatus();
  };
  if (const std::string* bytes = FileOf(*tokenizer_, "chat_template.jinja")) {
    return read(*bytes, "chat_template.jinja", &template_);
  }
  const Json* source = Find(config, "chat_template");
  if (source == nullptr || source->is_null()) {
    TEMPER_ASSIGN_OR_RETURN(const char* built_in, BuiltIn(*tokenizer_));
    return read(built_in, "the built-in chat template", &template_);
  }
  const std::string name = absl::StrCat(kConfig, ": chat_template");
  if (source->is_string()) return read(source->get_ref<const std::string&>(), name, &template_);
  if (!source->is_array())
    return absl::InvalidArgumentError(absl::StrCat(name, ": is neither a text nor a list"));
  for (const Json& each : *source) {
    TEMPER_ASSIGN_OR_RETURN(const std::string which, GetString(each, "name", name));
    TEMPER_ASSIGN_OR_RETURN(const std::string text, GetString(each, "template", name));
    const std::string full_name = absl::StrCat(name, " ", Printable(which, 60));
    if (which == "default") TEMPER_RETURN_IF_ERROR(read(text, full_name, &template_));
    if (which == "tool_use") TEMPER_RETURN_IF_ERROR(read(text, full_name, &tool_template_));
  }
  if (template_.has_value()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(name, ": has no template of the name default"));
}

absl::StatusOr<RenderedChat> ChatForm::Render(const std::vector<Message>& messages, size_t count,
                                              const Json& tools, bool add_generation_prompt) const {
  ChatInput input;
  for (size_t i = 0; i < count; ++i) input.messages.push_back(messages[i].fields);
  input.tools = tools;
  input.variables = variables_;
  input.now = now_;
  input.add_generation_prompt = add_generation_prompt;
  if (!add_generation_prompt) input.trusted_from = count - 1;
  return (!tools.is_null() && tool_template_ ? tool_template_ : template_)->Render(input);
}

absl::StatusOr<std::vector<int32_t>> ChatForm::Encode(const RenderedChat& chat) const {
  std::vector<std::string_view> plain;
  for (const RenderedChat::Range& range : chat.content) {
    if (range.begin >= chat.text.size()) break;
    plain.push_back(std::string_view(chat.text).substr(range.begin, range.end - range.begin));
  }
  return tokenizer_->Encode(chat.text, {.added_tokens = true, .add_special_tokens = false, .plain = plain});
}

absl::StatusOr<std::vector<int32_t>> ChatForm::EncodePrompt(const std::vector<Message>& messages,
                                                            const Json& tools) const {
  TEMPER_ASSIGN_OR_RETURN(const RenderedChat chat, Render(messages, messages.size(), tools, true));
  return Encode(chat);
}

absl::StatusOr<std::string> ChatForm::PromptText(const std::vector<Message>& messages,
                                                 const Json& tools) const {
  TEMPER_ASSIGN_OR_RETURN(RenderedChat chat, Render(messages, messages.size(), tools, true));
  return std::move(chat.text);
}

absl::StatusOr<std::string> ChatForm::EndOfAnswer(std::vector<Message> messages, const Json& tools) const {
  constexpr std::string_view kAnswer = "\xF3\xB0\x80\x80";  // U+F0000, which no template writes
  messages.back().fields["content"] = kAnswer;
  TEMPER_ASSIGN_OR_RETURN(const RenderedChat chat, Render(messages, messages.size(), tools, false));
  const size_t at = chat.text.rfind(kAnswer);
  if (at == std::string::npos) {
    return absl::InvalidArgumentError("the chat template leaves out what the assistant says last");
  }
  return chat.text.substr(at + kAnswer.size());
}

absl::StatusOr<ChatForm::Answered> ChatForm::EncodeAnswered(const std::vector<Message>& messages,
                                                            const Json& tools) const {
  TEMPER_ASSIGN_OR_RETURN(const RenderedChat prompt, Render(messages, messages.size() - 1, tools, true));
  TEMPER_ASSIGN_OR_RETURN(RenderedChat chat, Render(messages, messages.size(), tools, false));
  if (!chat.text.starts_with(prompt.text)) {
    const auto rest = AfterOpenedThinking(prompt.text, messages.back().content);
    if (!rest.has_value()) {
      const size_t size = prompt.text.size();
      return absl::InvalidArgumentError(absl::StrCat(
          "the chat template's prompt ends in ",
          Printable(prompt.text.substr(size - std::min<size_t>(size, 40))),
          ", and its answered conversation does not begin so; give prompt and completion as text"));
    }
    TEMPER_ASSIGN_OR_RETURN(const std::string end, EndOfAnswer(messages, tools));
    chat = {absl::StrCat(prompt.text, std::string(*rest), end), prompt.content};
  }
  chat.text.resize(std::max(WithoutSpaceAtEnd(chat.text).size(), prompt.text.size()));
  Answered answered;
  TEMPER_ASSIGN_OR_RETURN(const std::vector<int32_t> before, Encode(prompt));
  TEMPER_ASSIGN_OR_RETURN(answered.tokens, Encode(chat));
  answered.first_answer = static_cast<int64_t>(before.size());
  const bool is_prefix = answered.tokens.size() >= before.size() &&
                         std::equal(before.begin(), before.end(), answered.tokens.begin());
  if (is_prefix) return answered;
  // A token would reach over the border, where sampling begins anew.
  RenderedChat rest{chat.text.substr(prompt.text.size()), {}};
  for (const RenderedChat::Range& range : chat.content) {
    if (range.end <= prompt.text.size()) continue;
    rest.content.push_back(
        {std::max(range.begin, prompt.text.size()) - prompt.text.size(), range.end - prompt.text.size()});
  }
  TEMPER_ASSIGN_OR_RETURN(const std::vector<int32_t> after, Encode(rest));
  answered.tokens = before;
  answered.tokens.insert(answered.tokens.end(), after.begin(), after.end());
  return answered;
}

}  // namespace temper
