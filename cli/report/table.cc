// SPDX-License-Identifier: Apache-2.0
#include "cli/report/table.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/report/text.h"
#include "core/json/json.h"

namespace temper {
namespace {

enum class Unit { kShare, kTokens, kReward, kSeconds, kAmount };
struct Column {
  const char* heading;  // over a group of columns
  const char* key;      // of the summary row; its standard error is key + "_error"
  const char* title;
  Unit unit;
};
constexpr Column kColumns[] = {
    {"Held-out problems, %", "pass@1", "pass@1", Unit::kShare},
    {"Held-out problems, %", "pass@1_lenient", "format ignored", Unit::kShare},
    {"Held-out problems, %", "pass@k", "pass@k", Unit::kShare},
    {"Held-out problems, %", "cons@k", "cons@k", Unit::kShare},
    {"Harder problems, %", "hard/pass@1", "pass@1", Unit::kShare},
    {"Harder problems, %", "hard/cons@k", "cons@k", Unit::kShare},
    {"Completions", "format", "format, %", Unit::kShare},
    {"Completions", "language", "language, %", Unit::kShare},
    {"Completions", "checks", "retry or check, %", Unit::kShare},
    {"Completions", "length_mean", "tokens", Unit::kTokens},
    {"Completions", "reward", "reward", Unit::kReward},
    {"", "seconds", "time", Unit::kSeconds},
    {"Device hours", "device_hours", "all", Unit::kAmount},
    {"Device hours", "lost_device_hours", "lost to faults", Unit::kAmount},
    {"Cost", "cost", "all", Unit::kAmount},
    {"Cost", "lost_cost", "lost to faults", Unit::kAmount},
};

std::string Clock(double seconds) {
  const int64_t whole = static_cast<int64_t>(std::llround(std::clamp(seconds, 0.0, 1e12)));
  if (whole < 60) return absl::StrFormat("%.1f s", seconds);
  if (whole < 3600) return absl::StrFormat("%d:%02d min", whole / 60, whole % 60);
  return absl::StrFormat("%d:%02d h", whole / 3600, whole / 60 % 60);
}

std::string Figure(double value, Unit unit) {
  if (unit == Unit::kShare) return Percent(value);
  if (unit == Unit::kSeconds) return Clock(value);
  if (unit == Unit::kAmount) return absl::StrFormat(value < 100 ? "%.2f" : "%.0f", value);
  if (unit == Unit::kReward) return absl::StrFormat("%.3f", value);
  return absl::StrFormat("%.1f", value);
}

struct StageRow {
  const ReportStage* stage;
  std::string run;  // its name, where there are several
};
using StageRows = std::vector<StageRow>;

// By stage, in the order in which stages first come, then by run.
StageRows StageRowsOf(const std::vector<const ReportRun*>& runs) {
  std::vector<std::string> names;
  for (const ReportRun* run : runs) {
    for (const ReportStage& stage : run->stages) {
      if (std::find(names.begin(), names.end(), stage.name) == names.end()) names.push_back(stage.name);
    }
  }
  StageRows rows;
  for (const std::string& name : names) {
    for (const ReportRun* run : runs) {
      if (const ReportStage* stage = run->Find(name))
        rows.push_back({stage, runs.size() > 1 ? run->name : ""});
    }
  }
  return rows;
}

// The rule of pass@1, where the stages have different ones.
std::string OtherRule(const StageRows& rows, const ReportStage& stage) {
  const auto rule_of = [](const ReportStage& of) {
    const Json* const rule = Find(of.summary, "rule");
    return rule != nullptr && rule->is_string() ? rule->get<std::string>() : "";
  };
  std::set<std::string> rules;
  for (const StageRow& row : rows) {
    if (!rule_of(*row.stage).empty()) rules.insert(rule_of(*row.stage));
  }
  return rules.size() > 1 ? rule_of(stage) : "";
}

// The columns that some stage has a figure for.
std::vector<Column> ColumnsOf(const StageRows& rows) {
  std::vector<Column> columns;
  for (const Column& column : kColumns) {
    for (const StageRow& row : rows) {
      if (!row.stage->Value(column.key)) continue;
      columns.push_back(column);
      break;
    }
  }
  return columns;
}

double Largest(const StageRows& rows, const Column& column) {
  double largest = column.unit == Unit::kShare ? 1 : 1e-9;
  for (const StageRow& row : rows) largest = std::max(largest, row.stage->Value(column.key).value_or(0));
  return largest;
}

// "pass@16" where every stage has the same k.
std::string Title(const StageRows& rows, const Column& column) {
  std::string title = column.title;
  const std::string k_key = std::string(column.key).rfind("hard/", 0) == 0 ? "hard/k" : "k";
  std::set<double> ks;
  for (const StageRow& row : rows) {
    if (const auto k = row.stage->Value(k_key)) ks.insert(*k);
  }
  if (ks.size() == 1 && title.size() > 2 && title.substr(title.size() - 2) == "@k") {
    title = absl::StrFormat("%s%.0f", title.substr(0, title.size() - 1), *ks.begin());
  }
  return title;
}

std::string Cell(const ReportStage& stage, const Column& column, double largest) {
  const auto value = stage.Value(column.key);
  if (!value) return "<td class=none>–</td>";
  const auto error = stage.Value(absl::StrCat(column.key, "_error"));
  const double width = std::isfinite(*value) ? std::clamp(*value / largest, 0.0, 1.0) : 0;
  return absl::StrCat(absl::StrFormat("<td style=\"--share:%.4f\" data-key=\"%s\" data-value=\"%s\">", width,
                                      column.key, FormatDouble(*value)),
                      Figure(*value, column.unit),
                      error ? absl::StrCat("<span class=se>&#8239;±", Percent(*error), "</span>") : "",
                      "</td>");
}

std::string State(const ReportStage& stage) {
  if (!stage.summary.is_null()) return "";
  if (stage.metrics.empty()) return "to come";
  return stage.planned_steps() > 0 ? absl::StrCat("update ", stage.step(), " of ", stage.planned_steps())
                                   : absl::StrCat("update ", stage.step());
}

std::string TableRow(const StageRows& rows, size_t index, const std::vector<Column>& columns,
                     const std::vector<double>& largest) {
  const ReportStage& stage = *rows[index].stage;
  std::string note = stage.kind();
  if (stage.config && !stage.config->from.empty()) absl::StrAppend(&note, " from ", stage.config->from);
  if (const std::string rule = OtherRule(rows, stage); !rule.empty())
    absl::StrAppend(&note, ", pass@1 by ", rule);
  if (const std::string state = State(stage); !state.empty()) absl::StrAppend(&note, ", ", state);
  if (!rows[index].run.empty()) note = rows[index].run;
  std::string row = absl::StrCat("<tr", stage.summary.is_null() ? " class=open" : "",
                                 "><th scope=row><a href=\"#stage-", EscapeHtml(stage.name), "\">",
                                 EscapeHtml(stage.name), "</a><small>", EscapeHtml(note), "</small></th>");
  for (size_t i = 0; i < columns.size(); ++i) row += Cell(stage, columns[i], largest[i]);
  return row + "</tr>\n";
}

// Equal headings side by side become one.
std::string HeadingRow(const std::vector<Column>& columns) {
  std::string row = "<tr class=over><td></td>";
  for (size_t i = 0; i < columns.size();) {
    size_t end = i + 1;
    while (end < columns.size() && std::string(columns[end].heading) == columns[i].heading) ++end;
    absl::StrAppend(&row, "<th scope=colgroup colspan=", end - i, ">", columns[i].heading, "</th>");
    i = end;
  }
  return row + "</tr>\n";
}

}  // namespace

std::string StageTable(const std::vector<const ReportRun*>& runs) {
  const StageRows rows = StageRowsOf(runs);
  const std::vector<Column> columns = ColumnsOf(rows);
  std::vector<double> largest;
  std::string heads = "<tr><th scope=col>stage</th>";
  for (const Column& column : columns) {
    largest.push_back(Largest(rows, column));
    absl::StrAppend(&heads, "<th scope=col>", EscapeHtml(Title(rows, column)), "</th>");
  }
  std::string table = absl::StrCat("<div class=scroll><table>\n<thead>", HeadingRow(columns), heads,
                                   "</tr></thead>\n<tbody>\n");
  for (size_t i = 0; i < rows.size(); ++i) table += TableRow(rows, i, columns, largest);
  return table + "</tbody></table></div>\n";
}

}  // namespace temper
