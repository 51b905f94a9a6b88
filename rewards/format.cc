// SPDX-License-Identifier: Apache-2.0
#include "rewards/format.h"

#include "absl/strings/str_cat.h"
#include "rewards/tags.h"

namespace temper {
namespace {

// What is wrong with the form, or nothing.
std::string Fault(std::string_view text, bool inside) {
  const std::string tags[] = {"<think>", "</think>", "<answer>", "</answer>"};
  size_t at[4] = {};
  for (int i = inside ? 1 : 0; i < 4; ++i) {
    const int count = CountTag(text, tags[i]);
    if (count != 1) return absl::StrCat(count == 0 ? "no " : "two ", tags[i]);
    at[i] = text.find(tags[i]);
  }
  for (int i = inside ? 2 : 1; i < 4; ++i) {
    if (at[i] < at[i - 1]) return absl::StrCat(tags[i], " before ", tags[i - 1]);
  }
  if (inside && text.find(tags[0]) != text.npos) return "<think> inside the thinking";
  const auto blank = [&](size_t begin, size_t end) { return Trim(text.substr(begin, end - begin)).empty(); };
  if (!inside && !blank(0, at[0])) return "text before <think>";
  if (!blank(at[1] + tags[1].size(), at[2])) return "text between </think> and <answer>";
  if (blank(at[2] + tags[2].size(), at[3])) return "nothing in <answer>";
  if (!blank(at[3] + tags[3].size(), text.size())) return "text after </answer>";
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
