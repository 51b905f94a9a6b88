// SPDX-License-Identifier: Apache-2.0
// Policies that compute with bf16 weights, beside those that compute with the same numbers as f32.
#include <cstring>

#include "gtest/gtest.h"
#include "model/policy.h"
#include "tests/model/odd_models.h"

namespace temper {
namespace {

// What is trained, rounded by LibTorch.
Parameters RoundedAsF32(const Parameters& parameters) {
  Parameters rounded = parameters.Clone();
  for (Parameter& parameter : rounded.list()) {
    if (parameter.trained) parameter.value.copy_(parameter.value.to(at::kBFloat16).to(at::kFloat));
  }
  return rounded;
}

struct Learned {
  std::vector<float> logprobs, gradient;
};
Learned Learn(CausalLm& model, bool back = true) {
  const Microbatch batch =
      Packed({RandomTokens(711, 70, 1), RandomTokens(711, 9, 2), RandomTokens(711, 1, 3)});
  Learned learned;
  learned.logprobs.resize(batch.tokens.size());
  learned.gradient.resize(model.weights().GradientFloats());
  if (!back) {
    model.Logprobs(batch, 1.0f, learned.logprobs.data());
    return learned;
  }
  model.weights().BindGradients(learned.gradient.data());
  TrainPass pass(&model.stack(), TrainPass::Keep::kAll);
  pass.Logprobs(batch, 1.0f, learned.logprobs.data());
  pass.Backward(learned.logprobs.data());
  model.weights().FoldTiedHead();
  return learned;
}

TEST(RoundedWeights, HaveTheBitsOfTheirValuesInF32ForthAndBack) {
  for (const Json& json :
       {OddDeepseek(), OddYarn(), OddDeepseekV2(), OddQwen2(), OddMistral(), OddQwen3Moe(), OddWindows()}) {
    ThreadPool pool(2);
    kernels::CpuBackend backend(&pool);
    const ModelConfig config = Parsed(json);
    const Parameters parameters = RandomParameters(config);
    CausalLm plain(config, RoundedAsF32(parameters), &backend);
    const Learned expected = Learn(plain);
    const auto trained = PolicyOf({config, parameters.Clone()}, &backend, {.trained = true, .bf16 = true});
    const Learned learned = Learn(*trained);
    EXPECT_EQ(learned.logprobs, expected.logprobs);
    EXPECT_EQ(learned.gradient, expected.gradient);
    const auto sampled = PolicyOf({config, parameters.Clone()}, &backend, {.bf16 = true});
    EXPECT_EQ(Learn(*sampled, /*back=*/false).logprobs, expected.logprobs);
    EXPECT_NE(Learn(*PolicyOf({config, parameters.Clone()}, &backend)).logprobs, expected.logprobs)
        << "these weights are none of bf16";

    // What is trained keeps its own precision, and is rounded anew when it changes.
    for (size_t i = 0; i < parameters.list().size(); ++i) {
      Parameter& parameter = trained->parameters().list()[i];
      EXPECT_TRUE(parameter.value.equal(parameters.list()[i].value)) << parameter.name;
      if (parameter.trained) parameter.value.mul_(1.01f);
    }
    trained->WeightsChanged(1);
    CausalLm changed(config, RoundedAsF32(trained->parameters()), &backend);
    EXPECT_EQ(Learn(*trained).logprobs, Learn(changed).logprobs);
  }
}

TEST(RoundedWeights, AreHalfAsLargeAndVectorsAreF32) {
  ThreadPool pool(1);
  kernels::CpuBackend backend(&pool);
  const ModelConfig config = Parsed(OddDeepseek());
  const Parameters parameters = RandomParameters(config), reference = RoundedAsF32(parameters);
  const auto policy = PolicyOf({config, parameters.Clone()}, &backend, {.bf16 = true});
  for (const Parameter& parameter : policy->parameters().list()) {
    EXPECT_EQ(parameter.value.scalar_type() == at::kBFloat16, parameter.trained && parameter.value.dim() == 2)
        << parameter.name;
    EXPECT_TRUE(parameter.value.to(at::kFloat).equal(reference[parameter.name])) << parameter.name;
  }
}

TEST(RoundedWeights, AreLibTorchsToo) {
  for (const at::Device& device : LibraryDevices()) {
    ThreadPool pool(1);
    TorchBackend backend(device, &pool);
    const ModelConfig config = Parsed(OddQwen2());
    const Parameters parameters = RandomParameters(config);
    CausalLm plain(config, RoundedAsF32(parameters), &backend);
    const auto trained = PolicyOf({config, parameters.Clone()}, &backend, {.trained = true, .bf16 = true});
    EXPECT_EQ(Learn(*trained, /*back=*/false).logprobs, Learn(plain, /*back=*/false).logprobs);
  }
}

}  // namespace
}  // namespace temper
