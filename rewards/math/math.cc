// SPDX-License-Identifier: Apache-2.0
#include "rewards/math/math.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/text.h"
#include "rewards/completion/tags.h"
#include "rewards/math/answer.h"
#include "rewards/math/equal/equal.h"
#include "rewards/math/string.h"

namespace temper::math {
namespace {

enum class Mode { kMathVerify, kStrict, kString };

// A group's completions have one reference answer: it is read once for as many as follow each other on a
// thread.
const MathAnswer& Reference(const std::string& text) {
  thread_local std::string last;
  thread_local std::optional<MathAnswer> reference;
  if (!reference || last != text) {
    reference.reset();
    last = text;
    reference = ReadMathReference(text);
    // No completion can match what does not even equal itself: 1/0, or a function that has no value.
    const Decision same =
        reference->parses ? Equal(reference->expression, reference->expression) : Decision{};
    if (reference->parses && same.equality != Equality::kYes) {
      reference->parses = false;
      reference->error = absl::StrCat("it equals no answer, not even itself: ", same.reason);
    }
  }
  return *reference;
}

class Math : public Reward {
 public:
  Math(std::string name, Mode mode, const EqualOptions& options)
      : name_(std::move(name)), mode_(mode), options_(options) {}
  const std::string& name() const override { return name_; }

  absl::Status CheckAnswer(const Prompt& prompt) const override {
    if (Trim(prompt.answer).empty()) return absl::InvalidArgumentError("the reference answer is empty");
    if (mode_ == Mode::kString) return absl::OkStatus();
    const MathAnswer& gold = Reference(prompt.answer);
    if (gold.parses) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat("the reference answer ", Printable(prompt.answer, 80), " cannot be read: ", gold.error));
  }

  Verdict Judge(const Completion& completion) const override {
    const AnswerPlace place = FindAnswerPlace(completion);
    if (place.kind != VerdictKind::kCorrect) return MakeVerdict(place.kind, 0, place.reason);
    const MathAnswer& gold = Reference(completion.prompt->answer);
    if (!gold.parses && mode_ != Mode::kString) {
      return MakeVerdict(VerdictKind::kMalformed, 0,
                         absl::StrCat("the reference answer cannot be read: ", gold.error));
    }
    const MathAnswer answer = FindMathAnswer(place.text, StyleOf(gold));
    if (answer.text.empty()) return MakeVerdict(VerdictKind::kNoAnswer, 0, "there is no answer");
    // 4 may be the first digit of 42.
    if (completion.stop == StopReason::kLength && !place.closed && std::string_view(answer.place) != "boxed")
      return MakeVerdict(VerdictKind::kNoAnswer, 0,
                         "cut by length before an answer in \\boxed{} or <answer>");
    Verdict verdict = mode_ == Mode::kString ? JudgeStrings(gold, answer) : JudgeValues(gold, answer);
    verdict.extracted = answer.text;
    return verdict;
  }

 private:
  static Verdict JudgeStrings(const MathAnswer& gold, const MathAnswer& answer) {
    const std::string wanted = MathString(gold.text), given = MathString(answer.text);
    if (wanted == given)
      return MakeVerdict(VerdictKind::kCorrect, 1, absl::StrCat("the same string, ", answer.place));
    return MakeVerdict(VerdictKind::kWrong, 0,
                       absl::StrCat(Printable(given, 60), " is another string than ", Printable(wanted, 60)));
  }

  Verdict JudgeValues(const MathAnswer& gold, const MathAnswer& answer) const {
    if (!answer.parses) {
      return MakeVerdict(VerdictKind::kMalformed, 0,
                         absl::StrCat(answer.place, " answer cannot be read: ", answer.error));
    }
    const Decision decision = Equal(gold.expression, answer.expression, options_);
    if (decision.equality == Equality::kYes)
      return MakeVerdict(VerdictKind::kCorrect, 1, absl::StrCat(answer.place, ": ", decision.reason));
    const bool unknown = decision.equality == Equality::kUnknown;
    return MakeVerdict(VerdictKind::kWrong, 0,
                       absl::StrCat(unknown ? "undecided, " : "", answer.place, ": ", decision.reason));
  }

  const std::string name_;
  const Mode mode_;
  const EqualOptions options_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Reward>> MakeRule(const Options& config) {
  const std::pair<const char*, Mode> modes[] = {
      {"math_verify", Mode::kMathVerify}, {"strict", Mode::kStrict}, {"string", Mode::kString}};
  for (const auto& [name, mode] : modes) {
    if (config.mode != name) continue;
    EqualOptions options = mode == Mode::kStrict ? EqualOptions::Strict() : EqualOptions();
    options.float_rounding = static_cast<int>(config.float_rounding);
    options.answer_relation_is_set = config.allow_set_relation_comp;
    return std::make_unique<Math>("math", mode, options);
  }
  return absl::InvalidArgumentError(
      absl::StrCat("rule math: mode ", Printable(config.mode), " is not one of math_verify, strict, string"));
}

}  // namespace temper::math
