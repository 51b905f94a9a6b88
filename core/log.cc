// SPDX-License-Identifier: Apache-2.0
#include "core/log.h"

#include <unistd.h>

#include <cerrno>
#include <vector>

#include "absl/base/attributes.h"
#include "absl/base/const_init.h"
#include "absl/base/thread_annotations.h"
#include "absl/strings/str_split.h"
#include "absl/synchronization/mutex.h"
#include "core/config/redact.h"
#include "core/terminal.h"

namespace temper {
namespace {

ABSL_CONST_INIT absl::Mutex mutex(absl::kConstInit);

struct State {
  std::string prefix;
  std::string status;
};

// Never destroyed: threads may log while the program ends.
State& Shared() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
  static State* state = new State;
  return *state;
}

constexpr char kClearLine[] = "\r\x1b[K";

void WriteOut(const std::string& text) {
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t written = write(STDERR_FILENO, text.data() + done, text.size() - done);
    if (written < 0 && errno != EINTR) return;  // nobody listens
    if (written > 0) done += written;
  }
}

}  // namespace

void Log(Severity severity, const std::string& text) {
  const char* kind = severity == Severity::kInfo      ? ""
                     : severity == Severity::kWarning ? "warning: "
                                                      : "error: ";
  absl::MutexLock lock(&mutex);
  State& state = Shared();
  std::string out = state.status.empty() ? "" : kClearLine;
  for (const std::string& line : std::vector<std::string>(absl::StrSplit(text, '\n'))) {
    absl::StrAppend(&out, state.prefix, kind, TerminalText(Redact(line)), "\n");
  }
  WriteOut(absl::StrCat(out, state.status));
}

void SetLogPrefix(const std::string& prefix) {
  absl::MutexLock lock(&mutex);
  Shared().prefix = prefix;
}

void DrawStatusLine(const std::string& line) {
  absl::MutexLock lock(&mutex);
  State& state = Shared();
  if (line.empty() && state.status.empty()) return;
  state.status = line;
  WriteOut(absl::StrCat(kClearLine, line));
}

}  // namespace temper
