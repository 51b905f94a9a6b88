// SPDX-License-Identifier: Apache-2.0
#include "rewards/text/format.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "core/text.h"
#include "rewards/completion/tags.h"
#include "rewards/completion/words.h"
#include "unicode/uchar.h"

namespace temper {
namespace {

// Whether there is something to see: neither white space nor what has no width.
bool HasVisible(std::string_view text) {
  bool visible = false;
  ForEachCharacter(text, [&](int32_t c, size_t, size_t) {
    visible |= c < 0 || !(u_isUWhiteSpace(c) || u_hasBinaryProperty(c, UCHAR_DEFAULT_IGNORABLE_CODE_POINT));
  });
  return visible;
}

class Format : public Reward {
 public:
  explicit Format(const FormatOptions& config)
      : think_in_prompt_(config.think_in_prompt), text_after_(config.text_after) {
    for (const std::string& tag : config.tags) {
      tags_.push_back(absl::StrCat("<", tag, ">"));
      tags_.push_back(absl::StrCat("</", tag, ">"));
    }
  }
  const std::string& name() const override { return name_; }

  Verdict Judge(const Completion& completion) const override {
    const bool opened =
        Trim(completion.text).starts_with(tags_[0]) && !Trim(completion.prompt->text).ends_with(tags_[0]);
    std::string fault = Fault(completion.text, think_in_prompt_ && !opened);
    if (completion.stop == StopReason::kLength) {
      fault = absl::StrCat("cut by length", fault.empty() ? "" : "; ", fault);
    }
    if (!fault.empty()) return MakeVerdict(VerdictKind::kMalformed, 0, std::move(fault));
    return MakeVerdict(VerdictKind::kCorrect, 1, "");
  }

 private:
  // What is wrong with the form, or nothing. `inside`: the prompt ends with the first tag.
  std::string Fault(std::string_view text, bool inside) const {
    const size_t first = inside ? 1 : 0, last = tags_.size() - 1;
    std::vector<size_t> at(tags_.size());
    for (size_t i = first; i <= last; ++i) {
      const int count = CountTag(text, tags_[i]);
      if (count != 1) return absl::StrCat(count == 0 ? "no " : "two ", tags_[i]);
      at[i] = text.find(tags_[i]);
    }
    for (size_t i = first + 1; i <= last; ++i) {
      if (at[i] < at[i - 1]) return absl::StrCat(tags_[i], " before ", tags_[i - 1]);
    }
    if (inside && text.find(tags_[0]) != text.npos)
      return absl::StrCat(tags_[0],
                          tags_[0] == "<think>" ? " inside the thinking" : " twice with the prompt's");
    const auto blank = [&](size_t begin, size_t end) {
      return TrimSpace(text.substr(begin, end - begin)).empty();
    };
    if (!inside && !blank(0, at[0])) return absl::StrCat("text before ", tags_[0]);
    for (size_t i = 2; i < last; i += 2) {
      if (!blank(at[i - 1] + tags_[i - 1].size(), at[i]))
        return absl::StrCat("text between ", tags_[i - 1], " and ", tags_[i]);
    }
    // The last section is what the reader gets; where text follows it, that is.
    const size_t inside_last = at[last - 1] + tags_[last - 1].size();
    const bool empty_last = last > 1 && !HasVisible(text.substr(inside_last, at[last] - inside_last));
    if (empty_last) return absl::StrCat("nothing in ", tags_[last - 1]);
    const bool ends = blank(at[last] + tags_[last].size(), text.size());
    if (text_after_ && ends) return absl::StrCat("nothing after ", tags_[last]);
    if (!text_after_ && !ends) return absl::StrCat("text after ", tags_[last]);
    return "";
  }

  const std::string name_ = "format";
  const bool think_in_prompt_;
  const bool text_after_;
  std::vector<std::string> tags_;  // <a> </a> <b> </b>
};

}  // namespace

absl::StatusOr<std::unique_ptr<Reward>> MakeFormat(const FormatOptions& config) {
  if (config.tags.empty()) return absl::InvalidArgumentError("rule format: tags is empty");
  for (const std::string& tag : config.tags) {
    const bool plain = !tag.empty() && std::ranges::all_of(tag, [](char c) {
      return absl::ascii_isalnum(c) || c == '_' || c == '-';
    });
    if (!plain) {
      return absl::InvalidArgumentError(absl::StrCat("rule format: tag ", Printable(tag),
                                                     ": letters, digits, _ and - only, without < and >"));
    }
    if (std::ranges::count(config.tags, tag) > 1)
      return absl::InvalidArgumentError(absl::StrCat("rule format: tag ", tag, " twice"));
  }
  return std::make_unique<Format>(config);
}

}  // namespace temper
