// SPDX-License-Identifier: Apache-2.0
// E1 below the engine: a token's logprob is a function of the weights and the tokens before it, bit for bit.
// And of E3: gradients do not see microbatches, threads or recomputation.
#include <algorithm>
#include <numeric>

#include "gtest/gtest.h"
#include "kernels/isa.h"
#include "kernels/token_logprob.h"
#include "model/kv_cache.h"
#include "tests/kernels/reference.h"
#include "tests/model/odd_models.h"

namespace temper {
namespace {

using kernels::FastIsas;
using kernels::Isa;
using kernels::IsaScope;

constexpr int64_t kPage = kernels::kAttentionBlock;

// The reference: each sequence alone in the trainer's forward.
std::vector<float> OneByOne(CausalLm& model, const Sequences& sequences, float temperature) {
  std::vector<float> all;
  for (const std::vector<int32_t>& sequence : sequences) {
    const std::vector<float> one = PackedLogprobs(model, {sequence}, temperature);
    all.insert(all.end(), one.begin(), one.end());
  }
  return all;
}

// The same through the paged cache, as the engine does: a pass takes up to `chunk` tokens of every sequence
// that has some left (1: decode). Pages lie in no order. In the order of PackedLogprobs.
std::vector<float> ThroughTheCache(CausalLm& model, const Sequences& sequences, float temperature,
                                   int64_t chunk) {
  const int64_t vocabulary = model.config().vocab_size;
  std::vector<std::vector<int32_t>> pages(sequences.size());
  int32_t count = 0;
  for (size_t s = 0; s < sequences.size(); ++s) {
    for (size_t p = 0; p < sequences[s].size(); p += kPage) pages[s].push_back(count++);
  }
  for (auto& list : pages) {
    for (int32_t& page : list) page = count - 1 - page;
  }
  const KvCache cache(model.config(), count, model.backend());
  std::vector<float> all(Packed(sequences).tokens.size());
  for (int64_t done = 0;; done += chunk) {
    TokenBatch batch;
    for (size_t s = 0; s < sequences.size(); ++s) {
      const std::vector<int32_t>& tokens = sequences[s];
      const int64_t rows = std::min(chunk, static_cast<int64_t>(tokens.size()) - done);
      if (rows <= 0) continue;
      batch.tokens.insert(batch.tokens.end(), tokens.begin() + done, tokens.begin() + done + rows);
      batch.sequences.push_back({rows, done, pages[s]});
    }
    if (batch.tokens.empty()) return all;
    std::vector<int32_t> rows(batch.tokens.size());
    std::iota(rows.begin(), rows.end(), 0);
    const float* row = model.Forward(batch, cache, rows).f32();
    int64_t first = 0;
    for (const std::vector<int32_t>& tokens : sequences) {
      const int64_t length = static_cast<int64_t>(tokens.size());
      for (int64_t i = done; i < std::min(done + chunk, length); ++i, row += vocabulary) {
        if (i + 1 == length) continue;
        const kernels::LogitRow logits{row, vocabulary, temperature};
        all[first + i] = kernels::RowLogprob(logits, tokens[i + 1], kernels::RowLogSumExp(logits));
      }
      first += length;
    }
  }
}

struct Model {
  const char* name;
  Json (*json)();
  Json (*tiny)();
};
class Exactness : public ::testing::TestWithParam<Model> {};

// Decoding them, the batch has every size from 66 to 1.
Sequences OfAllLengths(int64_t vocabulary) {
  Sequences sequences;
  for (int64_t i = 0; i < 65; ++i) sequences.push_back(RandomTokens(vocabulary, (i * 27) % 65 + 1, i));
  sequences.push_back(RandomTokens(vocabulary, 70, 65));
  return sequences;
}

TEST_P(Exactness, DecodePrefillAndThePackedForwardAgree) {
  const Sequences sequences = OfAllLengths(711);
  Policy reference(GetParam().json(), 1);
  const std::vector<float> expected = OneByOne(reference.model, sequences, 0.7f);
  const std::vector<Isa> isas = FastIsas();
  const int64_t chunks[] = {1, 5, 64, 1000};
  for (int threads : {1, 2, 3}) {
    const IsaScope scope(isas[threads % isas.size()]);
    Policy policy(GetParam().json(), threads);
    EXPECT_EQ(PackedLogprobs(policy.model, sequences, 0.7f), expected) << threads;
    for (int64_t chunk : {chunks[threads - 1], chunks[threads]}) {
      EXPECT_EQ(ThroughTheCache(policy.model, sequences, 0.7f, chunk), expected) << threads << ", " << chunk;
    }
  }
}

TEST_P(Exactness, DecodingHasTheSameBitsOnEveryThreadCountAndInstructionSet) {
  const Sequences sequences = {RandomTokens(711, 70, 1), RandomTokens(711, 1, 2), RandomTokens(711, 9, 3)};
  Policy reference(GetParam().json(), 1);
  const std::vector<float> expected = OneByOne(reference.model, sequences, 1.0f);
  for (Isa isa : FastIsas()) {
    for (int threads : {1, 2, 3}) {
      const IsaScope scope(isa);
      Policy policy(GetParam().json(), threads);
      EXPECT_EQ(ThroughTheCache(policy.model, sequences, 1.0f, 1), expected) << Name(isa) << ", " << threads;
    }
  }
}

TEST_P(Exactness, ThePlainPathHasTheSameBits) {
  const Sequences sequences = {RandomTokens(37, 3, 1), RandomTokens(37, 1, 2), RandomTokens(37, 66, 3)};
  Policy policy(GetParam().tiny());
  const std::vector<float> expected = OneByOne(policy.model, sequences, 1.0f);
  const IsaScope scope(Isa::kPlain);
  Policy plain(GetParam().tiny());
  EXPECT_EQ(PackedLogprobs(plain.model, sequences, 1.0f), expected);
  EXPECT_EQ(ThroughTheCache(plain.model, sequences, 1.0f, 1), expected);
}

TEST_P(Exactness, ContextsOverTwoAttentionSplitsAgree) {
  Sequences sequences = {RandomTokens(711, 2 * kernels::kAttentionSplit + 5, 1)};
  Policy policy(GetParam().json());
  const std::vector<float> expected = PackedLogprobs(policy.model, sequences, 1.0f);
  EXPECT_EQ(ThroughTheCache(policy.model, sequences, 1.0f, 680), expected);
  sequences.insert(sequences.begin(), RandomTokens(711, 1100, 2));
  const std::vector<float> packed = PackedLogprobs(policy.model, sequences, 1.0f);
  EXPECT_EQ(std::vector<float>(packed.begin() + 1100, packed.end()), expected);
}

// Gradients of a sum over all tokens, sequences split into microbatches of `sizes`.
std::vector<float> Gradients(const Model& which, const Sequences& sequences, const std::vector<size_t>& sizes,
                             int threads, TrainPass::Keep keep) {
  Policy policy(which.json(), threads);
  CausalLm& model = policy.model;
  std::vector<float> gradients(model.weights().GradientFloats());
  model.weights().BindGradients(gradients.data());
  TrainPass pass(&model.stack(), keep);
  auto next = sequences.begin();
  int64_t token = 0;
  for (size_t size : sizes) {
    const Microbatch batch = Packed(Sequences(next, next + static_cast<int64_t>(size)));
    std::vector<float> logprobs(batch.tokens.size()), dlogprobs(batch.tokens.size());
    for (float& d : dlogprobs) d = 0.1f * static_cast<float>(token++ % 7 - 3);
    pass.Logprobs(batch, 0.7f, logprobs.data());
    pass.Backward(dlogprobs.data());
    next += static_cast<int64_t>(size);
  }
  model.weights().FoldTiedHead();
  return gradients;
}

TEST_P(Exactness, GradientsDoNotSeeMicrobatchesThreadsOrRecomputation) {
  Sequences sequences;
  for (int64_t length : {3, 70, 1, 20, 33, 2}) sequences.push_back(RandomTokens(711, length, length));
  using enum TrainPass::Keep;
  const std::vector<float> expected = Gradients(GetParam(), sequences, {6}, 1, kAll);
  EXPECT_NE(std::count(expected.begin(), expected.end(), 0.0f), static_cast<int64_t>(expected.size()));
  EXPECT_EQ(Gradients(GetParam(), sequences, {1, 1, 1, 1, 1, 1}, 2, kAll), expected);
  EXPECT_EQ(Gradients(GetParam(), sequences, {2, 4}, 3, kInputs), expected);
  EXPECT_EQ(Gradients(GetParam(), sequences, {6}, 2, kInputs), expected);
  EXPECT_EQ(Gradients(GetParam(), sequences, {3, 3}, 2, kAttention), expected);
}

// Keys and values rounded to bf16, wherever they are used.
template <Json (*kModel)()>
Json Bf16Cache() {
  return With(kModel(), "temper_cache", "bf16");
}

INSTANTIATE_TEST_SUITE_P(
    Models, Exactness,
    ::testing::Values(Model{"deepseek_v3", OddDeepseek, TinyDeepseek},
                      Model{"deepseek_v3_yarn", OddYarn, TinyDeepseek}, Model{"qwen2", OddQwen2, TinyQwen2},
                      Model{"llama", OddLlama, TinyLlama},
                      Model{"deepseek_v2", OddDeepseekV2, TinyDeepseekV2},
                      Model{"deepseek_v2_lite", OddDeepseekV2Lite, TinyDeepseekV2},
                      Model{"windows", OddWindows, TinyMistral}, Model{"mistral", OddMistral, TinyMistral},
                      Model{"qwen3", OddQwen3, TinyQwen3}, Model{"qwen3_moe", OddQwen3Moe, TinyQwen3Moe},
                      Model{"deepseek_v3_bf16_cache", Bf16Cache<OddDeepseek>, Bf16Cache<TinyDeepseek>},
                      Model{"qwen3_bf16_cache", Bf16Cache<OddQwen3>, Bf16Cache<TinyQwen3>},
                      Model{"windows_bf16_cache", Bf16Cache<OddWindows>, Bf16Cache<TinyMistral>}),
    [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace temper
