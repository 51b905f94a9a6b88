// SPDX-License-Identifier: Apache-2.0
#include "rewards/process/line_process.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <thread>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/text.h"
#include "rewards/completion/tags.h"

namespace temper {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kMostAnswer = 1 << 20;
constexpr size_t kKeptErrors = 4096;
constexpr double kGrace = 0.2, kGlance = 0.2;

void CloseFile(int* file) {
  if (*file >= 0) close(*file);
  *file = -1;
}

double SecondsSince(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

void Sleep(double seconds) { std::this_thread::sleep_for(std::chrono::duration<double>(seconds)); }

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

}  // namespace

absl::StatusOr<std::unique_ptr<LineProcess>> LineProcess::Start(const std::vector<std::string>& command) {
  TEMPER_ASSIGN_OR_RETURN(const Kept kept, StartKept(command));
  return std::unique_ptr<LineProcess>(new LineProcess(Printable(command.at(0), 200), kept));
}

LineProcess::~LineProcess() {
  CloseFile(&kept_.input);
  if (kept_.pid != 0) (void)Ended(kGrace);
  End();
}

// Every request begins with this byte, so that it can be sent ahead: once it is gone from the pipe, the
// program has come to where it reads.
absl::Status LineProcess::Listen(double seconds) {
  const Clock::time_point begin = Clock::now();
  std::string_view first = "{";
  TEMPER_RETURN_IF_ERROR(Write(&first));
  begun_ = true;
  for (;;) {
    std::string_view nothing;
    const double left = seconds - SecondsSince(begin);
    TEMPER_RETURN_IF_ERROR(Exchange(&nothing, std::clamp(left, 0.0, 0.005)));
    TEMPER_RETURN_IF_ERROR(CheckSilent());
    if (Ended(0)) return Fail("ended without a row");
    if (HasRead() || left <= 0) return absl::OkStatus();
  }
}

absl::StatusOr<std::vector<std::string>> LineProcess::Ask(std::string_view request, size_t answers,
                                                          double seconds, const std::atomic<bool>& stop) {
  TEMPER_CHECK(!request.empty() && request[0] == '{' && answers > 0);
  if (kept_.pid == 0) return absl::FailedPreconditionError(absl::StrCat(name_, ": has ended"));
  const Clock::time_point begin = Clock::now();
  most_unread_ = kMostAnswer * answers;
  std::string_view nothing;
  TEMPER_RETURN_IF_ERROR(Exchange(&nothing, 0));
  TEMPER_RETURN_IF_ERROR(CheckSilent());
  const std::string line = std::string(request.substr(begun_ ? 1 : 0)) + "\n";
  begun_ = false;
  std::string_view unsent = line;
  std::vector<std::string> lines;
  for (;;) {
    if (!unread_.empty() && (!unsent.empty() || !HasRead())) {
      return Fail(absl::StrCat("answered before it had read its row: ", Printable(unread_, 100)));
    }
    for (size_t end; lines.size() < answers && (end = unread_.find('\n')) != unread_.npos;) {
      lines.push_back(unread_.substr(0, end));
      unread_.erase(0, end + 1);
    }
    if (lines.size() == answers) return lines;
    const double left = seconds - SecondsSince(begin);
    if (left <= 0) return Fail(absl::StrCat("no answer in ", seconds, " s"));
    if (stop) return Fail("stopped on request");
    TEMPER_RETURN_IF_ERROR(Exchange(&unsent, std::min(left, kGlance)));
  }
}

// Waits for what comes first, and takes all that is there.
absl::Status LineProcess::Exchange(std::string_view* unsent, double seconds) {
  pollfd files[3] = {
      {kept_.output, POLLIN, 0}, {kept_.errors, POLLIN, 0}, {unsent->empty() ? -1 : kept_.input, POLLOUT, 0}};
  const int ready = poll(files, 3, static_cast<int>(seconds * 1000 + 0.999));
  if (ready < 0 && errno != EINTR) return Fail(absl::StrCat("poll: ", strerror(errno)));
  if (ready <= 0) return absl::OkStatus();
  if (files[1].revents != 0) ReadErrors();
  if (files[2].revents != 0) TEMPER_RETURN_IF_ERROR(Write(unsent));
  if (files[0].revents != 0) return ReadOutput();
  return absl::OkStatus();
}

absl::Status LineProcess::ReadOutput() {
  char bytes[1 << 16];
  const ssize_t count = read(kept_.output, bytes, sizeof(bytes));
  if (count > 0) unread_.append(bytes, static_cast<size_t>(count));
  if (unread_.size() > most_unread_ + kMostAnswer)
    return Fail(absl::StrCat("wrote more than ", kMostAnswer, " bytes"));
  if (count == 0) {
    (void)Ended(kGrace);  // most that close it are about to
    return Fail("closed its output");
  }
  if (count < 0 && errno != EAGAIN && errno != EINTR) return Fail(absl::StrCat("read: ", strerror(errno)));
  return absl::OkStatus();
}

void LineProcess::ReadErrors() {
  char bytes[1 << 14];
  const ssize_t count = read(kept_.errors, bytes, sizeof(bytes));
  if (count == 0) CloseFile(&kept_.errors);
  if (count <= 0) return;
  stderr_.append(bytes, static_cast<size_t>(count));
  if (stderr_.size() > kKeptErrors) stderr_.erase(0, stderr_.size() - kKeptErrors);
}

absl::Status LineProcess::Write(std::string_view* unsent) {
  const NoPipeSignal guard;
  const ssize_t count = write(kept_.input, unsent->data(), unsent->size());
  if (count > 0) unsent->remove_prefix(static_cast<size_t>(count));
  // It may say why it ended: its output decides.
  if (count < 0 && errno == EPIPE) *unsent = {};
  return absl::OkStatus();
}

absl::Status LineProcess::CheckSilent() {
  if (unread_.empty()) return absl::OkStatus();
  return Fail(absl::StrCat("wrote to its standard output, where only answers belong, before it was asked: ",
                           Printable(unread_.substr(0, unread_.find('\n')), 100)));
}

bool LineProcess::HasRead() const {
  int bytes = 0;
  return ioctl(kept_.input, FIONREAD, &bytes) == 0 && bytes == 0;
}

bool LineProcess::Ended(double wait) const {
  const Clock::time_point begin = Clock::now();
  for (;;) {
    siginfo_t info = {};
    // Left for End to reap, so that its number stays its own.
    if (waitid(P_PID, static_cast<id_t>(kept_.pid), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
        info.si_pid == kept_.pid)
      return true;
    if (SecondsSince(begin) >= wait) return false;
    Sleep(0.002);
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
  if (kept_.pid == 0) return "";
  // Let one that is ending say how; what it wrote before it did is still in the pipe.
  const bool by_itself = Ended(0.025);
  CloseFile(&kept_.lifeline);
  // What the kernel holds (a dead file system) is left behind rather than waited for.
  int status = 0;
  pid_t reaped = 0;
  for (int i = 0; i < 1000 && (reaped = waitpid(kept_.pid, &status, WNOHANG)) == 0; ++i) Sleep(0.001);
  if (reaped == 0) kill(kept_.pid, SIGKILL);
  kept_.pid = 0;
  for (int i = 0; i < 8 && kept_.errors >= 0; ++i) ReadErrors();
  CloseFile(&kept_.input);
  CloseFile(&kept_.output);
  CloseFile(&kept_.errors);
  if (!by_itself) return "";
  if (WIFEXITED(status)) return absl::StrCat("exit status ", WEXITSTATUS(status));
  return absl::StrCat("killed by signal ", WTERMSIG(status));
}

}  // namespace temper
