// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/sample.h"

#include <limits>

#include "tests/kernels/cuda/hostile.h"

namespace temper::kernels {
namespace {

// The tokens that the simulation draws for a task of the host's.
std::vector<SampledToken> Simulated(const SampleTask& task, sim::Stream& stream) {
  const int64_t rows = task.logits.rows, vocab = task.logits.cols;
  const SampleArrays arrays(task.parameters);
  std::vector<SampledToken> tokens(rows);
  std::vector<double> scratch(SampleScratchBytes(rows, vocab) / 8 + 1, -1.0);
  sim::Sample(arrays.With({.logits = task.logits,
                           .uniforms = task.uniforms.data(),
                           .tokens = tokens.data(),
                           .scratch = scratch.data()}),
              stream);
  return tokens;
}

void ExpectTheCpus(Grid logits, const std::vector<SampleParameters>& parameters,
                   const std::vector<double>& uniforms) {
  TestBackend cpu(1);
  std::vector<SampledToken> expected(logits.rows), tokens;
  SampleTask task{logits.matrix(), parameters, uniforms, absl::MakeSpan(expected)};
  cpu->Sample(task);
  UnderHostileStreams([&](sim::Stream& stream) { tokens = Simulated(task, stream); },
                      [&] {
                        for (int64_t row = 0; row < logits.rows; ++row) {
                          EXPECT_EQ(tokens[row].id, expected[row].id) << logits.cols << ", row " << row;
                          EXPECT_TRUE(SameBits(tokens[row].logprob, expected[row].logprob)) << row;
                          EXPECT_TRUE(SameBits(tokens[row].entropy, expected[row].entropy)) << row;
                        }
                      });
}

// Many logits are equal, so that ids decide, and some are -inf.
Grid Logits(int64_t rows, int64_t vocab, float size) {
  Grid logits(rows, vocab, 1, 1);
  for (float& x : logits.data) x = std::nearbyint(x * size * 4) / 4;
  for (int64_t i = 0; i < vocab - 2; i += 7) logits.data[i] = -std::numeric_limits<float>::infinity();
  return logits;
}

TEST(SimulatedSample, TokensOfTheWholeDistributionAreTheCpus) {
  for (const int64_t vocab : {1, 5, 2100}) {
    ExpectTheCpus(Logits(4, vocab, 3), {{}, {.temperature = 0.7f}, {.temperature = 1.5f}, {.temperature = 0}},
                  {0.0, 0.37, 0x1.fffffffffffffp-1, 0.5});
  }
}

TEST(SimulatedSample, TokensOfTruncatedDistributionsAreTheCpus) {
  for (const int64_t vocab : {5, 1100}) {
    ExpectTheCpus(Logits(5, vocab, 3),
                  {{.top_k = 3},
                   {.temperature = 0.6f, .top_p = 0.9f},
                   {.min_p = 0.1f},
                   {.temperature = 1.2f, .top_k = 40, .top_p = 0.8f, .min_p = 0.01f},
                   {.top_k = 1, .top_p = 0.0f}},
                  {0.9, 0.999, 0.25, 0.6, 0.1});
  }
  // A nucleus of more ids than are sorted at a time.
  ExpectTheCpus(Logits(1, 1100, 0.01f), {{.top_k = 900, .top_p = 0.99f}}, {0.95});
}

TEST(SimulatedSample, BannedIdsAreNeverDrawn) {
  const std::vector<int32_t> some = {0, 1, 4, 4}, many = {2, 3, 1, 0};
  for (const int64_t vocab : {5, 711}) {
    Grid logits = Logits(4, vocab, 3);
    for (int row = 0; row < 4; ++row) logits.matrix().Row(row)[1] = 40;  // the others are nothing beside it
    ExpectTheCpus(logits,
                  {{.banned = some},
                   {.temperature = 0, .banned = some},
                   {.top_k = 2, .banned = many},
                   {.top_p = 0.5f, .banned = many}},
                  {0.9, 0.5, 0.7, 0.2});
  }
}

}  // namespace
}  // namespace temper::kernels
