// SPDX-License-Identifier: Apache-2.0
#include "rewards/format.h"

#include "absl/strings/str_cat.h"
#include "rewards/tags.h"

namespace temper {
namespace {

// What is wrong with the form, or nothing.
std::string Fault(std::string_view text, bool inside) {
  constexpr const char* kTags[] = {"<think>", "</think>", "<answer>", "</answer>"};
  size_t at = 0;
  for (int i = inside ? 1 : 0; i < 4; ++i) {
    const std::string tag = kTags[i];
    const int count = CountTag(text, tag);
    if (count == 0) return absl::StrCat("no ", tag);
    if (count > 1) return absl::StrCat("two ", tag);
    const size_t found = text.find(tag);
    if (found < at) return absl::StrCat(tag, " before ", kTags[i - 1]);
    const std::string_view between = text.substr(at, found - at);
    if (tag == "<think>" && !Trim(between).empty()) return "text before <think>";
    if (tag == "<answer>" && !Trim(between).empty()) return "text between </think> and <answer>";
    if (tag == "</answer>" && Trim(between).empty()) return "nothing in <answer>";
    at = found + tag.size();
  }
  if (inside && text.find(kTags[0]) != text.npos) return "<think> inside the thinking";
  if (!Trim(text.substr(at)).empty()) return "text after </answer>";
  return "";
}

class Format : public Reward {
 public:
  explicit Format(bool think_in_prompt) : think_in_prompt_(think_in_prompt) {}
  const std::string& name() const override { return name_; }

  Verdict Judge(const Completion& completion) const override {
    const bool opened =
        Trim(completion.text).starts_with("<think>") && !Trim(completion.prompt->text).ends_with("<think>");
    std::string fault = Fault(completion.text, think_in_prompt_ && !opened);
    if (completion.stop == StopReason::kLength) {
      fault = absl::StrCat("cut by length", fault.empty() ? "" : "; ", fault);
    }
    if (!fault.empty()) return MakeVerdict(VerdictKind::kMalformed, 0, std::move(fault));
    return MakeVerdict(VerdictKind::kCorrect, 1, "");
  }

 private:
  const std::string name_ = "format";
  const bool think_in_prompt_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Reward>> MakeFormat(const RuleConfig& config) {
  return std::make_unique<Format>(config.think_in_prompt);
}

}  // namespace temper
