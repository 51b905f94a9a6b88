// SPDX-License-Identifier: Apache-2.0
#include "cli/report.h"

#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/options.h"
#include "cli/report_curves.h"
#include "cli/report_groups.h"
#include "cli/report_page.h"
#include "cli/report_run.h"
#include "cli/report_table.h"
#include "cli/report_text.h"
#include "cli/rows.h"
#include "core/file.h"

namespace temper {
namespace {

constexpr int64_t kGroupBytes = 1500000;

struct ReportOptions {
  template <class V>
  void Fields(V& v) {}
};

std::string RunName(const std::string& directory) { return directory.substr(directory.rfind('/') + 1); }

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

// Only this script runs and nothing is fetched, whatever a completion says.
std::string Head(const std::string& title) {
  const std::string hash = absl::Base64Escape(absl::HexStringToBytes(Sha256Of(kReportScript)));
  return absl::StrCat(
      "<!doctype html>\n<html lang=en>\n<head>\n<meta charset=utf-8>\n",
      "<meta name=viewport content=\"width=device-width, initial-scale=1\">\n",
      "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'; style-src 'unsafe-inline'; "
      "script-src 'sha256-",
      hash, "'\">\n<title>", EscapeHtml(title), "</title>\n<style>", kReportStyle, "</style>\n</head>\n");
}

std::string Top(const ReportRun& run) {
  std::string top =
      absl::StrCat("<header><div class=kind>temper report</div><h1>", EscapeHtml(RunName(run.directory)),
                   "</h1><p class=facts>", EscapeHtml(Facts(run)), "</p>\n<p class=lead>", LeadParagraph(run),
                   "</p></header>\n");
  for (const std::string& note : run.notes) {
    absl::StrAppend(&top, "<p class=\"note warning\">Left out: ", EscapeHtml(note), "</p>\n");
  }
  return top;
}

std::string TableSection(const ReportRun& run) {
  return absl::StrCat(
      "<section><h2>Stages</h2>\n", StageTable(run),
      "<p class=note>Every stage’s policy is measured on the same problems, which no stage trains on, with "
      "the same draws. "
      "pass@1 is the share of completions whose answer is right and stands where the format wants it, ± one "
      "standard "
      "error over problems; "
      "“format ignored” takes the answer wherever it stands; pass@k: at least one of k samples is right; "
      "cons@k: the most "
      "frequent answer of k samples is. Completions are those of the held-out problems.</p></section>\n");
}

std::string CurvesSection(const ReportRun& run) {
  std::string section = "<section><h2>Stage by stage</h2>\n";
  for (size_t i = 0; i < run.stages.size(); ++i) {
    const ReportStage& stage = run.stages[i];
    absl::StrAppend(
        &section, "<section id=\"stage-", i, "\"><h3>", EscapeHtml(stage.name), "<small>",
        EscapeHtml(stage.kind()), "</small></h3>\n<p class=note>", StageSentence(stage),
        stage.metrics.empty() ? "" : absl::StrCat(" ", stage.step(), " updates are in this report."),
        "</p>\n<div data-stage=\"", i, "\"></div></section>\n");
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

std::string Page(ReportRun& run) {
  Json data = {{"stages", Json::array()},
               {"prompts", SamePrompts(run)},
               {"rollouts", RolloutGroups(run, kGroupBytes)}};
  for (const ReportStage& stage : run.stages) {
    data["stages"].push_back({{"name", stage.name}, {"curves", StageCurves(run, stage)}});
  }
  return absl::StrCat(Head(RunName(run.directory) + ": temper report"), "<body>\n", Top(run),
                      TableSection(run), CurvesSection(run),
                      CompletionSections(data["prompts"], data["rollouts"]),
                      "<svg id=mark hidden></svg>\n<script id=data type=\"application/json\">",
                      EscapeJsonForScript(DumpJson(data)), "</script>\n<script>", kReportScript,
                      "</script>\n</body>\n</html>\n");
}

}  // namespace

absl::StatusOr<std::string> WriteReport(const std::string& run_directory) {
  TEMPER_ASSIGN_OR_RETURN(ReportRun run, ReadReportRun(run_directory));
  const std::string path = run.directory + "/report.html";
  TEMPER_RETURN_IF_ERROR(WriteFileAtomic(path, Page(run)));
  return path;
}

absl::Status RunReport(const CommandLine& line) {
  ReportOptions options;
  TEMPER_ASSIGN_OR_RETURN(const std::vector<std::string> rest, ParseOptions(line.arguments, options));
  if (rest.size() != 1) return absl::InvalidArgumentError("report takes one RUN_DIR: temper report RUN_DIR");
  TEMPER_ASSIGN_OR_RETURN(const std::string path, WriteReport(rest[0]));
  return WriteOut(path);
}

std::string ReportHelp() { return OptionsHelp(DescribeConfig<ReportOptions>()); }

}  // namespace temper
