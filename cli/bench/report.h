// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "cli/bench/options.h"

namespace temper {

// One measurement: its JSON line on standard output, its row of a table on standard error.
struct Measurement {
  std::string bench;  // "product.forward"
  std::string shape;  // "m1 n256 k256"
  double median_us = 0;
  double best_us = 0;
  double flop = 0;         // of one repetition
  double peak_gflops = 0;  // 0: not told
  double bytes = 0;        // that one repetition reads of memory, where that is told
  double peak_gbps = 0;    // 0: not told
  double baseline_us = 0;  // 0: no other side
  double best_baseline_us = 0;
  double tokens = 0;       // of one repetition; 0: none
  int64_t peak_bytes = 0;  // of memory, of the whole process; 0: not told
};
absl::Status Report(const Measurement& m);
void ReportHeading();

// Of a steady clock; or, with one thread, of the process's CPU time, which a busy machine disturbs less.
void ChooseClock(int64_t threads);
double Seconds();
double Median(std::vector<double> values);

// The most memory that the process had at once since the last BeginPeakMemory; 0: the system does not tell.
void BeginPeakMemory();
int64_t PeakMemory();

// Seconds that a call takes, of each round: one call to warm up, then rounds of calls for `round_seconds`,
// one at least.
std::vector<double> CallSeconds(absl::FunctionRef<void()> call, int64_t rounds, double round_seconds);

// Seconds that one call of each side takes: medians, and the least (a busy machine spoils it last). The two
// take turns, `rounds` times; a turn is a call to warm up, then calls for `round_seconds`.
struct Pair {
  double ours = 0, theirs = 0;
  double best_ours = 0, best_theirs = 0;
};
Pair InTurns(absl::FunctionRef<void()> ours, absl::FunctionRef<void()> theirs, int64_t rounds,
             double round_seconds);

absl::Status BenchProduct(const BenchOptions& options);
absl::Status BenchPrefill(const BenchOptions& options);
absl::Status BenchDecode(const BenchOptions& options);
absl::Status BenchGenerate(const BenchOptions& options);
absl::Status BenchTrain(const BenchOptions& options);
absl::Status BenchGrpo(const BenchOptions& options);
absl::Status BenchTokenize(const BenchOptions& options);
absl::Status BenchSandbox(const BenchOptions& options);

}  // namespace temper
