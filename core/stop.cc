// SPDX-License-Identifier: Apache-2.0
#include "core/stop.h"

#include <atomic>

namespace temper {
namespace {

std::atomic<bool> stop_requested = false;
static_assert(std::atomic<bool>::is_always_lock_free, "a signal's handler sets it");

}  // namespace

bool StopRequested() { return stop_requested.load(std::memory_order_relaxed); }

absl::Status CheckStop() {
  return StopRequested() ? absl::CancelledError("stopped on request") : absl::OkStatus();
}

void RequestStop() { stop_requested = true; }

StopForTest::~StopForTest() { stop_requested = false; }

}  // namespace temper
