// SPDX-License-Identifier: Apache-2.0
#include "model/torch_ops.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "ATen/ATen.h"
#include "core/check.h"

namespace temper::torch_ops {
namespace {

at::Tensor Wrap(at::Device device, const float* data, at::IntArrayRef sizes, at::IntArrayRef strides) {
  return at::for_blob(const_cast<float*>(data), sizes)
      .strides(strides)
      .options(at::TensorOptions().dtype(at::kFloat).device(device))
      .target_device(device)
      .make_tensor();
}
at::Tensor Wrap(at::Device device, Rows rows) {
  return Wrap(device, rows.data, {rows.rows, rows.cols}, {rows.stride, 1});
}
at::Tensor Wrap(at::Device device, const float* data, int64_t n) { return Wrap(device, data, {n}, {1}); }

at::Tensor Ints(at::Device device, const int32_t* data, int64_t n) {
  return at::from_blob(const_cast<int32_t*>(data), {n}, at::kInt).to(at::kLong).to(device);
}

template <class T>
void ToHost(const at::Tensor& tensor, at::ScalarType type, T* out) {
  at::from_blob(out, tensor.sizes(), type).copy_(tensor);
}

// [rows, heads, dim] of a row-major matrix whose heads lie side by side.
at::Tensor Heads(at::Device device, Rows rows, int64_t heads, int64_t dim) {
  return Wrap(device, rows.data, {rows.rows, heads, dim}, {rows.stride, dim, 1});
}

// The logits of rows / T, and log_softmax's parts.
at::Tensor ScaledLogits(at::Device device, Rows hidden, const float* head, int64_t vocab, float temperature) {
  const at::Tensor logits =
      at::matmul(Wrap(device, hidden), Wrap(device, head, {vocab, hidden.cols}, {hidden.cols, 1}).t());
  return temperature == 0 || temperature == 1 ? logits : logits / temperature;
}

// A sequence's keys or values out of its blocks: [positions, kv_heads, dim].
at::Tensor FromBlocks(at::Device device, const AttentionShape& shape, const AttentionSequence& sequence,
                      bool values) {
  const int64_t positions = sequence.first_position + sequence.rows;
  const int64_t head_floats = int64_t{kernels::kAttentionBlock} * (shape.qk_dim + shape.v_dim);
  std::vector<at::Tensor> parts;
  for (int64_t begin = 0; begin < positions; begin += kernels::kAttentionBlock) {
    const float* block = sequence.blocks[begin / kernels::kAttentionBlock];
    const int64_t count = std::min<int64_t>(kernels::kAttentionBlock, positions - begin);
    parts.push_back(values ? Wrap(device, block + int64_t{kernels::kAttentionBlock} * shape.qk_dim,
                                  {count, shape.kv_heads, shape.v_dim}, {shape.v_dim, head_floats, 1})
                           : Wrap(device, block, {count, shape.kv_heads, shape.qk_dim},
                                  {1, head_floats, kernels::kAttentionBlock}));
  }
  return at::cat(parts);
}

struct Probabilities {
  at::Tensor weights;  // [heads, rows, keys]
  at::Tensor lse;      // [heads, rows]
};
Probabilities Softmax(const AttentionShape& shape, const at::Tensor& q_RHD, const at::Tensor& k_KGD,
                      int64_t first_position) {
  const int64_t rows = q_RHD.size(0), keys = k_KGD.size(0), repeat = shape.q_heads / shape.kv_heads;
  const at::Tensor k = k_KGD.repeat_interleave(repeat, 1);
  at::Tensor scores = at::matmul(q_RHD.transpose(0, 1), k.permute({1, 2, 0})) * shape.scale;
  const at::Tensor all = at::ones({rows, keys}, q_RHD.options().dtype(at::kBool));
  at::Tensor mask = all.triu(first_position + 1);
  if (shape.window > 0) mask = mask.logical_or(all.tril(first_position - shape.window));
  scores = scores.masked_fill(mask, -INFINITY);
  const at::Tensor lse = scores.logsumexp(-1);
  return {(scores - lse.unsqueeze(-1)).exp(), lse};
}

// Indices of the `count` largest in each row, ties to the lower one, which topk does not promise.
at::Tensor Largest(const at::Tensor& values, int64_t count) {
  return std::get<1>(values.sort(/*stable=*/true, /*dim=*/-1, /*descending=*/true)).narrow(-1, 0, count);
}

// Rows whose logits are in memory at once, and those of them from `first` on.
constexpr int64_t kLogitRows = 1024;
Rows Part(Rows rows, int64_t first) {
  return {rows.data + first * rows.stride, std::min(kLogitRows, rows.rows - first), rows.cols, rows.stride};
}

}  // namespace

void Products(at::Device device, absl::Span<const Product> products) {
  for (const Product& p : products) {
    if (p.m == 0) continue;
    const at::Tensor a = Wrap(device, p.a, {p.m, p.k}, {p.lda, 1});
    const at::Tensor b = p.b_transposed ? Wrap(device, p.b, {p.k, p.n}, {1, p.ldb})
                                        : Wrap(device, p.b, {p.k, p.n}, {p.ldb, 1});
    at::Tensor c = at::matmul(a, b);
    if (p.bias != nullptr) c = c + Wrap(device, p.bias, p.n);
    if (p.add != nullptr) c = c + Wrap(device, p.add, {p.m, p.n}, {p.ldadd, 1});
    Wrap(device, p.c, {p.m, p.n}, {p.ldc, 1}).copy_(c);
  }
}

void WeightGradients(at::Device device, absl::Span<const WeightGradient> gradients) {
  for (const WeightGradient& g : gradients) {
    if (g.m == 0) continue;
    Wrap(device, g.dw, {g.n, g.k}, {g.lddw, 1})
        .add_(at::matmul(Wrap(device, g.dy, {g.m, g.n}, {g.lddy, 1}).t(),
                         Wrap(device, g.x, {g.m, g.k}, {g.ldx, 1})));
  }
}

void BiasGradient(at::Device device, Rows dy, float* dbias) {
  Wrap(device, dbias, dy.cols).add_(Wrap(device, dy).sum(0));
}

void RmsNorm(at::Device device, Rows x, const float* weight, float eps, Rows y, float* rstd) {
  const at::Tensor in = Wrap(device, x);
  const at::Tensor r = (in.square().mean(-1, true) + eps).rsqrt();
  Wrap(device, y).copy_(in * r * Wrap(device, weight, x.cols));
  if (rstd != nullptr) Wrap(device, rstd, x.rows).copy_(r.squeeze(-1));
}

void RmsNormBackward(at::Device device, Rows dy, Rows x, const float* weight, const float* rstd, Rows add,
                     Rows dx, float* dweight) {
  const at::Tensor r = Wrap(device, rstd, x.rows).unsqueeze(-1), normed = Wrap(device, x) * r,
                   gradient = Wrap(device, dy);
  const at::Tensor scaled = gradient * Wrap(device, weight, x.cols);
  at::Tensor result = r * (scaled - normed * (scaled * normed).mean(-1, true));
  if (add.data != nullptr) result = result + Wrap(device, add);
  if (dweight != nullptr) Wrap(device, dweight, x.cols).add_((gradient * normed).sum(0));
  Wrap(device, dx).copy_(result);
}

void Rotary(at::Device device, Rows x, int heads, int64_t head_stride, int dim, const int32_t* positions,
            const float* cosines, const float* sines, bool interleaved, bool inverse) {
  if (x.rows == 0) return;
  const int64_t half = dim / 2;
  const int64_t first = interleaved ? 2 : 1;
  at::Tensor a = Wrap(device, x.data, {x.rows, heads, half}, {x.stride, head_stride, first});
  at::Tensor b =
      Wrap(device, x.data + (interleaved ? 1 : half), {x.rows, heads, half}, {x.stride, head_stride, first});
  int64_t count = 0;
  for (int64_t i = 0; i < x.rows; ++i) count = std::max<int64_t>(count, positions[i] + 1);
  const at::Tensor index = Ints(device, positions, x.rows);
  const at::Tensor cosine =
      Wrap(device, cosines, {count, half}, {half, 1}).index_select(0, index).unsqueeze(1);
  at::Tensor sine = Wrap(device, sines, {count, half}, {half, 1}).index_select(0, index).unsqueeze(1);
  if (inverse) sine = -sine;
  const at::Tensor new_a = a * cosine - b * sine, new_b = a * sine + b * cosine;
  a.copy_(new_a);
  b.copy_(new_b);
}

void SwiGlu(at::Device device, Rows gate, Rows up, Rows out) {
  Wrap(device, out).copy_(at::silu(Wrap(device, gate)) * Wrap(device, up));
}

void SwiGluBackward(at::Device device, Rows dout, Rows gate, Rows up, Rows dgate, Rows dup) {
  const at::Tensor g = Wrap(device, gate), d = Wrap(device, dout), s = at::sigmoid(g);
  const at::Tensor silu = g * s;
  const at::Tensor dg = d * Wrap(device, up) * (s + silu * (1 - s));
  Wrap(device, dup).copy_(d * silu);
  Wrap(device, dgate).copy_(dg);
}

void EmbeddingRows(at::Device device, const float* table, const int32_t* ids, Rows out) {
  GatherRows(device, {const_cast<float*>(table), 0, out.cols, out.cols}, ids, out);
}

void EmbeddingGradient(at::Device device, Rows dout, const int32_t* ids, float* dtable) {
  int64_t count = 0;
  for (int64_t i = 0; i < dout.rows; ++i) count = std::max<int64_t>(count, ids[i] + 1);
  Wrap(device, dtable, {count, dout.cols}, {dout.cols, 1})
      .index_add_(0, Ints(device, ids, dout.rows), Wrap(device, dout));
}

void GatherRows(at::Device device, Rows x, const int32_t* rows, Rows out) {
  int64_t count = 0;
  for (int64_t i = 0; i < out.rows; ++i) count = std::max<int64_t>(count, rows[i] + 1);
  Wrap(device, out)
      .copy_(
          Wrap(device, x.data, {count, x.cols}, {x.stride, 1}).index_select(0, Ints(device, rows, out.rows)));
}

void CopyHeads(at::Device device, const float* from, int64_t from_row, int64_t from_head, int64_t rows,
               int heads, int dim, float* to, int64_t to_row, int64_t to_head, bool add) {
  const at::Tensor source = Wrap(device, from, {rows, heads, dim}, {from_row, from_head, 1});
  at::Tensor target = Wrap(device, to, {rows, heads, dim}, {to_row, to_head, 1});
  if (add) {
    target.add_(source);
  } else {
    target.copy_(source);
  }
}

void CopyToHost(at::Device device, const float* from, int64_t count, float* to) {
  ToHost(Wrap(device, from, count), at::kFloat, to);
}

void WriteBlocks(at::Device device, const AttentionShape& shape,
                 absl::Span<const AttentionSequence> sequences, Rows k, Rows v) {
  const int64_t block = kernels::kAttentionBlock, head_floats = block * (shape.qk_dim + shape.v_dim);
  for (const AttentionSequence& sequence : sequences) {
    for (int64_t i = 0; i < sequence.rows;) {
      const int64_t position = sequence.first_position + i, offset = position % block;
      const int64_t count = std::min(sequence.rows - i, block - offset);
      float* base = sequence.blocks[position / block];
      const int64_t row = sequence.first_row + i;
      Wrap(device, base + offset, {count, shape.kv_heads, shape.qk_dim}, {1, head_floats, block})
          .copy_(Wrap(device, k.data + row * k.stride, {count, shape.kv_heads, shape.qk_dim},
                      {k.stride, shape.qk_dim, 1}));
      Wrap(device, base + block * shape.qk_dim + offset * shape.v_dim, {count, shape.kv_heads, shape.v_dim},
           {shape.v_dim, head_floats, 1})
          .copy_(Wrap(device, v.data + row * v.stride, {count, shape.kv_heads, shape.v_dim},
                      {v.stride, shape.v_dim, 1}));
      i += count;
    }
  }
}

void Attention(at::Device device, const AttentionShape& shape, absl::Span<const AttentionSequence> sequences,
               Rows q, Rows out, float* lse) {
  const at::Tensor all_q = Heads(device, q, shape.q_heads, shape.qk_dim),
                   all_out = Heads(device, out, shape.q_heads, shape.v_dim);
  for (const AttentionSequence& s : sequences) {
    if (s.rows == 0) continue;
    const Probabilities p = Softmax(shape, all_q.narrow(0, s.first_row, s.rows),
                                    FromBlocks(device, shape, s, false), s.first_position);
    const at::Tensor v =
        FromBlocks(device, shape, s, true).repeat_interleave(shape.q_heads / shape.kv_heads, 1);
    all_out.narrow(0, s.first_row, s.rows).copy_(at::matmul(p.weights, v.transpose(0, 1)).transpose(0, 1));
    if (lse != nullptr)
      Wrap(device, lse + s.first_row * shape.q_heads, {s.rows, shape.q_heads}, {shape.q_heads, 1})
          .copy_(p.lse.t());
  }
}

void AttentionBackward(at::Device device, const AttentionShape& shape,
                       absl::Span<const AttentionSequence> sequences, Rows q, Rows k, Rows v, Rows out,
                       const float* lse, Rows dout, Rows dq, Rows dk, Rows dv) {
  const int64_t repeat = shape.q_heads / shape.kv_heads;
  const auto narrow = [](const at::Tensor& t, const AttentionSequence& s) {
    return t.narrow(0, s.first_row, s.rows);
  };
  const auto fold = [&](const at::Tensor& t) {  // [heads, rows, dim] -> [rows, kv_heads, dim]
    return t.view({shape.kv_heads, repeat, t.size(1), t.size(2)}).sum(1).transpose(0, 1);
  };
  for (const AttentionSequence& s : sequences) {
    if (s.rows == 0) continue;
    const at::Tensor q_HRD = narrow(Heads(device, q, shape.q_heads, shape.qk_dim), s).transpose(0, 1);
    const at::Tensor k_RGD = narrow(Heads(device, k, shape.kv_heads, shape.qk_dim), s);
    const at::Tensor k_HRD = k_RGD.repeat_interleave(repeat, 1).transpose(0, 1);
    const at::Tensor v_HRD =
        narrow(Heads(device, v, shape.kv_heads, shape.v_dim), s).repeat_interleave(repeat, 1).transpose(0, 1);
    const at::Tensor d_HRD = narrow(Heads(device, dout, shape.q_heads, shape.v_dim), s).transpose(0, 1);
    const at::Tensor o_HRD = narrow(Heads(device, out, shape.q_heads, shape.v_dim), s).transpose(0, 1);
    const at::Tensor p = Softmax(shape, q_HRD.transpose(0, 1), k_RGD, 0).weights;
    const at::Tensor dp = at::matmul(d_HRD, v_HRD.transpose(1, 2));
    const at::Tensor ds = p * (dp - (d_HRD * o_HRD).sum(-1, true)) * shape.scale;
    narrow(Heads(device, dq, shape.q_heads, shape.qk_dim), s).copy_(at::matmul(ds, k_HRD).transpose(0, 1));
    narrow(Heads(device, dk, shape.kv_heads, shape.qk_dim), s)
        .copy_(fold(at::matmul(ds.transpose(1, 2), q_HRD)));
    narrow(Heads(device, dv, shape.kv_heads, shape.v_dim), s)
        .copy_(fold(at::matmul(p.transpose(1, 2), d_HRD)));
  }
}

void Route(at::Device device, const RouteShape& shape, Rows logits, const float* bias, int32_t* ids,
           float* weights, float* scores) {
  const at::Tensor in = Wrap(device, logits);
  const at::Tensor s = shape.sigmoid ? at::sigmoid(in) : at::softmax(in, -1);
  at::Tensor biased = bias == nullptr ? s : s + Wrap(device, bias, shape.experts);
  if (shape.groups > 1 && shape.top_groups < shape.groups) {
    const int64_t size = shape.experts / shape.groups;
    const at::Tensor grouped = biased.view({logits.rows, shape.groups, size});
    const at::Tensor best = shape.group_top2 && size > 1 ? std::get<0>(grouped.topk(2, -1)).sum(-1)
                                                         : std::get<0>(grouped.max(-1));
    const at::Tensor keep = at::zeros_like(best).scatter_(1, Largest(best, shape.top_groups), 1.0);
    biased = biased.masked_fill(keep.repeat_interleave(size, 1) == 0, -INFINITY);
  }
  const at::Tensor chosen = Largest(biased, shape.top_k);
  at::Tensor w = s.gather(1, chosen);
  if (shape.normalize) w = w / (w.sum(-1, true) + 1e-20);
  ToHost(chosen.to(at::kInt), at::kInt, ids);
  Wrap(device, weights, {logits.rows, shape.top_k}, {shape.top_k, 1}).copy_(w * shape.scaling);
  if (scores != nullptr) Wrap(device, scores, {logits.rows, shape.experts}, {shape.experts, 1}).copy_(s);
}

void RouteBackward(at::Device device, const RouteShape& shape, const int32_t* ids, const float* scores,
                   const float* dweights, Rows dlogits) {
  const at::Tensor s = Wrap(device, scores, {dlogits.rows, shape.experts}, {shape.experts, 1});
  const at::Tensor chosen = Ints(device, ids, dlogits.rows * shape.top_k).view({dlogits.rows, shape.top_k});
  at::Tensor d = Wrap(device, dweights, {dlogits.rows, shape.top_k}, {shape.top_k, 1}) * shape.scaling;
  if (shape.normalize) {
    const at::Tensor w = s.gather(1, chosen), sum = w.sum(-1, true) + 1e-20;
    d = (d - (d * w).sum(-1, true) / sum) / sum;
  }
  const at::Tensor ds = at::zeros_like(s).scatter_(1, chosen, d);
  Wrap(device, dlogits).copy_(shape.sigmoid ? ds * s * (1 - s) : s * (ds - (ds * s).sum(-1, true)));
}

void CombineExperts(at::Device device, const Dispatch& dispatch, const int32_t* ids, const float* weights,
                    int top_k, int experts, Rows y, const float* shared, const float* residual, Rows out) {
  const at::Tensor entry = Ints(device, dispatch.entry.data(), out.rows * top_k);
  const at::Tensor parts = Wrap(device, y).index_select(0, entry).view({out.rows, top_k, out.cols});
  at::Tensor sum = (parts * Wrap(device, weights, {out.rows, top_k, 1}, {top_k, 1, 1})).sum(1);
  if (shared != nullptr) sum = sum + Wrap(device, shared, {out.rows, out.cols}, {out.cols, 1});
  if (residual != nullptr) sum = sum + Wrap(device, residual, {out.rows, out.cols}, {out.cols, 1});
  Wrap(device, out).copy_(sum);
}

void CombineExpertsBackward(at::Device device, const Dispatch& dispatch, const float* weights, int top_k,
                            Rows dout, Rows y, Rows dy, float* dweights) {
  const int64_t entries = y.rows;
  const at::Tensor row = Ints(device, dispatch.row.data(), entries),
                   entry = Ints(device, dispatch.entry.data(), entries);
  const at::Tensor d = Wrap(device, dout).index_select(0, row);
  const at::Tensor by_slot = Wrap(device, weights, entries);
  const at::Tensor by_entry = at::zeros_like(by_slot).scatter_(0, entry, by_slot);
  Wrap(device, dy).copy_(d * by_entry.unsqueeze(-1));
  Wrap(device, dweights, entries).copy_((d * Wrap(device, y)).sum(-1).index_select(0, entry));
}

void ScatterExperts(at::Device device, const Dispatch& dispatch, const int32_t* ids, int top_k, int experts,
                    Rows dx_entries, const float* add, Rows dx) {
  const at::Tensor entry = Ints(device, dispatch.entry.data(), dx.rows * top_k);
  at::Tensor sum = Wrap(device, dx_entries).index_select(0, entry).view({dx.rows, top_k, dx.cols}).sum(1);
  if (add != nullptr) sum = sum + Wrap(device, add, {dx.rows, dx.cols}, {dx.cols, 1});
  Wrap(device, dx).copy_(sum);
}

void TokenLogprobs(at::Device device, Rows hidden, const float* head, int64_t vocab, const int32_t* targets,
                   float temperature, float* logprob, kernels::LogSumExp* sums, double* entropy) {
  for (int64_t row = 0; row < hidden.rows; ++row)
    TEMPER_CHECK(targets[row] >= -1 && targets[row] < vocab, "target ", targets[row], " of vocabulary ",
                 vocab);
  for (int64_t first = 0; first < hidden.rows; first += kLogitRows) {
    const Rows part = Part(hidden, first);
    const at::Tensor z = ScaledLogits(device, part, head, vocab, temperature);
    const at::Tensor target = Ints(device, targets + first, part.rows), max = std::get<0>(z.max(-1));
    const at::Tensor log_p = z - max.unsqueeze(-1);
    const at::Tensor log_sum = log_p.exp().sum(-1).log();
    const at::Tensor chosen = z.gather(1, target.clamp_min(0).unsqueeze(-1)).squeeze(-1) - max - log_sum;
    ToHost(chosen.masked_fill(target < 0, 0.0), at::kFloat, logprob + first);
    if (sums != nullptr) {
      const at::Tensor parts = at::stack({max, log_sum}, 1).to(at::kCPU).contiguous();
      const float* values = parts.const_data_ptr<float>();
      for (int64_t i = 0; i < part.rows; ++i) sums[first + i] = {values[2 * i], values[2 * i + 1]};
    }
    if (entropy != nullptr) {
      log_p.sub_(log_sum.unsqueeze(-1));
      // 0 log 0 is 0.
      const at::Tensor terms = (log_p.exp() * log_p).masked_fill(log_p == -INFINITY, 0.0);
      ToHost(-terms.sum(-1, false, at::kDouble).masked_fill(target < 0, 0.0), at::kDouble, entropy + first);
    }
  }
}

void TokenLogprobsBackward(at::Device device, Rows hidden, const float* head, int64_t vocab,
                           const int32_t* targets, float temperature, const kernels::LogSumExp* sums,
                           const float* dlogprob, Rows dhidden, float* dhead) {
  const at::Tensor weight = Wrap(device, head, {vocab, hidden.cols}, {hidden.cols, 1});
  at::Tensor dweight = Wrap(device, dhead, {vocab, hidden.cols}, {hidden.cols, 1});
  for (int64_t first = 0; first < hidden.rows; first += kLogitRows) {
    const Rows part = Part(hidden, first);
    const at::Tensor target = Ints(device, targets + first, part.rows);
    const at::Tensor d = at::from_blob(const_cast<float*>(dlogprob + first), {part.rows}, at::kFloat)
                             .to(device)
                             .masked_fill(target < 0, 0.0);
    at::Tensor dz =
        at::softmax(ScaledLogits(device, part, head, vocab, temperature), -1).neg_().mul_(d.unsqueeze(-1));
    dz.scatter_add_(1, target.clamp_min(0).unsqueeze(-1), d.unsqueeze(-1));
    if (temperature != 0 && temperature != 1) dz.div_(temperature);
    Wrap(device, Part(dhidden, first)).copy_(at::matmul(dz, weight));
    dweight.add_(at::matmul(dz.t(), Wrap(device, part)));
  }
}

}  // namespace temper::torch_ops
