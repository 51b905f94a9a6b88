// SPDX-License-Identifier: Apache-2.0
#include "rewards/math/algebra/algebra.h"

#include <algorithm>

#include "absl/strings/ascii.h"

namespace temper::math {
namespace {

constexpr slong kMostMagnitude = slong{1} << 40;

slong MagnitudeOf(const mag_t bound) {
  if (mag_is_zero(bound)) return -kMostMagnitude;
  if (mag_is_inf(bound) || fmpz_cmp_si(MAG_EXPREF(bound), kMostMagnitude) > 0) return kMostMagnitude;
  if (fmpz_cmp_si(MAG_EXPREF(bound), -kMostMagnitude) < 0) return -kMostMagnitude;
  return fmpz_get_si(MAG_EXPREF(bound));
}

}  // namespace

void FreeFlintAtThreadEnd() {
  struct Cleanup {
    ~Cleanup() { flint_cleanup(); }
  };
  thread_local const Cleanup cleanup;
  static_cast<void>(cleanup);
}

std::optional<slong> Rational::Small(slong most) const {
  if (!IsInteger() || fmpz_cmpabs(numerator(), Rational(most).numerator()) > 0) return std::nullopt;
  return fmpz_get_si(numerator());
}

Rational Rational::Rounded(int digits) const {
  Rational result;
  fmpz_t power;
  fmpz_init(power);
  fmpz_ui_pow_ui(power, 10, digits);
  // floor((2 |n| 10^k + d) / 2 d)
  fmpz_abs(result.numerator(), numerator());
  fmpz_mul(result.numerator(), result.numerator(), power);
  fmpz_mul_ui(result.numerator(), result.numerator(), 2);
  fmpz_add(result.numerator(), result.numerator(), denominator());
  fmpz_fdiv_q(result.numerator(), result.numerator(), denominator());
  fmpz_fdiv_q_2exp(result.numerator(), result.numerator(), 1);
  if (Sign() < 0) fmpz_neg(result.numerator(), result.numerator());
  fmpz_set(result.denominator(), power);
  fmpq_canonicalise(result.get());
  fmpz_clear(power);
  return result;
}

Rational Rational::Of(Operation operation, const Rational& a, const Rational& b) {
  Rational result;
  operation(result.value_, a.value_, b.value_);
  return result;
}

std::optional<Rational> ParseRational(std::string_view text) {
  constexpr size_t kMostDigits = kMostBits * 3 / 10;  // log10(2) of the bits
  const bool negative = text.starts_with('-');
  if (negative) text.remove_prefix(1);
  if (text.size() > kMostDigits) return std::nullopt;
  std::string digits;
  size_t decimals = 0;
  bool point = false;
  for (const char c : text) {
    if (c == '.' && !point) {
      point = true;
      continue;
    }
    if (!absl::ascii_isdigit(c)) return std::nullopt;
    digits += c;
    decimals += point;
  }
  if (digits.empty()) return std::nullopt;
  Rational value;
  if (fmpz_set_str(value.numerator(), digits.c_str(), 10) != 0) return std::nullopt;
  if (negative) fmpz_neg(value.numerator(), value.numerator());
  fmpz_ui_pow_ui(value.denominator(), 10, decimals);
  fmpq_canonicalise(value.get());
  return value;
}

std::string ToString(const Rational& value) {
  char* text = fmpq_get_str(nullptr, 10, value.get());
  std::string result(text);
  flint_free(text);
  return result;
}

slong Ball::Magnitude() const {
  mag_t bound;
  mag_init(bound);
  acb_get_mag(bound, value_);
  const slong magnitude = MagnitudeOf(bound);
  mag_clear(bound);
  return magnitude;
}

slong Ball::RadiusMagnitude() const {
  return std::max(MagnitudeOf(arb_radref(acb_realref(value_))), MagnitudeOf(arb_radref(acb_imagref(value_))));
}

bool Overlap(const Ball& a, const Ball& b) { return acb_overlaps(a.get(), b.get()) != 0; }

}  // namespace temper::math
