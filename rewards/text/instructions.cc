// SPDX-License-Identifier: Apache-2.0
#include "rewards/text/instructions.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "core/text.h"
#include "rewards/completion/tags.h"
#include "rewards/completion/words.h"
#include "rewards/text/instruction_kinds.h"

namespace temper {
namespace {

constexpr size_t kMostAnswerBytes = 1 << 20;  // of an answer; what is longer follows nothing

absl::StatusOr<std::vector<Instruction>> InstructionsOf(const Prompt& prompt) {
  TEMPER_ASSIGN_OR_RETURN(const Json row, ParseJson(prompt.fields.empty() ? "{}" : prompt.fields, "row"));
  return ReadInstructions(row);
}

// IFEval's eight forms of an answer: without the first line, the last, both; each also without *.
std::vector<std::string> Forms(std::string_view answer, bool loose) {
  std::vector<std::string> forms = {std::string(answer)};
  if (!loose) return forms;
  const auto rest = [&](bool first, bool last) {
    std::string_view text = answer;
    if (first) text.remove_prefix(std::min(text.find('\n'), text.size() - 1) + 1);
    if (last) text = text.substr(0, text.rfind('\n') == text.npos ? 0 : text.rfind('\n'));
    return std::string(TrimSpace(text));
  };
  if (!answer.empty()) forms.insert(forms.end(), {rest(true, false), rest(false, true), rest(true, true)});
  const size_t plain = forms.size();
  for (size_t i = 0; i < plain; ++i) forms.push_back(absl::StrReplaceAll(forms[i], {{"*", ""}}));
  return forms;
}

class Instructions : public Reward {
 public:
  Instructions(bool loose, bool share) : loose_(loose), share_(share) {}
  const std::string& name() const override { return name_; }

  absl::Status CheckAnswer(const Prompt& prompt) const override {
    const absl::Status status = InstructionsOf(prompt).status();
    if (status.ok()) return status;
    return absl::InvalidArgumentError(absl::StrCat(prompt.id.empty() ? "the problem" : "problem ",
                                                   Printable(prompt.id), ": ", status.message()));
  }

  Verdict Judge(const Completion& completion) const override {
    const auto instructions = InstructionsOf(*completion.prompt);
    if (!instructions.ok()) {
      return MakeVerdict(VerdictKind::kMalformed, 0, std::string(instructions.status().message()));
    }
    const std::string_view answer = AnswerText(completion);
    if (TrimSpace(answer).empty())
      return MakeVerdict(VerdictKind::kNoAnswer, 0, "nothing after the thinking");
    if (answer.size() > kMostAnswerBytes) {
      return MakeVerdict(VerdictKind::kMalformed, 0,
                         absl::StrCat("an answer of more than ", kMostAnswerBytes, " bytes"));
    }
    const std::vector<std::string> forms = Forms(answer, loose_);
    size_t followed = 0;
    std::string first;
    for (const Instruction& instruction : *instructions) {
      bool does = false;
      for (const std::string& form : forms)
        does = does || (!TrimSpace(form).empty() && instruction.Followed(form));
      followed += does;
      if (!does && first.empty()) first = instruction.id();
    }
    const bool all = followed == instructions->size();
    const double share = static_cast<double>(followed) / static_cast<double>(instructions->size());
    return MakeVerdict(all ? VerdictKind::kCorrect : VerdictKind::kWrong, share_ ? share : (all ? 1 : 0),
                       absl::StrCat(followed, " of ", instructions->size(), " followed",
                                    all ? "" : absl::StrCat("; not ", first)));
  }

 private:
  const std::string name_ = "instructions";
  const bool loose_;
  const bool share_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Reward>> MakeInstructions(const InstructionsOptions& config) {
  return std::make_unique<Instructions>(config.loose, config.share);
}

}  // namespace temper
