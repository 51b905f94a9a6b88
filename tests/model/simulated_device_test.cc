// SPDX-License-Identifier: Apache-2.0
// Whole policies on the simulated GPU, whose kernels are those of a real one: the CPU's bits, and no number
// of the device's read by the host (kernels/cuda/driver/memory.h).
#include <array>
#include <cmath>
#include <cstring>
#include <numeric>
#include <stdexcept>

#include "kernels/backends/device.h"
#include "model/device.h"
#include "tests/model/on_backend.h"

namespace temper {
namespace {

// A policy, and whether it computes with bf16 weights.
struct Odd {
  Json json;
  bool bf16 = false;
};

struct PolicyOn {
  PolicyOn(const std::string& device, const Odd& odd)
      : pool(1),
        backend(*BackendByName(device, &pool)),
        model(Parsed(odd.json), RandomParameters(Parsed(odd.json)), backend.get(), odd.bf16) {}
  ThreadPool pool;
  std::unique_ptr<kernels::Backend> backend;
  CausalLm model;
};

template <typename T>
int64_t Unequal(const std::vector<T>& got, const std::vector<T>& expected) {
  EXPECT_EQ(got.size(), expected.size());
  int64_t unequal = 0;
  for (size_t i = 0; i < std::min(got.size(), expected.size()); ++i)
    unequal += std::memcmp(&got[i], &expected[i], sizeof(T)) == 0 ? 0 : 1;
  return unequal;
}

constexpr std::array<int64_t, 3> kDecoded = {61, 3, 1022};  // positions of sequences that go on
std::vector<std::vector<int32_t>> DecodedPages() {
  std::vector<std::vector<int32_t>> pages = {{0, 1}, {2}, {}};
  for (int32_t page = 19; page > 2; --page) pages[2].push_back(page);
  return pages;
}

class OnSimulatedDevice : public ::testing::TestWithParam<Odd> {
 protected:
  PolicyOn cpu{"cpu", GetParam()}, device{"sim", GetParam()};
};
INSTANTIATE_TEST_SUITE_P(Models, OnSimulatedDevice,
                         ::testing::Values(Odd{OddDeepseek()}, Odd{OddWindows()}, Odd{OddDeepseek(), true}),
                         [](const auto& info) {
                           return std::string(info.param.json["model_type"]) +
                                  (info.param.bf16 ? "_bf16" : "");
                         });

TEST_P(OnSimulatedDevice, HasTheCpusLogitsOverThePagedCache) {
  EXPECT_TRUE(device.model.exact());
  EXPECT_FALSE(device.model.backend().host_memory());
  EXPECT_EQ(Unequal(Generate(device.model), Generate(cpu.model)), 0);
}

TEST_P(OnSimulatedDevice, HasTheCpusLogprobsEntropiesAndGradients) {
  const std::vector<int64_t> lengths = {30, 1, 4};
  const Results expected = Train(cpu.model, false, lengths), got = Train(device.model, true, lengths);
  EXPECT_EQ(Unequal(got.logprobs, expected.logprobs), 0);
  EXPECT_EQ(Unequal(got.entropies, expected.entropies), 0);
  EXPECT_EQ(Unequal(got.gradients, expected.gradients), 0);
}

// An MTP module trained, its rows beside the policy's, and drafting behind a pass.
TEST(SimulatedDevice, RunsAnMtpModuleToTheCpusBits) {
  const auto results = [](CausalLm& model) {
    const Microbatch batch = Packed(
        {RandomTokens(kVocabulary, 9, 1), RandomTokens(kVocabulary, 1, 2), RandomTokens(kVocabulary, 4, 3)});
    const OnBackend gradients(model.backend(), std::vector<float>(model.weights().GradientFloats()));
    model.weights().BindGradients(gradients.data());
    TrainPass pass(&model.stack(), TrainPass::Keep::kInputs);
    std::vector<float> all(14), dlogprobs(14, 0.25f);
    pass.Logprobs(batch, 0.7f, all.data());
    MtpRows& mtp = *pass.mtp_rows();
    all.insert(all.end(), mtp.logprobs.begin(), mtp.logprobs.end());
    for (size_t i = 0; i < mtp.dlogprobs.size(); ++i)
      mtp.dlogprobs[i] = 0.3f - 0.1f * static_cast<float>(i % 4);
    pass.Backward(dlogprobs.data());
    const std::vector<float> gradient = gradients.host();
    all.insert(all.end(), gradient.begin(), gradient.end());

    const KvCache cache(model.config(), 2, model.backend());
    const std::vector<int32_t> tokens = RandomTokens(kVocabulary, 66, 4), pages = {1, 0};
    DecodePass& decode = model.decode_pass();
    decode.Forward({tokens, {{66, 0, pages}}}, cache, {65}, /*drafts=*/true);
    const Matrix logits =
        decode.ForwardMtp({{tokens.begin() + 1, tokens.end()}, {{65, 0, pages}}}, cache, {3, 64});
    all.resize(all.size() + 2 * kVocabulary);
    model.backend().CopyToHost(logits, all.data() + all.size() - 2 * kVocabulary);
    return all;
  };
  PolicyOn cpu("cpu", {OddMtp()}), device("sim", {OddMtp()});
  EXPECT_EQ(Unequal(results(device.model), results(cpu.model)), 0);
}

TEST_P(OnSimulatedDevice, SamplesTheCpusTokens) {
  const int64_t rows = 9;
  std::vector<float> logits(rows * kVocabulary);
  RandomStream stream(RandomKey(2, "sample", 0, ""), Purpose::kTask);
  for (float& z : logits) z = 2.0f * static_cast<float>(stream.NextNormal());
  const std::vector<int32_t> banned = {3, 0, 11};
  std::vector<kernels::SampleParameters> parameters;
  std::vector<double> uniforms;
  for (int64_t i = 0; i < rows; ++i) {
    parameters.push_back({.temperature = 0.5f * static_cast<float>(i % 4),
                          .top_k = i % 3 == 0 ? 30 : 0,
                          .top_p = i % 2 == 0 ? 0.8f : 1.0f,
                          .min_p = i % 5 == 0 ? 0.02f : 0.0f});
    if (i % 2 == 0) parameters.back().banned = banned;
    uniforms.push_back(stream.NextUniform());
  }
  EXPECT_EQ(Unequal(Sampled(*device.backend, logits, {parameters, uniforms}),
                    Sampled(*cpu.backend, logits, {parameters, uniforms})),
            0);
}

// Logits of steps in which one to three sequences decode, the longest from 1,022 positions on, over a cache
// that was filled on the CPU. The rotation's tables grow on the way.
std::vector<float> Decode(CausalLm& model, const KvCache& filled) {
  KvCache cache(model.config(), filled.pages(), model.backend());
  model.backend().CopyFromHost(filled.Block(0, 0),
                               kernels::F32(static_cast<float*>(cache.Block(0, 0)), 1, filled.bytes() / 4));
  const std::vector<std::vector<int32_t>> pages = DecodedPages();
  std::vector<int64_t> positions(kDecoded.begin(), kDecoded.end());
  std::vector<float> all;
  int32_t token = 0;
  for (const int64_t live : {2, 2, 3, 3, 3, 3, 2}) {
    TokenBatch batch;
    std::vector<int32_t> rows(live);
    std::iota(rows.begin(), rows.end(), 0);
    for (int64_t s = 0; s < live; ++s) {
      batch.tokens.push_back(token++);
      batch.sequences.push_back({1, positions[s]++, pages[s]});
    }
    const Matrix logits = model.Forward(batch, cache, rows);
    const size_t before = all.size();
    all.resize(before + live * kVocabulary);
    model.backend().CopyToHost(logits, all.data() + before);
  }
  return all;
}

// Its rows of bf16 are read in words of 16 bytes.
Json WholeDeepseek() { return With(With(OddDeepseek(), "hidden_size", 64), "moe_intermediate_size", 64); }

class RecordedSteps : public ::testing::TestWithParam<Odd> {};
INSTANTIATE_TEST_SUITE_P(Models, RecordedSteps,
                         ::testing::Values(Odd{With(OddWindows(), "temper_cache", "bf16")},
                                           Odd{OddDeepseek()}, Odd{WholeDeepseek(), true}),
                         [](const auto& info) { return std::to_string(info.index); });

TEST_P(RecordedSteps, HaveTheCpusLogits) {
  PolicyOn cpu("cpu", GetParam()), device("sim", GetParam());
  KvCache filled(cpu.model.config(), 20, cpu.model.backend());
  const std::vector<std::vector<int32_t>> pages = DecodedPages();
  TokenBatch batch;
  for (size_t s = 0; s < kDecoded.size(); ++s) {
    const std::vector<int32_t> tokens = RandomTokens(kVocabulary, kDecoded[s], s + 1);
    batch.tokens.insert(batch.tokens.end(), tokens.begin(), tokens.end());
    batch.sequences.push_back({kDecoded[s], 0, pages[s]});
  }
  cpu.model.Forward(batch, filled, {});
  const std::vector<float> expected = Decode(cpu.model, filled);
  EXPECT_EQ(Unequal(Decode(device.model, filled), expected), 0);
  // Of each size all but the first: two sequences, and again with new tables; three up to 1,024 positions,
  // and beyond.
  EXPECT_EQ(device.model.decode_pass().replayed(), 4);
}

// Engines that take turns, as the one of a rollout and the one that measures.
TEST_P(RecordedSteps, AreKeptForEachOfSeveralCaches) {
  PolicyOn cpu("cpu", GetParam()), device("sim", GetParam());
  const auto decode = [](CausalLm& model) {
    const std::vector<std::vector<int32_t>> pages = {{1}, {0}};
    const KvCache caches[] = {{model.config(), 2, model.backend()}, {model.config(), 2, model.backend()}};
    std::vector<float> all;
    for (int64_t position = 0; position < 3; ++position) {
      for (const KvCache& cache : caches) {
        const auto token = static_cast<int32_t>(3 * position + (&cache - caches));
        const TokenBatch batch{{token, token + 9}, {{1, position, pages[0]}, {1, position, pages[1]}}};
        const Matrix logits = model.Forward(batch, cache, {0, 1});
        all.resize(all.size() + 2 * kVocabulary);
        model.backend().CopyToHost(logits, all.data() + all.size() - 2 * kVocabulary);
      }
    }
    return all;
  };
  EXPECT_EQ(Unequal(decode(device.model), decode(cpu.model)), 0);
  EXPECT_EQ(device.model.decode_pass().replayed(), 4);
}

// Logits of `sequences` sequences' first tokens, and of their second ones.
std::vector<float> FirstTokens(CausalLm& model, int32_t sequences) {
  const KvCache cache(model.config(), sequences, model.backend());
  std::vector<std::vector<int32_t>> pages(sequences);
  std::vector<int32_t> rows(sequences);
  std::iota(rows.begin(), rows.end(), 0);
  std::vector<float> all;
  for (int64_t position = 0; position < 2; ++position) {
    TokenBatch batch;
    for (int32_t s = 0; s < sequences; ++s) {
      pages[s] = {s};
      batch.tokens.push_back(s * 7 + static_cast<int32_t>(position));
      batch.sequences.push_back({1, position, pages[s]});
    }
    const Matrix logits = model.Forward(batch, cache, rows);
    all.resize(all.size() + sequences * kVocabulary);
    model.backend().CopyToHost(logits, all.data() + all.size() - sequences * kVocabulary);
  }
  return all;
}

TEST(SimulatedDevice, RecordsNoStepWhoseExpertsHaveMoreRowsThanTheirProductsAreForOrLieOtherwise) {
  Json all_experts = OddDeepseek();  // so that each has as many rows as there are
  all_experts.update(Json::parse(R"({"n_routed_experts": 4, "num_experts_per_tok": 4, "n_group": 1,
                                     "topk_group": 1})"));
  const auto replayed = [](const Odd& odd, int32_t sequences) {
    PolicyOn cpu("cpu", odd), device("sim", odd);
    EXPECT_EQ(Unequal(FirstTokens(device.model, sequences), FirstTokens(cpu.model, sequences)), 0);
    return device.model.decode_pass().replayed();
  };
  EXPECT_EQ(replayed({all_experts}, 16), 1);
  EXPECT_EQ(replayed({all_experts}, 17), 0);
  EXPECT_EQ(replayed({OddDeepseek(), true}, 2), 0);
}

TEST(SimulatedDevice, KeepsThe64StepsThatWereMadeLast) {
  PolicyOn device("sim", {TinyLlama()});
  std::vector<std::unique_ptr<KvCache>> caches;
  const std::vector<int32_t> pages = {0};
  const auto replays = [&](size_t cache) {
    if (cache == caches.size())
      caches.push_back(std::make_unique<KvCache>(device.model.config(), 1, device.model.backend()));
    const int64_t before = device.model.decode_pass().replayed();
    device.model.Forward({{5}, {{1, 0, pages}}}, *caches[cache], {0});
    return device.model.decode_pass().replayed() - before;
  };
  for (size_t cache = 0; cache < 65; ++cache) {
    EXPECT_EQ(replays(cache), 0) << cache;
    EXPECT_EQ(replays(cache), 1) << cache;
  }
  EXPECT_EQ(replays(1), 1);
  EXPECT_EQ(replays(0), 0) << "it made room for the last one";
  EXPECT_EQ(replays(1), 1);
  EXPECT_EQ(replays(2), 0) << "it made room for the first one";
}

// What a policy takes that decodes behind 1,100 positions, whose splits have memory of their own, when other
// calls need more of it before, or in the middle.
int64_t TakenBytes(bool before) {
  const int64_t others = kernels::sim::TakenBytes();
  PolicyOn device("sim", {OddWindows()});
  kernels::Backend& backend = device.model.backend();
  const KvCache cache(device.model.config(), 18, backend);
  std::vector<int32_t> pages(18);
  std::iota(pages.begin(), pages.end(), 0);
  const OnBackend numbers(backend, std::vector<float>(5000, 0.5f));
  std::vector<int64_t> quanta(numbers.size);
  const auto steps = [&](int count) {
    for (int i = 0; i < count; ++i) device.model.Forward({{5}, {{1, 1100, pages}}}, cache, {0});
  };
  if (!before) steps(2);
  backend.AddQuanta({{50, 1}, numbers.size, numbers.data()}, 0, absl::MakeSpan(quanta));
  steps(before ? 4 : 2);
  EXPECT_EQ(device.model.decode_pass().replayed(), 3);
  return kernels::sim::TakenBytes() - others;
}

TEST(SimulatedDevice, GivesBackTheMemoryThatARecordedStepHasOutgrown) {
  EXPECT_EQ(TakenBytes(false), TakenBytes(true));
}

TEST(SimulatedDevice, KeepsTensorsWhereOnlyItsOwnCopiesReach) {
  PolicyOn device("sim", {With(OddQwen2(), "temper_cache", "bf16")});
  for (const Parameter& parameter : device.model.parameters().list()) EXPECT_FALSE(parameter.value.is_cpu());
  const Parameters copy = device.model.parameters().Clone(), made = RandomParameters(Parsed(OddQwen2()));
  for (size_t i = 0; i < copy.list().size(); ++i) {
    EXPECT_EQ(std::memcmp(copy.list()[i].value.const_data_ptr(), made.list()[i].value.const_data_ptr(),
                          made.list()[i].value.nbytes()),
              0)
        << copy.list()[i].name;
  }
  const at::Tensor moments = NewTensor(*device.backend, {7}), host = NewHostTensor({3});
  std::fill_n(host.mutable_data_ptr<float>(), 3, 2.5f);
  CopyTensor(host, Elements(moments, 4, 3));
  EXPECT_EQ(OnHost(moments).const_data_ptr<float>()[4], 2.5f);
  EXPECT_TRUE(std::isnan(OnHost(moments).const_data_ptr<float>()[3])) << "memory begins as NaN";
  EXPECT_DEATH(static_cast<void>(*static_cast<const volatile float*>(moments.const_data_ptr())), ".*");
}

TEST(SimulatedDevice, EndsALaunchOrACopyThatGoesBeyondItsMemory) {
  ThreadPool pool(1);
  const std::unique_ptr<kernels::Backend> device = *BackendByName("sim", &pool);
  const OnBackend seven(*device, std::vector<float>(7, 1.5f));
  const Matrix eight = kernels::F32(seven.data(), 1, 8);
  float host[8] = {};
  EXPECT_THROW(device->Zero(eight), std::runtime_error);
  EXPECT_THROW(device->Largest(seven.data(), 8), std::runtime_error);
  EXPECT_THROW(device->CopyToHost(eight, host), std::exception);
  EXPECT_EQ(device->Largest(seven.data() + 6, 1), 1.5f);
}

TEST(SimulatedDevice, EndsALaunchOrACopyThatTakesTheHostsMemoryForTheDevices) {
  ThreadPool pool(1);
  const std::unique_ptr<kernels::Backend> device = *BackendByName("sim", &pool);
  const OnBackend seven(*device, std::vector<float>(7, 1.5f));
  std::vector<float> host(7, 2.5f);
  const Matrix there = kernels::F32(host.data(), 1, 7);
  EXPECT_THROW(device->Largest(host.data(), 7), std::runtime_error);
  EXPECT_THROW(device->Add(there, seven.flat()), std::runtime_error);
  EXPECT_THROW(device->Add(seven.flat(), there), std::runtime_error);
  EXPECT_THROW(device->CopyToHost(there, host.data()), std::invalid_argument);
  EXPECT_THROW(device->CopyFromHost(host.data(), there), std::invalid_argument);
  EXPECT_EQ(device->Largest(seven.data(), 7), 1.5f);
}

}  // namespace
}  // namespace temper
