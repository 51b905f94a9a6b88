// SPDX-License-Identifier: Apache-2.0
#include "rewards/math/latex/latex.h"

#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace temper::math {
namespace {

std::string Tree(std::string_view latex) {
  const auto tree = ParseLatex(latex);
  return tree.ok() ? DebugString(*tree) : "error: " + std::string(tree.status().message());
}

std::string Repeat(std::string_view part, int times) {
  std::string text;
  for (int i = 0; i < times; ++i) text += part;
  return text;
}

TEST(LatexTest, NumbersStayExact) {
  EXPECT_EQ(Tree("007"), "7");
  EXPECT_EQ(Tree(".25"), "0.25");
  EXPECT_EQ(Tree("6."), "6");
  EXPECT_EQ(Tree("-3.50"), "(* -1 3.50)");
  EXPECT_EQ(Tree("2.5E-3"), "(* 2.5 (^ 10 (* -1 3)))");
  EXPECT_EQ(Tree("1e-05"), "(* 1 (^ 10 (* -1 5)))");
  EXPECT_EQ(Tree("4e-3"), "(+ (* 4 #e) (* -1 3))") << "e may be the constant";
  EXPECT_EQ(Tree("0.1\\overline{6}"), "(+ 0.1 (* 6 (^ 90 -1)))");
  EXPECT_EQ(Tree("0.(12)"), "(+ 0 (* 12 (^ 99 -1)))");
  EXPECT_EQ(Tree(Repeat("7", 1000)), Repeat("7", 1000));
}

TEST(LatexTest, GroupsOfThreeDigitsAreOneNumber) {
  for (const char* text : {"12,345,678", "12\\,345\\,678", "12 345 678", "12{,}345{,}678", "12,\\!345,\\!678",
                           "12.345.678", "12~345~678"}) {
    EXPECT_EQ(Tree(text), "12345678") << text;
  }
  EXPECT_EQ(Tree("1,234.5"), "1234.5");
  EXPECT_EQ(Tree("3{,}75"), "3.75");
  EXPECT_EQ(Tree("1,22"), "(List 1 22)");
  EXPECT_EQ(Tree("12, 345"), "(List 12 345)");
  EXPECT_EQ(Tree("1,2,345"), "(List 1 2 345)");
  EXPECT_EQ(Tree("(100,200)"), "(Tuple 100 200)") << "in brackets a comma parts";
  EXPECT_EQ(Tree("\\{100,200,300\\}"), "(Set 100 200 300)");
  EXPECT_EQ(Tree("\\frac{1,000}{3}"), "(* 1000 (^ 3 -1))");
  EXPECT_EQ(Tree("\\boxed{4,321}"), "4321");
}

TEST(LatexTest, FractionsAndMixedNumbers) {
  for (const char* text : {"\\frac34", "\\dfrac{3}{4}", "\\tfrac3{4}", "\\frac{3}4", "3/4", "{3 \\over 4}",
                           "¾", "3 \\div 4", "3:4", "\\cfrac 34"}) {
    EXPECT_EQ(Tree(text), "(* 3 (^ 4 -1))") << text;
  }
  for (const char* text : {"2\\frac34", "2 3/4", "2¾", "2 \\dfrac{3}{4}"}) {
    EXPECT_EQ(Tree(text), "(+ 2 (* 3 (^ 4 -1)))") << text;
  }
  EXPECT_EQ(Tree("-2\\frac34"), "(* -1 (+ 2 (* 3 (^ 4 -1))))");
  EXPECT_EQ(Tree("2.5\\frac12"), "(* 2.5 1 (^ 2 -1))");
  EXPECT_EQ(Tree("2\\frac{x}{4}"), "(* 2 x (^ 4 -1))");
  EXPECT_EQ(Tree("\\frac\\pi3"), "(* #pi (^ 3 -1))");
  EXPECT_EQ(Tree("1/2y"), "(* 1 (^ (* 2 y) -1))");
}

TEST(LatexTest, PowersRootsAndSubscripts) {
  EXPECT_EQ(Tree("-x^2"), "(* -1 (^ x 2))");
  EXPECT_EQ(Tree("x^-1"), "(^ x -1)");
  EXPECT_EQ(Tree("2^{3^4}"), "(^ 2 (^ 3 4))");
  EXPECT_EQ(Tree("y²³"), "(^ y 23)");
  EXPECT_EQ(Tree("\\sqrt[3]{x}"), "(^ x (^ 3 -1))");
  EXPECT_EQ(Tree("\\sqrt27"), "(* (^ 2 (^ 2 -1)) 7)") << "as TeX sets it";
  EXPECT_EQ(Tree("√27"), "(^ 27 (^ 2 -1))");
  EXPECT_EQ(Tree("sqrt(27)"), "(^ 27 (^ 2 -1))");
  EXPECT_EQ(Tree("a_{n+1}^2"), "(^ \"a_n+1\" 2)");
  EXPECT_EQ(Tree("a^2_{10}"), "(^ a_10 2)");
  EXPECT_EQ(Tree("v_{\\text{max}}"), "v_max");
  EXPECT_EQ(Tree("\\bar{x}_1"), "\"bar{x}_1\"");
  EXPECT_EQ(Tree("231_4"), "(base 231 4)");
  EXPECT_EQ(Tree("7!!!"), "(factorial (factorial (factorial 7)))");
}

TEST(LatexTest, SignsAndPrecedence) {
  EXPECT_EQ(Tree("a-b-c"), "(+ a (* -1 b) (* -1 c))");
  EXPECT_EQ(Tree("2*-3"), "(* 2 -1 3)");
  EXPECT_EQ(Tree("a/b/c*d"), "(* a (^ b -1) (^ c -1) d)");
  EXPECT_EQ(Tree("-7 \\bmod 3"), "(mod (* -1 7) 3)");
  EXPECT_EQ(Tree("x \\pm y"), "(PlusMinus x y)");
  EXPECT_EQ(Tree("\\frac{-b \\pm c}{2}"), "(* (PlusMinus (* -1 b) c) (^ 2 -1))");
  EXPECT_EQ(Tree("1 \\mp 2"), "(PlusMinus 1 (* -1 2))");
  EXPECT_EQ(Tree("1:2:3"), "(ratio 1 2 3)");
}

TEST(LatexTest, FunctionsWithAndWithoutBrackets) {
  EXPECT_EQ(Tree("\\sin 3x"), "(sin (* 3 x))");
  EXPECT_EQ(Tree("\\sin x \\cos y"), "(* (sin x) (cos y))");
  EXPECT_EQ(Tree("\\sin x / \\cos x"), "(* (sin x) (^ (cos x) -1))");
  EXPECT_EQ(Tree("\\tan(x)y"), "(* (tan x) y)");
  EXPECT_EQ(Tree("\\cos^3 x"), "(^ (cos x) 3)");
  EXPECT_EQ(Tree("\\cos(x)^3"), "(^ (cos x) 3)");
  EXPECT_EQ(Tree("\\tan^{-1}(2)"), "(arctan 2)");
  EXPECT_EQ(Tree("\\operatorname{arcosh} 2"), "(arccosh 2)");
  EXPECT_EQ(Tree("\\ln 5"), "(log 5)");
  EXPECT_EQ(Tree("\\log_2 8"), "(log 2 8)");
  EXPECT_EQ(Tree("\\log x"), "(log 10 x)");
  EXPECT_EQ(Tree("\\gcd(4, 6, 8)"), "(gcd 4 6 8)");
  EXPECT_EQ(Tree("\\max\\{3, x\\}"), "(max 3 x)");
  EXPECT_EQ(Tree("\\binom n2"), "(binomial n 2)");
  EXPECT_EQ(Tree("\\lfloor x\\rfloor + ⌈y⌉"), "(+ (floor x) (ceil y))");
  EXPECT_EQ(Tree("2 sin(x)"), "(* 2 (sin x))");
  EXPECT_EQ(Tree("2\\operatorname{cis} 90^\\circ"), "(* 2 (^ #e (* #i 90 #pi (^ 180 -1))))");
}

TEST(LatexTest, ALetterBeforeABracketIsAFunctionOfSymbolsAndNumbersElseAFactor) {
  EXPECT_EQ(Tree("h(x, 2)"), "(h x 2)");
  EXPECT_EQ(Tree("n(n+1)"), "(* n (+ n 1))");
  EXPECT_EQ(Tree("k(k)"), "(* k k)");
  EXPECT_EQ(Tree("xy(z)"), "(* x y z)");
  EXPECT_EQ(Tree("f(x+1)"), "(f (+ x 1))");
  EXPECT_EQ(Tree("f'(2)"), "(f' 2)");
  EXPECT_EQ(Tree("f^{-1}(x)"), "(\"f^-1\" x)");
  EXPECT_EQ(Tree("e(3)"), "(* #e 3)");
  EXPECT_EQ(Tree("P(A|B)"), "(P (given A B))");
}

TEST(LatexTest, BarsCloseOrOpen) {
  EXPECT_EQ(Tree("|x|y|"), "error: LaTeX at byte 5: an operand is missing at the end");
  EXPECT_EQ(Tree("|x||y|"), "(* (abs x) (abs y))");
  EXPECT_EQ(Tree("|2-|x||"), "(abs (+ 2 (* -1 (abs x))))");
  EXPECT_EQ(Tree("||a|b|"), "(abs (* (abs a) b))");
  EXPECT_EQ(Tree("||a||b||"), "(abs (* (abs a) (abs b)))");
  EXPECT_EQ(Tree("||a|b|c||"), "(abs (* (abs a) b (abs c)))");
  EXPECT_EQ(Tree("\\left|x\\right|^2"), "(^ (abs x) 2)");
  EXPECT_EQ(Tree("\\|v\\|"), "(norm v)");
}

TEST(LatexTest, BoundVariables) {
  EXPECT_EQ(Tree("\\sum_{i=1}^n i^2 + 1"), "(+ (sum (^ i 2) i 1 n) 1)");
  EXPECT_EQ(Tree("\\prod_{k=2}^{\\infty} a_k"), "(product a_k k 2 #oo)");
  EXPECT_EQ(Tree("\\int_0^1 3x\\,dx + c"), "(+ (integral (* 3 x) x 0 1) c)");
  EXPECT_EQ(Tree("\\int\\frac{dt}{t^2}"), "(integral (* 1 (^ (^ t 2) -1)) t)");
  EXPECT_EQ(Tree("\\iint xy dx dy"), "(integral (integral (* x y) x) y)");
  EXPECT_EQ(Tree("\\lim_{x\\to 0^+} \\ln x"), "(limit (log x) x 0 text\"+\")");
  EXPECT_EQ(Tree("\\frac{d^2}{dx^2} x^3"), "(derivative (^ x 3) x 2)");
  EXPECT_EQ(Tree("\\frac{\\partial u}{\\partial t}"), "(derivative u t 1)");
  EXPECT_EQ(Tree("\\frac{d}{d+1}"), "(* d (^ (+ d 1) -1))");
}

TEST(LatexTest, SetsTuplesAndIntervals) {
  EXPECT_EQ(Tree("\\{3, 1\\}"), "(Set 3 1)");
  EXPECT_EQ(Tree("{3, 1}"), "(Set 3 1)");
  EXPECT_EQ(Tree("\\emptyset"), "(Set)");
  EXPECT_EQ(Tree("(3, 1)"), "(Tuple 3 1)");
  EXPECT_EQ(Tree("(1; 2; 3)"), "(Tuple 1 2 3)");
  EXPECT_EQ(Tree("[3, 8)"), "(Interval[) 3 8)");
  EXPECT_EQ(Tree("(3, \\infty)"), "(Interval() 3 #oo)");
  EXPECT_EQ(Tree("]3, 8["), "(Interval() 3 8)");
  EXPECT_EQ(Tree("[3, 8["), "(Interval[) 3 8)");
  EXPECT_EQ(Tree("\\left]3, 8\\right]"), "(Interval(] 3 8)");
  EXPECT_EQ(Tree("(0, 1) \\cup {2} \\cup [3, 4]"), "(Union (Interval() 0 1) (Set 2) (Interval[] 3 4))");
  EXPECT_EQ(Tree("A \\cup B \\cap C"), "(Union A (Intersection B C))");
  EXPECT_EQ(Tree("\\mathbb{R} \\setminus \\{0\\}"), "(Difference #R (Set 0))");
  EXPECT_EQ(Tree("\\{x \\in \\mathbb R : x > 2\\}"), "(set_builder (in x #R) (\">\" x 2))");
  EXPECT_EQ(Tree("\\{x | |x| < 2\\}"), "(set_builder x (\"<\" (abs x) 2))");
  EXPECT_EQ(Tree("\\left\\{x \\middle| x < 2\\right\\}"), "(set_builder x (\"<\" x 2))");
  EXPECT_EQ(Tree("\\langle 1, 2 \\rangle"), "(Tuple 1 2)");
}

TEST(LatexTest, RelationsAndLists) {
  EXPECT_EQ(Tree("1 < x \\le 4"), "(and (\"<\" 1 x) (\"<=\" x 4))");
  EXPECT_EQ(Tree("x \\not= 1"), "(\"!=\" x 1)");
  EXPECT_EQ(Tree("B \\supset A"), "(subset A B)");
  EXPECT_EQ(Tree("x \\equiv 2 \\pmod 5"), "(\"=\" x (mod 2 5))");
  EXPECT_EQ(Tree("x \\equiv 2 (\\mathrm{mod}\\ 5)"), "(\"=\" x (mod 2 5))");
  EXPECT_EQ(Tree("x = 1, 2"), "(\"=\" x (List 1 2))");
  EXPECT_EQ(Tree("x = 1 \\text{ or } x = 2"), "(List (\"=\" x 1) (\"=\" x 2))");
  EXPECT_EQ(Tree("x < 1 \\text{ or } x > 2"), "(or (\"<\" x 1) (\">\" x 2))");
  EXPECT_EQ(Tree("3, 4, and 5"), "(List 3 4 5)");
  EXPECT_EQ(Tree("x=1,y=2 \\text{ and } x=3,y=4"), Tree("x=1,y=2;x=3,y=4"));
  EXPECT_EQ(Tree("x = 2 \\quad y = 3"), "(List (\"=\" x 2) (\"=\" y 3))");
  EXPECT_EQ(Tree("p \\lor \\neg q \\land r"), "(or p (and (not q) r))");
}

TEST(LatexTest, Matrices) {
  const std::string matrix = "(Matrix (Tuple 1 2) (Tuple x 4))";
  EXPECT_EQ(Tree("\\begin{pmatrix}1&2\\\\x&4\\end{pmatrix}"), matrix);
  EXPECT_EQ(Tree("\\left[\\begin{array}{c|c}1&2\\\\ \\hline x&4\\\\\\end{array}\\right]"), matrix);
  EXPECT_EQ(Tree("\\\\begin{bmatrix}1&2\\\\\\\\x&4\\\\end{bmatrix}"), matrix) << "escaped twice";
  EXPECT_EQ(Tree("\\begin{vmatrix}1&2\\\\x&4\\end{vmatrix}"), "(det " + matrix + ")");
  EXPECT_EQ(Tree("|\\begin{matrix}1&2\\\\x&4\\end{matrix}|"), "(det " + matrix + ")");
  EXPECT_EQ(Tree("\\left|\\begin{array}{cc}1&2\\\\x&4\\end{array}\\right|"), "(det " + matrix + ")");
  EXPECT_EQ(Tree("\\begin{pmatrix}1&2\\\\x&4\\end{pmatrix}^T"), "(transpose " + matrix + ")");
  EXPECT_EQ(Tree("\\begin{cases}x=1\\\\y=2\\end{cases}"), "(List (\"=\" x 1) (\"=\" y 2))");
  EXPECT_EQ(Tree("\\begin{cases}1&\\text{if }x>0\\\\0&\\text{otherwise}\\end{cases}"),
            "(piecewise (Tuple 1 (\">\" x 0)) (Tuple 0))");
  EXPECT_EQ(Tree("\\begin{pmatrix}1&2\\\\3\\end{pmatrix}"),
            "error: LaTeX at byte 34: a matrix whose rows differ in length");
}

TEST(LatexTest, UnitsCurrencyAndPercent) {
  for (const char* text : {"7 \\text{ cm}", "7\\,\\mathrm{m/s^2}", "7 km/h", "7 square miles", "\\$7",
                           "7\\text{ apples}", "7^\\circ", "7°C", "£7", "7\\,\\mathrm{m}"}) {
    EXPECT_EQ(Tree(text), "7") << text;
  }
  EXPECT_EQ(Tree("7m"), "(* 7 m)") << "a letter may be a variable";
  EXPECT_EQ(Tree("7\\%"), "(Percent 7)");
  EXPECT_EQ(Tree("7 percent"), "(Percent 7)");
  EXPECT_EQ(Tree("\\sin 30^\\circ"), "(sin (* 30 #pi (^ 180 -1)))");
  EXPECT_EQ(Tree("7 \\text{ million}"), "(* 7 1000000)");
  EXPECT_EQ(Tree("5 ft 3"), "error: LaTeX at byte 5: two quantities");
  EXPECT_EQ(Tree("5 \\text{ ft } 3 \\text{ in}"), "(amounts 5 foot 3 inch)");
}

TEST(LatexTest, WordsAreNotProducts) {
  EXPECT_EQ(Tree("\\text{No  solution}"), "text\"No solution\"");
  EXPECT_EQ(Tree("no solution"), "text\"no solution\"");
  EXPECT_EQ(Tree("\\textbf{(C)}"), "C");
  EXPECT_EQ(Tree("abcd"), "(* a b c d)");
  EXPECT_EQ(Tree("True"), "#true");
  EXPECT_EQ(Tree("5厘米"), "5");
}

TEST(LatexTest, DelimitersSpacingAndUnicodeDoNotMatter) {
  const std::string tree = Tree("\\frac{x+1}{2}");
  for (const char* text :
       {"$\\frac{x+1}{2}$.", "\\(\\displaystyle \\frac{x + 1}{2}\\)", "\\boxed{\\frac{x\\,+\\,1}{2}}",
        "**$\\dfrac{x+1}{2}$**", "\\left(\\frac{x+1}2\\right)", "\\big( (x+1)/2 \\big)", "（x＋1）／2",
        "$$\n\\frac{x+1}{2}\n$$", "\\begin{aligned}&\\frac{x+1}{2}\\end{aligned}"}) {
    EXPECT_EQ(Tree(text), tree) << text;
  }
  EXPECT_EQ(Tree("−2·π ≤ α"), Tree("-2\\cdot\\pi \\le \\alpha"));
}

TEST(LatexTest, ErrorsSayWhatAndAtWhichByteOfTheSource) {
  EXPECT_EQ(Tree(""), "error: LaTeX at byte 0: an operand is missing at the end");
  EXPECT_EQ(Tree("$x + $"), "error: LaTeX at byte 4: an operand is missing at the end");
  EXPECT_EQ(Tree("π + \\foo"), "error: LaTeX at byte 5: an unknown command");
  EXPECT_EQ(Tree("(1, 2"), "error: LaTeX at byte 5: a bracket that is not closed so");
  EXPECT_EQ(Tree("2 3"), "error: LaTeX at byte 2: a number behind a number");
  EXPECT_EQ(Tree("x\xff"), "error: LaTeX at byte 1: no UTF-8");
  EXPECT_EQ(Tree(std::string_view("x\0y", 3)), "error: LaTeX at byte 1: a character that is no mathematics");
}

TEST(LatexTest, EveryBoundIsAnError) {
  EXPECT_EQ(Tree(std::string(4097, 'x')), "error: LaTeX of 4097 bytes: at most 4096 are read");
  EXPECT_EQ(Tree(std::string(1 << 20, '(')), "error: LaTeX of 1048576 bytes: at most 4096 are read");
  EXPECT_EQ(Tree(Repeat("7", 1001)), "error: LaTeX at byte 0: a number of more than 1000 digits");
  const std::string deep = ": more than 64 brackets and operators inside each other";
  for (const char* part :
       {"(", "{", "\\{", "[", "|", "\\sqrt", "\\frac{1}{", "x^", "x^{", "f(", "x(", "\\sin", "\\int ",
        "\\frac{d}{dx}", "\\begin{pmatrix}", "\\lim_{x\\to ", "(a,", "\\operatorname{f}("}) {
    const std::string text = Repeat(part, 4096 / std::string_view(part).size());
    EXPECT_NE(Tree(text).find(deep), std::string::npos) << part << " " << Tree(text).substr(0, 200);
  }
  for (const char* part : {"\\mod 2", "\\%", "!!!", "\\pm 1"}) {
    EXPECT_NE(Tree("x" + Repeat(part, 500)).find("more than 64 operators on one operand"), std::string::npos)
        << part;
  }
  std::string chain = "a";
  for (int i = 0; i < 40; ++i) chain = "{a=" + chain + "=a}";
  EXPECT_NE(Tree(chain).find("too long a chain"), std::string::npos) << "each level would double it";
}

TEST(LatexTest, NoTextCrashesOrHangs) {
  const std::vector<std::string> parts = {"x",
                                          "f",
                                          "dx",
                                          "12",
                                          "0.5",
                                          "(",
                                          ")",
                                          "[",
                                          "]",
                                          "{",
                                          "}",
                                          "\\{",
                                          "\\}",
                                          "|",
                                          "\\|",
                                          "\\left",
                                          "\\right",
                                          "+",
                                          "-",
                                          "/",
                                          "^",
                                          "_",
                                          "=",
                                          "<",
                                          ",",
                                          ";",
                                          ":",
                                          "!",
                                          "'",
                                          "%",
                                          "&",
                                          "\\\\",
                                          "\\frac",
                                          "\\sqrt",
                                          "\\sin",
                                          "\\log",
                                          "\\sum",
                                          "\\int",
                                          "\\lim",
                                          "\\to",
                                          "\\pm",
                                          "\\cup",
                                          "\\text{",
                                          "\\text{ cm}",
                                          " and ",
                                          "km/h",
                                          "\\begin{pmatrix}",
                                          "\\end{pmatrix}",
                                          "\\begin{cases}",
                                          "\\end{cases}",
                                          "\\mod",
                                          "^\\circ",
                                          "\\choose",
                                          "\\quad",
                                          " ",
                                          "$",
                                          ".",
                                          "\\overline",
                                          "\\mathbb",
                                          "\\operatorname{f}",
                                          "\\boxed",
                                          "\\frac{d}{dx}",
                                          "\\neg",
                                          "²",
                                          "½",
                                          "√",
                                          "−",
                                          "是",
                                          "\\foo",
                                          "\\",
                                          "\"",
                                          "\x80",
                                          std::string(1, '\0'),
                                          "\\mid",
                                          "0.",
                                          "{,}"};
  std::mt19937 random(7);
  int parsed = 0;
  for (int trial = 0; trial < 20000; ++trial) {
    std::string text;
    const size_t length = trial % 100 == 0 ? 400 : 1 + random() % 12;
    for (size_t i = 0; i < length; ++i) text += parts[random() % parts.size()];
    const auto tree = ParseLatex(text);
    parsed += tree.ok();
    if (tree.ok()) {
      EXPECT_EQ(Tree(text), DebugString(*tree));
    }
  }
  EXPECT_GT(parsed, 200);
}

}  // namespace
}  // namespace temper::math
