// SPDX-License-Identifier: Apache-2.0
// What SIGQUIT prints. Only functions that a signal handler may call (signal-safety(7)), but for two that
// glibc and Abseil make safe once they were called before: backtrace and absl::Symbolize.
#include "cli/program/thread_dump.h"

#include <execinfo.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "absl/base/attributes.h"
#include "absl/debugging/symbolize.h"

namespace temper {
namespace {

constexpr int kFrames = 24, kOwnFrames = 3;  // PrintThisThread, OnQuit and what the kernel returns to
constexpr int64_t kThreadNs = 500'000'000;   // how long a thread is waited for

int rank = -1;                     // -1: the only one
std::atomic<bool> dumping{false};  // a second SIGQUIT meanwhile is ignored
std::atomic<pid_t> answered{0};    // the thread that has printed last

// One line, written at once.
class Line {
 public:
  Line() {
    if (rank < 0) return;
    Add("rank ");
    Add(static_cast<uint64_t>(rank));
    Add(": ");
  }
  void Add(std::string_view text) {
    for (const char c : text) {
      if (size_ < sizeof(text_) - 1) text_[size_++] = c;
    }
  }
  void Add(uint64_t number, unsigned base = 10) {
    char digits[24];
    size_t at = sizeof(digits);
    do {
      digits[--at] = "0123456789abcdef"[number % base];
      number /= base;
    } while (number > 0);
    Add({digits + at, sizeof(digits) - at});
  }
  ~Line() {
    text_[size_++] = '\n';
    for (size_t done = 0; done < size_;) {
      const ssize_t written = write(STDERR_FILENO, text_ + done, size_ - done);
      if (written < 0 && errno != EINTR) return;  // nobody listens
      if (written > 0) done += written;
    }
  }

 private:
  char text_[512];
  size_t size_ = 0;
};

pid_t ThisThread() { return static_cast<pid_t>(syscall(SYS_gettid)); }

ABSL_ATTRIBUTE_NOINLINE void PrintThisThread() {
  char name[17] = {};
  prctl(PR_GET_NAME, name);
  {
    Line line;
    line.Add("thread ");
    line.Add(static_cast<uint64_t>(ThisThread()));
    line.Add(" (");
    line.Add(name);
    line.Add(ThisThread() == getpid() ? "), the first:" : "):");
  }
  void* frames[kFrames];
  const int count = backtrace(frames, kFrames);
  for (int i = kOwnFrames; i < count; ++i) {
    char symbol[400];
    // A return address may be that of the next function.
    const bool known = absl::Symbolize(static_cast<char*>(frames[i]) - 1, symbol, sizeof(symbol));
    Line line;
    line.Add("    ");
    if (known) {
      line.Add(symbol);
    } else {
      line.Add("0x");
      line.Add(reinterpret_cast<uintptr_t>(frames[i]), 16);
    }
  }
}

int64_t NowNs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

void AskThread(pid_t thread) {
  answered.store(0);
  if (syscall(SYS_tgkill, getpid(), thread, SIGQUIT) != 0) return;  // it has ended meanwhile
  for (const int64_t end = NowNs() + kThreadNs; answered.load() != thread;) {
    if (NowNs() > end) {
      Line line;
      line.Add("thread ");
      line.Add(static_cast<uint64_t>(thread));
      line.Add(": does not answer, it waits inside the kernel");
      return;
    }
    const timespec pause{0, 1'000'000};
    nanosleep(&pause, nullptr);
  }
}

// Each entry of /proc/self/task; readdir is not for handlers.
void AskAllThreads() {
  struct Entry {  // getdents64(2)
    uint64_t inode;
    int64_t offset;
    uint16_t length;
    uint8_t type;
    char name[1];
  };
  const int folder = open("/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return;
  alignas(Entry) char entries[4096];
  for (;;) {
    const long got = syscall(SYS_getdents64, folder, entries, sizeof(entries));
    if (got <= 0) break;
    for (long at = 0; at < got;) {
      const Entry* entry = reinterpret_cast<const Entry*>(entries + at);
      at += entry->length;
      pid_t thread = 0;
      for (const char* c = entry->name; *c >= '0' && *c <= '9'; ++c) thread = thread * 10 + (*c - '0');
      if (thread > 0 && thread != ThisThread()) AskThread(thread);
    }
  }
  close(folder);
}

void OnQuit(int, siginfo_t* info, void*) {
  const int error = errno;
  if (info->si_code == SI_TKILL && info->si_pid == getpid() && dumping.load()) {
    PrintThisThread();
    answered.store(ThisThread());
  } else if (!dumping.exchange(true)) {
    PrintThisThread();
    AskAllThreads();
    {
      Line line;
      line.Add("that is every thread; going on");
    }
    dumping.store(false);
  }
  errno = error;
}

}  // namespace

void PrintThreadsOnQuit() {
  void* frame;
  backtrace(&frame, 1);  // loads what it needs
  absl::InitializeSymbolizer("/proc/self/exe");
  struct sigaction action {};
  action.sa_sigaction = OnQuit;
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(SIGQUIT, &action, nullptr);
}

void SetThreadDumpRank(int number) { rank = number; }

}  // namespace temper
