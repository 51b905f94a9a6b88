// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/config/config.h"
#include "rewards/rule.h"

namespace temper {

struct CodeOptions {
  int64_t cpu_seconds = 4;
  double wall_seconds = 10;
  int64_t total_seconds = 60;
  int64_t memory_mib = 512;
  int64_t output_mib = 8;
  std::string compare = "lines";
  double tolerance = 0;
  std::string python = "/usr/bin/python3";
  std::string compiler = "/usr/bin/g++";
  std::vector<std::string> packages = {"numpy", "sortedcontainers"};

  template <class V>
  void Fields(V& v) {
    v.Field("cpu_seconds", cpu_seconds, "Processor time of one test.", Between(1, 3600));
    v.Field("wall_seconds", wall_seconds, "The clock's time of one test.", Between(0.1, 3600.0));
    v.Field("total_seconds", total_seconds,
            "The clock's time of all tests of a completion, compiling included.", Between(1, 86400));
    v.Field("memory_mib", memory_mib, "Address space of a program, MiB.", Between(64, 1 << 20));
    v.Field("output_mib", output_mib, "What a program may print, and write to one file, MiB.",
            Between(1, 1024));
    v.Field("compare", compare,
            "lines: white space at line ends and empty lines at the end do not count; words: any white space "
            "separates; exact: bytes. A row's own compare comes first.");
    v.Field("tolerance", tolerance,
            "How near a number must be that is expected with a point or an exponent, times max(1, "
            "|expected|); 0: "
            "equal. A row's own tolerance comes first.",
            Between(0.0, 0.5));
    v.Field("python", python, "The interpreter; a virtual environment's too.");
    v.Field("packages", packages, "Packages of the interpreter that programs may import, where it has them.");
    v.Field("compiler", compiler, "The C++ compiler; takes g++'s options.");
  }
};

// Rule `code`: the completion's program (rewards/code/block.h) passes every test of its problem's row
// (rewards/code/task.h), shown and hidden, each in a sandbox of its own (rewards/sandbox/sandbox.h). What is
// expected never enters a sandbox: this process compares what comes out (rewards/code/compare.h). An exit
// status of 0 passes nothing, and one of 1 nothing either, whatever was printed.
//
// correct: all tests; wrong: the reason names the first that failed (of hidden ones, only that it did);
// timeout: of processor time, of the clock, or of all tests together. What the machine fails at is tried once
// more and is then an infrastructure_error. Judging takes at most total_seconds and one wall_seconds.
//
// Errors: no sandbox can be had here; a bad option. CheckAnswer's: tests that cannot be read, an interpreter
// or a compiler that is not there.
absl::StatusOr<std::unique_ptr<Reward>> MakeCode(const CodeOptions& config);

}  // namespace temper
