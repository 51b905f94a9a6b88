// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "cli/line/command.h"
#include "core/config/config.h"
#include "core/config/text.h"
#include "core/status.h"
#include "core/text.h"

namespace temper {

// The options of a command that takes nothing else; what is not one is told which there are.
template <class T>
absl::StatusOr<T> OptionsOf(const CommandLine& line) {
  T options;
  TEMPER_ASSIGN_OR_RETURN(const std::vector<std::string> rest, ParseOptions(line.arguments, options));
  if (rest.empty()) return options;
  std::string names;
  for (const FieldText& field : DescribeConfig<T>()) {
    if (!field.is_section) absl::StrAppend(&names, names.empty() ? "" : ", ", OptionName(field.path));
  }
  return absl::InvalidArgumentError(
      absl::StrCat("unexpected argument ", Printable(rest[0]), "; the options are ", names));
}

template <class T>
std::string HelpOf() {
  return OptionsHelp(DescribeConfig<T>());
}

}  // namespace temper
