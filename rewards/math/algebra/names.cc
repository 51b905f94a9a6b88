// SPDX-License-Identifier: Apache-2.0
#include "rewards/math/algebra/names.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/strings/ascii.h"
#include "core/one_of.h"

namespace temper::math {
namespace {

struct NamedFunction {
  std::string_view name;
  AcbFunction function;
};

void Exp(acb_t result, const acb_t x, slong precision) { acb_exp(result, x, precision); }

// Without a cut: their value at a point tells of all others.
constexpr NamedFunction kSmooth[] = {
    {"exp", Exp},       {"sin", acb_sin},   {"cos", acb_cos},   {"tan", acb_tan},   {"cot", acb_cot},
    {"sec", acb_sec},   {"csc", acb_csc},   {"sinh", acb_sinh}, {"cosh", acb_cosh}, {"tanh", acb_tanh},
    {"coth", acb_coth}, {"sech", acb_sech}, {"csch", acb_csch},
};

void Reciprocal(AcbFunction function, acb_t result, const acb_t x, slong precision) {
  acb_inv(result, x, precision);
  function(result, result, precision);
}
void Arcsec(acb_t result, const acb_t x, slong precision) { Reciprocal(acb_acos, result, x, precision); }
void Arccsc(acb_t result, const acb_t x, slong precision) { Reciprocal(acb_asin, result, x, precision); }
void Arccot(acb_t result, const acb_t x, slong precision) { Reciprocal(acb_atan, result, x, precision); }
void Arcsech(acb_t result, const acb_t x, slong precision) { Reciprocal(acb_acosh, result, x, precision); }
void Arccsch(acb_t result, const acb_t x, slong precision) { Reciprocal(acb_asinh, result, x, precision); }
void Arccoth(acb_t result, const acb_t x, slong precision) { Reciprocal(acb_atanh, result, x, precision); }

constexpr NamedFunction kCut[] = {
    {"arcsin", acb_asin}, {"arccos", acb_acos},   {"arctan", acb_atan},   {"arcsec", Arcsec},
    {"arccsc", Arccsc},   {"arcsinh", acb_asinh}, {"arccosh", acb_acosh}, {"arctanh", acb_atanh},
    {"arccot", Arccot},   {"arcsech", Arcsech},   {"arccsch", Arccsch},   {"arccoth", Arccoth},
};

// Of real numbers, or with a value for each argument that says nothing of the next.
constexpr std::string_view kStepwise[] = {"floor", "ceil", "sign", "re",  "im",  "arg",     "conjugate",
                                          "max",   "min",  "gcd",  "lcm", "mod", "binomial"};
// Not of numbers alone.
constexpr std::string_view kValueless[] = {
    "det",     "trace",    "rank",  "dim",        "deg",         "ker",       "norm",  "transpose", "sum",
    "product", "integral", "limit", "derivative", "set_builder", "piecewise", "given", "ratio",     "base",
};

template <size_t n>
AcbFunction FindFunction(const NamedFunction (&table)[n], std::string_view name) {
  for (const NamedFunction& row : table) {
    if (row.name == name) return row.function;
  }
  return nullptr;
}

// _n-1-k and _n-k-1 are the same: terms in one order.
std::string SubscriptKey(std::string_view subscript) {
  if (subscript.find_first_of("+-") == subscript.npos) return std::string(subscript);
  std::vector<std::string> terms = {"+"};
  for (const char c : subscript.substr(1)) {
    if (c == '+' || c == '-') {
      if (terms.back().size() > 1) terms.emplace_back();
      terms.back() = c;
    } else if (absl::ascii_isalnum(c) || c == '#') {
      terms.back() += c;
    } else {
      return std::string(subscript);
    }
  }
  std::ranges::sort(terms);
  std::string key = "_";
  for (const std::string& term : terms) key += term;
  return key;
}

}  // namespace

AcbFunction SmoothFunction(std::string_view name) { return FindFunction(kSmooth, name); }
AcbFunction CutFunction(std::string_view name) { return FindFunction(kCut, name); }
bool IsStepwise(std::string_view name) { return IsOneOf(name, kStepwise); }
bool IsValueless(std::string_view name) { return IsOneOf(name, kValueless); }

slong LimitBits(std::string_view name, const Ball& argument) {
  const bool trigonometric = name == "tan" || name == "cot";
  if (!trigonometric && name != "tanh" && name != "coth") return 0;
  const arb_srcptr part = trigonometric ? acb_imagref(argument.get()) : acb_realref(argument.get());
  return static_cast<slong>(3 * std::abs(arf_get_d(arb_midref(part), ARF_RND_UP)));
}

std::string SymbolKey(std::string_view name) {
  constexpr std::string_view kGreek[] = {
      "alpha", "beta",    "gamma",  "delta",  "epsilon", "varepsilon", "zeta",  "eta", "theta",  "vartheta",
      "iota",  "kappa",   "lambda", "mu",     "nu",      "xi",         "pi",    "rho", "varrho", "sigma",
      "tau",   "upsilon", "phi",    "varphi", "chi",     "psi",        "omega", "ell", "hbar",
  };
  const std::string_view stem = name.substr(0, name.find('_'));
  std::string lower(stem);
  for (const std::string_view variant : {"varepsilon", "vartheta", "varrho", "varphi"}) {
    if (stem == variant) return std::string(stem.substr(3)) + SubscriptKey(name.substr(stem.size()));
  }
  for (char& c : lower) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  const bool word = stem.size() > 1 && !IsOneOf(lower, kGreek);
  return (word ? lower : std::string(stem)) + SubscriptKey(name.substr(stem.size()));
}

bool IsUnknownFunction(const Expression& expression) {
  constexpr std::string_view kOthers[] = {"log", "abs", "factorial", "gamma", "double_factorial", "erf"};
  const std::string& name = expression.name;
  return expression.kind == Kind::kFunction && SmoothFunction(name) == nullptr &&
         CutFunction(name) == nullptr && !IsStepwise(name) && !IsValueless(name) && !IsOneOf(name, kOthers);
}

bool HasSymbol(const Expression& expression) {
  if (expression.kind == Kind::kSymbol || expression.kind == Kind::kText) return true;
  return std::ranges::any_of(expression.args, HasSymbol);
}

}  // namespace temper::math
