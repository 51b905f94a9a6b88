// SPDX-License-Identifier: Apache-2.0
#include "core/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/log.h"
#include "core/text.h"

namespace temper {
namespace {

std::string Clock(double seconds) {
  const auto whole = static_cast<int64_t>(std::clamp(seconds, 0.0, 1e9));
  if (whole >= 3600) return absl::StrFormat("%d:%02d:%02d", whole / 3600, whole / 60 % 60, whole % 60);
  return absl::StrFormat("%d:%02d", whole / 60, whole % 60);
}

// The first `columns` characters; wide ones are counted as two by nobody here, so texts should be plain.
std::string Cut(const std::string& text, int64_t columns) {
  size_t end = 0;
  while (end < text.size() && columns-- > 0)
    end += std::max(1, Utf8Length(std::string_view(text).substr(end, 4)));
  return text.substr(0, std::min(end, text.size()));
}

}  // namespace

Progress::Screen Progress::StandardError() {
  const char* term = std::getenv("TERM");
  const char* no_color = std::getenv("NO_COLOR");
  Screen screen;
  const bool dumb = term == nullptr || std::string_view(term) == "dumb";
  screen.terminal = isatty(STDERR_FILENO) == 1 && !dumb;
  screen.color = screen.terminal && (no_color == nullptr || *no_color == '\0');
  screen.width = [] {
    winsize size{};
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
  };
  screen.now = [] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
  };
  screen.draw = DrawStatusLine;
  screen.line = [](const std::string& line) { Log(Severity::kInfo, line); };
  return screen;
}

Progress::Progress(Screen screen) : screen_(std::move(screen)) {}

Progress::~Progress() {
  absl::MutexLock lock(&mutex_);
  if (running_ && screen_.terminal) screen_.draw("");
}

void Progress::Start(const std::string& stage, int64_t total, int64_t done) {
  absl::MutexLock lock(&mutex_);
  running_ = true;
  stage_ = Printable(stage);
  text_ = note_ = "";
  total_ = total;
  first_ = done_ = done;
  started_ = screen_.now();
  shown_ = started_ - 1e6;
  Show(false);
}

void Progress::Step(int64_t done, const std::string& text) {
  absl::MutexLock lock(&mutex_);
  done_ = done;
  text_ = Printable(text);
  note_ = "";
  Show(false);
}

void Progress::Note(const std::string& note) {
  absl::MutexLock lock(&mutex_);
  note_ = Printable(note);
  Show(false);
}

void Progress::Finish() {
  absl::MutexLock lock(&mutex_);
  if (!running_) return;
  note_ = "";
  Show(true);
  running_ = false;
}

Progress::State Progress::state() {
  absl::MutexLock lock(&mutex_);
  return {stage_, text_, note_, first_, done_, total_, stage_.empty() ? 0 : screen_.now() - started_};
}

std::string Progress::Line(bool bar, int64_t width) const {
  const double elapsed = screen_.now() - started_;
  std::string head = absl::StrCat(stage_, " ", done_, "/", total_);
  std::string tail = absl::StrCat(" ", Clock(elapsed));
  // The first steps say little of the pace.
  const int64_t steps = done_ - first_;
  const bool steady = (elapsed >= 10 && steps >= 3) || steps * 100 >= total_ - first_;
  if (done_ > first_ && done_ < total_ && steady) {
    absl::StrAppend(&tail, " eta ", Clock(elapsed / double(done_ - first_) * double(total_ - done_)));
  }
  for (const std::string& part : {text_, note_}) {
    if (!part.empty()) absl::StrAppend(&tail, "  ", part);
  }
  if (!bar) return absl::StrCat(head, tail);
  const int64_t room = width - 1 - int64_t(head.size() + tail.size()) - 3;
  const int64_t cells = std::clamp<int64_t>(room, 0, 30);
  std::string middle;
  if (cells >= 5) {
    const int64_t full = total_ > 0 ? cells * std::clamp<int64_t>(done_, 0, total_) / total_ : 0;
    middle = absl::StrCat(" [", std::string(full, '='), std::string(cells - full, ' '), "]");
  }
  const std::string line = Cut(absl::StrCat(head, middle, tail), width - 1);
  if (!screen_.color || line.size() < stage_.size()) return line;
  return absl::StrCat("\x1b[1m", line.substr(0, stage_.size()), "\x1b[0m", line.substr(stage_.size()));
}

void Progress::Show(bool last) {
  if (!running_) return;
  const double now = screen_.now();
  if (!last && now - shown_ < (screen_.terminal ? 0.1 : 10.0)) return;
  shown_ = now;
  if (last) {
    if (screen_.terminal) screen_.draw("");
    screen_.line(Line(false, 0));
  } else if (screen_.terminal) {
    screen_.draw(Line(true, screen_.width()));
  } else {
    screen_.line(Line(false, 0));
  }
}

}  // namespace temper
