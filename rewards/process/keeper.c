// SPDX-License-Identifier: Apache-2.0
// A program of its own, carried inside temper (rewards/process/keeper.h): starts a command and sees to it that nothing of
// it is left, whatever it did, once the command has ended, its starter has closed the lifeline, or is dead.
//
//   keeper COMMAND ARGUMENTS..   0 to 2: the command's; 3: the lifeline, whose other end only the starter holds;
//                                4: gets errno as an int where the command cannot be started; 5: this program
//
// Where the kernel allows it, the command runs in a process namespace (as an ordinary user in a user namespace,
// under its own number), whose first process is a copy of this one: when that ends, the kernel kills all others.
// Elsewhere this process is the one that orphans go to, and kills them. It ends as the command did.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum { kLifeline = 3, kStatus = 4, kProgram = 5 };

static int end[2];  // the first process's word of how the command ended

static void Give(int file, int value) {
  if (write(file, &value, sizeof(value)) < 0) return;
}

static int WriteText(const char* path, const char* text) {
  const int file = open(path, O_WRONLY | O_CLOEXEC);
  if (file < 0) return -1;
  const ssize_t size = (ssize_t)strlen(text), written = write(file, text, (size_t)size);
  close(file);
  return written == size ? 0 : -1;
}

// Whether children from now on are in a process namespace of their own.
static int MakeNamespace(void) {
  const int flags = CLONE_NEWPID | CLONE_NEWNS;
  const unsigned user = geteuid(), group = getegid();
  // For the test of the other way; whoever sets it weakens a guard of his own program only.
  if (getenv("TEMPER_KEEPER_PLAIN") != NULL) return 0;
  if (unshare(flags) == 0) return 1;
  if (unshare(flags | CLONE_NEWUSER) != 0) return 0;
  char map[64];
  int failed = WriteText("/proc/self/setgroups", "deny");
  snprintf(map, sizeof(map), "%u %u 1", user, user);
  failed |= WriteText("/proc/self/uid_map", map);
  snprintf(map, sizeof(map), "%u %u 1", group, group);
  failed |= WriteText("/proc/self/gid_map", map);
  if (!failed) return 1;
  Give(kStatus, errno);
  _exit(127);
}

static void ReleaseFiles(void) {
  close(kStatus);
  const int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int file = 0; file < 3; ++file) dup2(nothing, file);
  if (nothing > 2) close(nothing);
}

static void Run(char** command) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  execvp(command[0], command);
  Give(kStatus, errno);
  _exit(127);
}

// Until `child` has ended, whose status it returns, or the lifeline is closed: -1.
static int Watch(pid_t child) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGCHLD);
  const int ended = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  for (;;) {
    int status = 0;
    for (pid_t one; (one = waitpid(-1, &status, WNOHANG | __WALL)) > 0;) {
      if (one == child) return status;
    }
    struct pollfd files[2] = {{ended, POLLIN, 0}, {kLifeline, 0, 0}};
    poll(files, 2, -1);
    struct signalfd_siginfo info;
    while (read(ended, &info, sizeof(info)) > 0) {
    }
    if (files[1].revents != 0) return -1;
  }
}

// The first process of the namespace.
static void First(char** command) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL);
  mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);  // else the outer one shows through
  const pid_t child = fork();
  if (child == 0) Run(command);
  if (child < 0) Give(kStatus, errno);
  ReleaseFiles();
  Give(end[1], Watch(child));
  _exit(0);
}

// The parent of the process that has this name in /proc; 0: there is none.
static pid_t ParentOf(const char* name) {
  char path[300], text[512];
  snprintf(path, sizeof(path), "/proc/%s/stat", name);
  const int file = atoi(name) > 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  if (file < 0) return 0;
  const ssize_t size = read(file, text, sizeof(text) - 1);
  close(file);
  text[size > 0 ? size : 0] = 0;
  const char* rest = strrchr(text, ')');  // ") S PARENT .."
  return rest != NULL && strlen(rest) > 4 ? atoi(rest + 4) : 0;
}

// Kills what is left until nothing is.
static void KillOrphans(void) {
  for (;;) {
    DIR* processes = opendir("/proc");
    if (processes == NULL) return;
    for (struct dirent* entry; (entry = readdir(processes)) != NULL;) {
      if (ParentOf(entry->d_name) == getpid()) kill(atoi(entry->d_name), SIGKILL);
    }
    closedir(processes);
    pid_t one;
    while ((one = waitpid(-1, NULL, WNOHANG | __WALL)) > 0) {
    }
    if (one < 0 && errno == ECHILD) return;
    usleep(1000);
  }
}

static int EndAs(int status) {
  if (status == -1) return 0;
  if (WIFEXITED(status)) return WEXITSTATUS(status);
  // This copy of the command's end leaves no core and starts no handler of core_pattern (core(5)), as a limit of 0 would.
  prctl(PR_SET_DUMPABLE, 0);
  signal(WTERMSIG(status), SIG_DFL);
  raise(WTERMSIG(status));
  return 128 + WTERMSIG(status);
}

int main(int argc, char** argv) {
  prctl(PR_SET_NAME, "temper-keeper");
  if (argc < 2 || pipe2(end, O_CLOEXEC) != 0) return 127;
  fcntl(kLifeline, F_SETFD, FD_CLOEXEC);
  fcntl(kStatus, F_SETFD, FD_CLOEXEC);
  fcntl(kProgram, F_SETFD, FD_CLOEXEC);
  sigset_t child_ends;
  sigemptyset(&child_ends);
  sigaddset(&child_ends, SIGCHLD);
  sigprocmask(SIG_BLOCK, &child_ends, NULL);
  const int apart = MakeNamespace();
  if (!apart) prctl(PR_SET_CHILD_SUBREAPER, 1);
  const pid_t child = fork();
  if (child == 0 && apart) First(argv + 1);
  if (child == 0) Run(argv + 1);
  if (child < 0) Give(kStatus, errno);
  ReleaseFiles();
  close(end[1]);
  int status = child < 0 ? -1 : Watch(child);
  if (!apart) {
    KillOrphans();
    return EndAs(status);
  }
  if (child > 0) kill(child, SIGKILL);  // where it has not ended by itself
  if (child > 0) waitpid(child, NULL, __WALL);
  if (read(end[0], &status, sizeof(status)) != sizeof(status)) status = -1;
  return EndAs(status);
}
