// SPDX-License-Identifier: Apache-2.0
#include "kernels/sample.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include "core/random.h"
#include "gtest/gtest.h"
#include "kernels/cpu/token_logprob.h"
#include "kernels/isa.h"
#include "tests/kernels/reference.h"

namespace temper::kernels {
namespace {

// Sorts all, adds one by one.
int32_t ReferenceId(std::vector<float> row, const SampleParameters& s, double uniform) {
  for (int32_t id : s.banned) row[id] = -kInfinity;
  const int n = static_cast<int>(row.size());
  std::vector<int32_t> ids(n);
  std::iota(ids.begin(), ids.end(), 0);
  std::stable_sort(ids.begin(), ids.end(), [&](int a, int b) { return row[a] > row[b]; });
  if (s.temperature == 0) return ids[0];
  std::vector<float> p(n);
  const float max = row[ids[0]] / s.temperature;
  for (int i = 0; i < n; ++i) p[i] = ReferenceExp(row[i] / s.temperature - max);
  if (s.top_k > 0 && s.top_k < n) ids.resize(s.top_k);
  // The sum of ids in blocks of 1,024, of a block from 0, those of blocks from the first on.
  const auto total = [&](const std::vector<int32_t>& of) {
    const std::set<int32_t> ascending(of.begin(), of.end());
    double all = 0;
    for (int begin = 0; begin < n; begin += 1024) {
      double block = 0;
      for (int id = begin; id < std::min(n, begin + 1024); ++id)
        if (ascending.contains(id)) block += p[id];
      all += block;
    }
    return all;
  };
  if (s.top_p < 1) {
    const double enough = static_cast<double>(s.top_p) * total(ids);
    double sum = p[ids[0]];
    size_t kept = 1;
    while (kept < ids.size() && sum < enough) sum += p[ids[kept++]];
    ids.resize(kept);
  }
  std::erase_if(ids, [&](int32_t id) { return p[id] < s.min_p; });
  const double threshold = uniform * total(ids);
  std::sort(ids.begin(), ids.end());
  double before = 0, sum = 0;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (i > 0 && ids[i] / 1024 != ids[i - 1] / 1024) {
      before += sum;
      sum = 0;
    }
    sum += p[ids[i]];
    if (before + sum > threshold) return ids[i];
  }
  return ids.back();
}

SampledToken Draw(const std::vector<float>& row, const SampleParameters& s, double uniform) {
  TestBackend backend(1);
  SampledToken token;
  backend->Sample(
      {F32(row.data(), 1, static_cast<int64_t>(row.size())), {&s, 1}, {&uniform, 1}, {&token, 1}});
  return token;
}

double Philox(uint32_t i) { return Uniform(17, 0, i, Purpose::kSample); }

std::vector<float> Logs(std::initializer_list<double> p) {
  std::vector<float> out;
  for (double x : p) out.push_back(static_cast<float>(std::log(x)));
  return out;
}

TEST(Sample, TakesTheFirstIdWhoseRunningSumExceedsTheUniform) {
  const std::vector<float> row = Logs({0.25, 0.5, 0.25});
  EXPECT_EQ(Draw(row, {}, 0.0).id, 0);
  EXPECT_EQ(Draw(row, {}, 0.2499).id, 0);
  EXPECT_EQ(Draw(row, {}, 0.2501).id, 1);
  EXPECT_EQ(Draw(row, {}, 0.7499).id, 1);
  EXPECT_EQ(Draw(row, {}, 0.7501).id, 2);
  EXPECT_EQ(Draw(row, {}, 1 - 0x1p-53).id, 2);
  EXPECT_NEAR(Draw(row, {}, 0.5).logprob, std::log(0.5), 1e-6);
  EXPECT_NEAR(Draw(row, {}, 0.5).entropy, 1.5 * std::log(2.0), 1e-6);
}

TEST(Sample, NeverTakesAnImpossibleToken) {
  const std::vector<float> row = {-kInfinity, 0.0f, -kInfinity, 0.0f, -kInfinity};
  EXPECT_EQ(Draw(row, {}, 0.0).id, 1);
  EXPECT_EQ(Draw(row, {}, 0.5).id, 3);
  EXPECT_EQ(Draw(row, {}, 1.0).id, 3);  // as if rounding had left nothing
  EXPECT_EQ(Draw(row, {.top_p = 0.999f}, 1.0).id, 3);
  EXPECT_NEAR(Draw(row, {}, 0.0).entropy, std::log(2.0), 1e-6);
}

TEST(Sample, AtTemperatureZeroTakesTheLowestOfTheLargestAndReportsTemperatureOne) {
  std::vector<float> row = Numbers(100, 1);
  row[30] = row[77] = row[99] = 9;
  const SampledToken greedy = Draw(row, {.temperature = 0}, 0.99);
  EXPECT_EQ(greedy.id, 30);
  EXPECT_EQ(greedy.logprob, RowLogprob({row.data(), 100}, 30, RowLogSumExp({row.data(), 100})));
  EXPECT_EQ(greedy.entropy, Draw(row, {.temperature = 1}, 0.99).entropy);
}

TEST(Sample, TopKKeepsTheLargestAndTheLowerOfEqualIds) {
  const std::vector<float> row = {0, 1, 2, 1, 1};
  const SampleParameters s{.top_k = 3};
  std::map<int, int> seen;
  for (int i = 0; i < 300; ++i) ++seen[Draw(row, s, Philox(i)).id];
  EXPECT_EQ(seen.size(), 3u);
  EXPECT_TRUE(seen[1] > 20 && seen[2] > 20 && seen[3] > 20);
  // The logprob is of the untruncated distribution.
  EXPECT_EQ(Draw(row, s, 0.0).logprob, RowLogprob({row.data(), 5}, 1, RowLogSumExp({row.data(), 5})));
}

TEST(Sample, TopPKeepsTheSmallestPrefixThatReachesIt) {
  const std::vector<float> row = Logs({0.1, 0.4, 0.1, 0.3, 0.1});
  const auto kept = [&](float top_p, int top_k) {
    std::map<int, int> seen;
    for (int i = 0; i < 500; ++i) ++seen[Draw(row, {.top_k = top_k, .top_p = top_p}, Philox(i)).id];
    std::vector<int> ids;
    for (const auto& [id, count] : seen) ids.push_back(id);
    return ids;
  };
  EXPECT_EQ(kept(0.39f, 0), (std::vector<int>{1}));
  EXPECT_EQ(kept(0.41f, 0), (std::vector<int>{1, 3}));
  EXPECT_EQ(kept(0.75f, 0), (std::vector<int>{0, 1, 3}));
  EXPECT_EQ(kept(0.85f, 0), (std::vector<int>{0, 1, 2, 3}));
  EXPECT_EQ(kept(0.0f, 0), (std::vector<int>{1}));
  // Of the distribution that top-k left: 0.4 of 0.7 is 0.57.
  EXPECT_EQ(kept(0.55f, 2), (std::vector<int>{1}));
}

TEST(Sample, MinPKeepsWhatIsNearTheLargest) {
  const std::vector<float> row = Logs({0.1, 0.5, 0.26, 0.14});
  std::map<int, int> seen;
  for (int i = 0; i < 300; ++i) ++seen[Draw(row, {.min_p = 0.5f}, Philox(i)).id];
  EXPECT_EQ(seen.size(), 2u);
  EXPECT_GT(seen[2], 50);
  EXPECT_EQ(Draw(row, {.min_p = 2.0f}, 0.9).id, 1);
}

TEST(Sample, BannedIdsAreNotChosenAndCountInTheLogprob) {
  // exp(0 - 200) is nothing beside a banned id: what is left has sums of its own.
  const std::vector<float> row = {200, 1, 200, 0, 1};
  const std::vector<int32_t> banned = {2, 0};
  const LogSumExp sum = RowLogSumExp({row.data(), 5});
  for (SampleParameters s :
       {SampleParameters{}, SampleParameters{.temperature = 0}, SampleParameters{.top_k = 2},
        SampleParameters{.top_p = 0.5f}, SampleParameters{.min_p = 0.9f}}) {
    s.banned = banned;
    std::map<int, int> seen;
    for (int i = 0; i < 200; ++i) {
      const SampledToken token = Draw(row, s, Philox(i));
      ++seen[token.id];
      EXPECT_EQ(token.id, ReferenceId(row, s, Philox(i)));
      EXPECT_EQ(token.logprob, RowLogprob({row.data(), 5}, token.id, sum));
      EXPECT_EQ(token.entropy, static_cast<float>(RowEntropy({row.data(), 5}, sum)));
    }
    EXPECT_EQ(seen.count(0) + seen.count(2), 0u);
    EXPECT_EQ(seen.contains(3), s.temperature != 0 && s.top_k == 0 && s.top_p == 1 && s.min_p == 0);
    EXPECT_EQ(seen.contains(4), s.temperature != 0);
  }
  const std::vector<int32_t> outside = {5};
  EXPECT_ANY_THROW(Draw(row, {.banned = outside}, 0));
}

TEST(Sample, EqualsTheReferenceWithEveryInstructionSet) {
  for (int vocab : {1, 7, 711, 1024, 1025, 9300}) {
    std::vector<float> row = Numbers(vocab, vocab, 3.0f);
    for (size_t i = 0; i < row.size(); i += 5) row[i] = std::round(row[i]);
    std::vector<int32_t> banned;
    for (int32_t id = 1; id < vocab; id += 3) banned.push_back(id);
    for (const SampleParameters& s :
         {SampleParameters{}, SampleParameters{.temperature = 0.7f}, SampleParameters{.temperature = 0},
          SampleParameters{.top_k = 50}, SampleParameters{.temperature = 0.6f, .top_p = 0.95f},
          SampleParameters{.temperature = 3.0f, .top_p = 0.9f}, SampleParameters{.min_p = 0.05f},
          SampleParameters{.top_k = 400, .top_p = 0.8f, .min_p = 0.01f}, SampleParameters{.banned = banned},
          SampleParameters{.temperature = 0, .banned = banned},
          SampleParameters{.top_k = 400, .top_p = 0.8f, .min_p = 0.01f, .banned = banned}}) {
      for (int i = 0; i < 40; ++i) {
        const double uniform = i == 0 ? 0.0 : i == 1 ? 1 - 0x1p-53 : Philox(i);
        const int32_t want = ReferenceId(row, s, uniform);
        for (Isa isa : SupportedIsas()) {
          IsaScope scope(isa);
          const SampledToken token = Draw(row, s, uniform);
          const LogitRow logits{row.data(), vocab, s.temperature};
          const LogSumExp sum = RowLogSumExp(logits);
          EXPECT_EQ(token.id, want) << Name(isa) << " vocab " << vocab << " draw " << i;
          EXPECT_EQ(token.logprob, RowLogprob(logits, token.id, sum));
          EXPECT_EQ(token.entropy, static_cast<float>(RowEntropy(logits, sum)));
        }
      }
    }
  }
}

// Where the threshold lies between two ids' sums, added up in blocks, or on one: the id at each end.
TEST(Sample, ATokenIsFoundByTheSumsOfBlocks) {
  std::vector<float> row = Numbers(3000, 5, 2.0f);
  row[1023] = row[1024] = row[2047] = -kInfinity;
  std::fill(row.begin() + 2048, row.begin() + 2900, -kInfinity);
  for (const SampleParameters& s :
       {SampleParameters{}, SampleParameters{.top_k = 2000}, SampleParameters{.min_p = 0.01f}}) {
    for (int i = 0; i < 2000; ++i) {
      const double uniform = i == 0 ? 0.0 : i == 1 ? 1 - 0x1p-53 : Philox(i);
      ASSERT_EQ(Draw(row, s, uniform).id, ReferenceId(row, s, uniform)) << i;
    }
  }
  // Equal numerators: sums are whole numbers, and a threshold that is one is not exceeded by it.
  const std::vector<float> even(4096, 0.5f);
  for (int id : {0, 1, 1023, 1024, 1025, 2048, 4095}) EXPECT_EQ(Draw(even, {}, id / 4096.0).id, id);
  // 1 and then 4095 times what a running sum of all ids would lose, and the sum of a block does not.
  std::vector<float> one_large(4096, -37.0f);
  one_large[0] = 0;
  EXPECT_EQ(Draw(one_large, {}, 0.5).id, 0);
  EXPECT_EQ(Draw(one_large, {}, 1 - 0x1p-53).id, ReferenceId(one_large, {}, 1 - 0x1p-53));
  EXPECT_GT(Draw(one_large, {}, 1 - 0x1p-53).id, 1023);
}

TEST(Sample, TheSumOfABlockIsOneAscendingChain) {
  std::vector<float> e = Numbers(9300, 8, 2.0f);
  for (size_t i = 0; i < e.size(); ++i)
    e[i] = std::ldexp(e[i], -static_cast<int>(i * 7 % 45));  // so that f64 rounds
  std::vector<double> want(10), sums(10);
  for (size_t i = 0; i < e.size(); ++i) want[i / 1024] = want[i / 1024] + static_cast<double>(e[i]);
  for (Isa isa : SupportedIsas()) {
    IsaScope scope(isa);
    TEMPER_DISPATCH(BlockSums)(e.data(), static_cast<int64_t>(e.size()), sums.data());
    EXPECT_EQ(sums, want) << Name(isa);
  }
}

TEST(Sample, ARowOfABatchHasTheTokenItHasAlone) {
  const int64_t rows = 67, vocab = 711;
  const std::vector<float> logits = Numbers(rows * vocab, 3, 2.0f);
  std::vector<SampleParameters> parameters;
  std::vector<double> uniforms;
  for (int i = 0; i < rows; ++i) {
    parameters.push_back({.temperature = 0.3f * static_cast<float>(i % 5), .top_k = i % 3 * 20});
    uniforms.push_back(Philox(i));
  }
  for (int threads : {1, 2, 3}) {
    TestBackend backend(threads);
    std::vector<SampledToken> tokens(rows);
    backend->Sample({F32(logits.data(), rows, vocab), parameters, uniforms, absl::MakeSpan(tokens)});
    for (int64_t i = 0; i < rows; ++i) {
      const auto begin = logits.begin() + i * vocab;
      const SampledToken alone = Draw(std::vector<float>(begin, begin + vocab), parameters[i], uniforms[i]);
      EXPECT_EQ(tokens[i].id, alone.id) << i;
      EXPECT_EQ(tokens[i].logprob, alone.logprob) << i;
      EXPECT_EQ(tokens[i].entropy, alone.entropy) << i;
    }
  }
}

TEST(Sample, NoRowsAreNoWork) {
  EXPECT_NO_THROW(TestBackend(2)->Sample({}));
  const float z = 1;
  EXPECT_ANY_THROW(TestBackend(2)->Sample({F32(&z, 1, 1), {}, {}, {}})) << "a row without a token";
}

TEST(Sample, FixedDrawsHaveTheSoftmaxsFrequencies) {
  const int vocab = 20, draws = 200000;
  const float temperature = 0.8f;
  const std::vector<float> row = Numbers(vocab, 4, 1.5f);
  std::vector<double> p(vocab), count(vocab);
  double total = 0;
  for (int i = 0; i < vocab; ++i) total += p[i] = std::exp(static_cast<double>(row[i]) / temperature);
  for (int i = 0; i < draws; ++i) ++count[Draw(row, {.temperature = temperature}, Philox(i)).id];
  double chi_square = 0;
  for (int i = 0; i < vocab; ++i) {
    const double expected = draws * p[i] / total;
    chi_square += (count[i] - expected) * (count[i] - expected) / expected;
  }
  EXPECT_LT(chi_square, 43.8);  // 19 degrees of freedom: 0.1%
}

}  // namespace
}  // namespace temper::kernels
