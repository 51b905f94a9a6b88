// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "comm/communicator.h"

namespace temper {

// The program's exit code: InvalidArgument, NotFound, AlreadyExists, FailedPrecondition, OutOfRange and
// DataLoss are the user's input, Cancelled is a stop on request, Aborted the end of standard output's reader
// (a shell's 128 + SIGPIPE), anything else but Ok is 1.
constexpr int kUserExit = 2, kStoppedExit = 75, kReaderGoneExit = 141;
int ExitCode(absl::StatusCode code);

// What a subcommand gets.
struct CommandLine {
  std::vector<std::string> arguments;  // after the command's name
  Communicator* world = nullptr;       // every command but `run` wants it to be one rank
};

// One line of the table in cli/commands.cc; `temper --help` and docs/commands.md come from it.
struct Command {
  const char* name;
  const char* arguments = "";  // "RECIPE.yaml --run-dir DIR"
  const char* summary = "";    // what it does, in one line
  absl::Status (*run)(const CommandLine&);
  std::string (*help)() = nullptr;  // its options; null: none
  bool ranks = false;               // may run on several
  // Instead of `run`: this process becomes another program, before a world is opened; returns its failure.
  absl::Status (*become)(const std::vector<std::string>& arguments) = nullptr;
};
const std::vector<Command>& Commands();

// From here on SIGINT, SIGTERM, SIGHUP, SIGUSR1 and SIGUSR2 ask to stop (core/stop.h), once or many times, as
// schedulers do. A second SIGINT, half a second after the first or later, is a person's: it ends the program
// at once, with kStoppedExit, and what is on disk is always whole. A reader that is gone, or a file at its
// size limit, makes an error of a write instead of ending the program.
void HandleSignals();
// From here on they end the program at once, with kStoppedExit: for a command that writes nothing to disk and
// computes for minutes. Cancelled where one has come already.
absl::Status EndOnSignals();

}  // namespace temper
