// SPDX-License-Identifier: Apache-2.0
#include "cli/program/program.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <new>
#include <string_view>

#include "ATen/Parallel.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "c10/util/Exception.h"
#include "cli/program/thread_dump.h"
#include "comm/check.h"
#include "comm/communicator.h"
#include "comm/mpi.h"
#include "core/check.h"
#include "core/log.h"

namespace temper {
namespace {

// A core file holds the environment with its keys, and the texts of the data. 1 and not 0: that would still
// start the program that the machine's core_pattern may name (core(5)).
void LeaveNoCoreFiles() {
  const char* wanted = std::getenv("TEMPER_CORE");
  rlimit limit{};
  if ((wanted != nullptr && std::string_view(wanted) == "1") || getrlimit(RLIMIT_CORE, &limit) != 0) return;
  limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, 1);
  setrlimit(RLIMIT_CORE, &limit);
}

// Where memory ends while the libraries start, before main can catch anything.
void NoMemoryToStart() {
  constexpr std::string_view kLine =
      "error: out of memory before temper began (ulimit -v, the control group?)\n";
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, kLine.data(), kLine.size());
  _exit(1);
}

// The program's preinit_array runs before the constructors of every library.
void BeforeLibraries(int, char**, char**) {
  HandleSignals();  // loading the libraries takes part of a second, in which a run may be stopped
  std::set_new_handler(NoMemoryToStart);
}
__attribute__((section(".preinit_array"), used)) void (*const before_libraries)(int, char**,
                                                                                char**) = BeforeLibraries;

constexpr absl::Duration kPatience = absl::Seconds(20);

// Ranks end with one word: the first error of the lowest rank, a stop only if there is none. A rank whose
// error the others do not come to hear of in time (they are at work, not waiting for it) ends them all.
absl::Status Agree(Communicator& world, const absl::Status& mine) {
  if (world.size() == 1) return mine;
  world.set_deadline(mine.ok() ? absl::InfiniteDuration() : kPatience);
  std::string why;
  try {
    absl::Status all;
    int rank = 0;
    for (const std::string& words : world.Leave(LastWords(mine))) {
      const absl::Status one = FromLastWords(words);
      const std::string where = rank == 0 ? "" : absl::StrCat("on rank ", rank, ": ");
      ++rank;
      const absl::Status status(one.code(), absl::StrCat(where, one.message()));
      if (all.ok() || (absl::IsCancelled(all) && !status.ok() && !absl::IsCancelled(status))) all = status;
    }
    return all;
  } catch (const CommError& error) {
    why = mine.ok() ? error.what() : std::string(mine.message());
  }
  world.Abort(why, mine.ok() ? 1 : ExitCode(mine.code()));
  throw CommError(why);  // not reached: Abort does not return, which g++ 12 does not see
}

// What the command came to; where this rank waited in vain for one that has ended, what that one said.
absl::Status RunOnRank(const Command& command, const CommandLine& line) {
  try {
    return command.run(line);
  } catch (const PeerLeft& left) {
    const absl::Status status = FromLastWords(left.words());
    if (status.ok()) throw;
    return status;
  }
}

// What was thrown, on one line.
int Fail(std::unique_ptr<Communicator>& world, const std::string& what) {
  const std::string line = what.substr(0, what.find('\n'));
  if (world != nullptr && world->size() > 1)
    world->Abort(line);  // names the rank; the others must not wait for it
  LogError(line);
  return 1;
}

}  // namespace

int ExitCode(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kOk:
      return 0;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kOutOfRange:
    case absl::StatusCode::kDataLoss:
      return kUserExit;
    case absl::StatusCode::kCancelled:
    case absl::StatusCode::kResourceExhausted:  // a full disk
      return kStoppedExit;
    case absl::StatusCode::kAborted:
      return kReaderGoneExit;
    default:
      return 1;
  }
}

int Finish(const absl::Status& status, bool print) {
  // `temper .. | head` says nothing, like other programs.
  if (!print || status.ok() || absl::IsAborted(status)) return ExitCode(status.code());
  if (absl::IsCancelled(status)) {
    LogInfo(status.message());
  } else {
    LogError(status.message());
  }
  return ExitCode(status.code());
}

int RunCommand(const Command& command, std::vector<std::string> arguments,
               std::unique_ptr<Communicator>& world) {
  absl::StatusOr<std::unique_ptr<Communicator>> opened = OpenWorld();
  if (!opened.ok()) return Finish(opened.status(), true);
  world = *std::move(opened);
  const bool first = world->rank() == 0;
  if (world->size() > 1) {
    SetLogPrefix(absl::StrCat("rank ", world->rank(), ": "));
    SetThreadDumpRank(world->rank());
  }
  if (world->size() > 1 && !command.ranks) {
    return Finish(
        absl::FailedPreconditionError(absl::StrCat("temper ", command.name, " is for one rank, and here are ",
                                                   world->size(), ": start it without mpirun or srun")),
        first);
  }
  at::set_num_threads(1);  // LibTorch's; the pool is ours
  const absl::Status status = RunOnRank(command, {.arguments = std::move(arguments), .world = world.get()});
  return Finish(Agree(*world, status), first);
}

int RunProgram(
    int argc, char** argv,
    absl::FunctionRef<int(std::vector<std::string> arguments, std::unique_ptr<Communicator>& world)> run) {
  std::set_new_handler(nullptr);
  LeaveNoCoreFiles();
  PrintThreadsOnQuit();
  std::unique_ptr<Communicator> world;
  try {
    return run(std::vector<std::string>(argv + 1, argv + argc), world);
  } catch (const InternalError& error) {
    return Fail(world, absl::StrCat("a mistake in temper, please report it: ", error.what()));
  } catch (const CommError& error) {
    return Fail(world, error.what());
  } catch (const c10::Error& error) {
    const std::string what = error.what_without_backtrace();
    const bool is_memory = what.find("can't allocate memory") != std::string::npos;
    return Fail(world, is_memory ? std::string("out of memory") : absl::StrCat("LibTorch: ", what));
  } catch (const std::bad_alloc&) {
    return Fail(world, "out of memory");
  } catch (const std::exception& error) {
    return Fail(world, error.what());
  }
}

}  // namespace temper
