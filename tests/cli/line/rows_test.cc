// SPDX-License-Identifier: Apache-2.0
#include "cli/line/rows.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "gmock/gmock.h"
#include "tests/cli/program.h"

namespace temper {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::vector<Row> ReadAll(const std::string& path) {
  std::vector<Row> rows;
  const auto reader = RowReader::Open(path);
  EXPECT_TRUE(reader.ok()) << reader.status();
  for (;;) {
    auto row = (*reader)->Next();
    EXPECT_TRUE(row.ok()) << row.status();
    if (!row.ok() || !*row) return rows;
    rows.push_back(**std::move(row));
  }
}

TEST(RowReader, GivesJsonOfAnyKindWithFileAndLine) {
  const Folder folder;
  const std::string path = folder.Write("rows", "\"a\"\n\n  \r\n{\"b\": 1}\r\n[2]");
  const std::vector<Row> rows = ReadAll(path);
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[0].json, "a");
  EXPECT_EQ(rows[1].json, (Json{{"b", 1}}));
  EXPECT_EQ(rows[1].name, path + ":4");
  EXPECT_EQ(rows[2].json, Json::array({2}));
  EXPECT_EQ(rows[2].line, 5);
}

TEST(RowReader, ReadsLinesLongerThanAPiece) {
  const Folder folder;
  const std::string word(300'001, 'x');
  const std::vector<Row> rows = ReadAll(folder.Write("rows", "\"" + word + "\"\n1\n\"" + word + "y\"\n"));
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[0].json, word);
  EXPECT_EQ(rows[2].json, word + "y");
}

TEST(RowReader, NamesTheLineThatIsNoJson) {
  const Folder folder;
  const std::string path = folder.Write("rows", "1\n{\"a\": }\n");
  const auto reader = RowReader::Open(path);
  ASSERT_TRUE(reader.ok());
  ASSERT_TRUE((*reader)->Next().ok());
  const auto row = (*reader)->Next();
  EXPECT_EQ(row.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(row.status().message()), StartsWith(path + ":2: byte "));
}

TEST(RowReader, RefusesWhatIsNoFile) {
  const Folder folder;
  EXPECT_THAT(std::string(RowReader::Open(folder.path()).status().message()), HasSubstr("is a folder"));
  EXPECT_EQ(RowReader::Open(folder.path() + "/nothing").status().code(), absl::StatusCode::kNotFound);
}

TEST(TokensOf, TakesOnlyIdsOfTheVocabulary) {
  const auto tokens = TokensOf(Json::parse(R"({"t":[0,6]})"), "t", 7, "f:1");
  ASSERT_TRUE(tokens.ok());
  EXPECT_THAT(*tokens, ElementsAre(0, 6));
  for (const char* item : {"7", "-1", "1.0", "\"1\"", "null", "18446744073709551615", "4294967296"}) {
    const Json json = Json::parse(absl::StrCat("{\"t\":[1,", item, "]}"));
    EXPECT_EQ(TokensOf(json, "t", 7, "f:1").status().message(),
              absl::StrCat("f:1: t[1]: ", item, " is no token id of 0 to 6"));
  }
  EXPECT_THAT(std::string(TokensOf(Json::parse("[1]"), "t", 7, "f:1").status().message()),
              StartsWith("f:1: t: "));
}

TEST(FloatsText, ReadsBackToTheSameBits) {
  const std::vector<float> floats = {-0.1f, -1e-7f, -0.0f, -12.345678f, 1.4e-45f, -3.4028235e38f};
  const Json list = Json::parse(FloatsText(floats));
  ASSERT_EQ(list.size(), floats.size());
  for (size_t i = 0; i < floats.size(); ++i) {
    const float back = list[i].get<float>();
    EXPECT_EQ(std::memcmp(&back, &floats[i], 4), 0) << floats[i];
  }
  EXPECT_EQ(FloatsText({NAN, -INFINITY}), "[null,null]");
}

}  // namespace
}  // namespace temper
