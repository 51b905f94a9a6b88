// SPDX-License-Identifier: Apache-2.0
#include "cli/report/timeline.h"

#include <algorithm>
#include <limits>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "core/files/file.h"
#include "core/trace.h"
#include "trainer/run_directory/run_directory.h"

namespace temper {
namespace {

constexpr int kMostRanks = 64;   // on a page
constexpr int64_t kSeen = 1500;  // spans beside each other, that can be told apart
constexpr char kUpdate[] = "update", kRollout[] = "rollout";

// One of core/trace.h, in microseconds.
struct TracedSpan {
  std::string category, name;
  int64_t begin = 0, end = 0;
};

// What a span is drawn as: a phase; what a rank does in it; a message; a wait for a neighbour in a pipeline.
enum Kind { kPhase, kForward, kBackward, kStep, kMessage, kWait };

Kind KindOf(const TracedSpan& span) {
  if (span.category == "phase") return kPhase;
  if (span.category == "engine") return kStep;
  if (span.category == "comm" || absl::StartsWith(span.name, "Send")) return kMessage;
  if (absl::StartsWith(span.name, "Receive")) return kWait;
  return absl::StartsWith(span.name, "Backward") ? kBackward : kForward;
}

// The spans of a trace's newest steps, from the last on; a step ends with an update.
class RankTrace {
 public:
  static absl::StatusOr<RankTrace> Read(const std::string& path) {
    TEMPER_ASSIGN_OR_RETURN(std::string text, ReadFile(path));
    RankTrace trace;
    trace.path_ = path;
    trace.text_ = std::move(text);
    trace.lines_ = absl::StrSplit(trace.text_, '\n');
    trace.left_ = trace.lines_.size();
    return trace;
  }

  // All spans between the ends of two updates; empty before the first. Spans are written in the order of
  // their ends.
  absl::StatusOr<std::vector<TracedSpan>> StepBefore() {
    std::vector<TracedSpan> spans;
    while (left_ > 0) {
      TEMPER_ASSIGN_OR_RETURN(const TracedSpan span, Parse(left_));
      const bool update = span.category == "phase" && span.name == kUpdate;
      if (update && !spans.empty()) return spans;
      if (update || !spans.empty()) spans.push_back(span);
      --left_;
    }
    return spans;
  }

 private:
  absl::StatusOr<TracedSpan> Parse(size_t line) const {
    absl::string_view text = lines_[line - 1];
    absl::ConsumeSuffix(&text, ",");
    if (!absl::StartsWith(text, "{\"name\"") || !absl::StrContains(text, "\"ph\":\"X\"")) return TracedSpan();
    const std::string name = absl::StrCat(path_, ":", line);
    TEMPER_ASSIGN_OR_RETURN(const Json json, ParseJson(std::string_view(text.data(), text.size()), name));
    TracedSpan span;
    TEMPER_ASSIGN_OR_RETURN(span.category, GetString(json, "cat", name));
    TEMPER_ASSIGN_OR_RETURN(span.name, GetString(json, "name", name));
    TEMPER_ASSIGN_OR_RETURN(const int64_t line_number, GetInt(json, "tid", name));
    if (line_number != static_cast<int64_t>(TraceLine::kBlocks)) return TracedSpan();  // costs no time
    TEMPER_ASSIGN_OR_RETURN(span.begin, GetInt(json, "ts", name));
    TEMPER_ASSIGN_OR_RETURN(span.end, GetInt(json, "dur", name));
    span.end += span.begin;
    return span;
  }

  std::string path_, text_;
  std::vector<absl::string_view> lines_;
  size_t left_ = 0;  // lines that were not looked at
};

// The rollout that the update came after: the last one that is none of an evaluation or of a collect stage.
// Null where there is none.
const TracedSpan* RolloutOf(const std::vector<TracedSpan>& step) {
  int64_t others_from = std::numeric_limits<int64_t>::max();  // where the last of these begins
  for (const TracedSpan& span : step) {
    if (span.category != "phase") continue;
    if (span.name == "evaluation" || span.name == "collect") others_from = span.begin;
    if (span.name == kRollout && span.end <= others_from) return &span;
  }
  return nullptr;
}

// The time of a step: from its rollout on, or from its update on.
std::pair<int64_t, int64_t> Window(const std::vector<TracedSpan>& step) {
  const TracedSpan* const rollout = RolloutOf(step);
  return {rollout == nullptr ? step.front().begin : rollout->begin, step.front().end};
}

// Where a rank of the given time was in it, drawn.
Json Drawn(const std::vector<TracedSpan>& step, std::pair<int64_t, int64_t> window) {
  const int64_t short_one = std::max<int64_t>((window.second - window.first) / kSeen, 1);
  struct Drawing {
    int64_t begin, end, count;
  };
  std::map<std::pair<Kind, std::string>, std::vector<Drawing>> drawings;
  std::vector<TracedSpan> waits;
  for (const TracedSpan& span : step)
    if (KindOf(span) == kWait) waits.push_back(span);
  std::sort(waits.begin(), waits.end(), [](const auto& a, const auto& b) { return a.begin < b.begin; });
  int64_t waited = 0, messages = 0, messages_to = window.first;
  for (auto span = step.rbegin(); span != step.rend(); ++span) {  // by their ends
    const int64_t begin = std::max(span->begin, window.first), end = std::min(span->end, window.second);
    if (begin >= end) continue;
    const Kind kind = KindOf(*span);
    if (kind == kWait) waited += end - begin;
    if (kind == kMessage) {
      // The message that a wait waits for is that wait; one inside another counts once.
      const auto after = std::upper_bound(waits.begin(), waits.end(), span->begin,
                                          [](int64_t at, const TracedSpan& wait) { return at < wait.begin; });
      if (after != waits.begin() && std::prev(after)->end >= span->end) continue;
      messages += std::max<int64_t>(end - std::max(begin, messages_to), 0);
      messages_to = std::max(messages_to, end);
    }
    std::vector<Drawing>& of_name = drawings[{kind, span->name}];
    if (!of_name.empty() && begin - of_name.back().end < short_one && kind != kPhase &&
        std::min(of_name.back().end - of_name.back().begin, end - begin) < short_one) {
      of_name.back().end = std::max(of_name.back().end, end);
      ++of_name.back().count;
    } else {
      of_name.push_back({begin, end, 1});
    }
  }
  Json spans = Json::array();
  for (const auto& [of, list] : drawings) {
    for (const Drawing& drawing : list) {
      spans.push_back(Json::array({static_cast<int>(of.first), drawing.begin - window.first,
                                   drawing.end - drawing.begin, of.second, drawing.count}));
    }
  }
  const auto length = static_cast<double>(std::max<int64_t>(window.second - window.first, 1));
  return {{"waits", static_cast<double>(waited) / length},
          {"messages", static_cast<double>(messages) / length},
          {"spans", std::move(spans)}};
}

absl::StatusOr<Json> TimelineOf(const ReportRun& run) {
  // The first rank says which step, counted from the last; all go through the same ones.
  int number = -1, steps = 0;
  std::pair<int64_t, int64_t> window;
  Json ranks = Json::array();
  int left_out = 0;
  for (int rank = 0; FileExists(TracePath(run.directory, rank)); ++rank) {
    if (rank >= kMostRanks) {
      ++left_out;
      continue;
    }
    TEMPER_ASSIGN_OR_RETURN(RankTrace trace, RankTrace::Read(TracePath(run.directory, rank)));
    std::vector<TracedSpan> step;
    if (rank == 0) {
      for (;; ++steps) {
        TEMPER_ASSIGN_OR_RETURN(std::vector<TracedSpan> spans, trace.StepBefore());
        if (spans.empty()) break;
        const bool sampled = RolloutOf(spans) != nullptr;
        if (number >= 0 && !sampled) continue;
        number = steps;
        step = std::move(spans);
        if (sampled) break;
      }
      if (number < 0) return Json();
      window = Window(step);
    } else {
      for (int i = 0; i <= number; ++i) {
        TEMPER_ASSIGN_OR_RETURN(step, trace.StepBefore());
      }
      // Of a run before, on more ranks.
      if (step.empty() || Window(step).first > window.second || Window(step).second < window.first) continue;
      window.second = std::max(window.second, Window(step).second);
    }
    Json drawn = Drawn(step, window);
    drawn["rank"] = rank;
    ranks.push_back(std::move(drawn));
  }
  if (ranks.empty()) return Json();
  return Json{{"microseconds", window.second - window.first}, {"ranks_left_out", left_out}, {"ranks", ranks}};
}

}  // namespace

Json StepTimeline(ReportRun& run) {
  absl::StatusOr<Json> timeline = TimelineOf(run);
  if (timeline.ok()) return *std::move(timeline);
  run.notes.push_back(std::string(timeline.status().message()));
  return Json();
}

}  // namespace temper
