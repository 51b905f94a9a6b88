// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace temper {

// How far a stage is. On a terminal (standard error) a bar that is redrawn at most ten times a second;
// elsewhere a plain line at most every ten seconds and one at the end. Thread safe.
class Progress {
 public:
  struct Screen {
    bool terminal = false;
    bool color = false;
    std::function<int()> width;                    // columns
    std::function<double()> now;                   // seconds
    std::function<void(const std::string&)> draw;  // the line at the bottom; empty: none
    std::function<void(const std::string&)> line;  // a line that stays
  };
  static Screen StandardError();  // the bar's colour is off with NO_COLOR or TERM=dumb

  explicit Progress(Screen screen = StandardError());
  ~Progress();  // takes the bar away

  // A stage of `total` steps begins, `done` of them done before (a resume); time left is told from the
  // others.
  void Start(const std::string& stage, int64_t total, int64_t done = 0);
  // `done` steps are done; `text` is short: "acc 0.43 len 31 kl 0.01". Takes the note away.
  void Step(int64_t done, const std::string& text);
  // What goes on inside the step: "rollout 120/256".
  void Note(const std::string& note);
  // The stage is over (or stops); its last line stays.
  void Finish();

  // Where it is now.
  struct State {
    std::string stage, text, note;  // empty stage: none has begun
    int64_t first = 0, done = 0, total = 0;
    double seconds = 0;  // since Start
  };
  State state();

 private:
  std::string Line(bool bar, int64_t width) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Show(bool last) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Screen screen_;
  absl::Mutex mutex_;
  bool running_ ABSL_GUARDED_BY(mutex_) = false;
  std::string stage_ ABSL_GUARDED_BY(mutex_);
  std::string text_ ABSL_GUARDED_BY(mutex_);
  std::string note_ ABSL_GUARDED_BY(mutex_);
  int64_t total_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t first_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t done_ ABSL_GUARDED_BY(mutex_) = 0;
  double started_ ABSL_GUARDED_BY(mutex_) = 0;
  double shown_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace temper
