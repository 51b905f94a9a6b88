// SPDX-License-Identifier: Apache-2.0
// read_policy DIR: seconds, CPU seconds and peak MiB of ReadPolicy, for tests/bench/weights.py.
#include <sys/resource.h>

#include <chrono>
#include <cstdio>

#include "model/files/hugging_face.h"

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const auto start = std::chrono::steady_clock::now();
  const auto policy = temper::ReadPolicy(argv[1]);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  if (!policy.ok()) {
    std::fprintf(stderr, "%s\n", std::string(policy.status().message()).c_str());
    return 2;
  }
  rusage used;
  getrusage(RUSAGE_SELF, &used);
  const auto of = [](const timeval& t) { return t.tv_sec + t.tv_usec * 1e-6; };
  std::printf("%.3f %.3f %ld %lld\n", seconds.count(), of(used.ru_utime) + of(used.ru_stime),
              used.ru_maxrss / 1024, static_cast<long long>(policy->parameters.Elements()));
}
