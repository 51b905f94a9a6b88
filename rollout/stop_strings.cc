// SPDX-License-Identifier: Apache-2.0
#include "rollout/stop_strings.h"

#include <algorithm>

#include "core/check.h"

namespace temper {

StopStrings::StopStrings(std::vector<std::string> strings, const Tokenizer* tokenizer)
    : strings_(std::move(strings)), tokenizer_(tokenizer) {
  TEMPER_CHECK(strings_.empty() || tokenizer_ != nullptr, "stop strings without a tokenizer");
  for (const std::string& string : strings_) {
    TEMPER_CHECK(!string.empty(), "an empty stop string");
    longest_ = std::max(longest_, string.size());
  }
}

bool StopStrings::Reached(absl::Span<const int32_t> tokens) const {
  if (strings_.empty() || tokens.empty()) return false;
  // Enough bytes before the last token's, though some tokens may have no text. A character that the window
  // cuts becomes U+FFFD at its start: up to three bytes for one.
  const size_t enough = tokenizer_->Decode(tokens.last(1), false).size() + 3 * (longest_ + 4);
  std::string text;
  size_t window = std::min(tokens.size(), 2 * longest_ + 4);
  for (;; window = std::min(tokens.size(), 2 * window)) {
    while (window < tokens.size() && tokenizer_->JoinsPrevious(tokens[tokens.size() - window])) ++window;
    text = tokenizer_->Decode(tokens.last(window), false);
    if (text.size() >= enough || window == tokens.size()) break;
  }
  const auto any_from = [&](size_t end) {  // one that ends behind `end`
    return std::any_of(strings_.begin(), strings_.end(), [&](const std::string& s) {
      return text.find(s, end < s.size() ? 0 : end + 1 - s.size()) != text.npos;
    });
  };
  if (!any_from(0)) return false;
  // What the last token leaves as it was, which had its chance.
  const std::string before = tokenizer_->Decode(tokens.last(window).first(window - 1), false);
  return any_from(std::mismatch(text.begin(), text.end(), before.begin(), before.end()).first - text.begin());
}

}  // namespace temper
