// SPDX-License-Identifier: Apache-2.0
// The kernels as the model calls them: on the CPU the fixed orders of kernels/, on CUDA LibTorch's ops
// (model/torch_ops.cc, which are not exact). Floats live on the context's device; ids, positions and dispatch
// tables on the host.
#pragma once

#include <cstdint>

#include "absl/types/span.h"
#include "core/thread_pool.h"
#include "kernels/attention.h"
#include "kernels/gemm.h"
#include "kernels/route.h"
#include "kernels/row_ops.h"
#include "kernels/token_logprob.h"
#include "model/workspace.h"

namespace temper {

struct Context {
  ThreadPool* pool = nullptr;
  Workspace* workspace = nullptr;
  // LibTorch's ops on `device` instead of the kernels: the only way on CUDA for now; not exact.
  bool library = false;
  at::Device device = at::kCPU;
};

namespace ops {

using kernels::AttentionSequence;
using kernels::AttentionShape;
using kernels::Dispatch;
using kernels::Product;
using kernels::RouteShape;
using kernels::WeightGradient;

void Products(const Context& c, absl::Span<const Product> products);
void WeightGradients(const Context& c, absl::Span<const WeightGradient> gradients);
// dbias[cols] += column sums of dy, rows ascending.
void BiasGradient(const Context& c, Rows dy, float* dbias);

void RmsNorm(const Context& c, Rows x, const float* weight, float eps, Rows y, float* rstd);
// dx = gradient (+ add where it has data); dweight continues its chain (null: skipped).
void RmsNormBackward(const Context& c, Rows dy, Rows x, const float* weight, const float* rstd, Rows add,
                     Rows dx, float* dweight);

// `heads` vectors of `dim` in each row of x, from its first column on, head_stride apart. Tables are on the
// device.
void Rotary(const Context& c, Rows x, int heads, int64_t head_stride, int dim, const int32_t* positions,
            const float* cosines, const float* sines, bool interleaved, bool inverse);
void SwiGlu(const Context& c, Rows gate, Rows up, Rows out);
void SwiGluBackward(const Context& c, Rows dout, Rows gate, Rows up, Rows dgate, Rows dup);

void EmbeddingRows(const Context& c, const float* table, const int32_t* ids, Rows out);
void EmbeddingGradient(const Context& c, Rows dout, const int32_t* ids, float* dtable);
void GatherRows(const Context& c, Rows x, const int32_t* rows, Rows out);

// Copies (or with add, adds) `heads` vectors of `dim` in each of `rows` rows between two layouts.
void CopyHeads(const Context& c, const float* from, int64_t from_row, int64_t from_head, int64_t rows,
               int heads, int dim, float* to, int64_t to_row, int64_t to_head, bool add = false);

// From the context's device.
void CopyToHost(const Context& c, const float* from, int64_t count, float* to);

void WriteBlocks(const Context& c, const AttentionShape& shape, absl::Span<const AttentionSequence> sequences,
                 Rows k, Rows v);
void Attention(const Context& c, const AttentionShape& shape, absl::Span<const AttentionSequence> sequences,
               Rows q, Rows out, float* lse);
void AttentionBackward(const Context& c, const AttentionShape& shape,
                       absl::Span<const AttentionSequence> sequences, Rows q, Rows k, Rows v, Rows out,
                       const float* lse, Rows dout, Rows dq, Rows dk, Rows dv);

void Route(const Context& c, const RouteShape& shape, Rows logits, const float* bias, int32_t* ids,
           float* weights, float* scores);
void RouteBackward(const Context& c, const RouteShape& shape, const int32_t* ids, const float* scores,
                   const float* dweights, Rows dlogits);
void CombineExperts(const Context& c, const Dispatch& dispatch, const int32_t* ids, const float* weights,
                    int top_k, int experts, Rows y, const float* shared, const float* residual, Rows out);
void CombineExpertsBackward(const Context& c, const Dispatch& dispatch, const float* weights, int top_k,
                            Rows dout, Rows y, Rows dy, float* dweights);
void ScatterExperts(const Context& c, const Dispatch& dispatch, const int32_t* ids, int top_k, int experts,
                    Rows dx_entries, const float* add, Rows dx);

void TokenLogprobs(const Context& c, Rows hidden, const float* head, const kernels::PackedMatrix* packed,
                   int64_t vocab, const int32_t* targets, float temperature, float* logprob,
                   kernels::LogSumExp* sums, double* entropy);
void TokenLogprobsBackward(const Context& c, Rows hidden, const float* head, int64_t vocab,
                           const int32_t* targets, float temperature, const kernels::LogSumExp* sums,
                           const float* dlogprob, Rows dhidden, float* dhead);

}  // namespace ops
}  // namespace temper
