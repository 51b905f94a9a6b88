// SPDX-License-Identifier: Apache-2.0
// The whole model's gradients against LibTorch's autograd over the papers' formulas in f64: latent attention
// in its expanded form, experts computed for every token, nothing shared with model/ but the rotary tables.
#include <cmath>
#include <map>

#include "ATen/Parallel.h"
#include "ATen/TensorOperators.h"
#include "ATen/core/Tensor.h"
#include "ATen/ops/cat.h"
#include "ATen/ops/ones.h"
#include "ATen/ops/stack.h"
#include "ATen/ops/tensor.h"
#include "ATen/ops/zeros.h"
#include "gtest/gtest.h"
#include "model/blocks/rope.h"
#include "tests/model/odd_models.h"

namespace temper {
namespace {

using at::Tensor;

// Names end in the shape: T tokens, D hidden, H heads, E experts, any other letter what its line says.
class Reference {
 public:
  Reference(const ModelConfig& config, const Parameters& parameters, kernels::Backend* backend)
      : c_(config), rope_(config, backend) {
    rope_.Reserve(c_.max_positions);
    for (const Parameter& parameter : parameters.list()) {
      weights_[parameter.name] = parameter.value.to(at::kDouble).clone().set_requires_grad(parameter.trained);
    }
  }

  // Of each token after the first, at the temperature.
  Tensor Logprobs(const std::vector<int32_t>& tokens, double temperature) {
    const Tensor ids = at::tensor(std::vector<int64_t>(tokens.begin(), tokens.end()), at::kLong);
    Tensor x_TD = W("model.embed_tokens").index_select(0, ids);
    for (int64_t layer = 0; layer < c_.num_layers; ++layer) x_TD = Layer(layer, x_TD);
    hidden_TD_ = Norm(x_TD, W("model.norm"));
    return HeadLogprobs(hidden_TD_, ids, 1, temperature);
  }

  // Of each token after the second, by the MTP module; behind Logprobs of the same tokens.
  Tensor MtpLogprobs(const std::vector<int32_t>& tokens, double temperature) {
    const Tensor ids = at::tensor(std::vector<int64_t>(tokens.begin(), tokens.end()), at::kLong);
    const int64_t rows = ids.size(0) - 1;
    const std::string module = "model.layers." + std::to_string(c_.num_layers) + ".";
    const Tensor embedded_TD = W("model.embed_tokens").index_select(0, ids.narrow(0, 1, rows));
    const Tensor both = at::cat(
        {Norm(embedded_TD, W(module + "enorm")), Norm(hidden_TD_.narrow(0, 0, rows), W(module + "hnorm"))},
        1);
    const Tensor x_TD = Layer(c_.num_layers, both.matmul(W(module + "eh_proj").t()));
    return HeadLogprobs(Norm(x_TD, W(module + "shared_head.norm")), ids, 2, temperature);
  }

  Tensor Gradient(const std::string& name) { return weights_.at(name).grad(); }

 private:
  Tensor Layer(int64_t layer, const Tensor& in_TD) {
    prefix_ = "model.layers." + std::to_string(layer) + ".";
    window_ = c_.window(layer);
    const Tensor normed_TD = Norm(in_TD, W(prefix_ + "input_layernorm"));
    const Tensor x_TD = in_TD + (c_.is_mla() ? LatentAttention(normed_TD) : GroupedAttention(normed_TD));
    const Tensor mlp_in_TD = Norm(x_TD, W(prefix_ + "post_attention_layernorm"));
    return x_TD + (c_.is_moe_layer(layer) ? Moe(mlp_in_TD) : Mlp(mlp_in_TD, "mlp."));
  }
  // Of the tokens `ahead` of each row.
  Tensor HeadLogprobs(const Tensor& hidden_TD, const Tensor& ids, int64_t ahead, double temperature) {
    const Tensor head = W(c_.tie_word_embeddings ? "model.embed_tokens" : "lm_head");
    const int64_t rows = ids.size(0) - ahead;
    const Tensor logits_TV = hidden_TD.matmul(head.t()) / temperature;
    return logits_TV.log_softmax(-1)
        .narrow(0, 0, rows)
        .gather(1, ids.narrow(0, ahead, rows).unsqueeze(1))
        .squeeze(1);
  }

  Tensor W(const std::string& name) { return weights_.at(name + ".weight"); }
  Tensor Linear(const Tensor& x, const std::string& name) {
    const Tensor y = x.matmul(W(prefix_ + name).t());
    const auto bias = weights_.find(prefix_ + name + ".bias");
    return bias == weights_.end() ? y : y + bias->second;
  }
  Tensor Norm(const Tensor& x, const Tensor& weight, double eps) {
    return x * ((x * x).mean(-1, true) + eps).rsqrt() * weight;
  }
  Tensor Norm(const Tensor& x, const Tensor& weight) {
    return Norm(x, weight, static_cast<double>(c_.rms_norm_eps));
  }

  // x[T, H, R], each pair turned by its position's angle.
  Tensor Rotate(const Tensor& x_THR) {
    const int64_t tokens = x_THR.size(0), half = x_THR.size(2) / 2;
    std::vector<double> cosines(tokens * half), sines(tokens * half);
    for (int64_t i = 0; i < tokens * half; ++i) {
      cosines[i] = rope_.cosines()[i];
      sines[i] = rope_.sines()[i];
    }
    const Tensor cos = at::tensor(cosines, at::kDouble).view({tokens, 1, half});
    const Tensor sin = at::tensor(sines, at::kDouble).view({tokens, 1, half});
    const Tensor pairs = c_.rope_interleaved ? x_THR.reshape({tokens, -1, half, 2})
                                             : x_THR.reshape({tokens, -1, 2, half}).transpose(2, 3);
    const Tensor a = pairs.select(3, 0), b = pairs.select(3, 1);
    const Tensor turned = at::stack({a * cos - b * sin, b * cos + a * sin}, 3);
    return (c_.rope_interleaved ? turned : turned.transpose(2, 3)).reshape(x_THR.sizes());
  }

  // q, k[T, H, A], v[T, H, B].
  Tensor Attend(const Tensor& q, const Tensor& k, const Tensor& v) {
    const int64_t tokens = q.size(0);
    Tensor hidden = at::ones({tokens, tokens}, at::kBool).triu(1);
    if (window_ > 0) hidden = hidden.logical_or(at::ones({tokens, tokens}, at::kBool).tril(-window_));
    const Tensor scores_HTT =
        q.transpose(0, 1).matmul(k.permute({1, 2, 0})) * static_cast<double>(c_.softmax_scale());
    const Tensor p_HTT = scores_HTT.masked_fill(hidden, -INFINITY).softmax(-1);
    return Linear(p_HTT.matmul(v.transpose(0, 1)).transpose(0, 1).reshape({tokens, -1}), "self_attn.o_proj");
  }

  Tensor LatentAttention(const Tensor& x_TD) {
    const int64_t tokens = x_TD.size(0), nope = c_.qk_nope_head_dim, rope = c_.qk_rope_head_dim;
    const Tensor q =
        c_.q_lora_rank == 0
            ? Linear(x_TD, "self_attn.q_proj")
            : Linear(Norm(Linear(x_TD, "self_attn.q_a_proj"), W(prefix_ + "self_attn.q_a_layernorm"), 1e-6),
                     "self_attn.q_b_proj");
    const Tensor q_THA = q.view({tokens, c_.num_heads, nope + rope});
    const Tensor down = Linear(x_TD, "self_attn.kv_a_proj_with_mqa");
    const Tensor latent =
        Norm(down.narrow(1, 0, c_.kv_lora_rank), W(prefix_ + "self_attn.kv_a_layernorm"), 1e-6);
    const Tensor kv = Linear(latent, "self_attn.kv_b_proj").view({tokens, c_.num_heads, -1});
    const Tensor key_T1R = Rotate(down.narrow(1, c_.kv_lora_rank, rope).unsqueeze(1));
    return Attend(at::cat({q_THA.narrow(2, 0, nope), Rotate(q_THA.narrow(2, nope, rope))}, 2),
                  at::cat({kv.narrow(2, 0, nope), key_T1R.expand({tokens, c_.num_heads, rope})}, 2),
                  kv.narrow(2, nope, c_.v_head_dim));
  }

  Tensor GroupedAttention(const Tensor& x_TD) {
    const int64_t tokens = x_TD.size(0), each = c_.num_heads / c_.num_kv_heads;
    const auto heads = [&](const char* name) { return Linear(x_TD, name).view({tokens, -1, c_.head_dim}); };
    Tensor q_THA = heads("self_attn.q_proj"), k_THA = heads("self_attn.k_proj");
    if (weights_.count(prefix_ + "self_attn.q_norm.weight") > 0) {
      q_THA = Norm(q_THA, W(prefix_ + "self_attn.q_norm"));
      k_THA = Norm(k_THA, W(prefix_ + "self_attn.k_norm"));
    }
    return Attend(Rotate(q_THA), Rotate(k_THA).repeat_interleave(each, 1),
                  heads("self_attn.v_proj").repeat_interleave(each, 1));
  }

  Tensor Mlp(const Tensor& x, const std::string& name) {
    const Tensor gate = Linear(x, name + "gate_proj");
    return Linear(gate * gate.sigmoid() * Linear(x, name + "up_proj"), name + "down_proj");
  }

  // Which experts, [T, E] of 0 and 1.
  Tensor Selected(const Tensor& scores_TE) {
    const int64_t tokens = scores_TE.size(0), in_group = c_.routed_experts / c_.expert_groups;
    const auto bias = weights_.find(prefix_ + "mlp.gate.e_score_correction_bias");
    Tensor biased = scores_TE.detach();
    if (bias != weights_.end()) biased = biased + bias->second;
    const Tensor grouped = biased.view({tokens, c_.expert_groups, in_group});
    const Tensor group_scores = std::get<0>(grouped.topk(bias != weights_.end() ? 2 : 1, -1)).sum(-1);
    const Tensor groups = std::get<1>(group_scores.topk(c_.top_groups, -1));
    const Tensor kept = at::zeros({tokens, c_.expert_groups}, at::kDouble).scatter(1, groups, 1.0);
    const Tensor allowed = grouped.masked_fill(kept.unsqueeze(-1) == 0, -INFINITY).view({tokens, -1});
    return at::zeros_like(allowed).scatter(1, std::get<1>(allowed.topk(c_.experts_per_token, -1)), 1.0);
  }

  Tensor Moe(const Tensor& x_TD) {
    const Tensor logits_TE = Linear(x_TD, "mlp.gate");
    const Tensor scores_TE = c_.sigmoid_scores ? logits_TE.sigmoid() : logits_TE.softmax(-1);
    Tensor weights_TE = scores_TE * Selected(scores_TE);
    if (c_.norm_topk_prob) weights_TE = weights_TE / weights_TE.sum(-1, true);
    Tensor out = c_.shared_experts > 0 ? Mlp(x_TD, "mlp.shared_experts.") : at::zeros_like(x_TD);
    for (int64_t e = 0; e < c_.routed_experts; ++e) {
      out = out + weights_TE.narrow(1, e, 1) * static_cast<double>(c_.routed_scaling_factor) *
                      Mlp(x_TD, "mlp.experts." + std::to_string(e) + ".");
    }
    return out;
  }

  const ModelConfig c_;
  RopeTables rope_;
  std::map<std::string, Tensor> weights_;
  std::string prefix_;
  int64_t window_ = 0;
  Tensor hidden_TD_;
};

// The largest difference over the largest number.
double RelativeError(const Tensor& got, const Tensor& expected) {
  const double size = expected.abs().max().item<double>();
  EXPECT_GT(size, 0);
  return (got.to(at::kDouble) - expected).abs().max().item<double>() / size;
}

void ExpectTheGradientsOfAutograd(const Json& json, double tolerance = 2e-5) {
  at::set_num_threads(1);
  Policy policy(json);
  CausalLm& model = policy.model;
  const Sequences sequences = {RandomTokens(711, 70, 1), RandomTokens(711, 9, 2)};
  const Microbatch batch = Packed(sequences);
  std::vector<float> logprobs(batch.tokens.size()), dlogprobs(batch.tokens.size()),
      gradients(model.weights().GradientFloats());
  for (size_t i = 0; i < dlogprobs.size(); ++i) dlogprobs[i] = 0.25f * static_cast<float>(i % 5) - 0.4f;
  model.weights().BindGradients(gradients.data());
  TrainPass pass(&model.stack(), TrainPass::Keep::kAll);
  pass.Logprobs(batch, 0.7f, logprobs.data());
  MtpRows* const mtp = pass.mtp_rows();
  ASSERT_EQ(mtp != nullptr, model.config().has_mtp());
  for (size_t i = 0; mtp != nullptr && i < mtp->dlogprobs.size(); ++i)
    mtp->dlogprobs[i] = 0.2f * static_cast<float>(i % 7) - 0.5f;
  pass.Backward(dlogprobs.data());
  model.weights().FoldTiedHead();

  Reference reference(model.config(), model.parameters(), policy.backend.get());
  Tensor loss;
  int64_t first = 0;
  for (const std::vector<int32_t>& sequence : sequences) {
    const Tensor expected = reference.Logprobs(sequence, 0.7);
    std::vector<double> got, d;
    for (int64_t i = 0; i < expected.size(0); ++i) {
      got.push_back(logprobs[first + i]);
      d.push_back(dlogprobs[first + i]);
    }
    EXPECT_LT(RelativeError(at::tensor(got, at::kDouble), expected.detach()), 1e-5);
    const Tensor part = (expected * at::tensor(d, at::kDouble)).sum();
    loss = loss.defined() ? loss + part : part;
    if (mtp != nullptr) {
      const Tensor of_module = reference.MtpLogprobs(sequence, 0.7);
      const auto rows = of_module.size(0);
      const Tensor seen = at::tensor(at::ArrayRef<float>(mtp->logprobs.data() + first, rows), at::kFloat);
      EXPECT_LT(RelativeError(seen, of_module.detach()), 1e-5);
      loss =
          loss +
          (of_module *
           at::tensor(at::ArrayRef<float>(mtp->dlogprobs.data() + first, rows), at::kFloat).to(at::kDouble))
              .sum();
    }
    first += static_cast<int64_t>(sequence.size());
  }
  loss.backward();

  for (const LayoutEntry& entry : model.parameters().layout().entries()) {
    if (!entry.trained) continue;
    const at::ArrayRef<float> flat(gradients.data() + entry.offset, entry.elements);
    const Tensor got = at::tensor(flat, at::kFloat).view(entry.shape);
    const Tensor expected = reference.Gradient(entry.name);
    ASSERT_TRUE(expected.defined()) << entry.name;
    if (entry.expert >= 0 && expected.abs().max().item<double>() == 0) {  // it got no token
      EXPECT_EQ(got.abs().max().item<float>(), 0) << entry.name;
      continue;
    }
    EXPECT_LT(RelativeError(got, expected), tolerance) << entry.name;
  }
}

TEST(Gradient, IsAutogradsForDeepseekV3) { ExpectTheGradientsOfAutograd(OddDeepseek()); }
// Its loss also moves what it shares: the layers below, the embedding and the head.
TEST(Gradient, IsAutogradsForDeepseekV3WithItsMtpModule) {
  ExpectTheGradientsOfAutograd(OddMtp());
  ExpectTheGradientsOfAutograd(With(OddMtp(), "tie_word_embeddings", true));
}
TEST(Gradient, IsAutogradsForDeepseekV3WithYarnAndAPlainQuery) { ExpectTheGradientsOfAutograd(OddYarn()); }
TEST(Gradient, IsAutogradsForDeepseekV3WithWeightsThatAreNotNormalised) {
  ExpectTheGradientsOfAutograd(With(OddDeepseek(), "norm_topk_prob", false));
}
TEST(Gradient, IsAutogradsForDeepseekV2WithBiases) { ExpectTheGradientsOfAutograd(OddDeepseekV2()); }
TEST(Gradient, IsAutogradsForDeepseekV2Lite) { ExpectTheGradientsOfAutograd(OddDeepseekV2Lite()); }
TEST(Gradient, IsAutogradsForQwen3) { ExpectTheGradientsOfAutograd(OddQwen3()); }
TEST(Gradient, IsAutogradsForQwen3Moe) {
  ExpectTheGradientsOfAutograd(OddQwen3Moe());
  ExpectTheGradientsOfAutograd(With(OddQwen3Moe(), "norm_topk_prob", false));
}
TEST(Gradient, IsAutogradsForWindows) {
  ExpectTheGradientsOfAutograd(OddWindows());
  ExpectTheGradientsOfAutograd(OddMistral());
}
TEST(Gradient, IsAutogradsForQwen2WithATiedHead) { ExpectTheGradientsOfAutograd(OddQwen2()); }
TEST(Gradient, IsAutogradsForLlamaWithBiases) {
  ExpectTheGradientsOfAutograd(With(With(OddLlama(), "attention_bias", true), "mlp_bias", true));
}

}  // namespace
}  // namespace temper
