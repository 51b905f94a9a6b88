// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/config.h"
#include "core/status.h"
#include "data/trajectory.h"

namespace temper {

// What a rule judges. `prompt` is never null and outlives the call, as does what `text` points to.
struct Completion {
  const Prompt* prompt = nullptr;
  std::string_view text;  // any bytes
  StopReason stop = StopReason::kEndOfText;
  bool raw = false;    // text is the answer itself: no tags are expected
  int64_t tokens = 0;  // length of the completion; 0: unknown (rule length then counts nothing)
};

// A rule: a pure function of the completion, callable from many threads at once, in bounded time for any
// bytes.
class Reward {
 public:
  virtual ~Reward() = default;
  virtual const std::string& name() const = 0;
  virtual Verdict Judge(const Completion& completion) const = 0;

  // Whether the prompt's reference answer can be judged by at all; asked once, when a dataset is loaded.
  virtual absl::Status CheckAnswer(const Prompt& prompt) const { return absl::OkStatus(); }
};

// One rule of a reward. Options of other rules are unknown keys.
struct RuleConfig {
  std::string rule{};
  std::string name{};
  double weight = 1.0;
  std::string gate{};  // "requires" in a file
  std::optional<double> gate_score{};
  double weight_otherwise = 0;
  bool think_in_prompt = true;
  std::vector<std::string> tags = {"think", "answer"};
  bool text_after = false;
  std::string mode = "strict";
  std::string math_mode = "math_verify";
  int64_t float_rounding = 6;
  bool allow_set_relation_comp = false;
  std::string language = "en";
  int64_t min_words = 5;
  int64_t max_tokens = 0;
  int64_t slack_tokens = 0;
  std::string shape = "overlong";
  int64_t ngram = 4;
  bool loose = false;
  bool share = false;
  std::string refusals{};
  std::vector<std::string> forbidden{};
  std::vector<std::string> command{};
  int64_t processes = 1;
  double row_seconds = 10;
  double start_seconds = 30;
  int64_t cpu_seconds = 4;
  double wall_seconds = 10;
  int64_t total_seconds = 60;
  int64_t memory_mib = 512;
  int64_t output_mib = 8;
  std::string compare = "lines";
  double tolerance = 0;
  std::string python = "/usr/bin/python3";
  std::string compiler = "/usr/bin/g++";
  std::vector<std::string> packages = {"numpy", "sortedcontainers"};

  // What verdicts, metrics and `requires` call it.
  const std::string& Name() const { return name.empty() ? rule : name; }

  template <class V>
  void Fields(V& v) {
    const auto has = [&](std::initializer_list<const char*> rules) {
      bool any = v.All();
      for (const char* name : rules) any |= rule == name;
      return any;
    };
    v.Field("rule", rule,
            "The rule's name: math, code, accuracy, exact, choice, number, format, language, length, "
            "repetition, instructions, harmless, process.",
            Required());
    v.Field("name", name,
            "What verdicts and `requires` call this entry, where a rule stands in the list more than once.");
    v.Field("weight", weight, "The reward is the sum of weight times score over the rules.",
            Between(-1e6, 1e6));
    v.Field("requires", gate, "A rule of the same list: only where it says correct does this one count.");
    v.Field("requires_score", gate_score,
            "Where the required rule scores at least this, this one counts, whatever that one says.",
            Between(0, 1));
    v.Field("weight_otherwise", weight_otherwise,
            "The weight where the required rule does not hold (cosine length rewards).", Between(-1e6, 1e6));
    if (has({"format"})) {
      v.Field("think_in_prompt", think_in_prompt, "The completion begins inside the thinking.");
      v.Field("tags", tags, "The sections, in their order: each <tag> and </tag> once.");
      v.Field("text_after", text_after,
              "Text must follow the last section (DeepSeek-R1's summary); else nothing may.");
    }
    if (has({"accuracy", "exact", "choice", "number"})) {
      v.Field("mode", mode, "strict: the answer is inside <answer>; lenient: wherever one is found.");
    }
    if (has({"math"})) {
      v.Field(
          "mode", math_mode,
          "math: math_verify (as Hugging Face's), strict (PRM800K's: order, lowest terms, whole numbers) or "
          "string (Hendrycks': the same string after normalisation).");
      v.Field("float_rounding", float_rounding,
              "Decimals to which a decimal number and the reference answer must agree.", Between(0, 15));
      v.Field("allow_set_relation_comp", allow_set_relation_comp,
              "An answer -2 <= x <= 7 is the reference [-2, 7], too; the other way is always allowed.");
    }
    if (has({"language"})) {
      v.Field(
          "language", language,
          "Target language of the thinking, ISO 639-1 (en, zh, fr, ..); a row's own `language` comes first.");
      v.Field("min_words", min_words, "With fewer words than this the score is 1.", AtLeast(1));
    }
    if (has({"length"})) {
      v.Field(
          "shape", shape,
          "overlong: 1, and a line to 0 at the end (DAPO); cosine: half a wave from 1 at no token to 0 at "
          "max_tokens (arXiv 2502.03373; with requires: accuracy, weight and weight_otherwise).");
      v.Field("max_tokens", max_tokens, "Completions up to max_tokens - slack_tokens score 1.", AtLeast(0));
      v.Field("slack_tokens", slack_tokens, "The score falls to 0 over the last slack_tokens.", AtLeast(0));
    }
    if (has({"code"})) CodeFields(v);
    if (has({"repetition"})) v.Field("ngram", ngram, "Words of the n-grams that count.", Between(1, 64));
    if (has({"instructions"})) {
      v.Field("loose", loose,
              "Also without the first or last line, and without * (IFEval's loose accuracy).");
      v.Field("share", share, "The score is the share of the instructions that were followed, not 0 or 1.");
    }
    if (has({"harmless"})) {
      v.Field(
          "refusals", refusals,
          "A file of phrases that refuse, one a line, in place of the built-in English and Chinese ones.");
      v.Field("forbidden", forbidden, "Files of phrases that no completion may hold, one a line.");
    }
    if (has({"process"})) ProcessFields(v);
  }

  template <class V>
  void CodeFields(V& v) {
    v.Field("cpu_seconds", cpu_seconds, "Processor time of one test.", Between(1, 3600));
    v.Field("wall_seconds", wall_seconds, "The clock's time of one test.", Between(0.1, 3600.0));
    v.Field("total_seconds", total_seconds,
            "The clock's time of all tests of a completion, compiling included.", Between(1, 86400));
    v.Field("memory_mib", memory_mib, "Address space of a program, MiB.", Between(64, 1 << 20));
    v.Field("output_mib", output_mib, "What a program may print, and write to one file, MiB.",
            Between(1, 1024));
    v.Field("compare", compare,
            "lines: white space at line ends and empty lines at the end do not count; words: any white space "
            "separates; exact: bytes. A row's own compare comes first.");
    v.Field("tolerance", tolerance,
            "How near a number must be that is expected with a point or an exponent, times max(1, "
            "|expected|); 0: "
            "equal. A row's own tolerance comes first.",
            Between(0.0, 0.5));
    v.Field("python", python, "The interpreter; a virtual environment's too.");
    v.Field("packages", packages, "Packages of the interpreter that programs may import, where it has them.");
    v.Field("compiler", compiler, "The C++ compiler; takes g++'s options.");
  }

  template <class V>
  void ProcessFields(V& v) {
    v.Field("command", command, "The program and its arguments: JSON lines in, JSON lines out.");
    v.Field("processes", processes, "How many of it run, on each rank.", Between(1, 1024));
    v.Field("row_seconds", row_seconds, "What one row may take; then the process is killed.",
            Between(0.01, 3600.0));
    v.Field("start_seconds", start_seconds, "What a new process may take more, for its first row.",
            Between(0.0, 3600.0));
  }
};

// Of DeepSeek-R1 (arXiv 2501.12948, 2.2.2) by default: accuracy and format.
struct RewardConfig {
  static std::vector<RuleConfig> DefaultRules();

  std::vector<RuleConfig> rules = DefaultRules();
  std::optional<double> min;
  std::optional<double> max;

  template <class V>
  void Fields(V& v) {
    v.List("rules", rules, "The rules; verdicts keep this order.");
    v.Field("min", min, "Rewards are clipped to this from below.");
    v.Field("max", max, "Rewards are clipped to this from above.");
    v.Check(!min || !max || *min <= *max, "max", "is less than min");
  }
};

// Names of all rules, in the table's order.
std::vector<std::string> RuleNames();

// Errors: an unknown rule (with the nearest name), a bad option.
absl::StatusOr<std::unique_ptr<Reward>> MakeRule(const RuleConfig& config);

// The config's rules in its order, by their names. Errors also: no rule, a name twice, `requires` of a name
// that is not listed.
absl::StatusOr<std::vector<std::unique_ptr<Reward>>> MakeRules(const RewardConfig& config);

// The first rule of the list that judges the answer, and not how it is written (format, language, length,
// repetition, harmless); where all do that, the first.
const RuleConfig& AnswerRule(const RewardConfig& config);

// For rules: a verdict without an extracted answer; the rule's name is filled in by JudgeSafely.
Verdict MakeVerdict(VerdictKind kind, double score, std::string reason);

// `rule`'s verdict with its name filled in; what it throws becomes infrastructure_error with the message.
Verdict JudgeSafely(const Reward& rule, const Completion& completion);

// The verdict of the rule of that name, which is there.
const Verdict& VerdictOf(const std::vector<Verdict>& verdicts, const std::string& rule);

// Whether the rule that `rule` requires, if any, holds, so that it counts with its weight.
bool GateHolds(const RuleConfig& rule, const std::vector<Verdict>& verdicts);

// The sum of weight (where the required rule does not hold: weight_otherwise) times score, clipped. A timeout
// counts as 0. Nothing if any verdict is an infrastructure error: such a sample is dropped, never scored 0.
// `verdicts` has one of each of the config's rules.
std::optional<double> RewardOf(const std::vector<Verdict>& verdicts, const RewardConfig& config);

}  // namespace temper
