// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdexcept>
#include <string>

#include "absl/strings/str_cat.h"

namespace temper {

// Our own mistake: a broken invariant. Caught once, in cli/main.cc.
class InternalError : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

[[noreturn]] inline void CheckFailed(const char* file, int line, const char* condition,
                                     const std::string& message) {
  throw InternalError(
      absl::StrCat(file, ":", line, ": broken invariant: ", condition, message.empty() ? "" : ": ", message));
}

}  // namespace temper

// TEMPER_CHECK(condition, pieces of a message...): on in every build. LibTorch and Abseil both own CHECK.
#define TEMPER_CHECK(condition, ...)                                                      \
  do {                                                                                    \
    if (!(condition)) [[unlikely]]                                                        \
      ::temper::CheckFailed(__FILE__, __LINE__, #condition, ::absl::StrCat(__VA_ARGS__)); \
  } while (false)
