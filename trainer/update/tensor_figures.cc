// SPDX-License-Identifier: Apache-2.0
#include "trainer/update/tensor_figures.h"

#include <algorithm>
#include <cmath>

#include "comm/gather.h"
#include "comm/parcels.h"
#include "comm/reduce.h"
#include "core/check.h"
#include "kernels/backend.h"

namespace temper {
namespace {

constexpr int64_t kPiece = 65536;  // elements of a chain: see Backend::SumOfSquares
// What a rank keeps of a tensor that is seen as rows x cols: of its columns [begin, end), the elements
// [first, first + count) in the order of rows. Shared rows are columns of one row.
struct Part {
  int64_t rows, cols, begin, end;
  int64_t first, count;
};

Part PartOf(const LayoutEntry& entry, const Share& kept, int64_t tp_rank, int64_t tp) {
  const int64_t cols = entry.whole.size() == 2 ? entry.whole[1] : 1, count = kept.end - kept.begin;
  const int64_t elements = entry.whole[0] * cols;
  if (entry.sharing == Sharing::kNone || tp == 1) return {1, elements, 0, elements, kept.begin, count};
  if (entry.sharing == Sharing::kRows) {
    const Share share = ShareOf(entry.whole[0], tp_rank, tp);
    return {1, elements, share.begin * cols, share.end * cols, kept.begin, count};
  }
  const Share share = ShareOf(cols, tp_rank, tp);
  return {entry.whole[0], cols, share.begin, share.end, kept.begin, count};
}

// Calls run(first, kept, count) for the runs of a part's elements in [begin, end) of the whole tensor: where
// one begins in the whole, and in what is kept.
template <typename Run>
void ForRuns(const Part& part, int64_t begin, int64_t end, const Run& run) {
  const int64_t width = part.end - part.begin;
  for (int64_t row = begin / part.cols; row * part.cols < end; ++row) {
    const int64_t shift = row * width - part.begin - part.first;  // from a column of this row to what is kept
    const int64_t from = std::max({part.begin, begin - row * part.cols, -shift}),
                  to = std::min({part.end, end - row * part.cols, part.count - shift});
    if (from < to) run(row * part.cols + from, from + shift, to - from);
  }
}

// The pieces that rank `rank` of `parts` sums up: where each has one run, those that begin in it.
IndexRange PiecesFor(const std::vector<Part>& parts, size_t rank) {
  const Part& part = parts[rank];
  if (part.rows == 1) {
    const int64_t first = part.begin + part.first;
    return {(first + kPiece - 1) / kPiece, (first + part.count + kPiece - 1) / kPiece};
  }
  const int64_t pieces = (part.rows * part.cols + kPiece - 1) / kPiece;
  const Share share = ShareOf(pieces, static_cast<int64_t>(rank), static_cast<int64_t>(parts.size()));
  return {share.begin, share.end};
}

// Their elements.
IndexRange ElementsFor(const std::vector<Part>& parts, size_t rank) {
  const IndexRange pieces = PiecesFor(parts, rank);
  const int64_t elements = parts[rank].rows * parts[rank].cols;
  return {std::min(pieces.begin * kPiece, elements), std::min(pieces.end * kPiece, elements)};
}

// An end with no bytes is none.
void Swap(const Communicator::Message& message, Communicator& ranks) {
  if (message.out_bytes > 0 && message.in_bytes > 0) {
    ranks.SendReceive(message);
  } else if (message.out_bytes > 0) {
    ranks.Send(message.out, message.out_bytes, message.to, message.tag);
  } else if (message.in_bytes > 0) {
    ranks.Receive(message.in, message.in_bytes, message.from, message.tag);
  }
}

}  // namespace

TensorFigures::TensorFigures(const CausalLm* model) : model_(*model) {
  const Layout& layout = model->parameters().layout();
  auto own = layout.entries().begin();
  std::vector<Kept> kept;
  for (const LayoutEntry& entry : layout.whole()) {
    if (!entry.trained) continue;
    const auto tensor = static_cast<int32_t>(all_.size());
    all_.push_back(&entry);
    while (own != layout.entries().end() && own->name < entry.name) ++own;
    if (own == layout.entries().end() || own->name != entry.name) continue;
    mine_.push_back(tensor);
    if (own->elements > 0) kept.push_back({tensor, own->first_element, own->elements});
  }
  kept_ = AllGather(kept, model->mesh().cutters());
}

TensorFigures::Pieces TensorFigures::PiecesOf(const LayoutEntry& entry, int32_t tensor,
                                              const float* gradient) const {
  const Mesh& mesh = model_.mesh();
  const int64_t tp = mesh.sizes().tp;
  const bool by_tp = tp > 1 && entry.sharing != Sharing::kNone;
  Communicator& ranks = by_tp ? mesh.cutters() : mesh.sharers();
  const int rank = ranks.rank(), size = ranks.size();
  // Of cutters, whose last axis is tp.
  const auto of_cutters = [&](int r) {
    return by_tp ? r : static_cast<int>(r * tp + mesh.place()[Axis::kTp]);
  };
  std::vector<Part> parts;
  for (int r = 0; r < size; ++r) {
    const std::vector<Kept>& all = kept_[of_cutters(r)];
    const auto kept = std::lower_bound(all.begin(), all.end(), tensor,
                                       [](const Kept& a, int32_t b) { return a.tensor < b; });
    Share share;
    if (kept != all.end() && kept->tensor == tensor) share = {kept->first, kept->first + kept->count};
    parts.push_back(PartOf(entry, share, of_cutters(r) % tp, tp));
  }
  Pieces pieces{.tensor = tensor, .owner = of_cutters(tensor % size)};
  if (pieces.owner == mesh.cutters().rank()) {
    pieces.of_ranks.resize(mesh.cutters().size());
    for (int r = 0; r < size; ++r) pieces.of_ranks[of_cutters(r)] = PiecesFor(parts, r);
  }
  const IndexRange own = ElementsFor(parts, rank);
  const bool has_numbers = !ranks.counts_only();
  std::vector<float> whole(has_numbers ? own.end - own.begin : 0), out, in;
  ForRuns(parts[rank], own.begin, has_numbers ? own.end : own.begin,
          [&](int64_t first, int64_t kept, int64_t count) {
            std::copy_n(gradient + kept, count, whole.data() + first - own.begin);
          });
  for (int distance = 1; distance < size; ++distance) {
    const int to = (rank + distance) % size, from = (rank + size - distance) % size;
    const IndexRange theirs = ElementsFor(parts, to);
    out.clear();
    int64_t sent = 0, expected = 0;
    ForRuns(parts[rank], theirs.begin, theirs.end, [&](int64_t, int64_t kept, int64_t count) {
      sent += count;
      if (has_numbers) out.insert(out.end(), gradient + kept, gradient + kept + count);
    });
    ForRuns(parts[from], own.begin, own.end, [&](int64_t, int64_t, int64_t count) { expected += count; });
    if (has_numbers) in.resize(expected);
    Swap({.out = out.data(),
          .out_bytes = sent * sizeof(float),
          .to = to,
          .in = in.data(),
          .in_bytes = expected * sizeof(float),
          .from = from,
          .tag = kFiguresTag},
         ranks);
    if (!has_numbers) continue;
    const float* next = in.data();
    ForRuns(parts[from], own.begin, own.end, [&](int64_t first, int64_t, int64_t count) {
      std::copy_n(next, count, whole.data() + first - own.begin);
      next += count;
    });
  }
  for (int64_t begin = 0; begin < own.end - own.begin; begin += kPiece) {
    const int64_t count = std::min(kPiece, own.end - own.begin - begin);
    pieces.mine.push_back(model_.backend().SumOfSquares(whole.data() + begin, count));
  }
  return pieces;
}

std::vector<TensorFigures::Squares> TensorFigures::AddUp(const std::vector<Pieces>& tensors) const {
  Communicator& ranks = model_.mesh().cutters();
  std::vector<std::vector<double>> out(ranks.size()), in(ranks.size());
  std::vector<const Pieces*> owned;
  for (const Pieces& tensor : tensors) {
    out[tensor.owner].insert(out[tensor.owner].end(), tensor.mine.begin(), tensor.mine.end());
    if (tensor.owner == ranks.rank()) owned.push_back(&tensor);
  }
  const auto bytes = [](const std::vector<double>& of) {
    return static_cast<int64_t>(of.size() * sizeof(double));
  };
  const auto parcel = [&](int to, int from) -> Parcel {
    int64_t expected = 0;
    for (const Pieces* tensor : owned) expected += tensor->of_ranks[from].end - tensor->of_ranks[from].begin;
    in[from].resize(expected);
    return {out[to].data(), bytes(out[to]), in[from].data(), bytes(in[from])};
  };
  SwapParcels(parcel, kFiguresTag, ranks);
  std::vector<Squares> sums;
  std::vector<const double*> next;
  for (const std::vector<double>& from : in) next.push_back(from.data());
  std::vector<double> chain;
  for (const Pieces* tensor : owned) {
    // Pieces ascending, whoever made them.
    chain.clear();
    for (size_t r = 0; r < in.size(); ++r) {
      const IndexRange& pieces = tensor->of_ranks[r];
      if (pieces.begin == pieces.end) continue;
      chain.resize(std::max<size_t>(chain.size(), pieces.end));
      std::copy_n(next[r], pieces.end - pieces.begin, chain.begin() + pieces.begin);
      next[r] += pieces.end - pieces.begin;
    }
    sums.push_back({tensor->tensor, 0});
    for (const double piece : chain) sums.back().sum += piece;
  }
  return sums;
}

double TensorFigures::SumOfSquares(const float* gradient) const {
  kernels::Backend& backend = model_.backend();
  const Mesh& mesh = model_.mesh();
  const std::vector<LayoutEntry>& entries = model_.parameters().layout().entries();
  double all = 0;
  if (mesh.holders().size() == 1) {
    for (const LayoutEntry& entry : entries)
      if (entry.trained) all += backend.SumOfSquares(gradient + entry.offset, entry.elements);
    return all;
  }
  TEMPER_CHECK(backend.host_memory());
  std::vector<Pieces> tensors;
  size_t next = 0;
  for (const LayoutEntry& entry : entries)
    if (entry.trained) tensors.push_back(PiecesOf(entry, mine_[next++], gradient + entry.offset));
  std::vector<double> squares(all_.size(), -1);
  for (const std::vector<Squares>& part : AllGather(AddUp(tensors), mesh.holders())) {
    for (const Squares& tensor : part) squares[tensor.tensor] = tensor.sum;
  }
  for (size_t tensor = 0; tensor < all_.size(); ++tensor) {
    TEMPER_CHECK(!(squares[tensor] == -1) || mesh.holders().counts_only(), name(tensor));
    all += squares[tensor];
  }
  return all;
}

std::vector<float> TensorFigures::Largest(const std::vector<float>& mine) const {
  TEMPER_CHECK(mine.size() == mine_.size());
  struct Figure {
    int32_t tensor;
    float value;
  };
  std::vector<Figure> figures;
  size_t next = 0;
  for (const LayoutEntry& entry : model_.parameters().layout().entries()) {
    if (!entry.trained) continue;
    if (entry.elements > 0) figures.push_back({mine_[next], mine[next]});
    ++next;
  }
  std::vector<float> largest(all_.size(), 0);
  for (const std::vector<Figure>& part : AllGather(figures, model_.mesh().holders())) {
    for (const Figure& figure : part) {
      float& most = largest[figure.tensor];
      if (!std::isnan(most) && !(figure.value <= most)) most = figure.value;  // what is no number stays
    }
  }
  return largest;
}

}  // namespace temper
