// SPDX-License-Identifier: Apache-2.0
#include "rewards/statistics.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/ascii.h"
#include "core/check.h"

namespace temper {
namespace {

double Mean(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return values.empty() ? 0 : sum / static_cast<double>(values.size());
}

double StandardError(const std::vector<double>& values) {
  if (values.size() < 2) return 0;
  const double mean = Mean(values);
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  const double n = static_cast<double>(values.size());
  return std::sqrt(squares / (n - 1) / n);
}

}  // namespace

double PassAtK(int64_t n, int64_t c, int64_t k) {
  TEMPER_CHECK(0 <= c && c <= n && 1 <= k && k <= n, "pass@", k, " of ", c, " right in ", n);
  if (n - c < k) return 1;
  // C(n-c, k) / C(n, k) = prod over i in (n-c, n] of (i - k) / i.
  double all_wrong = 1;
  for (int64_t i = n - c + 1; i <= n; ++i) all_wrong *= static_cast<double>(i - k) / static_cast<double>(i);
  return 1 - all_wrong;
}

bool Consensus(absl::Span<const Outcome> samples) {
  struct Candidate {
    const std::string* key;
    int64_t votes;
    bool correct;
  };
  std::vector<Candidate> candidates;  // in the order seen
  for (const Outcome& sample : samples) {
    if (sample.key.empty()) continue;
    auto found = std::ranges::find_if(candidates, [&](const auto& c) { return *c.key == sample.key; });
    if (found == candidates.end()) found = candidates.insert(candidates.end(), {&sample.key, 0, false});
    ++found->votes;
    found->correct |= sample.correct;
  }
  const Candidate* best = nullptr;
  for (const Candidate& candidate : candidates) {
    if (best == nullptr || candidate.votes > best->votes) best = &candidate;
  }
  return best != nullptr && best->correct;
}

double Quantile(std::vector<double> values, double share) {
  if (values.empty()) return 0;
  std::ranges::sort(values);
  const double at = std::clamp(share, 0.0, 1.0) * static_cast<double>(values.size() - 1);
  const size_t below = static_cast<size_t>(at);
  const size_t above = std::min(below + 1, values.size() - 1);
  return values[below] + (at - static_cast<double>(below)) * (values[above] - values[below]);
}

const std::vector<std::string>& DefaultCheckWords() {
  static const auto* const kWords = new std::vector<std::string>{
      "wait", "check", "again", "hmm", "actually", "let me verify", "等", "检查", "再想"};
  return *kWords;
}

bool LooksBack(std::string_view text, const std::vector<std::string>& words) {
  const std::string lower = absl::AsciiStrToLower(std::string(text));
  const auto letter = [&](size_t at) { return at < lower.size() && absl::ascii_isalnum(lower[at]); };
  for (const std::string& phrase : words) {
    const std::string word = absl::AsciiStrToLower(phrase);
    if (word.empty()) continue;
    const bool ascii = absl::ascii_isascii(word[0]);
    for (size_t at = lower.find(word); at != lower.npos; at = lower.find(word, at + 1)) {
      if (!ascii || !((at > 0 && letter(at - 1)) || letter(at + word.size()))) return true;
    }
  }
  return false;
}

Statistics Evaluate(const Outcomes& outcomes) {
  Statistics figures;
  if (outcomes.empty()) return figures;
  figures.problems = static_cast<int64_t>(outcomes.size());
  figures.k = static_cast<int64_t>(outcomes[0].size());
  for (const auto& samples : outcomes) figures.k = std::min(figures.k, static_cast<int64_t>(samples.size()));
  TEMPER_CHECK(figures.k > 0, "a problem without samples");
  std::vector<double> pass_1, lenient, pass_k, cons_k, lengths, checks, cut;
  for (const auto& samples : outcomes) {
    const double n = static_cast<double>(samples.size());
    int64_t correct = 0, correct_lenient = 0;
    for (const Outcome& sample : samples) {
      correct += sample.correct;
      correct_lenient += sample.correct_lenient;
      checks.push_back(sample.checks);
      cut.push_back(sample.cut);
      lengths.push_back(static_cast<double>(sample.tokens));
    }
    pass_1.push_back(static_cast<double>(correct) / n);
    lenient.push_back(static_cast<double>(correct_lenient) / n);
    pass_k.push_back(PassAtK(static_cast<int64_t>(samples.size()), correct, figures.k));
    cons_k.push_back(Consensus(absl::MakeConstSpan(samples).first(figures.k)));
  }
  figures.samples = static_cast<int64_t>(lengths.size());
  figures.pass_1 = Mean(pass_1);
  figures.pass_1_error = StandardError(pass_1);
  figures.pass_1_lenient = Mean(lenient);
  figures.pass_k = Mean(pass_k);
  figures.cons_k = Mean(cons_k);
  figures.checks = Mean(checks);
  figures.cut = Mean(cut);
  figures.length_mean = Mean(lengths);
  figures.length_p10 = Quantile(lengths, 0.1);
  figures.length_p50 = Quantile(lengths, 0.5);
  figures.length_p90 = Quantile(lengths, 0.9);
  return figures;
}

}  // namespace temper
