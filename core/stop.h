// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "absl/status/status.h"

namespace temper {

// Whether the user has asked this process to stop: set once, by a signal (cli/program/stop.cc). What begins a
// run is given it as its `stop`; what lies below and can take longer than a second between two questions of
// its caller's (reading, drawing and hashing weights and files, templates) asks here.
bool StopRequested();
absl::Status CheckStop();  // Cancelled once it was

void RequestStop();  // async-signal-safe

// For tests: a request that ends with this.
class StopForTest {
 public:
  StopForTest() { RequestStop(); }
  ~StopForTest();
  StopForTest(const StopForTest&) = delete;
  StopForTest& operator=(const StopForTest&) = delete;
};

}  // namespace temper
