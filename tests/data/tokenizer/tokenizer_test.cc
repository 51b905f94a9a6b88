// SPDX-License-Identifier: Apache-2.0
#include "data/tokenizer/tokenizer.h"

#include <stdlib.h>

#include <cstring>
#include <fstream>
#include <map>

#include "absl/strings/str_cat.h"
#include "core/files/file.h"
#include "core/json/json.h"
#include "data/tokenizer/byte_level.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace temper {
namespace {

using ::testing::HasSubstr;

class TokenizerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = ::testing::TempDir() + "temper_tokenizer_XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { ASSERT_TRUE(RemoveTree(folder_).ok()); }

  void Write(const std::string& name, const std::string& bytes) {
    ASSERT_TRUE(WriteFileAtomic(folder_ + "/" + name, bytes).ok());
  }
  std::unique_ptr<Tokenizer> Load(const Json& json) {
    Write("tokenizer.json", json.dump());
    auto tokenizer = Tokenizer::Load(folder_);
    EXPECT_TRUE(tokenizer.ok()) << tokenizer.status().message();
    return tokenizer.ok() ? *std::move(tokenizer) : nullptr;
  }
  // What Load says of a folder with this tokenizer.json, without the folder's name.
  std::string ErrorOfText(const std::string& bytes) {
    Write("tokenizer.json", bytes);
    const absl::Status status = Tokenizer::Load(folder_).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    const std::string message(status.message());
    EXPECT_EQ(message.find(folder_ + "/"), 0) << message;
    return message.size() > folder_.size() ? message.substr(folder_.size() + 1) : message;
  }
  std::string ErrorOf(const Json& json) { return ErrorOfText(json.dump()); }

  std::string folder_;
};

std::vector<Json> ReadCases() {
  std::ifstream file("tests/data/tokenizer/cases.jsonl");
  std::vector<Json> lines;
  for (std::string line; std::getline(file, line);) {
    auto json = ParseJson(line, "tokenizer_cases.jsonl");
    EXPECT_TRUE(json.ok()) << json.status().message();
    lines.push_back(*std::move(json));
  }
  EXPECT_GT(lines.size(), 40);
  return lines;
}

Json Base() { return ReadCases()[0]; }

// The tokenizer.json of each case.
std::vector<Json> Wholes() {
  const std::vector<Json> lines = ReadCases();
  std::map<std::string, Json> by_name;
  std::vector<Json> wholes;
  for (size_t i = 1; i < lines.size(); ++i) {
    Json json = lines[i].contains("from") ? by_name[lines[i]["from"]] : lines[0];
    json.update(lines[i]["change"]);
    by_name[lines[i]["name"]] = json;
    wholes.push_back(std::move(json));
  }
  return wholes;
}

Json CaseNamed(const std::string& name) {
  const std::vector<Json> lines = ReadCases(), wholes = Wholes();
  for (size_t i = 1; i < lines.size(); ++i) {
    if (lines[i]["name"] == name) return wholes[i - 1];
  }
  ADD_FAILURE() << "no case " << name;
  return {};
}

std::unique_ptr<Tokenizer> Tiny() {
  auto tokenizer = Tokenizer::Load("configs/tiny/base");
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  return *std::move(tokenizer);
}

std::vector<int32_t> Ids(const Tokenizer& tokenizer, std::string_view text,
                         Tokenizer::EncodeOptions options = {}) {
  auto ids = tokenizer.Encode(text, options);
  EXPECT_TRUE(ids.ok()) << ids.status().message();
  return ids.ok() ? *ids : std::vector<int32_t>();
}

TEST_F(TokenizerTest, GivesTheIdsAndTextsOfTheTokenizersPackage) {
  const std::vector<Json> lines = ReadCases(), wholes = Wholes();
  for (size_t i = 1; i < lines.size(); ++i) {
    const Json& json = wholes[i - 1];
    const auto tokenizer = Load(json);
    ASSERT_NE(tokenizer, nullptr) << lines[i]["name"];
    for (const Json& row : lines[i]["decodes"]) {
      SCOPED_TRACE(lines[i]["name"].get<std::string>() + ": " + row[0].dump());
      const auto ids = row[0].get<std::vector<int32_t>>();
      EXPECT_EQ(tokenizer->Decode(ids, false), row[1].get<std::string>());
      EXPECT_EQ(tokenizer->Decode(ids), row[2].get<std::string>());
    }
    for (const Json& row : lines[i]["rows"]) {
      SCOPED_TRACE(lines[i]["name"].get<std::string>() + ": " + row[0].dump());
      const auto text = row[0].get<std::string>();
      const auto ids = row[1].get<std::vector<int32_t>>();
      EXPECT_EQ(Ids(*tokenizer, text), ids);
      EXPECT_EQ(Ids(*tokenizer, text, {.add_special_tokens = false}), row[2].get<std::vector<int32_t>>());
      EXPECT_EQ(tokenizer->Decode(ids, false), row[3].get<std::string>());
      EXPECT_EQ(tokenizer->Decode(ids), row[4].get<std::string>());
    }
  }
}

TEST_F(TokenizerTest, ReadsAUsersTextAsTextWhereAddedTokensAreOff) {
  const auto tokenizer = Load(Base());
  const int32_t eos = *tokenizer->TokenId("<eos>");
  EXPECT_EQ(Ids(*tokenizer, "<eos>"), std::vector<int32_t>{eos});
  const std::vector<int32_t> plain = Ids(*tokenizer, "<eos>", {.added_tokens = false});
  EXPECT_EQ(plain.size(), 5);
  EXPECT_EQ(tokenizer->Decode(plain), "<eos>");
  EXPECT_EQ(tokenizer->Decode({&eos, 1}), "");
}

TEST_F(TokenizerTest, GivesAUsersTextNoIdOfAnAddedTokenInAnyForm) {
  for (const Json& json : Wholes()) {
    const auto tokenizer = Load(json);
    ASSERT_NE(tokenizer, nullptr);
    for (const Json& added : json["added_tokens"]) {
      const auto content = added["content"].get<std::string>();
      if (json["model"]["vocab"].contains(content)) continue;  // BPE itself may make it
      const auto id = added["id"].get<int32_t>();
      const Tokenizer::EncodeOptions options = {.added_tokens = false, .add_special_tokens = false};
      for (const std::string& text : {content, "a " + content + content + " b"}) {
        EXPECT_THAT(Ids(*tokenizer, text, options), ::testing::Not(::testing::Contains(id))) << text;
      }
    }
  }
}

TEST(TinyTokenizer, HasATokenForEachWord) {
  const auto tiny = Tiny();
  EXPECT_EQ(tiny->vocab_size(), 357);
  EXPECT_EQ(tiny->eos_ids(), std::vector<int32_t>{2});
  EXPECT_EQ(tiny->TokenId("<think>"), std::nullopt);
  EXPECT_EQ(Ids(*tiny, "Q 7 a -3 ? <think>"), (std::vector<int32_t>{1, 3 + 'Q', 266, 269, 306, 323, 334}));
  EXPECT_EQ(Ids(*tiny, " 等 好 </answer><eos>", {.add_special_tokens = false}),
            (std::vector<int32_t>{332, 333, 337, 2}));
  EXPECT_EQ(tiny->Decode(Ids(*tiny, "Q 7 a -3 ? <think>")), "Q 7 a -3 ? <think>");
}

TEST(TinyTokenizer, GivesAPromptAndItsCompletionTheTokensOfTheWhole) {
  const auto tiny = Tiny();
  std::vector<int32_t> both = Ids(*tiny, "Q 7 a -3 ? <think>");
  const std::vector<int32_t> completion =
      Ids(*tiny, " 7 a -3 4 </think> <answer> 4 </answer>", {.add_special_tokens = false});
  EXPECT_EQ(completion.size(), 8);
  both.insert(both.end(), completion.begin(), completion.end());
  EXPECT_EQ(both, Ids(*tiny, "Q 7 a -3 ? <think> 7 a -3 4 </think> <answer> 4 </answer>"));
}

TEST(TinyTokenizer, IsTheSameForTheStudent) {
  auto base = Tokenizer::Load("configs/tiny/base"), student = Tokenizer::Load("configs/tiny/student");
  ASSERT_TRUE(base.ok() && student.ok());
  EXPECT_EQ((*base)->files(), (*student)->files());
  EXPECT_EQ((*base)->files().size(), 2);
}

TEST(TinyTokenizer, KeepsEveryByteOfAText) {
  const auto tiny = Tiny();
  std::string text;
  for (int code = 1; code < 0x800; ++code) {
    text += code < 0x80
                ? std::string(1, static_cast<char>(code))
                : std::string{static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 0x3F))};
  }
  text += std::string("\0 \0", 3) + "  等x\n\n 🙂 <bos>";
  EXPECT_EQ(tiny->Decode(Ids(*tiny, text, {.added_tokens = false})), text);
}

TEST(TinyTokenizer, RefusesTextThatIsNotUtf8) {
  const auto status = Tiny()->Encode("a\xC3(").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), "the text is not UTF-8: byte 2");
}

TEST(TinyTokenizer, DecodesBrokenTextWithReplacementCharacters) {
  const auto tiny = Tiny();
  const auto decode = [&](std::string_view bytes) {
    std::vector<int32_t> ids;
    for (const unsigned char byte : bytes) ids.push_back(3 + byte);
    return tiny->Decode(ids);
  };
  EXPECT_EQ(decode("\xE7\xAD\x89"), "等");
  EXPECT_EQ(decode("\xE7\xAD"), "�");
  EXPECT_EQ(decode("a\xE7\xAD"
                   "b"),
            "a�b");
  EXPECT_EQ(decode("\xF0\x9F\x99\xE7\xAD\x89"), "�等");
  EXPECT_EQ(decode("\xC0\xAF\xFF\xED\xA0\x80"), "������");
  EXPECT_EQ(decode("\xF4\x90\x80\x80"), "����");
  EXPECT_EQ(decode("\xF1\x80\xC2\xF1"), "���");
  const std::vector<int32_t> foreign = {-1, 357, INT32_MAX, INT32_MIN, 266};
  EXPECT_EQ(tiny->Decode(foreign), " 7");
}

TEST(ByteLevel, MapsEachByteToACharacterAndBack) {
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all += static_cast<char>(byte);
  std::string back;
  EXPECT_TRUE(AppendFromByteLevel(ToByteLevel(all), back));
  EXPECT_EQ(back, all);
  EXPECT_EQ(ToByteLevel(" \n\xAD"), "ĠĊŃ");
  for (const char* foreign : {" ", "a b", "\x7F", "\u00A0", "\u0144", "等", "Ġ😀"}) {
    EXPECT_FALSE(AppendFromByteLevel(foreign, back)) << foreign;
    EXPECT_EQ(back, all) << foreign;
  }
}

TEST_F(TokenizerTest, KeepsItsFilesByteForByteAndFindsTheEndTokens) {
  const std::string bytes = Base().dump(1);
  Write("tokenizer.json", bytes);
  Write("chat_template.jinja", "{{ x }}\r\n");
  Write("vocab.txt", "not ours");
  const auto load = [&] { return Tokenizer::Load(folder_).value(); };
  EXPECT_EQ(load()->files(), (std::vector<std::pair<std::string, std::string>>{
                                 {"tokenizer.json", bytes}, {"chat_template.jinja", "{{ x }}\r\n"}}));
  const int32_t eos = *load()->TokenId("<eos>");
  EXPECT_EQ(load()->eos_ids(), std::vector<int32_t>());
  Write("config.json", R"({"eos_token_id": 5})");
  EXPECT_EQ(load()->eos_ids(), std::vector<int32_t>{5});
  Write("tokenizer_config.json", R"({"eos_token": {"content": "<eos>"}})");
  EXPECT_EQ(load()->eos_ids(), std::vector<int32_t>{eos});
  Write("tokenizer_config.json", R"({"eos_token": "<eos>"})");
  EXPECT_EQ(load()->eos_ids(), std::vector<int32_t>{eos});
  Write("generation_config.json", R"({"eos_token_id": [9, 3, 9]})");
  EXPECT_EQ(load()->eos_ids(), (std::vector<int32_t>{3, 9}));
  Write("generation_config.json", R"({"eos_token_id": 4})");
  EXPECT_EQ(load()->eos_ids(), std::vector<int32_t>{4});
  Write("generation_config.json", R"({"eos_token_id": 4000})");
  EXPECT_THAT(std::string(Tokenizer::Load(folder_).status().message()),
              HasSubstr("generation_config.json: eos_token_id: id 4000 is not in the vocabulary"));
  EXPECT_EQ(Tokenizer::Load(folder_ + "/tokenizer.json").value()->eos_ids(), std::vector<int32_t>());
}

TEST_F(TokenizerTest, ReadsNumbersAsPythonWritesThem) {
  Write("tokenizer.json", Base().dump());
  // What save_pretrained writes where no length was set.
  Write("tokenizer_config.json",
        R"({"model_max_length": 1000000000000000019884624838656, "eos_token": "<eos>"})");
  auto tokenizer = Tokenizer::Load(folder_);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->eos_ids(), std::vector<int32_t>{*(*tokenizer)->TokenId("<eos>")});
  Write("generation_config.json", R"({"temperature": Infinity, "top_p": NaN, "eos_token_id": 4})");
  tokenizer = Tokenizer::Load(folder_);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->eos_ids(), std::vector<int32_t>{4});
}

TEST_F(TokenizerTest, AFolderWithAnotherFormOnlyIsToldSo) {
  for (const char* name : {"tokenizer_config.json", "tokenizer.model", "vocab.json"}) {
    Write(name, "{}");
    EXPECT_THAT(std::string(Tokenizer::Load(folder_).status().message()),
                AllOf(HasSubstr("tokenizer.json: is not there, only "), HasSubstr(name),
                      HasSubstr("save_pretrained")));
    ASSERT_TRUE(RemoveTree(folder_ + "/" + name).ok());
  }
}

TEST_F(TokenizerTest, AddedTokensThatTheEmbeddingHasNoRowForAreRefusedWhereATextHasThem) {
  Json json = Base();
  const auto size = static_cast<int64_t>(json["model"]["vocab"].size());
  Write("tokenizer.json", json.dump());
  const int64_t all = Tokenizer::Load(folder_).value()->vocab_size();
  EXPECT_TRUE(Tokenizer::Load(folder_).value()->FitTo(all + 64, "dir").ok()) << "spare rows are common";
  EXPECT_EQ(Tokenizer::Load(folder_).value()->FitTo(size - 1, "dir").message(),
            absl::StrCat("dir/tokenizer.json: has ids up to ", size - 1, ", but the model's vocab_size is ",
                         size - 1, "; they do not belong together"));
  json["added_tokens"].push_back({{"id", all},
                                  {"content", "[PAD]"},
                                  {"single_word", false},
                                  {"lstrip", false},
                                  {"rstrip", false},
                                  {"normalized", false},
                                  {"special", true}});
  Write("tokenizer.json", json.dump());
  const auto tokenizer = Tokenizer::Load(folder_).value();
  ASSERT_TRUE(tokenizer->FitTo(all, "dir").ok());
  EXPECT_TRUE(tokenizer->Encode("a").ok());
  EXPECT_THAT(std::string(tokenizer->Encode("a [PAD]").status().message()),
              HasSubstr(absl::StrCat("the text has [PAD] (", all, "), and the model's vocab_size is ", all)));
  EXPECT_TRUE(tokenizer->Encode("a [PAD]", {.added_tokens = false}).ok());
}

TEST_F(TokenizerTest, SaysWhereAFileIsWrong) {
  struct Case {
    const char* pointer;
    const char* value;
    const char* message;
  };
  const Case cases[] = {
      {"/model/merges/3", "\"a zz\"", "tokenizer.json: model.merges[3]: zz is not in the vocabulary"},
      {"/model/merges/3", "\"a\"", "tokenizer.json: model.merges[3]: expected \"LEFT RIGHT\""},
      {"/model/merges/3", "\"a b c\"", "tokenizer.json: model.merges[3]: expected \"LEFT RIGHT\""},
      {"/model/merges/3", "[\"z\", \"q\"]", "tokenizer.json: model.merges[3]: zq is not in the vocabulary"},
      {"/model/merges", "{}", "tokenizer.json: model.merges: expected an array"},
      {"/model/vocab/a", "1", "tokenizer.json: model.vocab.a: id 1 is also that of"},
      {"/model/vocab/a", "-1", "tokenizer.json: model.vocab.a: id -1 is out of range"},
      {"/model/vocab/a", "2147483647", "tokenizer.json: model.vocab.a: id 2147483647 is out of range"},
      {"/model/vocab/a", "1.5", "tokenizer.json: model.vocab.a: expected a whole number"},
      {"/model/vocab", "[]", "tokenizer.json: model.vocab: expected an object"},
      {"/model/type", "\"Unigram\"", "tokenizer.json: model: type Unigram is not supported; BPE is"},
      {"/model/dropout", "0.1", "tokenizer.json: model.dropout: is not supported"},
      {"/model/unk_token", "\"zz\"", "tokenizer.json: model.unk_token: zz is not in the vocabulary"},
      {"/model/end_of_word_suffix", "\"</w>\"", "tokenizer.json: model.end_of_word_suffix: is not supported"},
      {"/model", "null", "tokenizer.json: model: missing"},
      {"/normalizer", R"({"type": "Precompiled", "precompiled_charsmap": "AA=="})",
       "tokenizer.json: normalizer: type Precompiled is not supported; NFC, NFD, NFKC, NFKD, Lowercase, "},
      {"/normalizer", R"({"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "prepend"}]})",
       "tokenizer.json: normalizer.normalizers[1]: type prepend is not supported; NFC, "},
      {"/normalizer", R"({"type": "Prepend"})", "tokenizer.json: normalizer.prepend: missing"},
      {"/normalizer", R"({"type": "Strip", "strip_left": true})",
       "tokenizer.json: normalizer.strip_right: missing"},
      {"/normalizer", R"({"type": "Replace", "pattern": {"Regex": "["}, "content": ""})",
       "tokenizer.json: normalizer.pattern: no regular expression: "},
      {"/normalizer", "{}", "tokenizer.json: normalizer.type: missing"},
      {"/pre_tokenizer", R"({"type": "UnicodeScripts"})",
       "tokenizer.json: pre_tokenizer: type UnicodeScripts is not supported; Split, "},
      {"/pre_tokenizer", R"({"type": "Sequence", "pretokenizers": [{"type": "Digits"}]})",
       "tokenizer.json: pre_tokenizer.pretokenizers[0].individual_digits: missing"},
      {"/pre_tokenizer", R"({"type": "Metaspace", "replacement": "ab"})",
       "tokenizer.json: pre_tokenizer.replacement: expected one character"},
      {"/pre_tokenizer", R"({"type": "Metaspace", "replacement": "a", "prepend_scheme": "last"})",
       "tokenizer.json: pre_tokenizer.prepend_scheme: unknown scheme last; always, first and never are "
       "known"},
      {"/pre_tokenizer", R"({"type": "Metaspace", "replacement": "a", "add_prefix_space": false})",
       "tokenizer.json: pre_tokenizer.add_prefix_space: false needs the prepend_scheme never"},
      {"/pre_tokenizer", R"({"type": "Split", "pattern": {"Regex": "(a"}, "behavior": "Isolated"})",
       "tokenizer.json: pre_tokenizer.pattern: no regular expression: end pattern with unmatched "
       "parenthesis"},
      {"/pre_tokenizer", R"({"type": "Split", "pattern": {"Regex": "a"}, "behavior": "isolated"})",
       "tokenizer.json: pre_tokenizer.behavior: unknown behavior isolated"},
      {"/pre_tokenizer", R"({"type": "Split", "pattern": "a", "behavior": "Isolated"})",
       "tokenizer.json: pre_tokenizer.pattern: expected one of Regex and String"},
      {"/pre_tokenizer/use_regex", "1", "tokenizer.json: pre_tokenizer.use_regex: expected true or false"},
      {"/post_processor", R"({"type": "XlmProcessing"})",
       "tokenizer.json: post_processor: type XlmProcessing is not supported; TemplateProcessing, "},
      {"/post_processor", R"({"type": "BertProcessing", "cls": ["a", 1]})",
       "tokenizer.json: post_processor.sep: missing"},
      {"/post_processor", R"({"type": "Sequence", "processors": [
           {"type": "BertProcessing", "cls": ["a", 1], "sep": ["a", 1]},
           {"type": "BertProcessing", "cls": ["a", 1], "sep": ["a", 1]}]})",
       "tokenizer.json: post_processor.processors[1]: a second one that adds tokens is not supported"},
      {"/post_processor", R"({"type": "TemplateProcessing", "single": [], "special_tokens": {}})",
       "tokenizer.json: post_processor.single: has the text 0 times, not once"},
      {"/post_processor",
       R"({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "x"}}, {"Sequence": {"id": "A"}}],
           "special_tokens": {"x": {"ids": [100000]}}})",
       "tokenizer.json: post_processor: id 100000 is not in the vocabulary"},
      {"/decoder", R"({"type": "CTC"})", "tokenizer.json: decoder: type CTC is not supported; ByteLevel, "},
      {"/decoder", R"({"type": "Strip", "content": " ", "start": -1, "stop": 0})",
       "tokenizer.json: decoder.start: -1 is negative"},
      {"/decoder", R"({"type": "Sequence", "decoders": [{"type": "Fuse"}, {"type": "ByteFallback"}]})",
       "tokenizer.json: decoder.decoders[1]: is not supported after ByteLevel or Fuse; "},
      {"/decoder", R"({"type": "Sequence", "decoders": [{"type": "ByteLevel"},
           {"type": "Replace", "pattern": {"String": "ab"}, "content": ""}]})",
       "tokenizer.json: decoder.decoders[1]: is not supported after ByteLevel or Fuse; "},
      {"/added_tokens/1/id", "3",
       "tokenizer.json: added_tokens[1]: id 3 is that of another token in model.vocab"},
      {"/added_tokens/1/id", "-3", "tokenizer.json: added_tokens[1].id: id -3 is out of range"},
      {"/added_tokens/1/id", "2000000000", "tokenizer.json: added_tokens[1]: id 2000000000 is out of range"},
      {"/added_tokens/1/content", "\"<eos>\"",
       "tokenizer.json: added_tokens[1]: content <eos> is also that of element 0"},
      {"/added_tokens/1/content", "\"a\"",
       "tokenizer.json: added_tokens[1]: has id 294, but a has id 97 in model.vocab"},
      {"/added_tokens/1/content", "\"\"", "tokenizer.json: added_tokens[1].content: has 0 bytes"},
      {"/added_tokens/1", "7", "tokenizer.json: added_tokens[1]: expected an object"},
  };
  const Json base = Base();
  for (const Case& c : cases) {
    Json json = base;
    json[Json::json_pointer(c.pointer)] = Json::parse(c.value);
    EXPECT_EQ(ErrorOf(json).substr(0, strlen(c.message)), c.message) << c.pointer << " " << c.value;
  }
}

TEST_F(TokenizerTest, RefusesFilesThatAreNoJson) {
  const std::string whole = Base().dump();
  for (const double share : {0.0, 0.1, 0.5, 0.9}) {
    EXPECT_THAT(ErrorOfText(whole.substr(0, whole.size() * share)), HasSubstr("tokenizer.json:1: byte"));
  }
  std::string invalid = whole;
  invalid[whole.find("hello")] = '\xFF';
  EXPECT_THAT(ErrorOfText(invalid), HasSubstr("tokenizer.json:1: byte"));
  EXPECT_EQ(ErrorOfText("[]"), "tokenizer.json: expected an object");
  EXPECT_EQ(ErrorOfText(R"({"model": {"vocab": {"a": 0, "a": 1}, "merges": []}})"),
            "tokenizer.json:1: byte 32: duplicate key \"a\"");
  EXPECT_EQ(ErrorOfText(whole.substr(0, whole.size() - 1) + ",\n\"model\":{}}"),
            absl::StrCat("tokenizer.json:2: byte ", whole.size() + 8, ": duplicate key \"model\""));
  const auto nested = [&](int levels) {
    Json deep = Json::array();
    for (int i = 1; i < levels; ++i) deep = Json::array({std::move(deep)});
    return whole.substr(0, whole.size() - 1) + ",\n\"x\":" + deep.dump() + "}";
  };
  EXPECT_THAT(ErrorOfText(nested(128)), HasSubstr("tokenizer.json:2: byte"));
  EXPECT_THAT(ErrorOfText(nested(128)), HasSubstr("nested deeper than 128 levels"));
  Write("tokenizer.json", nested(127));
  EXPECT_TRUE(Tokenizer::Load(folder_).ok());
  EXPECT_THAT(ErrorOfText("{\"x\":" + std::string(1'000'000, '[')),
              HasSubstr("nested deeper than 128 levels"));
  EXPECT_EQ(Tokenizer::Load(folder_ + "/none").status().code(), absl::StatusCode::kNotFound);
}

TEST_F(TokenizerTest, GivesUpOnARegularExpressionThatBacktracksWithoutEnd) {
  Json json = Base();
  json["pre_tokenizer"] =
      Json::parse(R"({"type": "Sequence", "pretokenizers": [{"type": "Split", "behavior": "Isolated",
      "pattern": {"Regex": "(a|a)*c"}}, {"type": "ByteLevel", "use_regex": false}]})");
  const auto tokenizer = Load(json);
  ASSERT_NE(tokenizer, nullptr);
  const absl::Status status = tokenizer->Encode(std::string(200, 'a') + "bc").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("tokenizer.json: pre_tokenizer.pretokenizers[0].pattern: fails on"));
}

TEST_F(TokenizerTest, GivesUpOnANormalizerThatMakesATextEndless) {
  Json json = Base(), steps = Json::array();
  for (int i = 0; i < 5; ++i) {
    steps.push_back(
        {{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", std::string(1000, 'a')}});
  }
  json["normalizer"] = {{"type", "Sequence"}, {"normalizers", steps}};
  const auto tokenizer = Load(json);
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_EQ(Ids(*tokenizer, "b").size(), 1);
  EXPECT_THAT(std::string(tokenizer->Encode("a").status().message()),
              HasSubstr("the normalizer of tokenizer.json makes more than 1048640 bytes of a text of 1"));
}

TEST_F(TokenizerTest, TakesALongPieceInLittleMoreThanLinearTime) {
  Json json = Base();
  json["pre_tokenizer"]["use_regex"] = false;
  const auto tokenizer = Load(json);
  const std::string text(1'000'000, 'a');  // pieces of five, as the merges go
  const std::vector<int32_t> ids = Ids(*tokenizer, text);
  EXPECT_EQ(tokenizer->Decode(ids), text);
  EXPECT_EQ(ids, std::vector<int32_t>(250'000, *tokenizer->TokenId("aaaa")));
}

TEST_F(TokenizerTest, TakesASentencePieceTextOfAMegabyteAsOnePieceInLittleMoreThanLinearTime) {
  const auto tokenizer = Load(CaseNamed("SPM, the sign within tokens"));
  for (const char* unit : {"a", "等", " ", "the and ", "\xF0\x9F\x99\x82"}) {
    std::string text;
    while (text.size() < 1'000'000) text += unit;
    EXPECT_EQ(tokenizer->Decode(Ids(*tokenizer, text)), text) << unit;
  }
}

}  // namespace
}  // namespace temper
