// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace temper {

// Signals that ask to stop go from here on to KeptChild::Wait, and to no handler. Orphans of what is started
// come to this process, so that it can end them.
void KeepSignalsAndOrphans();

// A program of PATH that runs beside this process, in a process group of its own, and is killed when this
// process dies.
class KeptChild {
 public:
  // None: Wait hears requests to stop alone.
  static KeptChild Nobody() { return KeptChild(-1); }
  static absl::StatusOr<KeptChild> Start(const std::vector<std::string>& command);

  struct Event {
    std::optional<int> code;  // it has ended: its exit status, or 128 and the signal
    bool asked = false;       // this process was asked to stop
  };
  // Waits for one or the other, but no longer than `most`.
  Event Wait(absl::Duration most);
  // To its group: a shell around a launcher does not hand signals on.
  void Signal(int number) const;
  // Whether anything lives of what was started here.
  static bool AnyLeft();
  // Kills it and all that it has started here and left behind; returns once they are gone, or after 10 s (one
  // that waits for a dead disk stays).
  static void KillAll();

 private:
  explicit KeptChild(pid_t pid) : pid_(pid) {}
  pid_t pid_;
};

}  // namespace temper
