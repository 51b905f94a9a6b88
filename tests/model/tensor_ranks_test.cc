// SPDX-License-Identifier: Apache-2.0
// Ranks that share the products of each layer, the experts and the vocabulary (mesh.tp) have the bits of one:
// logprobs, gradients, logits through the cache. Each has its share of the weights and sends what the axis
// says.
#include <algorithm>
#include <utility>
#include <vector>

#include "comm/reduce.h"
#include "comm/threads.h"
#include "gtest/gtest.h"
#include "model/kv_cache.h"
#include "tests/model/odd_models.h"
#include "tests/model/slices.h"

namespace temper {
namespace {

// Sizes that four ranks share, and nothing else does well.
Json Shared(Json json, const char* sizes) {
  json.update(Json::parse(sizes));
  return json;
}
constexpr char kDeepseekSizes[] = R"({"num_attention_heads": 4, "num_key_value_heads": 4,
    "intermediate_size": 92, "moe_intermediate_size": 28})";
constexpr char kGroupedSizes[] = R"({"num_attention_heads": 12, "num_key_value_heads": 4,
    "intermediate_size": 92})";

Json Deepseek() { return Shared(OddDeepseek(), kDeepseekSizes); }
Json DeepseekV2() { return Shared(OddDeepseekV2(), kDeepseekSizes); }
Json Yarn() { return Shared(OddYarn(), kDeepseekSizes); }
Json Qwen2() { return Shared(OddQwen2(), kGroupedSizes); }
Json Windows() { return Shared(OddWindows(), kGroupedSizes); }
Json Qwen3() { return Shared(OddQwen3(), kGroupedSizes); }
Json Qwen3Moe() { return Shared(OddQwen3Moe(), kGroupedSizes); }

// Of 70 tokens and one of 1; the second has a span and a half.
Sequences SomeSequences() {
  return {RandomTokens(711, 70, 1), RandomTokens(711, 1, 2), RandomTokens(711, 1500, 3),
          RandomTokens(711, 9, 4)};
}

struct Outcome {
  std::vector<float> logprobs;
  Parameters gradients;
  std::vector<float> logits;
};

// A prompt in the cache, then a token, of three sequences.
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

Outcome ThereAndBack(CausalLm& model, TrainPass::Keep keep) {
  Outcome outcome;
  std::vector<float> gradients(model.weights().GradientFloats());
  model.weights().BindGradients(gradients.data());
  TrainPass pass(&model.stack(), keep);
  const Sequences sequences = SomeSequences();
  for (const Sequences& part :
       {Sequences(sequences.begin(), sequences.begin() + 3), Sequences{sequences[3]}}) {
    const Microbatch batch = Packed(part);
    std::vector<float> logprobs(batch.tokens.size()), dlogprobs(batch.tokens.size());
    for (size_t i = 0; i < dlogprobs.size(); ++i) dlogprobs[i] = 0.1f * static_cast<float>(i % 7) - 0.3f;
    pass.Logprobs(batch, 0.7f, logprobs.data());
    pass.Backward(dlogprobs.data());
    outcome.logprobs.insert(outcome.logprobs.end(), logprobs.begin(), logprobs.end());
  }
  model.weights().FoldTiedHead();
  std::vector<at::Tensor> values;
  for (const LayoutEntry& entry : model.parameters().layout().entries()) {
    at::Tensor value = NewHostTensor(entry.shape);
    std::copy_n(entry.trained ? gradients.data() + entry.offset : value.const_data_ptr<float>(),
                entry.elements, value.mutable_data_ptr<float>());
    values.push_back(value);
  }
  outcome.gradients = Parameters(model.parameters().layout(), std::move(values));
  outcome.logits = DecodeLogits(model);
  return outcome;
}

std::vector<float> Values(const at::Tensor& tensor) {
  return {tensor.const_data_ptr<float>(), tensor.const_data_ptr<float>() + tensor.numel()};
}

struct Model {
  const char* name;
  Json (*json)();
};
class TensorRanks : public ::testing::TestWithParam<Model> {};

TEST_P(TensorRanks, HaveTheBitsOfOne) {
  const ModelConfig config = Parsed(GetParam().json());
  const Parameters whole = RandomParameters(config);
  using enum TrainPass::Keep;
  Policy alone(GetParam().json(), 1);
  const Outcome expected = ThereAndBack(alone.model, kAll);
  for (const auto& [ranks, share_rows] : {std::pair(2, false), {4, false}, {2, true}, {4, true}}) {
    ThreadWorld world(ranks);
    world.Run([&, ranks = ranks, share_rows = share_rows](Communicator& comm) {
      const Mesh mesh = Mesh::Create({.tp = ranks, .sequence_parallel = share_rows}, comm).value();
      ThreadPool pool(1);
      kernels::CpuBackend backend(&pool);
      const Layout layout(config, mesh.place());
      EXPECT_LT(layout.elements(), whole.layout().elements() * 3 / 4);
      CausalLm model(config, Slice(whole, layout), &backend, false, mesh);
      const Outcome got = ThereAndBack(model, (ranks == 2) == share_rows ? kInputs : kAll);
      EXPECT_EQ(got.logprobs, expected.logprobs) << ranks << share_rows;
      EXPECT_EQ(got.logits, expected.logits) << ranks << share_rows;
      const Parameters gradients = Slice(expected.gradients, layout);
      for (const Parameter& parameter : got.gradients.list()) {
        if (!parameter.trained) continue;
        EXPECT_EQ(Values(parameter.value), Values(gradients[parameter.name]))
            << ranks << share_rows << " " << parameter.name;
      }
    });
  }
}

INSTANTIATE_TEST_SUITE_P(Models, TensorRanks,
                         ::testing::Values(Model{"deepseek_v3", Deepseek}, Model{"deepseek_v2", DeepseekV2},
                                           Model{"yarn", Yarn}, Model{"qwen2", Qwen2},
                                           Model{"windows", Windows}, Model{"qwen3", Qwen3},
                                           Model{"qwen3_moe", Qwen3Moe}),
                         [](const auto& info) { return std::string(info.param.name); });

// What all ranks of mesh.tp send for a pass and take at once for it.
struct PassCost {
  int64_t forward = 0, backward = 0, bytes = 0;
};
PassCost CostOf(const Json& json, const MeshSizes& sizes, const Microbatch& batch) {
  std::vector<PassCost> of_ranks(sizes.tp);
  ThreadWorld(static_cast<int>(sizes.tp)).Run([&](Communicator& comm) {
    const Mesh mesh = Mesh::Create(sizes, comm).value();
    Policy policy(json, mesh);
    std::vector<float> gradients(policy.model.weights().GradientFloats());
    policy.model.weights().BindGradients(gradients.data());
    TrainPass pass(&policy.model.stack(), TrainPass::Keep::kAll);
    std::vector<float> logprobs(batch.tokens.size());
    const Communicator& ranks = mesh.axis(Axis::kTp);
    const int64_t before = ranks.sent_bytes();
    pass.Logprobs(batch, 1, logprobs.data());
    const int64_t between = ranks.sent_bytes();
    pass.Backward(logprobs.data());
    of_ranks[comm.rank()] = {between - before, ranks.sent_bytes() - between, pass.bytes()};
  });
  PassCost cost;
  for (const PassCost& one : of_ranks) {
    cost.forward += one.forward;
    cost.backward += one.backward;
    cost.bytes = std::max(cost.bytes, one.bytes);
  }
  return cost;
}

// Forward a block's rows are gathered and its sums scattered, which is what one sum for all sends; back the
// rows are gathered once more, and a norm's gradient goes on through the ranks. The embedding's rows go to
// who needs them alone, and the head's rows are gathered. The residual stream is shared out.
TEST(TensorRanksThatShareRows, SendWhatTheAxisSaysAndKeepTheirShare) {
  Json json = Qwen2();
  json["num_hidden_layers"] = 8;
  const ModelConfig config = Parsed(json);
  const Microbatch batch = Packed({RandomTokens(711, 230, 1), RandomTokens(711, 171, 2)});
  const auto rows = static_cast<int64_t>(batch.tokens.size());
  const int64_t width = config.hidden_size * 4, blocks = 2 * config.num_layers;
  for (const int64_t ranks : {2, 4}) {
    const PassCost whole = CostOf(json, {.tp = ranks}, batch);
    const PassCost shared = CostOf(json, {.tp = ranks, .sequence_parallel = true}, batch);
    int64_t sent_rows = 0;  // of the embedding
    for (int64_t r = 0; r < ranks; ++r) {
      const Share tokens = ShareOf(rows, r, ranks), embedding = ShareOf(711, r, ranks);
      for (int64_t i = tokens.begin; i < tokens.end; ++i)
        sent_rows += batch.tokens[i] < embedding.begin || batch.tokens[i] >= embedding.end ? 1 : 0;
    }
    EXPECT_EQ(shared.forward, whole.forward + sent_rows * width);
    const int64_t gathered = (ranks - 1) * rows * width, chain = 2 * (ranks - 1) * width;
    EXPECT_EQ(shared.backward, whole.backward + blocks * gathered + (blocks + 1) * chain + sent_rows * width);
    // But for what a block takes while it runs.
    EXPECT_GE(whole.bytes - shared.bytes, (blocks - 3) * (rows - rows / ranks - 1) * width);
  }
}

}  // namespace
}  // namespace temper
