// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "absl/functional/function_ref.h"
#include "comm/communicator.h"

namespace temper {

// n ranks as threads of one process, for tests of layouts and for shape-only runs. A Send waits for its
// receiver, so a program that would hang on any backend hangs here (or meets the deadline).
class ThreadWorld {
 public:
  explicit ThreadWorld(int size, absl::Duration deadline = absl::Seconds(60));
  ~ThreadWorld();
  ThreadWorld(const ThreadWorld&) = delete;
  ThreadWorld& operator=(const ThreadWorld&) = delete;

  // Runs `body` once a rank, each on a thread of its own, and joins them. When a rank throws, the others'
  // calls throw CommError that names it; then Run throws the first rank's exception that was no such
  // consequence.
  void Run(absl::FunctionRef<void(Communicator&)> body);

  // Bytes that Send and SendReceive of all ranks moved since the world began.
  int64_t bytes_sent() const;

 private:
  struct State;
  class Rank;
  const int size_;
  const absl::Duration deadline_;
  std::unique_ptr<State> state_;
};

}  // namespace temper
