// SPDX-License-Identifier: Apache-2.0
#include "model/pass.h"

#include "gtest/gtest.h"
#include "kernels/backends/counting.h"
#include "model/causal_lm.h"
#include "tests/model/odd_models.h"

namespace temper {
namespace {

constexpr TrainPass::Keep kKeeps[] = {TrainPass::Keep::kNothing, TrainPass::Keep::kInputs,
                                      TrainPass::Keep::kAttention, TrainPass::Keep::kAll};

// Bytes of activations after two microbatches, forward and, where something is kept, back.
int64_t Activations(CausalLm& model, TrainPass::Keep keep) {
  const std::shared_ptr<void> gradient = model.backend().Allocate(model.weights().GradientFloats() * 4);
  model.weights().BindGradients(static_cast<float*>(gradient.get()));
  TrainPass pass(&model.stack(), keep);
  for (const Sequences& sequences :
       {Sequences{RandomTokens(711, 70, 1), RandomTokens(711, 9, 2)}, Sequences{RandomTokens(711, 33, 3)}}) {
    const Microbatch batch = Packed(sequences);
    std::vector<float> logprobs(batch.tokens.size());
    pass.Logprobs(batch, 1.0f, logprobs.data());
    if (keep != TrainPass::Keep::kNothing) pass.Backward(logprobs.data());
  }
  return pass.bytes();
}

TEST(CountingBackend, TakesForAPassWhatThePassTakes) {
  for (const Json& json :
       {OddDeepseek(), OddYarn(), OddDeepseekV2(), OddQwen2(), OddMistral(), OddQwen3Moe()}) {
    Policy policy(json);
    kernels::CountingBackend counting(&policy.pool, /*packs=*/true);
    std::vector<at::Tensor> values;
    const Layout layout(policy.model.config());
    for (const LayoutEntry& entry : layout.entries()) values.push_back(NewTensor(counting, entry.shape));
    EXPECT_EQ(counting.bytes(), layout.elements() * 4);
    {
      CausalLm model(policy.model.config(), Parameters(layout, std::move(values)), &counting);
      int64_t before = 0;
      for (TrainPass::Keep keep : kKeeps) {
        const int64_t counted = Activations(model, keep);
        EXPECT_EQ(counted, Activations(policy.model, keep));
        EXPECT_GT(counted, before) << "the more is kept, the more it takes";
        before = counted;
      }
      EXPECT_EQ(model.weights().packed_bytes(), policy.model.weights().packed_bytes());
    }
    EXPECT_EQ(counting.bytes(), 0) << "all was given back";
  }
}

TEST(TrainPass, SeveralAreAliveAtOnceAndKnowNothingOfEachOther) {
  Policy policy(OddDeepseek());
  const Microbatch first = Packed({RandomTokens(711, 70, 1)}), second = Packed({RandomTokens(711, 41, 2)});
  const auto gradients = [&](bool together) {
    std::vector<float> gradient(policy.model.weights().GradientFloats());
    policy.model.weights().BindGradients(gradient.data());
    TrainPass a(&policy.model.stack(), TrainPass::Keep::kAll),
        b(&policy.model.stack(), TrainPass::Keep::kInputs);
    std::vector<float> logprobs_a(first.tokens.size()), logprobs_b(second.tokens.size());
    a.Logprobs(first, 1.0f, logprobs_a.data());
    if (together) b.Logprobs(second, 1.0f, logprobs_b.data());
    a.Backward(logprobs_a.data());
    if (!together) b.Logprobs(second, 1.0f, logprobs_b.data());
    b.Backward(logprobs_b.data());
    return gradient;
  };
  EXPECT_EQ(gradients(true), gradients(false));
}

}  // namespace
}  // namespace temper
