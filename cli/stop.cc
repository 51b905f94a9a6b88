// SPDX-License-Identifier: Apache-2.0
#include <signal.h>

#include <atomic>

#include "cli/command.h"

namespace temper {
namespace {

std::atomic<bool> stop_requested{false};

void OnSignal(int signal) {
  if (!stop_requested.exchange(true)) return;
  ::signal(signal, SIG_DFL);
  raise(signal);
}

}  // namespace

bool StopRequested() { return stop_requested.load(std::memory_order_relaxed); }

void HandleSignals() {
  struct sigaction action {};
  action.sa_handler = OnSignal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN);
}

}  // namespace temper
