// SPDX-License-Identifier: Apache-2.0
// Rule `math`: answers in words, and in spellings that are not LaTeX's, each beside near misses.
#include "tests/rewards/math/rows.h"

namespace temper::math {
namespace {

TEST(MathPhrases, InequalitiesThatAreJoinedAsSets) {
  ExpectRows({
      {R"(x \le 2 \text{ or } x \ge 5)",
       {"x ≤ 2 ∪ x ≥ 5", R"(x \le 2 \cup x \ge 5)", R"($x \leq 2 \cup x \geq 5$)", R"(x \ge 5 \cup x \le 2)",
        R"((-\infty, 2] \cup [5, \infty))", "(-inf, 2] U [5, inf)"},
       {"x ≤ 2 ∪ x > 5", R"(x \le 2 \cap x \ge 5)", R"(x \le 2 \cup 5)", "x ≤ 2", "x ≤ 5 ∪ x ≥ 2",
        "(-inf, 2) U [5, inf)"}},
      {R"((1,2) \cup (3,4))", {"(1,2) U (3,4)", "(3, 4) U (1, 2)"}, {"(1,2) U (3,5)", "U(1,2)"}},
  });
}

TEST(MathPhrases, AmountsTimesAndPowersOfTen) {
  ExpectRows({
      {"3.50",
       {"US$3.50", R"(US\$3.50)", "USD 3.50", "EUR 3.5", "The price is US$3.50."},
       {"US$35.0", "USD 3.05", "USD -3.50", "US$3.50 or US$4"}},
      {R"(\$1{,}250)", {"US$1,250", "USD 1250", "1,250 USD"}, {"US$1.25", "US$12,500"}},
      {"5:00", {"5 o'clock", "5 o’clock", "5:00"}, {"6 o'clock", "5:30", "5 o'clock or 6 o'clock"}},
      {R"(12.5\%)", {"12.5 per cent", "12.5 percent"}, {"125 per cent", "1.25 per cent"}},
      {R"(6.02 \times 10^{23})",
       {"6.02 x 10^23", "6.02x10^{23}", "6.02 X 10^23"},
       {"6.02 x 10^22", "6.02 x 10^-23", "6.02 x", "6.02 x 9^23"}},
      {"6x", {"6 x", "3x + 3x"}, {"6 x 10^1", "60"}},
  });
}

TEST(MathPhrases, WordsForSetsAndForNone) {
  ExpectRows({
      {R"(\emptyset)",
       {"{}", "empty set", "the empty set", R"(\text{empty set})", R"(\{\})"},
       {"0", R"(\{0\})", R"(\{\emptyset\})", "set", "{0}"}},
      {R"(\mathbb{R})",
       {"all real numbers", R"(\text{all real numbers})", "the set of all real numbers", "All reals",
        R"((-\infty, \infty))"},
       {"all real numbers except 0", "all positive real numbers", "all integers", "real"}},
      {R"(\text{no solution})",
       {"No solutions", "There is no solution.", "there are no solutions", "no solution exists"},
       {"no solution is 0", "one solution", "no real solution", "there is a solution", "0"}},
      {R"(\infty)", {"inf", "+inf", "infinity"}, {"-inf", "sup", "0"}},
      {R"(\text{circle})",
       {"a circle", "the circle", "Circle", "A circle."},
       {"a semicircle", "an ellipse", "no circle", "a sphere"}},
  });
}

TEST(MathPhrases, BinomialsAndVectors) {
  ExpectRows({
      {R"(\binom{10}{3})",
       {"C(10,3)", "C(10, 3)", "10C3", "^{10}C_3", R"({}^{10}C_{3})", "120"},
       {"C(10,4)", "10C4", "C(3,10)", "10C", "^{10}P_3", "720"}},
      {R"(\begin{pmatrix}1\\-2\\3\end{pmatrix})",
       {"(1,-2,3)", R"(\langle 1,-2,3\rangle)", R"(\begin{bmatrix}1\\-2\\3\end{bmatrix})"},
       {"(1,2,3)", "(3,-2,1)", "(1,-2)", "1, -2, 3", R"(\{1,-2,3\})", "(1,-2,3,0)"}},
      {R"((1,2))", {R"(\begin{pmatrix}1\\2\end{pmatrix})"}, {R"(\begin{pmatrix}2\\1\end{pmatrix})"}},
      {R"(\begin{pmatrix}1&2\\3&4\end{pmatrix})", {}, {"(1,2,3,4)", "(1,2)"}},
  });
}

TEST(MathPhrases, WhatABoxIsSaidNotToBe) {
  ExpectRows({
      {"5",
       {R"(The answer is not 4 but \boxed{5}.)", R"(\boxed{5} is correct.)", R"(No. \boxed{5})",
        R"(It cannot be 4. So \boxed{5})", R"(\boxed{5} is the answer)"},
       {R"(not \boxed{5})", R"(The answer is not $\boxed{5}$.)", R"(\boxed{5} is wrong)",
        R"(\boxed{5} is incorrect.)", R"($\boxed{5}$ is not the answer)", R"(It isn't \boxed{5})"}},
      {R"(\text{No})",
       {R"(The answer is no: \boxed{\text{No}})", R"(**No** \boxed{No})"},
       {R"(\boxed{Yes})"}},
      {R"(45^\circ)", {"45°", "45", "the angle is '45'"}, {"45'", "The angle is 45'"}},
  });
}

}  // namespace
}  // namespace temper::math
