/* SPDX-License-Identifier: Apache-2.0 */
#include "rewards/math/algebra/calcium.h"

#include <ca.h>

/* Time is bounded by these: the degree of algebraic numbers, bits of precision, sizes of ideals. */
static void SetLimits(ca_ctx_t context) {
  ca_ctx_set_option(context, CA_OPT_QQBAR_DEG_LIMIT, 16);
  ca_ctx_set_option(context, CA_OPT_PREC_LIMIT, 512);
  ca_ctx_set_option(context, CA_OPT_GROEBNER_LENGTH_LIMIT, 20);
  ca_ctx_set_option(context, CA_OPT_GROEBNER_POLY_LENGTH_LIMIT, 100);
  ca_ctx_set_option(context, CA_OPT_GROEBNER_POLY_BITS_LIMIT, 1000);
  ca_ctx_set_option(context, CA_OPT_VIETA_LIMIT, 4);
}

static void Unary(CalciumCode code, ca_t x, ca_ctx_t context) {
  switch (code) {
    case kCalciumExp:
      ca_exp(x, x, context);
      break;
    case kCalciumLog:
      ca_log(x, x, context);
      break;
    case kCalciumSin:
      ca_sin(x, x, context);
      break;
    case kCalciumCos:
      ca_cos(x, x, context);
      break;
    case kCalciumTan:
      ca_tan(x, x, context);
      break;
    case kCalciumCot:
      ca_cot(x, x, context);
      break;
    case kCalciumArcsin:
      ca_asin(x, x, context);
      break;
    case kCalciumArccos:
      ca_acos(x, x, context);
      break;
    case kCalciumArctan:
      ca_atan(x, x, context);
      break;
    case kCalciumAbs:
      ca_abs(x, x, context);
      break;
    default:
      ca_unknown(x, context);
  }
}

static void Push(const CalciumStep* step, ca_t x, ca_ctx_t context) {
  if (step->code == kCalciumNumber) {
    ca_set_fmpq(x, step->number, context);
  } else if (step->code == kCalciumPi) {
    ca_pi(x, context);
  } else if (step->code == kCalciumE) {
    ca_one(x, context);
    ca_exp(x, x, context);
  } else {
    ca_i(x, context);
  }
}

static void Run(const CalciumStep* steps, slong count, ca_struct* stack, ca_t result, ca_ctx_t context) {
  slong top = 0;
  for (slong i = 0; i < count; ++i) {
    const CalciumStep* step = &steps[i];
    if (step->code <= kCalciumI) {
      Push(step, stack + top++, context);
    } else if (step->code == kCalciumPower) {
      --top;
      ca_pow(stack + top - 1, stack + top - 1, stack + top, context);
    } else if (step->code == kCalciumAdd || step->code == kCalciumMultiply) {
      for (slong more = step->count; more > 1; --more) {
        --top;
        if (step->code == kCalciumAdd) {
          ca_add(stack + top - 1, stack + top - 1, stack + top, context);
        } else {
          ca_mul(stack + top - 1, stack + top - 1, stack + top, context);
        }
      }
    } else {
      Unary(step->code, stack + top - 1, context);
    }
  }
  ca_set(result, stack, context);
}

CalciumVerdict TemperCalciumEqual(const CalciumStep* a, slong a_count, const CalciumStep* b, slong b_count) {
  const slong depth = a_count > b_count ? a_count : b_count; /* no stack is higher than its program is long */
  ca_ctx_t context;
  ca_t x, y;
  ca_ctx_init(context);
  SetLimits(context);
  ca_init(x, context);
  ca_init(y, context);
  ca_struct* stack = (ca_struct*)flint_malloc(depth * sizeof(ca_struct));
  for (slong i = 0; i < depth; ++i) ca_init(stack + i, context);
  Run(a, a_count, stack, x, context);
  Run(b, b_count, stack, y, context);
  CalciumVerdict verdict = kCalciumUnknown;
  if (ca_check_is_number(x, context) == T_TRUE && ca_check_is_number(y, context) == T_TRUE) {
    const truth_t equal = ca_check_equal(x, y, context);
    if (equal == T_TRUE) verdict = kCalciumEqual;
    if (equal == T_FALSE) verdict = kCalciumDifferent;
  }
  for (slong i = 0; i < depth; ++i) ca_clear(stack + i, context);
  flint_free(stack);
  ca_clear(x, context);
  ca_clear(y, context);
  ca_ctx_clear(context);
  return verdict;
}
