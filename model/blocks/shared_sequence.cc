// SPDX-License-Identifier: Apache-2.0
#include "model/blocks/shared_sequence.h"

#include <algorithm>
#include <vector>

#include "comm/reduce.h"
#include "core/check.h"

namespace temper {
namespace {

constexpr int kKeyTag = 5;

Communicator& SequenceRanks(const Context& c) { return c.mesh->axis(Axis::kCp); }

// Where the ranks' rows begin, one rank's behind another's, and where they end.
std::vector<int64_t> EdgesOf(const SharedSequence& shared, int64_t each = 1) {
  std::vector<int64_t> edges = {0};
  for (const std::vector<IndexRange>& ranges : shared.ranges) {
    edges.push_back(edges.back());
    for (const IndexRange& range : ranges) edges.back() += (range.end - range.begin) * each;
  }
  return edges;
}

// The nodes of the tree over spans that a rank's queries are, which see a key from `key` on.
std::vector<kernels::SpanNode> NodesOf(const SharedSequence& shared, int rank, int64_t key) {
  std::vector<kernels::SpanNode> nodes;
  for (const IndexRange& range : shared.ranges[rank]) {
    for (const kernels::SpanNode& node : kernels::SpanNodesOf(range.begin, range.end, shared.positions)) {
      if ((node.first + (int64_t{1} << node.level)) * kernels::kAttentionSpan > key) nodes.push_back(node);
    }
  }
  return nodes;
}

// What the queries of rank `of` give to the keys of rank `to`, one of its ranges behind another.
int64_t SumFloats(const SharedSequence& shared, int of, int to, int64_t width) {
  int64_t floats = 0;
  for (const IndexRange& keys : shared.ranges[to])
    floats += static_cast<int64_t>(NodesOf(shared, of, keys.begin).size()) * (keys.end - keys.begin) * width;
  return floats;
}

// Of this rank's queries, to the keys of rank `to`.
void KeySumsFor(const Context& c, const SharedSequence& shared, int to,
                const kernels::AttentionBackwardTask& queries, Matrix sums) {
  int64_t row = 0;
  for (const IndexRange& keys : shared.ranges[to]) {
    const std::vector<kernels::SpanNode> nodes = NodesOf(shared, SequenceRanks(c).rank(), keys.begin);
    const int64_t count = keys.end - keys.begin, rows = static_cast<int64_t>(nodes.size()) * count;
    if (rows == 0) continue;
    c.backend->KeySums({queries, nodes, keys.begin, count, sums.Rows(row, rows)});
    row += rows;
  }
}

}  // namespace

Matrix GatherPositions(const Context& c, const BatchView& batch, Matrix mine) {
  if (batch.shared == nullptr) return mine;
  const SharedSequence& shared = *batch.shared;
  const Matrix all = c.workspace->NewRows(shared.positions, mine.cols);
  const Workspace::Mark mark = c.workspace->Here();
  // One rank's behind another's.
  const Matrix by_rank = c.workspace->NewRows(shared.positions, mine.cols);
  c.backend->Copy(mine, by_rank.Rows(EdgesOf(shared)[SequenceRanks(c).rank()], mine.rows));
  GatherParts(by_rank.f32(), EdgesOf(shared, mine.cols), SequenceRanks(c));
  int64_t row = 0;
  for (const std::vector<IndexRange>& ranges : shared.ranges) {
    for (const IndexRange& range : ranges) {
      const int64_t count = range.end - range.begin;
      c.backend->Copy(by_rank.Rows(row, count), all.Rows(range.begin, count));
      row += count;
    }
  }
  c.workspace->Release(mark);
  return all;
}

void TakeValues(const SharedSequence& shared, const float* all, int rank, std::vector<float>* mine) {
  mine->clear();
  for (const IndexRange& range : shared.ranges[rank])
    mine->insert(mine->end(), all + range.begin, all + range.end);
}

void GatherValues(const SharedSequence& shared, const std::vector<float>& mine, float* all,
                  Communicator& ranks) {
  std::vector<float> by_rank(shared.positions);
  const std::vector<int64_t> edges = EdgesOf(shared);
  std::copy(mine.begin(), mine.end(), by_rank.begin() + edges[ranks.rank()]);
  GatherParts(by_rank.data(), edges, ranks);
  const float* next = by_rank.data();
  for (const std::vector<IndexRange>& ranges : shared.ranges) {
    for (const IndexRange& range : ranges) {
      std::copy_n(next, range.end - range.begin, all + range.begin);
      next += range.end - range.begin;
    }
  }
}

void AttentionBackwardAcross(const Context& c, const BatchView& batch,
                             const kernels::AttentionBackwardTask& task) {
  if (batch.shared == nullptr) return c.backend->AttentionBackward(task);
  const SharedSequence& shared = *batch.shared;
  Communicator& ranks = SequenceRanks(c);
  kernels::AttentionBackwardTask queries = task;
  queries.of_whole = true;
  queries.dk = queries.dv = {};
  c.backend->AttentionBackward(queries);

  const int64_t width =
      static_cast<int64_t>(kernels::HeadSlots(task.shape).size()) * (task.shape.qk_dim + task.shape.v_dim);
  const Workspace::Mark mark = c.workspace->Here();
  std::vector<const float*> came(ranks.size());  // of each rank's queries, for this rank's keys
  for (int distance = 0; distance < ranks.size(); ++distance) {
    const int to = (ranks.rank() + distance) % ranks.size();
    const int from = (ranks.rank() + ranks.size() - distance) % ranks.size();
    const int64_t in = SumFloats(shared, from, ranks.rank(), width);
    const int64_t out = SumFloats(shared, ranks.rank(), to, width);
    float* const place = c.workspace->Floats(in);
    came[from] = place;
    const Workspace::Mark sent = c.workspace->Here();
    const Matrix sums = kernels::F32(distance == 0 ? place : c.workspace->Floats(out), out / width, width);
    KeySumsFor(c, shared, to, queries, sums);
    if (distance > 0) {
      ranks.SendReceive({sums.f32(), static_cast<size_t>(out) * sizeof(float), to, place,
                         static_cast<size_t>(in) * sizeof(float), from, kKeyTag});
    }
    c.workspace->Release(sent);
  }

  int64_t row = 0;
  for (const IndexRange& keys : shared.ranges[ranks.rank()]) {
    const int64_t count = keys.end - keys.begin;
    std::vector<kernels::JoinKeySumsTask::Part> parts;
    for (int rank = 0; rank < ranks.size(); ++rank) {
      for (const kernels::SpanNode& node : NodesOf(shared, rank, 0)) {
        const std::vector<kernels::SpanNode> seeing = NodesOf(shared, rank, keys.begin);
        const bool sees = !seeing.empty() && seeing.front().first <= node.first;
        parts.push_back({node, sees ? came[rank] : nullptr});
        if (sees) came[rank] += count * width;
      }
    }
    c.backend->JoinKeySums({.shape = task.shape,
                            .positions = shared.positions,
                            .parts = parts,
                            .first_key = keys.begin,
                            .dk = task.dk.Rows(row, count),
                            .dv = task.dv.Rows(row, count),
                            .ranges = task.ranges});
    row += count;
  }
  c.workspace->Release(mark);
}

}  // namespace temper
