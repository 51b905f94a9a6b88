// SPDX-License-Identifier: Apache-2.0
#include "rewards/sandbox/limits.h"

#include <sys/resource.h>

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "core/files/file.h"

namespace temper {
namespace {

rlim_t Allowed(int resource) {
  rlimit limit{};
  return getrlimit(static_cast<__rlimit_resource_t>(resource), &limit) == 0 ? limit.rlim_max : RLIM_INFINITY;
}

// 0 would still start a handler that the host's core_pattern names (core(5)); where it names none, a machine
// that allows no more is not refused.
rlim_t CoreLimit() {
  if (Allowed(RLIMIT_CORE) > 0) return 1;
  const std::string pattern = ReadFile("/proc/sys/kernel/core_pattern").value_or("|");
  return !pattern.empty() && (pattern[0] == '|' || pattern[0] == '@') ? 1 : 0;
}

}  // namespace

std::vector<SandboxLimit> LimitsOf(const SandboxLimits& given) {
  std::vector<SandboxLimit> limits;
  const auto limit = [&](int resource, const char* name, rlim_t value) {
    limits.push_back({.resource = resource, .name = name, .value = value});
  };
  limit(RLIMIT_CPU, "processor time in seconds (ulimit -Ht)", static_cast<rlim_t>(given.cpu_seconds));
  limit(RLIMIT_AS, "memory in bytes (ulimit -Hv)", static_cast<rlim_t>(given.memory_bytes));
  limit(RLIMIT_STACK, "stack in bytes (ulimit -Hs)", static_cast<rlim_t>(given.stack_bytes));
  // The byte more tells that it was reached.
  limit(RLIMIT_FSIZE, "file size in bytes (ulimit -Hf)", static_cast<rlim_t>(given.file_bytes + 1));
  limit(RLIMIT_NPROC, "processes (ulimit -Hu)", static_cast<rlim_t>(given.processes));
  limit(RLIMIT_NOFILE, "open files (ulimit -Hn)", 64);
  limit(RLIMIT_CORE, "core files in bytes (ulimit -Hc; at 0 a crash starts the handler of core_pattern)",
        CoreLimit());
  limit(RLIMIT_MEMLOCK, "locked memory", 0);
  limit(RLIMIT_MSGQUEUE, "message queues", 0);
  limit(RLIMIT_SIGPENDING, "pending signals", std::min<rlim_t>(256, Allowed(RLIMIT_SIGPENDING)));
  return limits;
}

absl::Status CheckAllowed(const std::vector<SandboxLimit>& limits) {
  for (const SandboxLimit& limit : limits) {
    const rlim_t allowed = Allowed(limit.resource);
    if (allowed >= limit.value) continue;
    return absl::FailedPreconditionError(absl::StrCat(
        "no sandbox can be had here, and programs do not run without one: the hard limit of ", limit.name,
        " is ", allowed, " and ", limit.value,
        " is needed: raise it where the session's limits are set (limits.conf, the service, Slurm)"));
  }
  return absl::OkStatus();
}

}  // namespace temper
