// SPDX-License-Identifier: Apache-2.0
#include "cli/score.h"

#include "absl/strings/str_join.h"
#include "cli/options.h"
#include "cli/rows.h"
#include "rewards/score.h"

namespace temper {
namespace {

struct ScoreOptions {
  std::string rule;
  std::string mode;
  std::vector<std::string> set;
  bool raw = false;
  std::string input = "-";

  template <class V>
  void Fields(V& v) {
    v.Field(
        "rule", rule,
        "Rules, with commas between (docs/rewards.md): math, code, accuracy, exact, choice, number, format, "
        "language, length, repetition, instructions, harmless, process.",
        Required());
    v.Field(
        "mode", mode,
        "math: math_verify, strict or string; accuracy, exact, choice, number: strict (inside <answer>) or "
        "lenient (wherever one is).");
    v.Field("set", set, "RULE.OPTION=VALUE, as in a recipe's reward, such as length.max_tokens=100.",
            Repeated());
    v.Field("raw", raw, "Completions are the answers themselves, without tags.");
    v.Field("input", input, "Rows: {\"completion\",\"answer\",..}; -: standard input.");
  }
};

}  // namespace

absl::Status RunScore(const CommandLine& line) {
  TEMPER_ASSIGN_OR_RETURN(const ScoreOptions options, OptionsOf<ScoreOptions>(line));
  TEMPER_ASSIGN_OR_RETURN(const auto rules, RulesByName(options.rule, options.mode, options.set));
  TEMPER_ASSIGN_OR_RETURN(const std::unique_ptr<RowReader> rows, RowReader::Open(options.input));
  for (;;) {
    TEMPER_ASSIGN_OR_RETURN(const std::optional<Row> row, rows->Next());
    if (!row) return absl::OkStatus();
    TEMPER_ASSIGN_OR_RETURN(const Json verdicts, ScoreRow(row->json, rules, options.raw, row->name));
    TEMPER_RETURN_IF_ERROR(WriteOut(DumpJson(verdicts)));
  }
}

std::string ScoreHelp() { return HelpOf<ScoreOptions>(); }

}  // namespace temper
