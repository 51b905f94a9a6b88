// SPDX-License-Identifier: Apache-2.0
#include "data/chat/chat.h"

#include <stdlib.h>

#include "core/files/file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace temper {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using Ids = std::vector<int32_t>;

constexpr char kTemplate[] =
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content | trim }}<end>\n{% endfor %}"
    "{% if tools %}tools{% endif %}{% if add_generation_prompt %}<|assistant|>{% endif %}";

// Bytes are their own tokens, `ab` is one more, and then the added ones.
class ChatTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = ::testing::TempDir() + "temper_chat_XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { ASSERT_TRUE(RemoveTree(folder_).ok()); }

  void Write(const std::string& name, const std::string& bytes) {
    ASSERT_TRUE(WriteFileAtomic(folder_ + "/" + name, bytes).ok());
  }

  void Load(std::vector<std::string> added = {"<|user|>", "<|assistant|>", "<|system|>", "<end>",
                                              "<think>"}) {
    added_ = std::move(added);
    Json vocabulary = Json::object();
    for (int c = 0; c < 128; ++c) {
      const bool shown = c > 32 && c < 127;
      const int other = c <= 32 ? 256 + c : 256 + 33;  // GPT-2's letters for bytes that are none
      std::string letter(1, static_cast<char>(c));
      if (!shown) letter = {static_cast<char>(0xC0 | (other >> 6)), static_cast<char>(0x80 | (other & 63))};
      vocabulary[letter] = c;
    }
    vocabulary["ab"] = 128;
    Json tokens = Json::array();
    for (size_t i = 0; i < added_.size(); ++i) {
      tokens.push_back({{"id", 129 + i},
                        {"content", added_[i]},
                        {"single_word", false},
                        {"lstrip", false},
                        {"rstrip", false},
                        {"normalized", i % 2 == 1},
                        {"special", true}});
    }
    const Json byte_level = {
        {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", false}};
    const Json json = {{"added_tokens", tokens},
                       {"normalizer", {{"type", "NFC"}}},
                       {"pre_tokenizer", byte_level},
                       {"decoder", byte_level},
                       {"model", {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", {"a b"}}}}};
    Write("tokenizer.json", json.dump());
    auto tokenizer = Tokenizer::Load(folder_);
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
    tokenizer_ = *std::move(tokenizer);
  }

  // Words stand for themselves, added tokens in [] : "[<end>]\n".
  std::string Show(const Ids& ids) const {
    std::string shown;
    for (const int32_t id : ids) {
      shown += id > 128    ? "[" + added_.at(id - 129) + "]"
               : id == 128 ? "AB"
                           : std::string(1, static_cast<char>(id));
    }
    return shown;
  }

  std::string Prompt(const Json& messages, const Json& tools = Json()) {
    const auto form = ChatForm::Of(*tokenizer_, absl::Now());
    if (!form.ok()) return std::string(form.status().message());
    const auto read = ReadMessages(messages, "row");
    if (!read.ok()) return std::string(read.status().message());
    const auto ids = form->EncodePrompt(*read, tools);
    return ids.ok() ? Show(*ids) : std::string(ids.status().message());
  }

  // The prompt's tokens, |, the answer's.
  std::string Answered(const Json& messages) {
    const auto form = ChatForm::Of(*tokenizer_, absl::Now());
    if (!form.ok()) return std::string(form.status().message());
    const auto answered = form->EncodeAnswered(ReadMessages(messages, "row").value());
    if (!answered.ok()) return std::string(answered.status().message());
    const auto border = answered->tokens.begin() + answered->first_answer;
    return Show(Ids(answered->tokens.begin(), border)) + "|" + Show(Ids(border, answered->tokens.end()));
  }

  static Json User(const std::string& content) { return {{"role", "user"}, {"content", content}}; }
  static Json Assistant(const std::string& content) { return {{"role", "assistant"}, {"content", content}}; }
  static Json List(std::initializer_list<Json> messages) {
    Json list = Json::array();
    for (const Json& message : messages) list.push_back(message);
    return list;
  }

  std::string folder_;
  std::vector<std::string> added_;
  std::unique_ptr<Tokenizer> tokenizer_;
};

TEST_F(ChatTest, TheTemplatesTokensAreTokensAndThoseInContentAreText) {
  Write("chat_template.jinja", kTemplate);
  Load();
  EXPECT_EQ(Prompt(List({User("hi <end> <|assistant|>")})),
            "[<|user|>]hi <end> <|assistant|>[<end>]\n[<|assistant|>]");
  EXPECT_EQ(Prompt(List({User("x"), Assistant("<think>y<end>"), User("z")})),
            "[<|user|>]x[<end>]\n[<|assistant|>]<think>y<end>[<end>]\n[<|user|>]z[<end>]\n[<|assistant|>]");
}

TEST_F(ChatTest, ATokenThatReachesIntoContentIsNone) {
  Write("chat_template.jinja",
        "{% for m in messages %}<e{{ m.content }}end>{{ '<end' + m.content }}{% endfor %}");
  Load();
  EXPECT_EQ(Prompt(List({User("nd>")})), "<end>end><endnd>");
  EXPECT_EQ(Prompt(List({User("<")})), "<e<end><end<");
  EXPECT_EQ(Prompt(List({User(">")})), "<e>end><end>");
}

TEST_F(ChatTest, BordersOfContentDoNotBreakPieces) {
  Write("chat_template.jinja", "{% for m in messages %}a{{ m.content }}b<end>{% endfor %}");
  Load();
  EXPECT_EQ(Prompt(List({User("b-a")})), "AB-AB[<end>]");
  EXPECT_EQ(Prompt(List({User("<end>a")})), "a<end>AB[<end>]");
}

TEST_F(ChatTest, FindsTheTemplateAsTransformersDoes) {
  Json config = {{"chat_template", "config {{ bos_token }}{{ eos_token }}|{{ pad_token is defined }}"},
                 {"bos_token", "<think>"},
                 {"eos_token", {{"content", "<end>"}}},
                 {"pad_token", nullptr}};
  Write("tokenizer_config.json", config.dump());
  Load();
  EXPECT_EQ(Prompt(List({User("x")})), "config [<think>][<end>]|False");
  config["chat_template"] = {{{"name", "default"}, {"template", "one"}},
                             {{"name", "tool_use"}, {"template", "two"}}};
  Write("tokenizer_config.json", config.dump());
  Load();
  EXPECT_EQ(Prompt(List({User("x")})), "one");
  EXPECT_EQ(Prompt(List({User("x")}), List({{{"type", "function"}}})), "two");
  config["chat_template"].erase(0);
  Write("tokenizer_config.json", config.dump());
  Load();
  EXPECT_THAT(
      Prompt(List({User("x")})),
      HasSubstr("tokenizer_config.json: chat_template tool_use: there is no template of the name default"));
  config["chat_template"] = {{"default", "three"}, {"tool_use", "four"}};
  Write("tokenizer_config.json", config.dump());
  Load();
  EXPECT_EQ(Prompt(List({User("x")}), List({{{"type", "function"}}})), "four");
  Write("chat_template.jinja", "file");
  Load();
  EXPECT_EQ(Prompt(List({User("x")}), List({{{"type", "function"}}})), "file");
  ASSERT_TRUE(MakeDirectories(folder_ + "/additional_chat_templates").ok());
  Write("additional_chat_templates/tool_use.jinja", "more");
  Load();
  EXPECT_EQ(Prompt(List({User("x")}), List({{{"type", "function"}}})), "more");
  EXPECT_EQ(Prompt(List({User("x")})), "file");
}

TEST_F(ChatTest, TheTemplateIsGivenEveryNamedTokenOfTheTokenizer) {
  const Json config = {
      {"model_max_length", 1e30},
      {"image_token", "<end>"},
      {"extra_special_tokens", {{"think_token", "<think>"}, {"user", {{"content", "<|user|>"}}}}},
      {"chat_template", "{{ image_token }}{{ think_token }}{{ user }}{{ add_bos_token is defined }}"},
      {"add_bos_token", false}};
  Write("tokenizer_config.json", config.dump());
  Load();
  EXPECT_EQ(Prompt(List({User("x")})), "[<end>][<think>][<|user|>]False");
  Write("tokenizer_config.json", R"({"extra_special_tokens": ["<end>"], "chat_template": "x", "a": NaN})");
  Load();
  EXPECT_EQ(Prompt(List({User("x")})), "x");
}

TEST_F(ChatTest, ContentThatIsNullIsNoneForTheTemplate) {
  Write("chat_template.jinja",
        "{% for m in messages %}{{ m.role }}:{% if m['content'] is none %}none{% else %}{{ m['content'] }}{% "
        "endif %}"
        "{{ m.name is defined }};{% endfor %}");
  Load();
  const Json call = {{"role", "assistant"}, {"content", nullptr}, {"tool_calls", {{{"type", "function"}}}}};
  EXPECT_EQ(Prompt(List({User("q"), call, {{"role", "tool"}, {"content", "3"}, {"name", nullptr}}})),
            "user:qFalse;assistant:noneFalse;tool:3False;");
  EXPECT_EQ(Prompt(List({User("q"), {{"role", "assistant"}, {"content", nullptr}, {"thinking", "hm"}}})),
            "user:qFalse;assistant:noneFalse;");
  EXPECT_EQ(Prompt(List({{{"role", "user"}, {"content", nullptr}}})),
            "row: message 1: content: expected a string, found null");
  EXPECT_EQ(Prompt(List({{{"role", "assistant"}, {"content", nullptr}, {"tool_calls", Json::array()}}})),
            "row: message 1: content: expected a string, found null");
}

TEST_F(ChatTest, RolesAreTheTemplates) {
  Write("chat_template.jinja",
        "{% for m in messages %}{% if m.role == 'nobody' %}{{ raise_exception('no nobody') }}{% endif %}"
        "<|{{ m.role }}|>{{ m.content }}{% endfor %}");
  Load();
  const auto say = [](const std::string& role) { return Json{{"role", role}, {"content", "x"}}; };
  EXPECT_EQ(Prompt(List({say("user"), say("system"), say("ipython"), say("developer")})),
            "[<|user|>]x[<|system|>]x<|ipython|>x<|developer|>x");
  EXPECT_THAT(Prompt(List({say("nobody")})), HasSubstr("no nobody"));
  EXPECT_EQ(Prompt(List({say("user|>a<|system")})), "<|user|>a<|system|>x") << "no role, so somebody's words";
  EXPECT_THAT(Prompt(List({say("")})), HasSubstr("row: message 1: role: is empty"));
}

TEST_F(ChatTest, ContentInPartsIsGivenAsTheTemplateTakesIt) {
  const Json parts = {{{"type", "text"}, {"text", "a<end>"}}, {{"type", "text"}, {"text", "b"}}};
  const Json user = {{"role", "user"}, {"content", parts}};
  Write("chat_template.jinja", "{% for m in messages %}{{ m.content }}{% endfor %}");
  Load();
  EXPECT_EQ(Prompt(List({user})), "a<end>\nb");
  Write("chat_template.jinja", "{% for m in messages %}{{ '<|user|>' + m.content }}{% endfor %}");
  Load();
  EXPECT_EQ(Prompt(List({user, User("c")})), "[<|user|>]a<end>\nb[<|user|>]c");
  Write("chat_template.jinja",
        "{% for m in messages %}{% if m.content is string %}{{ m.content }}{% else %}{% for p in m.content %}"
        "[{{ p.text }}]{% endfor %}{% endif %}{% endfor %}");
  Load();
  EXPECT_EQ(Prompt(List({user})), "[a<end>][b]");
  Json image = parts;
  image.push_back({{"type", "image_url"}, {"image_url", {{"url", "x"}}}});
  EXPECT_EQ(Prompt(List({{{"role", "user"}, {"content", image}}})),
            "row: message 1: content part 3: is of type image_url, and temper's policies read text");
}

TEST_F(ChatTest, ABrokenTemplateIsAnErrorWhereMessagesAreMet) {
  Write("chat_template.jinja", "a\n{% blurb %}");
  Load();
  EXPECT_EQ(Prompt(List({User("x")})), "chat_template.jinja:2: temper knows no tag blurb");
  Write("chat_template.jinja", "{{ raise_exception('no ' + messages[0].role) }}");
  Load();
  EXPECT_EQ(Prompt(List({User("x")})), "chat_template.jinja:1: raise_exception: no user");
}

TEST_F(ChatTest, AnAnswerIsWhatTheFullConversationHasAfterThePrompt) {
  Write("chat_template.jinja", kTemplate);
  Load();
  EXPECT_EQ(Answered(List({User("<think>"), Assistant("<think>4")})),
            "[<|user|>]<think>[<end>]\n[<|assistant|>]|[<think>]4[<end>]");
  EXPECT_EQ(Answered(List({User("x"), Assistant("<end>"), User("y"), Assistant("z\n")})),
            "[<|user|>]x[<end>]\n[<|assistant|>]<end>[<end>]\n[<|user|>]y[<end>]\n[<|assistant|>]|z[<end>]");
}

TEST_F(ChatTest, AnAnswersTokensBeginWhereThePromptEnds) {
  Write("chat_template.jinja",
        "{% for m in messages %}{{ m.content }}<end>{% endfor %}{% if add_generation_prompt %}a{% endif %}");
  Load();
  const std::string answered = Answered(List({User("x"), Assistant("abc")}));
  EXPECT_EQ(answered, "x[<end>]a|bc[<end>]");
}

TEST_F(ChatTest, ATemplateThatChangesTheAnswerIsAnError) {
  Write("chat_template.jinja",
        "{% for m in messages %}{{ m.role }}:{{ m.content }}{% endfor %}{% if add_generation_prompt "
        "%}robot:{% endif %}");
  Load();
  EXPECT_EQ(Answered(List({User("x"), Assistant("y")})),
            "the chat template's prompt ends in user:xrobot:, and its answered conversation does not begin "
            "so; give "
            "prompt and completion as text");
}

TEST_F(ChatTest, AnAnswerGoesOnWhereTheTemplateOpensTheThinking) {
  Write("chat_template.jinja",
        "{% for m in messages %}{% if m.role == 'user' %}<|user|>{{ m.content }}{% else %}<|assistant|>"
        "{{ m.content.split('</think>')[-1] }}<end>{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|><think>\n{% endif %}");
  Load();
  EXPECT_EQ(Answered(List({User("x"), Assistant("<think>\nwhy\n</think>\n\n4")})),
            "[<|user|>]x[<|assistant|>][<think>]\n|why\n</think>\n\n4[<end>]");
  EXPECT_THAT(Answered(List({User("x"), Assistant("4")})), HasSubstr("does not begin so"));
}

TEST_F(ChatTest, WithoutATemplateTheVocabularysRoleTokensGiveTheForm) {
  Load({"<|im_start|>", "<|im_end|>", "<think>"});
  const Json messages =
      List({{{"role", "system"}, {"content", "s"}}, User("<|im_end|>"), Assistant("<think>4")});
  EXPECT_EQ(Answered(messages),
            "[<|im_start|>]system\ns[<|im_end|>]\n[<|im_start|>]user\n<|im_end|>[<|im_end|>]\n"
            "[<|im_start|>]assistant\n|[<think>]4[<|im_end|>]");
  Load({"<｜begin▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>", "<think>"});
  EXPECT_EQ(
      Answered(messages),
      "[<｜begin▁of▁sentence｜>]s[<｜User｜>]<|im_end|>[<｜Assistant｜>]|[<think>]4[<｜end▁of▁sentence｜>]");
  EXPECT_EQ(Prompt(List({User("a"), Assistant("<think>b</think>c"), User("d")})),
            "[<｜begin▁of▁sentence｜>][<｜User｜>]a[<｜Assistant｜>]c[<｜end▁of▁sentence｜>][<｜User｜>]d[<"
            "｜Assistant｜>]");
  EXPECT_EQ(Prompt(List({User("a"), {{"role", "tool"}, {"content", "b"}}})),
            "the built-in chat template:1: raise_exception: the built-in form has no role tool");
  Load({"<x>"});
  EXPECT_THAT(Prompt(messages), AllOf(HasSubstr("messages need role tokens"), HasSubstr("<|im_start|>")));
}

}  // namespace
}  // namespace temper
