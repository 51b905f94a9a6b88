// SPDX-License-Identifier: Apache-2.0
#include "rewards/math/equal/equal.h"

#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "rewards/math/latex/latex.h"

namespace temper::math {
namespace {

Expression Read(const std::string& latex) {
  const auto tree = ParseLatex(latex);
  EXPECT_TRUE(tree.ok()) << latex << ": " << tree.status();
  return tree.ok() ? *tree : Expression{Kind::kText, latex, {}};
}

Decision Decide(const std::string& gold, const std::string& answer, const EqualOptions& options = {}) {
  return Equal(Read(gold), Read(answer), options);
}

struct Pair {
  const char* gold;
  const char* answer;
};

void ExpectEqual(const std::vector<Pair>& pairs, const EqualOptions& options = {}) {
  for (const auto& [gold, answer] : pairs) {
    const Decision decision = Decide(gold, answer, options);
    EXPECT_EQ(decision.equality, Equality::kYes) << gold << " and " << answer << ": " << decision.reason;
  }
}

void ExpectDifferent(const std::vector<Pair>& pairs, const EqualOptions& options = {}) {
  for (const auto& [gold, answer] : pairs) {
    const Decision decision = Decide(gold, answer, options);
    EXPECT_EQ(decision.equality, Equality::kNo) << gold << " and " << answer << ": " << decision.reason;
  }
}

// Both ways, and no proof of a difference asked for.
void ExpectNotEqual(const std::vector<Pair>& pairs, const EqualOptions& options = {}) {
  for (const auto& [gold, answer] : pairs) {
    const Decision decision = Decide(gold, answer, options), back = Decide(answer, gold, options);
    EXPECT_NE(decision.equality, Equality::kYes) << gold << " and " << answer << ": " << decision.reason;
    EXPECT_NE(back.equality, Equality::kYes) << answer << " and " << gold << ": " << back.reason;
  }
}

TEST(Equal, NumbersAreEqualInEverySpelling) {
  ExpectEqual({{"1/2", "0.5"},
               {"1/2", "\\frac{2}{4}"},
               {"-\\frac12", "\\frac{-1}{2}"},
               {"2^{10}", "1024"},
               {"\\sqrt{4}", "2"},
               {"8^{2/3}", "4"},
               {"4^{-1/2}", "\\frac12"},
               {"0.1+0.2", "0.3"},
               {"3!", "6"},
               {"\\binom{10}{3}", "120"},
               {"\\gcd(12,18)", "6"},
               {"\\lfloor 3.7\\rfloor", "3"},
               {"|-5|", "5"},
               {"\\lceil -3.7\\rceil", "-3"},
               {"100!", "99!\\cdot 100"},
               {"7!!", "105"},
               {"5", "5.0"}});
  ExpectDifferent({{"1/2", "1/3"},
                   {"5", "-5"},
                   {"2^{10}", "1023"},
                   {"\\sqrt{4}", "-2"},
                   {"3!", "3"},
                   {"x^2", "2x"},
                   {"100!", "10^{158}"},
                   {"10^{100}", "10^{100}+1"}});
}

TEST(Equal, ADecimalEqualsWhatIsRoundedToIt) {
  ExpectEqual({{"\\frac13", "0.333333"},
               {"\\frac13", "0.33333333333"},
               {"\\sqrt{17}", "4.123106"},
               {"4.123105625617661", "\\sqrt{17}"},
               {"-\\sqrt2", "-1.414214"},
               {"0.066666793", "0.0666668"}});
  ExpectDifferent({{"\\frac13", "0.33"},
                   {"\\pi", "3.14"},
                   {"\\sqrt2", "1.41"},
                   {"\\sqrt2", "-1.414214"},
                   {"0.0000001", "0.0000002"},
                   {"0.0000001", "0"},
                   {"10^{-8}", "0.0"}});
  EqualOptions options;
  options.float_rounding = 2;
  ExpectEqual({{"\\frac83", "2.6667"}, {"\\pi", "3.14"}}, options);
  ExpectDifferent({{"\\pi", "3.15"}}, options);
}

TEST(Equal, APercentIsItsNumberOrAHundredth) {
  ExpectEqual({{"9\\%", "9"},
               {"9\\%", "0.09"},
               {"0.09", "9\\%"},
               {"\\frac{9}{100}", "9\\%"},
               {"28.5\\%", "0.285"},
               {"9\\%", "9.0\\%"}});
  ExpectDifferent({{"9\\%", "0.9"}, {"9\\%", "8\\%"}, {"0.5\\%", "0.5"}, {"50\\%", "5"}});
}

TEST(Equal, ConstantsAreDecidedByAlgebra) {
  ExpectEqual({{"\\sqrt8", "2\\sqrt2"},
               {"\\frac{1}{\\sqrt2+1}", "\\sqrt2-1"},
               {"\\sqrt{3+2\\sqrt2}", "1+\\sqrt2"},
               {"e^{i\\pi}", "-1"},
               {"\\ln 8", "3\\ln 2"},
               {"\\sin(\\pi/6)", "1/2"},
               {"\\arctan 1", "\\pi/4"},
               {"\\cos(\\pi/5)", "\\frac{1+\\sqrt5}{4}"},
               {"4\\arctan(1/5)-\\arctan(1/239)", "\\pi/4"},
               {"\\log_2 8", "3"},
               {"\\log_4 8", "3/2"},
               {"(1+i)^2", "2i"},
               {"|3+4i|", "5"},
               {"\\sqrt{-4}", "2i"},
               {"e^{\\ln 5}", "5"},
               {"\\frac{\\sqrt6+\\sqrt2}{4}", "\\cos 15^\\circ"},
               {"\\lfloor\\pi\\rfloor", "3"},
               {"\\frac{9}{4}\\pi", "\\frac{9\\pi}{4}"},
               {"10^{\\frac{-5+\\sqrt{13}}{6}}", "10^{\\frac{\\sqrt{13}-5}{6}}"},
               {"\\sqrt{\\sqrt{11}+\\sqrt{194}}", "(\\sqrt{194}+\\sqrt{11})^{1/2}"},
               {"\\cosh 0", "1"}});
  ExpectDifferent({{"\\sqrt2", "\\sqrt3"},
                   {"\\sqrt2", "-\\sqrt2"},
                   {"i", "-i"},
                   {"\\pi", "\\frac{22}{7}"},
                   {"(-8)^{1/3}", "-2"},
                   {"\\sqrt{-4}", "2"},
                   {"\\log 10", "\\ln 10"},
                   {"e", "\\pi"}});
}

TEST(Equal, NumbersThatAreVeryNearAreStillDifferent) {
  ExpectDifferent({{"e^{\\pi\\sqrt{163}}", "262537412640768744"},
                   {"\\sin(10^{-20})", "10^{-20}"},
                   {"\\cos(10^{-100})", "1"},
                   {"1+10^{-1000}", "1"},
                   {"\\sqrt{10^{200}+1}", "10^{100}"},
                   {"\\ln(1+10^{-50})", "10^{-50}"},
                   {"\\tanh 100", "1"},
                   {"e^{-1000}+1", "1"},
                   {"\\sin x+10^{-300}", "\\sin x"},
                   {"x+10^{-500}", "x"},
                   {"\\sqrt{x^2+10^{-40}}", "\\sqrt{x^2}"},
                   {"\\sqrt{1000001}+\\sqrt{999999}", "2\\sqrt{1000000}"}});
}

TEST(Equal, AFunctionNearItsLimitIsNotTheLimit) {
  ExpectNotEqual({{"\\tanh 1000", "1"},
                  {"\\tanh 10^5", "1"},
                  {"\\coth 500", "1"},
                  {"\\tan(1000i)", "i"},
                  {"\\cot(1000i)", "-i"},
                  {"\\arctan(10^{1000})", "\\frac{\\pi}{2}"},
                  {"\\tanh(1000x)", "1"},
                  {"\\cosh 1000", "\\sinh 1000"},
                  {"x\\tanh 400", "x"},
                  {"2^{-5000}+\\sqrt2", "\\sqrt2"}});
}

TEST(Equal, FunctionsAreEqualWhenTheyAreOneForAllValues) {
  ExpectEqual({{"\\frac{x+2}{7}", "\\frac{x}{7}+\\frac27"},
               {"(x+1)^2", "x^2+2x+1"},
               {"\\frac{x^2-1}{x-1}", "x+1"},
               {"\\sin^2x+\\cos^2x", "1"},
               {"\\sec^2y", "\\tan^2(y)+1"},
               {"\\sin 2x", "2\\sin x\\cos x"},
               {"2\\sin b\\cos a", "2\\cos a\\sin b"},
               {"\\tan x", "\\frac{\\sin x}{\\cos x}"},
               {"0.5x", "\\frac x2"},
               {"\\cosh^2x-\\sinh^2x", "1"},
               {"e^{x+y}", "e^xe^y"},
               {"n!", "n\\cdot(n-1)!"},
               {"\\binom n2", "\\frac{n(n-1)}2"},
               {"\\log_2 x", "\\frac{\\ln x}{\\ln 2}"},
               {"2^{x+1}", "2\\cdot 2^x"},
               {"(x+y+z)^{500}", "(z+y+x)^{500}"},
               {"(1+x)^{50}(1-x)^{50}", "(1-x^2)^{50}"}});
  ExpectDifferent({{"x", "y"},
                   {"x_1", "x_2"},
                   {"x_A", "x_a"},
                   {"a", "A"},
                   {"\\Delta", "\\delta"},
                   {"2^x", "2^y"},
                   {"\\sin x", "x"},
                   {"(a+5)(b+2)", "5(b+2)"},
                   {"\\frac1x", "x"},
                   {"\\sin(x)^2", "\\sin(x^2)"},
                   {"(x+y)^{50}", "(x+y)^{49}(x-y)"},
                   {"\\overline{z}", "z"},
                   {"|z|^2", "z^2"}});
}

TEST(Equal, WhatHoldsForEveryBranchIsAccepted) {
  ExpectEqual({{"\\frac{x}{\\sqrt x}", "\\sqrt x"},
               {"\\sqrt x^2", "x"},
               {"x^{1/2}", "\\sqrt x"},
               {"\\sqrt{4x^2+4}", "2\\sqrt{x^2+1}"},
               {"\\sqrt{2x}", "\\sqrt2\\sqrt x"},
               {"|5-x|", "|x-5|"},
               {"|2x-4|", "2|x-2|"},
               {"\\ln(2x)", "\\ln 2+\\ln x"},
               {"x^{3/2}", "x\\sqrt x"},
               {"f(x)+1", "1+f(x)"},
               {"x^{1/6}x^{1/3}", "\\sqrt x"},
               {"\\arctan(x)+1", "1+\\arctan x"},
               {"\\frac{1}{\\sqrt x+1}", "\\frac{\\sqrt x-1}{x-1}"}});
}

TEST(Equal, WhatHoldsOnOneSideOfACutIsNot) {
  ExpectNotEqual({{"\\sqrt{x^2}", "x"},
                  {"\\sqrt{x^2}", "-x"},
                  {"\\sqrt{(x-100)^2}", "100-x"},
                  {"\\sqrt{(x-10^9)^2}", "10^9-x"},
                  {"|x-1000|", "1000-x"},
                  {"|x|", "x"},
                  {"\\ln(x^2)", "2\\ln x"},
                  {"\\ln(xy)", "\\ln x+\\ln y"},
                  {"\\arcsin(\\sin x)", "x"},
                  {"\\arctan(\\tan x)", "x"},
                  {"\\arccos(\\cos x)", "x"},
                  {"\\ln(e^x)", "x"},
                  {"(x^3)^{1/3}", "x"},
                  {"\\sqrt[4]{x^4}", "x"},
                  {"\\sqrt{xy}", "\\sqrt x\\sqrt y"},
                  {"\\sqrt{x/y}", "\\frac{\\sqrt x}{\\sqrt y}"},
                  {"\\lfloor x\\rfloor", "x"},
                  {"x^{2/4}", "(x^2)^{1/4}"},
                  {"\\ln(-x)", "-\\ln x"},
                  {"\\max(x,y)", "x"},
                  {"f(x)", "f(y)"},
                  {"f(x)", "g(x)"},
                  {"\\sqrt{-x}", "i\\sqrt x"},
                  {"\\ln\\frac1x", "-\\ln x"},
                  {"\\arg(z)", "0"},
                  {"\\sqrt{x^2+2x+1}", "x+1"}});
}

TEST(Equal, NothingIsEqualToWhatIsUndefined) {
  const char* undefined[] = {"1/0",
                             "0/0",
                             "\\infty-\\infty",
                             "\\frac{1}{x-x}",
                             "0^0",
                             "\\frac{1}{\\sqrt2^2-2}",
                             "\\ln 0",
                             "\\tan(\\pi/2)",
                             "0\\cdot\\infty",
                             "\\frac\\infty\\infty",
                             "(-1)!",
                             "\\Gamma(0)",
                             "\\frac{x}{\\sin^2x+\\cos^2x-1}",
                             "\\cot 0",
                             "0^{-1}",
                             "\\frac{0}{x-x}",
                             "0\\cdot\\frac10",
                             "\\frac{x-x}{x-x}",
                             "\\log_1 5",
                             "(x-x)^0",
                             "(\\sqrt2^2-2)^0",
                             "\\frac{1}{e^{i\\pi}+1}"};
  for (const char* latex : undefined) {
    for (const char* other : {latex, "0", "1", "x", "\\infty", "-\\infty", "\\{1\\}"}) {
      EXPECT_NE(Decide(latex, other).equality, Equality::kYes) << latex << " and " << other;
      EXPECT_NE(Decide(other, latex).equality, Equality::kYes) << other << " and " << latex;
    }
  }
}

TEST(Equal, WordsAndLetters) {
  ExpectEqual({{"\\text{odd}", "odd"},
               {"\\text{Evelyn}", "\\text{evelyn}"},
               {"\\text{e}", "e"},
               {"\\text{E}", "E"},
               {"e", "E"},
               {"abc", "a\\cdot b\\cdot c"}});
  ExpectNotEqual({{"d", "\\text{E}"},
                  {"\\text{yes}", "\\text{no}"},
                  {"\\text{A}", "\\text{B}"},
                  {"\\text{A}", "5"},
                  {"\\text{odd}", "\\text{ood}"}});
}

TEST(Equal, SetsAndListsHaveNoOrderTuplesHaveOne) {
  ExpectEqual({{"1,2,3", "3,2,1"},
               {"\\{1,2\\}", "\\{2,1\\}"},
               {"\\{1,2\\}", "2,1"},
               {"\\{1,1,2\\}", "\\{2,1\\}"},
               {"(1,2)", "(1,2)"},
               {"(\\sqrt4,\\frac12)", "(2,0.5)"},
               {"\\frac13,\\sqrt2", "\\sqrt2,0.333333"},
               {"\\{5\\}", "5"},
               {"(1,2),(3,4)", "(3,4),(1,2)"},
               {"(1,3)", "{1,3}"},
               {"\\emptyset", "\\{\\}"}});
  ExpectDifferent({{"(1,2)", "(2,1)"},
                   {"\\{1,2\\}", "\\{1,3\\}"},
                   {"\\{1,2\\}", "1"},
                   {"1,2,3", "1,2"},
                   {"(3,1)", "{1,3}"},
                   {"(1,2),(3,4)", "(2,1),(3,4)"},
                   {"(1,2,3)", "(1,2)"},
                   {"5", "5,6"}});
}

TEST(Equal, ManyNumbersThatAreNearFindTheirOwn) {
  // Sorted by value and compared in order, these would not meet.
  ExpectEqual({{"\\sqrt2,1.4142135,x", "x,1.4142135,\\sqrt2"}, {"x+1,y,z", "z,1+x,y"}});
}

TEST(Equal, IntervalsHaveEndsAndTheirKind) {
  ExpectEqual({{"[0,1)", "[0,1)"},
               {"[1,2]\\cup[2,3]", "[1,3]"},
               {"(-\\infty,2)\\cup(3,\\infty)", "(3,\\infty)\\cup(-\\infty,2)"},
               {"[-1,-\\frac12)\\cup(-\\frac12,0)", "[-1,-0.5)\\cup(-0.5,0)"},
               {"\\{-1\\}\\cup[0,7)", "[0,7)\\cup\\{-1\\}"},
               {"[a,b)", "[a,b)"},
               {"(0,\\frac83]", "(0,2.666667]"},
               {"[0,2]\\cap[1,3]", "[1,2]"},
               {"\\mathbb{R}", "(-\\infty,\\infty)"},
               {"\\mathbb{R}\\setminus\\{3\\}", "(-\\infty,3)\\cup(3,\\infty)"}});
  ExpectDifferent({{"[0,1)", "[0,1]"},
                   {"(0,1)", "[0,1]"},
                   {"[0,9)", "[0,1)"},
                   {"(1,2)\\cup(2,3)", "(1,3)"},
                   {"(-\\infty,2)", "(-\\infty,2]"},
                   {"(2,\\infty)", "(-\\infty,2)"},
                   {"[0,1]", "[0,1]\\cup\\{2\\}"}});
}

TEST(Equal, RelationsAreEqualUpToAFactor) {
  ExpectEqual({{"x\\le5", "5\\ge x"},
               {"2x+4y-3=0", "y=-\\frac12x+\\frac34"},
               {"x<1", "-x>-1"},
               {"2x<10", "x<5"},
               {"x\\ne5", "5\\ne x"},
               {"x=5", "2x=10"},
               {"\\frac ab=\\frac cd", "\\frac cd=\\frac ab"},
               {"1<x<2", "2>x>1"},
               {"x^2+y^2=1", "1=y^2+x^2"},
               {"x<1 or x>2", "x>2 or x<1"},
               {"|x|<2", "-2<x<2"},
               {"x\\equiv1\\pmod3", "x\\equiv1\\pmod3"},
               {"-2x+6>0", "x<3"}});
  ExpectNotEqual({{"x<5", "x>5"},
                  {"x<5", "x\\le5"},
                  {"-x<5", "x<-5"},
                  {"x<y", "y<x"},
                  {"1=2", "3=4"},
                  {"x=1", "y=1"},
                  {"x=5", "x=-5"},
                  {"x^2=4", "x=2"},
                  {"x>0", "x\\ne0"},
                  {"1<x<2", "1<y<2"},
                  {"x<1", "y<1"},
                  {"x\\equiv1\\pmod3", "x\\equiv1\\pmod4"},
                  {"x<1 or x>2", "1<x<2"}});
}

TEST(Equal, AnEquationGivesWayToAValueAsInMathVerify) {
  ExpectEqual({{"5", "x=5"},
               {"x=5", "5"},
               {"11", "x\\approx11"},
               {"x=\\frac13", "x=5+5+1=\\frac13\\approx11"},
               {"(p,q)=(3,2)", "(3,2)"},
               {"\\frac{\\sqrt3}3", "\\frac{\\sqrt3}3\\approx0.577"},
               {"f(x)=1", "1"},
               {"a=4,-8,-10", "-10,-8,4"},
               {"x=\\pm2", "x=2,-2"},
               {"AB=4,CD=5", "4,5"},
               {"x\\in[0,1]", "[0,1]"}});
  ExpectDifferent({{"2x+z=1", "1"}, {"a^2+b=0", "0"}, {"x=1", "y=1"}, {"5", "x=6"}});
}

TEST(Equal, AnInequalityIsItsSet) {
  ExpectEqual({{"1<x<2", "(1,2)"},
               {"x>2", "(2,\\infty)"},
               {"x\\ne3", "(-\\infty,3)\\cup(3,\\infty)"},
               {"0<f(x)<1", "(0,1)"},
               {"2x\\le10", "(-\\infty,5]"},
               {"-793<a<10", "(-793,10)"},
               {"1\\le|z|\\le\\frac32", "[-\\frac32,-1]\\cup[1,\\frac32]"}});
  ExpectNotEqual({{"1<x<2", "[1,2]"}, {"x>2", "(-\\infty,2)"}, {"x>2", "[2,\\infty)"}});
  ExpectDifferent({{"[-2,7]", "-2\\le x\\le7"}});
  EqualOptions options;
  options.answer_relation_is_set = true;
  ExpectEqual({{"[-2,7]", "-2\\le x\\le7"}, {"x\\in[-2,7]", "-2\\le x\\le7"}}, options);
}

TEST(Equal, PlusMinusIsTwoValues) {
  ExpectEqual({{"\\pm2", "2,-2"},
               {"1\\pm\\sqrt{19}", "1-\\sqrt{19},1+\\sqrt{19}"},
               {"x=\\pm2", "\\pm2"},
               {"1\\pm\\sqrt{19}", "1\\pm\\sqrt{19}"},
               {"\\frac{1\\pm\\sqrt5}2", "\\frac12\\pm\\frac{\\sqrt5}2"}});
  ExpectNotEqual({{"\\pm2021", "2021"}, {"\\pm2", "-2"}, {"\\pm2", "\\pm3"}});
}

TEST(Equal, MatricesAreEvaluated) {
  ExpectEqual({{"\\begin{pmatrix}6&8\\\\10&12\\end{pmatrix}",
                "\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}+\\begin{pmatrix}5&6\\\\7&8\\end{pmatrix}"},
               {"\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}\\begin{pmatrix}0&1\\\\1&0\\end{pmatrix}",
                "\\begin{pmatrix}2&1\\\\4&3\\end{pmatrix}"},
               {"\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}^{-1}",
                "\\begin{pmatrix}-2&1\\\\1.5&-\\frac12\\end{pmatrix}"},
               {"\\begin{vmatrix}1&2\\\\3&4\\end{vmatrix}", "-2"},
               {"\\begin{vmatrix}a&b\\\\c&d\\end{vmatrix}", "ad-bc"},
               {"\\begin{pmatrix}1&1\\\\0&1\\end{pmatrix}^{10}", "\\begin{pmatrix}1&10\\\\0&1\\end{pmatrix}"},
               {"2\\begin{pmatrix}1\\\\x\\end{pmatrix}", "\\begin{pmatrix}2\\\\2x\\end{pmatrix}"}});
  ExpectNotEqual(
      {{"\\begin{pmatrix}1&2\\end{pmatrix}", "\\begin{pmatrix}1\\\\2\\end{pmatrix}"},
       {"\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}", "\\begin{pmatrix}1&2\\\\3&5\\end{pmatrix}"},
       {"\\begin{pmatrix}1&2\\\\2&4\\end{pmatrix}^{-1}", "\\begin{pmatrix}1&2\\\\2&4\\end{pmatrix}^{-1}"},
       {"\\begin{pmatrix}1&2\\end{pmatrix}", "1"}});
}

TEST(Equal, WhatAnAnswerLeavesToDoIsDone) {
  ExpectEqual({{"\\sum_{k=1}^{100}k", "5050"},
               {"\\prod_{k=1}^5k", "120"},
               {"\\int_0^1x^2dx", "\\frac13"},
               {"\\int_0^1x(1-x)dx", "\\frac16"},
               {"\\frac{d}{dx}x^3", "3x^2"},
               {"\\int_0^{\\pi}\\sin x\\,dx", "2"},
               {"\\sum_{k=1}^nk", "\\sum_{k=1}^nk"},
               {"\\sum_{k=1}^3x^k", "x+x^2+x^3"},
               {"F_n=\\sum_{k=0}^{n-1}F_kF_{n-k-1}", "F_n=\\sum_{k=0}^{n-1}F_{n-k-1}F_k"}});
  ExpectNotEqual({{"\\sum_{k=1}^3F_k", "3F_k"},
                  {"\\int_0^1x\\,dx", "1"},
                  {"\\sum_{k=1}^nk", "\\sum_{k=1}^nk^2"},
                  {"\\int_{-1}^1x^{-2}dx", "-2"},
                  {"\\lim_{x\\to0}\\frac{\\sin x}x", "0"}});
}

TEST(Equal, StrictTakesOrderAndFormToo) {
  const EqualOptions strict = EqualOptions::Strict();
  ExpectEqual({{"4", "4"},
               {"5", "5.0"},
               {"\\frac12", "0.5"},
               {"\\frac12", "1/2"},
               {"(1,2)", "(1,2)"},
               {"1,2", "1,2"},
               {"x^2+2x+1", "(x+1)^2"},
               {"\\frac{\\sqrt3}{3}", "\\frac{1}{\\sqrt3}"}},
              strict);
  ExpectDifferent({{"4", "\\frac82"},
                   {"\\frac12", "\\frac24"},
                   {"4,12,2", "4,2,12"},
                   {"1,2", "2,1"},
                   {"2", "\\sqrt4"},
                   {"\\frac12", "-\\frac{2}{-4}"},
                   {"(1,2)", "\\{1,2\\}"},
                   {"4, .1, 2", "0.1, 4, 2"}},
                  strict);
}

TEST(Equal, WhatIsTooLargeIsUnknownAtOnce) {
  const char* large[] = {
      "(10^9)!",         "\\binom{10^9}{5\\cdot10^8}", "\\sum_{k=1}^{10^9}k", "\\prod_{k=1}^{10^{12}}k",
      "\\tan(10^{300})", "\\Gamma(10^8+\\frac13)",     "\\sin(10^{10^5})"};
  for (const char* latex : large) {
    // The same tree is the same value, where it has one; tan may have none.
    const Equality itself =
        std::string_view(latex) == "\\tan(10^{300})" ? Equality::kUnknown : Equality::kYes;
    EXPECT_EQ(Decide(latex, latex).equality, itself) << latex;
    for (const std::string& other : {std::string("1"), std::string(latex) + "+1"}) {
      const Decision decision = Decide(latex, other);
      EXPECT_EQ(decision.equality, Equality::kUnknown) << latex << " and " << other;
      EXPECT_EQ(decision.reason.find("too large: "), 0) << decision.reason;
    }
  }
  for (const char* latex :
       {"9^{9^{9}}", "10^{10^9}", "2^{2^{2^{2^{2^2}}}}", "(x+y+z)^{10^9}", "e^{e^{e^{e^e}}}"}) {
    EXPECT_EQ(Decide(latex, "1").reason.find("too large: "), 0);
    EXPECT_EQ(Decide(latex, std::string(latex) + "+1").equality, Equality::kUnknown);
    EXPECT_EQ(Decide(latex, latex).equality, Equality::kYes);  // nothing has to be evaluated
  }
}

TEST(Equal, TreesThatNoParserMakesAreBoundedToo) {
  const Expression digits{Kind::kNumber, std::string(100'000, '9'), {}};
  EXPECT_EQ(Equal(digits, digits).equality, Equality::kUnknown);
  Expression deep{Kind::kSymbol, "x", {}};
  for (int i = 0; i < 5000; ++i) deep = {Kind::kFunction, "sin", {std::move(deep)}};
  EXPECT_EQ(Equal(deep, deep).equality, Equality::kUnknown);
  Expression row{Kind::kTuple, "", std::vector<Expression>(200, {Kind::kNumber, "1", {}})};
  const Expression matrix{Kind::kMatrix, "", std::vector<Expression>(200, row)};
  EXPECT_EQ(Equal({Kind::kFunction, "det", {matrix}}, matrix).equality, Equality::kUnknown);
  const Expression one{Kind::kNumber, "1", {}};
  const Kind kinds[] = {Kind::kAdd,        Kind::kMultiply, Kind::kPower,   Kind::kFunction,
                        Kind::kRelation,   Kind::kLogic,    Kind::kSet,     Kind::kTuple,
                        Kind::kList,       Kind::kInterval, Kind::kUnion,   Kind::kIntersection,
                        Kind::kDifference, Kind::kMatrix,   Kind::kPercent, Kind::kPlusMinus,
                        Kind::kText};
  for (const Kind kind : kinds) {  // too few or too many arguments end no process
    for (const char* name :
         {"", "=", "<", "and", "()", "det", "sum", "integral", "derivative", "mod", "binomial"}) {
      for (size_t count = 0; count < 5; ++count) {
        const Expression odd{kind, name, std::vector<Expression>(count, one)};
        Equal(odd, odd);
        Equal(odd, one);
        Equal(one, odd);
      }
    }
  }
}

TEST(Equal, ThreadsDecideAtOnce) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([] {
      for (int k = 0; k < 20; ++k) {
        EXPECT_EQ(Decide("\\sqrt{3+2\\sqrt2}", "1+\\sqrt2").equality, Equality::kYes);
        EXPECT_EQ(Decide("(x+1)^9", "(1+x)^9").equality, Equality::kYes);
        EXPECT_EQ(Decide("\\sin^2x+\\cos^2x", "1").equality, Equality::kYes);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace temper::math
