// SPDX-License-Identifier: Apache-2.0
#include "rewards/answer/accuracy.h"

#include "absl/strings/str_cat.h"
#include "core/text.h"
#include "data/tasks/procedural.h"
#include "data/tasks/tiny/tiny.h"
#include "rewards/answer/answer.h"
#include "rewards/completion/tags.h"

namespace temper {
namespace {

bool IsTiny(const Prompt& prompt) { return prompt.task == "chain" || prompt.task == "find_x"; }

// What FindAnswer looks for.
AnswerKind KindOf(const Prompt& prompt, const std::optional<procedural::Problem>& problem) {
  if (problem) return problem->task().is_number ? AnswerKind::kNumber : AnswerKind::kText;
  const auto reference = IsTiny(prompt) ? std::nullopt : ReadReference(prompt.answer);
  return reference ? reference->kind : AnswerKind::kNumber;
}

class Accuracy : public Reward {
 public:
  Accuracy(std::string name, bool lenient) : name_(std::move(name)), lenient_(lenient) {}
  const std::string& name() const override { return name_; }

  absl::Status CheckAnswer(const Prompt& prompt) const override {
    const std::string fault = ReferenceFault(prompt, ProblemOf(prompt));
    if (fault.empty()) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat(prompt.id.empty() ? "the problem" : "problem ", Printable(prompt.id), ": ", fault));
  }

  Verdict Judge(const Completion& completion) const override {
    const Prompt& prompt = *completion.prompt;
    const std::optional<procedural::Problem> problem = ProblemOf(prompt);
    Verdict verdict = MakeVerdict(VerdictKind::kNoAnswer, 0, "");
    if (std::string fault = ReferenceFault(prompt, problem); !fault.empty()) {
      verdict.kind = VerdictKind::kMalformed;
      verdict.reason = std::move(fault);
      return verdict;
    }
    std::string answer;
    if (completion.raw) {
      answer = std::string(Trim(completion.text).substr(0, kMaxAnswerBytes + 1));
    } else if (lenient_) {
      answer = FindAnswer(completion.text, KindOf(prompt, problem));
    } else {
      const TaggedAnswer tagged = AnswerInTags(completion.text, completion.stop);
      if (tagged.kind != VerdictKind::kCorrect) {
        verdict.kind = tagged.kind;
        verdict.reason = tagged.reason;
        return verdict;
      }
      answer = std::string(tagged.answer.substr(0, kMaxAnswerBytes + 1));
    }
    if (answer.empty()) {
      verdict.reason = "no answer found";
      return verdict;
    }
    if (answer.size() > kMaxAnswerBytes) {
      verdict.kind = VerdictKind::kMalformed;
      verdict.reason = absl::StrCat("an answer of more than ", kMaxAnswerBytes, " bytes");
      return verdict;
    }
    verdict.extracted = std::string(Core(answer));
    verdict.reason = WhyWrong(prompt, problem, answer);
    verdict.kind = verdict.reason.empty() ? VerdictKind::kCorrect : VerdictKind::kWrong;
    verdict.score = verdict.reason.empty() ? 1 : 0;
    return verdict;
  }

 private:
  std::optional<procedural::Problem> ProblemOf(const Prompt& prompt) const {
    return name_ == "accuracy" ? procedural::Problem::Of(prompt) : std::nullopt;
  }

  // What is wrong with the reference answer, or nothing.
  std::string ReferenceFault(const Prompt& prompt, const std::optional<procedural::Problem>& problem) const {
    if (problem) return problem->Fault();
    if (JudgesTiny(prompt)) return tiny::ProblemFault(prompt);
    const auto reference = ReadReference(prompt.answer);
    if (!reference)
      return prompt.answer.empty() ? "has no reference answer" : "its reference answer cannot be read";
    if (name_ == "number" && reference->kind != AnswerKind::kNumber) {
      return absl::StrCat("its reference answer is no number: ", Printable(prompt.answer, 60));
    }
    if (name_ == "choice" && reference->kind != AnswerKind::kChoice) {
      return absl::StrCat("its reference answer is no choice of A to J: ", Printable(prompt.answer, 60));
    }
    return "";
  }

  // Nothing where it is right.
  std::string WhyWrong(const Prompt& prompt, const std::optional<procedural::Problem>& problem,
                       const std::string& answer) const {
    if (problem) return problem->WhyWrong(Core(answer));
    if (Same(prompt, answer)) return "";
    if (JudgesTiny(prompt)) return tiny::WhyWrong(prompt, Core(answer));
    return absl::StrCat(Printable(Core(answer), 60), " is not ", Printable(prompt.answer, 60));
  }

  bool Same(const Prompt& prompt, std::string_view answer) const {
    if (name_ == "exact") return Trim(answer) == Trim(prompt.answer);
    if (JudgesTiny(prompt)) return tiny::IsCorrect(prompt, answer);
    return SameAnswer(*ReadReference(prompt.answer), answer);
  }
  bool JudgesTiny(const Prompt& prompt) const { return name_ == "accuracy" && IsTiny(prompt); }

  const std::string name_;
  const bool lenient_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Reward>> MakeAnswerRule(const std::string& rule,
                                                       const AnswerOptions& options) {
  if (options.mode != "strict" && options.mode != "lenient") {
    return absl::InvalidArgumentError(
        absl::StrCat("rule ", rule, ": mode is strict or lenient, not ", Printable(options.mode)));
  }
  return std::make_unique<Accuracy>(rule, options.mode == "lenient");
}

}  // namespace temper
