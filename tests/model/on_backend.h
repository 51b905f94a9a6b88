// SPDX-License-Identifier: Apache-2.0
// What a policy of tests/model/odd_models.h does on any backend: the same calls, whose results are compared.
#pragma once

#include <algorithm>
#include <memory>
#include <numeric>
#include <vector>

#include "gtest/gtest.h"
#include "model/kv_cache.h"
#include "tests/model/odd_models.h"

namespace temper {

constexpr int64_t kVocabulary = 711;

// Numbers in a backend's memory.
struct OnBackend {
  OnBackend(kernels::Backend& backend, const std::vector<float>& host)
      : backend(backend), memory(backend.Allocate(host.size() * 4)), size(static_cast<int64_t>(host.size())) {
    backend.CopyFromHost(host.data(), flat());
  }
  float* data() const { return static_cast<float*>(memory.get()); }
  Matrix flat() const { return kernels::F32(data(), 1, size); }
  Matrix matrix(int64_t cols) const { return kernels::F32(data(), size / cols, cols); }
  std::vector<float> host() const {
    std::vector<float> out(size);
    backend.CopyToHost(flat(), out.data());
    return out;
  }

  kernels::Backend& backend;
  const std::shared_ptr<void> memory;
  const int64_t size;
};

// What tokens are drawn with, row by row.
struct Draws {
  absl::Span<const kernels::SampleParameters> parameters;
  absl::Span<const double> uniforms;
};
// A token of each row of these logits, which lie one row behind the other.
inline std::vector<kernels::SampledToken> Sampled(kernels::Backend& backend, const std::vector<float>& logits,
                                                  const Draws& draws) {
  const OnBackend z(backend, logits);
  std::vector<kernels::SampledToken> tokens(draws.parameters.size());
  backend.Sample({z.matrix(kVocabulary), draws.parameters, draws.uniforms, absl::MakeSpan(tokens)});
  return tokens;
}

struct Results {
  std::vector<float> logprobs;
  std::vector<double> entropies;
  std::vector<float> gradients;
};

// Logprobs and entropies of a microbatch, some of whose tokens do not count, and two microbatches' gradients.
inline Results Train(CausalLm& model, bool recompute, const std::vector<int64_t>& lengths = {70, 1, 9, 65}) {
  Sequences sequences;
  for (const int64_t length : lengths)
    sequences.push_back(RandomTokens(kVocabulary, length, sequences.size() + 1));
  Microbatch batch = Packed(sequences);
  // The second sequence goes on with the first, and so does the third of four.
  batch.positions.resize(lengths.size());
  for (size_t i = 1; i < lengths.size() - 1; ++i)
    if (i == 1 || lengths.size() > 3) batch.positions[i] = lengths[0];
  for (size_t i = 0; i < batch.targets.size(); i += 3) batch.targets[i] = -1;
  Results results;
  results.logprobs.resize(batch.tokens.size(), 7.0f);
  results.entropies.resize(batch.tokens.size(), 7.0);
  std::vector<float> dlogprobs(batch.tokens.size());
  for (size_t i = 0; i < dlogprobs.size(); ++i) dlogprobs[i] = 0.25f * static_cast<float>(i % 5) - 0.4f;
  const OnBackend gradients(model.backend(), std::vector<float>(model.weights().GradientFloats()));
  model.weights().BindGradients(gradients.data());
  TrainPass pass(&model.stack(), recompute ? TrainPass::Keep::kInputs : TrainPass::Keep::kAll);
  for (int times = 0; times < 2; ++times) {
    pass.Logprobs(batch, 0.7f, results.logprobs.data(), results.entropies.data());
    pass.Backward(dlogprobs.data());
  }
  model.weights().FoldTiedHead();
  results.gradients = gradients.host();
  for (size_t i = 0; i < batch.targets.size(); ++i)
    EXPECT_EQ(results.logprobs[i] == 0, batch.targets[i] < 0) << i;
  return results;
}

// Two samples of one prompt of 70 tokens: its full page is shared, the other copied; prefill in chunks of 33,
// then decoding beside another prompt's prefill. All logits, pass by pass.
inline std::vector<float> Generate(CausalLm& model) {
  KvCache cache(model.config(), 7, model.backend());
  const std::vector<int32_t> prompt = RandomTokens(kVocabulary, 70, 1),
                             other = RandomTokens(kVocabulary, 5, 2);
  std::vector<float> all;
  const auto pass = [&](const TokenBatch& batch, std::vector<int32_t> rows) {
    const Matrix logits = model.Forward(batch, cache, rows);
    const size_t before = all.size();
    all.resize(before + rows.size() * kVocabulary);
    if (logits) model.backend().CopyToHost(logits, all.data() + before);
  };
  const std::vector<int32_t> pages = {4, 2};
  for (int64_t begin = 0; begin < 70; begin += 33) {
    TokenBatch batch;
    const int64_t rows = std::min<int64_t>(33, 70 - begin);
    batch.tokens.assign(prompt.begin() + begin, prompt.begin() + begin + rows);
    batch.sequences.push_back({rows, begin, pages});
    pass(batch,
         begin + rows == 70 ? std::vector<int32_t>{static_cast<int32_t>(rows) - 1} : std::vector<int32_t>{});
  }
  const std::vector<int32_t> first = {4, 0}, second = {4, 6}, third = {5};
  cache.CopyPage(2, 0);
  cache.CopyPage(2, 6);
  for (int64_t i = 0; i < 3; ++i) {
    TokenBatch batch;
    batch.tokens = {static_cast<int32_t>(10 + i), static_cast<int32_t>(20 + i)};
    batch.sequences = {{1, 70 + i, first}, {1, 70 + i, second}};
    if (i == 1) {
      batch.tokens.insert(batch.tokens.end(), other.begin(), other.end());
      batch.sequences.push_back({5, 0, third});
    }
    std::vector<int32_t> rows(batch.tokens.size());
    std::iota(rows.begin(), rows.end(), 0);
    pass(batch, rows);
  }
  return all;
}

}  // namespace temper
