// SPDX-License-Identifier: Apache-2.0
#include "cli/report/onset.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "cli/earned.h"
#include "cli/report/text.h"
#include "core/text.h"
#include "data/record_file.h"
#include "rewards/statistics.h"
#include "trainer/run_directory/run_directory.h"

namespace temper {
namespace {

constexpr double kLevels[] = {0.1, 0.25, 0.5, 0.75, 0.9};
constexpr size_t kTogether = 3;  // points whose mean counts: one lucky update is no beginning

ShareCurve CurveOf(const ReportStage& stage, const std::string& metric, const std::string& name) {
  ShareCurve curve{.name = name, .points = {}};
  for (const MetricsLine& line : stage.metrics) {
    const double* const value = line.Find(metric);
    if (value != nullptr && std::isfinite(*value)) curve.points.emplace_back(line.step, *value);
  }
  return curve;
}

double MeanFrom(const ShareCurve& curve, size_t first) {
  double sum = 0;
  for (size_t i = first; i < first + kTogether; ++i) sum += curve.points[i].second;
  return sum / kTogether;
}

// "passes 50% at update 5 and 75% at 14"; "" for none. Of levels passed at one update the highest counts.
std::string Passes(const ShareCurve& curve, const char* verb) {
  if (curve.points.size() < 2 * kTogether) return "";
  std::vector<std::pair<int64_t, double>> passed;  // update, level
  const double begin = MeanFrom(curve, 0);
  const auto there = [&](size_t at, double level) {
    return curve.points[at].second >= level && MeanFrom(curve, at) >= level;
  };
  size_t at = 0;
  for (const double level : kLevels) {
    if (begin >= level) continue;
    while (at + kTogether <= curve.points.size() && !there(at, level)) ++at;
    if (at + kTogether > curve.points.size()) break;
    const int64_t update = curve.points[at].first;
    if (!passed.empty() && passed.back().first == update) passed.pop_back();
    passed.emplace_back(update, level);
  }
  std::string text;
  for (size_t i = 0; i < passed.size(); ++i) {
    const char* const between = i == 0 ? "" : i + 1 == passed.size() ? " and " : ", ";
    absl::StrAppendFormat(&text, "%s%.0f%% at %s%d", between, 100 * passed[i].second, i == 0 ? "update " : "",
                          passed[i].first);
  }
  return text.empty() ? "" : absl::StrCat(EscapeHtml(curve.name), " ", verb, " ", text);
}

}  // namespace

std::vector<ShareCurve> SharesOfWords(ReportRun& run, const ReportStage& stage,
                                      const std::vector<std::string>& words) {
  std::vector<ShareCurve> curves;
  for (const std::string& word : words) curves.push_back({.name = word, .points = {}});
  if (words.empty() || stage.kind() != "rl") return curves;
  const int64_t updates = stage.config ? stage.config->rl.updates_per_rollout : 1;
  for (const std::string& prefix : RecordPrefixes(TrajectoriesDirectory(stage.directory))) {
    const absl::StatusOr<std::vector<Group>> groups = ReadGroups(prefix);
    if (!groups.ok()) {
      run.notes.push_back(Printable(std::string(groups.status().message())));
      continue;
    }
    for (ShareCurve& curve : curves) {
      double with = 0, all = 0;
      for (const Group& group : *groups) {
        for (const Trajectory& trajectory : group.trajectories) {
          with += LooksBack(trajectory.text, {curve.name}) ? 1 : 0;
          all += 1;
        }
      }
      if (all > 0) curve.points.emplace_back((*groups)[0].rollout * updates + 1, with / all);
    }
  }
  return curves;
}

std::string OnsetSentence(const ReportStage& stage, const std::vector<ShareCurve>& words) {
  if (stage.kind() != "rl") return "";
  std::vector<std::string> parts;
  const std::string rule = RulesOf(stage, /*evaluation=*/false).pass_rule;
  parts.push_back(Passes(CurveOf(stage, "reward/" + rule, rule), "passes"));
  parts.push_back(Passes(CurveOf(stage, "checks", "retries and checks"), "pass"));
  for (const ShareCurve& word : words)
    parts.push_back(Passes({.name = absl::StrCat("“", word.name, "”"), .points = word.points}, "passes"));
  parts.erase(std::remove(parts.begin(), parts.end(), ""), parts.end());
  if (parts.empty()) return "";
  return absl::StrCat("When: ", absl::StrJoin(parts, "; "), ".");
}

Json WordsChart(const ReportStage& stage, const std::vector<ShareCurve>& words) {
  if (words.empty() || words[0].points.empty()) return nullptr;
  Json chart = {{"title", "Words"},
                {"unit", "share"},
                {"note", "completions that have the word, by rollout"},
                {"zero", true},
                {"last", stage.step()},
                {"x", Json::array()},
                {"series", Json::array()}};
  for (const auto& [step, share] : words[0].points) chart["x"].push_back(step);
  for (const ShareCurve& word : words) {
    Json y = Json::array();
    for (const auto& [step, share] : word.points) y.push_back(JsonNumber(share, 4));
    chart["series"].push_back({{"name", word.name}, {"y", std::move(y)}, {"dots", false}});
  }
  return chart;
}

std::string CheckWordsText() { return absl::StrJoin(DefaultCheckWords(), ", "); }

}  // namespace temper
