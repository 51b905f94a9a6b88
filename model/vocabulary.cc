// SPDX-License-Identifier: Apache-2.0
#include "model/vocabulary.h"

#include <algorithm>
#include <numeric>

#include "comm/parcels.h"
#include "core/check.h"
#include "model/across.h"

namespace temper {

namespace {

constexpr int kTiedStretchTag = 6;  // of a tied head's gradients between the ends of a pipeline
constexpr int kRowTag = 8;          // of the embedding's rows

// Of the tokens those whose rows are rank `rank`'s own.
absl::Span<const int32_t> OwnOf(const Context& c, absl::Span<const int32_t> tokens, int rank) {
  const Share share = ShareOf(static_cast<int64_t>(tokens.size()), rank, TensorRanks(c).size());
  return tokens.subspan(share.begin, share.end - share.begin);
}

}  // namespace

Vocabulary::ByOwner Vocabulary::Sort(const Context& c, absl::Span<const int32_t> tokens) const {
  Communicator& ranks = TensorRanks(c);
  ByOwner sorted{std::vector<int32_t>(tokens.size()), {0}, {}, {}};
  int32_t place = 0;
  for (int r = 0; r < ranks.size(); ++r) {
    const Share share = ShareOf(config_.vocab_size, r, ranks.size());
    for (size_t i = 0; i < tokens.size(); ++i) {
      if (tokens[i] < share.begin || tokens[i] >= share.end) continue;
      sorted.place[i] = place++;
      if (r != ranks.rank()) continue;
      sorted.rows.push_back(static_cast<int32_t>(i));
      sorted.ids.push_back(static_cast<int32_t>(tokens[i] - share.begin));
    }
    sorted.edges.push_back(place);
  }
  return sorted;
}

void Vocabulary::Embed(const Context& c, const std::vector<int32_t>& tokens, Matrix x) const {
  for (int32_t token : tokens) TEMPER_CHECK(token >= 0 && token < config_.vocab_size, "token ", token);
  Communicator& ranks = TensorRanks(c);
  if (ranks.size() == 1) return c.backend->GatherRows({weights_.embedding().value, tokens.data(), x});
  if (c.shares_rows) return EmbedOwn(c, tokens, x);
  ByOwner sorted = Sort(c, tokens);
  const Workspace::Mark mark = c.workspace->Here();
  const Matrix all = c.workspace->NewRows(x.rows, x.cols);
  c.backend->GatherRows({weights_.embedding().value, sorted.ids.data(),
                         all.Rows(sorted.edges[ranks.rank()], static_cast<int64_t>(sorted.ids.size()))});
  for (int64_t& edge : sorted.edges) edge *= x.cols;
  GatherParts(all.f32(), sorted.edges, ranks);
  c.backend->GatherRows({all, sorted.place.data(), x});
  c.workspace->Release(mark);
}

void Vocabulary::EmbedOwn(const Context& c, absl::Span<const int32_t> tokens, Matrix x) const {
  Communicator& ranks = TensorRanks(c);
  const int64_t row_bytes = x.cols * static_cast<int64_t>(sizeof(float));
  const ByOwner own = Sort(c, OwnOf(c, tokens, ranks.rank()));
  const Workspace::Mark mark = c.workspace->Here();
  const Matrix in = c.workspace->NewRows(x.rows, x.cols);
  const Matrix out = c.workspace->NewRows(static_cast<int64_t>(tokens.size()) / ranks.size() + 1, x.cols);
  const auto parcel = [&](int to, int from) -> Parcel {
    const ByOwner theirs = Sort(c, OwnOf(c, tokens, to));
    const auto count = static_cast<int64_t>(theirs.ids.size());
    c.backend->GatherRows({weights_.embedding().value, theirs.ids.data(), out.Rows(0, count)});
    return {out.f32(), count * row_bytes, in.f32() + own.edges[from] * x.cols,
            (own.edges[from + 1] - own.edges[from]) * row_bytes};
  };
  SwapParcels(parcel, kRowTag, ranks);
  c.backend->GatherRows({in, own.place.data(), x});
  c.workspace->Release(mark);
}

void Vocabulary::SendOwn(const Context& c, absl::Span<const int32_t> tokens, Matrix dx,
                         const OwnedRows& owned) const {
  Communicator& ranks = TensorRanks(c);
  const int64_t row_bytes = dx.cols * static_cast<int64_t>(sizeof(float));
  const ByOwner own = Sort(c, OwnOf(c, tokens, ranks.rank()));
  std::vector<int32_t> by_owner(own.place.size());  // this rank's own rows
  for (size_t i = 0; i < own.place.size(); ++i) by_owner[own.place[i]] = static_cast<int32_t>(i);
  const Workspace::Mark mark = c.workspace->Here();
  const Matrix out = c.workspace->NewRows(dx.rows, dx.cols);
  const auto parcel = [&](int to, int from) -> Parcel {
    const int64_t count = own.edges[to + 1] - own.edges[to];
    c.backend->GatherRows({dx, by_owner.data() + own.edges[to], out.Rows(0, count)});
    const Share theirs = ShareOf(static_cast<int64_t>(tokens.size()), from, ranks.size());
    const auto at = [&owned](int64_t token) {
      return std::lower_bound(owned.tokens.begin(), owned.tokens.end(), token) - owned.tokens.begin();
    };
    return {out.f32(), count * row_bytes, owned.dx.f32() + at(theirs.begin) * dx.cols,
            (at(theirs.end) - at(theirs.begin)) * row_bytes};
  };
  SwapParcels(parcel, kRowTag, ranks);
  c.workspace->Release(mark);
}

Vocabulary::OwnedRows Vocabulary::TakeOwned(const Context& c, const std::vector<int32_t>& tokens,
                                            Matrix dx) const {
  if (TensorRanks(c).size() == 1) {
    OwnedRows all{dx, std::vector<int32_t>(tokens.size()), tokens};
    std::iota(all.tokens.begin(), all.tokens.end(), 0);
    return all;
  }
  ByOwner sorted = Sort(c, tokens);
  OwnedRows owned{c.workspace->NewRows(static_cast<int64_t>(sorted.rows.size()), dx.cols),
                  std::move(sorted.rows), std::move(sorted.ids)};
  if (c.shares_rows) {
    SendOwn(c, tokens, dx, owned);
  } else {
    c.backend->GatherRows({dx, owned.tokens.data(), owned.dx});
  }
  return owned;
}

void Vocabulary::EmbedBackward(const Context& c, const std::vector<int32_t>& tokens, Matrix dx) const {
  const Weight& embedding = weights_.embedding();
  const Workspace::Mark mark = c.workspace->Here();
  const OwnedRows owned = TakeOwned(c, tokens, dx);
  if (c.stretches == nullptr) {
    if (TokenRows* const rows = weights_.embedding_rows()) {
      rows->Add(owned.ids, owned.dx);
    } else {
      c.backend->EmbeddingGradient({owned.dx, owned.ids.data(), embedding.gradient});
    }
    return c.workspace->Release(mark);
  }
  Communicator& pipeline = c.mesh->axis(Axis::kPp);
  size_t next = 0;  // of the owned
  ForEachStretch(c, static_cast<int64_t>(tokens.size()), [&](int64_t first, int64_t count) {
    const Workspace::Mark before = c.workspace->Here();
    const Matrix stretch = ZeroRows(c, embedding.n(), embedding.k());
    if (weights_.tied() && pipeline.size() > 1 && !pipeline.counts_only()) {  // see LogprobsBackward
      pipeline.Receive(stretch.f32(), stretch.rows * stretch.cols * sizeof(float), pipeline.size() - 1,
                       kTiedStretchTag);
      embedding.sum.Add(*c.backend, stretch);
      c.backend->Zero(stretch);
    }
    const size_t begin = next;
    while (next < owned.tokens.size() && owned.tokens[next] < first + count) ++next;
    c.backend->EmbeddingGradient(
        {owned.dx.Rows(static_cast<int64_t>(begin), static_cast<int64_t>(next - begin)),
         owned.ids.data() + begin, stretch});
    embedding.sum.Add(*c.backend, stretch);
    c.workspace->Release(before);
  });
  c.workspace->Release(mark);
}

Matrix Vocabulary::Logits(const Context& c, Matrix hidden) const {
  const Weight& head = weights_.head();
  const Matrix logits = c.workspace->NewRows(hidden.rows, head.n());
  c.backend->Products({{.a = hidden, .b = head.value, .packed = head.packed, .c = logits}});
  return GatherColumns(c, logits, config_.vocab_size);
}

Matrix Vocabulary::ByTarget(Matrix hidden) const {
  const int64_t width = config_.hidden_size;
  if (hidden.cols == width) return hidden;
  TEMPER_CHECK(hidden.stride == hidden.cols && hidden.cols % width == 0);
  return kernels::F32(hidden.f32(), hidden.rows * (hidden.cols / width), width);
}

void Vocabulary::Logprobs(const Context& c, Matrix hidden, const Targets& targets, float* logprobs,
                          double* entropies) const {
  const Weight& head = weights_.head();
  Communicator& ranks = TensorRanks(c);
  const size_t rows = targets.ids.size();
  targets.sums->resize(rows);
  kernels::TokenLogprobsTask task{.hidden = ByTarget(hidden),
                                  .head = head.value,
                                  .packed = head.packed,
                                  .targets = targets.ids.data(),
                                  .temperature = targets.temperature,
                                  .logprob = logprobs,
                                  .sums = targets.sums->data(),
                                  .entropy = entropies,
                                  .logits = targets.logits};
  if (ranks.size() == 1) return c.backend->TokenLogprobs(task);
  TEMPER_CHECK(entropies == nullptr, "entropies of a part of the vocabulary");
  if (rows == 0) return;
  const Workspace::Mark mark = c.workspace->Here();
  task.hidden = ByTarget(AllRows(c, hidden, static_cast<int64_t>(rows) * config_.hidden_size / hidden.cols));
  std::vector<kernels::LogitPart> parts(rows * ranks.size());
  task.part = head.part;
  task.parts = parts.data() + rows * ranks.rank();
  c.backend->TokenLogprobs(task);
  c.workspace->Release(mark);
  static_assert(sizeof parts[0] == 3 * sizeof(float));
  GatherShares(&parts.data()->max, static_cast<int64_t>(3 * parts.size()), ranks);
  kernels::JoinLogprobs({parts, targets.ids, config_.vocab_size, logprobs, targets.sums->data()});
}

void Vocabulary::LogprobsBackward(const Context& c, Matrix hidden, const Targets& targets,
                                  const float* dlogprobs, Matrix dhidden) const {
  const Weight& head = weights_.head();
  const auto rows = static_cast<int64_t>(targets.ids.size());
  const Workspace::Mark before = c.workspace->Here();
  const Matrix whole = AllRows(c, hidden, rows * config_.hidden_size / hidden.cols);
  const Matrix dwhole = c.shares_rows ? c.workspace->NewRows(whole.rows, whole.cols) : dhidden;
  const Matrix all = ByTarget(whole), dall = ByTarget(dwhole);
  const auto back = [&](int64_t first, int64_t count, Matrix dhead) {
    TEMPER_CHECK(dhead, "no gradient buffer is bound");
    c.backend->TokenLogprobsBackward({.hidden = all.Rows(first, count),
                                      .head = head.value,
                                      .packed = head.packed,
                                      .targets = targets.ids.data() + first,
                                      .temperature = targets.temperature,
                                      .sums = targets.sums->data() + first,
                                      .dlogprob = dlogprobs + first,
                                      .dhidden = dall.Rows(first, count),
                                      .dhead = dhead,
                                      .part = head.part,
                                      .logits = targets.logits});
  };
  if (c.stretches == nullptr) {
    back(0, rows, head.gradient);
  } else {
    Communicator& pipeline = c.mesh->axis(Axis::kPp);
    ForEachStretch(c, rows, [&](int64_t first, int64_t count) {
      const Workspace::Mark mark = c.workspace->Here();
      const Matrix stretch = ZeroRows(c, head.n(), head.k());
      back(first, count, stretch);
      if (weights_.tied() && pipeline.size() > 1) {  // the first rank sums both
        pipeline.SendCopy(stretch.f32(), stretch.rows * stretch.cols * sizeof(float), 0, kTiedStretchTag);
      } else {
        head.sum.Add(*c.backend, stretch);
      }
      c.workspace->Release(mark);
    });
  }
  const Matrix sum = SumOwnRows(c, dwhole);
  if (c.shares_rows) c.backend->Copy(sum, dhidden);
  c.workspace->Release(before);
}

}  // namespace temper
