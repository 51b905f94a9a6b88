// SPDX-License-Identifier: Apache-2.0
#include "rewards/sandbox/filter.h"

#include <asm/ioctls.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "absl/strings/str_cat.h"

namespace temper {
namespace {

// Names that an architecture or an older libseccomp does not have are left out.
constexpr const char* kAllowed[] = {
    // Files
    "access", "chdir", "chmod", "close", "close_range", "copy_file_range", "creat", "dup", "dup2", "dup3",
    "faccessat", "faccessat2", "fadvise64", "fallocate", "fchdir", "fchmod", "fchmodat", "fcntl", "fdatasync",
    "flock", "fstat", "fstatfs", "fsync", "ftruncate", "futimesat", "getcwd", "getdents", "getdents64",
    "link", "linkat", "lseek", "lstat", "mkdir", "mkdirat", "newfstatat", "open", "openat", "openat2", "pipe",
    "pipe2", "pread64", "preadv", "pwrite64", "pwritev", "read", "readahead", "readlink", "readlinkat",
    "readv", "rename", "renameat", "renameat2", "rmdir", "sendfile", "splice", "stat", "statfs", "statx",
    "symlink", "symlinkat", "sync_file_range", "tee", "truncate", "umask", "unlink", "unlinkat", "utime",
    "utimensat", "utimes", "write", "writev",
    // Waiting
    "epoll_create", "epoll_create1", "epoll_ctl", "epoll_pwait", "epoll_pwait2", "epoll_wait", "eventfd",
    "eventfd2", "poll", "ppoll", "pselect6", "select", "recvfrom", "shutdown", "getsockname", "getsockopt",
    // Memory
    "brk", "madvise", "mincore", "mlock", "mmap", "mprotect", "mremap", "msync", "munlock", "munmap",
    "get_mempolicy", "membarrier",
    // Processes and threads
    "arch_prctl", "execve", "exit", "exit_group", "fork", "futex", "futex_wait", "futex_waitv", "futex_wake",
    "get_robust_list", "getegid", "geteuid", "getgid", "getgroups", "getpgid", "getpgrp", "getpid", "getppid",
    "getpriority", "getresgid", "getresuid", "getrlimit", "getrusage", "getsid", "gettid", "getuid",
    "pidfd_open", "restart_syscall", "rseq", "sched_get_priority_max", "sched_get_priority_min",
    "sched_getaffinity", "sched_getparam", "sched_getscheduler", "sched_yield", "set_robust_list",
    "set_tid_address", "setpgid", "setsid", "uname", "getcpu", "vfork", "wait4", "waitid",
    // Signals
    "kill", "pause", "pidfd_send_signal", "rt_sigaction", "rt_sigpending", "rt_sigprocmask",
    "rt_sigqueueinfo", "rt_sigreturn", "rt_sigsuspend", "rt_sigtimedwait", "sigaltstack", "signalfd",
    "signalfd4", "tgkill", "tkill",
    // Time and chance
    "alarm", "clock_getres", "clock_gettime", "clock_nanosleep", "getitimer", "getrandom", "gettimeofday",
    "nanosleep", "setitimer", "time", "timer_create", "timer_delete", "timer_getoverrun", "timer_gettime",
    "timer_settime", "timerfd_create", "timerfd_gettime", "timerfd_settime", "times"};

constexpr uint64_t kNewNamespaces =
    CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;

// 0, or the first error.
int AddRules(scmp_filter_ctx filter) {
  int error = 0;
  const auto add = [&](uint32_t action, const char* name, const std::vector<scmp_arg_cmp>& when) {
    const int number = seccomp_syscall_resolve_name(name);
    if (number == __NR_SCMP_ERROR || error != 0) return;
    error = seccomp_rule_add_array(filter, action, number, static_cast<unsigned>(when.size()), when.data());
  };
  for (const char* name : kAllowed) add(SCMP_ACT_ALLOW, name, {});
  add(SCMP_ACT_ALLOW, "clone", {SCMP_A0(SCMP_CMP_MASKED_EQ, kNewNamespaces, 0)});
  for (const uint64_t request : {TCGETS, FIONREAD, FIONBIO, FIOCLEX, FIONCLEX, TIOCGWINSZ}) {
    add(SCMP_ACT_ALLOW, "ioctl", {SCMP_A1(SCMP_CMP_EQ, request)});
  }
  for (const uint64_t option : {PR_SET_NAME, PR_GET_NAME, PR_GET_DUMPABLE, PR_GET_PDEATHSIG}) {
    add(SCMP_ACT_ALLOW, "prctl", {SCMP_A0(SCMP_CMP_EQ, option)});
  }
  // A process may read its limits and lower most; raising a hard one needs a capability that it has not. Of
  // processor time it may not: where the kernel ends a run is to be ours to say. Nor of cores: at 0 a handler
  // of the host's would run.
  add(SCMP_ACT_ALLOW, "prlimit64", {SCMP_A0(SCMP_CMP_EQ, 0), SCMP_A2(SCMP_CMP_EQ, 0)});
  for (const uint64_t limit : {RLIMIT_AS, RLIMIT_DATA, RLIMIT_FSIZE, RLIMIT_NOFILE, RLIMIT_NPROC, RLIMIT_RSS,
                               RLIMIT_STACK, RLIMIT_MEMLOCK}) {
    add(SCMP_ACT_ALLOW, "prlimit64", {SCMP_A0(SCMP_CMP_EQ, 0), SCMP_A1(SCMP_CMP_EQ, limit)});
    add(SCMP_ACT_ALLOW, "setrlimit", {SCMP_A0(SCMP_CMP_EQ, limit)});
  }
  add(SCMP_ACT_ALLOW, "socketpair", {SCMP_A0(SCMP_CMP_EQ, AF_UNIX)});
  add(SCMP_ACT_ALLOW, "sendto", {SCMP_A4(SCMP_CMP_EQ, 0)});  // to the other end, to no address
  return error;
}

}  // namespace

absl::StatusOr<std::vector<sock_filter>> SandboxFilter() {
  const auto failed = [](const char* what, int error) {
    return absl::FailedPreconditionError(absl::StrCat("sandbox: libseccomp: ", what, ": ", strerror(error)));
  };
  const std::unique_ptr<void, void (*)(scmp_filter_ctx)> filter(seccomp_init(SCMP_ACT_ERRNO(ENOSYS)),
                                                                seccomp_release);
  if (filter == nullptr) return failed("init", ENOMEM);
  if (const int error = seccomp_attr_set(filter.get(), SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS)) {
    return failed("architecture", -error);
  }
  seccomp_attr_set(filter.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2);  // a binary tree; without it only slower
  if (const int error = AddRules(filter.get())) return failed("rule", -error);
  const int file = memfd_create("filter", MFD_CLOEXEC);
  if (file < 0) return failed("memfd_create", errno);
  std::vector<sock_filter> program(4096);
  const int error = seccomp_export_bpf(filter.get(), file);
  const ssize_t bytes = pread(file, program.data(), program.size() * sizeof(sock_filter), 0);
  close(file);
  if (error != 0) return failed("export", -error);
  if (bytes <= 0 || bytes == static_cast<ssize_t>(program.size() * sizeof(sock_filter))) {
    return failed("export", EMSGSIZE);
  }
  program.resize(static_cast<size_t>(bytes) / sizeof(sock_filter));
  return program;
}

}  // namespace temper
