// SPDX-License-Identifier: Apache-2.0
#include "model/blocks.h"

#include "core/check.h"

namespace temper {

std::unique_ptr<Block> MakeAttentionBlock(const ModelConfig& config, const WeightSource& weights,
                                          int64_t layer) {
  return config.is_mla() ? MakeLatentAttention(config, weights, layer)
                         : MakeGroupedAttention(config, weights, layer);
}

std::unique_ptr<Block> MakeMlpBlock(const ModelConfig& config, const WeightSource& weights, int64_t layer) {
  return config.is_moe_layer(layer) ? MakeMoe(config, weights, layer) : MakeDenseMlp(config, weights, layer);
}

kernels::Product Forward(const Weight& weight, Rows x, Rows y, int k_chunks, const Weight* bias, Rows add) {
  TEMPER_CHECK(x.cols == weight.k && y.cols == weight.n);
  kernels::Product product;
  product.a = x.data;
  product.lda = x.stride;
  product.b = weight.data;
  product.ldb = weight.k;
  product.b_transposed = true;
  product.packed = weight.packed;
  product.c = y.data;
  product.ldc = y.stride;
  product.m = x.rows;
  product.n = weight.n;
  product.k = weight.k;
  product.k_chunks = k_chunks;
  product.bias = bias == nullptr ? nullptr : bias->data;
  product.add = add.data;
  product.ldadd = add.stride;
  return product;
}

kernels::Product InputGradient(const Weight& weight, Rows dy, Rows dx, int k_chunks, Rows add) {
  TEMPER_CHECK(dy.cols == weight.n && dx.cols == weight.k);
  kernels::Product product;
  product.a = dy.data;
  product.lda = dy.stride;
  product.b = weight.data;
  product.ldb = weight.k;
  product.b_transposed = false;
  product.c = dx.data;
  product.ldc = dx.stride;
  product.m = dy.rows;
  product.n = weight.k;
  product.k = weight.n;
  product.k_chunks = k_chunks;
  product.add = add.data;
  product.ldadd = add.stride;
  return product;
}

kernels::WeightGradient GradientOf(const Weight& weight, Rows dy, Rows x) {
  TEMPER_CHECK(dy.cols == weight.n && x.cols == weight.k && weight.gradient != nullptr);
  return {dy.data, dy.stride, x.data, x.stride, weight.gradient, weight.k, dy.rows, weight.n, weight.k};
}

}  // namespace temper
