// SPDX-License-Identifier: Apache-2.0
// Rule `math`: sets, lists, tuples, intervals, matrices and vectors as people write them.
#include "tests/rewards/math/rows.h"

namespace temper::math {
namespace {

TEST(MathCollections, SetsAndListsInAnyOrder) {
  ExpectRows({
      {R"(\{1, 2, 3\})",
       {R"(\{3,2,1\})", R"({1,2,3})", R"(1, 2, 3)", R"(\left\{1, 2, 3\right\})", R"(x \in \{1,2,3\})",
        R"(\lbrace 1,2,3 \rbrace)", R"(x=1,2,3)", R"(1, 2 and 3)", R"(\boxed{1}, \boxed{2}, \boxed{3})",
        R"(x=1, x=2, x=3)"},
       {R"(\{1,2\})", R"(\{1,2,4\})", R"(123)", R"(\{1,2,3,4\})", R"(6)"}},
      {R"(x = 2 \text{ or } x = -3)",
       {R"(-3, 2)", R"(\{2,-3\})", R"(x=2 or x=-3)", R"(x = -3, 2)", R"(x=2, x=-3)", R"($2$ and $-3$)",
        R"(x \in \{2, -3\})"},
       {R"(2)", R"(x=2)", R"(2, 3)", R"(-1)", R"(x=-2, 3)"}},
      {R"(x_1 = 1, x_2 = 4)", {R"(x_1=1, x_2=4)", R"(1, 4)", R"(x_2=4, x_1=1)"}, {R"(x_1=4, x_2=2)", R"(1)"}},
      {R"(\emptyset)",
       {R"(\varnothing)", R"(\{\})", R"(\{ \})", R"(∅)"},
       {R"(0)", R"(\{0\})", R"(\{\emptyset\})"}},
      {R"(\sqrt{2}, \sqrt{3})", {R"(\sqrt3, \sqrt2)", R"(√2 and √3)"}, {R"(\sqrt{6})", R"(2, 3)"}},
      {R"(\{x|x=2k\pi, k\in Z\})",
       {R"(\{x|x=2k\pi, k\in\mathbb{Z}\})", R"(\{x \mid x = 2k\pi, k \in \mathbf{Z}\})",
        R"(\{x|x=2n\pi, n\in\mathbb{Z}\})", R"(\{x : x = 2\pi k, k \in \mathbb Z\})",
        R"(\left\{x \middle| x=2k\pi, k\in Z\right\})"},
       {R"(\{x|x=k\pi, k\in\mathbb{Z}\})", R"(\{x|x=2k\pi, k\in\mathbb{N}\})", R"(\{x|x=2k\pi\})"}},
      {R"(\{x \mid x > 2\})",
       {R"(\{x : x > 2\})", R"(\{x | 2 < x\})", R"(x > 2)", R"((2, \infty))"},
       {R"(\{x \mid x \ge 2\})", R"(x < 2)", R"(2)"}},
  });
}

TEST(MathCollections, TuplesKeepTheirOrder) {
  ExpectRows({
      {R"((1, 2))",
       {R"((1,2))", R"(\left(1, 2\right))", R"((x, y) = (1, 2))", R"(\boxed{(1,2)})", R"(( 1 , 2 ))",
        R"(（1，2）)", R"((1.0, 2.0))", R"(\big(1,2\big))"},
       {R"((2,1))", R"((1,3))", R"(12)", R"((1,2,0))", R"(3)", R"([1,2))"}},
      {R"((3, \frac{\pi}{2}))",
       {R"((3, \pi/2))", R"(\left( 3, \frac{\pi}{2} \right))", R"((3,0.5\pi))"},
       {R"((\frac{\pi}{2}, 3))", R"((3, \pi))"}},
      {R"((1,2), (3,4))",
       {R"((3,4), (1,2))", R"((1,2) and (3,4))", R"(\{(1,2),(3,4)\})"},
       {R"((1,2))", R"((2,1),(4,3))", R"((1,2,3,4))"}},
      {R"((1,000, 2))", {R"((1000, 2))"}, {R"((1000, 3))", R"((1, 0, 2))", R"((2, 1000))"}},
      {R"((-1, 0))", {R"((-1,0))", R"(x=-1, y=0)"}, {R"((0,-1))", R"((1,0))"}},
      {R"(\left(\frac12, -3\right))", {R"((0.5,-3))", R"((1/2, -3))"}, {R"((0.5,3))", R"((-3, 0.5))"}},
  });
}

TEST(MathCollections, IntervalsAndInequalities) {
  ExpectRows({
      {R"([2, 5))",
       {R"([2,5))", R"(\left[2, 5\right))", R"(x \in [2,5))", R"(\boxed{[2,5)})", R"([2,5[)"},
       {R"((2,5))", R"([2,5])", R"((2,5])", R"([5,2))", R"([2,6))"}},
      {R"((-\infty, 3])",
       {R"((-\infty,3])", R"(\left(-\infty, 3\right])", R"((-∞, 3])", R"(]-\infty, 3])", R"((-oo, 3])"},
       {R"((-\infty,3))", R"([3,\infty))", R"((\infty,3])", R"([-3, \infty))"}},
      {R"((-\infty, 1) \cup (2, \infty))",
       {R"((2,\infty)\cup(-\infty,1))", R"((-\infty,1)\cup(2,+\infty))", R"((-∞,1)∪(2,∞))",
        R"(x \in (-\infty, 1) \cup (2, \infty))"},
       {R"((-\infty,1]\cup(2,\infty))", R"((1,2))", R"((-\infty,2)\cup(1,\infty))"}},
      {R"(x > 3)",
       {R"(3 < x)", R"((3, \infty))", R"(x>3)", R"(x \gt 3)", R"(x>3.0)", R"(2x > 6)"},
       {R"(x \ge 3)", R"(x < 3)", R"(3)", R"([3,\infty))", R"(x > 2)"}},
      {R"(-1 \le x \le 4)",
       {R"(4 \ge x \ge -1)", R"([-1,4])", R"(x \in [-1, 4])", R"(-1 \leqslant x \leqslant 4)",
        R"(-1 <= x <= 4)", R"(−1 ≤ x ≤ 4)"},
       {R"((-1,4))", R"(-1 < x < 4)", R"(-4 \le x \le 1)", R"(x \le 4)"}},
      {R"(x < -2 \text{ or } x > 2)",
       {R"(x>2 or x<-2)", R"((-\infty,-2)\cup(2,\infty))", R"(x \in (-\infty, -2) \cup (2, \infty))"},
       {R"(-2<x<2)", R"(x>2)", R"(x \le -2 or x \ge 2)"}},
      {R"(\mathbb{R})",
       {R"((-\infty, \infty))", R"(\mathbb R)", R"(x \in \mathbb{R})", R"(ℝ)"},
       {R"([0,\infty))", R"(\mathbb{Q})", R"(\emptyset)"}},
      {R"(\mathbb{R} \setminus \{1\})",
       {R"((-\infty,1)\cup(1,\infty))", R"(\mathbb{R} - \{1\})"},
       {R"(\mathbb{R})", R"(\mathbb{R}\setminus\{2\})"}},
  });
}

TEST(MathCollections, MatricesAndVectors) {
  ExpectRows({
      {R"(2\begin{pmatrix}1\\2\end{pmatrix})",
       {R"(\boxed{2\begin{pmatrix}1\\2\end{pmatrix}})", R"(\begin{pmatrix}2\\4\end{pmatrix})",
        R"(\begin{bmatrix}2\\4\end{bmatrix})", R"($2\begin{pmatrix}1\\2\end{pmatrix}$)"},
       {R"(\begin{pmatrix}1\\2\end{pmatrix})", R"(\begin{pmatrix}2\\2\end{pmatrix})", R"(2)",
        R"(\begin{pmatrix}2 & 4\end{pmatrix})"}},
      {R"(\frac12\begin{pmatrix}1&2\\3&4\end{pmatrix})",
       {R"(\boxed{\begin{pmatrix}1/2&1\\3/2&2\end{pmatrix}})", R"(\begin{bmatrix}0.5&1\\1.5&2\end{bmatrix})",
        R"(\frac{1}{2}\begin{bmatrix}1&2\\3&4\end{bmatrix})"},
       {R"(\begin{pmatrix}1&2\\3&4\end{pmatrix})", R"(\begin{pmatrix}1/2&2\\3&4\end{pmatrix})", R"(\frac12)",
        R"(\frac12\begin{pmatrix}1&3\\2&4\end{pmatrix})"}},
      {R"(c_1\begin{bmatrix}1\\2\end{bmatrix}e^{t})",
       {R"(\boxed{c_1\begin{bmatrix}1\\2\end{bmatrix}e^{t}})", R"(c_1 e^t \begin{pmatrix}1\\2\end{pmatrix})",
        R"(\begin{pmatrix}c_1 e^t\\2c_1 e^t\end{pmatrix})"},
       {R"(c_1\begin{bmatrix}2\\1\end{bmatrix}e^{t})", R"(c_1\begin{bmatrix}1\\2\end{bmatrix}e^{-t})",
        R"(c_1e^t)", R"(\begin{bmatrix}1\\2\end{bmatrix})"}},
      {R"(c_1\begin{bmatrix}1\\2\end{bmatrix}e^{t} + c_2\begin{bmatrix}1\\-1\end{bmatrix}e^{-2t})",
       {R"(c_2\begin{bmatrix}1\\-1\end{bmatrix}e^{-2t} + c_1\begin{bmatrix}1\\2\end{bmatrix}e^{t})",
        R"(\mathbf{x}(t) = c_1 e^t\begin{bmatrix}1\\2\end{bmatrix} + c_2 e^{-2t}\begin{bmatrix}1\\-1\end{bmatrix})",
        R"(c_1e^{t}\begin{bmatrix}1\\2\end{bmatrix} - c_2e^{-2t}\begin{bmatrix}-1\\1\end{bmatrix})"},
       {R"(c_1\begin{bmatrix}1\\2\end{bmatrix}e^{t} + c_2\begin{bmatrix}1\\1\end{bmatrix}e^{-2t})",
        R"(c_1\begin{bmatrix}1\\2\end{bmatrix}e^{t})"}},
      {R"(\begin{pmatrix} 1 & 0 \\ 0 & 1 \end{pmatrix})",
       {R"(\begin{bmatrix}1&0\\0&1\end{bmatrix})", R"(\left(\begin{array}{cc}1&0\\0&1\end{array}\right))",
        R"(\left[\begin{matrix}1&0\\0&1\end{matrix}\right])", R"(A = \begin{pmatrix}1&0\\0&1\end{pmatrix})",
        R"(\begin{pmatrix}1&0\\0&1\\\end{pmatrix})", R"(\begin{pmatrix} 1 & 0 \\[2pt] 0 & 1 \end{pmatrix})"},
       {R"(\begin{pmatrix}0&1\\1&0\end{pmatrix})", R"(1)", R"(\begin{vmatrix}1&0\\0&1\end{vmatrix})"}},
      {R"(\begin{pmatrix}\sin t\\\cos t\end{pmatrix})",
       {R"(\begin{bmatrix}\sin(t)\\ \cos(t)\end{bmatrix})",
        R"(\begin{pmatrix}\sin{t}\\\cos{t}\end{pmatrix})"},
       {R"(\begin{pmatrix}\cos t\\\sin t\end{pmatrix})", R"(\begin{pmatrix}\sin t\\\sin t\end{pmatrix})"}},
      {R"(e^{2t}\begin{pmatrix}\cos t\\-\sin t\end{pmatrix})",
       {R"(\begin{pmatrix}e^{2t}\cos t\\-e^{2t}\sin t\end{pmatrix})"},
       {R"(e^{2t}\begin{pmatrix}\cos t\\ \sin t\end{pmatrix})",
        R"(\begin{pmatrix}\cos t\\-\sin t\end{pmatrix})"}},
      {R"(\begin{pmatrix}1\\1\end{pmatrix} + t\begin{pmatrix}2\\3\end{pmatrix})",
       {R"(\begin{pmatrix}1+2t\\1+3t\end{pmatrix})",
        R"(t\begin{pmatrix}2\\3\end{pmatrix}+\begin{pmatrix}1\\1\end{pmatrix})"},
       {R"(\begin{pmatrix}1\\1\end{pmatrix} + t\begin{pmatrix}3\\2\end{pmatrix})",
        R"(\begin{pmatrix}1\\1\end{pmatrix})"}},
      {R"(\langle 1, 2, 3\rangle)",
       {R"(\langle 1,2,3 \rangle)", R"((1,2,3))", R"(\left\langle 1, 2, 3 \right\rangle)"},
       {R"(\langle 3,2,1\rangle)", R"(\langle 1,2\rangle)"}},
      {R"(\langle 2t, 3t^2 \rangle)",
       {R"((2t, 3t^2))", R"(\langle t+t, 3t^2\rangle)"},
       {R"(\langle 3t^2, 2t\rangle)", R"(\langle 2t, 3t\rangle)"}},
      {R"(2\mathbf{i} - 3\mathbf{j})",
       {R"(2\mathbf{i}-3\mathbf{j})", R"(2\vec{i} - 3\vec{j})", R"(2\hat{i}-3\hat{j})",
        R"(-3\mathbf{j}+2\mathbf{i})"},
       {R"(2\mathbf{i}+3\mathbf{j})", R"(3\mathbf{i}-2\mathbf{j})"}},
  });
}

}  // namespace
}  // namespace temper::math
