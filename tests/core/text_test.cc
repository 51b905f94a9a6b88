// SPDX-License-Identifier: Apache-2.0
#include "core/text.h"

#include "gtest/gtest.h"

namespace temper {
namespace {

TEST(Utf8, AcceptsEveryScalarValueAndNothingElse) {
  for (uint32_t c = 0; c < 0x120000; ++c) {
    std::string text;
    if (c < 0x80) {
      text = {char(c)};
    } else if (c < 0x800) {
      text = {char(0xC0 | c >> 6), char(0x80 | (c & 63))};
    } else if (c < 0x10000) {
      text = {char(0xE0 | c >> 12), char(0x80 | (c >> 6 & 63)), char(0x80 | (c & 63))};
    } else {
      text = {char(0xF0 | c >> 18), char(0x80 | (c >> 12 & 63)), char(0x80 | (c >> 6 & 63)),
              char(0x80 | (c & 63))};
    }
    const bool scalar = c < 0x110000 && (c < 0xD800 || c > 0xDFFF);
    ASSERT_EQ(FirstInvalidUtf8(text), scalar ? std::string::npos : 0u) << c;
    if (text.size() > 1) {
      ASSERT_EQ(FirstInvalidUtf8(text.substr(0, text.size() - 1)), 0u) << c;
    }
  }
  EXPECT_EQ(FirstInvalidUtf8("ab\xC0\x80"), 2u);
  EXPECT_EQ(FirstInvalidUtf8("\xE0\x80\x80"), 0u);
  EXPECT_EQ(FirstInvalidUtf8("\xF0\x80\x80\x80"), 0u);
}

TEST(EscapeCommands, SpellsOutWhatIsObeyedAndKeepsTheRest) {
  EXPECT_EQ(EscapeCommands("a\x7f\u009B31m\u2028\u061C é数\U0001F600\x1b\xff"),
            "a\\u007f\\u009b31m\\u2028\\u061c é数\U0001F600\x1b\xff");
  EXPECT_EQ(EscapeCommands(""), "");
}

TEST(Printable, KeepsAMessageOnOneLine) {
  EXPECT_EQ(Printable("a\nb\x1b[31m\xff é"), "a\\x0ab\\x1b[31m\\xff é");
  EXPECT_EQ(Printable("a\u009B31m\u0085b"), "a\\xc2\\x9b31m\\xc2\\x85b");
  for (const char* turns : {"\u061C", "\u200E", "\u200F", "\u202A", "\u202E", "\u2066", "\u2069"})
    EXPECT_EQ(Printable(turns).find(turns), std::string::npos) << Printable(turns);
  EXPECT_EQ(Printable("\u00A0é世🙂\u200D"), "\u00A0é世🙂\u200D");
  EXPECT_EQ(Printable(std::string(300, 'x')), std::string(200, 'x') + "...");
}

TEST(Nearest, FindsTyposAndNothingFar) {
  const std::vector<std::string> keys = {"learning_rate", "schedule", "kl_coef", "seed"};
  EXPECT_EQ(Nearest("lerning_rate", keys), "learning_rate");
  EXPECT_EQ(Nearest("learning_raet", keys), "learning_rate");
  EXPECT_EQ(Nearest("kl_coeff", keys), "kl_coef");
  EXPECT_EQ(Nearest("sede", keys), "seed");
  EXPECT_EQ(Nearest("temperature", keys), "");
  EXPECT_EQ(Nearest("", keys), "");
}

TEST(Nearest, FindsWhatAWordIsTheBeginningOf) {
  EXPECT_EQ(Nearest("--out", {"--output", "--dtype"}), "--output");
  EXPECT_EQ(Nearest("learning", {"learning_rate", "schedule"}), "learning_rate");
  EXPECT_EQ(Nearest("samp", {"sampling", "samples"}), "");
}

TEST(Printable, SpellsOutWhatATerminalObeys) {
  EXPECT_EQ(Printable("a\x1b[2J\x7f"), "a\\x1b[2J\\x7f");
  EXPECT_EQ(Printable("\xC2\x9B"
                      "2J\xC2\xA0\xC3\xA9"),
            "\\xc2\\x9b2J\xC2\xA0\xC3\xA9");
  EXPECT_EQ(Printable("\xE2\x80\xAE\xE2\x81\xA6\xE2\x80\x8F\xD8\x9C"),
            "\\xe2\\x80\\xae\\xe2\\x81\\xa6\\xe2\\x80\\x8f\\xd8\\x9c");
  EXPECT_EQ(Printable("\xE2\x80\xA8\xE2\x80\xA9"), "\\xe2\\x80\\xa8\\xe2\\x80\\xa9");
  EXPECT_EQ(Printable("\xE2\x80\x93\xE2\x82\xAC\xD8\xA7"), "\xE2\x80\x93\xE2\x82\xAC\xD8\xA7");
}

}  // namespace
}  // namespace temper
