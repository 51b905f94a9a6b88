// SPDX-License-Identifier: Apache-2.0
#include "data/chat/chat.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/json/python.h"
#include "core/one_of.h"
#include "core/text.h"
#include "data/tokenizer/folder.h"

namespace temper {
namespace {

constexpr char kConfig[] = "tokenizer_config.json";

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
    return std::ranges::all_of(tokens,
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

// The tokens of an object by their names ("bos_token": a text, or an object with its content) join
// `variables`.
void AddTokens(const Json& object, Json& variables) {
  if (!object.is_object()) return;
  for (const auto& [name, value] : object.items()) {
    const Json* token = value.is_object() ? Find(value, "content") : &value;
    if (token != nullptr && token->is_string() && !variables.contains(name)) variables[name] = *token;
  }
}

// The special tokens that a file names: its members ..._token, and those of its own that it has in an object.
void AddSpecialTokens(const Json& config, Json& variables) {
  Json named = Json::object();
  if (config.is_object()) {
    for (const auto& [name, value] : config.items()) {
      if (name.ends_with("_token")) named[name] = value;
    }
  }
  AddTokens(named, variables);
  for (const char* key : {"extra_special_tokens", "model_specific_special_tokens"}) {
    if (const Json* own = Find(config, key)) AddTokens(*own, variables);
  }
}

// chat_template of tokenizer_config.json: a text, or named ones in a list or an object.
absl::Status FindInConfig(const Json& config,
                          std::map<std::string, std::pair<std::string, std::string>>& found) {
  const Json* source = Find(config, "chat_template");
  if (source == nullptr || source->is_null()) return absl::OkStatus();
  const std::string name = absl::StrCat(kConfig, ": chat_template");
  const auto add = [&](const std::string& which, const std::string& text) {
    found[which] = {text, absl::StrCat(name, " ", Printable(which, 60))};
  };
  if (source->is_string()) {
    found["default"] = {source->get<std::string>(), name};
  } else if (source->is_object()) {
    for (const auto& [which, text] : source->items()) {
      TEMPER_ASSIGN_OR_RETURN(const std::string words, GetString(*source, which, name));
      add(which, words);
    }
  } else if (source->is_array()) {
    for (const Json& each : *source) {
      TEMPER_ASSIGN_OR_RETURN(const std::string which, GetString(each, "name", name));
      TEMPER_ASSIGN_OR_RETURN(const std::string text, GetString(each, "template", name));
      add(which, text);
    }
  } else {
    return absl::InvalidArgumentError(absl::StrCat(name, ": is neither a text nor a list"));
  }
  return absl::OkStatus();
}

bool IsSpace(char c) { return IsOneOf(c, " \n\r\t"); }

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

// The text of a message's content: a text, or a list of parts that are texts. Nothing where the message says
// something else (calls tools, only thinks); what a tool gave back may be any JSON.
absl::StatusOr<std::string> ReadContent(const Json& message, const std::string& role,
                                        const std::string& name) {
  const Json* content = Find(message, "content");
  const auto has = [&](const char* key) {
    const Json* value = Find(message, key);
    return value != nullptr && !value->empty();
  };
  if (content == nullptr || content->is_null()) {
    for (const char* other : {"tool_calls", "function_call", "reasoning_content", "thinking", "reasoning"}) {
      if (has(other)) return std::string();
    }
  }
  if (content == nullptr || !content->is_array()) {
    const bool is_word = IsOneOf(role, {"user", "assistant", "system", "developer"});
    if (content != nullptr && content->is_object() && !is_word) return DumpJson(*content);
    return GetString(message, "content", name);
  }
  std::vector<std::string> texts;
  for (const Json& part : *content) {
    const std::string where = absl::StrCat(name, ": content part ", texts.size() + 1);
    if (part.is_string()) {
      texts.push_back(part.get<std::string>());
      continue;
    }
    TEMPER_ASSIGN_OR_RETURN(const std::string type, GetString(part, "type", where, "text"));
    if (type != "text") {
      return absl::InvalidArgumentError(
          absl::StrCat(where, ": is of type ", Printable(type, 60), ", and temper's policies read text"));
    }
    TEMPER_ASSIGN_OR_RETURN(texts.emplace_back(), GetString(part, "text", where));
  }
  return absl::StrJoin(texts, "\n");
}

// Whether a template goes through the parts of a content that is a list, rather than writing the list down.
bool TakesParts(const ChatTemplate& chat_template, ChatInput input) {
  constexpr std::string_view kProbe = "\xF3\xB0\x80\x80";  // U+F0000, which no template writes
  input.messages = {{{"role", "user"}, {"content", {{{"type", "text"}, {"text", kProbe}}}}}};
  const absl::StatusOr<RenderedChat> chat = chat_template.Render(input);
  return chat.ok() && chat->text.find(kProbe) != std::string::npos &&
         chat->text.find("'type': 'text'") == std::string::npos &&
         chat->text.find("\"type\": \"text\"") == std::string::npos;
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
    if (message.role.empty()) return absl::InvalidArgumentError(absl::StrCat(name, ": role: is empty"));
    TEMPER_ASSIGN_OR_RETURN(message.content, ReadContent(item, message.role, name));
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
  Json config;
  if (const std::string* bytes = FileOf(*tokenizer_, kConfig)) {
    TEMPER_ASSIGN_OR_RETURN(config, ParsePythonJson(*bytes, kConfig));
    AddSpecialTokens(config, variables_);
  }
  if (const std::string* bytes = FileOf(*tokenizer_, "special_tokens_map.json")) {
    TEMPER_ASSIGN_OR_RETURN(const Json map, ParsePythonJson(*bytes, "special_tokens_map.json"));
    if (!config.contains("added_tokens_decoder")) AddSpecialTokens(map, variables_);
  }
  // By name: the text, and where it stands.
  std::map<std::string, std::pair<std::string, std::string>> found;
  for (const auto& [name, bytes] : tokenizer_->files()) {
    if (name == "chat_template.jinja") found["default"] = {bytes, name};
    const std::string prefix = absl::StrCat(kMoreTemplates, "/"), suffix = ".jinja";
    if (!name.starts_with(prefix) || !name.ends_with(suffix)) continue;
    found[name.substr(prefix.size(), name.size() - prefix.size() - suffix.size())] = {bytes, name};
  }
  if (found.empty()) TEMPER_RETURN_IF_ERROR(FindInConfig(config, found));
  if (found.empty()) {
    TEMPER_ASSIGN_OR_RETURN(const char* built_in, BuiltIn(*tokenizer_));
    found["default"] = {built_in, "the built-in chat template"};
  }
  for (const auto& [name, into] :
       {std::pair("default", &template_), std::pair("tool_use", &tool_template_)}) {
    const auto source = found.find(name);
    if (source == found.end()) continue;
    TEMPER_ASSIGN_OR_RETURN(ChatTemplate parsed,
                            ChatTemplate::Parse(source->second.first, source->second.second));
    into->emplace(std::move(parsed));
  }
  if (template_.has_value()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(found.begin()->second.second, ": there is no template of the name default beside it"));
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
  const ChatTemplate& chat_template = *(!tools.is_null() && tool_template_ ? tool_template_ : template_);
  const bool has_parts = std::ranges::any_of(input.messages, [](const Json& message) {
    const Json* content = Find(message, "content");
    return content != nullptr && content->is_array();
  });
  if (has_parts && !TakesParts(chat_template, input)) {
    for (size_t i = 0; i < count; ++i) {
      Json& message = input.messages[i];
      if (message.contains("content") && message["content"].is_array())
        message["content"] = messages[i].content;
    }
  }
  return chat_template.Render(input);
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
