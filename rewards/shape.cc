// SPDX-License-Identifier: Apache-2.0
#include "rewards/shape.h"

#include <algorithm>
#include <string_view>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace temper {
namespace {

class Length : public Reward {
 public:
  Length(int64_t most, int64_t slack) : most_(most), slack_(slack) {}
  const std::string& name() const override { return name_; }

  Verdict Judge(const Completion& completion) const override {
    const int64_t over = completion.tokens - (most_ - slack_);
    double score = 1;
    if (over > 0)
      score = slack_ > 0 ? std::max(0.0, 1 - static_cast<double>(over) / static_cast<double>(slack_)) : 0;
    return MakeVerdict(score == 1 ? VerdictKind::kCorrect : VerdictKind::kWrong, score,
                       absl::StrCat(completion.tokens, " of ", most_, " tokens"));
  }

 private:
  const std::string name_ = "length";
  const int64_t most_;
  const int64_t slack_;
};

class Repetition : public Reward {
 public:
  explicit Repetition(int64_t ngram) : ngram_(ngram) {}
  const std::string& name() const override { return name_; }

  Verdict Judge(const Completion& completion) const override {
    // Each different word gets a number; an n-gram is a run of numbers.
    std::vector<std::string_view> words;
    constexpr size_t kMostWords = 200000;
    for (size_t at = 0; at < completion.text.size() && words.size() < kMostWords;) {
      while (at < completion.text.size() && absl::ascii_isspace(completion.text[at])) ++at;
      const size_t begin = at;
      while (at < completion.text.size() && !absl::ascii_isspace(completion.text[at])) ++at;
      if (at > begin) words.push_back(completion.text.substr(begin, at - begin));
    }
    const int64_t count = static_cast<int64_t>(words.size()) - ngram_ + 1;
    if (count <= 0) return MakeVerdict(VerdictKind::kCorrect, 1, "too short to repeat");
    std::vector<std::string_view> sorted = words;
    std::sort(sorted.begin(), sorted.end());
    sorted.erase(std::unique(sorted.begin(), sorted.end()), sorted.end());
    std::vector<uint32_t> ids(words.size());
    for (size_t i = 0; i < words.size(); ++i) {
      ids[i] =
          static_cast<uint32_t>(std::lower_bound(sorted.begin(), sorted.end(), words[i]) - sorted.begin());
    }
    std::vector<int64_t> starts(count);
    for (int64_t i = 0; i < count; ++i) starts[i] = i;
    const auto gram = [&](int64_t at) { return std::pair(ids.begin() + at, ids.begin() + at + ngram_); };
    std::sort(starts.begin(), starts.end(), [&](int64_t a, int64_t b) {
      return std::lexicographical_compare(gram(a).first, gram(a).second, gram(b).first, gram(b).second);
    });
    const auto same = [&](int64_t a, int64_t b) {
      return std::equal(gram(a).first, gram(a).second, gram(b).first);
    };
    const int64_t different = std::unique(starts.begin(), starts.end(), same) - starts.begin();
    const double score = static_cast<double>(different) / static_cast<double>(count);
    return MakeVerdict(score == 1 ? VerdictKind::kCorrect : VerdictKind::kWrong, score,
                       absl::StrCat(different, " different of ", count, " ", ngram_, "-grams"));
  }

 private:
  const std::string name_ = "repetition";
  const int64_t ngram_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Reward>> MakeLength(const RuleConfig& config) {
  if (config.max_tokens <= 0) return absl::InvalidArgumentError("rule length: set max_tokens");
  if (config.slack_tokens > config.max_tokens) {
    return absl::InvalidArgumentError("rule length: slack_tokens is more than max_tokens");
  }
  return std::make_unique<Length>(config.max_tokens, config.slack_tokens);
}

absl::StatusOr<std::unique_ptr<Reward>> MakeRepetition(const RuleConfig& config) {
  if (config.ngram < 1) return absl::InvalidArgumentError("rule repetition: ngram is at least 1");
  return std::make_unique<Repetition>(config.ngram);
}

}  // namespace temper
