// SPDX-License-Identifier: Apache-2.0
#include "cli/bench/report.h"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <thread>

#include "absl/strings/str_format.h"
#include "core/files/disk.h"
#include "core/json/json.h"
#include "kernels/isa.h"

namespace temper {
namespace {

clockid_t the_clock = CLOCK_MONOTONIC;

double ThreeDecimals(double value) { return std::round(value * 1000) / 1000; }

}  // namespace

void ChooseClock(int64_t threads) { the_clock = threads == 1 ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC; }

double Seconds() {
  timespec now;
  clock_gettime(the_clock, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

double Median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

// Linux's: what was written there makes the high-water mark begin anew.
void BeginPeakMemory() {
  const int file = TheDisk().Open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC, 0);
  if (file < 0) return;
  TheDisk().Write(file, "5");
  close(file);
}

int64_t PeakMemory() {
  std::ifstream status("/proc/self/status");
  std::string line;
  while (std::getline(status, line)) {
    if (line.rfind("VmHWM:", 0) == 0) return std::atoll(line.c_str() + 6) * 1024;
  }
  return 0;
}

void ReportHeading() {
  absl::FPrintF(stderr, "instruction set: %s\n", kernels::Name(kernels::ActiveIsa()));
  absl::FPrintF(stderr, "%-16s %-28s %12s %10s %8s %8s %8s %10s %8s %8s %8s\n", "bench", "shape", "median us",
                "GFLOP/s", "of peak", "GB/s", "of peak", "tokens/s", "ratio", "of best", "peak GB");
}

std::vector<double> CallSeconds(absl::FunctionRef<void()> call, int64_t rounds, double round_seconds) {
  call();
  std::vector<double> seconds;
  for (int64_t round = 0; round < rounds; ++round) {
    const double begin = Seconds();
    int64_t calls = 0;
    double now = begin;
    do {
      call();
      ++calls;
      now = Seconds();
    } while (now - begin < round_seconds);
    seconds.push_back((now - begin) / static_cast<double>(calls));
  }
  return seconds;
}

absl::Status Report(const Measurement& m) {
  const double gflops = m.flop / m.median_us / 1e3;
  Json json;
  json["bench"] = m.bench;
  json["shape"] = m.shape;
  json["median_us"] = ThreeDecimals(m.median_us);
  json["best_us"] = ThreeDecimals(m.best_us);
  json["gflops"] = ThreeDecimals(gflops);
  std::string share = "-", memory = "-", memory_share = "-", tokens = "-", ratio = "-", best = "-",
              peak = "-";
  if (m.peak_gflops > 0) {
    json["isa"] = std::string(kernels::Name(kernels::ActiveIsa()));
    json["peak_gflops"] = ThreeDecimals(m.peak_gflops);
    json["share"] = ThreeDecimals(gflops / m.peak_gflops);
    share = absl::StrFormat("%.0f%%", 100 * gflops / m.peak_gflops);
  }
  if (m.peak_gbps > 0) {
    const double gbps = m.bytes / m.median_us / 1e3;
    json["gbps"] = ThreeDecimals(gbps);
    json["peak_gbps"] = ThreeDecimals(m.peak_gbps);
    json["memory_share"] = ThreeDecimals(gbps / m.peak_gbps);
    memory = absl::StrFormat("%.1f", gbps);
    memory_share = absl::StrFormat("%.0f%%", 100 * gbps / m.peak_gbps);
  }
  if (m.tokens > 0) {
    json["tokens_per_second"] = ThreeDecimals(m.tokens / m.median_us * 1e6);
    const double per_second = m.tokens / m.median_us * 1e6;
    tokens = absl::StrFormat(per_second < 1000 ? "%.1f" : "%.0f", per_second);
  }
  if (m.baseline_us > 0) {
    json["baseline_us"] = ThreeDecimals(m.baseline_us);
    json["ratio"] = ThreeDecimals(m.baseline_us / m.median_us);
    json["best_ratio"] = ThreeDecimals(m.best_baseline_us / m.best_us);
    best = absl::StrFormat("%.2f", m.best_baseline_us / m.best_us);
    ratio = absl::StrFormat("%.2f", m.baseline_us / m.median_us);
  }
  if (m.peak_bytes > 0) {
    json["peak_memory_bytes"] = m.peak_bytes;
    peak = absl::StrFormat("%.2f", static_cast<double>(m.peak_bytes) / 1e9);
  }
  absl::FPrintF(stderr, "%-16s %-28s %12.1f %10.1f %8s %8s %8s %10s %8s %8s %8s\n", m.bench, m.shape,
                m.median_us, gflops, share, memory, memory_share, tokens, ratio, best, peak);
  const std::string line = DumpJson(json) + "\n";
  if (std::fwrite(line.data(), 1, line.size(), stdout) != line.size() || std::fflush(stdout) != 0) {
    return absl::InternalError("standard output: cannot be written");
  }
  return absl::OkStatus();
}

Pair InTurns(absl::FunctionRef<void()> ours, absl::FunctionRef<void()> theirs, int64_t rounds,
             double round_seconds) {
  const auto turn = [&](absl::FunctionRef<void()> side) {
    // LibTorch's threads spin for up to 5 ms after a region, on the core that ours then want.
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    return CallSeconds(side, 1, round_seconds)[0];
  };
  std::vector<double> a, b;
  for (int64_t round = 0; round < rounds; ++round) {
    a.push_back(turn(ours));
    b.push_back(turn(theirs));
  }
  return {Median(a), Median(b), *std::min_element(a.begin(), a.end()), *std::min_element(b.begin(), b.end())};
}

}  // namespace temper
