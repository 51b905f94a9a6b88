// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/status.h"
#include "rewards/process/keeper.h"

namespace temper {

// A program that answers each line on its standard input with lines on its standard output. Whatever it
// starts ends with it (rewards/process/keeper.h). One thread at a time. After an error nothing more can be
// asked of it.
class LineProcess {
 public:
  // Errors: the program cannot be started (named, with the system's reason).
  static absl::StatusOr<std::unique_ptr<LineProcess>> Start(const std::vector<std::string>& command);

  // Closes its input, gives it 0.2 s to end, kills what is left, and reaps it.
  ~LineProcess();
  LineProcess(const LineProcess&) = delete;
  LineProcess& operator=(const LineProcess&) = delete;

  // Until it reads its input, or for so long: a program that does not by then may still be loading. Errors:
  // it ended, or wrote to its standard output.
  absl::Status Listen(double seconds);

  // Writes `request`, which begins with "{", and returns the next `answers` lines it writes, all without
  // their ends. Errors, with the last line of its standard error, after which it is killed: it ended, wrote
  // something before it had read the whole request, wrote more than 1 MiB an answer, was not done after
  // `seconds`, or `stop` became true (noticed within 0.2 s).
  absl::StatusOr<std::vector<std::string>> Ask(std::string_view request, size_t answers, double seconds,
                                               const std::atomic<bool>& stop);

 private:
  LineProcess(std::string name, const Kept& kept) : name_(std::move(name)), kept_(kept) {}
  absl::Status Exchange(std::string_view* unsent, double seconds);
  absl::Status ReadOutput();
  absl::Status Write(std::string_view* unsent);
  absl::Status CheckSilent();
  bool HasRead() const;
  bool Ended(double wait) const;
  void ReadErrors();
  absl::Status Fail(const std::string& what);
  std::string End();  // kills, reaps, and says how it ended

  const std::string name_;
  Kept kept_;           // pid 0: reaped; files -1: closed
  bool begun_ = false;  // the first byte of the next request is sent
  size_t most_unread_ = 0;
  std::string unread_;
  std::string stderr_;  // its last bytes
};

}  // namespace temper
