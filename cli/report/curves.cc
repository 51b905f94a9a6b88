// SPDX-License-Identifier: Apache-2.0
#include "cli/report/curves.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "cli/earned.h"
#include "cli/report/text.h"

namespace temper {
namespace {

constexpr int64_t kPoints = 240;  // of a series, at most
constexpr size_t kMoreCharts = 40;
constexpr int kDigits = 4;  // of a figure on a page

struct Curve {
  std::vector<int64_t> x;
  std::vector<double> y;  // NaN: no value
};

struct ChartSpec {
  const char* title;
  const char* unit;  // "share" is shown in percent
  std::vector<const char*> names;
  const char* note = "";
};
// The charts that have a place of their own; what else was measured goes behind them.
const std::vector<ChartSpec>& Specs() {
  static const auto* specs = new std::vector<ChartSpec>{
      {"Loss", "nats per token", {"nll"}},
      {"Entropy", "nats per token", {"entropy"}, "of the policy's next-token distribution"},
      {"KL to the reference", "nats per token", {"kl"}, "the k3 estimate"},
      {"Retries and checks",
       "share",
       {"checks"},
       "completions that have one of the words of the note under the table"},
      {"Cut by length", "share", {"stop/length"}},
      {"Clipped ratios", "share", {"clip_share"}},
  };
  return *specs;
}

class Charts {
 public:
  explicit Charts(const ReportStage& stage) : stage_(stage) {
    bucket_ = std::max<int64_t>(1, (int64_t(stage.metrics.size()) + kPoints - 1) / kPoints);
  }
  int64_t bucket() const { return bucket_; }

  // All names, in the order in which they first came.
  std::vector<std::string> Names() const {
    std::vector<std::string> names;
    std::set<std::string> seen;
    for (const MetricsLine& line : stage_.metrics) {
      for (const auto& [name, value] : line.values) {
        if (seen.insert(name).second) names.push_back(name);
      }
    }
    return names;
  }

  // Means over buckets; points where the metric was not written are left out if `sparse`.
  Curve CurveOf(const std::string& name, bool sparse) {
    used_.insert(name);
    Curve curve;
    const int64_t size = stage_.metrics.size(), bucket = sparse ? 1 : bucket_;
    for (int64_t begin = 0; begin < size; begin += bucket) {
      const int64_t end = std::min(begin + bucket, size);
      double sum = 0;
      int64_t count = 0;
      for (int64_t i = begin; i < end; ++i) {
        const double* value = stage_.metrics[i].Find(name);
        if (value == nullptr || !std::isfinite(*value)) continue;
        sum += *value;
        ++count;
      }
      if (sparse && count == 0) continue;
      curve.x.push_back(stage_.metrics[end - 1].step);
      curve.y.push_back(count > 0 ? sum / count : NAN);
    }
    return curve;
  }

  bool Has(const std::string& name) const {
    return std::any_of(stage_.metrics.begin(), stage_.metrics.end(), [&](const MetricsLine& line) {
      const double* value = line.Find(name);
      return value != nullptr && std::isfinite(*value);
    });
  }
  // Whether it is ever more than 0.
  bool Rises(const std::string& name) const {
    return std::any_of(stage_.metrics.begin(), stage_.metrics.end(), [&](const MetricsLine& line) {
      const double* value = line.Find(name);
      return value != nullptr && *value > 0;
    });
  }
  bool Used(const std::string& name) const { return used_.count(name) > 0; }
  void Use(const std::string& name) { used_.insert(name); }

  Json Chart(const std::string& title, const std::string& unit, const std::vector<std::string>& names,
             bool sparse = false) {
    Json chart = {{"title", title},        {"unit", unit},       {"zero", true},
                  {"last", stage_.step()}, {"x", Json::array()}, {"series", Json::array()}};
    for (const std::string& name : names) {
      const Curve curve = CurveOf(name, sparse);
      chart["x"] = curve.x;
      const size_t slash = name.find('/');
      chart["series"].push_back({{"name", slash == std::string::npos ? name : name.substr(slash + 1)},
                                 {"y", Numbers(curve.y)},
                                 {"dots", sparse}});
    }
    return chart;
  }

  static Json Numbers(const std::vector<double>& values) {
    Json numbers = Json::array();
    for (const double value : values) numbers.push_back(JsonNumber(value, kDigits));
    return numbers;
  }

 private:
  const ReportStage& stage_;
  int64_t bucket_ = 1;
  std::set<std::string> used_;
};

void AddReward(Charts& charts, Json& main) {
  std::vector<std::string> names;
  for (const std::string& name : charts.Names()) {
    if (absl::StartsWith(name, "reward/") && name != "reward/std" && charts.Has(name)) names.push_back(name);
  }
  if (names.empty()) return;
  Json chart = charts.Chart("Reward by rule", "", names);
  chart["note"] = "mean score of each rule; “mean” is the reward that trains";
  main.push_back(std::move(chart));
}

// With the full evaluations of the policy it started from and of the finished stage as lines.
void AddAccuracy(const ReportRun& run, const ReportStage& stage, Charts& charts, Json& main) {
  if (!charts.Has("eval/pass@1")) return;
  Json chart = charts.Chart("Held-out accuracy", "share", {"eval/pass@1"}, /*sparse=*/true);
  chart["top"] = 1;
  const std::string rule = RulesOf(stage, /*evaluation=*/true).pass_rule;
  chart["note"] = absl::StrCat("pass@1", rule.empty() ? "" : " by rule " + rule,
                               " of small evaluations during the stage; dashed: whole evaluations");
  chart["lines"] = Json::array();
  const ReportStage* from = stage.config ? run.Find(stage.config->from) : nullptr;
  if (from == nullptr) from = run.Find(stage.name + ".before");
  for (const ReportStage* whole : {from, &stage}) {
    if (whole == nullptr || !whole->Value("pass@1")) continue;
    chart["lines"].push_back({{"name", whole->name}, {"y", JsonNumber(*whole->Value("pass@1"), kDigits)}});
  }
  main.push_back(std::move(chart));
}

void AddLength(Charts& charts, Json& main) {
  if (!charts.Has("length/mean")) return;
  std::vector<std::string> names = {"length/mean"};
  if (charts.Has("length/p50")) names.push_back("length/p50");
  Json chart = charts.Chart("Completion length", "tokens", names);
  if (charts.Has("length/p10") && charts.Has("length/p90")) {
    chart["band"] = {{"name", "p10–p90"},
                     {"low", Charts::Numbers(charts.CurveOf("length/p10", false).y)},
                     {"high", Charts::Numbers(charts.CurveOf("length/p90", false).y)}};
  }
  main.push_back(std::move(chart));
}

void AddSpecs(Charts& charts, Json& main) {
  for (const ChartSpec& spec : Specs()) {
    std::vector<std::string> names;
    for (const char* name : spec.names) {
      if (charts.Has(name)) names.push_back(name);
    }
    if (names.empty()) continue;
    Json chart = charts.Chart(spec.title, spec.unit, names);
    chart["note"] = spec.note;
    main.push_back(std::move(chart));
  }
}

// verdict/RULE/KIND: a chart a rule, a curve for each kind that came.
void AddVerdicts(Charts& charts, Json& more) {
  std::vector<std::string> rules;
  std::map<std::string, std::vector<std::string>> names;
  for (const std::string& name : charts.Names()) {
    const std::vector<std::string> parts = absl::StrSplit(name, '/');
    if (parts.size() != 3 || parts[0] != "verdict") continue;
    if (names.count(parts[1]) == 0) rules.push_back(parts[1]);
    names[parts[1]];
    charts.Use(name);
    if (charts.Rises(name)) names[parts[1]].push_back(name);
  }
  for (const std::string& rule : rules) {
    if (names[rule].empty()) continue;
    Json chart = charts.Chart("Verdicts of " + rule, "completions", names[rule]);
    for (Json& series : chart["series"]) {
      const std::string name = series["name"];
      series["name"] = name.substr(name.find('/') + 1);
    }
    more.push_back(std::move(chart));
  }
}

}  // namespace

Json ComparedCurves(const std::vector<const ReportRun*>& runs, const std::string& stage) {
  struct Compared {
    const char* title;
    const char* unit;
    const char* name;
  };
  constexpr Compared kCompared[] = {{"Reward", "", "reward/mean"},
                                    {"Held-out pass@1", "share", "eval/pass@1"},
                                    {"Completion length", "tokens", "length/mean"},
                                    {"Retries and checks", "share", "checks"},
                                    {"Entropy", "nats per token", "entropy"},
                                    {"KL to the reference", "nats per token", "kl"},
                                    {"Cut by length", "share", "stop/length"},
                                    {"Gradient norm", "", "gradient_norm"},
                                    {"Loss", "", "loss"}};
  Json main = Json::array();
  for (const Compared& compared : kCompared) {
    Json chart = {{"title", compared.title}, {"unit", compared.unit}, {"zero", true},
                  {"x", Json::array()},      {"note", compared.name}, {"series", Json::array()}};
    std::set<int64_t> steps;
    for (const ReportRun* run : runs) {
      const ReportStage* const found = run->Find(stage);
      if (found == nullptr) continue;
      Charts charts(*found);
      if (!charts.Has(compared.name)) continue;
      const Curve curve = charts.CurveOf(compared.name, absl::StartsWith(compared.name, "eval/"));
      steps.insert(curve.x.begin(), curve.x.end());
      chart["series"].push_back({{"name", run->name},
                                 {"x", curve.x},
                                 {"y", Charts::Numbers(curve.y)},
                                 {"dots", absl::StartsWith(compared.name, "eval/")}});
    }
    if (steps.empty()) continue;
    chart["x"] = std::vector<int64_t>(steps.begin(), steps.end());
    main.push_back(std::move(chart));
  }
  if (main.empty()) return nullptr;
  return {{"main", std::move(main)}, {"more", Json::array()}, {"bucket", 1}};
}

Json StageCurves(const ReportRun& run, const ReportStage& stage) {
  if (stage.metrics.empty()) return nullptr;
  Charts charts(stage);
  Json main = Json::array(), more = Json::array();
  AddReward(charts, main);
  AddAccuracy(run, stage, charts, main);
  AddLength(charts, main);
  if (!charts.Has("nll") && charts.Has("loss") && stage.kind() != "rl") {
    Json loss = charts.Chart("Loss", "nats per token", {"loss"});
    main.push_back(std::move(loss));
  }
  AddSpecs(charts, main);
  AddVerdicts(charts, more);
  for (const std::string& name : charts.Names()) {
    if (charts.Used(name) || absl::EndsWith(name, "_error") || !charts.Has(name)) continue;
    if (more.size() >= kMoreCharts) break;
    Json chart = charts.Chart(name, "", {name}, /*sparse=*/absl::StartsWith(name, "eval/"));
    chart["zero"] = false;
    more.push_back(std::move(chart));
  }
  return {{"main", std::move(main)}, {"more", std::move(more)}, {"bucket", charts.bucket()}};
}

}  // namespace temper
