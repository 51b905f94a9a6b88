// SPDX-License-Identifier: Apache-2.0
// The program: finds the command.
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cli/docs.h"
#include "cli/line/rows.h"
#include "cli/program/program.h"
#include "core/text.h"
#include "core/version.h"

namespace temper {
namespace {

int Dispatch(std::vector<std::string> arguments, std::unique_ptr<Communicator>& world) {
  if (arguments.empty()) {
    return Finish(absl::InvalidArgumentError("expected a command; see temper --help"), true);
  }
  const std::string name = arguments[0];
  arguments.erase(arguments.begin());
  if (name == "--help" || name == "-h" || name == "help") return Finish(WriteOut(ProgramHelp()), true);
  if (name == "--version") return Finish(WriteOut(absl::StrCat("temper ", kVersion)), true);
  std::vector<std::string> names;
  for (const Command& command : Commands()) {
    names.push_back(command.name);
    if (name != command.name) continue;
    const auto end = std::find(arguments.begin(), arguments.end(), "--");
    if (std::find(arguments.begin(), end, "--help") != end)
      return Finish(WriteOut(CommandHelp(command)), true);
    if (command.become != nullptr) return Finish(command.become(arguments), true);
    return RunCommand(command, std::move(arguments), world);
  }
  const std::string nearest = Nearest(name, names);
  return Finish(
      absl::InvalidArgumentError(absl::StrCat(Printable(name), ": unknown command",
                                              nearest.empty() ? "; see temper --help" : "; did you mean ",
                                              nearest, nearest.empty() ? "" : "?")),
      true);
}

}  // namespace
}  // namespace temper

int main(int argc, char** argv) { return temper::RunProgram(argc, argv, temper::Dispatch); }
