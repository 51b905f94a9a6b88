// SPDX-License-Identifier: Apache-2.0
#include "kernels/token_logprob.h"

#include <algorithm>

#include "gtest/gtest.h"
#include "kernels/log.h"
#include "tests/kernels/reference.h"

namespace temper::kernels {
namespace {

struct MaxSum {
  float max = -kInfinity, sum = 0;
};

MaxSum Merge(MaxSum a, MaxSum b) {
  if (b.max == -kInfinity) return a;
  if (a.max == -kInfinity) return b;
  const float max = std::max(a.max, b.max);
  return {max, a.sum * ReferenceExp(a.max - max) + b.sum * ReferenceExp(b.max - max)};
}

LogSumExp ReferenceLogSumExp(const float* row, int64_t n, float temperature) {
  const float t = temperature == 0 ? 1 : temperature;
  std::vector<MaxSum> c(8);
  for (int i = 0; i < 8; ++i) {
    const int64_t begin = i * n / 8, end = (i + 1) * n / 8;
    for (int64_t j = begin; j < end; ++j) c[i].max = std::max(c[i].max, row[j] / t);
    std::vector<float> lanes(16);
    for (int64_t j = begin; j < end; ++j) lanes[(j - begin) % 16] += ReferenceExp(row[j] / t - c[i].max);
    c[i].sum = ReferenceSumLanes(lanes);
  }
  const MaxSum all =
      Merge(Merge(Merge(c[0], c[1]), Merge(c[2], c[3])), Merge(Merge(c[4], c[5]), Merge(c[6], c[7])));
  return {all.max, static_cast<float>(Log(all.sum))};
}

TEST(Log, IsWithinAFewUlpsOfTheTrueOne) {
  double worst = 0;
  for (int i = 1; i < 200000; ++i) {
    for (double x : {i * 0.01, 1 + i * 1e-9, std::ldexp(1.0 + i * 5e-6, i % 600 - 300)}) {
      const double want = std::log(x);
      if (want != 0) worst = std::max(worst, std::abs(Log(x) - want) / std::abs(want));
    }
  }
  EXPECT_LT(worst, 1e-15);
  EXPECT_EQ(Log(1.0), 0.0);
  EXPECT_EQ(Log(0.0), -std::numeric_limits<double>::infinity());
  EXPECT_TRUE(std::isnan(Log(-1.0)));
}

TEST(RowLogSumExp, EqualsTheReferenceWithEveryInstructionSet) {
  for (int64_t vocab : {1, 5, 8, 37, 711, 2048, 5001}) {
    std::vector<float> row = Numbers(vocab, 3, 4.0f);
    for (float temperature : {1.0f, 0.0f, 0.7f, 3.0f}) {
      const LogSumExp want = ReferenceLogSumExp(row.data(), vocab, temperature);
      for (Isa isa : SupportedIsas()) {
        IsaScope scope(isa);
        const LogSumExp got = RowLogSumExp({row.data(), vocab, temperature});
        EXPECT_EQ(got.max, want.max) << Name(isa) << " vocab " << vocab << " T " << temperature;
        EXPECT_EQ(got.log_sum, want.log_sum) << Name(isa) << " vocab " << vocab << " T " << temperature;
      }
    }
  }
}

TEST(RowLogSumExp, IsTheLogOfTheSum) {
  const std::vector<float> row = Numbers(3000, 9, 5.0f);
  for (float temperature : {1.0f, 0.6f}) {
    const LogitRow logits{row.data(), 3000, temperature};
    const LogSumExp sum = RowLogSumExp(logits);
    double total = 0, entropy = 0;
    for (float x : row) total += std::exp(static_cast<double>(x) / temperature);
    for (float x : row) {
      const double logprob = static_cast<double>(x) / temperature - std::log(total);
      entropy -= std::exp(logprob) * logprob;
    }
    for (int id : {0, 17, 2999}) {
      EXPECT_NEAR(RowLogprob(logits, id, sum), row[id] / temperature - std::log(total), 5e-6);
    }
    EXPECT_NEAR(RowEntropy(logits, sum), entropy, 1e-5);
  }
}

TEST(RowLogSumExp, MaskedLogitsCountForNothingAndANaNIsSeen) {
  std::vector<float> row(100, -kInfinity);
  row[20] = 2;
  row[90] = 2;
  const LogitRow logits{row.data(), 100};
  const LogSumExp sum = RowLogSumExp(logits);
  EXPECT_FLOAT_EQ(RowLogprob(logits, 20, sum), -std::log(2.0f));
  EXPECT_NEAR(RowEntropy(logits, sum), std::log(2.0), 1e-6);
  EXPECT_EQ(RowLogprob(logits, 0, sum), -kInfinity);
  row[21] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(std::isnan(RowLogSumExp(logits).log_sum));
}

struct Head {
  int64_t rows, cols, vocab;
  std::vector<float> hidden, weight;
  std::vector<int32_t> targets;
  int64_t ld() const { return cols + 3; }
  Matrix Hidden() const { return F32(hidden.data(), rows, cols).Strided(ld()); }
  Matrix Weight() const { return F32(weight.data(), vocab, cols); }

  Head(int64_t r, int64_t c, int64_t v) : rows(r), cols(c), vocab(v) {
    hidden = Numbers(rows * ld(), 1);
    weight = Numbers(vocab * cols, 2, 0.3f);
    for (int64_t i = 0; i < rows; ++i)
      targets.push_back(i % 4 == 3 ? -1 : static_cast<int32_t>(i * 131 % vocab));
  }
  std::vector<float> Logits(int64_t row) const {
    std::vector<float> out(vocab);
    for (int64_t v = 0; v < vocab; ++v) {
      for (int64_t c = 0; c < cols; ++c)
        out[v] = std::fma(hidden[row * ld() + c], weight[v * cols + c], out[v]);
    }
    return out;
  }
};

// Ranks that have whole chunks of the vocabulary know their part of each logprob; joined they are the
// whole's.
TEST(TokenLogprobs, OfPartsOfTheVocabularyJoinToTheWhole) {
  for (const int64_t vocab : {711, 8, 1}) {
    const Head h(50, 20, vocab);
    for (Isa isa : SupportedIsas()) {
      IsaScope scope(isa);
      TestBackend backend(2);
      std::vector<float> want(h.rows), want_dhidden(h.rows * h.cols), want_dhead(h.vocab * h.cols);
      std::vector<LogSumExp> want_sums(h.rows);
      const std::vector<float> dlogprob = Numbers(h.rows, 4);
      backend->TokenLogprobs({.hidden = h.Hidden(),
                              .head = h.Weight(),
                              .targets = h.targets.data(),
                              .temperature = 0.7f,
                              .logprob = want.data(),
                              .sums = want_sums.data()});
      backend->TokenLogprobsBackward({.hidden = h.Hidden(),
                                      .head = h.Weight(),
                                      .targets = h.targets.data(),
                                      .temperature = 0.7f,
                                      .sums = want_sums.data(),
                                      .dlogprob = dlogprob.data(),
                                      .dhidden = F32(want_dhidden.data(), h.rows, h.cols),
                                      .dhead = F32(want_dhead.data(), h.vocab, h.cols)});
      for (const int parts : {1, 2, 4, 8}) {
        std::vector<LogitPart> all(parts * h.rows);
        std::vector<std::vector<float>> dhidden(parts, std::vector<float>(h.rows * h.cols));
        std::vector<float> got(h.rows, -1), dhead(h.vocab * h.cols);
        std::vector<LogSumExp> sums(h.rows);
        const auto head = [&](int p) {
          const int64_t begin = p * vocab / parts;
          return h.Weight().Rows(begin, (p + 1) * vocab / parts - begin);
        };
        for (int p = 0; p < parts; ++p) {
          backend->TokenLogprobs({.hidden = h.Hidden(),
                                  .head = head(p),
                                  .targets = h.targets.data(),
                                  .temperature = 0.7f,
                                  .part = {p * vocab / parts, vocab},
                                  .parts = all.data() + p * h.rows});
        }
        JoinLogprobs({all, h.targets, vocab, got.data(), sums.data()});
        EXPECT_EQ(Differences(got, want), 0) << Name(isa) << ", " << parts << " parts of " << vocab;
        for (int p = 0; p < parts; ++p) {
          const int64_t begin = p * vocab / parts;
          backend->TokenLogprobsBackward({.hidden = h.Hidden(),
                                          .head = head(p),
                                          .targets = h.targets.data(),
                                          .temperature = 0.7f,
                                          .sums = sums.data(),
                                          .dlogprob = dlogprob.data(),
                                          .dhidden = F32(dhidden[p].data(), h.rows, h.cols),
                                          .dhead = F32(dhead.data() + begin * h.cols, head(p).rows, h.cols),
                                          .part = {begin, vocab}});
        }
        EXPECT_EQ(Differences(dhead, want_dhead), 0) << Name(isa) << ", " << parts << " parts of " << vocab;
        std::vector<float> tree(h.rows * h.cols);
        for (size_t i = 0; i < tree.size(); ++i) {
          std::vector<float> of_parts;
          for (const std::vector<float>& part : dhidden) of_parts.push_back(part[i]);
          tree[i] = ReferenceTreeOf(of_parts);
        }
        EXPECT_EQ(Differences(tree, want_dhidden), 0) << Name(isa) << ", " << parts << " parts of " << vocab;
      }
    }
  }
}

TEST(TokenLogprobs, EqualsTheReferencePackedOrNotOnAnyThreads) {
  const Head h(300, 20, 711);
  for (float temperature : {1.0f, 0.7f}) {
    std::vector<float> want(h.rows);
    std::vector<double> want_entropy(h.rows);
    for (int64_t i = 0; i < h.rows; ++i) {
      if (h.targets[i] < 0) continue;
      const std::vector<float> z = h.Logits(i);
      const LogSumExp sum = ReferenceLogSumExp(z.data(), h.vocab, temperature);
      want[i] = z[h.targets[i]] / temperature - sum.max - sum.log_sum;
      want_entropy[i] = RowEntropy({z.data(), h.vocab, temperature}, sum);
    }
    for (int threads : {1, 2, 3}) {
      TestBackend backend(threads);
      std::vector<float> panels(backend->PackedFloats(h.vocab, h.cols));
      const PackedMatrix packed = backend->Pack(h.Weight(), true, panels.data());
      for (const PackedMatrix* p :
           {static_cast<const PackedMatrix*>(nullptr), static_cast<const PackedMatrix*>(&packed)}) {
        std::vector<float> logprob(h.rows, 9);
        std::vector<double> entropy(h.rows, 9);
        const Matrix head = p == nullptr ? h.Weight() : F32(nullptr, h.vocab, h.cols);
        backend->TokenLogprobs({.hidden = h.Hidden(),
                                .head = head,
                                .packed = p,
                                .targets = h.targets.data(),
                                .temperature = temperature,
                                .logprob = logprob.data(),
                                .entropy = entropy.data()});
        EXPECT_EQ(Differences(logprob, want), 0) << threads;
        EXPECT_EQ(entropy, want_entropy);
        // A few rows alone, as the sampler computes them.
        std::vector<float> some(2);
        backend->TokenLogprobs({.hidden = h.Hidden().Rows(65, 2),
                                .head = head,
                                .packed = p,
                                .targets = &h.targets[65],
                                .temperature = temperature,
                                .logprob = some.data()});
        EXPECT_EQ(some[0], want[65]);
        EXPECT_EQ(some[1], want[66]);
      }
    }
  }
}

struct Gradients {
  std::vector<float> dhidden, dhead;
};

// `kept`: with the logits that the way there left, and packed weights.
Gradients Backward(const Head& h, float temperature, const std::vector<float>& dlogprob, int threads,
                   int64_t step, bool kept = false) {
  TestBackend backend(threads);
  std::vector<float> logprob(h.rows), logits(h.rows * h.vocab, 7);
  std::vector<LogSumExp> sums(h.rows);
  std::vector<float> panels(backend->PackedFloats(h.vocab, h.cols));
  const PackedMatrix packed = backend->Pack(h.Weight(), true, panels.data());
  Gradients out{std::vector<float>(h.rows * h.cols, 9), std::vector<float>(h.vocab * h.cols)};
  for (int64_t row = 0; row < h.rows; row += step) {
    const int64_t count = std::min(step, h.rows - row);
    const Matrix memory = kept ? F32(logits.data(), count, h.vocab) : Matrix();
    backend->TokenLogprobs({.hidden = h.Hidden().Rows(row, count),
                            .head = h.Weight(),
                            .targets = &h.targets[row],
                            .temperature = temperature,
                            .logprob = &logprob[row],
                            .sums = &sums[row],
                            .logits = memory});
    backend->TokenLogprobsBackward({.hidden = h.Hidden().Rows(row, count),
                                    .head = h.Weight(),
                                    .packed = kept ? &packed : nullptr,
                                    .targets = &h.targets[row],
                                    .temperature = temperature,
                                    .sums = &sums[row],
                                    .dlogprob = &dlogprob[row],
                                    .dhidden = F32(&out.dhidden[row * h.cols], count, h.cols),
                                    .dhead = F32(out.dhead.data(), h.vocab, h.cols),
                                    .logits = memory});
  }
  return out;
}

std::vector<float> SparseNumbers(int64_t n) {
  std::vector<float> out = Numbers(n, 8);
  for (int64_t i = 0; i < n; i += 6) out[i] = 0;
  return out;
}

TEST(TokenLogprobs, BackwardEqualsTheReference) {
  const Head h(40, 19, 211);
  const float temperature = 0.7f;
  const std::vector<float> dlogprob = SparseNumbers(h.rows);
  std::vector<float> dhidden(h.rows * h.cols), dhead(h.vocab * h.cols);
  for (int64_t row = 0; row < h.rows; ++row) {
    if (h.targets[row] < 0 || dlogprob[row] == 0) continue;
    std::vector<float> z = h.Logits(row);
    const LogSumExp sum = ReferenceLogSumExp(z.data(), h.vocab, temperature);
    const float factor = dlogprob[row] / temperature;
    for (int64_t v = 0; v < h.vocab; ++v) {
      const float p = ReferenceExp(z[v] / temperature - sum.max - sum.log_sum);
      z[v] = ((v == h.targets[row] ? 1.0f : 0.0f) - p) * factor;
    }
    for (int64_t c = 0; c < h.cols; ++c) {
      std::vector<float> chunks(8);
      for (int i = 0; i < 8; ++i) {
        for (int64_t v = i * h.vocab / 8; v < (i + 1) * h.vocab / 8; ++v) {
          chunks[i] = std::fma(z[v], h.weight[v * h.cols + c], chunks[i]);
        }
      }
      dhidden[row * h.cols + c] = ReferenceTree(chunks);
      for (int64_t v = 0; v < h.vocab; ++v) {
        dhead[v * h.cols + c] = std::fma(z[v], h.hidden[row * h.ld() + c], dhead[v * h.cols + c]);
      }
    }
  }
  for (Isa isa : SupportedIsas()) {
    IsaScope scope(isa);
    const Gradients got = Backward(h, temperature, dlogprob, 2, 1000);
    EXPECT_EQ(Differences(got.dhidden, dhidden), 0) << Name(isa);
    EXPECT_EQ(Differences(got.dhead, dhead), 0) << Name(isa);
  }
}

TEST(TokenLogprobs, BackwardHasTheSameBitsHoweverTheRowsArePackedAndOnAnyThreads) {
  const Head h(300, 24, 711);
  const std::vector<float> dlogprob = SparseNumbers(h.rows);
  const Gradients want = Backward(h, 1.0f, dlogprob, 1, 1000);
  for (int threads : {1, 2, 3}) {
    for (int64_t step : {1, 3, 64, 77, 300}) {
      for (bool kept : {false, true}) {
        const Gradients got = Backward(h, 1.0f, dlogprob, threads, step, kept);
        EXPECT_EQ(Differences(got.dhidden, want.dhidden), 0) << threads << " threads, " << step << " rows";
        EXPECT_EQ(Differences(got.dhead, want.dhead), 0) << threads << " threads, " << step << " rows";
      }
    }
  }
}

TEST(TokenLogprobs, BackwardIsTheDerivative) {
  const Head h(6, 10, 50);
  const float temperature = 0.8f;
  const std::vector<float> dlogprob = Numbers(h.rows, 5);
  const Gradients got = Backward(h, temperature, dlogprob, 1, 100);
  // sum over rows of dlogprob * logprob, in f64.
  const auto loss = [&](const std::vector<double>& hidden, const std::vector<double>& weight) {
    double sum = 0;
    for (int64_t row = 0; row < h.rows; ++row) {
      if (h.targets[row] < 0) continue;
      double total = 0, mine = 0;
      for (int64_t v = 0; v < h.vocab; ++v) {
        double z = 0;
        for (int64_t c = 0; c < h.cols; ++c) z += hidden[row * h.ld() + c] * weight[v * h.cols + c];
        total += std::exp(z / temperature);
        if (v == h.targets[row]) mine = z / temperature;
      }
      sum += dlogprob[row] * (mine - std::log(total));
    }
    return sum;
  };
  std::vector<double> hidden(h.hidden.begin(), h.hidden.end()), weight(h.weight.begin(), h.weight.end());
  const auto slope = [&](double& x) {
    const double at = x, step = 1e-5;
    x = at + step;
    const double up = loss(hidden, weight);
    x = at - step;
    const double down = loss(hidden, weight);
    x = at;
    return (up - down) / (2 * step);
  };
  for (int64_t row = 0; row < h.rows; ++row) {
    for (int64_t c = 0; c < h.cols; ++c)
      EXPECT_NEAR(got.dhidden[row * h.cols + c], slope(hidden[row * h.ld() + c]), 2e-6);
  }
  for (int64_t i = 0; i < h.vocab * h.cols; i += 7) EXPECT_NEAR(got.dhead[i], slope(weight[i]), 2e-6);
}

}  // namespace
}  // namespace temper::kernels
