// SPDX-License-Identifier: Apache-2.0
#include "cli/job/kept_child.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "core/text.h"

namespace temper {
namespace {

constexpr int kStops[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};

// But those that `nohup`, or a shell of its background jobs, wants ignored.
const sigset_t& SignalsToKeep() {
  static const sigset_t kept = [] {
    sigset_t all;
    sigemptyset(&all);
    for (const int number : kStops) {
      struct sigaction inherited {};
      sigaction(number, nullptr, &inherited);
      if (inherited.sa_handler != SIG_IGN) sigaddset(&all, number);
    }
    sigaddset(&all, SIGCHLD);
    return all;
  }();
  return kept;
}

int SignalFile() {
  static const int file = signalfd(-1, &SignalsToKeep(), SFD_CLOEXEC | SFD_NONBLOCK);
  return file;
}

// /proc/PID/stat: the parent stands behind the name, which may hold anything, and the state.
pid_t ParentOf(pid_t pid) {
  std::ifstream file(absl::StrCat("/proc/", pid, "/stat"));
  std::string text;
  std::getline(file, text, '\0');
  const size_t name_ends = text.rfind(')');
  if (name_ends == std::string::npos || text.size() < name_ends + 5 || text[name_ends + 2] == 'Z') return -1;
  return static_cast<pid_t>(std::strtol(text.c_str() + name_ends + 4, nullptr, 10));
}

// Those that live, of all that this process has started, and what they have.
std::vector<pid_t> Descendants() {
  std::map<pid_t, pid_t> parents;
  DIR* const folder = opendir("/proc");
  if (folder == nullptr) return {};
  while (const dirent* const entry = readdir(folder)) {
    int pid = 0;
    if (!absl::SimpleAtoi(entry->d_name, &pid)) continue;
    const pid_t parent = ParentOf(pid);
    if (parent > 0) parents[pid] = parent;
  }
  closedir(folder);
  std::vector<pid_t> below;
  for (const auto& [pid, parent] : parents) {
    pid_t at = pid;
    for (int steps = 0; steps < 1000 && at > 1 && at != getpid(); ++steps) {
      const auto up = parents.find(at);
      at = up == parents.end() ? 0 : up->second;
    }
    if (at == getpid() && pid != getpid()) below.push_back(pid);
  }
  return below;
}

// In the child, from fork to exec; returns errno of what failed.
int BecomeChild(char* const* words, pid_t parent) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(1);  // it has died before
  for (const int number : {SIGPIPE, SIGXFSZ}) signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  execvp(words[0], words);
  return errno;
}

}  // namespace

void KeepSignalsAndOrphans() {
  signal(SIGCHLD, SIG_DFL);  // ignored, as it may be inherited, it hides how a child ended
  sigprocmask(SIG_BLOCK, &SignalsToKeep(), nullptr);
  SignalFile();
  prctl(PR_SET_CHILD_SUBREAPER, 1);
}

absl::StatusOr<KeptChild> KeptChild::Start(const std::vector<std::string>& command) {
  std::vector<char*> words;
  for (const std::string& word : command) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  // What failed comes back through a pipe, which the new program does not have.
  int ends[2] = {-1, -1}, error = 0;
  if (pipe2(ends, O_CLOEXEC) != 0) error = errno;
  const pid_t parent = getpid(), pid = error == 0 ? fork() : -1;
  if (pid == 0) {
    error = BecomeChild(words.data(), parent);
    if (write(ends[1], &error, sizeof error) < 0) _exit(126);
    _exit(127);
  }
  if (pid < 0 && error == 0) error = errno;
  close(ends[1]);
  if (pid > 0 && read(ends[0], &error, sizeof error) != sizeof error) error = 0;
  close(ends[0]);
  if (error != 0)
    return absl::FailedPreconditionError(
        absl::StrCat(Printable(command[0], 200), ": cannot be started: ", std::strerror(error)));
  return KeptChild(pid);
}

KeptChild::Event KeptChild::Wait(absl::Duration most) {
  Event event;
  pollfd waits{SignalFile(), POLLIN, 0};
  // What is below zero would be without end.
  poll(&waits, 1, static_cast<int>(std::max<int64_t>(absl::ToInt64Milliseconds(most), 0)));
  signalfd_siginfo info;
  while (read(SignalFile(), &info, sizeof(info)) == sizeof(info)) event.asked |= info.ssi_signo != SIGCHLD;
  int ended = 0;
  for (pid_t pid; (pid = waitpid(-1, &ended, WNOHANG)) > 0;) {
    if (pid == pid_) event.code = WIFEXITED(ended) ? WEXITSTATUS(ended) : 128 + WTERMSIG(ended);
  }
  return event;
}

void KeptChild::Signal(int number) const { kill(-pid_, number); }

bool KeptChild::AnyLeft() { return !Descendants().empty(); }

void KeptChild::KillAll() {
  const absl::Time until = absl::Now() + absl::Seconds(10);
  for (std::vector<pid_t> left = Descendants(); !left.empty() && absl::Now() < until; left = Descendants()) {
    for (const pid_t pid : left) kill(pid, SIGKILL);
    absl::SleepFor(absl::Milliseconds(50));
    while (waitpid(-1, nullptr, WNOHANG) > 0) {
    }
  }
}

}  // namespace temper
