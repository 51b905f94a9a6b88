// SPDX-License-Identifier: Apache-2.0
#include "core/json/json.h"

#include <bit>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "core/random.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace temper {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

std::string ErrorOf(std::string_view text) {
  const auto json = ParseJson(text, "f.json");
  return json.ok() ? "accepted" : std::string(json.status().message());
}

TEST(Json, KeepsTheOrderOfKeysThroughParseAndDump) {
  const std::string text = R"({"z":1,"a":[true,null,-2.5,"\u00e9"],"m":{"b":0,"a":18446744073709551615}})";
  EXPECT_EQ(DumpJson(*ParseJson(text, "x")),
            R"({"z":1,"a":[true,null,-2.5,"é"],"m":{"b":0,"a":18446744073709551615}})");
}

// As json.dumps of Python writes whole numbers of any size, and a person writes a price.
TEST(Json, KeepsNumbersAsTheyAreWrittenWhereThatIsAsked) {
  const std::string digits(400, '7');
  for (const std::string& number :
       {std::string("1180591620717411303424"), std::string("-18446744073709551616"), std::string("0.10"),
        std::string("2.50"), std::string("1e400"), std::string("-1.5E+999"), std::string("1e5"),
        std::string("0.1000000000000000055511151231257827"), std::string("12345678901234567890.5"), digits}) {
    const std::string text = "{\"a\":[1,0.5," + number + ",\"1e999\\\" 2e999\"],\"b\":" + number + "}";
    const auto json = ParseJson(text, "f", Numbers::kAsWritten);
    ASSERT_TRUE(json.ok()) << json.status();
    EXPECT_EQ(DumpJson(*json), text);
    EXPECT_TRUE(IsNumber((*json)["b"]) && IsWrittenNumber((*json)["b"]));
    EXPECT_EQ(DumpJson((*json)["b"]), number);
  }
}

TEST(Json, NumbersThatLoseNothingAreOrdinaryOnes) {
  for (const char* text : {"0", "-7", "18446744073709551615", "0.1", "1.0", "-2.5", "1e-06", "1e+30"}) {
    const auto json = ParseJson(text, "f", Numbers::kAsWritten);
    ASSERT_TRUE(json.ok()) << text;
    EXPECT_TRUE(json->is_number()) << text;
    EXPECT_EQ(*json, *ParseJson(text, "f")) << text;
  }
}

TEST(Json, ReadsANumberThatWasKeptAsADoubleWhereOneIsAsked) {
  const Json json =
      *ParseJson(R"({"a":0.10,"b":1e400,"c":1180591620717411303424})", "f", Numbers::kAsWritten);
  EXPECT_EQ(*GetDouble(json, "a", "f"), 0.1);
  EXPECT_EQ(*GetDouble(json, "c", "f"), 1180591620717411303424.0);
  EXPECT_THAT(std::string(GetDouble(json, "b", "f").status().message()), HasSubstr("found 1e400"));
  EXPECT_THAT(std::string(GetInt(json, "c", "f").status().message()),
              HasSubstr("found 1180591620717411303424"));
}

TEST(Json, WhatIsNoNumberIsRefusedHoweverNumbersAreRead) {
  for (std::string_view text :
       {"01e999", "1e999.", "1.e999", "-e999", "1e999e9", "[1e999", "1e9999 1", "--1e999"})
    EXPECT_FALSE(ParseJson(text, "f", Numbers::kAsWritten).ok()) << text;
}

TEST(Json, ErrorsNameTheFileTheLineAndTheByte) {
  EXPECT_THAT(ErrorOf("{\"a\":1,\n \"b\":]}"),
              AllOf(StartsWith("f.json:2: byte 14: "), HasSubstr("']'"), Not(HasSubstr("\n"))));
  EXPECT_THAT(ErrorOf("{\"a\":1,\n\n\"a\":2}"),
              AllOf(StartsWith("f.json:3: "), HasSubstr("duplicate key \"a\"")));
}

TEST(Json, RefusesWhatIsNotOneWholeJsonValue) {
  for (std::string_view text : {"",
                                " ",
                                "{",
                                "{\"a\":1",
                                "[1,]",
                                "{} x",
                                "{}{}",
                                "NaN",
                                "[NaN]",
                                "Infinity",
                                "1e999",
                                "-1e999",
                                "01",
                                "+1",
                                ".5",
                                "1.",
                                "'a'",
                                "\"a",
                                "\"\\ud800\"",
                                "\"\\udc00x\"",
                                "\"\xff\"",
                                "\"\xc0\x80\"",
                                "\"\xed\xa0\x80\"",
                                "\"\n\"",
                                "// c\n1",
                                "[1]\xff",
                                "nul"}) {
    EXPECT_THAT(ErrorOf(text), StartsWith("f.json:")) << text;
    EXPECT_THAT(ErrorOf(text), Not(HasSubstr("\n"))) << text;
  }
}

TEST(Json, StopsAt128Levels) {
  const auto nested = [](int n) { return std::string(n, '[') + std::string(n, ']'); };
  EXPECT_EQ(ErrorOf(nested(128)), "accepted");
  EXPECT_THAT(ErrorOf(nested(129)), HasSubstr("deeper than 128"));
  EXPECT_THAT(ErrorOf(std::string(10'000'000, '[')), HasSubstr("deeper than 128"));
}

TEST(Json, ReadsAnObjectOfManyKeysInLinearTime) {
  std::string text = "{";
  for (int i = 0; i < 200'000; ++i)
    text += (i ? ",\"k" : "\"k") + std::to_string(i) + "\":" + std::to_string(i);
  text += "}";
  const auto json = ParseJson(text, "big");
  ASSERT_TRUE(json.ok()) << json.status();
  EXPECT_EQ(json->size(), 200'000u);
  EXPECT_EQ(DumpJson(*json), text);
}

TEST(Json, TypedGettersNameFileAndKey) {
  const Json json = *ParseJson(
      R"({"s":"x","i":3,"big":18446744073709551615,"huge":18446744073709551616,"d":1.5,"b":true,"n":null})",
      "x");
  EXPECT_EQ(*GetString(json, "s", "f"), "x");
  EXPECT_EQ(*GetInt(json, "i", "f"), 3);
  EXPECT_EQ(*GetDouble(json, "i", "f"), 3.0);
  EXPECT_EQ(*GetDouble(json, "d", "f"), 1.5);
  EXPECT_EQ(*GetBool(json, "b", "f"), true);
  EXPECT_EQ(GetInt(json, "d", "f:7").status().message(),
            "f:7: d: expected a whole number of at most 64 bits, found 1.5");
  EXPECT_FALSE(GetInt(json, "big", "f").ok());
  EXPECT_FALSE(GetInt(json, "huge", "f").ok());
  EXPECT_EQ(GetString(json, "q", "f").status().message(), "f: q: missing");
  EXPECT_EQ(GetBool(json, "i", "f").status().message(), "f: i: expected true or false, found 3");
  EXPECT_EQ(*GetInt(json, "q", "f", 7), 7);
  EXPECT_EQ(*GetString(json, "n", "f", "other"), "other");
  EXPECT_FALSE(GetInt(json, "s", "f", 7).ok());
  EXPECT_FALSE(GetInt(*ParseJson("[1]", "f"), "s", "f", 7).ok());
}

TEST(Json, DumpNeverThrows) {
  Json json;
  json["x"] = std::string(
      "a\xff"
      "b");
  json["nan"] = std::nan("");
  EXPECT_EQ(DumpJson(json),
            "{\"x\":\"a\xEF\xBF\xBD"
            "b\",\"nan\":null}");
}

TEST(Format, FloatsReadBackToTheSameBits) {
  EXPECT_EQ(FormatFloat(0.1f), "0.1");
  EXPECT_EQ(FormatFloat(-1.25f), "-1.25");
  EXPECT_EQ(FormatDouble(0.1), "0.1");
  EXPECT_EQ(FormatFloat(-0.0f), "-0");
  RandomStream random(7, Purpose::kTask);
  for (int i = 0; i < 200'000; ++i) {
    const float f = std::bit_cast<float>(static_cast<uint32_t>(random.NextBelow(1ull << 32)));
    const double d = std::bit_cast<double>(random.NextBelow(1ull << 32) << 32 | random.NextBelow(1ull << 32));
    if (std::isfinite(f)) {
      ASSERT_EQ(std::bit_cast<uint32_t>(std::strtof(FormatFloat(f).c_str(), nullptr)),
                std::bit_cast<uint32_t>(f));
    }
    if (std::isfinite(d)) {
      ASSERT_EQ(std::bit_cast<uint64_t>(std::strtod(FormatDouble(d).c_str(), nullptr)),
                std::bit_cast<uint64_t>(d));
    }
  }
}

}  // namespace
}  // namespace temper
