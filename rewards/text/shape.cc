// SPDX-License-Identifier: Apache-2.0
#include "rewards/text/shape.h"

#include <algorithm>
#include <numbers>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/text.h"
#include "rewards/completion/words.h"
#include "unicode/uchar.h"

namespace temper {
namespace {

class LengthRule : public Reward {
 public:
  LengthRule(bool cosine, int64_t most, int64_t slack) : cosine_(cosine), most_(most), slack_(slack) {}
  const std::string& name() const override { return name_; }

  Verdict Judge(const Completion& completion) const override {
    if (completion.tokens < 0)
      return MakeVerdict(VerdictKind::kMalformed, 0,
                         "the row does not say how many tokens the completion has");
    const double score = cosine_ ? Cosine(completion.tokens) : Overlong(completion.tokens);
    const bool fits = cosine_ ? completion.tokens < most_ : score == 1;
    return MakeVerdict(fits ? VerdictKind::kCorrect : VerdictKind::kWrong, score,
                       absl::StrCat(completion.tokens, " of ", most_, " tokens"));
  }

 private:
  double Overlong(int64_t tokens) const {
    const int64_t over = tokens - (most_ - slack_);
    if (over <= 0) return 1;
    return slack_ > 0 ? std::max(0.0, 1 - static_cast<double>(over) / static_cast<double>(slack_)) : 0;
  }
  double Cosine(int64_t tokens) const {
    if (tokens >= most_) return 0;
    return (1 + std::cos(std::numbers::pi * static_cast<double>(tokens) / static_cast<double>(most_))) / 2;
  }

  const std::string name_ = "length";
  const bool cosine_;
  const int64_t most_;
  const int64_t slack_;
};

// Words, the first `most` of them.
std::vector<std::string_view> WordsOf(std::string_view text, size_t most) {
  std::vector<std::string_view> words;
  size_t begin = 0;
  const auto end_word = [&](size_t end) {
    if (end > begin && words.size() < most) words.push_back(text.substr(begin, end - begin));
  };
  ForEachCharacter(text, [&](int32_t character, size_t at, size_t end) {
    const bool space = character >= 0 && u_isUWhiteSpace(character);
    const bool alone = WritesWithoutSpaces(character);
    if (!space && !alone) return;
    end_word(at);
    begin = at;
    if (alone) end_word(end);
    begin = end;
  });
  end_word(text.size());
  return words;
}

class Repetition : public Reward {
 public:
  explicit Repetition(int64_t ngram) : ngram_(ngram) {}
  const std::string& name() const override { return name_; }

  Verdict Judge(const Completion& completion) const override {
    // Each different word gets a number; an n-gram is a run of numbers.
    const std::vector<std::string_view> words = WordsOf(completion.text, 200000);
    const int64_t count = static_cast<int64_t>(words.size()) - ngram_ + 1;
    if (count <= 0) return MakeVerdict(VerdictKind::kCorrect, 1, "too short to repeat");
    std::vector<std::string_view> sorted = words;
    std::ranges::sort(sorted);
    sorted.erase(std::unique(sorted.begin(), sorted.end()), sorted.end());
    std::vector<uint32_t> ids(words.size());
    for (size_t i = 0; i < words.size(); ++i) {
      ids[i] = static_cast<uint32_t>(std::ranges::lower_bound(sorted, words[i]) - sorted.begin());
    }
    std::vector<int64_t> starts(count);
    for (int64_t i = 0; i < count; ++i) starts[i] = i;
    const auto gram = [&](int64_t at) { return std::pair(ids.begin() + at, ids.begin() + at + ngram_); };
    std::ranges::sort(starts, [&](int64_t a, int64_t b) {
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

absl::StatusOr<std::unique_ptr<Reward>> MakeLength(const LengthOptions& config) {
  if (config.max_tokens <= 0) return absl::InvalidArgumentError("rule length: set max_tokens");
  if (config.slack_tokens > config.max_tokens) {
    return absl::InvalidArgumentError("rule length: slack_tokens is more than max_tokens");
  }
  if (config.shape != "overlong" && config.shape != "cosine") {
    return absl::InvalidArgumentError(
        absl::StrCat("rule length: shape is overlong or cosine, not ", Printable(config.shape)));
  }
  if (config.shape == "cosine" && config.slack_tokens != 0)
    return absl::InvalidArgumentError("rule length: shape cosine has no slack_tokens");
  return std::make_unique<LengthRule>(config.shape == "cosine", config.max_tokens, config.slack_tokens);
}

absl::StatusOr<std::unique_ptr<Reward>> MakeRepetition(const RepetitionOptions& config) {
  if (config.ngram < 1) return absl::InvalidArgumentError("rule repetition: ngram is at least 1");
  return std::make_unique<Repetition>(config.ngram);
}

}  // namespace temper
