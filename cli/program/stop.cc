// SPDX-License-Identifier: Apache-2.0
#include "core/stop.h"

#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <string_view>

#include "cli/line/command.h"

namespace temper {
namespace {

// Launchers hand an interrupt on more than once: what comes within this time is the same one.
constexpr int64_t kSamePressNs = 500'000'000;
constexpr int kStopSignals[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2};

std::atomic<int64_t> interrupted_ns{0};  // when first; 0: not yet

void OnSignal(int signal) {
  RequestStop();
  if (signal != SIGINT) return;
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  const int64_t ns = now.tv_sec * 1'000'000'000 + now.tv_nsec;
  int64_t first = 0;
  if (interrupted_ns.compare_exchange_strong(first, ns)) return;
  if (ns - first > kSamePressNs) _exit(kStoppedExit);
}

void EndOnSignal(int) {
  constexpr std::string_view kLine = "stopped on request\n";
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, kLine.data(), kLine.size());
  _exit(kStoppedExit);
}

}  // namespace

void HandleSignals() {
  struct sigaction action {};
  action.sa_handler = OnSignal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  for (const int number : kStopSignals) {
    struct sigaction inherited {};
    sigaction(number, nullptr, &inherited);
    // `nohup` and a shell's background jobs want it ignored.
    if (inherited.sa_handler != SIG_IGN) sigaction(number, &action, nullptr);
  }
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN);
}

absl::Status EndOnSignals() {
  struct sigaction action {};
  action.sa_handler = EndOnSignal;
  sigemptyset(&action.sa_mask);
  for (const int number : kStopSignals) {
    struct sigaction before {};
    sigaction(number, nullptr, &before);
    if (before.sa_handler == OnSignal) sigaction(number, &action, nullptr);
  }
  return CheckStop();  // what came before
}

}  // namespace temper
