// SPDX-License-Identifier: Apache-2.0
#include "data/dataset/dataset.h"

#include "core/files/file.h"
#include "data/chat/chat.h"
#include "data/tasks/tiny/tiny.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace temper {
namespace {

using testing::HasSubstr;
using Ids = std::vector<int32_t>;

constexpr int32_t kFirstAdded = 357;

std::string TestPath(const std::string& name) {
  const auto* info = testing::UnitTest::GetInstance()->current_test_info();
  return testing::TempDir() + "temper_dataset_" + info->name() + "_" + name;
}

// The tiny policy's tokenizer, with more tokens: their ids begin at kFirstAdded.
std::unique_ptr<Tokenizer> TokenizerWith(const std::vector<std::string>& added) {
  const std::string source = "configs/tiny/base/tokenizer.json";
  Json json = ParseJson(ReadFile(source).value(), source).value();
  int32_t id = kFirstAdded;
  for (const std::string& token : added) {
    json["added_tokens"].push_back({{"id", id++},
                                    {"content", token},
                                    {"single_word", false},
                                    {"lstrip", false},
                                    {"rstrip", false},
                                    {"normalized", false},
                                    {"special", true}});
  }
  const std::string path = TestPath("tokenizer.json");
  EXPECT_TRUE(WriteFileAtomic(path, DumpJson(json)).ok());
  auto tokenizer = Tokenizer::Load(path);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return *std::move(tokenizer);
}

const Tokenizer& Tiny() {
  static const Tokenizer* const kTokenizer = Tokenizer::Load("configs/tiny/base").value().release();
  return *kTokenizer;
}

std::unique_ptr<Tokenizer> ChatMl() { return TokenizerWith({"<|im_start|>", "<|im_end|>", "<think>"}); }
std::unique_ptr<Tokenizer> DeepSeek() {
  return TokenizerWith(
      {"<｜begin▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>", "<think>"});
}

Ids Plain(const Tokenizer& tokenizer, const std::string& text) {
  return tokenizer.Encode(text, {.added_tokens = false, .add_special_tokens = false}).value();
}

Ids Join(std::initializer_list<Ids> parts) {
  Ids all;
  for (const Ids& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

std::string FileOf(const std::string& text) {
  const std::string path = TestPath("rows.jsonl");
  EXPECT_TRUE(WriteFileAtomic(path, text).ok());
  return path;
}

struct Problems {
  std::vector<Prompt> prompts;
  int64_t skipped_lines = 0;
  std::string fields;
};

absl::StatusOr<Problems> Read(const std::string& text, const Tokenizer& tokenizer = Tiny(),
                              ProblemFileOptions options = {}) {
  TEMPER_ASSIGN_OR_RETURN(const std::unique_ptr<ProblemFile> file,
                          ProblemFile::Open(FileOf(text), tokenizer, options));
  Problems problems{.prompts = {}, .skipped_lines = file->skipped_lines(), .fields = file->fields()};
  for (int64_t i = 0; i < file->size(); ++i) {
    TEMPER_ASSIGN_OR_RETURN(Prompt prompt, file->Read(i));
    problems.prompts.push_back(std::move(prompt));
  }
  return problems;
}

absl::StatusOr<std::vector<Document>> ReadDocuments(const std::string& path, const Tokenizer& tokenizer) {
  TEMPER_ASSIGN_OR_RETURN(const std::unique_ptr<DocumentFile> file, DocumentFile::Open(path, tokenizer));
  std::vector<Document> documents;
  for (int64_t i = 0; i < file->size(); ++i) {
    TEMPER_ASSIGN_OR_RETURN(Document document, file->Read(i));
    documents.push_back(std::move(document));
  }
  return documents;
}

std::string ErrorOf(const std::string& text, const Tokenizer& tokenizer = Tiny(),
                    ProblemFileOptions options = {}) {
  return std::string(Read(text, tokenizer, options).status().message());
}

TEST(ProblemFile, KnowsTheFieldsThatAreCommon) {
  struct Case {
    const char* row;
    const char* text;
    const char* answer;
    const char* task;
    const char* fields;
  };
  const Case cases[] = {
      {R"({"question":"how","answer":"9*2\n#### 1,8 \n"})", "how", "1,8", "",
       "question, answer (after ####)"},
      {R"({"problem":"how","solution":"so \\boxed{4}","answer":"4","data_source":"math"})", "how", "4",
       "math", "problem, answer"},
      {R"({"problem":"how","solution":"so \\boxed{4}"})", "how", "so \\boxed{4}", "", "problem, solution"},
      {R"({"prompt":"how","ground_truth":-1.50,"task":"find_x"})", "how", "-1.50", "find_x",
       "prompt, ground_truth"},
      {R"({"prompt":"how","expected":"18","upstream_answer":"9*2\n#### 18"})", "how", "18", "",
       "prompt, expected"},
      {R"({"prompt":"how","reward_model":{"style":"rule","ground_truth":"7"}})", "how", "7", "",
       "prompt, reward_model.ground_truth"},
      {R"({"question":null,"prompt":"how","answer":null})", "how", "", "", "prompt"},
      {R"({"problem":"how","expected_answer":"4","generated_solution":"so 4"})", "how", "4", "",
       "problem, expected_answer"},
      {R"({"question":"how","final_answer":["$2$"],"solution":["long"]})", "how", "$2$", "",
       "question, final_answer"},
      {R"({"instruction":"how","input":"","output":"so"})", "how", "so", "", "instruction, output"},
      {R"({"prompt":"how","reward_model":{"ground_truth":["12"]}})", "how", "12", "",
       "prompt, reward_model.ground_truth"},
      {R"({"question":"how","choices":["x","y"],"answer":"B"})", "how", "B", "",
       "question (without choices), answer"},
  };
  for (const Case& c : cases) {
    const auto problems = Read(c.row);
    ASSERT_TRUE(problems.ok()) << c.row << problems.status();
    const Prompt& prompt = problems->prompts.at(0);
    EXPECT_EQ(prompt.text, c.text);
    EXPECT_EQ(prompt.answer, c.answer);
    EXPECT_EQ(prompt.task, c.task);
    EXPECT_EQ(problems->fields, c.fields);
    EXPECT_EQ(prompt.tokens, Tiny().Encode("how").value());
    EXPECT_EQ(ParseJson(prompt.fields, "").value(), ParseJson(c.row, "").value());
  }
}

// A row as json.dumps writes {"question": "2**70?", "answer": 2**70}.
TEST(ProblemFile, KeepsTheDigitsOfNumbers) {
  const auto read = Read(R"({"question": "2**70?", "answer": 1180591620717411303424, "price": 0.10})");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->prompts[0].answer, "1180591620717411303424");
  EXPECT_EQ(read->prompts[0].fields, R"({"question":"2**70?","answer":1180591620717411303424,"price":0.10})");
}

// EleutherAI/asdiv and ChilleD/SVAMP: without the story the question says nothing.
TEST(ProblemFile, AQuestionHasItsBody) {
  for (const char* row : {R"({"body": "2 red, 3 blue.", "question": "How many?", "answer": "5 apples"})",
                          R"({"Body": "2 red, 3 blue.", "Question": "How many?", "answer": "5 apples"})"}) {
    const auto read = Read(row);
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(read->prompts[0].text, "2 red, 3 blue.\n\nHow many?");
  }
}

TEST(ProblemFile, JoinsTheFieldsThatAreNamed) {
  ProblemFileOptions options;
  options.fields.problem = "question + options";
  const auto file =
      ProblemFile::Open(FileOf(R"({"question":"Q?","options":["x","y"],"answer":"B"})"), Tiny(), options);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ((*file)->Read(0)->text, "Q?\n\nA. x\nB. y");
}

// tatsu-lab/alpaca: 40% of its rows have an input.
TEST(ProblemFile, AnInstructionHasItsInput) {
  const auto read = Read(R"({"instruction": "Add the numbers.", "input": "40 and 2", "output": "42"})");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->prompts[0].text, "Add the numbers.\n\n40 and 2");
  EXPECT_EQ(read->prompts[0].answer, "42");
  EXPECT_EQ(read->fields, "instruction + input, output");
}

TEST(ProblemFile, TakesTheFieldsThatAreNamed) {
  ProblemFileOptions named;
  named.fields = {.problem = "data.q", .answer = "a.b", .task = "kind", .id = "key"};
  const std::string row =
      R"({"question":"not","data":{"q":"how"},"a":{"b":7},"kind":"math","key":"k1","a.c":1})";
  const auto problems = Read(row, Tiny(), named);
  ASSERT_TRUE(problems.ok()) << problems.status();
  const Prompt& prompt = problems->prompts.at(0);
  EXPECT_EQ(prompt.text + "|" + prompt.answer + "|" + prompt.task + "|" + prompt.id, "how|7|math|k1");
  EXPECT_EQ(problems->fields, "data.q, a.b");
  named.fields.answer = "a.c";  // a key that has a point itself
  EXPECT_EQ(Read(row, Tiny(), named)->prompts.at(0).answer, "1");
  named.fields.answer = "a.d";
  EXPECT_THAT(ErrorOf(row, Tiny(), named), HasSubstr("rows.jsonl:1: has no a.d"));
}

TEST(ProblemFile, NamesRowsByIdOrLineAndRefusesAnIdTwice) {
  const auto problems =
      Read("{\"question\":\"a\"}\n\n{\"question\":\"b\",\"id\":\"x\"}\n{\"question\":\"c\",\"id\":17}\n");
  std::string ids;
  for (const Prompt& prompt : problems->prompts) ids += prompt.id + " ";
  EXPECT_EQ(ids, "1 x 17 ");
  EXPECT_THAT(ErrorOf("{\"question\":\"a\",\"id\":2}\n{\"question\":\"b\"}\n"),
              HasSubstr("rows.jsonl:2: id 2 is that of line 1 too"));
  ProblemFileOptions skip;
  skip.skip_bad_lines = true;
  EXPECT_THAT(ErrorOf("{\"question\":\"a\",\"id\":2}\n{\"question\":\"b\"}\n", Tiny(), skip),
              HasSubstr("id 2"));
}

TEST(ProblemFile, SaysWhatIsWrongWithARowOrCountsIt) {
  const char* bad[][2] = {
      {"{\"question\":\" \",\"answer\":\"1\"}", "rows.jsonl:1: question: is empty"},
      {"{\"x\":1}", "has no question, problem, prompt, messages, conversations or instruction"},
      {"{\"question\":1}", "question: messages are a list"},
      {"{\"question\":\"a\",\"answer\":[1,2]}", "answer: is neither text nor a number"},
      {"{\"question\":\"a\",\"id\":{}}", "id: is neither text nor a number"},
      {"{\"messages\":\"a\"}", "messages: messages are a list"},
      {"{\"messages\":[]}", "messages: messages are a list"},
      {"{\"messages\":[1]}", "message 1: expected an object with role"},
      {"{\"messages\":[{\"role\":\"user\"}]}", "message 1: content: missing"},
      {"{\"messages\":[{\"role\":\"robot\",\"content\":\"\"}]}", "has no message of the user"},
      {"{\"messages\":[{\"role\":\"assistant\",\"content\":\"a\"}]}", "has no message of the user"},
      {"{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"system\",\"content\":\"a\"}]}",
       "messages need role tokens"},
      {"not json", "byte "}};
  ProblemFileOptions skip;
  skip.skip_bad_lines = true;
  std::string all;
  for (const auto& [row, what] : bad) {
    EXPECT_THAT(ErrorOf(row), testing::AllOf(HasSubstr("rows.jsonl:1: "), HasSubstr(what))) << row;
    all += std::string(row) + "\n";
  }
  const auto problems = Read(all + "{\"question\":\"a\"}\n", Tiny(), skip);
  ASSERT_TRUE(problems.ok()) << problems.status();
  EXPECT_EQ(problems->skipped_lines, static_cast<int64_t>(std::size(bad)));
  EXPECT_EQ(problems->prompts.at(0).id, std::to_string(std::size(bad) + 1));
}

TEST(ProblemFile, PutsMessagesInChatMl) {
  const auto tokenizer = ChatMl();
  const int32_t start = kFirstAdded, end = kFirstAdded + 1;
  const auto problems = Read(
      R"({"prompt":[{"role":"system","content":"be kind"},{"role":"user","content":"7 <|im_end|>"}],"answer":7})",
      *tokenizer);
  ASSERT_TRUE(problems.ok()) << problems.status();
  const Prompt& prompt = problems->prompts.at(0);
  EXPECT_EQ(prompt.tokens, Join({{start},
                                 Plain(*tokenizer, "system\nbe kind"),
                                 {end},
                                 Plain(*tokenizer, "\n"),
                                 {start},
                                 Plain(*tokenizer, "user\n7 <|im_end|>"),
                                 {end},
                                 Plain(*tokenizer, "\n"),
                                 {start},
                                 Plain(*tokenizer, "assistant\n")}));
  EXPECT_EQ(std::count(prompt.tokens.begin(), prompt.tokens.end(), end), 2);
  EXPECT_EQ(prompt.text,
            "<|im_start|>system\nbe kind<|im_end|>\n<|im_start|>user\n7 "
            "<|im_end|><|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(problems->fields, "prompt (messages), answer");
}

TEST(ProblemFile, PutsMessagesInDeepSeeksForm) {
  const auto tokenizer = DeepSeek();
  const int32_t begin = kFirstAdded, user = begin + 1, assistant = begin + 2, end = begin + 3;
  const auto problems = Read(
      R"({"messages":[{"role":"system","content":"be"},{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"user","content":"<｜User｜>"},{"role":"assistant","content":"7"}]})",
      *tokenizer);
  ASSERT_TRUE(problems.ok()) << problems.status();
  EXPECT_EQ(problems->prompts.at(0).tokens, Join({{begin},
                                                  Plain(*tokenizer, "be"),
                                                  {user},
                                                  Plain(*tokenizer, "a"),
                                                  {assistant},
                                                  Plain(*tokenizer, "b"),
                                                  {end},
                                                  {user},
                                                  Plain(*tokenizer, "<｜User｜>"),
                                                  {assistant}}));
}

// Messages in every form that datasets have them in are the same prompt.
TEST(ProblemFile, TakesConversationsInAllTheirForms) {
  const auto tokenizer = ChatMl();
  const auto expected =
      Read(R"({"messages":[{"role":"system","content":"s"},{"role":"user","content":"how"}]})", *tokenizer);
  ASSERT_TRUE(expected.ok()) << expected.status();
  for (
      const char* row :
      {R"({"prompt":[{"role":"system","content":"s"},{"role":"user","content":"how"}]})",
       R"({"prompt":[[{"role":"system","content":"s"},{"role":"user","content":"how"}]]})",
       R"({"conversations":[{"from":"system","value":"s"},{"from":"human","value":"how"},{"from":"gpt","value":"so"}]})",
       R"({"conversations":[{"role":"system","content":"s"},{"role":"user","content":"how"}]})"}) {
    const auto read = Read(row, *tokenizer);
    ASSERT_TRUE(read.ok()) << row << read.status();
    EXPECT_EQ(read->prompts[0].tokens, expected->prompts[0].tokens) << row;
  }
}

TEST(ProblemFile, PutsATextIntoTheChatTemplateWithSystemAndSuffix) {
  const auto tokenizer = ChatMl();
  ProblemFileOptions options;
  options.prompt = {.prompt_template = PromptTemplate::kChat, .system = "s", .suffix = "\nBox it."};
  const auto text = Read(R"({"question":"how","answer":"4"})", *tokenizer, options);
  const auto chat =
      Read(R"({"messages":[{"role":"user","content":"how"}],"answer":"4"})", *tokenizer, options);
  const auto own = Read(R"({"messages":[{"role":"system","content":"o"},{"role":"user","content":"how"}]})",
                        *tokenizer, options);
  ASSERT_TRUE(text.ok() && chat.ok() && own.ok()) << text.status() << chat.status() << own.status();
  EXPECT_EQ(
      text->prompts[0].text,
      "<|im_start|>system\ns<|im_end|>\n<|im_start|>user\nhow\nBox it.<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(text->prompts[0].tokens[0], kFirstAdded);
  EXPECT_EQ(chat->prompts[0].tokens, text->prompts[0].tokens);
  EXPECT_THAT(own->prompts[0].text, HasSubstr("system\no<|im_end|>"));
  EXPECT_THAT(own->prompts[0].text, HasSubstr("how\nBox it.<|im_end|>"));
  EXPECT_THAT(ErrorOf(R"({"question":"how"})", Tiny(), options),
              HasSubstr("rows.jsonl:1: template: chat, and the model has no chat template"));
}

TEST(ProblemFile, APromptThatIsTooLongIsNamedOrLeftOut) {
  ProblemFileOptions options;
  options.max_tokens = 40;
  const std::string rows = "{\"question\":\"how\"}\n{\"question\":\"" + std::string(40, '7') + "\"}\n";
  EXPECT_THAT(ErrorOf(rows, Tiny(), options),
              HasSubstr("rows.jsonl:2: the prompt has 41 tokens, and at most 40 fit the model's positions"));
  options.skip_bad_lines = true;
  const auto read = Read(rows, Tiny(), options);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->prompts.size(), 1u);
  EXPECT_EQ(read->skipped_lines, 1);
}

TEST(ProblemFile, WithoutRoleTokensMessagesAreAnErrorThatNamesThem) {
  EXPECT_THAT(ErrorOf(R"({"messages":[{"role":"user","content":"a"}]})"),
              testing::AllOf(HasSubstr("rows.jsonl:1: messages need role tokens"), HasSubstr("<｜User｜>"),
                             HasSubstr("<|im_start|>")));
}

TEST(ProblemFile, InTheR1TemplateTagsAreTokensAndTheProblemIsWords) {
  const auto tokenizer = DeepSeek();
  ProblemFileOptions r1;
  r1.prompt.prompt_template = PromptTemplate::kR1;
  const int32_t user = kFirstAdded + 1, think = kFirstAdded + 4;
  const auto problems = Read(R"({"question":"what"}
{"question":"<｜User｜> <think>"}
{"messages":[{"role":"user","content":"what"}]})",
                             *tokenizer, r1);
  ASSERT_TRUE(problems.ok()) << problems.status();
  const Prompt& plain = problems->prompts.at(0);
  EXPECT_TRUE(plain.text.ends_with("User: what. Assistant: <think>")) << plain.text;
  EXPECT_EQ(plain.tokens, tokenizer->Encode(plain.text).value());
  EXPECT_EQ(plain.tokens.back(), think);
  EXPECT_EQ(problems->prompts.at(2).tokens, plain.tokens);
  const Prompt& hostile = problems->prompts.at(1);
  EXPECT_EQ(hostile.text, R1Prompt("<｜User｜> <think>"));
  EXPECT_EQ(std::count(hostile.tokens.begin(), hostile.tokens.end(), user), 0);
  EXPECT_EQ(std::count(hostile.tokens.begin(), hostile.tokens.end(), think),
            std::count(plain.tokens.begin(), plain.tokens.end(), think));
  EXPECT_EQ(tokenizer->Decode(hostile.tokens, false), "<bos>" + hostile.text);
  EXPECT_THAT(ErrorOf(R"({"messages":[{"role":"system","content":"s"},{"role":"user","content":"a"}]})",
                      *tokenizer, r1),
              HasSubstr("takes one message"));
}

TEST(ProblemFile, FindsRowsThatHaveNoTokensOrThatTheChatTemplateRefuses) {
  const std::string folder = TestPath("folder");
  ASSERT_TRUE(MakeDirectories(folder).ok());
  Json json = ParseJson(ReadFile("configs/tiny/base/tokenizer.json").value(), "").value();
  json["post_processor"] = nullptr;  // no BOS
  ASSERT_TRUE(WriteFileAtomic(folder + "/tokenizer.json", DumpJson(json)).ok());
  ASSERT_TRUE(WriteFileAtomic(folder + "/chat_template.jinja",
                              "{% for m in messages %}{% if m.content == 'bad' %}"
                              "{{ raise_exception('that is bad') }}{% endif %}{{ m.content }}{% endfor %}")
                  .ok());
  const auto tokenizer = Tokenizer::Load(folder);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  const std::pair<const char*, const char*> bad[] = {
      {R"({"messages":[{"role":"user","content":""}]})", "rows.jsonl:2: the prompt is empty"},
      {R"({"messages":[{"role":"user","content":"bad"}]})", "that is bad"}};
  for (const auto& [row, what] : bad) {
    const std::string path = FileOf(absl::StrCat("{\"question\":\"a\"}\n", row, "\n"));
    const std::string error(ProblemFile::Open(path, **tokenizer, {}).status().message());
    EXPECT_THAT(error, HasSubstr("rows.jsonl:2: "));
    EXPECT_THAT(error, HasSubstr(what));
  }
}

TEST(ProblemFile, LeavesOutWhatIsAskedInAnyTurnAndInTheR1Template) {
  const ContentKeys exclude = {ContentKey("what is it?")};
  ProblemFileOptions options;
  options.exclude = &exclude;
  const std::string rows = R"({"question":"What is it"}
{"question":"other"}
{"messages":[{"role":"user","content":"what is it ?"},{"role":"assistant","content":"7"},{"role":"user","content":"sure?"}]}
)" + DumpJson(Json{{"prompt", R1Prompt("What is it?")}});
  const auto tokenizer = ChatMl();
  const auto file = ProblemFile::Open(FileOf(rows), *tokenizer, options);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ((*file)->excluded(), 3);
  ASSERT_EQ((*file)->size(), 1);
  EXPECT_EQ((*file)->Read(0)->text, "other");
}

TEST(DocumentFile, LeavesOutWhatIsAskedInAnyTurnAndInTheR1Template) {
  const ContentKeys exclude = {ContentKey("what is it?")};
  const std::string rows = R"({"prompt":"What is it","completion":" 7"}
{"prompt":"other","completion":" 7"}
{"messages":[{"role":"user","content":"what is it ?"},{"role":"assistant","content":"7"},{"role":"user","content":"sure?"},{"role":"assistant","content":"yes"}]}
)" + DumpJson(Json{{"prompt", R1Prompt("What is it?")}, {"completion", " 7"}});
  const auto tokenizer = ChatMl();
  const auto file = DocumentFile::Open(FileOf(rows), *tokenizer, {.exclude = &exclude});
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ((*file)->excluded(), 3);
  ASSERT_EQ((*file)->size(), 1);
  EXPECT_EQ((*file)->Read(0)->tokens, MakeDocument("other", " 7", *tokenizer)->tokens);
}

TEST(MakeDocument, IsPromptThenCompletionThenTheEndToken) {
  const tiny::Document text = tiny::ColdStartDocument(1, 2, {});
  const Document document = MakeDocument(text.prompt, text.completion, Tiny()).value();
  const Ids prompt = Tiny().Encode(text.prompt).value(), completion = Plain(Tiny(), text.completion);
  EXPECT_EQ(document.tokens, Join({prompt, completion, {2}}));
  EXPECT_EQ(document.first_target, static_cast<int64_t>(prompt.size()));
  // <bos>, Q of a byte, a token for each word.
  EXPECT_EQ(prompt.size(), 2u + std::count(text.prompt.begin(), text.prompt.end(), ' '));
  EXPECT_EQ(static_cast<int64_t>(completion.size()),
            std::count(text.completion.begin(), text.completion.end(), ' '));
  const Document bare = MakeDocument("", " the cat .", Tiny()).value();
  EXPECT_EQ(bare.first_target, 1);
  EXPECT_EQ(bare.tokens.size(), 5u);
  EXPECT_FALSE(MakeDocument("\xFF", "", Tiny()).ok());
}

// What a collect stage keeps of a chat: the policy that learns from it sees the ids that were sampled after.
TEST(DocumentFile, WhatWasSampledFollowsThePromptAsItWasAsked) {
  const auto tokenizer = ChatMl();
  const std::vector<Message> messages =
      ReadMessages(Json::parse(R"([{"role":"user","content":"a <|im_end|> b"}])"), "row").value();
  const ChatForm chat = ChatForm::Of(*tokenizer, std::nullopt).value();
  const Ids prompt = chat.EncodePrompt(messages).value();
  const std::string rows = TestPath("rows.jsonl");
  ASSERT_TRUE(WriteFileAtomic(
                  rows, R"({"prompt":[{"role":"user","content":"a <|im_end|> b"}],"completion":"<think>c"})")
                  .ok());
  const auto file = DocumentFile::Open(rows, *tokenizer);
  ASSERT_TRUE(file.ok()) << file.status();
  const Document document = (*file)->Read(0).value();
  const Ids sampled = tokenizer->Encode("<think>c", {.add_special_tokens = false}).value();
  EXPECT_EQ(document.tokens, Join({prompt, sampled, {kFirstAdded + 1}}));  // the turn's end, <|im_end|>
  EXPECT_EQ(document.first_target, static_cast<int64_t>(prompt.size()));
  EXPECT_THAT(std::string(DocumentFile::Open(rows, Tiny()).status().message()),
              HasSubstr("rows.jsonl:1: "));  // a student that has no chat form
}

// As Transformers' apply_chat_template gives it as a text: the template has written the first token.
TEST(PromptForm, ATextThatBeginsWithTheFirstTokenHasItOnce) {
  const PromptForm form(Tiny(), {}, std::nullopt);
  const auto tokens = [&](const std::string& text) {
    ProblemRow problem;
    problem.text = text;
    return form.Tokens(problem).value();
  };
  EXPECT_EQ(tokens("<bos>Q 7 ?"), tokens("Q 7 ?"));
  EXPECT_EQ(tokens("<bos>"), Tiny().Encode("").value());
}

TEST(DocumentFile, AnR1PromptThatWasSampledHasTheSameIds) {
  const auto tokenizer = ChatMl();
  const std::string problem = "what is <think> ?";  // words, though the template's own is a token
  const std::string rows = TestPath("rows.jsonl");
  ASSERT_TRUE(
      WriteFileAtomic(rows, DumpJson(Json{{"prompt", R1Prompt(problem)}, {"completion", "c"}}) + "\n").ok());
  const Document document = DocumentFile::Open(rows, *tokenizer).value()->Read(0).value();
  Ids prompt = document.tokens;
  prompt.resize(document.first_target);
  EXPECT_EQ(prompt, EncodeR1(problem, *tokenizer).value());
}

TEST(DocumentFile, ReadsPairsAndConversations) {
  const auto tokenizer = ChatMl();
  const int32_t start = kFirstAdded, end = start + 1, think = start + 2;
  const auto documents = ReadDocuments(FileOf(R"({"prompt":"Q 7","completion":" 4","id":3}
{"messages":[{"role":"user","content":"<think>"},{"role":"assistant","content":"<think> 4"}]})"),
                                       *tokenizer);
  ASSERT_TRUE(documents.ok()) << documents.status();
  ASSERT_EQ(documents->size(), 2u);
  EXPECT_EQ((*documents)[0].tokens, MakeDocument("Q 7", " 4", *tokenizer)->tokens);
  const Ids head = Join({{start},
                         Plain(*tokenizer, "user\n<think>"),
                         {end},
                         Plain(*tokenizer, "\n"),
                         {start},
                         Plain(*tokenizer, "assistant\n")});
  EXPECT_EQ((*documents)[1].first_target, static_cast<int64_t>(head.size()));
  EXPECT_EQ((*documents)[1].tokens, Join({head, {think}, Plain(*tokenizer, " 4"), {end}}));
}

// TRL's conversational prompt and completion, ShareGPT's turns and messages are one document; so are the
// pairs.
TEST(DocumentFile, ReadsTheSameDocumentInAllItsForms) {
  const auto tokenizer = ChatMl();
  const auto one = [&](const std::string& row, const PromptOptions& prompt = {}) {
    DocumentFileOptions options;
    options.prompt = prompt;
    const auto file = DocumentFile::Open(FileOf(row), *tokenizer, options);
    EXPECT_TRUE(file.ok()) << row << file.status();
    return file.ok() ? (*file)->Read(0)->tokens : Ids();
  };
  const Ids chat = one(R"({"messages":[{"role":"user","content":"x"},{"role":"assistant","content":"y"}]})");
  EXPECT_EQ(
      one(R"({"prompt":[{"role":"user","content":"x"}],"completion":[{"role":"assistant","content":"y"}]})"),
      chat);
  EXPECT_EQ(one(R"({"conversations":[{"from":"human","value":"x"},{"from":"gpt","value":"y"}]})"), chat);
  const PromptOptions form{.prompt_template = PromptTemplate::kChat, .system = "", .suffix = ""};
  for (const char* row :
       {R"({"prompt":"x","completion":"y"})", R"({"instruction":"x","input":"","output":"y"})",
        R"({"question":"x","answer":"y"})"}) {
    EXPECT_EQ(one(row, form), chat) << row;
    EXPECT_EQ(one(row), MakeDocument("x", "y", *tokenizer)->tokens) << row;
  }
  EXPECT_EQ(one(R"({"text":"x y","url":"z"})"), MakeDocument("", "x y", *tokenizer)->tokens);
  const PromptOptions r1{.prompt_template = PromptTemplate::kR1, .system = "", .suffix = ""};
  EXPECT_EQ(one(R"({"prompt":"x","completion":"y"})", r1),
            MakeDocument(R1Prompt("x"), "y", *tokenizer)->tokens);
}

TEST(DocumentFile, ShowsWhatIsAskedAndWhatIsTrainedOn) {
  const auto document = MakeDocument("how", "so", Tiny());
  ASSERT_TRUE(document.ok()) << document.status();
  const std::string text = FirstDocumentText("f.jsonl", *document, Tiny());
  EXPECT_THAT(text,
              testing::StartsWith(absl::StrCat("f.jsonl: first document, ", document->tokens.size(),
                                               " tokens, ", document->tokens.size() - document->first_target,
                                               " of them trained on: \"<bos>how\" -> \"so<eos>\"")));
}

TEST(DocumentFile, SaysWhatIsWrong) {
  const auto error = [](const std::string& text) {
    return std::string(ReadDocuments(FileOf(text), Tiny()).status().message());
  };
  EXPECT_THAT(error("{\"prompt\":\"a\"}"), HasSubstr("rows.jsonl:1: completion: missing"));
  EXPECT_THAT(error("{}\n"), HasSubstr("rows.jsonl:1: has no prompt and completion, messages"));
  EXPECT_THAT(error("{\"prompt\":\"a\",\"completion\":\"\"}"),
              HasSubstr("rows.jsonl:1: completion: is empty"));
  EXPECT_THAT(error("{\"text\": 7}"), HasSubstr("rows.jsonl:1: text: "));
  DocumentFileOptions r1;
  r1.prompt.prompt_template = PromptTemplate::kR1;
  EXPECT_THAT(std::string(DocumentFile::Open(FileOf("{\"text\":\"x\"}"), Tiny(), r1).status().message()),
              HasSubstr("rows.jsonl:1: text: asks nothing"));
  EXPECT_THAT(error(R"({"messages":[{"role":"user","content":"a"}]})"),
              HasSubstr("the last one is not the assistant's"));
  EXPECT_THAT(error(R"({"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]})"),
              HasSubstr("rows.jsonl:1: messages need role tokens"));
}

}  // namespace
}  // namespace temper
