// SPDX-License-Identifier: Apache-2.0
#include "model/parameters.h"

#include <cmath>
#include <cstring>

#include "ATen/ops/zeros.h"
#include "core/check.h"
#include "core/stop.h"
#include "tests/model/configs.h"

namespace temper {
namespace {

bool SameBits(const at::Tensor& a, const at::Tensor& b) {
  return a.sizes() == b.sizes() &&
         memcmp(a.const_data_ptr(), b.const_data_ptr(), a.numel() * sizeof(float)) == 0;
}

double MeanSquare(const at::Tensor& tensor) {
  double sum = 0;
  const float* data = tensor.const_data_ptr<float>();
  for (int64_t i = 0; i < tensor.numel(); ++i) sum += double{data[i]} * data[i];
  return sum / static_cast<double>(tensor.numel());
}

TEST(Parameters, AreNotDrawnAfterAStopRequest) {
  const auto drawn = [] {
    return InitializeParameters(Parsed(TinyLlama()), 1, {})["model.embed_tokens.weight"];
  };
  const at::Tensor whole = drawn(), again = drawn();
  EXPECT_TRUE(SameBits(whole, again));
  const StopForTest stop;
  EXPECT_FALSE(SameBits(whole, drawn()));
}

TEST(Parameters, AreFoundByNameAndCounted) {
  const Parameters parameters = InitializeParameters(Parsed(TinyDeepseek()), 1, {});
  EXPECT_TRUE(parameters.Has("model.norm.weight"));
  EXPECT_FALSE(parameters.Has("model.norm.weigh"));
  EXPECT_FALSE(parameters.Has("zzz"));
  EXPECT_EQ(parameters["lm_head.weight"].numel(), 37 * 12);
  EXPECT_THROW(parameters["model.norm.bias"], InternalError);
  EXPECT_EQ(parameters.layout().elements() - parameters.layout().trained_elements(), 6)
      << "the selection bias of one layer";
}

TEST(Parameters, ACloneSharesNothing) {
  Parameters parameters = InitializeParameters(Parsed(TinyDeepseek()), 1, {});
  const Parameters copy = parameters.Clone();
  const float before = copy["lm_head.weight"].const_data_ptr<float>()[0];
  parameters["lm_head.weight"].mutable_data_ptr<float>()[0] = 77;
  EXPECT_EQ(copy["lm_head.weight"].const_data_ptr<float>()[0], before);
}

TEST(Parameters, HaveTheShapesOfTheirLayout) {
  const Layout layout({{"a", {2, 3}}});
  EXPECT_THROW(Parameters(layout, {at::zeros({3, 2}, at::kFloat)}), InternalError);
  EXPECT_THROW(Parameters(layout, {}), InternalError);
}

TEST(InitialValues, HaveTheScalesAskedFor) {
  Json json = TinyLlama();
  json["hidden_size"] = 120;
  json["vocab_size"] = 1000;
  const Parameters p = InitializeParameters(Parsed(json), 7, {0.5f, 2.0f, 0.25f});
  const double sampling = 0.05;
  EXPECT_NEAR(MeanSquare(p["model.embed_tokens.weight"]) / 0.25, 1, sampling);
  EXPECT_NEAR(MeanSquare(p["model.layers.0.self_attn.q_proj.weight"]) * 120 / 4, 1, sampling);
  EXPECT_NEAR(MeanSquare(p["model.layers.0.self_attn.o_proj.weight"]) * 120 * 4 / 4, 1, sampling)
      << "2 layers";
  EXPECT_NEAR(MeanSquare(p["lm_head.weight"]) * 120 * 16, 1, sampling);
  EXPECT_EQ(MeanSquare(p["model.norm.weight"]), 1);
}

TEST(InitialValues, BiasesAndSelectionBiasesAreZero) {
  EXPECT_EQ(
      MeanSquare(InitializeParameters(Parsed(TinyQwen2()), 1, {})["model.layers.0.self_attn.q_proj.bias"]),
      0);
  EXPECT_EQ(MeanSquare(InitializeParameters(Parsed(TinyDeepseek()), 1,
                                            {})["model.layers.1.mlp.gate.e_score_correction_bias"]),
            0);
}

TEST(InitialValues, OfATensorDependOnSeedAndNameAlone) {
  const Parameters a = InitializeParameters(Parsed(TinyLlama()), 1, {}),
                   b = InitializeParameters(Parsed(TinyLlama()), 1, {});
  const Parameters other_seed = InitializeParameters(Parsed(TinyLlama()), 2, {});
  const Parameters deeper = InitializeParameters(Parsed(With(TinyLlama(), "num_hidden_layers", 5)), 1, {});
  const std::string name = "model.layers.1.mlp.up_proj.weight";
  EXPECT_TRUE(SameBits(a[name], b[name]));
  EXPECT_FALSE(SameBits(a[name], other_seed[name]));
  EXPECT_TRUE(SameBits(a[name], deeper[name])) << "other tensors come and go";
  EXPECT_FALSE(SameBits(a[name], a["model.layers.1.mlp.gate_proj.weight"]));
}

TEST(InitialValues, ALargeTensorDoesNotRepeatItself) {
  // Longer than the chunk of one stream of draws.
  const Parameters p = InitializeParameters(Parsed(With(TinyLlama(), "vocab_size", 8192)), 1, {});
  const float* data = p["model.embed_tokens.weight"].const_data_ptr<float>();
  EXPECT_NE(memcmp(data, data + 65536, 1000 * sizeof(float)), 0);
}

}  // namespace
}  // namespace temper
