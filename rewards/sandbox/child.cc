// SPDX-License-Identifier: Apache-2.0
#include "rewards/sandbox/child.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/mount.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

// The child borrows its parent's thread: a sanitizer's books of that thread must not see it.
#define TEMPER_CHILD __attribute__((no_sanitize("address", "thread", "undefined")))

namespace temper {
namespace {

[[noreturn]] TEMPER_CHILD void Fail(SandboxPlan* plan, const char* step, const char* detail) {
  plan->error = errno;
  plan->detail = detail;
  plan->step = step;
  for (;;) syscall(SYS_exit_group, 127);
}

TEMPER_CHILD size_t Length(const char* text) {
  size_t length = 0;
  while (text[length] != 0) ++length;
  return length;
}

// All of `size` bytes into the file at `path`.
TEMPER_CHILD bool WriteAll(const char* path, int flags, int mode, const char* bytes, size_t size) {
  const int file = static_cast<int>(syscall(SYS_openat, AT_FDCWD, path, flags | O_WRONLY | O_CLOEXEC, mode));
  if (file < 0) return false;
  while (size > 0) {
    const ssize_t written = syscall(SYS_write, file, bytes, size);
    if (written <= 0) return false;
    bytes += written;
    size -= static_cast<size_t>(written);
  }
  return syscall(SYS_close, file) == 0;
}

TEMPER_CHILD void ResetSignals(SandboxPlan* plan) {
  struct {
    void (*handler)(int);
    unsigned long flags;
    void (*restorer)();
    uint64_t mask;
  } action = {SIG_DFL, 0, nullptr, 0};  // the kernel's own struct sigaction
  for (int signal = 1; signal <= 64; ++signal) {
    if (signal == SIGKILL || signal == SIGSTOP) continue;
    if (syscall(SYS_rt_sigaction, signal, &action, nullptr, 8) != 0) Fail(plan, "rt_sigaction", "");
  }
}

TEMPER_CHILD void MoveDescriptors(SandboxPlan* plan) {
  for (int i = 0; i < 4; ++i) {
    if (syscall(SYS_dup3, plan->files[i], i, 0) < 0) Fail(plan, "dup3", "");
  }
  if (syscall(SYS_close_range, 4, ~0U, 0) != 0) Fail(plan, "close_range", "");
}

TEMPER_CHILD void MapIds(SandboxPlan* plan) {
  constexpr const char* kMaps[] = {"/proc/self/uid_map", "/proc/self/gid_map"};
  if (!WriteAll("/proc/self/setgroups", 0, 0, "deny", 4)) Fail(plan, "write", "/proc/self/setgroups");
  for (int i = 0; i < 2; ++i) {
    if (!WriteAll(kMaps[i], 0, 0, plan->id_maps[i], Length(plan->id_maps[i]))) Fail(plan, "write", kMaps[i]);
  }
}

TEMPER_CHILD bool Restrict(const char* path, uint64_t attributes, unsigned flags) {
  mount_attr attr = {};
  attr.attr_set = attributes;
  return syscall(SYS_mount_setattr, AT_FDCWD, path, flags, &attr, sizeof(attr)) == 0;
}

// What is bound over files that are hidden: nobody's, and out of sight once the root is made.
constexpr const char* kNoFile = "no-file";
constexpr const char* kNoTree = "no-tree";

TEMPER_CHILD void Make(SandboxPlan* plan, const SandboxEntry& entry) {
  switch (entry.kind) {
    case SandboxEntry::kDirectory:
      if (syscall(SYS_mkdirat, AT_FDCWD, entry.path, entry.mode) != 0) Fail(plan, "mkdir", entry.path);
      return;
    case SandboxEntry::kFile:
      if (!WriteAll(entry.path, O_CREAT | O_EXCL, entry.mode, entry.source, entry.size)) {
        Fail(plan, "write", entry.path);
      }
      return;
    case SandboxEntry::kLink:
      if (syscall(SYS_symlinkat, entry.source, AT_FDCWD, entry.path) != 0) Fail(plan, "symlink", entry.path);
      return;
    case SandboxEntry::kHostFile:
    case SandboxEntry::kHostTree:
    case SandboxEntry::kDevice: {
      const bool made = entry.kind == SandboxEntry::kHostTree
                            ? syscall(SYS_mkdirat, AT_FDCWD, entry.path, 0755) == 0
                            : WriteAll(entry.path, O_CREAT | O_EXCL, 0600, "", 0);
      if (!made) Fail(plan, "make", entry.path);
      if (syscall(SYS_mount, entry.source, entry.path, nullptr, MS_BIND | MS_REC, nullptr) != 0) {
        Fail(plan, "bind", entry.source);
      }
      const uint64_t device = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC;
      if (entry.kind == SandboxEntry::kDevice && !Restrict(entry.path, device, 0)) {
        Fail(plan, "mount_setattr", entry.path);
      }
      return;
    }
    case SandboxEntry::kNoFile:
    case SandboxEntry::kNoTree: {
      const char* const nothing = entry.kind == SandboxEntry::kNoFile ? kNoFile : kNoTree;
      if (syscall(SYS_mount, nothing, entry.path, nullptr, MS_BIND, nullptr) != 0 && errno != ENOENT) {
        Fail(plan, "hide", entry.path);
      }
      return;
    }
  }
}

// Everything that is bound so far, at once; the root itself is written to a little longer.
TEMPER_CHILD void RestrictHost(SandboxPlan* plan) {
  mount_attr writable = {};
  writable.attr_clr = MOUNT_ATTR_RDONLY;
  if (!Restrict(".", MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, AT_RECURSIVE) ||
      syscall(SYS_mount_setattr, AT_FDCWD, ".", 0, &writable, sizeof(writable)) != 0) {
    Fail(plan, "mount_setattr", "the host's files");
  }
}

// A small file system in memory becomes the root; nothing of it can be written to but /tmp, and of the host's
// only the plan's files are in it.
TEMPER_CHILD void MakeRoot(SandboxPlan* plan) {
  constexpr const char* kPlace = "/tmp";  // covered in this namespace only
  if (syscall(SYS_mount, nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) Fail(plan, "mount", "/");
  if (syscall(SYS_mount, "tmpfs", kPlace, "tmpfs", MS_NOSUID | MS_NODEV, plan->root_options) != 0) {
    Fail(plan, "mount", "a tmpfs");
  }
  if (syscall(SYS_chdir, kPlace) != 0) Fail(plan, "chdir", kPlace);
  syscall(SYS_umask, 0);
  if (!WriteAll(kNoFile, O_CREAT | O_EXCL, 0, "", 0)) Fail(plan, "make", kNoFile);
  if (syscall(SYS_mkdirat, AT_FDCWD, kNoTree, 0) != 0) Fail(plan, "make", kNoTree);
  size_t i = 0;
  for (; i < plan->host_count; ++i) Make(plan, plan->entries[i]);
  RestrictHost(plan);
  for (; i < plan->entry_count; ++i) Make(plan, plan->entries[i]);
  syscall(SYS_unlinkat, AT_FDCWD, kNoFile, 0);
  syscall(SYS_unlinkat, AT_FDCWD, kNoTree, AT_REMOVEDIR);
  if (syscall(SYS_mkdirat, AT_FDCWD, "tmp", 01777) != 0) Fail(plan, "mkdir", "tmp");
  if (syscall(SYS_mount, "tmp", "tmp", nullptr, MS_BIND, nullptr) != 0) Fail(plan, "bind", "tmp");
  if (!Restrict("tmp", MOUNT_ATTR_NOEXEC, 0)) Fail(plan, "mount_setattr", "tmp");
  if (!Restrict(".", MOUNT_ATTR_RDONLY, 0)) Fail(plan, "mount_setattr", "the root");
  if (syscall(SYS_pivot_root, ".", ".") != 0) Fail(plan, "pivot_root", "");
  if (syscall(SYS_umount2, ".", 2 /* MNT_DETACH */) != 0) Fail(plan, "umount2", "the host's root");
  if (syscall(SYS_chdir, "/tmp") != 0) Fail(plan, "chdir", "tmp");
  syscall(SYS_umask, 077);
}

TEMPER_CHILD void SetLimits(SandboxPlan* plan) {
  for (size_t i = 0; i < plan->limit_count; ++i) {
    const uint64_t pair[2] = {plan->limits[i].value, plan->limits[i].value};  // soft and hard
    if (syscall(SYS_prlimit64, 0, plan->limits[i].resource, pair, nullptr) != 0) {
      Fail(plan, SandboxPlan::kLimits, plan->limits[i].name);
    }
  }
}

TEMPER_CHILD void DropPrivileges(SandboxPlan* plan) {
  for (unsigned long capability = 0; capability < 64; ++capability) {
    if (syscall(SYS_prctl, PR_CAPBSET_DROP, capability, 0, 0, 0) != 0 && errno != EINVAL) {
      Fail(plan, "prctl", "PR_CAPBSET_DROP");
    }
  }
  if (!plan->user_namespace && syscall(SYS_setgroups, 0, nullptr) != 0) Fail(plan, "setgroups", "");
  if (syscall(SYS_setresgid, plan->uid, plan->uid, plan->uid) != 0) Fail(plan, "setresgid", "");
  if (syscall(SYS_setresuid, plan->uid, plan->uid, plan->uid) != 0) Fail(plan, "setresuid", "");
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct none[2] = {};
  if (syscall(SYS_capset, &header, none) != 0) Fail(plan, "capset", "");
  // After the change of user, which clears it.
  if (syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0) Fail(plan, "prctl", "PR_SET_PDEATHSIG");
  if (syscall(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) Fail(plan, "prctl", "PR_SET_NO_NEW_PRIVS");
  if (syscall(SYS_prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &plan->filter, 0, 0) != 0) {
    Fail(plan, "prctl", "PR_SET_SECCOMP");
  }
}

}  // namespace

TEMPER_CHILD int SandboxChild(void* data) {
  auto* plan = static_cast<SandboxPlan*>(data);
  ResetSignals(plan);
  if (syscall(SYS_setsid) < 0) Fail(plan, "setsid", "");
  for (size_t i = 0; i < plan->join_count; ++i) {
    if (syscall(SYS_write, plan->joins[i], "0", 1) != 1) Fail(plan, "join a cgroup", "");
  }
  // Should memory run out all the same, the kernel is to take this process first.
  if (!WriteAll("/proc/self/oom_score_adj", 0, 0, "1000", 4)) Fail(plan, "write", "/proc/self/oom_score_adj");
  MoveDescriptors(plan);
  if (plan->user_namespace) MapIds(plan);
  MakeRoot(plan);
  if (syscall(SYS_sethostname, "sandbox", 7) != 0) Fail(plan, "sethostname", "");
  SetLimits(plan);
  DropPrivileges(plan);
  const uint64_t no_signals = 0;
  if (syscall(SYS_rt_sigprocmask, SIG_SETMASK, &no_signals, nullptr, 8) != 0) Fail(plan, "sigprocmask", "");
  syscall(SYS_execve, plan->command[0], plan->command, plan->environment);
  Fail(plan, "execve", plan->command[0]);
}

}  // namespace temper
