// SPDX-License-Identifier: Apache-2.0
#include "kernels/sample.h"

#include <algorithm>
#include <vector>

#include "core/check.h"
#include "kernels/cpu/token_logprob.h"
#include "kernels/isa.h"

namespace temper::kernels {
namespace {

// The first id whose running sum exceeds `threshold`; else the last that has any probability.
int32_t FindById(const std::vector<float>& p, const std::vector<double>& prefix, double threshold) {
  const int64_t n = static_cast<int64_t>(p.size());
  const auto above = std::upper_bound(prefix.begin(), prefix.end(), threshold);
  const int64_t block = std::max<int64_t>(above - prefix.begin() - 1, 0);
  double sum = prefix[block];
  for (int64_t id = block * kPrefixBlock; id < n; ++id) {
    sum = sum + static_cast<double>(p[id]);
    if (sum > threshold) return static_cast<int32_t>(id);
  }
  for (int64_t id = n - 1; id > 0; --id) {
    if (p[id] > 0) return static_cast<int32_t>(id);
  }
  return 0;
}

// The ids that top-k, then top-p, then min-p leave, in ascending order.
void Truncate(const float* row, const std::vector<float>& p, const SampleParameters& s,
              std::vector<int32_t>& ids) {
  ids.resize(p.size());
  for (size_t i = 0; i < p.size(); ++i) ids[i] = static_cast<int32_t>(i);
  const auto before = [row](int32_t a, int32_t b) { return row[a] > row[b] || (row[a] == row[b] && a < b); };
  if (s.top_k > 0 && s.top_k < static_cast<int64_t>(p.size())) {
    std::nth_element(ids.begin(), ids.begin() + s.top_k - 1, ids.end(), before);
    ids.resize(s.top_k);
    std::sort(ids.begin(), ids.end());
  }
  if (s.top_p < 1.0f) {
    double total = 0;
    for (int32_t id : ids) total = total + static_cast<double>(p[id]);
    const double enough = static_cast<double>(s.top_p) * total;
    // Sorted piece by piece, as far as the prefix reaches.
    double sum = 0;
    size_t kept = 0;
    for (size_t sorted = 0, piece = 256; kept < ids.size(); ++kept) {
      if (kept > 0 && sum >= enough) break;
      if (kept == sorted) {
        const size_t end = std::min(ids.size(), sorted + piece);
        std::partial_sort(ids.begin() + sorted, ids.begin() + end, ids.end(), before);
        sorted = end;
        piece *= 4;
      }
      sum = sum + static_cast<double>(p[ids[kept]]);
    }
    ids.resize(kept);
    std::sort(ids.begin(), ids.end());
  }
  // The largest probability is exp(0) = 1.
  if (s.min_p > 0.0f) std::erase_if(ids, [&](int32_t id) { return p[id] < std::min(s.min_p, 1.0f); });
}

int32_t FindInKept(const std::vector<float>& p, const std::vector<int32_t>& ids, double uniform) {
  double total = 0, sum = 0;
  for (int32_t id : ids) total = total + static_cast<double>(p[id]);
  const double threshold = uniform * total;
  int32_t last = ids.empty() ? 0 : ids[0];
  for (int32_t id : ids) {
    sum = sum + static_cast<double>(p[id]);
    if (sum > threshold) return id;
    if (p[id] > 0) last = id;
  }
  return last;
}

}  // namespace

SampledToken Sample(const float* row, int64_t vocab, const SampleParameters& parameters, double uniform) {
  TEMPER_CHECK(vocab > 0 && vocab <= INT32_MAX, "vocab ", vocab);
  const SampleParameters& s = parameters;
  const float temperature = s.temperature == 0.0f ? 1.0f : s.temperature;
  const bool truncated = (s.top_k > 0 && s.top_k < vocab) || s.top_p < 1.0f || s.min_p > 0.0f;
  const LogSumExp sum = RowLogSumExp(row, vocab, temperature);

  thread_local std::vector<float> p;
  thread_local std::vector<double> prefix;
  thread_local std::vector<int32_t> ids;
  p.resize(vocab);
  prefix.resize((vocab + kPrefixBlock - 1) / kPrefixBlock + 1);
  const bool by_id = s.temperature != 0.0f && !truncated;
  const ExpRowResult exps = TEMPER_DISPATCH(ExpRow)(row, vocab, temperature, sum.max, sum.log_sum, p.data(),
                                                    by_id ? prefix.data() : nullptr);

  SampledToken token;
  if (s.temperature == 0.0f) {
    token.id = static_cast<int32_t>(TEMPER_DISPATCH(FirstLargest)(row, vocab));
  } else if (by_id) {
    token.id = FindById(p, prefix, uniform * prefix.back());
  } else {
    Truncate(row, p, s, ids);
    token.id = FindInKept(p, ids, uniform);
  }
  token.logprob = RowLogprob(row, token.id, temperature, sum);
  token.entropy = static_cast<float>(exps.entropy / exps.total);
  return token;
}

}  // namespace temper::kernels
