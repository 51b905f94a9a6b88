// SPDX-License-Identifier: Apache-2.0
#include "model/ops.h"

#include <algorithm>

#include "model/torch_ops.h"

namespace temper::ops {

void Products(const Context& c, absl::Span<const Product> products) {
  if (c.library) return torch_ops::Products(c.device, products);
  kernels::Products(products, *c.pool);
}

void WeightGradients(const Context& c, absl::Span<const WeightGradient> gradients) {
  if (c.library) return torch_ops::WeightGradients(c.device, gradients);
  kernels::WeightGradients(gradients, *c.pool);
}

void BiasGradient(const Context& c, Rows dy, float* dbias) {
  if (c.library) return torch_ops::BiasGradient(c.device, dy, dbias);
  kernels::BiasGradient(dy.data, dy.stride, dy.rows, dy.cols, dbias, *c.pool);
}

void RmsNorm(const Context& c, Rows x, const float* weight, float eps, Rows y, float* rstd) {
  if (c.library) return torch_ops::RmsNorm(c.device, x, weight, eps, y, rstd);
  kernels::RmsNorm(x.data, x.stride, weight, eps, x.rows, x.cols, y.data, y.stride, rstd, *c.pool);
}

void RmsNormBackward(const Context& c, Rows dy, Rows x, const float* weight, const float* rstd, Rows add,
                     Rows dx, float* dweight) {
  if (c.library) return torch_ops::RmsNormBackward(c.device, dy, x, weight, rstd, add, dx, dweight);
  kernels::RmsNormBackward(dy.data, dy.stride, x.data, x.stride, weight, rstd, x.rows, x.cols, add.data,
                           add.stride, dx.data, dx.stride, dweight, *c.pool);
}

void Rotary(const Context& c, Rows x, int heads, int64_t head_stride, int dim, const int32_t* positions,
            const float* cosines, const float* sines, bool interleaved, bool inverse) {
  if (c.library)
    return torch_ops::Rotary(c.device, x, heads, head_stride, dim, positions, cosines, sines, interleaved,
                             inverse);
  kernels::Rotary(x.data, x.stride, x.rows, heads, head_stride, dim, positions, cosines, sines, interleaved,
                  inverse, *c.pool);
}

void SwiGlu(const Context& c, Rows gate, Rows up, Rows out) {
  if (c.library) return torch_ops::SwiGlu(c.device, gate, up, out);
  kernels::SwiGlu(gate.data, gate.stride, up.data, up.stride, gate.rows, gate.cols, out.data, out.stride,
                  *c.pool);
}

void SwiGluBackward(const Context& c, Rows dout, Rows gate, Rows up, Rows dgate, Rows dup) {
  if (c.library) return torch_ops::SwiGluBackward(c.device, dout, gate, up, dgate, dup);
  kernels::SwiGluBackward(dout.data, dout.stride, gate.data, gate.stride, up.data, up.stride, gate.rows,
                          gate.cols, dgate.data, dgate.stride, dup.data, dup.stride, *c.pool);
}

void EmbeddingRows(const Context& c, const float* table, const int32_t* ids, Rows out) {
  if (c.library) return torch_ops::EmbeddingRows(c.device, table, ids, out);
  kernels::EmbeddingRows(table, out.cols, ids, out.rows, out.data, *c.pool);
}

void EmbeddingGradient(const Context& c, Rows dout, const int32_t* ids, float* dtable) {
  if (c.library) return torch_ops::EmbeddingGradient(c.device, dout, ids, dtable);
  kernels::EmbeddingGradient(dout.data, ids, dout.rows, dout.cols, dtable, *c.pool);
}

void GatherRows(const Context& c, Rows x, const int32_t* rows, Rows out) {
  if (c.library) return torch_ops::GatherRows(c.device, x, rows, out);
  kernels::GatherRows(x.data, x.stride, rows, out.rows, out.cols, out.data, out.stride, *c.pool);
}

void CopyHeads(const Context& c, const float* from, int64_t from_row, int64_t from_head, int64_t rows,
               int heads, int dim, float* to, int64_t to_row, int64_t to_head, bool add) {
  if (c.library)
    return torch_ops::CopyHeads(c.device, from, from_row, from_head, rows, heads, dim, to, to_row, to_head,
                                add);
  c.pool->ParallelFor(rows, 32, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      for (int head = 0; head < heads; ++head) {
        const float* source = from + row * from_row + head * from_head;
        float* target = to + row * to_row + head * to_head;
        for (int i = 0; i < dim; ++i) target[i] = add ? target[i] + source[i] : source[i];
      }
    }
  });
}

void CopyToHost(const Context& c, const float* from, int64_t count, float* to) {
  if (c.library) return torch_ops::CopyToHost(c.device, from, count, to);
  std::copy_n(from, count, to);
}

void WriteBlocks(const Context& c, const AttentionShape& shape, absl::Span<const AttentionSequence> sequences,
                 Rows k, Rows v) {
  if (c.library) return torch_ops::WriteBlocks(c.device, shape, sequences, k, v);
  kernels::WriteBlocks(shape, sequences, k.data, k.stride, v.data, v.stride, *c.pool);
}

void Attention(const Context& c, const AttentionShape& shape, absl::Span<const AttentionSequence> sequences,
               Rows q, Rows out, float* lse) {
  if (c.library) return torch_ops::Attention(c.device, shape, sequences, q, out, lse);
  kernels::Attention(shape, sequences, q.data, q.stride, out.data, out.stride, lse, *c.pool);
}

void AttentionBackward(const Context& c, const AttentionShape& shape,
                       absl::Span<const AttentionSequence> sequences, Rows q, Rows k, Rows v, Rows out,
                       const float* lse, Rows dout, Rows dq, Rows dk, Rows dv) {
  if (c.library)
    return torch_ops::AttentionBackward(c.device, shape, sequences, q, k, v, out, lse, dout, dq, dk, dv);
  kernels::AttentionBackward(shape, sequences, q.data, q.stride, k.data, k.stride, v.data, v.stride, out.data,
                             out.stride, lse, dout.data, dout.stride, dq.data, dq.stride, dk.data, dk.stride,
                             dv.data, dv.stride, *c.pool);
}

void Route(const Context& c, const RouteShape& shape, Rows logits, const float* bias, int32_t* ids,
           float* weights, float* scores) {
  if (c.library) return torch_ops::Route(c.device, shape, logits, bias, ids, weights, scores);
  kernels::Route(shape, logits.data, bias, logits.rows, ids, weights, scores, *c.pool);
}

void RouteBackward(const Context& c, const RouteShape& shape, const int32_t* ids, const float* scores,
                   const float* dweights, Rows dlogits) {
  if (c.library) return torch_ops::RouteBackward(c.device, shape, ids, scores, dweights, dlogits);
  kernels::RouteBackward(shape, ids, scores, dweights, dlogits.rows, dlogits.data, *c.pool);
}

void CombineExperts(const Context& c, const Dispatch& dispatch, const int32_t* ids, const float* weights,
                    int top_k, int experts, Rows y, const float* shared, const float* residual, Rows out) {
  if (c.library)
    return torch_ops::CombineExperts(c.device, dispatch, ids, weights, top_k, experts, y, shared, residual,
                                     out);
  kernels::CombineExperts(dispatch, ids, weights, out.rows, top_k, experts, y.data, out.cols, shared,
                          residual, out.data, *c.pool);
}

void CombineExpertsBackward(const Context& c, const Dispatch& dispatch, const float* weights, int top_k,
                            Rows dout, Rows y, Rows dy, float* dweights) {
  if (c.library)
    return torch_ops::CombineExpertsBackward(c.device, dispatch, weights, top_k, dout, y, dy, dweights);
  kernels::CombineExpertsBackward(dispatch, weights, dout.rows, top_k, dout.data, y.data, dout.cols, dy.data,
                                  dweights, *c.pool);
}

void ScatterExperts(const Context& c, const Dispatch& dispatch, const int32_t* ids, int top_k, int experts,
                    Rows dx_entries, const float* add, Rows dx) {
  if (c.library)
    return torch_ops::ScatterExperts(c.device, dispatch, ids, top_k, experts, dx_entries, add, dx);
  kernels::ScatterExperts(dispatch, ids, dx.rows, top_k, experts, dx_entries.data, dx.cols, add, dx.data,
                          *c.pool);
}

void TokenLogprobs(const Context& c, Rows hidden, const float* head, const kernels::PackedMatrix* packed,
                   int64_t vocab, const int32_t* targets, float temperature, float* logprob,
                   kernels::LogSumExp* sums, double* entropy) {
  if (c.library)
    return torch_ops::TokenLogprobs(c.device, hidden, head, vocab, targets, temperature, logprob, sums,
                                    entropy);
  kernels::TokenLogprobs(hidden.data, hidden.stride, hidden.rows, hidden.cols, head, packed, vocab, targets,
                         temperature, logprob, sums, entropy, *c.pool);
}

void TokenLogprobsBackward(const Context& c, Rows hidden, const float* head, int64_t vocab,
                           const int32_t* targets, float temperature, const kernels::LogSumExp* sums,
                           const float* dlogprob, Rows dhidden, float* dhead) {
  if (c.library) {
    return torch_ops::TokenLogprobsBackward(c.device, hidden, head, vocab, targets, temperature, sums,
                                            dlogprob, dhidden, dhead);
  }
  kernels::TokenLogprobsBackward(hidden.data, hidden.stride, hidden.rows, hidden.cols, head, vocab, targets,
                                 temperature, sums, dlogprob, dhidden.data, dhidden.stride, dhead, *c.pool);
}

}  // namespace temper::ops
