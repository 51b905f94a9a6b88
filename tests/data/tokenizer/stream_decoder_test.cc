// SPDX-License-Identifier: Apache-2.0
#include <fstream>
#include <map>
#include <random>

#include "core/files/file.h"
#include "core/json/json.h"
#include "core/text.h"
#include "data/tokenizer/decoder.h"
#include "data/tokenizer/tokenizer.h"
#include "gtest/gtest.h"

namespace temper {
namespace {

// The tokenizer of a line of tokenizer_cases.jsonl.
std::unique_ptr<Tokenizer> Case(const std::string& name) {
  std::ifstream file("tests/data/tokenizer/cases.jsonl");
  std::string line;
  std::getline(file, line);
  const Json base = Json::parse(line);
  std::map<std::string, Json> wholes;
  while (!wholes.contains(name) && std::getline(file, line)) {
    const Json change = Json::parse(line);
    Json& whole = wholes[change["name"]] = change.contains("from") ? wholes[change["from"]] : base;
    whole.update(change["change"]);
  }
  const std::string path = ::testing::TempDir() + "stream_decoder_test.json";
  EXPECT_TRUE(WriteFileAtomic(path, wholes[name].dump()).ok());
  auto tokenizer = Tokenizer::Load(path);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  EXPECT_TRUE(RemoveTree(path).ok());
  return *std::move(tokenizer);
}

std::vector<std::string> Parts(const Tokenizer& tokenizer, const std::vector<int32_t>& ids) {
  StreamDecoder decoder(tokenizer, false);
  std::vector<std::string> parts;
  for (const int32_t id : ids) decoder.Add(id, parts.emplace_back());
  decoder.Finish(parts.emplace_back());
  return parts;
}

std::vector<int32_t> IdsOf(const Tokenizer& tokenizer, const std::vector<std::string>& tokens) {
  std::vector<int32_t> ids;
  for (const std::string& token : tokens) ids.push_back(tokenizer.TokenId(token).value());
  return ids;
}

using Strings = std::vector<std::string>;

TEST(StreamDecoder, HoldsTheBytesOfACharacterBackUntilItIsWholeOrBroken) {
  const auto tokenizer = Case("GPT-2");
  const auto parts = [&](const Strings& tokens) { return Parts(*tokenizer, IdsOf(*tokenizer, tokens)); };
  EXPECT_EQ(parts({"a", "ç", "Ń", "ī", "b"}), (Strings{"a", "", "", "等", "b", ""}));
  EXPECT_EQ(parts({"ç", "Ń", "b"}), (Strings{"", "", "�b", ""}));
  EXPECT_EQ(parts({"ç", "ç", "Ń"}), (Strings{"", "�", "", "�"}));
  EXPECT_EQ(parts({"ÿ", "Ń"}), (Strings{"�", "�", ""}));
}

TEST(StreamDecoder, HoldsARunOfByteTokensBackUntilItsEnd) {
  const auto tokenizer = Case("SPM");
  const auto parts = [&](const Strings& tokens) { return Parts(*tokenizer, IdsOf(*tokenizer, tokens)); };
  EXPECT_EQ(parts({"▁the", "<0xE5>", "<0xA5>", "<0xBD>", "ing"}), (Strings{"the", "", "", "", "好ing", ""}));
  EXPECT_EQ(parts({"<0xE5>", "<0xA5>", "<0xBD>", "<0xE5>"}), (Strings{"", "", "", "", "����"}));
  EXPECT_EQ(parts({"▁▁", "▁a"}), (Strings{" ", " a", ""}));
}

// A decoder of another make: the text of a prefix of the ids starts with what was given out for it, in whole
// characters, and all parts together are the whole text.
TEST(StreamDecoder, GivesTheTextOfAllIdsInPartsThatLaterIdsDoNotChange) {
  std::mt19937 draw(7);
  for (const char* name : {"GPT-2", "special tokens, normalized", "SPM", "SPM, some bytes",
                           "Metaspace always True", "decoders strip all", "decoders strip the end",
                           "decoders ends", "decoders bytes, then", "no decoder"}) {
    const auto tokenizer = Case(name);
    const int64_t bytes =
        std::min<int64_t>(tokenizer->vocab_size(), 260);  // where the tokens of single bytes are
    for (int round = 0; round < 1000; ++round) {
      const int64_t range = round % 3 == 0 ? tokenizer->vocab_size() : bytes;
      std::vector<int32_t> ids;
      for (size_t i = draw() % 24; i > 0; --i) ids.push_back(static_cast<int32_t>(draw() % range));
      const std::vector<std::string> parts = Parts(*tokenizer, ids);
      std::string text;
      for (size_t i = 0; i < parts.size(); ++i) {
        text += parts[i];
        ASSERT_EQ(FirstInvalidUtf8(parts[i]), std::string::npos) << name;
        if (i >= ids.size()) continue;
        std::vector<int32_t> prefix(ids.begin(), ids.begin() + i + 1);
        ASSERT_EQ(tokenizer->Decode(prefix, false).substr(0, text.size()), text) << name;
      }
      ASSERT_EQ(text, tokenizer->Decode(ids, false)) << name;
    }
  }
}

}  // namespace
}  // namespace temper
