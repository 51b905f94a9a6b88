// SPDX-License-Identifier: Apache-2.0
#include "rewards/line_process.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <thread>

#include "absl/strings/str_cat.h"
#include "core/text.h"
#include "rewards/tags.h"

extern char** environ;

namespace temper {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kMostUnread = 1 << 20;
constexpr size_t kKeptErrors = 4096;

struct Pipe {
  int read = -1, write = -1;
  bool Open() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return false;
    read = ends[0], write = ends[1];
    return true;
  }
};

void CloseFile(int* file) {
  if (*file >= 0) close(*file);
  *file = -1;
}

// While one lives, a write to a pipe that nobody reads is EPIPE to this thread and no signal to the process.
class NoPipeSignal {
 public:
  NoPipeSignal() {
    sigemptyset(&pipe_);
    sigaddset(&pipe_, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
  }
  ~NoPipeSignal() {
    const timespec now = {};
    if (!sigismember(&before_, SIGPIPE)) {
      while (sigtimedwait(&pipe_, nullptr, &now) > 0) {
      }
    }
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }

 private:
  sigset_t pipe_, before_;
};

// posix_spawnp into a group of its own; the error it says includes exec's.
int Spawn(const std::vector<std::string>& command, int input, int output, int errors, pid_t* pid) {
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&files);
  posix_spawnattr_init(&attributes);
  posix_spawn_file_actions_adddup2(&files, input, 0);
  posix_spawn_file_actions_adddup2(&files, output, 1);
  posix_spawn_file_actions_adddup2(&files, errors, 2);
  posix_spawn_file_actions_addclosefrom_np(&files, 3);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes,
                           POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  std::vector<char*> arguments;
  for (const std::string& argument : command) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  const int error = posix_spawnp(pid, arguments[0], &files, &attributes, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&files);
  posix_spawnattr_destroy(&attributes);
  return error;
}

}  // namespace

absl::StatusOr<std::unique_ptr<LineProcess>> LineProcess::Start(const std::vector<std::string>& command) {
  const std::string name = Printable(command.at(0), 200);
  for (const std::string& argument : command) {
    if (argument.find('\0') != argument.npos)
      return absl::InvalidArgumentError(absl::StrCat(name, ": an argument has a zero byte"));
  }
  Pipe input, output, errors;
  int error = 0;
  pid_t pid = 0;
  if (!input.Open() || !output.Open() || !errors.Open()) {
    error = errno;
  } else {
    error = Spawn(command, input.read, output.write, errors.write, &pid);
  }
  CloseFile(&input.read);
  CloseFile(&output.write);
  CloseFile(&errors.write);
  if (error != 0) {
    CloseFile(&input.write);
    CloseFile(&output.read);
    CloseFile(&errors.read);
    return absl::FailedPreconditionError(absl::StrCat(name, ": cannot be started: ", strerror(error)));
  }
  for (const int file : {input.write, output.read, errors.read}) fcntl(file, F_SETFL, O_NONBLOCK);
  return std::unique_ptr<LineProcess>(new LineProcess(name, pid, input.write, output.read, errors.read));
}

LineProcess::~LineProcess() {
  Close(&input_);
  if (pid_ != 0) (void)StillThere(std::chrono::milliseconds(200));
  End();
}

void LineProcess::Close(int* file) { CloseFile(file); }

absl::StatusOr<std::string> LineProcess::Ask(std::string_view line, double seconds) {
  if (pid_ == 0) return absl::FailedPreconditionError(absl::StrCat(name_, ": has ended"));
  const Clock::time_point begin = Clock::now();
  const std::string request = std::string(line) + "\n";
  std::string_view unsent = request;
  for (;;) {
    if (const size_t end = unread_.find('\n'); end != unread_.npos) {
      const std::string answer = unread_.substr(0, end);
      unread_.erase(0, end + 1);
      return answer;
    }
    const double left = seconds - std::chrono::duration<double>(Clock::now() - begin).count();
    if (left <= 0) return Fail(absl::StrCat("no answer in ", seconds, " s"));
    TEMPER_RETURN_IF_ERROR(
        Exchange(&unsent, std::chrono::milliseconds(1 + static_cast<int64_t>(std::min(left, 1.0) * 1000))));
  }
}

// Waits for what comes first, and takes all that is there.
absl::Status LineProcess::Exchange(std::string_view* unsent, std::chrono::milliseconds left) {
  pollfd files[3] = {{output_, POLLIN, 0}, {errors_, POLLIN, 0}, {unsent->empty() ? -1 : input_, POLLOUT, 0}};
  const int ready = poll(files, 3, static_cast<int>(left.count()));
  if (ready < 0 && errno != EINTR) return Fail(absl::StrCat("poll: ", strerror(errno)));
  if (ready <= 0) return absl::OkStatus();
  if (files[1].revents != 0) ReadErrors();
  if (files[0].revents != 0) TEMPER_RETURN_IF_ERROR(ReadOutput());
  if (files[2].revents != 0) return Write(unsent);
  return absl::OkStatus();
}

absl::Status LineProcess::ReadOutput() {
  char bytes[1 << 16];
  const ssize_t count = read(output_, bytes, sizeof(bytes));
  if (count > 0) unread_.append(bytes, static_cast<size_t>(count));
  if (unread_.size() > kMostUnread) return Fail(absl::StrCat("wrote more than ", kMostUnread, " bytes"));
  if (count == 0) return Fail("closed its output");
  if (count < 0 && errno != EAGAIN && errno != EINTR) return Fail(absl::StrCat("read: ", strerror(errno)));
  return absl::OkStatus();
}

void LineProcess::ReadErrors() {
  char bytes[1 << 14];
  const ssize_t count = read(errors_, bytes, sizeof(bytes));
  if (count == 0) CloseFile(&errors_);
  if (count <= 0) return;
  stderr_.append(bytes, static_cast<size_t>(count));
  if (stderr_.size() > kKeptErrors) stderr_.erase(0, stderr_.size() - kKeptErrors);
}

absl::Status LineProcess::Write(std::string_view* unsent) {
  const NoPipeSignal guard;
  const ssize_t count = write(input_, unsent->data(), unsent->size());
  if (count > 0) unsent->remove_prefix(static_cast<size_t>(count));
  // It may have answered already, or says why it ended: its output decides.
  if (count < 0 && errno == EPIPE) *unsent = {};
  return absl::OkStatus();
}

absl::Status LineProcess::StillThere(std::chrono::milliseconds wait) {
  const Clock::time_point deadline = Clock::now() + wait;
  for (;;) {
    siginfo_t info = {};
    // Left for End to reap, so that its group's number stays its own.
    if (waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
        info.si_pid == pid_)
      return Fail("ended without a row");
    if (Clock::now() >= deadline) return absl::OkStatus();
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

absl::Status LineProcess::Fail(const std::string& what) {
  const std::string end = End();
  const std::string said(LastLine(stderr_));
  return absl::UnavailableError(
      absl::StrCat(name_, ": ", what, end.empty() ? "" : absl::StrCat(", ", end),
                   said.empty() ? "" : absl::StrCat("; it says: ", Printable(said))));
}

std::string LineProcess::End() {
  if (pid_ == 0) return "";
  // Let one that is ending say how; what it wrote before it did is still in the pipe.
  siginfo_t info = {};
  for (int i = 0; i < 25; ++i) {
    if (waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
        info.si_pid == pid_)
      break;
    if (i + 1 < 25) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  const bool by_itself = info.si_pid == pid_;
  kill(-pid_, SIGKILL);
  // One that the kernel holds (a dead file system) is left behind rather than waited for.
  int status = 0;
  for (int i = 0; i < 1000 && waitpid(pid_, &status, WNOHANG) == 0; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  pid_ = 0;
  for (int i = 0; i < 8 && errors_ >= 0; ++i) ReadErrors();
  Close(&input_);
  Close(&output_);
  Close(&errors_);
  if (!by_itself) return "";
  if (WIFEXITED(status)) return absl::StrCat("exit status ", WEXITSTATUS(status));
  return absl::StrCat("killed by signal ", WTERMSIG(status));
}

}  // namespace temper
