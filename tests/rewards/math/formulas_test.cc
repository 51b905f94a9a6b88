// SPDX-License-Identifier: Apache-2.0
// Rule `math`: formulas, equations and large values as people write them.
#include "tests/rewards/math/rows.h"

namespace temper::math {
namespace {

TEST(MathFormulas, PolynomialsAndQuotients) {
  ExpectRows({
      {R"(x^2 + 2x + 1)",
       {R"((x+1)^2)", R"(x^2+2x+1)", R"(1 + 2x + x^2)", R"(x^{2}+2\cdot x+1)", R"(x**2 + 2*x + 1)",
        R"(x² + 2x + 1)", R"((x+1)(x+1))", R"(f(x) = x^2+2x+1)", R"(y = (x+1)^2)"},
       {R"(x^2-2x+1)", R"((x-1)^2)", R"(x^2+2x)", R"(y^2+2y+1)", R"(x^2+2x+1 = 0)"}},
      {R"(\frac{x+1}{x-1})",
       {R"((x+1)/(x-1))", R"(\dfrac{x+1}{x-1})", R"(1 + \frac{2}{x-1})", R"(\frac{-x-1}{1-x})",
        R"(\frac{x+1}{x-1}, x \ne 1)"},
       {R"(\frac{x-1}{x+1})", R"(x+1/x-1)", R"(\frac{x+1}{1-x})"}},
      {R"((x-2)(x+3))",
       {R"(x^2+x-6)", R"((x+3)(x-2))", R"((x - 2) \cdot (x + 3))", R"(\left(x-2\right)\left(x+3\right))"},
       {R"((x+2)(x-3))", R"(x^2-x-6)"}},
      {R"(3a^2b)",
       {R"(3ba^2)", R"(3 a^{2} b)", R"(3\cdot a^2 \cdot b)", R"(b \cdot 3a^2)"},
       {R"(3ab^2)", R"(3a^2)", R"(9a^2b)"}},
      {R"(\frac{bq}{2\pi\epsilon_0})",
       {R"(\frac{qb}{2\pi\epsilon_0})", R"(\frac{q b}{2 \pi \varepsilon_0})"},
       {R"(\frac{bq}{4\pi\epsilon_0})", R"(\frac{b}{2\pi\epsilon_0})"}},
  });
}

TEST(MathFormulas, RootsLogarithmsAndTrigonometry) {
  ExpectRows({
      {R"(2\sqrt{3})",
       {R"(\sqrt{12})", R"(2\sqrt3)", R"(2*sqrt(3))", R"(2√3)", R"(2\cdot\sqrt{3})", R"(2 \cdot 3^{1/2})",
        R"(\frac{6}{\sqrt3})", R"(2\sqrt{3}\text{ cm})", R"(\sqrt{3}\cdot 2)"},
       {R"(3\sqrt2)", R"(\sqrt6)", R"(2+\sqrt3)", R"(2\sqrt[3]{3})", R"(3.46)", R"(23)"}},
      {R"(\sqrt[3]{2})",
       {R"(2^{1/3})", R"(2^{\frac13})", R"(∛2)", R"(\sqrt[3]2)"},
       {R"(3\sqrt2)", R"(\sqrt{2})", R"(2/3)"}},
      {R"(\frac{\sqrt{2}}{2})",
       {R"(\frac{1}{\sqrt2})", R"(\sqrt{2}/2)", R"(\sqrt{\frac12})", R"(\frac{\sqrt2}2)", R"(\sin 45^\circ)",
        R"(\cos\frac\pi4)"},
       {R"(\frac{\sqrt3}{2})", R"(\sqrt2)", R"(\sin 45)"}},
      {R"(\ln 2)",
       {R"(\ln(2))", R"(\log_e 2)", R"(ln 2)", R"(\ln{2})", R"(\frac{\ln 4}{2})", R"(-\ln\frac12)"},
       {R"(\log_{10} 2)", R"(\ln 3)", R"(2)", R"(0.69)"}},
      {R"(\log_2 5)",
       {R"(\log_{2}5)", R"(\frac{\ln 5}{\ln 2})", R"(\log_2(5))", R"(\frac{\log 5}{\log 2})"},
       {R"(\log_5 2)", R"(\log 5)", R"(\log 25)"}},
      {R"(\frac{\pi}{6})",
       {R"(\pi/6)", R"(\frac16\pi)", R"(\frac{1}{6}\pi)", R"(\arcsin\frac12)", R"(\sin^{-1}(1/2))", R"(π/6)"},
       {R"(30)", R"(\frac{\pi}{3})", R"(\frac{6}{\pi})", R"(0.52)"}},
      {R"(\sin^2 x)",
       {R"((\sin x)^2)", R"(\sin^2(x))", R"(1-\cos^2 x)", R"(\frac{1-\cos 2x}{2})", R"(sin^2(x))"},
       {R"(\sin x^2)", R"(\cos^2 x)", R"(\sin 2x)"}},
      {R"(e^{2x})",
       {R"((e^x)^2)", R"(\exp(2x))", R"(e^{x}\cdot e^{x})", R"(\mathrm{e}^{2x})"},
       {R"(e^{x^2})", R"(2e^x)", R"(e^2x)"}},
      {R"(|x-3|)",
       {R"(\left|x-3\right|)", R"(\lvert x-3 \rvert)", R"(|3-x|)", R"(\vert x-3\vert)"},
       {R"(x-3)", R"(|x+3|)"}},
      {R"(3+4i)",
       {R"(4i+3)", R"(3 + 4\mathrm{i})", R"(3+4 i)", R"(3 + i4)"},
       {R"(3-4i)", R"(4+3i)", R"(5)", R"(7i)"}},
      {R"(e^{i\pi/3})",
       {R"(\frac12 + \frac{\sqrt3}{2}i)", R"(\cos\frac\pi3+i\sin\frac\pi3)",
        R"(\operatorname{cis}\frac{\pi}{3})"},
       {R"(e^{-i\pi/3})", R"(\frac12 - \frac{\sqrt3}{2}i)"}},
      {R"(\binom{10}{3})",
       {R"(120)", R"(\frac{10!}{3!7!})", R"({10 \choose 3})", R"(\dbinom{10}{3})"},
       {R"(\binom{10}{4})", R"(720)", R"(\frac{10}{3})"}},
      {R"(x^{1/2})",
       {R"(\sqrt{x})", R"(\sqrt x)", R"(x^{0.5})", R"(x^{\frac12})"},
       {R"(x/2)", R"(x^2)", R"(\frac{1}{x^2})"}},
  });
}

TEST(MathFormulas, ALeftSideMayBeLeftOut) {
  ExpectRows({
      {R"(P(X>1)=0.5)",
       {R"(\boxed{0.5})", R"(P(X>1)=0.5)", R"(P(X > 1) = \frac12)", R"(1/2)"},
       {R"(1)", R"(0.05)", R"(P(X<1)=0.5)", R"(P(X>1)=0.6)", R"(P(X>2)=0.5)", R"(X>1)"}},
      {R"(E(x, +0, z) = \frac{q b}{2\pi\epsilon_0})",
       {R"(\boxed{\frac{bq}{2\pi\epsilon_0}})", R"(E(x,+0,z) = \frac{bq}{2\pi\epsilon_0})"},
       {R"(\frac{q b}{4\pi\epsilon_0})", R"(\frac{q}{2\pi\epsilon_0})"}},
      {R"(f(2) = 5)", {R"(5)", R"(f(2)=5)"}, {R"(2)", R"(f(5)=2)", R"(f(3)=5)"}},
      {R"(\frac{dy}{dx} = 2x)", {R"(2x)", R"(\frac{dy}{dx}=2x)"}, {R"(x^2)", R"(2)"}},
      {R"(f'(x) = 3x^2)", {R"(3x^2)", R"(f'(x)=3x^2)"}, {R"(x^3)", R"(3x)"}},
      {R"(\lim_{x \to 0} f(x) = 4)", {R"(4)"}, {R"(0)", R"(5)"}},
      {R"(\angle ABC = 50^\circ)", {R"(50)", R"(50^\circ)", R"(50 degrees)"}, {R"(40^\circ)", R"(5)"}},
      {R"(AB = 5)", {R"(5)", R"(AB=5)"}, {R"(6)", R"(AB)"}},
      {R"(a_{10} = 55)", {R"(55)", R"(a_{10}=55)"}, {R"(10)", R"(a_{55} = 10)"}},
      {R"(P(A \cap B) = 0.2)", {R"(0.2)", R"(\frac15)"}, {R"(0.8)", R"(2)"}},
      {R"(P(A|B) = \frac{1}{3})", {R"(\frac13)", R"(1/3)"}, {R"(3)", R"(\frac23)"}},
      {R"(3 + 4 = 7)", {R"(7)", R"(3+4=7)"}, {R"(12)", R"(3)", R"(4)"}},
      {R"(x = 5)", {R"(5)", R"(x=5)", R"(5 = x)", R"(x = 5.0)"}, {R"(x=6)", R"(x)", R"(-5)"}},
      {R"(y = 2x + 1)",
       {R"(2x+1)", R"(y=2x+1)", R"(y - 2x = 1)", R"(2x - y + 1 = 0)"},
       {R"(y = 2x-1)", R"(2x)", R"(x = 2y+1)"}},
      {R"(2x + 3y = 6)",
       {R"(4x+6y=12)", R"(3y = 6-2x)", R"(2x+3y-6=0)"},
       {R"(2x+3y=5)", R"(6)", R"(3x+2y=6)"}},
      {R"(x^2 + y^2 = 25)", {R"(y^2+x^2=25)", R"(x^2+y^2-25=0)"}, {R"(25)", R"(x^2+y^2=5)", R"(5)"}},
  });
}

TEST(MathFormulas, ValuesTooLargeToComputeEqualThemselves) {
  ExpectRows({
      {R"($\frac{1}{2006!}$)",
       {R"($\boxed{\frac{1}{2006!}}$)", R"(1/2006!)", R"(\frac1{2006!})", R"((2006!)^{-1})"},
       {R"(\frac{1}{2005!})", R"(2006!)", R"(0)", R"(\frac{2}{2006!})"}},
      {R"(2024!)",
       {R"(\boxed{2024!})", R"($2024!$)", R"((2024)!)"},
       {R"(2023!)", R"(2024)", R"(\boxed{2025!})", R"(2024!!)"}},
      {R"(e^{1000x})",
       {R"(\boxed{e^{1000x}})", R"(e^{1000 x})", R"(e^{x \cdot 1000})", R"(\exp(1000x))"},
       {R"(e^{100x})", R"(e^{1001x})", R"(1000e^x)", R"(e^{-1000x})"}},
      {R"(|2y - y - y|)", {R"(|2y-y-y|)"}, {R"(y)", R"(1)"}},
      {R"(\operatorname{lcm}(10^{24}, 12) \cdot 2024!)",
       {R"(\operatorname{lcm}(10^{24},12)\cdot 2024!)"},
       {R"(2024!)"}},
      {R"(\ln(2024!))", {R"(\ln(2024!))"}, {R"(\ln(2023!))", R"(2024)"}},
      {R"(2 \cdot 2024!)",
       {R"(2024! \cdot 2)", R"(2(2024!))", R"(2\times 2024!)"},
       {R"(2024!)", R"(3 \cdot 2024!)"}},
      {R"(\frac{2024!}{3})",
       {R"(\frac{2024!}{3})", R"(2024!/3)", R"(\frac13 \cdot 2024!)"},
       {R"(\frac{2024!}{2})"}},
      {R"(3^{100000})",
       {R"(3^{100000})", R"(3^{100{,}000})", R"(3^{10^5})"},
       {R"(3^{100001})", R"(3^{10000})"}},
      {R"(10^{10^{10}})", {R"(10^{10^{10}})", R"(10^{10000000000})"}, {R"(10^{10^{9}})", R"(10^{100})"}},
      {R"(2^{2024!} - 1)", {R"(2^{2024!}-1)", R"(-1+2^{2024!})"}, {R"(2^{2024!}+1)", R"(2^{2024!})"}},
      {R"(e^{-5000t}\sin(3000t))",
       {R"(e^{-5000t}\sin(3000t))", R"(\sin(3000t)e^{-5000t})", R"(e^{-5000 t} \sin 3000t)"},
       {R"(e^{-5000t}\cos(3000t))", R"(e^{-500t}\sin(3000t))"}},
      {R"(n!)", {R"(n!)", R"(n(n-1)!)"}, {R"((n+1)!)", R"(n)"}},
      {R"(\sin(880\pi t))",
       {R"(\sin(880 \pi t))", R"(S(t)=\sin (880 \pi t))", R"(\sin(880t\pi))"},
       {R"(\sin(440\pi t))", R"(\cos(880\pi t))"}},
      {R"(\frac{1}{n!})", {R"(\frac{1}{n!})", R"(1/n!)", R"((n!)^{-1})"}, {R"(n!)", R"(\frac{1}{(n-1)!})"}},
  });
}

TEST(MathFormulas, SumsAndIndicesInAnotherOrder) {
  ExpectRows({
      {R"($F_n = \sum_{k=0}^{n-1} F_k F_{n-k-1}$)",
       {R"(\boxed{F_n = \sum_{k=0}^{n-1} F_k F_{n-1-k}})", R"(F_n = \sum_{k=0}^{n-1} F_{n-k-1} F_k)",
        R"(F_n=\sum_{i=0}^{n-1} F_i F_{n-1-i})", R"(\sum_{k=0}^{n-1} F_k F_{n-k-1})"},
       {R"(F_n = \sum_{k=0}^{n-1} F_k F_{n-k+1})", R"(F_n = \sum_{k=0}^{n} F_k F_{n-k-1})",
        R"(F_n = \sum_{k=0}^{n-1} F_k F_{k-n-1})"}},
      {R"(a_{n+1} = 2a_n)",
       {R"(a_{n+1}=2a_n)", R"(a_{1+n} = 2 a_{n})"},
       {R"(a_{n-1} = 2a_n)", R"(a_n = 2a_{n+1})"}},
      {R"(\sum_{k=1}^{n} k^2)",
       {R"(\sum_{i=1}^{n} i^2)", R"(\sum_{k=1}^n k^{2})"},
       {R"(\sum_{k=1}^{n} k)", R"(\sum_{k=0}^{n-1} k^2)"}},
      {R"(\frac{n(n+1)}{2})",
       {R"(\frac{n^2+n}{2})", R"(n(n+1)/2)", R"(\binom{n+1}{2})", R"(\frac12 n(n+1))"},
       {R"(\frac{n(n-1)}{2})", R"(n(n+1))"}},
      {R"(x = \frac{\pi}{2} + 2k\pi, k \in \mathbb{Z})",
       {R"(x=\frac{\pi}{2}+2\pi k, k\in\mathbb{Z})", R"(x = 2k\pi + \frac{\pi}{2}, k \in Z)",
        R"(x = \frac{\pi}{2} + 2k\pi \ (k \in \mathbb{Z}))"},
       {R"(x=\frac{\pi}{2}+k\pi, k\in\mathbb{Z})", R"(x=\frac{\pi}{2})"}},
  });
}

TEST(MathFormulas, EscapesThatAProgramAteAreReadAsMeant) {
  ExpectRows({
      {"\frac{1}{2}", {R"(\frac12)", "\frac{1}{2}", "\\boxed{\frac{1}{2}}"}, {R"(\frac13)", R"(12)"}},
      {R"(2 \times 3)", {"2 \times 3", R"(6)"}, {R"(23)", R"(5)"}},
      {R"(\frac{7}{4})",
       {"\boxed{\frac{7}{4}}", "\\boxed{\\dfrac{7}{4}}", R"(\\frac{7}{4})"},
       {"\boxed{\frac{4}{7}}"}},
  });
}

}  // namespace
}  // namespace temper::math
