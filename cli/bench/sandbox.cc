// SPDX-License-Identifier: Apache-2.0
#include "rewards/sandbox/sandbox.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>

#include <atomic>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "cli/bench/report.h"
#include "core/status.h"

namespace temper {
namespace {

constexpr int kRunsOfAThread = 8;
constexpr const char* kCommand[] = {"/usr/bin/python3", "-s", "-B", "-c", "print(6 * 7)", nullptr};

// The other side: the same program with no protection and no limit.
bool RunBare() {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  pid_t process = 0;
  int status = -1;
  const bool started =
      posix_spawn(&process, kCommand[0], &actions, nullptr, const_cast<char**>(kCommand), environ) == 0;
  posix_spawn_file_actions_destroy(&actions);
  return started && waitpid(process, &status, 0) == process && status == 0;
}

}  // namespace

absl::Status BenchSandbox(const BenchOptions& options) {
  TEMPER_ASSIGN_OR_RETURN(const std::unique_ptr<Sandbox> sandbox, Sandbox::Create());
  TEMPER_ASSIGN_OR_RETURN(const HostFiles host, HostFiles::OfPython(kCommand[0], {}));
  const SandboxProgram program{.command = std::vector<std::string>(kCommand, std::end(kCommand) - 1),
                               .host = &host};
  absl::Mutex mutex;
  absl::Status status;  // the first failure
  const auto note = [&](const absl::Status& failure) {
    absl::MutexLock lock(&mutex);
    status.Update(failure);
  };
  const auto on_threads = [&](absl::FunctionRef<void()> run) {
    std::vector<std::thread> threads;
    for (int64_t i = 0; i < options.threads; ++i) {
      threads.emplace_back([&] {
        for (int j = 0; j < kRunsOfAThread; ++j) run();
      });
    }
    for (std::thread& thread : threads) thread.join();
  };
  const auto ours = [&] {
    on_threads([&] {
      const absl::StatusOr<SandboxRun> run = sandbox->Run(program);
      if (!run.ok()) return note(run.status());
      if (run->output != "42\n") note(absl::UnavailableError("bench sandbox: python3 prints something else"));
    });
  };
  const auto theirs = [&] {
    on_threads([&] {
      if (!RunBare()) note(absl::UnavailableError("bench sandbox: python3 does not run without a sandbox"));
    });
  };
  ChooseClock(2);  // children's time is not ours
  const Pair pair = InTurns(ours, theirs, options.rounds, 0);
  ChooseClock(options.threads);
  TEMPER_RETURN_IF_ERROR(status);
  const double runs = static_cast<double>(kRunsOfAThread * options.threads);
  return Report({.bench = "sandbox.python",
                 .shape = absl::StrCat("one run, ", options.threads, " threads"),
                 .median_us = pair.ours / runs * 1e6,
                 .best_us = pair.best_ours / runs * 1e6,
                 .baseline_us = pair.theirs / runs * 1e6,
                 .best_baseline_us = pair.best_theirs / runs * 1e6});
}

}  // namespace temper
