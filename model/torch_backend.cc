// SPDX-License-Identifier: Apache-2.0
#include "model/torch_backend.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "ATen/ATen.h"
#include "core/check.h"

namespace temper {
namespace {

using kernels::AttentionSequence;
using kernels::AttentionShape;
using kernels::Heads;
using kernels::Matrix;

// Tensors over memory of the device.
class Wrapper {
 public:
  explicit Wrapper(at::Device device) : device_(device) {}

  at::Tensor operator()(const float* data, at::IntArrayRef sizes, at::IntArrayRef strides) const {
    return Of({const_cast<float*>(data), kernels::Type::kF32}, sizes, strides);
  }
  struct Numbers {
    void* data;
    kernels::Type type;
  };
  at::Tensor Of(Numbers numbers, at::IntArrayRef sizes, at::IntArrayRef strides) const {
    const auto [data, type] = numbers;
    TEMPER_CHECK(type == kernels::Type::kF32 || type == kernels::Type::kBf16);
    return at::for_blob(data, sizes)
        .strides(strides)
        .options(at::TensorOptions()
                     .dtype(type == kernels::Type::kF32 ? at::kFloat : at::kBFloat16)
                     .device(device_))
        .target_device(device_)
        .make_tensor();
  }
  // What is bf16 is copied to f32.
  at::Tensor operator()(const Matrix& m) const { return AsItIs(m).to(at::kFloat); }
  at::Tensor AsItIs(const Matrix& m) const { return Of({m.data, m.type}, {m.rows, m.cols}, {m.stride, 1}); }
  at::Tensor operator()(const float* data, int64_t n) const { return (*this)(data, {n}, {1}); }
  // [rows, count, dim]
  at::Tensor operator()(const Heads& h) const {
    return (*this)(h.rows.f32(), {h.rows.rows, h.count, h.dim}, {h.rows.stride, h.apart, 1});
  }
  // [rows, heads, dim] of a matrix whose heads lie side by side.
  at::Tensor Side(const Matrix& m, int heads) const {
    const int64_t dim = m.cols / heads;
    return (*this)(m.f32(), {m.rows, heads, dim}, {m.stride, dim, 1});
  }
  at::Tensor Ints(int32_t* data, int64_t n) const {
    return at::for_blob(data, {n})
        .options(at::TensorOptions().dtype(at::kInt).device(device_))
        .target_device(device_)
        .make_tensor();
  }
  // Of numbers on the host, as indices on the device.
  at::Tensor Index(const int32_t* host, int64_t n) const {
    return at::from_blob(const_cast<int32_t*>(host), {n}, at::kInt).to(at::kLong).to(device_);
  }

 private:
  const at::Device device_;
};

template <class T>
void ToHost(const at::Tensor& tensor, at::ScalarType type, T* out) {
  at::from_blob(out, tensor.sizes(), type).copy_(tensor);
}

int64_t OneMoreThanLargest(const int32_t* host, int64_t n) {
  return n == 0 ? 0 : int64_t{*std::max_element(host, host + n)} + 1;
}

// The logits of rows / T.
at::Tensor ScaledLogits(const at::Tensor& hidden, const at::Tensor& head, float temperature) {
  const at::Tensor logits = at::matmul(hidden, head.t());
  return temperature == 0 || temperature == 1 ? logits : logits / temperature;
}

// Keys and values, [positions, kv_heads, dim].
struct KeysAndValues {
  at::Tensor keys, values;
};
// Positions [first, first + count) of a block, as it has them.
struct InBlock {
  void* block;
  int64_t first, count;
};
KeysAndValues PartOf(const Wrapper& wrap, const AttentionShape& shape, const InBlock& part) {
  const int64_t block = kernels::kAttentionBlock, head = block * (shape.qk_dim + shape.v_dim);
  const Matrix all = {part.block, shape.stored, 1, shape.kv_heads * head, 0};
  return {wrap.Of({all.Columns(part.first, 0).data, shape.stored}, {part.count, shape.kv_heads, shape.qk_dim},
                  {1, head, block}),
          wrap.Of({all.Columns(block * shape.qk_dim + part.first * shape.v_dim, 0).data, shape.stored},
                  {part.count, shape.kv_heads, shape.v_dim}, {shape.v_dim, head, 1})};
}
// Of a sequence, out of its blocks, as f32.
KeysAndValues FromBlocks(const Wrapper& wrap, const kernels::AttentionTask& task,
                         const AttentionSequence& sequence) {
  const int64_t positions = sequence.first_position + sequence.rows, block = kernels::kAttentionBlock;
  std::vector<at::Tensor> keys, values;
  for (int64_t begin = 0; begin < positions; begin += block) {
    const KeysAndValues part =
        PartOf(wrap, task.shape,
               {sequence.Block(begin / block, task.layer_offset), 0, std::min(block, positions - begin)});
    keys.push_back(part.keys);
    values.push_back(part.values);
  }
  return {at::cat(keys).to(at::kFloat), at::cat(values).to(at::kFloat)};
}

// Positions that a query does not see, [rows, keys].
at::Tensor Masked(const at::Tensor& scores, int64_t first_position, int64_t window) {
  const at::Tensor all = at::ones({scores.size(-2), scores.size(-1)}, scores.options().dtype(at::kBool));
  const at::Tensor later = all.triu(first_position + 1);
  return window > 0 ? later.logical_or(all.tril(first_position - window)) : later;
}

struct Probabilities {
  at::Tensor weights;  // [heads, rows, keys]
  at::Tensor lse;      // [heads, rows]
};
Probabilities Softmax(const AttentionShape& shape, const at::Tensor& q_RHD, const at::Tensor& k_KGD) {
  const int64_t first_position = k_KGD.size(0) - q_RHD.size(0);
  const at::Tensor k = k_KGD.repeat_interleave(shape.q_heads / shape.kv_heads, 1);
  at::Tensor scores = at::matmul(q_RHD.transpose(0, 1), k.permute({1, 2, 0})) * shape.scale;
  scores = scores.masked_fill(Masked(scores, first_position, shape.window), -INFINITY);
  const at::Tensor lse = scores.logsumexp(-1);
  return {(scores - lse.unsqueeze(-1)).exp(), lse};
}

// Indices of the `count` largest in each row, ties to the lower one, which topk does not promise.
at::Tensor LargestIn(const at::Tensor& values, int64_t count) {
  return std::get<1>(values.sort(/*stable=*/true, /*dim=*/-1, /*descending=*/true)).narrow(-1, 0, count);
}

// Rows whose logits are in memory at once.
constexpr int64_t kLogitRows = 1024;

// The numerators that top-k, then top-p, then min-p leave, 0 for the others; all are [rows, vocab] or [rows,
// 1].
struct Truncation {
  at::Tensor top_k, top_p, min_p;
};
at::Tensor Truncated(const at::Tensor& logits, const at::Tensor& p, const Truncation& to) {
  const at::Tensor order = LargestIn(logits, logits.size(1));
  at::Tensor kept = p.gather(1, order);
  const at::Tensor rank = at::arange(logits.size(1), order.options()).unsqueeze(0);
  kept = kept.masked_fill(rank >= to.top_k, 0.0);
  const at::Tensor before = kept.cumsum(1) - kept;
  kept = kept.masked_fill(
      (before >= to.top_p * kept.sum(1, true)).logical_and(rank > 0).logical_and(to.top_p < 1), 0.0);
  kept = kept.masked_fill(kept < to.min_p.clamp_max(1.0), 0.0);
  return at::zeros_like(p).scatter_(1, order, kept);
}

// The logits with -inf for each row's banned ids.
at::Tensor Allowed(const at::Tensor& logits, absl::Span<const kernels::SampleParameters> parameters) {
  std::vector<int64_t> banned;
  for (size_t row = 0; row < parameters.size(); ++row) {
    for (int32_t id : parameters[row].banned)
      banned.push_back(static_cast<int64_t>(row) * logits.size(1) + id);
  }
  if (banned.empty()) return logits;
  return logits.flatten()
      .index_fill(0, at::tensor(banned, at::kLong).to(logits.device()), -INFINITY)
      .view_as(logits);
}

}  // namespace

std::shared_ptr<void> TorchBackend::Allocate(int64_t bytes) {
  const auto tensor = std::make_shared<at::Tensor>(
      at::empty({std::max<int64_t>(bytes, 1)}, at::TensorOptions().dtype(at::kByte).device(device_)));
  return {tensor, tensor->data_ptr()};
}

void TorchBackend::Zero(const Matrix& to) {
  const Wrapper wrap(device_);
  wrap(to).zero_();
}

void TorchBackend::Copy(const Matrix& from, const Matrix& to) {
  const Wrapper wrap(device_);
  wrap(to).copy_(wrap(from));
}

void TorchBackend::CopyHeads(const Heads& from, const Heads& to) {
  const Wrapper wrap(device_);
  wrap(to).copy_(wrap(from));
}

void TorchBackend::CopyToHost(const Matrix& from, void* to) {
  const at::Tensor numbers = Wrapper(device_).AsItIs(from);
  ToHost(numbers, numbers.scalar_type(), to);
}

void TorchBackend::CopyFromHost(const void* from, const Matrix& to) {
  const at::Tensor numbers = Wrapper(device_).AsItIs(to);
  numbers.copy_(at::from_blob(const_cast<void*>(from), {to.rows, to.cols}, numbers.scalar_type()));
}

void TorchBackend::Add(const Matrix& from, const Matrix& to) {
  const Wrapper wrap(device_);
  wrap(to).add_(wrap(from));
}

void TorchBackend::RoundToBf16(const Matrix& from, const Matrix& to) {
  const Wrapper wrap(device_);
  wrap.AsItIs(to).copy_(wrap(from).to(at::kBFloat16));
}

void TorchBackend::Products(absl::Span<const kernels::Product> products) {
  const Wrapper wrap(device_);
  for (const kernels::Product& p : products) {
    if (p.m() == 0) continue;
    const at::Tensor b = wrap(p.b);
    at::Tensor c = at::matmul(wrap(p.a), p.b_transposed ? b.t() : b);
    for (const kernels::FactorPair& more : p.more) {
      if (more.a) c = c + at::matmul(wrap(more.a), wrap(more.b));
    }
    if (p.bias != nullptr) c = c + wrap(p.bias, p.n());
    if (p.add) c = c + wrap(p.add);
    wrap(p.c).copy_(c);
  }
}

void TorchBackend::WeightGradients(absl::Span<const kernels::WeightGradient> gradients) {
  const Wrapper wrap(device_);
  for (const kernels::WeightGradient& g : gradients) {
    if (g.m() > 0) wrap(g.dw).add_(at::matmul(wrap(g.dy).t(), wrap(g.x)));
  }
}

void TorchBackend::BiasGradient(const Matrix& dy, float* dbias) {
  const Wrapper wrap(device_);
  wrap(dbias, dy.cols).add_(wrap(dy).sum(0));
}

int64_t TorchBackend::PackedFloats(int64_t n, int64_t k) const { return 0; }

kernels::PackedMatrix TorchBackend::Pack(const Matrix& b, bool transposed, float* panels) {
  TEMPER_CHECK(false, "LibTorch reads weights as they are");
}

void TorchBackend::RmsNorm(const kernels::RmsNormTask& t) {
  const Wrapper wrap(device_);
  const at::Tensor in = wrap(t.x);
  const at::Tensor r = (in.square().mean(-1, true) + t.eps).rsqrt();
  wrap(t.y).copy_(in * r * wrap(t.weight, t.x.cols));
  if (t.rstd != nullptr) wrap(t.rstd, t.x.rows).copy_(r.squeeze(-1));
}

void TorchBackend::RmsNormBackward(const kernels::RmsNormBackwardTask& t) {
  const Wrapper wrap(device_);
  const at::Tensor r = wrap(t.rstd, t.x.rows).unsqueeze(-1), normed = wrap(t.x) * r, gradient = wrap(t.dy);
  const at::Tensor scaled = gradient * wrap(t.weight, t.x.cols);
  at::Tensor result = r * (scaled - normed * (scaled * normed).mean(-1, true));
  if (t.add) result = result + wrap(t.add);
  wrap(t.dweight, t.x.cols).add_((gradient * normed).sum(0));
  wrap(t.dx).copy_(result);
}

void TorchBackend::Rotary(const kernels::RotaryTask& t) {
  const Matrix& x = t.x.rows;
  if (x.rows == 0) return;
  const Wrapper wrap(device_);
  const int64_t half = t.x.dim / 2, step = t.interleaved ? 2 : 1, second = t.interleaved ? 1 : half;
  at::Tensor a = wrap(x.f32(), {x.rows, t.x.count, half}, {x.stride, t.x.apart, step});
  at::Tensor b = wrap(x.f32() + second, {x.rows, t.x.count, half}, {x.stride, t.x.apart, step});
  const int64_t count = OneMoreThanLargest(t.positions, x.rows);
  const at::Tensor index = wrap.Index(t.positions, x.rows);
  const auto of_rows = [&](const float* table) {
    return wrap(table, {count, half}, {half, 1}).index_select(0, index).unsqueeze(1);
  };
  const at::Tensor cosine = of_rows(t.cosines), sine = t.inverse ? -of_rows(t.sines) : of_rows(t.sines);
  const at::Tensor new_a = a * cosine - b * sine, new_b = a * sine + b * cosine;
  a.copy_(new_a);
  b.copy_(new_b);
}

void TorchBackend::SwiGlu(const kernels::SwiGluTask& t) {
  const Wrapper wrap(device_);
  wrap(t.out).copy_(at::silu(wrap(t.gate)) * wrap(t.up));
}

void TorchBackend::SwiGluBackward(const kernels::SwiGluBackwardTask& t) {
  const Wrapper wrap(device_);
  const at::Tensor g = wrap(t.gate), d = wrap(t.dout), s = at::sigmoid(g);
  const at::Tensor silu = g * s;
  const at::Tensor dg = d * wrap(t.up) * (s + silu * (1 - s));
  if (t.out) wrap(t.out).copy_(silu * wrap(t.up));
  wrap(t.dup).copy_(d * silu);
  wrap(t.dgate).copy_(dg);
}

void TorchBackend::GatherRows(const kernels::GatherRowsTask& t) {
  const Wrapper wrap(device_);
  wrap(t.out).copy_(wrap.AsItIs(t.x).index_select(0, wrap.Index(t.rows, t.out.rows)));
}

void TorchBackend::EmbeddingGradient(const kernels::EmbeddingGradientTask& t) {
  const Wrapper wrap(device_);
  wrap(t.dtable).index_add_(0, wrap.Index(t.ids, t.dout.rows), wrap(t.dout));
}

void TorchBackend::WriteBlocks(const kernels::WriteBlocksTask& t) {
  const Wrapper wrap(device_);
  const AttentionShape& shape = t.shape;
  const int64_t block = kernels::kAttentionBlock;
  for (const AttentionSequence& sequence : t.sequences) {
    for (int64_t i = 0; i < sequence.rows;) {
      const int64_t position = sequence.first_position + i, offset = position % block;
      const int64_t count = std::min(sequence.rows - i, block - offset);
      const KeysAndValues to =
          PartOf(wrap, shape, {sequence.Block(position / block, t.layer_offset), offset, count});
      const int64_t row = sequence.first_row + i;
      to.keys.copy_(wrap.Side(t.k.Rows(row, count), shape.kv_heads));
      to.values.copy_(wrap.Side(t.v.Rows(row, count), shape.kv_heads));
      i += count;
    }
  }
}

void TorchBackend::Attention(const kernels::AttentionTask& t) {
  const Wrapper wrap(device_);
  const AttentionShape& shape = t.shape;
  const at::Tensor all_q = wrap.Side(t.q, shape.q_heads), all_out = wrap.Side(t.out, shape.q_heads);
  for (const AttentionSequence& s : t.sequences) {
    if (s.rows == 0) continue;
    const KeysAndValues kv = FromBlocks(wrap, t, s);
    const Probabilities p = Softmax(shape, all_q.narrow(0, s.first_row, s.rows), kv.keys);
    const at::Tensor v = kv.values.repeat_interleave(shape.q_heads / shape.kv_heads, 1);
    all_out.narrow(0, s.first_row, s.rows).copy_(at::matmul(p.weights, v.transpose(0, 1)).transpose(0, 1));
    if (t.lse != nullptr)
      wrap(t.lse + s.first_row * shape.q_heads, {s.rows, shape.q_heads}, {shape.q_heads, 1}).copy_(p.lse.t());
  }
}

void TorchBackend::AttentionBackward(const kernels::AttentionBackwardTask& t) {
  const Wrapper wrap(device_);
  const AttentionShape& shape = t.shape;
  const int64_t repeat = shape.q_heads / shape.kv_heads;
  const auto fold = [&](const at::Tensor& x) {  // [heads, rows, dim] -> [rows, kv_heads, dim]
    return x.view({shape.kv_heads, repeat, x.size(1), x.size(2)}).sum(1).transpose(0, 1);
  };
  for (const kernels::Bundle& bundle : kernels::BundlesOf(t.sequences)) {
    const AttentionSequence& prefix = bundle.sequences.front();
    const auto of_prefix = [&](const Matrix& m) {
      return wrap.Side(m.Rows(prefix.first_row, prefix.rows), shape.kv_heads);
    };
    for (const AttentionSequence& s : bundle.sequences) {
      if (s.rows == 0) continue;
      const auto queries = [&](const Matrix& m) {
        return wrap.Side(m.Rows(s.first_row, s.rows), shape.q_heads);
      };
      const auto own = [&](const Matrix& m) {
        return wrap.Side(m.Rows(s.first_row, s.rows), shape.kv_heads);
      };
      const auto keys = [&](const Matrix& m) {
        return s.first_position == 0 ? own(m) : at::cat({of_prefix(m), own(m)});
      };
      const at::Tensor q_HRD = queries(t.q).transpose(0, 1), k_KGD = keys(t.k);
      const at::Tensor k_HKD = k_KGD.repeat_interleave(repeat, 1).transpose(0, 1);
      const at::Tensor v_HKD = keys(t.v).repeat_interleave(repeat, 1).transpose(0, 1);
      const at::Tensor d_HRD = queries(t.dout).transpose(0, 1), o_HRD = queries(t.out).transpose(0, 1);
      const at::Tensor p = Softmax(shape, q_HRD.transpose(0, 1), k_KGD).weights;
      const at::Tensor dp = at::matmul(d_HRD, v_HKD.transpose(1, 2));
      const at::Tensor ds = p * (dp - (d_HRD * o_HRD).sum(-1, true)) * shape.scale;
      queries(t.dq).copy_(at::matmul(ds, k_HKD).transpose(0, 1));
      const auto give = [&](const Matrix& to, const at::Tensor& gradient) {
        own(to).copy_(gradient.narrow(0, s.first_position, s.rows));
        if (s.first_position > 0) of_prefix(to).add_(gradient.narrow(0, 0, s.first_position));
      };
      give(t.dk, fold(at::matmul(ds.transpose(1, 2), q_HRD)));
      give(t.dv, fold(at::matmul(p.transpose(1, 2), d_HRD)));
    }
  }
}

void TorchBackend::Route(const kernels::RouteTask& t) {
  const Wrapper wrap(device_);
  const kernels::RouteShape& shape = t.shape;
  kernels::Routing& routing = *t.routing;
  const int64_t rows = t.logits.rows, entries = rows * shape.top_k;
  const at::Tensor in = wrap(t.logits);
  const at::Tensor s = shape.sigmoid ? at::sigmoid(in) : at::softmax(in, -1);
  at::Tensor biased = t.bias == nullptr ? s : s + wrap(t.bias, shape.experts);
  if (shape.groups > 1 && shape.top_groups < shape.groups) {
    const int64_t size = shape.experts / shape.groups;
    const at::Tensor grouped = biased.view({rows, shape.groups, size});
    const at::Tensor best = shape.group_top2 && size > 1 ? std::get<0>(grouped.topk(2, -1)).sum(-1)
                                                         : std::get<0>(grouped.max(-1));
    const at::Tensor keep = at::zeros_like(best).scatter_(1, LargestIn(best, shape.top_groups), 1.0);
    biased = biased.masked_fill(keep.repeat_interleave(size, 1) == 0, -INFINITY);
  }
  const at::Tensor chosen = LargestIn(biased, shape.top_k), ids = chosen.reshape({-1});
  at::Tensor w = s.gather(1, chosen);
  if (shape.normalize) w = w / (w.sum(-1, true) + 1e-20);
  wrap.Ints(routing.ids, entries).copy_(ids);
  wrap(routing.weights, entries).copy_((w * shape.scaling).view({-1}));
  wrap(routing.scores, {rows, shape.experts}, {shape.experts, 1}).copy_(s);

  // Entries are slots, expert by expert.
  const at::Tensor slots = std::get<1>(ids.sort(/*stable=*/true, /*dim=*/0, /*descending=*/false));
  wrap.Ints(routing.row, entries).copy_(slots.floor_divide(shape.top_k));
  wrap.Ints(routing.entry, entries).scatter_(0, slots, at::arange(entries, slots.options().dtype(at::kInt)));
  routing.offsets.assign(shape.experts + 1, 0);
  const at::Tensor counts = ids.bincount({}, shape.experts);
  at::from_blob(routing.offsets.data() + 1, {shape.experts}, at::kLong).copy_(counts.cumsum(0));
}

void TorchBackend::RouteBackward(const kernels::RouteBackwardTask& t) {
  const Wrapper wrap(device_);
  const kernels::RouteShape& shape = t.shape;
  const int64_t rows = t.dlogits.rows;
  const at::Tensor s = wrap(t.routing->scores, {rows, shape.experts}, {shape.experts, 1});
  const at::Tensor chosen =
      wrap.Ints(t.routing->ids, rows * shape.top_k).to(at::kLong).view({rows, shape.top_k});
  at::Tensor d = wrap(t.dweights, {rows, shape.top_k}, {shape.top_k, 1}) * shape.scaling;
  if (shape.normalize) {
    const at::Tensor w = s.gather(1, chosen), sum = w.sum(-1, true) + 1e-20;
    d = (d - (d * w).sum(-1, true) / sum) / sum;
  }
  const at::Tensor ds = at::zeros_like(s).scatter_(1, chosen, d);
  wrap(t.dlogits).copy_(shape.sigmoid ? ds * s * (1 - s) : s * (ds - (ds * s).sum(-1, true)));
}

void TorchBackend::GatherExperts(const kernels::GatherExpertsTask& t) {
  const Wrapper wrap(device_);
  wrap(t.out).copy_(wrap(t.x).index_select(0, wrap.Ints(t.routing->row, t.out.rows)));
}

void TorchBackend::CombineExperts(const kernels::CombineExpertsTask& t) {
  const Wrapper wrap(device_);
  const int64_t rows = t.out.rows, top_k = t.shape.top_k;
  const at::Tensor entry = wrap.Ints(t.routing->entry, rows * top_k);
  const at::Tensor parts = wrap(t.y).index_select(0, entry).view({rows, top_k, t.out.cols});
  at::Tensor sum = (parts * wrap(t.routing->weights, {rows, top_k, 1}, {top_k, 1, 1})).sum(1);
  if (t.shared) sum = sum + wrap(t.shared);
  if (t.residual) sum = sum + wrap(t.residual);
  wrap(t.out).copy_(sum);
}

void TorchBackend::CombineExpertsBackward(const kernels::CombineExpertsBackwardTask& t) {
  const Wrapper wrap(device_);
  const int64_t entries = t.y.rows;
  const at::Tensor row = wrap.Ints(t.routing->row, entries), entry = wrap.Ints(t.routing->entry, entries);
  const at::Tensor d = wrap(t.dout).index_select(0, row);
  const at::Tensor by_slot = wrap(t.routing->weights, entries);
  const at::Tensor by_entry = at::zeros_like(by_slot).scatter_(0, entry.to(at::kLong), by_slot);
  wrap(t.dy).copy_(d * by_entry.unsqueeze(-1));
  wrap(t.dweights, entries).copy_((d * wrap(t.y)).sum(-1).index_select(0, entry));
}

void TorchBackend::ScatterExperts(const kernels::ScatterExpertsTask& t) {
  const Wrapper wrap(device_);
  const int64_t rows = t.dx.rows, top_k = t.shape.top_k;
  const at::Tensor entry = wrap.Ints(t.routing->entry, rows * top_k);
  at::Tensor sum = wrap(t.dx_entries).index_select(0, entry).view({rows, top_k, t.dx.cols}).sum(1);
  if (t.add) sum = sum + wrap(t.add);
  wrap(t.dx).copy_(sum);
}

void TorchBackend::TokenLogprobs(const kernels::TokenLogprobsTask& t) {
  const Wrapper wrap(device_);
  const at::Tensor head = wrap(t.head);
  for (int64_t row = 0; row < t.hidden.rows; ++row)
    TEMPER_CHECK(t.targets[row] >= -1 && t.targets[row] < t.head.rows, "target ", t.targets[row],
                 " of vocabulary ", t.head.rows);
  for (int64_t first = 0; first < t.hidden.rows; first += kLogitRows) {
    const int64_t rows = std::min(kLogitRows, t.hidden.rows - first);
    const at::Tensor z = ScaledLogits(wrap(t.hidden.Rows(first, rows)), head, t.temperature);
    const at::Tensor target = wrap.Index(t.targets + first, rows), max = std::get<0>(z.max(-1));
    const at::Tensor log_p = z - max.unsqueeze(-1);
    const at::Tensor log_sum = log_p.exp().sum(-1).log();
    const at::Tensor chosen = z.gather(1, target.clamp_min(0).unsqueeze(-1)).squeeze(-1) - max - log_sum;
    ToHost(chosen.masked_fill(target < 0, 0.0), at::kFloat, t.logprob + first);
    if (t.sums != nullptr) {
      const at::Tensor parts = at::stack({max, log_sum}, 1).to(at::kCPU).contiguous();
      const float* values = parts.const_data_ptr<float>();
      for (int64_t i = 0; i < rows; ++i) t.sums[first + i] = {values[2 * i], values[2 * i + 1]};
    }
    if (t.entropy != nullptr) {
      log_p.sub_(log_sum.unsqueeze(-1));
      // 0 log 0 is 0.
      const at::Tensor terms = (log_p.exp() * log_p).masked_fill(log_p == -INFINITY, 0.0);
      ToHost(-terms.sum(-1, false, at::kDouble).masked_fill(target < 0, 0.0), at::kDouble, t.entropy + first);
    }
  }
}

void TorchBackend::TokenLogprobsBackward(const kernels::TokenLogprobsBackwardTask& t) {
  const Wrapper wrap(device_);
  const at::Tensor head = wrap(t.head);
  at::Tensor dhead = wrap(t.dhead);
  for (int64_t first = 0; first < t.hidden.rows; first += kLogitRows) {
    const int64_t rows = std::min(kLogitRows, t.hidden.rows - first);
    const at::Tensor hidden = wrap(t.hidden.Rows(first, rows)), target = wrap.Index(t.targets + first, rows);
    const at::Tensor d = at::from_blob(const_cast<float*>(t.dlogprob + first), {rows}, at::kFloat)
                             .to(device_)
                             .masked_fill(target < 0, 0.0);
    at::Tensor dz = at::softmax(ScaledLogits(hidden, head, t.temperature), -1).neg_().mul_(d.unsqueeze(-1));
    dz.scatter_add_(1, target.clamp_min(0).unsqueeze(-1), d.unsqueeze(-1));
    if (t.temperature != 0 && t.temperature != 1) dz.div_(t.temperature);
    wrap(t.dhidden.Rows(first, rows)).copy_(at::matmul(dz, head));
    dhead.add_(at::matmul(dz.t(), hidden));
  }
}

void TorchBackend::Sample(const kernels::SampleTask& t) {
  const Wrapper wrap(device_);
  const int64_t rows = t.logits.rows, vocab = t.logits.cols;
  if (rows == 0) return;
  // Each row's own numbers: temperature, greedy, top_k, top_p, min_p, uniform.
  const at::Tensor own = at::empty({6, rows, 1}, at::kDouble);
  for (int64_t i = 0; i < rows; ++i) {
    const kernels::SampleParameters& s = t.parameters[i];
    const bool greedy = s.temperature == 0;
    const double numbers[] = {greedy ? 1.0 : s.temperature,
                              greedy ? 1.0 : 0.0,
                              static_cast<double>(s.top_k > 0 ? s.top_k : vocab),
                              s.top_p,
                              s.min_p,
                              t.uniforms[i]};
    for (int64_t j = 0; j < 6; ++j) own.mutable_data_ptr<double>()[j * rows + i] = numbers[j];
  }
  const at::Tensor of = own.to(device_), temperature = of.select(0, 0).to(at::kFloat);
  const at::Tensor log_p = at::log_softmax(wrap(t.logits) / temperature, -1);
  const at::Tensor logits = Allowed(wrap(t.logits), t.parameters), z = logits / temperature;
  const at::Tensor p = (z - std::get<0>(z.max(-1, true))).exp().to(at::kDouble);
  const at::Tensor kept = Truncated(logits, p, {of.select(0, 2), of.select(0, 3), of.select(0, 4)});
  const at::Tensor sums = kept.cumsum(1), threshold = of.select(0, 5) * sums.narrow(1, vocab - 1, 1);
  // The first whose running sum exceeds the threshold; where rounding leaves none, the last with any
  // probability.
  const at::Tensor last = vocab - 1 - (kept.flip(1) > 0).to(at::kInt).argmax(1, true);
  const at::Tensor drawn = at::minimum((sums <= threshold).sum(1, true), last);
  const at::Tensor id = at::where(of.select(0, 1) > 0, LargestIn(logits, 1), drawn);
  const at::Tensor entropy = -(log_p.exp() * log_p).masked_fill(log_p == -INFINITY, 0.0).sum(-1, true);
  const at::Tensor found =
      at::cat({id.to(at::kDouble), log_p.gather(1, id).to(at::kDouble), entropy.to(at::kDouble)}, 1)
          .to(at::kCPU)
          .contiguous();
  const double* values = found.const_data_ptr<double>();
  for (int64_t i = 0; i < rows; ++i, values += 3) {
    t.tokens[i] = {static_cast<int32_t>(values[0]), static_cast<float>(values[1]),
                   static_cast<float>(values[2])};
  }
}

namespace {

constexpr int64_t kQuantaAtOnce = 1 << 22;  // 64-bit values beside the leaves

// Some values of a LeafSum as integers of 64 bits, and back.
class QuantaOfSum {
 public:
  QuantaOfSum(const Wrapper& wrap, const kernels::LeafSum& sum) : wrap_(wrap), sum_(sum) {}

  at::Tensor Of(const float* leaf, int64_t n) {
    const at::Tensor exact = wrap_(leaf, n).to(at::kDouble) * std::exp2(static_cast<double>(sum_.rule.bits));
    const double limit = 0x1p62 / static_cast<double>(sum_.rule.leaves);
    in_range_ &= (exact.abs() < limit).all().item<bool>();
    return exact.round().to(at::kLong);  // ties to even
  }
  at::Tensor Read(int64_t begin, int64_t n) {
    if (sum_.second == nullptr) return Of(sum_.first + begin, n);
    const at::Tensor high = Half(sum_.first + begin, n).to(at::kLong);
    return high * (int64_t{1} << 32) + Half(sum_.second + begin, n).to(at::kLong).bitwise_and(0xffffffff);
  }
  void Write(const at::Tensor& quanta, float* first, float* second) const {
    const int64_t n = quanta.numel();
    Half(first, n).copy_(quanta.div(int64_t{1} << 32, "floor"));
    const at::Tensor low = quanta.bitwise_and(0xffffffff);
    Half(second, n).copy_(low - low.ge(int64_t{1} << 31).to(at::kLong) * (int64_t{1} << 32));
  }
  bool in_range() const { return in_range_; }

 private:
  at::Tensor Half(const float* at, int64_t n) const {
    return wrap_.Ints(reinterpret_cast<int32_t*>(const_cast<float*>(at)), n);
  }
  const Wrapper& wrap_;
  const kernels::LeafSum& sum_;
  bool in_range_ = true;
};

template <class F>
void ForQuanta(int64_t n, F run) {
  for (int64_t begin = 0; begin < n; begin += kQuantaAtOnce) run(begin, std::min(kQuantaAtOnce, n - begin));
}

}  // namespace

bool TorchBackend::AddLeaf(float* leaf, kernels::LeafSum* sum) {
  const Wrapper wrap(device_);
  QuantaOfSum quanta(wrap, *sum);
  float* const second = sum->second == nullptr ? leaf : sum->second;
  ForQuanta(sum->n, [&](int64_t begin, int64_t n) {
    quanta.Write(quanta.Read(begin, n) + quanta.Of(leaf + begin, n), sum->first + begin, second + begin);
  });
  sum->second = second;
  return quanta.in_range();
}

bool TorchBackend::AddQuanta(const kernels::LeafSum& sum, int64_t first, absl::Span<int64_t> out) {
  const Wrapper wrap(device_);
  QuantaOfSum quanta(wrap, sum);
  ForQuanta(static_cast<int64_t>(out.size()), [&](int64_t begin, int64_t n) {
    at::from_blob(out.data() + begin, {n}, at::kLong).add_(quanta.Read(first + begin, n).to(at::kCPU));
  });
  return quanta.in_range();
}

bool TorchBackend::RoundGradient(const kernels::LeafSum& sum) {
  const Wrapper wrap(device_);
  QuantaOfSum quanta(wrap, sum);
  const double quantum = std::exp2(-static_cast<double>(sum.rule.bits));
  ForQuanta(sum.n, [&](int64_t begin, int64_t n) {
    wrap(sum.first + begin, n).copy_(quanta.Read(begin, n).to(at::kFloat) * quantum);
  });
  return quanta.in_range();
}

kernels::AdamWOutcome TorchBackend::AdamW(const kernels::AdamWTask& t) {
  TEMPER_CHECK(t.step.step >= 1, "step is ", t.step.step);
  const Wrapper wrap(device_);
  const kernels::AdamWStep& s = t.step;
  const double steps = static_cast<double>(s.step), beta1 = s.beta1, beta2 = s.beta2;
  at::Tensor w = wrap(t.weight, t.n), m = wrap(t.m, t.n), v = wrap(t.v, t.n);
  const at::Tensor g = wrap(t.gradient, t.n) * s.gradient_scale;
  w.mul_(1 - static_cast<double>(s.learning_rate) * s.weight_decay);
  m.add_(g - m, 1 - beta1);
  v.mul_(beta2).addcmul_(g, g, 1 - beta2);
  const at::Tensor root = (v / (1 - std::pow(beta2, steps))).sqrt() + s.epsilon;
  w.addcdiv_(m, root, -s.learning_rate / (1 - std::pow(beta1, steps)));
  const at::Tensor sizes = w.abs();
  return {.finite = at::isfinite(w + m + v).all().item<bool>(),
          .largest = sizes.masked_fill(sizes.isnan(), 0.0).max().item<float>()};
}

double TorchBackend::SumOfSquares(const float* x, int64_t n) {
  return n == 0 ? 0 : Wrapper(device_)(x, n).to(at::kDouble).square().sum().item<double>();
}

float TorchBackend::Largest(const float* x, int64_t n) {
  if (n == 0) return 0;
  const at::Tensor sizes = Wrapper(device_)(x, n).abs();
  return sizes.masked_fill(sizes.isnan(), 0.0).max().item<float>();
}

}  // namespace temper
