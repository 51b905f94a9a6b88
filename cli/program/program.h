// SPDX-License-Identifier: Apache-2.0
// What temper and temper_bench share: the only place that catches what is thrown.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "cli/line/command.h"
#include "comm/communicator.h"

namespace temper {

// The body of a main: prepares the process, hands the arguments and an empty world to `run`, and turns what
// it throws into one line. Returns the exit code.
int RunProgram(
    int argc, char** argv,
    absl::FunctionRef<int(std::vector<std::string> arguments, std::unique_ptr<Communicator>& world)> run);

// Opens the world and runs the command in it; the ranks end with one exit code.
int RunCommand(const Command& command, std::vector<std::string> arguments,
               std::unique_ptr<Communicator>& world);

// The exit code of a status, after its line on standard error if `print`.
int Finish(const absl::Status& status, bool print);

}  // namespace temper
