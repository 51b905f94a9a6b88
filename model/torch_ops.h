// SPDX-License-Identifier: Apache-2.0
// The same functions as model/ops.h in LibTorch's ops, for CUDA tensors until temper has its own kernels
// there. LibTorch orders the sums as it likes: not exact. Works on the CPU too, which is how it is tested.
// Pointers to floats are on `device`, ids, positions, dispatch tables, LogSumExp and entropy on the host.
#pragma once

#include "model/ops.h"

namespace temper::torch_ops {

using ops::AttentionSequence;
using ops::AttentionShape;
using ops::Dispatch;
using ops::Product;
using ops::RouteShape;
using ops::WeightGradient;

void Products(at::Device device, absl::Span<const Product> products);
void WeightGradients(at::Device device, absl::Span<const WeightGradient> gradients);
void BiasGradient(at::Device device, Rows dy, float* dbias);

void RmsNorm(at::Device device, Rows x, const float* weight, float eps, Rows y, float* rstd);
// dx = gradient (+ add where it has data); dweight continues its chain (null: skipped).
void RmsNormBackward(at::Device device, Rows dy, Rows x, const float* weight, const float* rstd, Rows add,
                     Rows dx, float* dweight);

// `heads` vectors of `dim` in each row of x, from its first column on, head_stride apart. Tables are on the
// device.
void Rotary(at::Device device, Rows x, int heads, int64_t head_stride, int dim, const int32_t* positions,
            const float* cosines, const float* sines, bool interleaved, bool inverse);
void SwiGlu(at::Device device, Rows gate, Rows up, Rows out);
void SwiGluBackward(at::Device device, Rows dout, Rows gate, Rows up, Rows dgate, Rows dup);

void EmbeddingRows(at::Device device, const float* table, const int32_t* ids, Rows out);
void EmbeddingGradient(at::Device device, Rows dout, const int32_t* ids, float* dtable);
void GatherRows(at::Device device, Rows x, const int32_t* rows, Rows out);

// Copies (or with add, adds) `heads` vectors of `dim` in each of `rows` rows between two layouts.
void CopyHeads(at::Device device, const float* from, int64_t from_row, int64_t from_head, int64_t rows,
               int heads, int dim, float* to, int64_t to_row, int64_t to_head, bool add = false);

void CopyToHost(at::Device device, const float* from, int64_t count, float* to);

void WriteBlocks(at::Device device, const AttentionShape& shape,
                 absl::Span<const AttentionSequence> sequences, Rows k, Rows v);
void Attention(at::Device device, const AttentionShape& shape, absl::Span<const AttentionSequence> sequences,
               Rows q, Rows out, float* lse);
void AttentionBackward(at::Device device, const AttentionShape& shape,
                       absl::Span<const AttentionSequence> sequences, Rows q, Rows k, Rows v, Rows out,
                       const float* lse, Rows dout, Rows dq, Rows dk, Rows dv);

void Route(at::Device device, const RouteShape& shape, Rows logits, const float* bias, int32_t* ids,
           float* weights, float* scores);
void RouteBackward(at::Device device, const RouteShape& shape, const int32_t* ids, const float* scores,
                   const float* dweights, Rows dlogits);
void CombineExperts(at::Device device, const Dispatch& dispatch, const int32_t* ids, const float* weights,
                    int top_k, int experts, Rows y, const float* shared, const float* residual, Rows out);
void CombineExpertsBackward(at::Device device, const Dispatch& dispatch, const float* weights, int top_k,
                            Rows dout, Rows y, Rows dy, float* dweights);
void ScatterExperts(at::Device device, const Dispatch& dispatch, const int32_t* ids, int top_k, int experts,
                    Rows dx_entries, const float* add, Rows dx);

void TokenLogprobs(at::Device device, Rows hidden, const float* head, int64_t vocab, const int32_t* targets,
                   float temperature, float* logprob, kernels::LogSumExp* sums, double* entropy);
void TokenLogprobsBackward(at::Device device, Rows hidden, const float* head, int64_t vocab,
                           const int32_t* targets, float temperature, const kernels::LogSumExp* sums,
                           const float* dlogprob, Rows dhidden, float* dhead);

}  // namespace temper::torch_ops
