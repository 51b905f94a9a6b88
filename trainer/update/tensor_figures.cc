// SPDX-License-Identifier: Apache-2.0
#include "trainer/update/tensor_figures.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "comm/reduce.h"
#include "core/check.h"
#include "kernels/backend.h"

namespace temper {
namespace {

constexpr int64_t kPiece = 65536;  // elements of a chain: see Backend::SumOfSquares
constexpr int kTag = 2;

// A rank's columns [begin, end) of a tensor that is seen as rows x cols; shared rows are columns of one row.
struct Part {
  int64_t rows, cols, begin, end;
};
Part PartOf(const LayoutEntry& entry, int64_t rank, int64_t ranks) {
  const int64_t cols = entry.whole.size() == 2 ? entry.whole[1] : 1;
  if (entry.sharing == Sharing::kRows) {
    const Share share = ShareOf(entry.whole[0], rank, ranks);
    return {1, entry.whole[0] * cols, share.begin * cols, share.end * cols};
  }
  const Share share = ShareOf(cols, rank, ranks);
  return {entry.whole[0], cols, share.begin, share.end};
}

// Calls run(first, local, count) for the runs of a part's elements in [begin, end) of the whole tensor: where
// one begins in the whole, and in the part.
template <typename Run>
void ForRuns(const Part& part, int64_t begin, int64_t end, const Run& run) {
  for (int64_t row = begin / part.cols; row * part.cols < end; ++row) {
    const int64_t from = std::max(part.begin, begin - row * part.cols),
                  to = std::min(part.end, end - row * part.cols);
    if (from < to) run(row * part.cols + from, row * (part.end - part.begin) + from - part.begin, to - from);
  }
}

// What all ranks have, in their order.
template <typename T>
std::vector<std::vector<T>> AllGather(const std::vector<T>& mine, Communicator& ranks) {
  const std::string bytes(reinterpret_cast<const char*>(mine.data()), mine.size() * sizeof(T));
  std::vector<std::vector<T>> all;
  for (const std::string& part : ranks.AllGather(bytes)) {
    all.emplace_back(part.size() / sizeof(T));
    if (!part.empty()) std::memcpy(all.back().data(), part.data(), part.size());
  }
  return all;
}

}  // namespace

TensorFigures::TensorFigures(const CausalLm* model) : model_(*model) {
  for (const LayoutEntry& entry : Layout(model->config()).entries()) {
    if (!entry.trained) continue;
    if (model->parameters().Has(entry.name)) mine_.push_back(static_cast<int32_t>(names_.size()));
    names_.push_back(entry.name);
  }
}

int64_t TensorFigures::SharedSquares(const LayoutEntry& entry, const float* gradient,
                                     std::vector<double>* squares) const {
  Communicator& ranks = model_.mesh().axis(Axis::kTp);
  const int rank = ranks.rank(), size = ranks.size();
  const Part mine = PartOf(entry, rank, size);
  const int64_t elements = mine.rows * mine.cols, pieces = (elements + kPiece - 1) / kPiece;
  // The elements whose pieces a rank sums up.
  const auto owned = [&](int r) {
    const Share share = ShareOf(pieces, r, size);
    return Share{share.begin * kPiece, std::min(share.end * kPiece, elements)};
  };
  const Share own = owned(rank);
  std::vector<float> whole(std::max<int64_t>(own.end - own.begin, 0)), out, in;
  ForRuns(mine, own.begin, own.end, [&](int64_t first, int64_t local, int64_t count) {
    std::copy_n(gradient + local, count, whole.data() + first - own.begin);
  });
  for (int distance = 1; distance < size; ++distance) {
    const int to = (rank + distance) % size, from = (rank + size - distance) % size;
    out.clear();
    ForRuns(mine, owned(to).begin, owned(to).end, [&](int64_t, int64_t local, int64_t count) {
      out.insert(out.end(), gradient + local, gradient + local + count);
    });
    const Part theirs = PartOf(entry, from, size);
    int64_t expected = 0;
    ForRuns(theirs, own.begin, own.end, [&](int64_t, int64_t, int64_t count) { expected += count; });
    in.resize(expected);
    ranks.SendReceive(
        {out.data(), out.size() * sizeof(float), to, in.data(), in.size() * sizeof(float), from, kTag});
    const float* next = in.data();
    ForRuns(theirs, own.begin, own.end, [&](int64_t first, int64_t, int64_t count) {
      std::copy_n(next, count, whole.data() + first - own.begin);
      next += count;
    });
  }
  for (int64_t begin = 0; begin < static_cast<int64_t>(whole.size()); begin += kPiece) {
    const int64_t count = std::min(kPiece, static_cast<int64_t>(whole.size()) - begin);
    squares->push_back(model_.backend().SumOfSquares(whole.data() + begin, count));
  }
  return pieces;
}

double TensorFigures::SumOfSquares(const float* gradient) const {
  kernels::Backend& backend = model_.backend();
  const Mesh& mesh = model_.mesh();
  double all = 0;
  if (mesh.mates().size() == 1) {
    for (const LayoutEntry& entry : model_.parameters().layout().entries())
      if (entry.trained) all += backend.SumOfSquares(gradient + entry.offset, entry.elements);
    return all;
  }
  TEMPER_CHECK(backend.host_memory());
  // What this rank knows of: tensors that it has whole, and pieces of those that it shares.
  constexpr double kUnknown = -1;
  std::vector<double> tensors(names_.size(), kUnknown), pieces;
  std::vector<std::pair<int32_t, int64_t>> shared;  // tensors, and how many pieces they have
  size_t next = 0;
  for (const LayoutEntry& entry : model_.parameters().layout().entries()) {
    if (!entry.trained) continue;
    const int32_t tensor = mine_[next++];
    const float* const numbers = gradient + entry.offset;
    if (entry.sharing == Sharing::kNone) {
      tensors[tensor] = backend.SumOfSquares(numbers, entry.elements);
    } else {
      shared.emplace_back(tensor, SharedSquares(entry, numbers, &pieces));
    }
  }
  Communicator& tp = mesh.axis(Axis::kTp);
  const std::vector<std::vector<double>> all_pieces = AllGather(pieces, tp);
  std::vector<size_t> at(tp.size());
  for (const auto& [tensor, count] : shared) {
    double& squares = tensors[tensor] = 0;
    for (int r = 0; r < tp.size(); ++r) {
      const Share share = ShareOf(count, r, tp.size());
      for (int64_t p = share.begin; p < share.end; ++p) squares += all_pieces[r][at[r]++];
    }
  }
  const std::vector<std::vector<double>> of_mates = AllGather(tensors, mesh.mates());
  for (size_t tensor = 0; tensor < names_.size(); ++tensor) {
    const auto has = std::find_if(of_mates.begin(), of_mates.end(),
                                  [&](const std::vector<double>& mate) { return mate[tensor] != kUnknown; });
    TEMPER_CHECK(has != of_mates.end(), names_[tensor]);
    all += (*has)[tensor];
  }
  return all;
}

std::vector<float> TensorFigures::Largest(const std::vector<float>& mine) const {
  TEMPER_CHECK(mine.size() == mine_.size());
  std::vector<float> largest(names_.size(), 0);
  for (size_t i = 0; i < mine.size(); ++i) largest[mine_[i]] = mine[i];
  if (model_.mesh().mates().size() == 1) return largest;
  for (const std::vector<float>& mate : AllGather(largest, model_.mesh().mates())) {
    for (size_t i = 0; i < largest.size(); ++i) largest[i] = std::max(largest[i], mate[i]);
  }
  return largest;
}

}  // namespace temper
