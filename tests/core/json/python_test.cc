// SPDX-License-Identifier: Apache-2.0
#include "core/json/python.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace temper {
namespace {

using ::testing::HasSubstr;

TEST(PythonJson, NumbersThatJsonDoesNotHoldAreTheirCharacters) {
  const std::string digits(400, '7');
  const std::string text =
      R"({"model_max_length": 1000000000000000019884624838656, "low": -9223372036854775809,
  "nan": NaN, "ends": [Infinity,-Infinity], "far": 1e999, "long": )" +
      digits + R"(, "text": "\"NaN, 1e999"})";
  const auto json = ParsePythonJson(text, "f.json");
  ASSERT_TRUE(json.ok()) << json.status();
  EXPECT_EQ((*json)["model_max_length"], "1000000000000000019884624838656");
  EXPECT_EQ((*json)["low"], "-9223372036854775809");
  EXPECT_EQ((*json)["nan"], "NaN");
  EXPECT_EQ((*json)["ends"], Json::array({"Infinity", "-Infinity"}));
  EXPECT_EQ((*json)["far"], "1e999");
  EXPECT_EQ((*json)["long"], digits);
  EXPECT_EQ((*json)["text"], "\"NaN, 1e999");
}

TEST(PythonJson, OtherTextStaysAsItIs) {
  for (const char* text : {"", "[1, -2, 18446744073709551615, -9223372036854775808, 1.5e-6, true]",
                           R"({"NaN": "-Infinity"})", "{\"a\": \"\\", "\"", "0012345678901234567890123", "-",
                           "NaNs", "Inf", "1e", "1000000000000000000000x"}) {
    EXPECT_EQ(QuotePythonNumbers(text), text);
  }
}

TEST(PythonJson, WhatIsNoJsonIsNamedByItsLine) {
  const auto json = ParsePythonJson("{\"a\": NaN,\n \"b\": nan}", "f.json");
  EXPECT_THAT(json.status().message(), HasSubstr("f.json:2: "));
}

TEST(PythonJson, MembersAreFoundAsTheyAreWritten) {
  const std::string text =
      "{ \"a\" : 1e3 ,\n\"b,}\":{\"c\": [1, \"]}\"], \"d\": {}},\"e\": \"x\\\"y\" , \"f\": NaN\n}\n";
  std::vector<std::string> written;
  for (const WrittenMember& member : WrittenMembers(text))
    written.push_back(std::string(member.name) + "=" + std::string(member.value));
  EXPECT_EQ(written, (std::vector<std::string>{"a=1e3", "b,}={\"c\": [1, \"]}\"], \"d\": {}}", "e=\"x\\\"y\"",
                                               "f=NaN"}));
  EXPECT_TRUE(WrittenMembers("{}").empty());
}

}  // namespace
}  // namespace temper
