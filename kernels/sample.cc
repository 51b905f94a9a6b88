// SPDX-License-Identifier: Apache-2.0
#include "kernels/sample.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <vector>

#include "core/check.h"
#include "kernels/backends/cpu.h"
#include "kernels/cpu/token_logprob.h"
#include "kernels/isa.h"

namespace temper::kernels {
namespace {

int64_t Blocks(int64_t ids) { return (ids + kSampleBlock - 1) / kSampleBlock; }

// The sums of each block's kept ids.
void SumBlocks(const std::vector<float>& p, const std::vector<int32_t>& kept, std::vector<double>& sums) {
  sums.assign(Blocks(static_cast<int64_t>(p.size())), 0.0);
  for (int32_t id : kept) sums[id / kSampleBlock] = sums[id / kSampleBlock] + static_cast<double>(p[id]);
}

double Total(const std::vector<double>& block_sums) {
  double total = 0;
  for (double sum : block_sums) total = total + sum;
  return total;
}

// Ids in ascending order: those kept, or all.
struct Ids {
  const std::vector<int32_t>* kept;
  int64_t all;

  int64_t size() const { return kept == nullptr ? all : static_cast<int64_t>(kept->size()); }
  int32_t operator[](int64_t i) const { return kept == nullptr ? static_cast<int32_t>(i) : (*kept)[i]; }
  int64_t FirstFrom(int32_t id) const {
    return kept == nullptr ? id : std::lower_bound(kept->begin(), kept->end(), id) - kept->begin();
  }
};

// Numerators of all ids, and their sums by blocks of the ids that count.
struct Numerators {
  const std::vector<float>& p;
  const std::vector<double>& block_sums;
};

// The first id whose cumulative sum exceeds `uniform` of all; else the last that has any probability.
int32_t Find(const Numerators& numerators, const Ids& ids, double uniform) {
  const auto& [p, block_sums] = numerators;
  const double threshold = uniform * Total(block_sums);
  double before = 0;
  for (size_t block = 0; block < block_sums.size(); ++block) {
    const double through = before + block_sums[block];
    if (through > threshold) {
      double sum = 0;
      for (int64_t i = ids.FirstFrom(static_cast<int32_t>(block * kSampleBlock)); i < ids.size(); ++i) {
        sum = sum + static_cast<double>(p[ids[i]]);
        if (before + sum > threshold) return ids[i];
      }
    }
    before = through;
  }
  for (int64_t i = ids.size() - 1; i > 0; --i) {
    if (p[ids[i]] > 0) return ids[i];
  }
  return ids.size() > 0 ? ids[0] : 0;
}

// Ascending keys are descending logits, and ascending ids where they are equal.
uint64_t RankKey(float logit, int64_t id) {
  const uint32_t bits = std::bit_cast<uint32_t>(logit + 0.0f);  // -0 equals 0
  const uint32_t ascending = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
  return uint64_t{~ascending} << 32 | static_cast<uint64_t>(id);
}

void TakeIds(const std::vector<uint64_t>& keys, std::vector<int32_t>& ids) {
  ids.clear();
  for (uint64_t key : keys) ids.push_back(static_cast<int32_t>(key & 0xFFFFFFFFu));
  std::sort(ids.begin(), ids.end());
}

// How many of the ranked keys reach `enough`; sorts them piece by piece, as far as that is.
size_t Nucleus(const std::vector<float>& p, double enough, std::vector<uint64_t>& keys) {
  double sum = 0;
  for (size_t kept = 0, sorted = 0, piece = 256; kept < keys.size(); ++kept) {
    if (kept > 0 && sum >= enough) return kept;
    if (kept == sorted) {
      const auto begin = keys.begin() + sorted;
      sorted = std::min(keys.size(), sorted + piece);
      const auto end = keys.begin() + sorted;
      if (end != keys.end()) std::nth_element(begin, end, keys.end());
      std::sort(begin, end);
      piece *= 8;
    }
    sum = sum + static_cast<double>(p[keys[kept] & 0xFFFFFFFFu]);
  }
  return keys.size();
}

bool IsBanned(const SampleParameters& s, int64_t id) {
  return std::find(s.banned.begin(), s.banned.end(), id) != s.banned.end();
}

// The first id of those with the largest logit that is not banned.
int32_t FirstLargest(const LogitRow& row, const SampleParameters& s) {
  const int64_t first = TEMPER_DISPATCH(FirstLargest)(row.logits, row.vocab);
  if (!IsBanned(s, first)) return static_cast<int32_t>(first);
  int64_t best = -1;
  for (int64_t id = 0; id < row.vocab; ++id) {
    if ((best < 0 || row.logits[id] > row.logits[best]) && !IsBanned(s, id)) best = id;
  }
  return static_cast<int32_t>(best);
}

// The ids that top-k, then top-p, then min-p leave, in ascending order.
const std::vector<int32_t>& Truncate(const LogitRow& row, const SampleParameters& s,
                                     const std::vector<float>& p) {
  thread_local std::vector<double> block_sums;
  thread_local std::vector<int32_t> ids;
  thread_local std::vector<uint64_t> keys;
  keys.resize(p.size());
  for (size_t i = 0; i < p.size(); ++i) keys[i] = RankKey(row.logits[i], i);
  for (int32_t id : s.banned) keys[id] = RankKey(-std::numeric_limits<float>::infinity(), id);
  if (s.top_k > 0 && s.top_k < static_cast<int64_t>(p.size())) {
    std::nth_element(keys.begin(), keys.begin() + s.top_k, keys.end());
    keys.resize(s.top_k);
  }
  TakeIds(keys, ids);
  if (s.top_p < 1.0f) {
    SumBlocks(p, ids, block_sums);
    keys.resize(Nucleus(p, static_cast<double>(s.top_p) * Total(block_sums), keys));
    TakeIds(keys, ids);
  }
  // The largest probability is exp(0) = 1.
  if (s.min_p > 0.0f) std::erase_if(ids, [&](int32_t id) { return p[id] < std::min(s.min_p, 1.0f); });
  return ids;
}

SampledToken SampleRow(const LogitRow& row, const SampleParameters& s, double uniform) {
  for (int32_t id : s.banned) TEMPER_CHECK(id >= 0 && id < row.vocab, "a banned id ", id, " of ", row.vocab);
  const int64_t vocab = row.vocab;
  const bool truncated = (s.top_k > 0 && s.top_k < vocab) || s.top_p < 1.0f || s.min_p > 0.0f;
  const LogSumExp sum = RowLogSumExp(row);

  thread_local std::vector<float> p;
  thread_local std::vector<double> block_sums;
  p.resize(vocab);
  block_sums.resize(Blocks(vocab));
  const ExpRowResult exps = TEMPER_DISPATCH(ExpRow)(row, sum, p.data());
  if (!s.banned.empty()) {
    // Numerators of the others alone; those of banned ids, which have a part in them now, become 0.
    const float left = row.logits[FirstLargest(row, s)] / row.temperature;
    if (left < sum.max) TEMPER_DISPATCH(ExpRow)(row, {left, 0}, p.data());
    for (int32_t id : s.banned) p[id] = 0;
  }

  SampledToken token;
  if (s.temperature == 0.0f) {
    token.id = FirstLargest(row, s);
  } else if (!truncated) {
    TEMPER_DISPATCH(BlockSums)(p.data(), vocab, block_sums.data());
    token.id = Find({p, block_sums}, {nullptr, vocab}, uniform);
  } else {
    const std::vector<int32_t>& kept = Truncate(row, s, p);
    SumBlocks(p, kept, block_sums);
    token.id = Find({p, block_sums}, {&kept, vocab}, uniform);
  }
  token.logprob = RowLogprob(row, token.id, sum);
  token.entropy = static_cast<float>(exps.entropy / exps.total);
  return token;
}

}  // namespace

void CpuBackend::Sample(const SampleTask& task) {
  const Matrix& logits = task.logits;
  if (logits.rows == 0) return;
  TEMPER_CHECK(logits.cols > 0 && logits.cols <= INT32_MAX, "vocab ", logits.cols);
  TEMPER_CHECK(task.parameters.size() == task.tokens.size() && task.uniforms.size() == task.tokens.size() &&
               static_cast<int64_t>(task.tokens.size()) == logits.rows);
  pool().ParallelFor(logits.rows, 4, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const SampleParameters& s = task.parameters[i];
      const float temperature = s.temperature == 0.0f ? 1.0f : s.temperature;
      task.tokens[i] = SampleRow({logits.Row(i), logits.cols, temperature}, s, task.uniforms[i]);
    }
  });
}

}  // namespace temper::kernels
