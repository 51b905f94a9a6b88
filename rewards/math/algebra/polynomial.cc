// SPDX-License-Identifier: Apache-2.0
#include <flint/fmpq_mpoly.h>

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "rewards/math/algebra/algebra.h"
#include "rewards/math/algebra/ball.h"
#include "rewards/math/algebra/exact.h"
#include "rewards/math/algebra/names.h"
#include "rewards/math/algebra/proof.h"

namespace temper::math {
namespace {

constexpr size_t kMostSymbols = 8;
constexpr slong kMostTerms = 1000;
constexpr slong kMostProducts = 20'000;   // of terms, in one multiplication
constexpr slong kMostRingSteps = 50'000;  // 5 ms in all
constexpr slong kMostDegree = 1000;
constexpr slong kMostCoefficientBits = 4000;

class Ring {
 public:
  explicit Ring(std::vector<std::string> symbols) : work(kMostRingSteps), symbols_(std::move(symbols)) {
    fmpq_mpoly_ctx_init(context_, std::max<slong>(1, std::ssize(symbols_)), ORD_DEGREVLEX);
  }
  ~Ring() { fmpq_mpoly_ctx_clear(context_); }
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  fmpq_mpoly_ctx_struct* context() { return context_; }
  WorkBudget work;

  slong Index(const std::string& symbol) const {
    return std::ranges::lower_bound(symbols_, symbol) - symbols_.begin();
  }

 private:
  std::vector<std::string> symbols_;  // sorted
  fmpq_mpoly_ctx_t context_;
};

class Polynomial {
 public:
  explicit Polynomial(Ring* ring) : ring_(ring) { fmpq_mpoly_init(value_, context()); }
  Polynomial(const Polynomial& other) : Polynomial(other.ring_) {
    fmpq_mpoly_set(value_, other.value_, context());
  }
  Polynomial(Polynomial&& other) noexcept : Polynomial(other.ring_) {
    fmpq_mpoly_swap(value_, other.value_, context());
  }
  Polynomial& operator=(Polynomial other) noexcept {
    fmpq_mpoly_swap(value_, other.value_, context());
    return *this;
  }
  ~Polynomial() { fmpq_mpoly_clear(value_, context()); }

  void Set(const Rational& value) { fmpq_mpoly_set_fmpq(value_, value.get(), context()); }
  void SetSymbol(slong index) { fmpq_mpoly_gen(value_, index, context()); }
  bool IsZero() const { return fmpq_mpoly_is_zero(value_, context()) != 0; }
  bool IsSmall() const {
    return fmpq_mpoly_length(value_, context()) <= kMostTerms &&
           fmpq_mpoly_degrees_fit_si(value_, context()) != 0 &&
           fmpq_mpoly_total_degree_si(value_, context()) <= kMostDegree &&
           std::abs(fmpz_mpoly_max_bits(value_->zpoly)) <= kMostCoefficientBits;
  }

  friend bool operator==(const Polynomial& a, const Polynomial& b) {
    return fmpq_mpoly_equal(a.value_, b.value_, a.context()) != 0;
  }
  friend Polynomial operator+(const Polynomial& a, const Polynomial& b) {
    Polynomial sum(a.ring_);
    fmpq_mpoly_add(sum.value_, a.value_, b.value_, a.context());
    return sum;
  }
  // None: too large.
  friend std::optional<Polynomial> Multiply(const Polynomial& a, const Polynomial& b) {
    const slong products =
        fmpq_mpoly_length(a.value_, a.context()) * fmpq_mpoly_length(b.value_, a.context());
    if (!a.IsSmall() || !b.IsSmall() || products > kMostProducts) return std::nullopt;
    const slong bits =
        std::abs(fmpz_mpoly_max_bits(a.value_->zpoly)) + std::abs(fmpz_mpoly_max_bits(b.value_->zpoly));
    if (!a.ring_->work.Spend(4 + products * (1 + bits / 256))) return std::nullopt;
    Polynomial product(a.ring_);
    fmpq_mpoly_mul(product.value_, a.value_, b.value_, a.context());
    if (!product.IsSmall()) return std::nullopt;
    return product;
  }

 private:
  fmpq_mpoly_ctx_struct* context() const { return ring_->context(); }

  Ring* ring_;
  fmpq_mpoly_t value_;
};

struct PolynomialQuotient {
  Polynomial over, under;
};

std::optional<PolynomialQuotient> Multiply(const PolynomialQuotient& a, const PolynomialQuotient& b) {
  auto over = Multiply(a.over, b.over);
  auto under = Multiply(a.under, b.under);
  if (!over || !under) return std::nullopt;
  return PolynomialQuotient{*std::move(over), *std::move(under)};
}

std::optional<PolynomialQuotient> Add(const PolynomialQuotient& a, const PolynomialQuotient& b) {
  if (a.under == b.under) return PolynomialQuotient{a.over + b.over, a.under};
  auto left = Multiply(a.over, b.under);
  auto right = Multiply(b.over, a.under);
  auto under = Multiply(a.under, b.under);
  if (!left || !right || !under) return std::nullopt;
  return PolynomialQuotient{*left + *right, *std::move(under)};
}

PolynomialQuotient Constant(const Rational& value, Ring* ring) {
  PolynomialQuotient constant{Polynomial(ring), Polynomial(ring)};
  constant.over.Set(value);
  constant.under.Set(1);
  return constant;
}

std::optional<PolynomialQuotient> Power(PolynomialQuotient base, slong exponent, Ring* ring) {
  if (exponent < 0) {
    std::swap(base.over, base.under);
    exponent = -exponent;
  }
  if (base.under.IsZero() || (exponent == 0 && base.over.IsZero())) return std::nullopt;
  std::optional<PolynomialQuotient> power = Constant(1, ring);
  for (; exponent > 0 && power; --exponent) power = Multiply(*power, base);
  return power;
}

std::optional<PolynomialQuotient> Read(const Expression& expression, Ring* ring) {
  if (expression.kind == Kind::kSymbol) {
    PolynomialQuotient symbol = Constant(1, ring);
    symbol.over.SetSymbol(ring->Index(SymbolKey(expression.name)));
    return symbol;
  }
  if (!HasSymbol(expression)) {
    const Exact exact = EvaluateExact(expression);
    if (exact.existence != Existence::kValue) return std::nullopt;
    return Constant(exact.value, ring);
  }
  if (expression.kind == Kind::kPower) {
    constexpr slong kMostExponent = 200;
    const Exact exponent = EvaluateExact(expression.args[1]);
    if (exponent.existence != Existence::kValue) return std::nullopt;
    const auto small = exponent.value.Small(kMostExponent);
    auto base = Read(expression.args[0], ring);
    if (!small || !base) return std::nullopt;
    return Power(*std::move(base), *small, ring);
  }
  const bool sum = expression.kind == Kind::kAdd;
  if (!sum && expression.kind != Kind::kMultiply) return std::nullopt;
  std::optional<PolynomialQuotient> result = Constant(sum ? 0 : 1, ring);
  for (const Expression& arg : expression.args) {
    const auto value = Read(arg, ring);
    if (!value) return std::nullopt;
    result = sum ? Add(*result, *value) : Multiply(*result, *value);
    if (!result) return std::nullopt;
  }
  return result;
}

void CollectSymbols(const Expression& expression, std::vector<std::string>* symbols) {
  if (expression.kind == Kind::kSymbol) symbols->push_back(SymbolKey(expression.name));
  for (const Expression& arg : expression.args) CollectSymbols(arg, symbols);
}

}  // namespace

SameFunction CompareRationalFunctions(const Expression& a, const Expression& b) {
  std::vector<std::string> symbols;
  CollectSymbols(a, &symbols);
  CollectSymbols(b, &symbols);
  std::ranges::sort(symbols);
  symbols.erase(std::unique(symbols.begin(), symbols.end()), symbols.end());
  if (symbols.size() > kMostSymbols) return SameFunction::kUnknown;
  Ring ring(symbols);
  const auto left = Read(a, &ring);
  if (!left) return SameFunction::kUnknown;
  const auto right = Read(b, &ring);
  if (!right) return SameFunction::kUnknown;
  const auto first = Multiply(left->over, right->under);
  const auto second = Multiply(right->over, left->under);
  if (!first || !second) return SameFunction::kUnknown;
  return *first == *second ? SameFunction::kYes : SameFunction::kNo;
}

}  // namespace temper::math
