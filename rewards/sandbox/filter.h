// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <linux/filter.h>

#include <vector>

#include "core/status.h"

namespace temper {

// The seccomp filter of sandboxed programs: a list of the system calls that a compiler, a C++ program and a
// Python interpreter need for files, memory, threads, processes and time; any other is answered ENOSYS, as by
// a kernel that has never heard of it. Not on the list: sockets (a socketpair is), namespaces, mounts,
// tracing, keys, bpf, perf, io_uring, userfaultfd, memfd, System V and POSIX queues, set*id, and every ioctl
// that types into a terminal. System calls of another architecture kill the process.
absl::StatusOr<std::vector<sock_filter>> SandboxFilter();

}  // namespace temper
