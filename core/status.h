// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// For what the world does wrong (files, configs, data): the message says what, where and what to do.
#define TEMPER_RETURN_IF_ERROR(expression)                                                      \
  do {                                                                                          \
    if (::absl::Status temper_status = (expression); !temper_status.ok()) return temper_status; \
  } while (false)

#define TEMPER_CONCAT_INNER(a, b) a##b
#define TEMPER_CONCAT(a, b) TEMPER_CONCAT_INNER(a, b)

// TEMPER_ASSIGN_OR_RETURN(auto x, F()): x is F()'s value, or the function returns F()'s status.
#define TEMPER_ASSIGN_OR_RETURN(declaration, expression) \
  TEMPER_ASSIGN_OR_RETURN_IMPL(TEMPER_CONCAT(temper_statusor_, __LINE__), declaration, expression)
#define TEMPER_ASSIGN_OR_RETURN_IMPL(statusor, declaration, expression) \
  auto statusor = (expression);                                         \
  if (!statusor.ok()) return statusor.status();                         \
  declaration = std::move(statusor).value()
