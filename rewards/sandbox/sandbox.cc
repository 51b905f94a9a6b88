// SPDX-License-Identifier: Apache-2.0
#include "rewards/sandbox/sandbox.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "rewards/sandbox/filter.h"
#include "rewards/sandbox/limits.h"

// glibc's clone by its other name: ThreadSanitizer takes clone for a fork, and its books break where memory
// is shared.
extern "C" int __clone(int (*function)(void*), void* stack, int flags, void* argument, ...);

namespace temper {
namespace {

constexpr uint32_t kUserInside = 1000;       // the one user of a user namespace
constexpr uint32_t kFirstUser = 0x60000000;  // as root a run's user is this + the thread's id: no one else's
constexpr int kOutputs[] = {1, 2, 3};
constexpr size_t kChildStack = 64 << 10;
constexpr const char* kEnvironment[] = {"PATH=/usr/bin",          "HOME=/tmp",        "TMPDIR=/tmp",
                                        "LANG=C.UTF-8",           "PYTHONHASHSEED=0", "PYTHONUTF8=1",
                                        "OPENBLAS_NUM_THREADS=1", "OMP_NUM_THREADS=1"};

absl::Status Failed(const std::string& what, int error) {
  return absl::UnavailableError(absl::StrCat("sandbox: ", what, ": ", strerror(error)));
}

// A file in memory that no path names. The number is above those that the program gets.
absl::StatusOr<int> MemoryFile(const char* name) {
  const int low = memfd_create(name, MFD_CLOEXEC);
  if (low < 0) return Failed("memfd_create", errno);
  const int file = fcntl(low, F_DUPFD_CLOEXEC, 10);
  const int error = errno;
  close(low);
  if (file < 0) return Failed("dup", error);
  return file;
}

absl::Status Fill(int file, std::string_view bytes) {
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t n = pwrite(file, bytes.data() + done, bytes.size() - done, static_cast<off_t>(done));
    if (n < 0 && errno != EINTR) return Failed("write the input", errno);
    if (n > 0) done += static_cast<size_t>(n);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> Collect(int file, int64_t limit, bool* cut) {
  struct stat found {};
  if (fstat(file, &found) != 0) return Failed("fstat", errno);
  if (found.st_size > limit) *cut = true;
  std::string bytes(static_cast<size_t>(std::min<int64_t>(found.st_size, limit)), 0);
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t n = pread(file, bytes.data() + done, bytes.size() - done, static_cast<off_t>(done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return Failed("read an output", n == 0 ? EIO : errno);
    done += static_cast<size_t>(n);
  }
  return bytes;
}

double Seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
}

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Until the process has ended, the time is over or `stop` says so; whether it has ended.
bool WaitFor(int process_file, double until, absl::FunctionRef<bool()> stop) {
  constexpr double kQuestion = 0.1;
  for (;;) {
    const double left = until - Now();
    pollfd waiting{.fd = process_file, .events = POLLIN, .revents = 0};
    const int n = poll(&waiting, 1, static_cast<int>(std::ceil(std::clamp(left, 0.0, kQuestion) * 1e3)));
    if (n > 0) return true;
    if (n < 0 && errno != EINTR) return false;
    if (left <= 0 || stop()) return false;
  }
}

}  // namespace

// One run: everything that the child will need, laid out; then the child.
struct Sandbox::Launch {
  const Sandbox& sandbox;
  const SandboxProgram& program;
  std::unique_ptr<SandboxCgroup> cgroup = {};
  std::array<int, 4> files = {-1, -1, -1, -1};
  pid_t process = -1;
  int process_file = -1;

  SandboxPlan plan = {};
  std::vector<std::string> paths = {};
  std::vector<SandboxEntry> entries = {};
  std::vector<SandboxLimit> limits = {};
  std::vector<char*> command = {}, environment = {};
  std::string root_options = {}, id_maps[2] = {};

  ~Launch() {
    for (const int file : files) {
      if (file >= 0) close(file);
    }
    if (process_file >= 0) close(process_file);
  }

  absl::Status Prepare() {
    constexpr const char* kNames[] = {"input", "output", "errors", "result"};
    for (size_t i = 0; i < files.size(); ++i) {
      TEMPER_ASSIGN_OR_RETURN(files[i], MemoryFile(kNames[i]));
      plan.files[i] = files[i];
    }
    TEMPER_RETURN_IF_ERROR(Fill(files[0], program.input));
    if (sandbox.cgroups_.version() != 0) {
      const int64_t all =
          program.limits.memory_bytes + program.limits.disk_bytes + 3 * program.limits.file_bytes;
      TEMPER_ASSIGN_OR_RETURN(cgroup, sandbox.cgroups_.Make(all, program.limits.processes));
      plan.joins = cgroup->joins().data();
      plan.join_count = cgroup->joins().size();
    }
    PlanUser();
    PlanRoot();
    PlanLimits();
    for (const std::string& word : program.command) command.push_back(const_cast<char*>(word.c_str()));
    command.push_back(nullptr);
    plan.command = command.data();
    for (const char* variable : kEnvironment) environment.push_back(const_cast<char*>(variable));
    for (const std::string& variable : program.host->environment())
      environment.push_back(const_cast<char*>(variable.c_str()));
    environment.push_back(nullptr);
    plan.environment = environment.data();
    plan.filter = {.len = static_cast<unsigned short>(sandbox.filter_.size()),
                   .filter = const_cast<sock_filter*>(sandbox.filter_.data())};
    return absl::OkStatus();
  }

  void PlanUser() {
    plan.user_namespace = sandbox.user_namespace_;
    plan.uid = sandbox.user_namespace_ ? kUserInside : kFirstUser + static_cast<uint32_t>(gettid());
    id_maps[0] = absl::StrCat(kUserInside, " ", geteuid(), " 1");
    id_maps[1] = absl::StrCat(kUserInside, " ", getegid(), " 1");
    for (int i = 0; i < 2; ++i) plan.id_maps[i] = id_maps[i].c_str();
  }

  void PlanRoot() {
    int64_t size = program.limits.disk_bytes + (1 << 20);
    for (const SandboxFile& file : program.files) size += static_cast<int64_t>(file.bytes.size()) + 4096;
    root_options = absl::StrCat("mode=0755,nr_inodes=4096,size=", size);
    plan.root_options = root_options.c_str();
    paths.reserve(program.files.size());  // entries point into it
    const auto& host = program.host->entries();
    plan.host_count = host.size();
    for (const HostFiles::Entry& entry : host) {
      entries.push_back({.kind = entry.kind, .path = entry.path.c_str(), .source = entry.source.c_str()});
    }
    entries.push_back({.kind = SandboxEntry::kDirectory, .path = "dev"});
    for (const char* path : {"/dev/null", "/dev/zero", "/dev/random", "/dev/urandom"}) {
      entries.push_back({.kind = SandboxEntry::kDevice, .path = path + 1, .source = path});
    }
    entries.push_back({.kind = SandboxEntry::kLink, .path = "dev/shm", .source = "/tmp"});
    entries.push_back({.kind = SandboxEntry::kDirectory, .path = "box"});
    for (const SandboxFile& file : program.files) {
      paths.push_back(absl::StrCat("box/", file.name));
      entries.push_back({.kind = SandboxEntry::kFile,
                         .path = paths.back().c_str(),
                         .source = file.bytes.data(),
                         .size = file.bytes.size(),
                         .mode = file.executable ? 0755 : 0644});
    }
    plan.entries = entries.data();
    plan.entry_count = entries.size();
  }

  void PlanLimits() {
    limits = LimitsOf(program.limits);
    plan.limits = limits.data();
    plan.limit_count = limits.size();
  }

  // The child runs in our memory, on a stack of its own, until it is another program; this thread stands
  // still until then. So nothing of ours is copied, however large we are, and no lock of another thread's can
  // be held.
  absl::Status Start() {
    int flags = CLONE_VM | CLONE_VFORK | CLONE_PIDFD | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET |
                CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP | SIGCHLD;
    if (plan.user_namespace) flags |= CLONE_NEWUSER;
    const auto stack = std::make_unique<char[]>(kChildStack);
    char* top = stack.get() + kChildStack - reinterpret_cast<uintptr_t>(stack.get()) % 16;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);  // a handler of ours must not run in the child
    process = __clone(SandboxChild, top, flags, &plan, &process_file);
    const int error = errno;
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    if (process < 0) {
      process_file = -1;
      return Failed(plan.user_namespace ? "clone (with a user namespace)" : "clone", error);
    }
    if (plan.step == nullptr) return absl::OkStatus();
    waitpid(process, nullptr, __WALL);
    if (std::string_view(plan.step) == SandboxPlan::kLimits) TEMPER_RETURN_IF_ERROR(CheckAllowed(limits));
    return Failed(absl::StrCat(plan.step, *plan.detail != 0 ? " " : "", plan.detail), plan.error);
  }

  absl::StatusOr<SandboxRun> Finish(absl::FunctionRef<bool()> stop) {
    const double begin = Now();
    const bool in_time = WaitFor(process_file, begin + program.limits.wall_seconds, stop);
    // The first process of a process namespace: with it all others die, and only then can it be waited for.
    if (!in_time) kill(process, SIGKILL);
    int status = 0;
    rusage usage{};
    while (wait4(process, &status, __WALL, &usage) < 0) {
      if (errno != EINTR) return Failed("wait4", errno);
    }
    if (!in_time && stop()) return absl::CancelledError("stopped on request");
    SandboxRun run;
    run.wall_seconds = Now() - begin;
    run.cpu_seconds = Seconds(usage.ru_utime) + Seconds(usage.ru_stime);
    std::string* const outputs[] = {&run.output, &run.errors, &run.result};
    for (size_t i = 0; i < 3; ++i) {
      TEMPER_ASSIGN_OR_RETURN(*outputs[i], Collect(files[kOutputs[i]], program.limits.file_bytes, &run.cut));
    }
    const int signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    // The limit counts whole ticks, the usage what ran in them: where a hypervisor takes a share of each
    // tick, as on a busy virtual machine, a program is killed for a second of which it is said to have used
    // 0.8.
    const bool spent = run.cpu_seconds > static_cast<double>(program.limits.cpu_seconds) / 3;
    run.code = signal != 0 ? signal : WEXITSTATUS(status);
    if (!in_time || (signal == SIGKILL && spent)) {
      run.end = SandboxRun::End::kTimeout;
    } else if (cgroup != nullptr && signal == SIGKILL && cgroup->RanOutOfMemory()) {
      run.end = SandboxRun::End::kMemory;
    } else if (signal == SIGKILL) {  // nobody inside can send it to the first process
      return absl::UnavailableError(
          "sandbox: the program was killed from outside (is the machine out of memory?)");
    } else if (signal != 0) {
      run.end = SandboxRun::End::kSignal;
    }
    return run;
  }
};

absl::StatusOr<std::unique_ptr<Sandbox>> Sandbox::Create() {
  TEMPER_ASSIGN_OR_RETURN(const std::vector<sock_filter> filter, SandboxFilter());
  TEMPER_ASSIGN_OR_RETURN(const HostFiles probe, HostFiles::OfProgram("/bin/true"));
  std::string failures;
  for (const bool user_namespace : {false, true}) {
    if (!user_namespace && geteuid() != 0) continue;
    for (const bool grouped : {true, false}) {
      std::unique_ptr<Sandbox> sandbox(new Sandbox(user_namespace));
      sandbox->filter_ = filter;
      if (grouped) sandbox->cgroups_ = SandboxCgroups::Find();
      if (grouped && sandbox->cgroups_.version() == 0) continue;
      const absl::StatusOr<SandboxRun> run = sandbox->Run({.command = {probe.program()}, .host = &probe});
      if (run.ok() && run->end == SandboxRun::End::kExit && run->code == 0) return sandbox;
      if (absl::IsFailedPrecondition(run.status())) return run.status();
      if (grouped) continue;
      absl::StrAppend(&failures, failures.empty() ? "" : "; ", user_namespace ? "" : "as root, ",
                      run.ok() ? "/bin/true does not run" : run.status().message());
    }
  }
  return absl::FailedPreconditionError(
      absl::StrCat("no sandbox can be had here, and programs do not run without one: ", failures,
                   " (it needs Linux 5.14 and either root with CAP_SYS_ADMIN or user namespaces: "
                   "sysctl user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns)"));
}

absl::StatusOr<SandboxRun> Sandbox::Run(const SandboxProgram& program, absl::FunctionRef<bool()> stop) const {
  TEMPER_CHECK(!program.command.empty() && program.host != nullptr, "no command");
  Launch launch{.sandbox = *this, .program = program};
  TEMPER_RETURN_IF_ERROR(launch.Prepare());
  TEMPER_RETURN_IF_ERROR(launch.Start());
  return launch.Finish(stop);
}

std::string Sandbox::Describe() const {
  return absl::StrCat(user_namespace_ ? "a fresh user namespace" : "another user",
                      cgroups_.version() == 0
                          ? ", no control group"
                          : absl::StrCat(", control groups of version ", cgroups_.version()));
}

}  // namespace temper
