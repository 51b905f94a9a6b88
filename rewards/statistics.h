// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/types/span.h"

namespace temper {

// What evaluation keeps of one completion.
struct Outcome {
  bool correct = false;
  bool correct_lenient = false;  // whatever the form
  bool checks = false;           // LooksBack
  bool cut = false;              // by length
  std::string key;               // AnswerKey of the extracted answer; empty: none, does not vote
  int64_t tokens = 0;
};

// The samples of each problem, in their order; every problem has at least one.
using Outcomes = std::vector<std::vector<Outcome>>;

// Figures over problems; means are of problems first, so that unequal numbers of samples do not weigh.
struct Statistics {
  int64_t problems = 0;
  int64_t samples = 0;
  int64_t k = 0;  // the fewest samples of a problem
  double pass_1 = 0;
  double pass_1_error = 0;  // standard error over problems; 0 with fewer than two
  double pass_1_lenient = 0;
  double pass_k = 0;  // unbiased, k as above
  double cons_k = 0;  // over the first k samples
  double checks = 0;  // share of all samples
  double cut = 0;
  double length_mean = 0;
  double length_p10 = 0, length_p50 = 0, length_p90 = 0;
};
Statistics Evaluate(const Outcomes& outcomes);

// Chance that k of n samples, c of which are right, have a right one: 1 - C(n-c, k) / C(n, k), as a product
// (Codex, arXiv 2107.03374). Needs 0 <= c <= n and 1 <= k <= n.
double PassAtK(int64_t n, int64_t c, int64_t k);

// Whether the answer most of the samples give is right. Of equally frequent answers the one that was seen
// first wins. An answer is right where any sample that gave it was. No vote at all is wrong.
bool Consensus(absl::Span<const Outcome> samples);

// Linear between the neighbouring order statistics (share 0: least, 1: greatest); 0 for no values.
double Quantile(std::vector<double> values, double share);

// Whether the text retries or checks itself: has one of the phrases, ASCII case ignored, as whole words (a
// phrase that is not ASCII counts anywhere).
const std::vector<std::string>&
DefaultCheckWords();  // wait, check, again, hmm, actually, let me verify, 等, ..
bool LooksBack(std::string_view text, const std::vector<std::string>& words = DefaultCheckWords());

}  // namespace temper
