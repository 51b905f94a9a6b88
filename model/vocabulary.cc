// SPDX-License-Identifier: Apache-2.0
#include "model/vocabulary.h"

#include "comm/reduce.h"
#include "core/check.h"
#include "model/across.h"

namespace temper {

namespace {

constexpr int kTiedStretchTag = 6;  // of a tied head's gradients between the ends of a pipeline

}  // namespace

Vocabulary::ByOwner Vocabulary::Sort(const Context& c, const std::vector<int32_t>& tokens) const {
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

void Vocabulary::EmbedBackward(const Context& c, const std::vector<int32_t>& tokens, Matrix dx) const {
  const Weight& embedding = weights_.embedding();
  if (c.stretches == nullptr) return AddRows(c, tokens, dx, embedding.gradient);
  Communicator& pipeline = c.mesh->axis(Axis::kPp);
  ForEachStretch(c, dx.rows, [&](int64_t first, int64_t count) {
    const Workspace::Mark mark = c.workspace->Here();
    const Matrix stretch = ZeroRows(c, embedding.n(), embedding.k());
    if (weights_.tied() && pipeline.size() > 1 && !pipeline.counts_only()) {  // see LogprobsBackward
      pipeline.Receive(stretch.f32(), stretch.rows * stretch.cols * sizeof(float), pipeline.size() - 1,
                       kTiedStretchTag);
      embedding.sum.Add(*c.backend, stretch);
      c.backend->Zero(stretch);
    }
    AddRows(c, {tokens.begin() + first, tokens.begin() + first + count}, dx.Rows(first, count), stretch);
    embedding.sum.Add(*c.backend, stretch);
    c.workspace->Release(mark);
  });
}

void Vocabulary::AddRows(const Context& c, const std::vector<int32_t>& tokens, Matrix dx,
                         Matrix gradient) const {
  if (TensorRanks(c).size() == 1) return c.backend->EmbeddingGradient({dx, tokens.data(), gradient});
  const ByOwner sorted = Sort(c, tokens);
  const Workspace::Mark mark = c.workspace->Here();
  const Matrix mine = c.workspace->NewRows(static_cast<int64_t>(sorted.rows.size()), dx.cols);
  c.backend->GatherRows({dx, sorted.rows.data(), mine});
  c.backend->EmbeddingGradient({mine, sorted.ids.data(), gradient});
  c.workspace->Release(mark);
}

Matrix Vocabulary::Logits(const Context& c, Matrix hidden) const {
  const Weight& head = weights_.head();
  const Matrix logits = c.workspace->NewRows(hidden.rows, head.n());
  c.backend->Products({{.a = hidden, .b = head.value, .packed = head.packed, .c = logits}});
  return GatherColumns(c, logits, config_.vocab_size);
}

void Vocabulary::Logprobs(const Context& c, Matrix hidden, const Targets& targets, float* logprobs,
                          double* entropies) const {
  const Weight& head = weights_.head();
  Communicator& ranks = TensorRanks(c);
  const size_t rows = targets.ids.size();
  targets.sums->resize(rows);
  kernels::TokenLogprobsTask task{.hidden = hidden,
                                  .head = head.value,
                                  .packed = head.packed,
                                  .targets = targets.ids.data(),
                                  .temperature = targets.temperature,
                                  .logprob = logprobs,
                                  .sums = targets.sums->data(),
                                  .entropy = entropies};
  if (ranks.size() == 1) return c.backend->TokenLogprobs(task);
  TEMPER_CHECK(entropies == nullptr, "entropies of a part of the vocabulary");
  if (rows == 0) return;
  std::vector<kernels::LogitPart> parts(rows * ranks.size());
  task.part = head.part;
  task.parts = parts.data() + rows * ranks.rank();
  c.backend->TokenLogprobs(task);
  static_assert(sizeof parts[0] == 3 * sizeof(float));
  GatherShares(&parts.data()->max, static_cast<int64_t>(3 * parts.size()), ranks);
  kernels::JoinLogprobs({parts, targets.ids, config_.vocab_size, logprobs, targets.sums->data()});
}

void Vocabulary::LogprobsBackward(const Context& c, Matrix hidden, const Targets& targets,
                                  const float* dlogprobs, Matrix dhidden) const {
  const Weight& head = weights_.head();
  const auto back = [&](int64_t first, int64_t count, Matrix dhead) {
    TEMPER_CHECK(dhead, "no gradient buffer is bound");
    c.backend->TokenLogprobsBackward({.hidden = hidden.Rows(first, count),
                                      .head = head.value,
                                      .targets = targets.ids.data() + first,
                                      .temperature = targets.temperature,
                                      .sums = targets.sums->data() + first,
                                      .dlogprob = dlogprobs + first,
                                      .dhidden = dhidden.Rows(first, count),
                                      .dhead = dhead,
                                      .part = head.part});
  };
  if (c.stretches == nullptr) {
    back(0, hidden.rows, head.gradient);
  } else {
    Communicator& pipeline = c.mesh->axis(Axis::kPp);
    ForEachStretch(c, hidden.rows, [&](int64_t first, int64_t count) {
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
  SumAcross(c, dhidden);
}

}  // namespace temper
