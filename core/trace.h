// SPDX-License-Identifier: Apache-2.0
// Where the time of a process goes: spans with a name, one inside the other or one after the other, written
// as a file that Chrome (chrome://tracing) and Perfetto read. Off until BeginTrace: a span then costs a look
// at a flag, and on two at the clock.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"

namespace temper {

// Of the spans that end from now on the newest `most` are kept, in 72 bytes each.
void BeginTrace(int64_t most = 200'000);
bool TraceIsOn();
// Writes what is kept, as the process `rank`; then nothing is kept any more, and the trace is off.
absl::Status WriteTrace(const std::string& path, int rank);

// Of a span: what it counts, a literal; null: there is none.
struct TraceFigure {
  const char* name = nullptr;
  int64_t value = 0;
};

// Where a span is drawn: those of blocks above each other, and what goes on beside them below.
enum class TraceLine { kBlocks, kBeside };

// From here to the end of the block. Names and what they belong to are literals. Any thread.
class TraceSpan {
 public:
  explicit TraceSpan(const char* category, const char* name, TraceFigure first = {}, TraceFigure second = {},
                     TraceLine line = TraceLine::kBlocks)
      : category_(category),
        name_(name),
        first_(first),
        second_(second),
        line_(line),
        begin_(TraceIsOn() ? Now() : -1) {}
  ~TraceSpan() {
    if (begin_ >= 0) End();
  }
  TraceSpan(const TraceSpan&) = delete;
  TraceSpan& operator=(const TraceSpan&) = delete;

 private:
  static int64_t Now();  // microseconds since 1970, by a clock that never goes back
  void End();

  const char *category_, *name_;
  TraceFigure first_, second_;
  TraceLine line_;
  int64_t begin_;
};

}  // namespace temper
