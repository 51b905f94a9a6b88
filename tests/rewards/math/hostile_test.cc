// SPDX-License-Identifier: Apache-2.0
// Answers that should look right and are not: rule math in its widest mode calls none of them correct.
#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"
#include "rewards/math/math.h"

namespace temper::math {
namespace {

struct Attack {
  const char* gold;
  const char* answers;  // ## between
};

Verdict Boxed(const std::string& gold, const std::string& answer) {
  static const Reward* const rule = MakeRule({}).value().release();
  Prompt prompt;
  prompt.answer = gold;
  const std::string text = "so it is \\boxed{" + answer + "}";
  return JudgeSafely(*rule, {.prompt = &prompt, .text = text, .raw = true});
}

void ExpectNone(const std::vector<Attack>& attacks) {
  for (const auto& [gold, answers] : attacks) {
    EXPECT_EQ(Boxed(gold, gold).kind, VerdictKind::kCorrect) << gold << ": " << Boxed(gold, gold).reason;
    for (const absl::string_view part : absl::StrSplit(answers, "##")) {
      const std::string answer(absl::StripAsciiWhitespace(part));
      const Verdict verdict = Boxed(gold, answer);
      EXPECT_NE(verdict.kind, VerdictKind::kCorrect) << gold << " | " << answer << " | " << verdict.reason;
    }
  }
}

TEST(MathHostile, SeveralAnswersAreNoneOfThem) {
  ExpectNone({
      {"5",
       R"(5, 6 ## 6, 5 ## 5 or 6 ## 6 or 5 ## 5 and 6 ## 5; 6 ## 6; 5 ## 5 / 6 ## 6 / 5 ## 5 | 6 ## 5 || 6 ##
5 \text{ or } 6 ## 6 \text{ or } 5 ## 5\text{ and }6 ## 5 \lor 6 ## 6 \lor 5 ## 5 \vee 6 ##
5 \land 6 ## 5 \cup 6 ## 5 \cap 6 ## \{5, 6\} ## \{6, 5\} ## (5, 6) ## [5, 6] ## 5 \\ 6 ## 6 \\ 5 ##
5 \quad 6 ## 6 \quad 5 ## 5 6 ## 6 5 ## 5\,6 ## 5~6 ## 5 \pm 1 ## 5 \mp 1 ## 4 \pm 1 ## \pm 5 ##
\mp 5 ## x=5, x=6 ## x=5 \text{ or } x=6 ## x=6 \text{ or } x=5 ## x = 5 \lor x = 6 ## 5, \ldots ##
1, 2, 3, 4, 5 ## 1, 2, \ldots, 5 ## \ldots, 5 ## \begin{cases} 5 \\ 6 \end{cases} ##
\begin{pmatrix} 5 \\ 6 \end{pmatrix} ## \begin{pmatrix} 5 & 6 \end{pmatrix} ## 5 \to 6 ## 6 \to 5 ##
5 \Rightarrow 6 ## 6 \Rightarrow 5 ## 5 \implies 6 ## 5 \iff 6 ## 5 \text{ (or 6)} 7 ##
x \in \{5, 6\} ## [5, 5.5] ## 5 : 6 ## 5 \mid 6 ## 5 \text{ if } 6 ## 5 \% 6 ## 5 % 6 ## 5 _ 6 ##
5 ^ 6)"},
      {"-5", R"(\pm 5 ## 5, -5 ## \{-5, 5\} ## |5| ## |-5| ## x = \pm 5 ## (-5)^2 ## \sqrt{25} ## - - 5)"},
      {"x = 5",
       R"(x = 5, x = 6 ## x = 5 \text{ or } 6 ## x \in \{5, 6\} ## x = 5 = 6 ## x = \pm 5 ## x \ge 5 ##
x \le 5 ## x > 4 ## x \ne 5 ## x^2 = 25 ## x = x ## 0 = 0 ## x ## y = 5, x = 6 ##
(x - 5)(x - 6) = 0 ## x - 5 = y ## 2x = 5 ## x = 5y)"},
      {"1, 2",
       R"(1 ## 2 ## 1, 2, 3 ## 1, 1, 2, 2, 3 ## (2, 1) ## 1, 2, 2.5 ## x ## 1 + 2 ## 12 ## 1.2 ## [1, 2] ##
1, 2, \ldots ## \{1, 2, 3\} ## 1 \le x \le 2 ## 2 ## 1, 3 ## 0, 1, 2 ## -1, 2)"},
  });
}

TEST(MathHostile, NoSideOfAChainIsChosenByTheReference) {
  for (const char* chain :
       {"5 = 6", "x = 5 = 6", "6 = x = 5", "5 < 6", "5 \\approx 6", "5 \\equiv 6", "5 \\to 6",
        "5 \\Rightarrow 6", "5 \\ne 6", "x = 5 \\Rightarrow x = 6", "5 > 6", "5 \\sim 6"}) {
    const bool five = Boxed("5", chain).kind == VerdictKind::kCorrect;
    const bool six = Boxed("6", chain).kind == VerdictKind::kCorrect;
    EXPECT_FALSE(five && six) << chain;
  }
}

TEST(MathHostile, ADenialOrARelationIsNoValue) {
  ExpectNone({
      {"5", R"(\text{not } 5 ## \text{not }5 ## not 5 ## \lnot 5 ## \neg 5 ## \ne 5 ## \neq 5 ## \not= 5 ##
\not{5} ## x \ne 5 ## x \neq 5 ## x \not= 5 ## 5 \ne x ## < 5 ## > 5 ## \le 5 ## \ge 5 ## \leq 5 ##
x < 5 ## x > 5 ## x \le 5 ## x \geq 5 ## \approx 6 ## \text{anything but } 5 ##
\text{less than } 5 ## \text{more than 5} ## \text{at least } 5 ## \text{at most } 5 ##
\text{unknown} ## \text{any} ## \text{all} ## ? ## \_ ## x ## n ## \text{the answer} ##  ##
\text{NaN} ## NaN ## nan ## \infty ## \inf ## inf ## -\infty ## \emptyset ## \varnothing ## \{\} ##
() ## [] ## \text{None} ## null ## \bot ## \top ## \text{true} ## \mathbb{R} ## \mathbb{N} ##
\mathbb{Z} ## (-\infty, \infty) ## x \in \mathbb{R} ## \forall x ## \exists x ## x \in \mathbb{N} ##
* ## . ## \cdot ## \square ## \Box ## \dots ## ... ## 1/0 ## 0/0 ## \frac{5}{0} ## 5/0 ##
\infty - \infty ## 0^0 ## \log 0 ## f(x) ## y = f(x))"},
      {"x \\ge 5",
       R"(5 ## x > 5 ## x = 5 ## x \le 5 ## [5, 6] ## (5, \infty) ## x \ge 6 ## x \ge 4 ## x \in R ##
y \le 5 ## x \ne 5 ## 5 \ge x ## \text{yes})"},
      {"(1, 2)",
       R"(1 ## 2 ## 1 < x ## (1, 2] ## [1, 2] ## (2, 1) ## (1, 2, 3) ## (1, 3) ## 1.5 ## (1)(2) ## (1+2) ##
(1, 2) \cup (3, 4) ## \{2, 1\} ## (x, y) ## (1, y) ## (a, b))"},
      {"\\emptyset",
       R"(0 ## \{0\} ## \{\emptyset\} ## x ## \text{none of the above} ## 1 ## \infty ## \mathbb{R} ##
(0, 1) ## [1, 1])"},
      {"0",
       R"(\emptyset ## \text{none} ## x ## 10^{-9} ## 10^{-400} ## 1e-9 ## 0.0000000001 ## -0.0000000001 ##
e^{-1000} ## e^{-100000} ## \infty^{-1} + 1 ## 1/9^{99} ## x - y ## 0/0 ## 00.1 ## \sin 1 ## 0.4)"},
      {"\\infty", R"(-\infty ## \pm\infty ## 1/0 ## 10^{1000} ## 9^{9^9} ## x ## \mathbb{R} ## (0, \infty))"},
  });
}

TEST(MathHostile, WhatDecoratesANumberDoesNotHideAnother) {
  ExpectNone({
      {"5",
       R"(5! ## 5 dozen ## 5\text{ tenths} ## 5\text{ squared} ## 5\text{ hundredths} ## 5 squared ## 5\text{ million} ## 5 \text{ thousand} ## 5 \text{ dozen} ## 5\text{ hundred} ## 5 million ##
5 thousand ## 5k ## 5e1 ## 5E2 ## 5e-1 ## 5 \times 10 ## 5\cdot 10^2 ## 5x ## 5y ## 5i ## 5e ##
5\pi ## 5\sqrt{2} ## 5^2 ## 5^{-1} ## 5^{2} ## 5\frac{1}{2} ## 5 \frac12 ## 5.5 ## 5,5 ## 5.000001 ##
4.99999 ## 0.5 ## .5 ## 50 ## 55 ## 5_6 ## 5_7 1 ## 15 ## -5 ## 5- ## +-5 ## \sqrt{5} ##
\sqrt[3]{5} ## \log 5 ## \ln 5 ## 5\%\% ## 0.05\% ## 5\text{ or so, maybe }6 ##
\cancel{5} 6 ## \cancel{6} 5 7 ## \phantom{5}6 ## \overline{5}6 ## \overline{56} ## 5\overline{6} ##
0.\overline{5} ## \color{red}6 ## \textcolor{red}{56} ## \mathbf{56} ## \binom{5}{2} ## 5 \bmod 3 ##
\lfloor 5.5 \rfloor + 1 ## \{5\} + 1 ## 5 + \epsilon ## 5 + x ## 5 - x ## \max(5, 6) ## \min(5, 4) ##
\gcd(5, 6) ## \text{five hundred} ## fifty-five ## \text{fifteen} ## V ## 1111 ## 5 mod 2 ##
5 \pmod 3 ## f(5) ## g(5) + 1 ## \arcsin 5 ## 5'' ## 5')"},
      {"0.09", R"(9 ## 0.9 ## 90\% ## 0.9\% ## 0.09\% ## 9\%\%)"},
      {"50\\%", R"(0.05 ## 5 ## 500 ## 5\% ## 0.5\% ## 50.1 ## 2)"},
      {"1000",
       R"(1 ## 1,0 ## 1, 000, 1 ## 1.000 ## 100 ## 10,00 ## 1000,000 ## 1e2 ## 10^2 ## 1 000 0 ## 1000x)"},
      {"\\frac{1}{2}",
       R"(1, 2 ## \frac{2}{1} ## 1 2 ## 12 ## \frac12 x ## \frac{1}{2}\frac{1}{2} ## 1\frac12 ##
\frac{1}{2x} ## \frac{x}{2} ## \frac{1}{2}, \frac{1}{3} ## 1:3 ## \binom12 ## 0.49)"},
      {"3.14", R"(\pi ## 22/7 ## 3.141 ## 3.1 ## 314 ## 3,14,15 ## 3.1400011)"},
      {"\\pi", R"(3.14 ## 3.1416 ## 22/7 ## 355/113 ## 3 ## \text{pie} ## p i 2 ## 3.14159 ## \Pi ## \pi r)"},
      {"12",
       R"(1, 2 ## 1 2 ## 1.2 ## 102 ## 1\times 2 ## 1 + 2 ## \{1, 2\} ## 1:2 ## 1_2 ## 1^2 ## 21 ## 1\\2 ##
1\quad 2 ## \overline{1}2 ## 1\text{ then }2 ## 1\text{ }2 3)"},
      {"10:30", R"(10 ## 30 ## 10:31 ## 3:10 ## 10.30)"},
  });
}

TEST(MathHostile, WhatIsNearlyEqualIsAnother) {
  ExpectNone({
      {"5", R"(5 + e^{-1000} ## 5 + e^{-100000} ## 5 + \pi^{-1000} ## 5 + 10^{-300} ## 5 + 2^{-9999} ##
5 \tanh(1000) ## 5 \cos(10^{-200}) ## 5 \cos(e^{-300}) ## 5 \frac{e^{400}}{1 + e^{400}} ##
5 \coth 500 ## 5 \operatorname{erf}(50) ## \frac{10}{\pi} \arctan(e^{1000}) ## 5 + x^{-1000} ##
5 + e^{-e^{e}} ## 5 + e^{-e^{10}} ## 5^{1 + 10^{-100}} ## \sqrt{25 + 10^{-90}} ##
5 + \sin(10^{-99}) ## 5 + \frac{1}{9^{999}} ## \lfloor 5 - 10^{-99} \rfloor ##
\lceil 5 + 10^{-99} \rceil ##  \sum_{n=1}^{200} \frac{5}{2^n} ##
5 + \frac{1}{1000!} ## 5 - \frac{1}{99^{99}} ## 5 + \ln(1 + 10^{-80}))"},
      {"\\pi", R"(\pi + 10^{-50} ## 4\arctan(1) + e^{-500} ## \frac{\ln(640320^3 + 744)}{\sqrt{163}} ##
\frac{355}{113} ## 2 \arctan(e^{900}))"},
      {"262537412640768744", R"(e^{\pi \sqrt{163}})"},
      {"\\sqrt{2}",
       R"(1.41421 ## 1.4142 ## \frac{99}{70} ## \frac{665857}{470832} ## -\sqrt{2} ## \pm\sqrt{2})"},
      {"x", R"(|x| ## \sqrt{x^2} ## \ln(e^x) + 1 ## x + 10^{-99} ## \lfloor x \rfloor ## \arcsin(\sin x) ##
\arctan(\tan x) ## y ## 2x ## x^1.0000001 ## -x ## x + e^{-999} ## \max(x, 0) ## X ## x_1 ## x')"},
      {"\\sin x", R"(x ## \sin y ## \cos x ## |\sin x| ## \sqrt{1 - \cos^2 x} ## \sin(x + 10^{-60}) ##
x - \frac{x^3}{6} ## \sin|x| ## \sinh x ## \sin ## s i n x)"},
      {"2\\ln x", R"(\ln(x^2) ## \ln(2x) ## \ln x ## \ln|x|^2)"},
      {"x^2 + 1",
       R"(x^2 ## x^2 + 1 + 0x^3 + 10^{-40} ## (x+1)^2 ## x^2 + C ## x^2 + 2 ## x^{2} - 1 ## y^2 + 1)"},
  });
}

TEST(MathHostile, DifferentGoldsHaveDifferentAnswers) {
  const std::vector<const char*> golds = {"0",
                                          "1",
                                          "-1",
                                          "2",
                                          "\\frac13",
                                          "0.25",
                                          "\\sqrt 2",
                                          "\\sqrt 3",
                                          "\\pi",
                                          "e",
                                          "i",
                                          "1 + i",
                                          "\\infty",
                                          "-\\infty",
                                          "1, 2",
                                          "(1, 3)",
                                          "[1, 3]",
                                          "(1, 3]",
                                          "[1, 3)",
                                          "\\{1, 4\\}",
                                          "\\emptyset",
                                          "x",
                                          "y",
                                          "x^2",
                                          "x + 1",
                                          "\\sin x",
                                          "x = 7",
                                          "y = 8",
                                          "x > 1",
                                          "x \\ge 1",
                                          "x < 1",
                                          "y = x + 3",
                                          "x^2 + y^2 = 17",
                                          "\\mathbb{R}",
                                          "\\mathbb{Q}",
                                          "\\begin{pmatrix} 1 & 2 \\\\ 3 & 4 \\end{pmatrix}",
                                          "\\begin{pmatrix} 1 & 3 \\\\ 2 & 4 \\end{pmatrix}",
                                          "10^{20}",
                                          "10^{-20}",
                                          "9^{9^{9}}",
                                          "9^{9^{8}}",
                                          "5 \\pm 4",
                                          "\\text{Yes}",
                                          "\\text{No}",
                                          "\\text{A}",
                                          "\\text{Monday}",
                                          "(1, \\infty) \\cup (2, 3) \\cup \\{0\\}",
                                          "(-\\infty, 5)",
                                          "(x - 1)(x - 2) + 11",
                                          "\\ln 2",
                                          "\\log_{10} 2"};
  for (const char* gold : golds) {
    for (const char* answer : golds) {
      const Verdict verdict = Boxed(gold, answer);
      EXPECT_EQ(verdict.kind == VerdictKind::kCorrect, std::string(gold) == answer)
          << gold << " | " << answer << " | " << verdict.reason;
    }
  }
}

}  // namespace
}  // namespace temper::math
