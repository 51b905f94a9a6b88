// SPDX-License-Identifier: Apache-2.0
#include <sys/resource.h>

#include <filesystem>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/doctor/checks.h"
#include "core/memory.h"
#include "rewards/sandbox/sandbox.h"
#include "trainer/recipe.h"

namespace temper {
namespace {

constexpr double kGibibyte = 1 << 30;

Finding CheckMemory(int ranks) {
  const FreeMemory free = MemoryThatIsFree(LocalRanks(ranks));
  if (free.bytes == INT64_MAX) return {"memory", Finding::kWarn, "the system does not say how much is free"};
  const std::string text = absl::StrFormat("%.1f GiB for each rank by %s",
                                           static_cast<double>(free.bytes) / kGibibyte, free.bound);
  if (free.bytes < int64_t{1} << 30)
    return {"memory", Finding::kWarn,
            text + ": enough for the smallest models alone (temper plan says what a recipe takes)"};
  return {"memory", Finding::kOk, text};
}

std::string LimitText(rlim_t limit) { return limit == RLIM_INFINITY ? "unlimited" : absl::StrCat(limit); }

Finding CheckLimits(bool gpus) {
  rlimit files{}, locked{};
  getrlimit(RLIMIT_NOFILE, &files);
  getrlimit(RLIMIT_MEMLOCK, &locked);
  const std::string text =
      absl::StrCat("open files ", LimitText(files.rlim_cur), ", locked memory ", LimitText(locked.rlim_cur));
  if (files.rlim_cur < 1024)
    return {"limits", Finding::kWarn,
            text + ": a run with many ranks or judges wants 1024 open files: ulimit -n 4096"};
  if (gpus && locked.rlim_cur != RLIM_INFINITY)
    return {"limits", Finding::kWarn,
            text + ": InfiniBand wants ulimit -l unlimited (PropagateResourceLimitsExcept=MEMLOCK)"};
  return {"limits", Finding::kOk, text};
}

Finding CheckCores(int ranks) {
  const Cores cores = CoresHere();
  const int local = LocalRanks(ranks), wanted = cores.mine < cores.all ? 1 : local;
  const std::string text =
      absl::StrCat(cores.mine, " of ", cores.all, " for this rank, ", local, local == 1 ? " rank" : " ranks",
                   " here, ", RankThreads(0, ranks), " threads each");
  if (wanted > cores.mine)
    return {"cores", Finding::kWarn, text + ": ranks share cores and wait for each other: start fewer here"};
  return {"cores", Finding::kOk, text};
}

Finding CheckSandbox() {
  const auto sandbox = Sandbox::Create();
  if (!sandbox.ok())
    return {"sandbox", Finding::kWarn,
            absl::StrCat("recipes that run programs (rule code) cannot run: ", sandbox.status().message())};
  const std::string text = (*sandbox)->Describe();
  if (absl::StrContains(text, "no control group"))
    return {"sandbox", Finding::kWarn,
            text +
                ": a program's memory is bounded by process, not together: give the user a control group "
                "that it may write"};
  return {"sandbox", Finding::kOk, text};
}

}  // namespace

Findings CheckHost(const GpusWanted& wanted, Communicator& world) {
  const int ranks = world.size();
  return {CheckGpus(wanted, world), CheckMemory(ranks), CheckLimits(wanted.device != "cpu"),
          CheckCores(ranks), CheckSandbox()};
}

}  // namespace temper
