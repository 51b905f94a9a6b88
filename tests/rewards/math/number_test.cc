// SPDX-License-Identifier: Apache-2.0
#include "rewards/math/number.h"

#include "gtest/gtest.h"

namespace temper::math {
namespace {

bool Equal(const char* a, const char* b) {
  const auto x = ParseNumber(a), y = ParseNumber(b);
  return x && y && SameNumber(*x, *y) && SameNumber(*y, *x);
}

TEST(Number, IsOneValueInEverySpelling) {
  const char* pairs[][2] = {{"1/2", "0.5"},
                            {"1/2", "\\frac12"},
                            {"1/2", "50%"},
                            {"1/2", "\\dfrac{1}{2}"},
                            {"0.5", ".5"},
                            {"5", "5."},
                            {"5", "+5"},
                            {"5", "5.000"},
                            {"5", "05"},
                            {"-5", "\u22125"},
                            {"-5", "- 5"},
                            {"-1/2", "-\\frac{1}{2}"},
                            {"-1/2", "\\frac{-1}{2}"},
                            {"1/2", "\\frac{-1}{-2}"},
                            {"-0", "0"},
                            {"0/7", "0"},
                            {"1,000,000", "1000000"},
                            {"1{,}000", "1000"},
                            {"1 000", "1000"},
                            {"1\\,000", "1000"},
                            {"7,425,000", "7425000"},
                            {"$18", "18"},
                            {"\\$18.00", "18"},
                            {"-$18", "-18"},
                            {"$-18", "-18"},
                            {"$18$", "18"},
                            {"\\(18\\)", "18"},
                            {"**18**", "18"},
                            {"18 dollars", "$18"},
                            {"10\\text{ units}", "10"},
                            {"90^\\circ", "90"},
                            {"90°", "90 degrees"},
                            {"5 foot", "5 ft"},
                            {"1 hour", "1 hours"},
                            {"50\\%", "50"},
                            {"150%", "1.5"},
                            {"0.5%", "1/200"},
                            {"2 1/2", "2.5"},
                            {"2\\frac{1}{2}", "5/2"},
                            {"2½", "2.5"},
                            {"½", "0.5"},
                            {"-2 1/2", "-2.5"},
                            {"1.5e3", "1500"},
                            {"1.5E-3", "0.0015"},
                            {"1.5 \\times 10^{3}", "1500"},
                            {"2 \\cdot 10^{-2}", "0.02"},
                            {"\\text{18}", "18"},
                            {"１８", "18"},
                            {"2/4", "1/2"},
                            {"1.5/3", "1/2"},
                            {"\\frac{1.5}{3}", "0.5"},
                            {"123456789012345678901234567890", "123456789012345678901234567890.0"},
                            {"1/3", "111111111111111111111/333333333333333333333"},
                            {"0.123", "0,123"},
                            {"1000/3", "1 000/3"},
                            {"5", "--5"},
                            {"28\\%", "28 pct"},
                            {"12.5%", "12.5 per cent"},
                            {"-5%", "-0.05"},
                            {"12 m", "12 metres"},
                            {"1e-3", "0.001"}};
  for (const auto& [a, b] : pairs) EXPECT_TRUE(Equal(a, b)) << a << " and " << b;
}

TEST(Number, IsNotAnotherNumberThatLooksLikeIt) {
  const char* pairs[][2] = {{"1", "10"},
                            {"5", "-5"},
                            {"1/3", "0.333"},
                            {"1/3", "0.3333333333333333"},
                            {"1/2", "0.5%"},
                            {"0.5", "50"},
                            {"0.5", "0.5%"},
                            {"50%", "0.5%"},
                            {"1", "1%"},
                            {"1", "1,000"},
                            {"1000", "1"},
                            {"5 km", "5 m"},
                            {"5 cents", "5 dollars"},
                            {"$5", "€5"},
                            {"12", "1 2/1"},
                            {"21/2", "2 1/2"},
                            {"1e3", "1e-3"},
                            {"10^3", "103"},
                            {"2^3", "23"},
                            {"0.1", "0.10000000000000000001"},
                            {"123456789012345678901234567890", "123456789012345678901234567891"},
                            {"9007199254740993", "9007199254740992"},
                            {"5 m", "5 min"}};
  for (const auto& [a, b] : pairs) {
    EXPECT_FALSE(Equal(a, b)) << a << " and " << b;
  }
}

TEST(Number, IsNothingElse) {
  for (const char* text : {"",
                           " ",
                           "-",
                           "+",
                           "$",
                           "%",
                           ".",
                           "-.",
                           "/",
                           "1/",
                           "/2",
                           "1/0",
                           "\\frac{1}{0}",
                           "\\frac{1}",
                           "\\frac",
                           "\\frac123",
                           "1/2/3",
                           "1,22",
                           "1,2",
                           "12,34,567",
                           "1 2",
                           "1 or 2",
                           "5 or 6",
                           "1-2",
                           "5x",
                           "5 million",
                           "5k",
                           "2\\pi",
                           "\\sqrt{2}",
                           "1e",
                           "1e5000",
                           "1..2",
                           "1.2.3",
                           "0x10",
                           "inf",
                           "nan",
                           "1_000",
                           "5!",
                           "2 3/2",
                           "5 and more",
                           "x",
                           "(5",
                           "3i",
                           "50%%",
                           "10²",
                           "5 apples and 3 pears",
                           "5 apples",
                           "about 5",
                           "7 \\mathrm{m/s^2}",
                           "2 * 3",
                           "1 + 1/2",
                           "6 - 1",
                           "10^3",
                           "2:15",
                           "12:00",
                           "18 or so, maybe 19",
                           "not 18",
                           "18 times 2",
                           "half of 18",
                           "18 billion"}) {
    EXPECT_FALSE(ParseNumber(text).has_value()) << text;
  }
}

TEST(Number, OfTooManyDigitsIsRefusedAndNotComputed) {
  EXPECT_TRUE(ParseNumber(std::string(1000, '7')).has_value());
  EXPECT_FALSE(ParseNumber(std::string(1001, '7')).has_value());
  EXPECT_FALSE(ParseNumber(std::string(1000000, '7')).has_value());
  EXPECT_FALSE(ParseNumber("0." + std::string(1000, '0') + "1").has_value());
  EXPECT_TRUE(ParseNumber("1e400").has_value());
  EXPECT_FALSE(ParseNumber("1e999999999999").has_value());
}

TEST(Number, UnitsHaveTheirSpellings) {
  const auto same = [](const char* a, const char* b) {
    const auto first = ParseNumber(a), second = ParseNumber(b);
    return first.has_value() && second.has_value() && SameNumber(*first, *second);
  };
  for (const auto& [a, b] :
       {std::pair("12 min", "12 minutes"), std::pair("12", "12\\text{ sec}"),
        std::pair("12", "12\\ \\mathrm{in}"), std::pair("12 in", "12 inches"), std::pair("12", "12 m/s"),
        std::pair("12 h", "12 hours"), std::pair("9 (apples)", "9"), std::pair("20 $cm^{2}$", "20"),
        std::pair("20 cm^2", "20 square centimeters"), std::pair("\\approx 17.1", "17.10"),
        std::pair("\u2248 17.1", "17.1")}) {
    EXPECT_TRUE(same(a, b)) << a << " | " << b;
  }
  for (const auto& [a, b] :
       {std::pair("12 min", "12 hours"), std::pair("12 m", "12 min"), std::pair("9 (apples)", "90"),
        std::pair("20 cm^2", "20 cm"), std::pair("12 s", "12 h"), std::pair("9", "9 (x)"),
        std::pair("9", "9 (3)"), std::pair("12", "12 million")}) {
    EXPECT_FALSE(same(a, b)) << a << " | " << b;
  }
}

}  // namespace
}  // namespace temper::math
