// SPDX-License-Identifier: Apache-2.0
#include "data/dataset/split.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace temper {
namespace {

TEST(ContentKey, IsThatOfAProblemHoweverItIsTypeset) {
  const std::vector<std::vector<const char*>> same = {
      {"What is 3 - 2?", "what is\t3-2", " What\u00A0is 3\u2009\u2212\u20092 ?\r\n", "WHAT IS 3 \u2013 2",
       "What\u200Bis 3\u20102", "\uFEFFWhat is \uFF13 - \uFF12\uFF1F", "What is $3 - 2$?",
       "What is \\(3-2\\)?", "\u201CWhat is 3 \u2014 2?\u201D", "Wh\u00ADat is 3-2", "What is 3-2\x01"},
      {"caf\u00E9 1/2", "cafe\u0301 \u00BD", "Caf\u00C9 1\u22152", "caf\u00E9 1\u20442"},
      {"3 * 4", "3\u00D74", "3 \u22C5 4", "3\u22174"},
      {"stra\u00DFe", "STRASSE"},
  };
  for (size_t i = 0; i < same.size(); ++i) {
    for (const char* text : same[i]) EXPECT_EQ(ContentKey(text), ContentKey(same[i][0])) << text;
    for (size_t other = 0; other < i; ++other) EXPECT_NE(ContentKey(same[i][0]), ContentKey(same[other][0]));
  }
}

TEST(ContentKey, TellsSumsApart) {
  const char* const different[] = {"1-2", "1/2", "1*2", "1+2", "12", "1=2", "1<2", "1^2", "2-1"};
  for (const char* a : different) {
    for (const char* b : different) EXPECT_EQ(ContentKey(a) == ContentKey(b), a == b) << a << " " << b;
  }
}

}  // namespace
}  // namespace temper
