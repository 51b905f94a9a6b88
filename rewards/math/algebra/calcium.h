/* SPDX-License-Identifier: Apache-2.0
   Calcium decides whether two constants are equal, by algebra. In C, since the headers of Calcium 0.4 are not
   C++. A constant is a program for a stack machine; rewards/math/algebra/proof.h writes it. */
#pragma once

#include <flint/fmpq.h>

#ifdef __cplusplus
extern "C" {
#endif

/* As in ca.h but for the result: in place of its last argument (of its `count` last ones). */
typedef enum {
  kCalciumNumber, /* pushes `number` */
  kCalciumPi,
  kCalciumE,
  kCalciumI,
  kCalciumAdd,      /* of `count` values */
  kCalciumMultiply, /* of `count` values */
  kCalciumPower,    /* base, exponent */
  kCalciumExp,
  kCalciumLog,
  kCalciumSin,
  kCalciumCos,
  kCalciumTan,
  kCalciumCot,
  kCalciumArcsin,
  kCalciumArccos,
  kCalciumArctan,
  kCalciumAbs,
} CalciumCode;

typedef struct {
  CalciumCode code;
  slong count;
  const fmpq* number; /* the caller's */
} CalciumStep;

typedef enum { kCalciumEqual, kCalciumDifferent, kCalciumUnknown } CalciumVerdict;

/* Each program leaves one value. Unknown too where a value is no finite number. */
CalciumVerdict TemperCalciumEqual(const CalciumStep* a, slong a_count, const CalciumStep* b, slong b_count);

#ifdef __cplusplus
}
#endif
