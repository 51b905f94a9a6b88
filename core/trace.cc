// SPDX-License-Identifier: Apache-2.0
#include "core/trace.h"

#include <atomic>
#include <chrono>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "core/files/file.h"

namespace temper {
namespace {

struct KeptSpan {
  const char *category, *name;
  TraceFigure first, second;
  int64_t begin, end;
  TraceLine line;
};

struct TraceState {
  absl::Mutex mutex;
  std::vector<KeptSpan> spans ABSL_GUARDED_BY(mutex);  // a ring once it is full
  size_t most ABSL_GUARDED_BY(mutex) = 0, next ABSL_GUARDED_BY(mutex) = 0;
};

std::atomic<bool> trace_is_on{false};

TraceState& State() {
  static auto* const state = new TraceState;
  return *state;
}

void AppendFigure(const TraceFigure& figure, std::string* args) {
  if (figure.name == nullptr) return;
  absl::StrAppend(args, args->empty() ? "" : ",", "\"", figure.name, "\":", figure.value);
}

}  // namespace

void BeginTrace(int64_t most) {
  TraceState& state = State();
  absl::MutexLock lock(&state.mutex);
  state.spans.clear();
  state.most = static_cast<size_t>(most);
  state.next = 0;
  trace_is_on = true;
}

bool TraceIsOn() { return trace_is_on.load(std::memory_order_relaxed); }

absl::Status WriteTrace(const std::string& path, int rank) {
  trace_is_on = false;
  TraceState& state = State();
  absl::MutexLock lock(&state.mutex);
  std::string text = absl::StrCat(
      "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n{\"name\":\"process_name\",\"ph\":\"M\",\"pid\":", rank,
      ",\"args\":{\"name\":\"rank ", rank, "\"}}");
  for (size_t i = 0; i < state.spans.size(); ++i) {
    const KeptSpan& span = state.spans[(state.next + i) % state.spans.size()];
    std::string args;
    AppendFigure(span.first, &args);
    AppendFigure(span.second, &args);
    absl::StrAppend(&text, ",\n{\"name\":\"", span.name, "\",\"cat\":\"", span.category,
                    "\",\"ph\":\"X\",\"ts\":", span.begin, ",\"dur\":", span.end - span.begin,
                    ",\"pid\":", rank, ",\"tid\":", static_cast<int>(span.line), ",\"args\":{");
    absl::StrAppend(&text, args, "}}");
  }
  state.spans = {};
  return WriteFileAtomic(path, text + "\n]}\n");
}

int64_t TraceSpan::Now() {
  using std::chrono::duration_cast;
  using std::chrono::microseconds;
  static const auto began = std::chrono::steady_clock::now();
  static const int64_t epoch =
      duration_cast<microseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  return epoch + duration_cast<microseconds>(std::chrono::steady_clock::now() - began).count();
}

void TraceSpan::End() {
  const int64_t end = Now();
  TraceState& state = State();
  absl::MutexLock lock(&state.mutex);
  if (!TraceIsOn() || state.most == 0) return;
  const KeptSpan span{category_, name_, first_, second_, begin_, end, line_};
  if (state.spans.size() < state.most) {
    state.spans.push_back(span);
  } else {
    state.spans[state.next] = span;
    state.next = (state.next + 1) % state.most;
  }
}

}  // namespace temper
