// SPDX-License-Identifier: Apache-2.0
// The numbers behind rewards/math/equal/equal, each owned by a value type: exact rationals (FLINT) and
// complex balls (Arb). FLINT ends the process where memory or an exponent gives out, so nobody calls it
// without a bound on the size of the result: kMostBits for exact numbers, Magnitude for balls.
#pragma once

#include <acb.h>
#include <flint/fmpq.h>

#include <optional>
#include <string>
#include <string_view>

namespace temper::math {

// FLINT keeps caches for each thread; this frees them when the calling thread ends. Call it before anything
// else of FLINT's.
void FreeFlintAtThreadEnd();

inline constexpr slong kMostBits = 1 << 14;  // of an exact numerator or denominator

class Rational {
 public:
  Rational() { fmpq_init(value_); }
  Rational(slong numerator, ulong denominator = 1) : Rational() {  // NOLINT: a number is a number
    fmpq_set_si(value_, numerator, denominator);
  }
  Rational(const Rational& other) : Rational() { fmpq_set(value_, other.value_); }
  Rational(Rational&& other) noexcept : Rational() { fmpq_swap(value_, other.value_); }
  Rational& operator=(Rational other) noexcept {
    fmpq_swap(value_, other.value_);
    return *this;
  }
  ~Rational() { fmpq_clear(value_); }

  fmpq* get() { return value_; }
  const fmpq* get() const { return value_; }
  fmpz* numerator() { return fmpq_numref(value_); }
  fmpz* denominator() { return fmpq_denref(value_); }
  const fmpz* numerator() const { return fmpq_numref(value_); }
  const fmpz* denominator() const { return fmpq_denref(value_); }

  bool IsInteger() const { return fmpz_is_one(denominator()) != 0; }
  bool IsZero() const { return fmpq_is_zero(value_) != 0; }
  int Sign() const { return fmpq_sgn(value_); }
  slong Bits() const { return std::max(fmpz_bits(numerator()), fmpz_bits(denominator())); }
  // The value where it is an integer of at most `most` in absolute value.
  std::optional<slong> Small(slong most) const;
  // To `digits` decimals, halves away from zero.
  Rational Rounded(int digits) const;

  friend bool operator==(const Rational& a, const Rational& b) { return fmpq_equal(a.get(), b.get()) != 0; }
  friend bool operator<(const Rational& a, const Rational& b) { return fmpq_cmp(a.get(), b.get()) < 0; }
  friend Rational operator+(const Rational& a, const Rational& b) { return Of(fmpq_add, a, b); }
  friend Rational operator-(const Rational& a, const Rational& b) { return Of(fmpq_sub, a, b); }
  friend Rational operator*(const Rational& a, const Rational& b) { return Of(fmpq_mul, a, b); }
  friend Rational operator/(const Rational& a, const Rational& b) {
    return Of(fmpq_div, a, b);
  }  // b is not 0

 private:
  using Operation = void (*)(fmpq_t, const fmpq_t, const fmpq_t);
  static Rational Of(Operation operation, const Rational& a, const Rational& b);

  fmpq_t value_;
};

// "-12", "0.25", ".5": digits with at most one point and a sign before them. None if it is anything else or
// has too many digits.
std::optional<Rational> ParseRational(std::string_view text);
std::string ToString(const Rational& value);

class Ball {
 public:
  Ball() { acb_init(value_); }
  Ball(const Ball& other) : Ball() { acb_set(value_, other.value_); }
  Ball(Ball&& other) noexcept : Ball() { acb_swap(value_, other.value_); }
  Ball& operator=(Ball other) noexcept {
    acb_swap(value_, other.value_);
    return *this;
  }
  ~Ball() { acb_clear(value_); }

  acb_ptr get() { return value_; }
  acb_srcptr get() const { return value_; }

  bool IsFinite() const { return acb_is_finite(value_) != 0; }
  bool IsReal() const { return acb_is_real(value_) != 0; }
  bool ContainsZero() const { return acb_contains_zero(value_) != 0; }
  // log2 of an upper bound of the absolute value; saturates at +-2^40 (0 is -2^40).
  slong Magnitude() const;
  // log2 of the radius, as Magnitude.
  slong RadiusMagnitude() const;

 private:
  acb_t value_;
};

bool Overlap(const Ball& a, const Ball& b);

}  // namespace temper::math
