// SPDX-License-Identifier: Apache-2.0
#include "rewards/process/keeper.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "core/text.h"
#include "keeper/temper_keeper.h"

extern char** environ;

namespace temper {
namespace {

constexpr int kGivenFiles = 5;  // 0 to 4, as keeper.c has them; the program itself comes after them

// The program in memory, made once; -1: it cannot be (errno).
int KeeperFile() {
  static const int file = [] {
    const int made = memfd_create("temper-keeper", MFD_CLOEXEC);
    for (std::string_view rest = kKeeperProgram; made >= 0 && !rest.empty();) {
      const ssize_t n = write(made, rest.data(), rest.size());
      if (n <= 0) return -1;
      rest.remove_prefix(static_cast<size_t>(n));
    }
    return made;
  }();
  return file;
}

// Pipes, and copies of our ends' others above the numbers that the keeper gets.
struct Files {
  int ours[kGivenFiles] = {-1, -1, -1, -1, -1}, its[kGivenFiles] = {-1, -1, -1, -1, -1};

  bool Open() {
    for (int i = 0; i < kGivenFiles; ++i) {
      int ends[2];
      if (pipe2(ends, O_CLOEXEC) != 0) return false;
      const bool it_reads = i == 0 || i == 3;
      ours[i] = ends[it_reads ? 1 : 0];
      its[i] = fcntl(ends[it_reads ? 0 : 1], F_DUPFD_CLOEXEC, kGivenFiles + 1);
      close(ends[it_reads ? 0 : 1]);
      if (its[i] < 0) return false;
    }
    return true;
  }
  void CloseIts() {
    for (int& file : its) Close(file);
  }
  ~Files() {
    CloseIts();
    for (int& file : ours) Close(file);
  }
  static void Close(int& file) {
    if (file >= 0) close(file);
    file = -1;
  }
};

int Spawn(const std::vector<std::string>& command, const Files& files, pid_t* pid) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&actions);
  posix_spawnattr_init(&attributes);
  const absl::Cleanup destroy = [&] {
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
  };
  const int program = fcntl(KeeperFile(), F_DUPFD_CLOEXEC, kGivenFiles + 1);
  if (program < 0) return errno;
  const absl::Cleanup close_program = [&] { close(program); };
  for (int i = 0; i < kGivenFiles; ++i) posix_spawn_file_actions_adddup2(&actions, files.its[i], i);
  posix_spawn_file_actions_adddup2(&actions, program, kGivenFiles);
  posix_spawn_file_actions_addclosefrom_np(&actions, kGivenFiles + 1);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  std::vector<char*> arguments = {const_cast<char*>("temper-keeper")};
  for (const std::string& argument : command) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  const std::string path = absl::StrCat("/proc/self/fd/", kGivenFiles);
  return posix_spawn(pid, path.c_str(), &actions, &attributes, arguments.data(), environ);
}

}  // namespace

absl::StatusOr<Kept> StartKept(const std::vector<std::string>& command) {
  for (const std::string& argument : command) {
    if (argument.find('\0') == argument.npos) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(Printable(command.at(0), 200), ": an argument has a zero byte"));
  }
  Files files;
  pid_t pid = 0;
  int error = files.Open() ? Spawn(command, files, &pid) : errno;
  files.CloseIts();
  if (error == 0) {  // its end of the pipe is closed once the command runs
    ssize_t n = 0;
    while ((n = read(files.ours[4], &error, sizeof(error))) < 0 && errno == EINTR) {
    }
    if (n != sizeof(error)) error = 0;
    if (error != 0) waitpid(pid, nullptr, 0);
  }
  if (error != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(Printable(command.at(0), 200), ": cannot be started: ", strerror(error)));
  }
  for (int i = 0; i < 3; ++i) fcntl(files.ours[i], F_SETFL, O_NONBLOCK);
  const auto take = [&](int i) { return std::exchange(files.ours[i], -1); };
  return Kept{.pid = pid, .input = take(0), .output = take(1), .errors = take(2), .lifeline = take(3)};
}

}  // namespace temper
