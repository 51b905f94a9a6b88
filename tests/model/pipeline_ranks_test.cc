// SPDX-License-Identifier: Apache-2.0
// Ranks that share the layers (mesh.pp), in one chunk each or in several, have the bits of one: logprobs,
// gradients, logits through the cache. Each has its share of the weights and of the cache.
#include <algorithm>

#include "comm/threads.h"
#include "gtest/gtest.h"
#include "model/kv_cache.h"
#include "tests/model/odd_models.h"

namespace temper {
namespace {

struct Outcome {
  std::vector<float> logprobs;
  std::vector<double> entropies;
  Parameters gradients;
  std::vector<float> logits;
  int64_t sent = 0;  // to its neighbours, but for the logits
};

// Prompts of 5, 70 and 1 tokens in the cache, then a token of each.
std::vector<float> DecodeLogits(CausalLm& model) {
  const KvCache cache(model.config(), 5, model.backend(), model.mesh().place());
  const std::vector<std::vector<int32_t>> pages = {{4}, {1, 3}, {0}};
  const std::vector<int64_t> lengths = {5, 70, 1};
  std::vector<float> all;
  std::vector<int64_t> done(3);
  for (int step = 0; step < 2; ++step) {
    TokenBatch batch;
    std::vector<int32_t> rows;
    for (size_t s = 0; s < 3; ++s) {
      const int64_t count = step == 0 ? lengths[s] : 1;
      for (const int32_t token : RandomTokens(711, count, 10 * s + step)) batch.tokens.push_back(token);
      batch.sequences.push_back({count, done[s], pages[s]});
      done[s] += count;
      rows.push_back(static_cast<int32_t>(batch.tokens.size()) - 1);
    }
    const Matrix logits = model.Forward(batch, cache, rows);
    all.insert(all.end(), logits.f32(), logits.f32() + logits.rows * logits.cols);
  }
  return all;
}

std::vector<Microbatch> Microbatches() {
  return {Packed({RandomTokens(711, 70, 1), RandomTokens(711, 1, 2)}), Packed({RandomTokens(711, 130, 3)}),
          Packed({RandomTokens(711, 9, 4), RandomTokens(711, 1, 5), RandomTokens(711, 33, 6)})};
}

std::vector<float> Slopes(size_t count) {
  std::vector<float> slopes(count);
  for (size_t i = 0; i < count; ++i) slopes[i] = 0.1f * static_cast<float>(i % 7) - 0.3f;
  return slopes;
}

// All microbatches forward through all chunks, then all back; with `later` the weights' gradients at the end.
Outcome ThereAndBack(CausalLm& model, TrainPass::Keep keep, bool later) {
  Outcome outcome;
  Stack& stack = model.stack();
  const int64_t sent = stack.pipeline().sent_bytes();
  const int ranks = stack.pipeline().size(), rank = stack.pipeline().rank();
  const int next = (rank + 1) % ranks, before = (rank + ranks - 1) % ranks;
  std::vector<float> gradients(model.weights().GradientFloats());
  model.weights().BindGradients(gradients.data());
  const std::vector<Microbatch> batches = Microbatches();
  const size_t chunks = stack.chunks().size();
  std::vector<std::vector<std::unique_ptr<TrainPass>>> passes(batches.size());
  for (size_t m = 0; m < batches.size(); ++m) {
    for (size_t chunk = 0; chunk < chunks; ++chunk) {
      const Stack::Chunk& at = stack.chunks()[chunk];
      passes[m].push_back(std::make_unique<TrainPass>(&stack, keep, chunk));
      TrainPass& pass = *passes[m].back();
      pass.Begin(batches[m]);
      if (!at.embeds) stack.ReceiveRows(pass.input(), before, 7);
      const Matrix out = pass.Forward();
      if (!at.predicts) {
        stack.SendRows(out, next, 7);
        continue;
      }
      std::vector<float> logprobs(batches[m].tokens.size());
      std::vector<double> entropies(batches[m].tokens.size());
      pass.Logprobs(0.7f, logprobs.data(), entropies.data());
      outcome.logprobs.insert(outcome.logprobs.end(), logprobs.begin(), logprobs.end());
      outcome.entropies.insert(outcome.entropies.end(), entropies.begin(), entropies.end());
    }
  }
  for (size_t m = 0; m < batches.size(); ++m) {
    for (size_t chunk = chunks; chunk-- > 0;) {
      const Stack::Chunk& at = stack.chunks()[chunk];
      TrainPass& pass = *passes[m][chunk];
      if (at.predicts) {
        pass.StartBackward(Slopes(batches[m].tokens.size()).data());
      } else {
        stack.ReceiveRows(pass.gradient(), next, 8);
      }
      const Matrix dx = pass.Backward(later);
      if (!at.embeds) stack.SendRows(dx, before, 8);
    }
  }
  for (auto& of_batch : passes) {
    for (auto& pass : of_batch) {
      if (later) pass->BackwardWeights();
    }
  }
  outcome.sent = stack.pipeline().sent_bytes() - sent;
  if (ranks == 1) model.weights().FoldTiedHead();
  std::vector<at::Tensor> values;
  for (const LayoutEntry& entry : model.parameters().layout().entries()) {
    values.push_back(NewHostTensor(entry.shape).zero_());
    if (entry.trained)
      std::copy_n(gradients.data() + entry.offset, entry.elements, values.back().mutable_data_ptr<float>());
  }
  outcome.gradients = Parameters(model.parameters().layout(), std::move(values));
  outcome.logits = DecodeLogits(model);
  return outcome;
}

// Five layers, so that two ranks have unequal shares.
Json Deep(Json json) { return With(std::move(json), "num_hidden_layers", 5); }
Json DeepDeepseek() { return Deep(OddDeepseek()); }
Json DeepV2() { return Deep(OddDeepseekV2()); }
Json DeepQwen3() { return Deep(OddQwen3()); }
Json DeepTied() { return Deep(OddQwen2()); }

struct Model {
  const char* name;
  Json (*json)();
};
class PipelineRanks : public ::testing::TestWithParam<Model> {};

TEST_P(PipelineRanks, HaveTheBitsOfOne) {
  const Json json = GetParam().json();
  const ModelConfig config = Parsed(json);
  Policy alone(json, 1);
  const Outcome expected = ThereAndBack(alone.model, TrainPass::Keep::kAll, /*later=*/false);
  using enum TrainPass::Keep;
  struct Case {
    MeshSizes sizes;
    TrainPass::Keep keep;
    bool later;
  };
  for (const Case& each : {Case{{.pp = 1}, kInputs, true}, Case{{.pp = 2}, kAll, false},
                           Case{{.pp = 2, .pp_chunks = 2}, kAttention, true}, Case{{.pp = 5}, kAll, true},
                           Case{{.pp = 3}, kInputs, true}}) {
    const int ranks = static_cast<int>(each.sizes.pp);
    std::vector<int64_t> elements(ranks), cache(ranks);
    ThreadWorld world(ranks);
    world.Run([&](Communicator& comm) {
      const Mesh mesh = Mesh::Create(each.sizes, comm).value();
      Policy policy(json, mesh);
      const Outcome got = ThereAndBack(policy.model, each.keep, each.later);
      // Of each of 244 tokens a row over each border between chunks, and one back.
      int64_t borders = 0;
      for (const Stack::Chunk& chunk : policy.model.stack().chunks())
        borders += (chunk.predicts ? 0 : 1) + (chunk.embeds ? 0 : 1);
      EXPECT_EQ(got.sent, borders * 244 * config.hidden_size * 4);
      const std::string what = std::to_string(comm.rank()) + " of " + std::to_string(ranks) + ": ";
      if (comm.rank() == ranks - 1) {
        EXPECT_EQ(got.logprobs, expected.logprobs) << what;
        EXPECT_EQ(got.entropies, expected.entropies) << what;
        EXPECT_EQ(got.logits, expected.logits) << what;
      } else {
        EXPECT_TRUE(got.logits.empty());
      }
      for (const Parameter& mine : got.gradients.list()) {
        // Of a tied head each end has its part, which the update adds.
        if (ranks > 1 && config.tie_word_embeddings && mine.layer < 0) continue;
        EXPECT_TRUE(mine.value.equal(expected.gradients[mine.name])) << what << mine.name;
      }
      elements[comm.rank()] = policy.model.parameters().layout().elements();
      cache[comm.rank()] = KvCache(config, 3, policy.model.backend(), mesh.place()).bytes();
    });
    int64_t all = 0, all_cache = 0;
    for (int rank = 0; rank < ranks; ++rank) {
      all += elements[rank];
      all_cache += cache[rank];
      EXPECT_LE(cache[rank], 3 * KvCache::BytesPerPage(config, {each.sizes, {}}));
    }
    const int64_t twice =
        ranks > 1 && config.tie_word_embeddings ? config.vocab_size * config.hidden_size : 0;
    EXPECT_EQ(all, Layout(config).elements() + twice) << "each weight is on one rank, but a tied head";
    EXPECT_EQ(all_cache, 3 * KvCache::BytesPerPage(config)) << "and each layer of the cache";
  }
}

INSTANTIATE_TEST_SUITE_P(Models, PipelineRanks,
                         ::testing::Values(Model{"deepseek_v3", DeepDeepseek}, Model{"deepseek_v2", DeepV2},
                                           Model{"qwen3", DeepQwen3}, Model{"qwen2_tied", DeepTied}),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace temper
