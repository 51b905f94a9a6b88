// SPDX-License-Identifier: Apache-2.0
#include "cli/job/child.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "core/text.h"

extern char** environ;

namespace temper {
namespace {

std::vector<char*> Pointers(const std::vector<std::string>& words) {
  std::vector<char*> pointers;
  for (const std::string& word : words) pointers.push_back(const_cast<char*>(word.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

absl::Status CannotStart(const std::string& program, int error) {
  return absl::FailedPreconditionError(
      absl::StrCat(Printable(program, 200), ": cannot be started: ", std::strerror(error)));
}

std::string AllOfFile(int file) {
  std::string text;
  char buffer[4096];
  for (ssize_t got; (got = pread(file, buffer, sizeof(buffer), static_cast<off_t>(text.size()))) > 0;)
    text.append(buffer, static_cast<size_t>(got));
  return text;
}

}  // namespace

bool IsOnPath(const std::string& program) {
  const char* const path = std::getenv("PATH");
  const std::vector<std::string> folders = absl::StrSplit(path == nullptr ? "" : path, ':');
  for (const std::string& folder : folders) {
    const std::string file = absl::StrCat(folder.empty() ? "." : folder, "/", program);
    if (access(file.c_str(), X_OK) == 0) return true;
  }
  return false;
}

absl::StatusOr<std::string> OutputOf(const std::vector<std::string>& command) {
  int ends[2];
  const int errors = memfd_create("errors", MFD_CLOEXEC);  // a program that succeeds may warn
  if (errors < 0) return CannotStart(command[0], errno);
  if (pipe2(ends, O_CLOEXEC) != 0) {
    close(errors);
    return CannotStart(command[0], errno);
  }
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_adddup2(&files, ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&files, errors, STDERR_FILENO);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t usual;  // a program expects to end when its reader is gone
  sigemptyset(&usual);
  sigaddset(&usual, SIGPIPE);
  posix_spawnattr_setsigdefault(&attributes, &usual);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
  pid_t child = 0;
  const int error =
      posix_spawnp(&child, command[0].c_str(), &files, &attributes, Pointers(command).data(), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&files);
  close(ends[1]);
  std::string output;
  char buffer[4096];
  for (ssize_t got = 1; error == 0 && (got > 0 || errno == EINTR);) {
    got = read(ends[0], buffer, sizeof(buffer));
    if (got == 0) break;
    if (got > 0) output.append(buffer, static_cast<size_t>(got));
  }
  close(ends[0]);
  int ended = 0;
  while (error == 0 && waitpid(child, &ended, 0) < 0 && errno == EINTR) {
  }
  const std::string said = absl::StrCat(output, "\n", AllOfFile(errors));
  close(errors);
  if (error != 0) return CannotStart(command[0], error);
  if (WIFEXITED(ended) && WEXITSTATUS(ended) == 0) return output;
  const std::vector<std::string> lines = absl::StrSplit(said, '\n', absl::SkipWhitespace());
  const std::string last = lines.empty() ? "" : lines.back();
  return absl::FailedPreconditionError(
      absl::StrCat(Printable(command[0], 200), ": ended with ",
                   WIFEXITED(ended) ? WEXITSTATUS(ended) : 128 + WTERMSIG(ended), last.empty() ? "" : ": ",
                   Printable(std::string(absl::StripPrefix(last, command[0] + ": error: ")), 400)));
}

absl::Status Become(const std::vector<std::string>& command) {
  signal(SIGPIPE, SIG_DFL);
  signal(SIGXFSZ, SIG_DFL);
  execvp(command[0].c_str(), Pointers(command).data());
  return CannotStart(command[0], errno);
}

}  // namespace temper
