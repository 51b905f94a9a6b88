// SPDX-License-Identifier: Apache-2.0
#include "cli/report/text.h"

#include <cmath>
#include <cstdlib>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "core/text.h"

namespace temper {
namespace {

std::string Escape(char c) {
  switch (c) {
    case '&':
      return "&amp;";
    case '<':
      return "&lt;";
    case '>':
      return "&gt;";
    case '"':
      return "&quot;";
    case '\'':
      return "&#39;";
  }
  const bool control = (static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t') || c == 0x7f;
  return control ? "\uFFFD" : std::string(1, c);
}

std::string BaseName(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path.substr(path.rfind('/') + 1);
}

std::string Named(const ReportStage& stage) { return absl::StrCat("<b>", EscapeHtml(stage.name), "</b>"); }

// "86.3 ± 1.2%"
std::string WithError(const ReportStage& stage, const std::string& key) {
  const auto error = stage.Value(key + "_error");
  return absl::StrCat(Percent(stage.Value(key).value_or(0)), error ? " ± " + Percent(*error) : "", "%");
}

const ReportStage* Measured(const ReportRun& run, const std::string& name) {
  const ReportStage* stage = run.Find(name);
  return stage != nullptr && stage->Value("pass@1") ? stage : nullptr;
}

// "grows from 18.2 to 36.9", or "stays at 24.0" where the figures shown are equal.
std::string Way(const char* up, const char* down, double from, double to, const std::string& shown_from,
                const std::string& shown_to) {
  if (shown_from == shown_to) return absl::StrCat("stays at ", shown_to);
  return absl::StrCat(to > from ? up : down, " from ", shown_from, " to ", shown_to);
}

// "; the mean completion grows from 18.2 to 36.9 tokens": what changed between two stages beside accuracy.
std::string Changes(const ReportStage& from, const ReportStage& to) {
  std::string text;
  const auto length = from.Value("length_mean"), length_to = to.Value("length_mean");
  if (length && length_to) {
    absl::StrAppend(&text, "; the mean completion ",
                    Way("grows", "shrinks", *length, *length_to, absl::StrFormat("%.1f", *length),
                        absl::StrFormat("%.1f", *length_to)),
                    " tokens");
  }
  const auto checks = from.Value("checks"), checks_to = to.Value("checks");
  if (checks && checks_to) {
    absl::StrAppend(
        &text, ", and the share of completions that retry or check themselves ",
        Way("goes", "goes", *checks, *checks_to, Percent(*checks) + "%", Percent(*checks_to) + "%"));
  }
  return text;
}

// "by rule math, ": what pass@1 counts; "" in runs that do not say.
std::string ByRule(const ReportStage& stage) {
  const Json* const rule = Find(stage.summary, "rule");
  return rule != nullptr && rule->is_string()
             ? absl::StrCat(" by rule ", EscapeHtml(rule->get<std::string>()))
             : "";
}

// Who solves: a stage, or the model directory that a stage starts from.
std::string Subject(const ReportStage& stage) {
  if (!absl::EndsWith(stage.name, ".before") || !stage.config) return Named(stage);
  return absl::StrCat("Before training, <b>", EscapeHtml(BaseName(stage.config->from)), "</b>");
}

std::string Ratio(const ReportStage& from, const ReportStage& to) {
  const double base = *from.Value("pass@1"), now = *to.Value("pass@1");
  return base > 0 && now > base ? absl::StrFormat(", %.1f times the base", now / base) : "";
}

std::string SizeOfEvaluation(const ReportStage& stage) {
  const auto problems = stage.Value("problems"), k = stage.Value("k");
  if (!problems || !k) return "";
  return absl::StrFormat(", over %.0f problems with %.0f samples each", *problems, *k);
}

std::string HardLevel(const ReportStage* zero, const ReportStage& final) {
  if (!final.Value("hard/pass@1")) return "";
  std::string text = absl::StrCat(" On the harder level it solves ", WithError(final, "hard/pass@1"));
  if (zero != nullptr && zero->Value("hard/pass@1")) {
    absl::StrAppend(&text, ", where ", Named(*zero), " solves ", WithError(*zero, "hard/pass@1"));
  }
  return text + ".";
}

std::string Students(const ReportRun& run) {
  const ReportStage* alone = Measured(run, "student_rl");
  const ReportStage* distilled = Measured(run, "distill");
  if (distilled == nullptr) return "";
  std::string text = absl::StrCat(" The student trained on collected traces (", Named(*distilled),
                                  ") reaches ", WithError(*distilled, "pass@1"));
  if (alone != nullptr) {
    absl::StrAppend(&text, "; the same student under RL alone (", Named(*alone), ") reaches ",
                    WithError(*alone, "pass@1"));
  }
  return text + ".";
}

std::string ProgressText(const ReportRun& run) {
  size_t finished = 0;
  const ReportStage* running = nullptr;
  for (const ReportStage& stage : run.stages) {
    finished += !stage.summary.is_null();
    if (stage.summary.is_null() && !stage.metrics.empty()) running = &stage;
  }
  if (finished == run.stages.size()) return "";
  std::string text =
      absl::StrFormat(" The run is not finished: %d of %d stages are done", finished, run.stages.size());
  if (running != nullptr) {
    absl::StrAppend(&text, ", and ", Named(*running), " is at update ", running->step());
    if (running->planned_steps() > 0) absl::StrAppend(&text, " of ", running->planned_steps());
  }
  return text + ".";
}

std::string Rules(const RewardConfig& reward) {
  std::vector<std::string> rules;
  for (const RuleConfig& rule : reward.rules) {
    rules.push_back(
        absl::StrCat(EscapeHtml(rule.rule), " (weight ", absl::StrFormat("%g", rule.weight),
                     rule.gate.empty() ? "" : ", only where " + EscapeHtml(rule.gate) + " is correct", ")"));
  }
  return absl::StrJoin(rules, " + ");
}

std::string RlSentence(const RlConfig& rl, const std::string& from) {
  return absl::StrCat(
      "Reinforcement learning", from, ": ", rl.steps, " updates of ", rl.prompts_per_step, " prompts × ",
      rl.samples_per_prompt, " completions of at most ", rl.sampling.max_new_tokens,
      " tokens. Reward: ", Rules(rl.reward),
      rl.shuffle_rewards ? ", shuffled within the batch (a control)" : "",
      absl::StrFormat(". KL coefficient %g, learning rate %g.", rl.loss.kl_coef, rl.optimizer.learning_rate));
}

std::string DocumentsSentence(const SftConfig& sft, const char* what, const std::string& from) {
  std::vector<std::string> documents;
  for (const DocumentsConfig& d : sft.documents) {
    documents.push_back(absl::StrCat(
        d.count > 0 ? absl::StrCat(d.count, " ") : "all ", NameIn(kDocumentsKinds, d.kind), " documents",
        d.stage.empty() ? "" : " of " + EscapeHtml(d.stage), d.reasoning ? "" : " without reasoning"));
  }
  return absl::StrCat(what, from, " on ", absl::StrJoin(documents, " and "), ", ", sft.epochs,
                      sft.epochs == 1 ? " epoch" : " epochs",
                      absl::StrFormat(", %d an update, learning rate %g.", sft.prompts_per_step,
                                      sft.optimizer.learning_rate));
}

}  // namespace

std::string EscapeHtml(std::string_view given) {
  const std::string shown = EscapeCommands(given);  // a mark of direction would turn what stands behind it
  std::string_view text = shown;
  std::string escaped;
  while (!text.empty()) {
    const int length = Utf8Length(text);
    if (length == 1) escaped += Escape(text[0]);
    if (length > 1) escaped += text.substr(0, length);
    if (length == 0) escaped += "\uFFFD";
    text.remove_prefix(length > 0 ? length : 1);
  }
  return escaped;
}

std::string EscapeJsonForScript(std::string_view json) {
  std::string escaped;
  for (const char c : json) {
    const bool markup = c == '<' || c == '>' || c == '&';
    if (markup) absl::StrAppendFormat(&escaped, "\\u%04x", c);
    if (!markup) escaped.push_back(c);
  }
  return escaped;
}

Json JsonNumber(double value, int digits) {
  if (!std::isfinite(value)) return nullptr;
  return std::strtod(absl::StrFormat("%.*g", digits, value).c_str(), nullptr);
}

std::string Percent(double share) {
  return std::isfinite(share) ? absl::StrFormat("%.1f", 100 * share) : "–";
}

std::string LeadParagraph(const ReportRun& run) {
  const ReportStage* base = Measured(run, "base");
  const ReportStage* zero = Measured(run, "zero");
  const ReportStage* last = Measured(run, "final");
  for (const ReportStage& stage : run.stages) {
    if (base == nullptr && stage.Value("pass@1")) base = &stage;
  }
  if (last == nullptr && zero == nullptr) {  // some other recipe: its last measured stage
    for (const ReportStage& stage : run.stages) {
      if (&stage != base && stage.Value("pass@1")) last = &stage;
    }
  }
  if (base == nullptr) return absl::StrCat("No stage has been measured yet.", ProgressText(run));
  std::string text = absl::StrCat(Subject(*base), " solves ", WithError(*base, "pass@1"),
                                  " of the held-out problems at the first try (pass@1", ByRule(*base),
                                  SizeOfEvaluation(*base), ").");
  if (zero != nullptr && zero != base) {
    absl::StrAppend(&text, " Reinforcement learning with rule rewards, straight from the base (",
                    Named(*zero), "), brings it to ", WithError(*zero, "pass@1"), Ratio(*base, *zero),
                    Changes(*base, *zero), ".");
  }
  if (last != nullptr && last != base) {
    absl::StrAppend(&text, zero == nullptr ? " " : " The whole recipe ends with ", Named(*last),
                    zero == nullptr ? " reaches " : ", at ", WithError(*last, "pass@1"), Ratio(*base, *last),
                    zero == nullptr ? Changes(*base, *last) : "", ".", HardLevel(zero, *last));
  }
  return absl::StrCat(text, Students(run), ProgressText(run));
}

std::string StageSentence(const ReportStage& stage) {
  if (!stage.config) return EscapeHtml(stage.kind());
  const StageConfig& config = *stage.config;
  const std::string from = config.from.empty() ? "" : " from <b>" + EscapeHtml(config.from) + "</b>";
  switch (config.kind) {
    case StageKind::kPretrain:
      return DocumentsSentence(config.pretrain, "Pretraining", from);
    case StageKind::kSft:
      return DocumentsSentence(config.sft, "Supervised fine-tuning", from);
    case StageKind::kRl:
      return RlSentence(config.rl, from);
    case StageKind::kCollect:
      return absl::StrCat("Rejection sampling", from, ": ", config.collect.prompts, " prompts × ",
                          config.collect.samples_per_prompt, " completions, of which at most ",
                          config.collect.keep_per_prompt, " a prompt with a reward of at least ",
                          absl::StrFormat("%g", config.collect.min_reward), " are kept.");
    case StageKind::kEval:
      return absl::EndsWith(config.name, ".before") ? absl::StrCat("The model", from, " before training.")
                                                    : absl::StrCat("Evaluation", from, ".");
  }
  return "";
}

}  // namespace temper
