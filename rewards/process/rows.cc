// SPDX-License-Identifier: Apache-2.0
#include "rewards/process/rows.h"

#include <algorithm>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/check.h"
#include "core/json/json.h"
#include "core/text.h"

namespace temper {
namespace {

constexpr int64_t kProtocol = 1;
constexpr size_t kMostText = 4096;

// Without its last brace.
std::string OpenRow(const Completion& completion, Json row) {
  const Prompt& prompt = *completion.prompt;
  row.update(Json{{"completion", std::string(completion.text)},
                  {"stop", Name(completion.stop)},
                  {"tokens", completion.tokens < 0 ? Json() : Json(completion.tokens)},
                  {"prompt", prompt.text},
                  {"answer", prompt.answer},
                  {"task", prompt.task}});
  std::string line = DumpJson(row);
  line.pop_back();
  return line;
}

std::string RowText(const Completion& completion, Json begin) {
  std::string fields = completion.prompt->fields.empty() ? "{}" : completion.prompt->fields;
  std::replace_if(
      fields.begin(), fields.end(), [](char c) { return c == '\n' || c == '\r'; }, ' ');
  return absl::StrCat(OpenRow(completion, std::move(begin)), ",\"row\":", fields, "}");
}

absl::StatusOr<VerdictKind> KindByName(const std::string& name) {
  for (int kind = 1; kind <= static_cast<int>(VerdictKind::kInfrastructureError); ++kind) {
    if (name == Name(static_cast<VerdictKind>(kind))) return static_cast<VerdictKind>(kind);
  }
  return absl::InvalidArgumentError(absl::StrCat("there is no verdict ", Printable(name, 40)));
}

std::string OneLine(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](char c) { return absl::ascii_isspace(static_cast<unsigned char>(c)); },
      ' ');
  return Printable(text, kMostText);
}

absl::StatusOr<Verdict> ReadVerdict(const Json& json) {
  const bool has_verdict = Find(json, "verdict") != nullptr, has_score = Find(json, "score") != nullptr;
  if (!has_verdict && !has_score)
    return absl::InvalidArgumentError("its answer has neither score nor verdict");
  Verdict verdict;
  if (has_score) {
    TEMPER_ASSIGN_OR_RETURN(verdict.score, GetDouble(json, "score", "its answer"));
    if (!(verdict.score >= 0 && verdict.score <= 1))
      return absl::InvalidArgumentError(absl::StrCat("its score ", verdict.score, " is not in [0, 1]"));
    verdict.kind = verdict.score == 1 ? VerdictKind::kCorrect : VerdictKind::kWrong;
  }
  if (has_verdict) {
    TEMPER_ASSIGN_OR_RETURN(const std::string name, GetString(json, "verdict", "its answer"));
    TEMPER_ASSIGN_OR_RETURN(verdict.kind, KindByName(name));
    if (!has_score) verdict.score = verdict.kind == VerdictKind::kCorrect ? 1 : 0;
  }
  TEMPER_ASSIGN_OR_RETURN(const std::string reason, GetString(json, "reason", "its answer", ""));
  TEMPER_ASSIGN_OR_RETURN(const std::string extracted, GetString(json, "extracted", "its answer", ""));
  verdict.reason = OneLine(reason);
  verdict.extracted = OneLine(extracted);
  return verdict;
}

// One line's id and verdict.
absl::StatusOr<std::pair<int64_t, Verdict>> ReadAnswer(const std::string& line) {
  TEMPER_ASSIGN_OR_RETURN(const Json json, ParseJson(line, "its answer"));
  if (!json.is_object()) return absl::InvalidArgumentError("its answer is no object");
  TEMPER_ASSIGN_OR_RETURN(const int64_t id, GetInt(json, "id", "its answer"));
  TEMPER_ASSIGN_OR_RETURN(Verdict verdict, ReadVerdict(json));
  return std::pair(id, std::move(verdict));
}

}  // namespace

std::string RequestLine(absl::Span<const Completion> rows, int64_t first_id, RowsForm form) {
  if (form == RowsForm::kOne) {
    TEMPER_CHECK(rows.size() == 1);
    return RowText(rows[0], {{"protocol", kProtocol}, {"id", first_id}});
  }
  std::vector<std::string> texts;
  for (const Completion& row : rows) texts.push_back(RowText(row, {{"id", first_id++}}));
  return absl::StrCat("{\"protocol\":", kProtocol, ",\"rows\":[", absl::StrJoin(texts, ","), "]}");
}

absl::StatusOr<std::vector<Verdict>> ReadAnswers(const std::vector<std::string>& lines, int64_t first_id) {
  std::vector<std::optional<Verdict>> by_row(lines.size());
  for (const std::string& line : lines) {
    absl::StatusOr<std::pair<int64_t, Verdict>> answer = ReadAnswer(line);
    const int64_t last_id = first_id + static_cast<int64_t>(lines.size()) - 1;
    if (answer.ok() && (answer->first < first_id || answer->first > last_id)) {
      answer =
          absl::InvalidArgumentError(absl::StrCat("it answered row ", answer->first, " and not ", first_id,
                                                  last_id > first_id ? absl::StrCat(" to ", last_id) : ""));
    } else if (answer.ok() && by_row[answer->first - first_id]) {
      answer = absl::InvalidArgumentError(absl::StrCat("it answered row ", answer->first, " twice"));
    }
    if (!answer.ok()) {
      return absl::InvalidArgumentError(absl::StrCat(answer.status().message(), ": ", Printable(line, 100)));
    }
    by_row[answer->first - first_id] = std::move(answer->second);
  }
  std::vector<Verdict> verdicts;
  for (std::optional<Verdict>& verdict : by_row) verdicts.push_back(*std::move(verdict));
  return verdicts;
}

}  // namespace temper
