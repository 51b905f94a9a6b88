// SPDX-License-Identifier: Apache-2.0
#include "trainer/update/tensor_figures.h"

#include <algorithm>
#include <cmath>
#include <tuple>
#include <utility>

#include "comm/gather.h"
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

// The elements whose pieces rank `rank` of `parts` sums up: where each has one run, those that begin in it.
Share Owned(const std::vector<Part>& parts, size_t rank) {
  const Part& part = parts[rank];
  const int64_t elements = part.rows * part.cols, pieces = (elements + kPiece - 1) / kPiece;
  Share share = ShareOf(pieces, static_cast<int64_t>(rank), static_cast<int64_t>(parts.size()));
  if (part.rows == 1) {
    const int64_t first = part.begin + part.first;
    share = {(first + kPiece - 1) / kPiece, (first + part.count + kPiece - 1) / kPiece};
  }
  return {std::min(share.begin * kPiece, elements), std::min(share.end * kPiece, elements)};
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
  for (const LayoutEntry& entry : Layout(model->config()).entries()) {
    if (!entry.trained) continue;
    if (model->parameters().Has(entry.name)) mine_.push_back(static_cast<int32_t>(names_.size()));
    names_.push_back(entry.name);
  }
  std::vector<Kept> kept;
  for (const LayoutEntry& entry : model->parameters().layout().entries()) {
    if (entry.trained) kept.push_back({mine_[kept.size()], entry.first_element, entry.elements});
  }
  kept_ = AllGather(kept, model->mesh().cutters());
}

void TensorFigures::AddPieces(const LayoutEntry& entry, int32_t tensor, const float* gradient,
                              std::vector<Piece>* pieces) const {
  const Mesh& mesh = model_.mesh();
  const int64_t tp = mesh.sizes().tp;
  const bool by_tp = tp > 1 && entry.sharing != Sharing::kNone;
  Communicator& ranks = by_tp ? mesh.cutters() : mesh.sharers();
  const int rank = ranks.rank(), size = ranks.size();
  std::vector<Part> parts;
  for (int r = 0; r < size; ++r) {
    const int64_t at = by_tp ? r : r * tp + mesh.place()[Axis::kTp];  // of cutters, whose last axis is tp
    const auto kept = std::lower_bound(kept_[at].begin(), kept_[at].end(), tensor,
                                       [](const Kept& a, int32_t b) { return a.tensor < b; });
    TEMPER_CHECK(kept != kept_[at].end() && kept->tensor == tensor, entry.name);
    parts.push_back(PartOf(entry, {kept->first, kept->first + kept->count}, at % tp, tp));
  }
  const Share own = Owned(parts, rank);
  const bool has_numbers = !ranks.counts_only();
  std::vector<float> whole(has_numbers ? own.end - own.begin : 0), out, in;
  ForRuns(parts[rank], own.begin, has_numbers ? own.end : own.begin,
          [&](int64_t first, int64_t kept, int64_t count) {
            std::copy_n(gradient + kept, count, whole.data() + first - own.begin);
          });
  for (int distance = 1; distance < size; ++distance) {
    const int to = (rank + distance) % size, from = (rank + size - distance) % size;
    const Share theirs = Owned(parts, to);
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
    pieces->push_back(
        {tensor, (own.begin + begin) / kPiece, model_.backend().SumOfSquares(whole.data() + begin, count)});
  }
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
  std::vector<Piece> pieces;
  size_t next = 0;
  for (const LayoutEntry& entry : entries)
    if (entry.trained) AddPieces(entry, mine_[next++], gradient + entry.offset, &pieces);
  std::vector<Piece> of_cutters;
  for (const std::vector<Piece>& part : AllGather(pieces, mesh.cutters()))
    of_cutters.insert(of_cutters.end(), part.begin(), part.end());
  const auto order = [](const Piece& a, const Piece& b) {
    return std::tie(a.tensor, a.piece) < std::tie(b.tensor, b.piece);
  };
  std::sort(of_cutters.begin(), of_cutters.end(), order);
  std::vector<Piece> tensors;  // those that these ranks have, their pieces ascending
  const Piece* last = nullptr;
  for (const Piece& piece : of_cutters) {
    if (last == nullptr || last->tensor != piece.tensor) tensors.push_back({piece.tensor, 0, 0});
    // Ranks of tp that have the same summed up the same.
    if (last == nullptr || order(*last, piece)) tensors.back().squares += piece.squares;
    last = &piece;
  }
  std::vector<double> squares(names_.size(), -1);
  for (const std::vector<Piece>& part : AllGather(tensors, mesh.holders())) {
    for (const Piece& tensor : part) squares[tensor.tensor] = tensor.squares;
  }
  for (size_t tensor = 0; tensor < names_.size(); ++tensor) {
    TEMPER_CHECK(!(squares[tensor] == -1) || mesh.holders().counts_only(), names_[tensor]);
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
  for (size_t i = 0; i < mine.size(); ++i) figures.push_back({mine_[i], mine[i]});
  std::vector<float> largest(names_.size(), 0);
  for (const std::vector<Figure>& part : AllGather(figures, model_.mesh().holders())) {
    for (const Figure& figure : part) {
      float& most = largest[figure.tensor];
      if (!std::isnan(most) && !(figure.value <= most)) most = figure.value;  // what is no number stays
    }
  }
  return largest;
}

}  // namespace temper
