// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/status.h"

namespace temper {

// A program that answers each line on its standard input with one on its standard output. It is the leader of
// a process group of its own, has our environment and folder, and none of our files but its three standard
// ones. One thread at a time. After an error nothing more can be asked of it.
class LineProcess {
 public:
  // Errors: the program cannot be started (named, with the system's reason).
  static absl::StatusOr<std::unique_ptr<LineProcess>> Start(const std::vector<std::string>& command);

  // Closes its input, gives it 0.2 s to end, kills what is left of its group, and reaps it.
  ~LineProcess();
  LineProcess(const LineProcess&) = delete;
  LineProcess& operator=(const LineProcess&) = delete;

  // Writes `line` and returns the next line it writes, both without their ends. Errors, with the last line of
  // its standard error, after which it and its group are killed: it ended, wrote more than 1 MiB, or was not
  // done after `seconds`.
  absl::StatusOr<std::string> Ask(std::string_view line, double seconds);

  // An error if it has ended, waiting this long for it.
  absl::Status StillThere(std::chrono::milliseconds wait);

 private:
  LineProcess(std::string name, pid_t pid, int input, int output, int errors)
      : name_(std::move(name)), pid_(pid), input_(input), output_(output), errors_(errors) {}
  absl::Status Exchange(std::string_view* unsent, std::chrono::milliseconds left);
  absl::Status ReadOutput();
  absl::Status Write(std::string_view* unsent);
  void ReadErrors();
  absl::Status Fail(const std::string& what);
  void Close(int* file);
  std::string End();  // kills, reaps, and says how it ended

  const std::string name_;
  pid_t pid_;                    // 0: reaped
  int input_, output_, errors_;  // -1: closed
  std::string unread_;
  std::string stderr_;  // its last bytes
};

}  // namespace temper
