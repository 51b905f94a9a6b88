// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/token_logprob.h"

#include <limits>

#include "kernels/cpu/token_logprob.h"
#include "tests/kernels/cuda/hostile.h"

namespace temper::kernels {
namespace {

constexpr float kNone = -std::numeric_limits<float>::infinity();

// Logits of a few rows; some are -inf, a whole chunk too.
struct Rows {
  Rows(int64_t rows, int64_t vocab, int64_t between) : logits(rows, vocab, 1, between) {
    for (float& x : logits.data) x *= 8;
    for (int64_t i = 0; i < vocab / 8; ++i) logits.data[i] = kNone;
    if (vocab > 20) logits.data[vocab / 2] = kNone;
    for (int64_t row = 0; row < rows; ++row)
      targets.push_back(static_cast<int32_t>((row * 311 + vocab - 1) % vocab));
  }
  Grid logits;
  std::vector<int32_t> targets;
};

struct Size {
  int64_t rows, vocab, between;
  float temperature;
};
// Chunks without a logit, less than a vector, more than one piece of a chunk, and of a row.
constexpr Size kSizes[] = {{1, 1, 0, 1}, {3, 5, 2, 0.7f}, {2, 711, 1, 0}, {1, 8300, 0, 1.3f}};

TEST(SimulatedTokenLogprobs, LogprobsSumsAndEntropiesAreTheCpus) {
  for (const auto& [rows, vocab, between, temperature] : kSizes) {
    Rows x(rows, vocab, between);
    std::vector<float> expected(rows), logprob(rows);
    std::vector<LogSumExp> expected_sums(rows), sums(rows);
    std::vector<double> expected_entropy(rows), entropy(rows);
    for (int64_t row = 0; row < rows; ++row) {
      const float t = temperature == 0 ? 1 : temperature;
      const LogitRow logits{x.logits.matrix().Row(row), vocab, t};
      expected_sums[row] = RowLogSumExp(logits);
      expected[row] = RowLogprob(logits, x.targets[row], expected_sums[row]);
      expected_entropy[row] = RowEntropy(logits, expected_sums[row]);
    }
    std::vector<float> memory(rows * kChunks * 2);
    UnderHostileStreams(
        [&](sim::Stream& stream) {
          std::fill(logprob.begin(), logprob.end(), 7.0f);
          std::fill(entropy.begin(), entropy.end(), 7.0);
          sim::TokenLogprobs({.targets = x.targets.data(),
                              .temperature = temperature,
                              .logprob = logprob.data(),
                              .sums = sums.data(),
                              .entropy = entropy.data()},
                             {x.logits.matrix(), memory.data()}, stream);
        },
        [&] {
          EXPECT_EQ(Differences(logprob, expected), 0) << rows << " x " << vocab;
          EXPECT_EQ(entropy, expected_entropy) << vocab;
          for (int64_t row = 0; row < rows; ++row) {
            EXPECT_TRUE(SameBits(sums[row].max, expected_sums[row].max)) << vocab;
            EXPECT_TRUE(SameBits(sums[row].log_sum, expected_sums[row].log_sum)) << vocab;
          }
        });
  }
}

TEST(SimulatedTokenLogprobs, PartsOfTheVocabularyAreTheCpusAndJoinToTheWhole) {
  constexpr int64_t kVocab = 711, kRows = 2;
  Rows x(kRows, kVocab, 0);
  std::vector<float> whole(kRows), joined(kRows);
  for (int64_t row = 0; row < kRows; ++row) {
    const LogitRow logits{x.logits.matrix().Row(row), kVocab, 0.7f};
    whole[row] = RowLogprob(logits, x.targets[row], RowLogSumExp(logits));
  }
  for (const int ranks : {1, 2, 4, 8}) {
    std::vector<LogitPart> parts(ranks * kRows);
    std::vector<float> memory(kRows * kChunks * 2);
    UnderHostileStreams(
        [&](sim::Stream& stream) {
          for (int64_t rank = 0; rank < ranks; ++rank) {
            const int64_t begin = rank * kVocab / ranks, end = (rank + 1) * kVocab / ranks;
            sim::TokenLogprobs({.targets = x.targets.data(),
                                .temperature = 0.7f,
                                .part = {begin, kVocab},
                                .parts = &parts[rank * kRows]},
                               {x.logits.matrix().Columns(begin, end - begin), memory.data()}, stream);
          }
        },
        [&] {
          for (int64_t rank = 0; rank < ranks; ++rank) {
            const int64_t begin = rank * kVocab / ranks, end = (rank + 1) * kVocab / ranks;
            for (int64_t row = 0; row < kRows; ++row) {
              const MaxSum sums = TEMPER_DISPATCH(MaxAndSum)(
                  {x.logits.matrix().Row(row) + begin, end - begin, 0.7f, {begin, kVocab}});
              EXPECT_TRUE(SameBits(parts[rank * kRows + row].max, sums.max));
              EXPECT_TRUE(SameBits(parts[rank * kRows + row].sum, sums.sum));
            }
          }
          JoinLogprobs({.parts = parts,
                        .targets = x.targets,
                        .vocab = kVocab,
                        .logprob = joined.data(),
                        .sums = nullptr});
          EXPECT_EQ(Differences(joined, whole), 0) << ranks;
        });
  }
}

TEST(SimulatedTokenLogprobs, GradientsOfLogitsAreTheCpusAlsoOfAPart) {
  for (const auto& [rows, vocab, between, temperature] : kSizes) {
    Rows x(rows, vocab, between);
    const std::vector<float> dlogprob = Numbers(rows, 5);
    const float t = temperature == 0 ? 1 : temperature;
    for (const int64_t begin : {int64_t{0}, vocab / 2}) {  // of the logits, the ids from there on
      const int64_t count = vocab - begin;
      Grid expected = x.logits, out = x.logits;
      std::vector<LogSumExp> sums(rows);
      for (int64_t row = 0; row < rows; ++row) {
        sums[row] = RowLogSumExp({x.logits.matrix().Row(row), vocab, t});
        const int64_t target = x.targets[row] - begin;
        TEMPER_DISPATCH(SoftmaxGradient)
        ({expected.matrix().Row(row) + begin, count, t, sums[row].max, sums[row].log_sum,
          target >= 0 ? target : -1, dlogprob[row] / t});
      }
      UnderHostileStreams(
          [&](sim::Stream& stream) {
            out = x.logits;
            sim::SoftmaxGradients({.targets = x.targets.data(),
                                   .temperature = temperature,
                                   .sums = sums.data(),
                                   .dlogprob = dlogprob.data(),
                                   .part = {begin, begin == 0 ? 0 : vocab}},
                                  out.matrix().Columns(begin, count), stream);
          },
          [&] { EXPECT_EQ(Differences(out.data, expected.data), 0) << vocab << " from " << begin; });
    }
  }
}

}  // namespace
}  // namespace temper::kernels
