// SPDX-License-Identifier: Apache-2.0
// LibTorch's backend, CUDA's for now, beside the CPU's: the same functions up to rounding. On the CPU, and
// where there is a GPU on it too.
#include "model/torch_backend.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>

#include "ATen/Parallel.h"
#include "gtest/gtest.h"
#include "tests/model/odd_models.h"
#include "tests/model/on_backend.h"

namespace temper {
namespace {

struct LibraryPolicy : Policy {
  LibraryPolicy(const Json& json, at::Device device) : Policy(json, device) {
    at::set_num_threads(1);
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

class TorchBackendTest : public ::testing::TestWithParam<std::tuple<Json, at::Device>> {
 protected:
  TorchBackendTest()
      : kernels(std::get<0>(GetParam())), library(std::get<0>(GetParam()), std::get<1>(GetParam())) {}

  Policy kernels;
  LibraryPolicy library;
};

TEST_P(TorchBackendTest, HaveTheKernelsLogprobsEntropiesAndGradients) {
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

TEST_P(TorchBackendTest, HaveTheKernelsLogitsOverThePagedCache) {
  const std::vector<float> expected = Generate(kernels.model), got = Generate(library.model);
  ASSERT_EQ(expected.size(), (1 + 3 * 2 + 5) * kVocabulary);
  EXPECT_NE(got, expected) << "the kernels ran on both sides";
  EXPECT_LT(RelativeError(got, expected), 1e-5);
}

TEST_P(TorchBackendTest, HaveTheKernelsLogprobsBeyondAnAttentionSplitAndAPieceOfLogits) {
  const Sequences sequences = {RandomTokens(kVocabulary, kernels::kAttentionSplit + 70, 1)};
  EXPECT_LT(RelativeError(PackedLogprobs(library.model, sequences, 1.0f),
                          PackedLogprobs(kernels.model, sequences, 1.0f)),
            1e-5);
}

TEST(TorchBackend, KeepsKeysAndValuesInBf16Too) {
  for (const Json& json : {OddDeepseek(), OddQwen3()}) {
    for (const at::Device& device : LibraryDevices()) {
      Policy kernels(With(json, "temper_cache", "bf16"));
      LibraryPolicy library(With(json, "temper_cache", "bf16"), device), f32(json, device);
      const std::vector<float> got = Generate(library.model);
      // A number near the border of two of bf16 may fall to either side.
      EXPECT_LT(RelativeError(got, Generate(kernels.model)), 5e-3);
      EXPECT_GT(RelativeError(got, Generate(f32.model)), 1e-5);
      EXPECT_LT(RelativeError(Train(library.model, false).gradients, Train(kernels.model, false).gradients),
                5e-2);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, TorchBackendTest,
                         ::testing::Combine(::testing::Values(OddDeepseek(), OddYarn(), OddQwen2(),
                                                              OddLlama(), OddWindows(), OddMistral(),
                                                              OddQwen3(), OddQwen3Moe(), OddDeepseekV2()),
                                            ::testing::ValuesIn(LibraryDevices())),
                         [](const auto& info) {
                           return std::string(std::get<0>(info.param)["model_type"]) +
                                  std::to_string(info.index) +
                                  (std::get<1>(info.param).is_cpu() ? "" : "_cuda");
                         });

struct Routed {
  std::vector<int32_t> ids, row, entry;
  std::vector<int64_t> offsets;
  std::vector<float> weights, scores, dlogits;
};
Routed Route(kernels::Backend& backend, const kernels::RouteShape& shape, const std::vector<float>& logits,
             const std::vector<float>& bias) {
  const int64_t rows = static_cast<int64_t>(logits.size()) / shape.experts, slots = rows * shape.top_k;
  const OnBackend in(backend, logits), add(backend, bias), weights(backend, std::vector<float>(slots)),
      scores(backend, logits), dlogits(backend, logits), ids(backend, std::vector<float>(slots)),
      row(backend, std::vector<float>(slots)), entry(backend, std::vector<float>(slots));
  const auto ints = [](const OnBackend& memory) { return reinterpret_cast<int32_t*>(memory.data()); };
  kernels::Routing routing{ints(ids), weights.data(), scores.data(), ints(row), ints(entry), {}};
  backend.Route({shape, in.matrix(shape.experts), bias.empty() ? nullptr : add.data(), &routing});
  std::vector<float> dweights(slots);
  for (size_t i = 0; i < dweights.size(); ++i) dweights[i] = static_cast<float>(i % 7) - 2.5f;
  backend.RouteBackward(
      {shape, &routing, OnBackend(backend, dweights).data(), dlogits.matrix(shape.experts)});
  const auto host_ints = [](const OnBackend& memory) {
    std::vector<int32_t> out;
    for (float bits : memory.host()) out.push_back(std::bit_cast<int32_t>(bits));
    return out;
  };
  return {host_ints(ids), host_ints(row), host_ints(entry), routing.offsets,
          weights.host(), scores.host(),  dlogits.host()};
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
      at::set_num_threads(1);
      ThreadPool pool(1);
      kernels::CpuBackend cpu(&pool);
      const Routed expected = Route(cpu, shape, logits, bias);
      for (at::Device device : LibraryDevices()) {
        TorchBackend library(device, &pool);
        const Routed got = Route(library, shape, logits, bias);
        EXPECT_EQ(got.ids, expected.ids) << groups << " groups, sigmoid " << sigmoid << " " << device;
        EXPECT_EQ(got.row, expected.row);
        EXPECT_EQ(got.entry, expected.entry);
        EXPECT_EQ(got.offsets, expected.offsets);
        EXPECT_LT(RelativeError(got.weights, expected.weights), 1e-6);
        EXPECT_LT(RelativeError(got.scores, expected.scores), 1e-6);
        EXPECT_LT(RelativeError(got.dlogits, expected.dlogits), 1e-6);
      }
    }
  }
}

class TorchDevice : public ::testing::TestWithParam<at::Device> {};
INSTANTIATE_TEST_SUITE_P(Devices, TorchDevice, ::testing::ValuesIn(LibraryDevices()),
                         [](const auto& info) { return info.param.is_cpu() ? "cpu" : "cuda"; });

TEST_P(TorchDevice, TakesExpertsThatNoTokenChose) {
  const Json json = OddDeepseek();
  Policy kernels(json);
  LibraryPolicy library(json, GetParam());
  // Two rows choose at most 6 of 10 experts.
  const Sequences sequences = {RandomTokens(kVocabulary, 2, 1)};
  std::vector<float> gradients[2];
  CausalLm* const models[] = {&kernels.model, &library.model};
  for (int i = 0; i < 2; ++i) {
    const OnBackend bound(models[i]->backend(), std::vector<float>(models[i]->weights().GradientFloats()));
    models[i]->weights().BindGradients(bound.data());
    const Microbatch batch = Packed(sequences);
    TrainPass pass(&models[i]->stack(), TrainPass::Keep::kAll);
    float logprobs[2];
    const float dlogprobs[] = {1.0f, 1.0f};
    pass.Logprobs(batch, 1.0f, logprobs);
    pass.Backward(dlogprobs);
    gradients[i] = bound.host();
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

TEST_P(TorchDevice, SamplesTheCpusTokens) {
  at::set_num_threads(1);
  ThreadPool pool(2);
  kernels::CpuBackend cpu(&pool);
  TorchBackend library(GetParam(), &pool);
  const int64_t rows = 400;
  std::vector<float> logits(rows * kVocabulary);
  RandomStream stream(RandomKey(2, "sample", 0, ""), Purpose::kTask);
  for (float& z : logits) z = 2.0f * static_cast<float>(stream.NextNormal());
  for (int64_t i = 0; i < rows; ++i) logits[i * kVocabulary + 7] = logits[i * kVocabulary + 3];  // ties
  std::vector<kernels::SampleParameters> parameters;
  std::vector<double> uniforms;
  const std::vector<int32_t> banned = {3, 0, 11, 12};
  for (int64_t i = 0; i < rows; ++i) {
    if (i % 4 == 0) logits[i * kVocabulary + 11] = 150;  // banned, and the others are nothing beside it
    parameters.push_back({.temperature = 0.25f * static_cast<float>(i % 6),
                          .top_k = static_cast<int>(i % 5 * 30),
                          .top_p = i % 3 == 0 ? 0.8f : 1.0f,
                          .min_p = i % 7 == 0 ? 0.02f : 0.0f});
    if (i % 4 == 0) parameters.back().banned = banned;
    uniforms.push_back(stream.NextUniform());
  }
  const std::vector<kernels::SampledToken> expected = Sampled(cpu, logits, {parameters, uniforms}),
                                           got = Sampled(library, logits, {parameters, uniforms});
  int different = 0;  // where the uniform falls on a border of two ids
  for (int64_t i = 0; i < rows; ++i) {
    different += got[i].id != expected[i].id ? 1 : 0;
    EXPECT_NEAR(got[i].entropy, expected[i].entropy, 1e-4) << i;
    if (got[i].id == expected[i].id) {
      EXPECT_NEAR(got[i].logprob, expected[i].logprob, 1e-4) << i;
    }
  }
  EXPECT_LE(different, 2);
}

// Integers have one sum: here the bits are the CPU's.
TEST_P(TorchDevice, SumsLeavesToTheBitsOfTheCpu) {
  at::set_num_threads(1);
  ThreadPool pool(2);
  kernels::CpuBackend cpu(&pool);
  TorchBackend library(GetParam(), &pool);
  constexpr int64_t kSize = 1000;
  std::vector<std::vector<float>> leaves(3);
  RandomStream stream(RandomKey(3, "leaves", 0, ""), Purpose::kTask);
  for (std::vector<float>& leaf : leaves) {
    for (int64_t i = 0; i < kSize; ++i) {
      leaf.push_back(
          std::ldexp(static_cast<float>(stream.NextNormal()), static_cast<int>(stream.NextBelow(60)) - 55));
      if (i % 7 == 0) leaf.back() = std::ldexp(static_cast<float>(i) + 0.5f, -50);  // a tie
    }
  }
  struct Summed {
    std::vector<int64_t> quanta;
    std::vector<float> gradient;
    bool in_range = true;
    bool operator==(const Summed&) const = default;
  };
  const auto sum = [&](kernels::Backend& backend, size_t count, float one) {
    std::vector<std::unique_ptr<OnBackend>> memory;
    for (size_t l = 0; l < count; ++l) {
      std::vector<float> leaf = leaves[l];
      if (l + 1 == count) leaf[kSize - 1] = one;
      memory.push_back(std::make_unique<OnBackend>(backend, leaf));
    }
    kernels::LeafSum sum = {.rule = {50, 3}, .n = kSize, .first = memory[0]->data()};
    Summed summed{std::vector<int64_t>(kSize - 3, 9), {}, true};
    for (size_t l = 1; l < count; ++l) summed.in_range &= backend.AddLeaf(memory[l]->data(), &sum);
    summed.in_range &= backend.AddQuanta(sum, 3, absl::MakeSpan(summed.quanta));
    summed.in_range &= backend.RoundGradient(sum);
    summed.gradient = memory[0]->host();
    return summed;
  };
  for (const size_t count : {1, 2, 3}) {
    const Summed expected = sum(cpu, count, -1);
    EXPECT_TRUE(expected.in_range);
    EXPECT_TRUE(sum(library, count, -1) == expected) << count;
    for (const float bad : {NAN, -INFINITY, 2000.0f}) {
      EXPECT_FALSE(sum(cpu, count, bad).in_range) << count << " " << bad;
      EXPECT_FALSE(sum(library, count, bad).in_range) << count << " " << bad;
    }
  }
}

TEST_P(TorchDevice, StepsAdamWAndAddsAsTheCpuDoes) {
  at::set_num_threads(1);
  ThreadPool pool(2);
  kernels::CpuBackend cpu(&pool);
  TorchBackend library(GetParam(), &pool);
  std::vector<float> start[4];  // gradient, weight, m, v
  RandomStream stream(RandomKey(3, "adamw", 0, ""), Purpose::kTask);
  for (std::vector<float>& numbers : start) {
    for (int i = 0; i < 1000; ++i) numbers.push_back(static_cast<float>(stream.NextNormal()));
  }
  for (float& v : start[3]) v = v * v;
  struct Stepped {
    std::vector<float> weight, m, v, sum;
    kernels::AdamWOutcome outcome;
    double squares;
  };
  const auto step = [&](kernels::Backend& backend, float first) {
    std::vector<float> from = start[1];
    from[0] = first;
    const OnBackend gradient(backend, start[0]), weight(backend, from), m(backend, start[2]),
        v(backend, start[3]), sum(backend, start[0]);
    const kernels::AdamWStep options{
        .learning_rate = 1e-2f, .weight_decay = 0.1f, .step = 3, .gradient_scale = 0.5f};
    const kernels::AdamWOutcome outcome =
        backend.AdamW({options, 1000, gradient.data(), weight.data(), m.data(), v.data()});
    backend.Add(weight.flat(), sum.flat());
    return Stepped{weight.host(), m.host(), v.host(),
                   sum.host(),    outcome,  backend.SumOfSquares(gradient.data(), 1000)};
  };
  const Stepped expected = step(cpu, -5), got = step(library, -5);
  EXPECT_NE(got.weight, start[1]);
  EXPECT_LT(RelativeError(got.weight, expected.weight), 1e-6);
  EXPECT_LT(RelativeError(got.m, expected.m), 1e-6);
  EXPECT_LT(RelativeError(got.v, expected.v), 1e-6);
  EXPECT_LT(RelativeError(got.sum, expected.sum), 1e-6);
  EXPECT_NEAR(got.squares, expected.squares, 1e-9 * expected.squares);
  EXPECT_TRUE(got.outcome.finite && expected.outcome.finite);
  EXPECT_NEAR(got.outcome.largest, expected.outcome.largest, 1e-5);
  for (kernels::Backend* backend : std::initializer_list<kernels::Backend*>{&cpu, &library}) {
    const Stepped bad = step(*backend, NAN);
    EXPECT_FALSE(bad.outcome.finite);
    EXPECT_GT(bad.outcome.largest, 1) << "of the weights that are numbers";
  }
}

}  // namespace
}  // namespace temper
