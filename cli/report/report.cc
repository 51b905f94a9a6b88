// SPDX-License-Identifier: Apache-2.0
#include "cli/report/report.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <set>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "cli/line/options.h"
#include "cli/line/rows.h"
#include "cli/report/curves.h"
#include "cli/report/groups.h"
#include "cli/report/onset.h"
#include "cli/report/page.css.h"
#include "cli/report/page.js.h"
#include "cli/report/run.h"
#include "cli/report/table.h"
#include "cli/report/text.h"
#include "cli/report/timeline.h"
#include "core/files/file.h"
#include "core/host.h"
#include "core/version.h"
#include "trainer/run_directory/run_directory.h"

namespace temper {
namespace {

constexpr int64_t kGroupBytes = 1500000;

// "seed 0 · 10 stages · 5.4 minutes"
std::string Facts(const ReportRun& run) {
  double seconds = 0;
  for (const ReportStage& stage : run.stages) seconds += stage.Value("seconds").value_or(0);
  std::string facts = absl::StrCat(run.stages.size(), run.stages.size() == 1 ? " stage" : " stages");
  bool exact = true;
  for (const ReportStage& stage : run.stages) {
    const Json* value = Find(stage.summary, "exact");
    exact &= value == nullptr || !value->is_boolean() || value->get<bool>();
  }
  if (run.recipe && run.recipe->device != "cpu") absl::StrAppend(&facts, " · device ", run.recipe->device);
  if (!exact) absl::StrAppend(&facts, " · not exact");
  if (run.recipe) facts = absl::StrCat("seed ", run.recipe->seed, " · ", facts);
  const bool minutes = seconds < 6000;
  if (seconds > 0) {
    absl::StrAppendFormat(&facts, " · %.1f %s", seconds / (minutes ? 60 : 3600),
                          minutes ? "minutes" : "hours");
  }
  return facts;
}

// The page's script reads the JSON of <script id="data">: {"stages":[{"name","curves":cli/report/curves.h}],
// "prompts":..,"rollouts":.. (cli/report/groups.h),"timeline":..} (cli/report/timeline.h), and draws into
// [data-stage], #prompts, #rollouts and #timeline. It makes text nodes only: no string of the data is read as
// markup.
std::string Script() { return absl::StrCat("\n", std::string(kReportScript)); }

// Only this script runs and nothing is fetched, whatever a completion says.
std::string Head(const std::string& title) {
  const std::string hash = absl::Base64Escape(absl::HexStringToBytes(Sha256Of(Script())));
  return absl::StrCat(
      "<!doctype html>\n<html lang=en>\n<head>\n<meta charset=utf-8>\n",
      "<meta name=viewport content=\"width=device-width, initial-scale=1\">\n",
      "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'; style-src 'unsafe-inline'; "
      "script-src 'sha256-",
      hash, "'\">\n<title>", EscapeHtml(title), "</title>\n<style>\n", std::string(kReportStyle),
      "</style>\n</head>\n");
}

// "2026-11-28 23:12 to 23:58 UTC": when the run's metrics were written; "" where they do not say.
std::string Span(const ReportRun& run) {
  double first = 0, last = 0;
  for (const ReportStage& stage : run.stages) {
    for (const MetricsLine& line : stage.metrics) {
      const double* const seconds = line.Find("time/unix_seconds");
      if (seconds == nullptr || !std::isfinite(*seconds)) continue;
      first = first == 0 ? *seconds : std::min(first, *seconds);
      last = std::max(last, *seconds);
    }
  }
  if (first == 0) return "";
  const auto text = [](double seconds, const char* form) {
    return absl::FormatTime(form, absl::FromUnixSeconds(static_cast<int64_t>(seconds)), absl::UTCTimeZone());
  };
  const std::string begin = text(first, "%Y-%m-%d %H:%M"), end = text(last, "%Y-%m-%d %H:%M");
  return absl::StrCat(begin, " to ", begin.substr(0, 10) == end.substr(0, 10) ? end.substr(11) : end, " UTC");
}

// What made this page, where and when.
std::string Foot(const std::string& command) {
  return absl::StrCat("<p class=note>temper ", kVersion, ", ",
                      absl::FormatTime("%Y-%m-%d %H:%M UTC", absl::Now(), absl::UTCTimeZone()), ", on ",
                      EscapeHtml(ThisHost()), ": ", EscapeHtml(command), "</p>\n");
}

// A line for each stage that trained beyond sense.
std::string Alarms(const ReportRun& run) {
  std::string html;
  for (const ReportStage& stage : run.stages) {
    std::map<std::string, std::pair<int64_t, int64_t>> raised;  // figure -> first update, how many
    for (const MetricsLine& line : stage.metrics) {
      for (const auto& [name, value] : line.values) {
        if (absl::StartsWith(name, "alarm/") && raised[name].second++ == 0) raised[name].first = line.step;
      }
    }
    for (const auto& [name, when] : raised) {
      absl::StrAppend(&html, "<p class=\"note warning\">Stage ", EscapeHtml(stage.name), ": ", name,
                      " beyond sense from update ", when.first, " on, in ", when.second, " of ",
                      stage.metrics.size(), " updates (docs/metrics.md).</p>\n");
    }
  }
  return html;
}

std::string Top(const ReportRun& run) {
  std::string top =
      absl::StrCat("<header><div class=kind>temper report</div><h1>", EscapeHtml(run.name),
                   "</h1><p class=facts>", EscapeHtml(Facts(run)), Span(run).empty() ? "" : " · ", Span(run),
                   "</p>\n<p class=lead>", LeadParagraph(run), "</p></header>\n");
  for (const std::string& note : run.notes) {
    absl::StrAppend(&top, "<p class=\"note warning\">Left out: ", EscapeHtml(note), "</p>\n");
  }
  absl::StrAppend(&top, Alarms(run));
  return top;
}

// "rule math", or "its rule" where stages have different ones.
std::string RuleText(const std::vector<const ReportRun*>& runs) {
  std::set<std::string> rules;
  for (const ReportRun* run : runs) {
    for (const ReportStage& stage : run->stages) {
      const Json* const rule = Find(stage.summary, "rule");
      if (rule != nullptr && rule->is_string()) rules.insert(rule->get<std::string>());
    }
  }
  return rules.size() == 1 ? absl::StrCat("rule ", EscapeHtml(*rules.begin())) : "the stage’s rule";
}

std::string TableSection(const std::vector<const ReportRun*>& runs) {
  return absl::StrCat(
      "<section><h2>Stages</h2>\n", StageTable(runs),
      "<p class=note>Every stage’s policy is measured on the same problems, which no stage trains on, with "
      "the same draws. pass@1 is the share of completions that ",
      RuleText(runs),
      " calls correct and whose form is what that rule requires, ± one standard error over problems; “format "
      "ignored” takes the answer wherever it stands; pass@k: at least one of k samples is right; cons@k: the "
      "most frequent answer of k samples is. Completions are those of the held-out problems; to retry or "
      "check "
      "is to have one of the words ",
      EscapeHtml(CheckWordsText()), ".</p></section>\n");
}

std::string CurvesSection(ReportRun& run, const std::vector<std::string>& words, Json* stages) {
  std::string section = "<section><h2>Stage by stage</h2>\n";
  for (size_t i = 0; i < run.stages.size(); ++i) {
    const ReportStage& stage = run.stages[i];
    const std::vector<ShareCurve> shares = SharesOfWords(run, stage, words);
    Json curves = StageCurves(run, stage);
    if (Json chart = WordsChart(stage, shares); !chart.is_null() && !curves.is_null())
      curves["main"].push_back(std::move(chart));
    stages->push_back({{"name", stage.name}, {"curves", std::move(curves)}});
    absl::StrAppend(
        &section, "<section id=\"stage-", EscapeHtml(stage.name), "\"><h3>", EscapeHtml(stage.name),
        "<small>", EscapeHtml(stage.kind()), "</small></h3>\n<p class=note>", StageSentence(stage),
        stage.metrics.empty() ? "" : absl::StrCat(" ", stage.step(), " updates are in this report."),
        "</p>\n");
    if (const std::string onset = OnsetSentence(stage, shares); !onset.empty())
      absl::StrAppend(&section, "<p class=note>", onset, "</p>\n");
    absl::StrAppend(&section, "<div data-stage=\"", i, "\"></div></section>\n");
  }
  return section + "</section>\n";
}

std::string CompletionSections(const Json& prompts, const Json& rollouts) {
  std::string sections;
  if (!prompts.empty()) {
    sections +=
        "<section><h2>The same prompt through training</h2>\n<p class=note>The first held-out prompts of "
        "each task, and "
        "sample 0 of every stage: none was chosen by its result. Beside the stage’s name, how many of all "
        "its samples of "
        "this prompt are correct.</p>\n";
    sections +=
        "<p class=note>Tokens are shaded by how unlikely the policy found them, from a logprob of 0 "
        "<span class=scale><i></i><i style=\"background:rgba(var(--shade),.15)\"></i><i "
        "style=\"background:rgba(var(--shade),.3)\"></i><i "
        "style=\"background:rgba(var(--shade),.45)\"></i><i "
        "style=\"background:rgba(var(--shade),.6)\"></i></span> to −4 and below.</p>\n<div "
        "id=prompts></div></section>\n";
  }
  if (!rollouts.empty()) {
    sections +=
        "<section><h2>Whole groups</h2>\n<p class=note>The first, middle and last rollout of each RL stage; "
        "of each, the "
        "first group of each task, with all its completions. The advantage is the completion’s reward "
        "against its "
        "group’s mean, as the update used it.</p>\n<div id=rollouts></div></section>\n";
  }
  return sections;
}

std::string TimelineSection(const Json& timeline) {
  if (timeline.is_null()) return "";
  const int64_t left_out = timeline["ranks_left_out"].get<int64_t>();
  return absl::StrCat(
      "<section><h2>A step, rank by rank</h2>\n<p class=note>Where the time of one step went, by the run’s "
      "trace: the last update with a rollout before it, or the last one. Above, a rank’s phases; below, what "
      "it does in them; the waits of a pipeline are its bubble.",
      left_out > 0 ? absl::StrCat(" ", left_out, " ranks more are not drawn.") : "",
      "</p>\n<div id=timeline></div></section>\n");
}

std::string Page(const std::string& title, const std::string& body, const Json& data) {
  return absl::StrCat(Head(title + ": temper report"), "<body>\n", body,
                      "<svg id=mark hidden></svg>\n<script id=data type=\"application/json\">",
                      EscapeJsonForScript(DumpJson(data)), "</script>\n<script>", Script(),
                      "</script>\n</body>\n</html>\n");
}

std::string RunPage(ReportRun& run, const std::vector<std::string>& words) {
  Json stages = Json::array();
  const std::string curves = CurvesSection(run, words, &stages);
  const Json data = {{"stages", std::move(stages)},
                     {"prompts", SamePrompts(run)},
                     {"rollouts", RolloutGroups(run, kGroupBytes)},
                     {"timeline", StepTimeline(run)}};
  // The notes on top are complete only now.
  const std::string body = absl::StrCat(
      Top(run), TableSection({&run}), curves, TimelineSection(data["timeline"]),
      CompletionSections(data["prompts"], data["rollouts"]), Foot("temper report " + run.directory));
  return Page(run.name, body, data);
}

std::string ComparisonPage(const std::vector<const ReportRun*>& runs, const std::string& folder) {
  std::vector<std::string> names, directories, stages;
  std::string list;
  for (const ReportRun* run : runs) {
    names.push_back(run->name);
    directories.push_back(run->directory);
    const std::string page =
        std::filesystem::path(ReportPath(run->directory)).lexically_proximate(folder).generic_string();
    absl::StrAppend(&list, "<p class=facts><b>", EscapeHtml(run->name), "</b> · ", EscapeHtml(Facts(*run)),
                    Span(*run).empty() ? "" : " · ", Span(*run));
    if (FileExists(ReportPath(run->directory)))
      absl::StrAppend(&list, " · <a href=\"", EscapeHtml(page), "\">its report</a>");
    list += "</p>\n";
    for (const ReportStage& stage : run->stages) {
      if (std::find(stages.begin(), stages.end(), stage.name) == stages.end()) stages.push_back(stage.name);
    }
  }
  Json data = {{"stages", Json::array()}, {"prompts", Json::array()}, {"rollouts", Json::array()}};
  std::string sections = "<section><h2>Stage by stage</h2>\n";
  for (size_t i = 0; i < stages.size(); ++i) {
    Json curves = ComparedCurves(runs, stages[i]);
    if (!curves.is_null()) {
      absl::StrAppend(&sections, "<section id=\"stage-", EscapeHtml(stages[i]), "\"><h3>",
                      EscapeHtml(stages[i]), "</h3>\n<div data-stage=\"", i, "\"></div></section>\n");
    }
    data["stages"].push_back({{"name", stages[i]}, {"curves", std::move(curves)}});
  }
  const std::string title = absl::StrJoin(names, ", ");
  const std::string body = absl::StrCat(
      "<header><div class=kind>temper report</div><h1>", EscapeHtml(title), "</h1>\n", list, "</header>\n",
      TableSection(runs), sections, "</section>\n", Foot("temper report " + absl::StrJoin(directories, " ")));
  return Page(title, body, data);
}

}  // namespace

absl::StatusOr<std::string> WriteReport(const std::string& run_directory, const ReportOptions& options) {
  TEMPER_ASSIGN_OR_RETURN(ReportRun run, ReadReportRun(run_directory));
  const std::string path = options.output.empty() ? ReportPath(run.directory) : options.output;
  TEMPER_RETURN_IF_ERROR(CheckOutput(path, RunFiles(run.directory)));
  TEMPER_RETURN_IF_ERROR(WriteFileAtomic(path, RunPage(run, options.words)));
  return path;
}

absl::StatusOr<std::string> WriteComparison(const std::vector<std::string>& run_directories,
                                            const ReportOptions& options) {
  std::vector<ReportRun> read;
  for (const std::string& directory : run_directories) {
    TEMPER_ASSIGN_OR_RETURN(read.emplace_back(), ReadReportRun(directory));
  }
  std::vector<const ReportRun*> runs;
  std::set<std::string> names;
  for (const ReportRun& run : read) names.insert(run.name);
  for (ReportRun& run : read) {
    if (names.size() < read.size()) run.name = run.directory;
    runs.push_back(&run);
  }
  const std::string path = options.output.empty() ? "comparison.html" : options.output;
  for (const ReportRun& run : read) TEMPER_RETURN_IF_ERROR(CheckOutput(path, RunFiles(run.directory)));
  TEMPER_RETURN_IF_ERROR(
      WriteFileAtomic(path, ComparisonPage(runs, std::filesystem::path(path).parent_path().string())));
  return path;
}

absl::Status RunReport(const CommandLine& line) {
  ReportOptions options;
  TEMPER_ASSIGN_OR_RETURN(const std::vector<std::string> rest, ParseOptions(line.arguments, options));
  if (rest.empty())
    return absl::InvalidArgumentError(
        "report takes a RUN_DIR, or several: temper report RUN_DIR [RUN_DIR ..]");
  if (rest.size() > 1 && !options.words.empty())
    return absl::InvalidArgumentError("--words are drawn in the report of one run");
  TEMPER_ASSIGN_OR_RETURN(const std::string path,
                          rest.size() == 1 ? WriteReport(rest[0], options) : WriteComparison(rest, options));
  return WriteOut(path);
}

std::string ReportHelp() { return OptionsHelp(DescribeConfig<ReportOptions>()); }

}  // namespace temper
