// SPDX-License-Identifier: Apache-2.0
#include "data/tasks/expression.h"

#include <numeric>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "core/one_of.h"
#include "core/status.h"
#include "core/text.h"

namespace temper::procedural {
namespace {

constexpr size_t kMaxBytes = 512;
constexpr int kMaxDepth = 64;

bool Times(int64_t a, int64_t b, int64_t* out) { return !__builtin_mul_overflow(a, b, out); }
bool Plus(int64_t a, int64_t b, int64_t* out) { return !__builtin_add_overflow(a, b, out); }

// Nothing beyond 64 bits; INT64_MIN counts as beyond, so that signs can turn.
std::optional<Fraction> Lowest(int64_t num, int64_t den) {
  if (num == INT64_MIN || den == INT64_MIN) return std::nullopt;
  const int64_t common = std::gcd(num, den) * (den < 0 ? -1 : 1);
  return Fraction{num / common, den / common};
}

std::optional<Fraction> Add(Fraction a, Fraction b, int sign) {
  int64_t left, right, num, den;
  if (!Times(a.num, b.den, &left) || !Times(sign * b.num, a.den, &right) || !Plus(left, right, &num) ||
      !Times(a.den, b.den, &den)) {
    return std::nullopt;
  }
  return Lowest(num, den);
}

std::optional<Fraction> Multiply(Fraction a, Fraction b) {
  int64_t num, den;
  if (!Times(a.num, b.num, &num) || !Times(a.den, b.den, &den)) return std::nullopt;
  return Lowest(num, den);
}

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  absl::StatusOr<Value> All() {
    TEMPER_ASSIGN_OR_RETURN(const Fraction value, Sum(0));
    if (Next() != 0) return Unread();
    return Value{value, std::move(numbers_)};
  }

 private:
  char Next() {
    while (at_ < text_.size() && absl::ascii_isspace(text_[at_])) ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  absl::Status Unread() {
    if (at_ == text_.size()) return absl::InvalidArgumentError("the expression ends too early");
    return absl::InvalidArgumentError(
        absl::StrCat("cannot read the expression from ", Printable(text_.substr(at_), 20), " on"));
  }
  static absl::StatusOr<Fraction> Bounded(std::optional<Fraction> value) {
    if (value) return *value;
    return absl::InvalidArgumentError("the expression's numbers get too large");
  }

  absl::StatusOr<Fraction> Sum(int depth) {
    TEMPER_ASSIGN_OR_RETURN(Fraction value, Product(depth));
    for (char sign = Next(); sign == '+' || sign == '-'; sign = Next()) {
      ++at_;
      TEMPER_ASSIGN_OR_RETURN(const Fraction term, Product(depth));
      TEMPER_ASSIGN_OR_RETURN(value, Bounded(Add(value, term, sign == '+' ? 1 : -1)));
    }
    return value;
  }

  absl::StatusOr<Fraction> Product(int depth) {
    TEMPER_ASSIGN_OR_RETURN(Fraction value, Factor(depth));
    for (char sign = Next(); sign == '*' || sign == '/'; sign = Next()) {
      ++at_;
      TEMPER_ASSIGN_OR_RETURN(Fraction factor, Factor(depth));
      if (sign == '/') {
        if (factor.num == 0) return absl::InvalidArgumentError("the expression divides by zero");
        TEMPER_ASSIGN_OR_RETURN(factor, Bounded(Lowest(factor.den, factor.num)));
      }
      TEMPER_ASSIGN_OR_RETURN(value, Bounded(Multiply(value, factor)));
    }
    return value;
  }

  absl::StatusOr<Fraction> Factor(int depth) {
    if (depth == kMaxDepth) return absl::InvalidArgumentError("the expression is nested too deeply");
    const char c = Next();
    if (absl::ascii_isdigit(c)) return Number();
    if (!IsOneOf(c, "(-+")) return Unread();
    ++at_;
    if (c == '(') {
      TEMPER_ASSIGN_OR_RETURN(const Fraction value, Sum(depth + 1));
      if (Next() != ')') return Unread();
      ++at_;
      return value;
    }
    TEMPER_ASSIGN_OR_RETURN(const Fraction value, Factor(depth + 1));
    return c == '-' ? Fraction{-value.num, value.den} : value;
  }

  absl::StatusOr<Fraction> Number() {
    const size_t start = at_;
    while (at_ < text_.size() && absl::ascii_isdigit(text_[at_])) ++at_;
    int64_t value = 0;
    if (!absl::SimpleAtoi(absl::string_view(text_.data() + start, at_ - start), &value))
      return Bounded(std::nullopt);
    numbers_.push_back(value);
    return Fraction{value, 1};
  }

  const std::string_view text_;
  size_t at_ = 0;
  std::vector<int64_t> numbers_;
};

}  // namespace

absl::StatusOr<Value> Evaluate(std::string_view expression) {
  if (expression.size() > kMaxBytes) return absl::InvalidArgumentError("the expression is too long");
  const std::string ascii = absl::StrReplaceAll(absl::string_view(expression.data(), expression.size()),
                                                {{"\u00d7", "*"}, {"\u00f7", "/"}, {"\u2212", "-"}});
  return Parser(ascii).All();
}

}  // namespace temper::procedural
