// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "cli/command.h"
#include "core/config.h"
#include "core/status.h"
#include "core/text.h"

namespace temper {

// The options of a command that takes nothing else.
template <class T>
absl::StatusOr<T> OptionsOf(const CommandLine& line) {
  T options;
  TEMPER_ASSIGN_OR_RETURN(const std::vector<std::string> rest, ParseOptions(line.arguments, options));
  if (rest.empty()) return options;
  return absl::InvalidArgumentError(absl::StrCat("unexpected argument ", Printable(rest[0]), "; see --help"));
}

template <class T>
std::string HelpOf() {
  return OptionsHelp(DescribeConfig<T>());
}

}  // namespace temper
