// SPDX-License-Identifier: Apache-2.0
// LibTorch's ops, CUDA's way, beside the kernels: the same functions up to rounding. On the CPU, and where
// there is a GPU on it too.
#include "model/torch_ops.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "ATen/Parallel.h"
#include "ATen/ops/empty.h"
#include "ATen/ops/empty_like.h"
#include "gtest/gtest.h"
#include "kernels/token_logprob.h"
#include "model/kv_cache.h"
#include "tests/model/odd_models.h"

namespace temper {
namespace {

constexpr int64_t kVocabulary = 711;
constexpr int64_t kPage = kernels::kAttentionBlock;

struct LibraryPolicy : Policy {
  LibraryPolicy(const Json& json, at::Device device) : Policy(json, 2, device) {
    at::set_num_threads(1);
    model.UseLibraryOps(true);
    EXPECT_FALSE(model.exact());
  }
};

// The largest difference over the largest number.
template <class T>
double RelativeError(const std::vector<T>& got, const std::vector<T>& expected) {
  EXPECT_EQ(got.size(), expected.size());
  double difference = 0, size = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_TRUE(std::isfinite(got[i])) << i;
    difference = std::max(difference, std::abs(static_cast<double>(got[i]) - expected[i]));
    size = std::max(size, std::abs(static_cast<double>(expected[i])));
  }
  EXPECT_GT(size, 0);
  return difference / size;
}

class TorchOps : public ::testing::TestWithParam<std::tuple<Json, at::Device>> {
 protected:
  TorchOps() : kernels(std::get<0>(GetParam())), library(std::get<0>(GetParam()), std::get<1>(GetParam())) {}

  Policy kernels;
  LibraryPolicy library;
};

std::vector<float> OnHost(const at::Tensor& tensor) {
  const at::Tensor host = tensor.cpu();
  return std::vector<float>(host.const_data_ptr<float>(), host.const_data_ptr<float>() + host.numel());
}
at::Tensor OnDevice(const std::vector<float>& values, at::Device device) {
  at::Tensor host = at::empty({static_cast<int64_t>(values.size())}, at::kFloat);
  std::copy(values.begin(), values.end(), host.mutable_data_ptr<float>());
  return host.to(device);
}

struct Results {
  std::vector<float> logprobs;
  std::vector<double> entropies;
  std::vector<float> gradients;
};

// Logprobs and entropies of a microbatch, some of whose tokens do not count, and two microbatches' gradients.
Results Train(CausalLm& model, bool recompute) {
  Microbatch batch = Packed({RandomTokens(kVocabulary, 70, 1), RandomTokens(kVocabulary, 1, 2),
                             RandomTokens(kVocabulary, 9, 3), RandomTokens(kVocabulary, 65, 4)});
  for (size_t i = 0; i < batch.targets.size(); i += 3) batch.targets[i] = -1;
  Results results;
  results.logprobs.resize(batch.tokens.size(), 7.0f);
  results.entropies.resize(batch.tokens.size(), 7.0);
  std::vector<float> dlogprobs(batch.tokens.size());
  for (size_t i = 0; i < dlogprobs.size(); ++i) dlogprobs[i] = 0.25f * static_cast<float>(i % 5) - 0.4f;
  const at::Tensor gradients = OnDevice(std::vector<float>(model.GradientFloats()), model.device());
  model.BindGradients(gradients.mutable_data_ptr<float>());
  Tape tape(recompute, model.device());
  for (int times = 0; times < 2; ++times) {
    model.Logprobs(batch, 0.7f, results.logprobs.data(), results.entropies.data(), &tape);
    model.Backward(tape, dlogprobs.data());
  }
  model.FoldTiedHead();
  results.gradients = OnHost(gradients);
  for (size_t i = 0; i < batch.targets.size(); ++i)
    EXPECT_EQ(results.logprobs[i] == 0, batch.targets[i] < 0) << i;
  return results;
}

TEST_P(TorchOps, HaveTheKernelsLogprobsEntropiesAndGradients) {
  const Results expected = Train(kernels.model, false);
  for (bool recompute : {false, true}) {
    const Results got = Train(library.model, recompute);
    EXPECT_NE(got.gradients, expected.gradients) << "the kernels ran on both sides";
    EXPECT_LT(RelativeError(got.logprobs, expected.logprobs), 1e-5);
    EXPECT_LT(RelativeError(got.entropies, expected.entropies), 1e-5);
    // Each parameter against its own size.
    for (const LayoutEntry& entry : kernels.model.parameters().layout().entries()) {
      if (!entry.trained) continue;
      const auto mine = got.gradients.begin() + entry.offset;
      const auto theirs = expected.gradients.begin() + entry.offset;
      EXPECT_LT(RelativeError(std::vector<float>(mine, mine + entry.elements),
                              std::vector<float>(theirs, theirs + entry.elements)),
                3e-5)
          << entry.name;
    }
  }
}

// Two samples of one prompt of 70 tokens: its full page is shared, the other copied; prefill in chunks of 33,
// then decoding beside another prompt's prefill. All logits, pass by pass.
std::vector<float> Generate(CausalLm& model) {
  const KvCache cache(model.config(), 7, model.device());
  KvCache& writable = const_cast<KvCache&>(cache);
  const std::vector<int32_t> prompt = RandomTokens(kVocabulary, 70, 1),
                             other = RandomTokens(kVocabulary, 5, 2);
  std::vector<float> all;
  const auto pass = [&](const TokenBatch& batch, std::vector<int32_t> rows) {
    std::vector<float> logits(rows.size() * kVocabulary);
    model.Forward(batch, cache, rows, logits.data());
    all.insert(all.end(), logits.begin(), logits.end());
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
  writable.CopyPage(2, 0);
  writable.CopyPage(2, 6);
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

TEST_P(TorchOps, HaveTheKernelsLogitsOverThePagedCache) {
  const std::vector<float> expected = Generate(kernels.model), got = Generate(library.model);
  ASSERT_EQ(expected.size(), (1 + 3 * 2 + 5) * kVocabulary);
  EXPECT_NE(got, expected) << "the kernels ran on both sides";
  EXPECT_LT(RelativeError(got, expected), 1e-5);
}

TEST_P(TorchOps, HaveTheKernelsLogprobsBeyondAnAttentionSplitAndAPieceOfLogits) {
  const Sequences sequences = {RandomTokens(kVocabulary, kernels::kAttentionSplit + 70, 1)};
  EXPECT_LT(RelativeError(PackedLogprobs(library.model, sequences, 1.0f),
                          PackedLogprobs(kernels.model, sequences, 1.0f)),
            1e-5);
}

INSTANTIATE_TEST_SUITE_P(Models, TorchOps,
                         ::testing::Combine(::testing::Values(OddDeepseek(), OddYarn(), OddQwen2(),
                                                              OddLlama(), OddWindows(), OddMistral(),
                                                              OddQwen3(), OddQwen3Moe(), OddDeepseekV2()),
                                            ::testing::ValuesIn(LibraryDevices())),
                         [](const auto& info) {
                           return std::string(std::get<0>(info.param)["model_type"]) +
                                  std::to_string(info.index) +
                                  (std::get<1>(info.param).is_cpu() ? "" : "_cuda");
                         });

// Routes `logits` by the kernels, or by LibTorch's ops on a device.
struct Routed {
  std::vector<int32_t> ids;
  std::vector<float> weights, scores, dlogits;
};
Routed Route(const kernels::RouteShape& shape, std::vector<float> logits, const std::vector<float>& bias,
             std::optional<at::Device> library) {
  at::set_num_threads(1);
  ThreadPool pool(1);
  Context context;
  context.pool = &pool;
  context.library = library.has_value();
  context.device = library.value_or(at::kCPU);
  const int64_t rows = static_cast<int64_t>(logits.size()) / shape.experts;
  const at::Tensor in = OnDevice(logits, context.device), add = OnDevice(bias, context.device);
  const at::Tensor weights = at::empty({rows * shape.top_k}, in.options()), scores = at::empty_like(in),
                   dlogits = at::empty_like(in);
  const auto matrix = [&](const at::Tensor& tensor) {
    return Rows{tensor.mutable_data_ptr<float>(), rows, shape.experts, shape.experts};
  };
  Routed routed;
  routed.ids.resize(rows * shape.top_k);
  ops::Route(context, shape, matrix(in), bias.empty() ? nullptr : add.const_data_ptr<float>(),
             routed.ids.data(), weights.mutable_data_ptr<float>(), scores.mutable_data_ptr<float>());
  std::vector<float> dweights(routed.ids.size());
  for (size_t i = 0; i < dweights.size(); ++i) dweights[i] = static_cast<float>(i % 7) - 2.5f;
  ops::RouteBackward(context, shape, routed.ids.data(), scores.const_data_ptr<float>(),
                     OnDevice(dweights, context.device).const_data_ptr<float>(), matrix(dlogits));
  routed.weights = OnHost(weights);
  routed.scores = OnHost(scores);
  routed.dlogits = OnHost(dlogits);
  return routed;
}

TEST(TorchRoute, GivesTiesToTheLowerIdAsTheKernelDoes) {
  for (int groups : {1, 4, 8, 32}) {
    for (bool sigmoid : {true, false}) {
      kernels::RouteShape shape;
      shape.experts = 32;
      shape.top_k = 3;
      shape.groups = groups;
      shape.top_groups = std::max(1, groups / 2);
      shape.scaling = 2.5f;
      shape.sigmoid = shape.group_top2 = shape.normalize = sigmoid;
      // Few different values: ties within groups and between them, in the first row everywhere.
      std::vector<float> logits(40 * shape.experts), bias;
      RandomStream stream(RandomKey(1, "route", 0, ""), Purpose::kTask);
      for (size_t i = shape.experts; i < logits.size(); ++i)
        logits[i] = static_cast<float>(stream.NextBelow(3)) - 1.0f;
      if (sigmoid) {
        for (int e = 0; e < shape.experts; ++e)
          bias.push_back(0.25f * static_cast<float>(stream.NextBelow(2)));
      }
      const Routed expected = Route(shape, logits, bias, std::nullopt);
      for (at::Device device : LibraryDevices()) {
        const Routed got = Route(shape, logits, bias, device);
        EXPECT_EQ(got.ids, expected.ids) << groups << " groups, sigmoid " << sigmoid << " " << device;
        EXPECT_LT(RelativeError(got.weights, expected.weights), 1e-6);
        EXPECT_LT(RelativeError(got.scores, expected.scores), 1e-6);
        EXPECT_LT(RelativeError(got.dlogits, expected.dlogits), 1e-6);
      }
    }
  }
}

class TorchMoe : public ::testing::TestWithParam<at::Device> {};
INSTANTIATE_TEST_SUITE_P(Devices, TorchMoe, ::testing::ValuesIn(LibraryDevices()),
                         [](const auto& info) { return info.param.is_cpu() ? "cpu" : "cuda"; });

TEST_P(TorchMoe, TakesExpertsThatNoTokenChose) {
  const Json json = OddDeepseek();
  Policy kernels(json);
  LibraryPolicy library(json, GetParam());
  // Two rows choose at most 6 of 10 experts.
  const Sequences sequences = {RandomTokens(kVocabulary, 2, 1)};
  std::vector<float> gradients[2];
  CausalLm* const models[] = {&kernels.model, &library.model};
  for (int i = 0; i < 2; ++i) {
    const at::Tensor bound = OnDevice(std::vector<float>(models[i]->GradientFloats()), models[i]->device());
    models[i]->BindGradients(bound.mutable_data_ptr<float>());
    const Microbatch batch = Packed(sequences);
    Tape tape(false, models[i]->device());
    float logprobs[2];
    const float dlogprobs[] = {1.0f, 1.0f};
    models[i]->Logprobs(batch, 1.0f, logprobs, nullptr, &tape);
    models[i]->Backward(tape, dlogprobs);
    gradients[i] = OnHost(bound);
  }
  EXPECT_LT(RelativeError(gradients[1], gradients[0]), 1e-5);
  int64_t unused = 0;
  for (const LayoutEntry& entry : kernels.model.parameters().layout().entries()) {
    if (!entry.trained) continue;
    const auto is_zero = [&](const std::vector<float>& all) {
      const auto first = all.begin() + entry.offset;
      return std::all_of(first, first + entry.elements, [](float g) { return g == 0; });
    };
    EXPECT_EQ(is_zero(gradients[1]), is_zero(gradients[0])) << entry.name;
    unused += is_zero(gradients[0]) ? 1 : 0;
  }
  EXPECT_GE(unused, 3 * 4);  // gate, up and down of four experts
}

}  // namespace
}  // namespace temper
