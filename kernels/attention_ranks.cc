// SPDX-License-Identifier: Apache-2.0
// The gradients of keys and values whose queries several ranks have (KeySumsTask, JoinKeySumsTask of
// kernels/attention.h).
#include <algorithm>
#include <vector>

#include "core/check.h"
#include "kernels/backends/cpu.h"
#include "kernels/cpu/attention.h"
#include "kernels/isa.h"
#include "kernels/pieces.h"

namespace temper::kernels {
namespace {

constexpr int64_t kSpanBlocks = kAttentionSpan / kAttentionBlock;

int64_t BlocksOf(int64_t positions) { return (positions + kAttentionBlock - 1) / kAttentionBlock; }

// Whether a range of the heads of all ranks has one of a kv head's group.
bool HasHeads(const AttentionShape& shape, int kv_head, int range) {
  const int64_t group = shape.q_heads / shape.kv_heads, heads = shape.whole_heads();
  const int64_t first = shape.first_head + kv_head * group;
  const int64_t begin = std::max(first, range * heads / kHeadRanges);
  return begin < std::min(first + group, (range + 1) * heads / kHeadRanges);
}

// The tree of one key and kv head, over ranges and in them spans.
class KeyTree {
 public:
  KeyTree(const JoinKeySumsTask& task, int kv_head)
      : task_(task),
        width_(task.shape.qk_dim + task.shape.v_dim),
        span_levels_(SpanLevels(task.positions)),
        spans_((task.positions + kAttentionSpan - 1) / kAttentionSpan) {
    const std::vector<HeadSlot> slots = HeadSlots(task.shape);
    row_ = static_cast<int64_t>(slots.size()) * width_;
    for (size_t s = 0; s < slots.size(); ++s)
      if (slots[s].kv_head == kv_head) ranges_.push_back({slots[s].range, static_cast<int64_t>(s) * width_});
    made_.resize((span_levels_ + kRangeLevels + 2) * width_);
    left_.resize(made_.size());
  }

  // Of the key of row `row`: dk, then dv. Lives until the next call.
  const float* Sum(int64_t row) {
    const float* const sum = OfRanges(row, {0, kRangeLevels});
    const int64_t key = task_.first_key + row, block = key / kAttentionBlock;
    int64_t end = BlocksOf(task_.positions);
    // As AttentionBackward does: behind the last row that sees the block's last key.
    if (task_.shape.window > 0)
      end = std::min(end, (block * kAttentionBlock + 63 + task_.shape.window - 1) / kAttentionBlock + 1);
    const int64_t seeing = (end - 1) / kSpanBlocks - block / kSpanBlocks + 1;
    if (static_cast<int64_t>(ranges_.size()) * seeing == task_.ranges * spans_) return sum;
    // An empty leaf counts as 0, which makes a -0 of the others 0 and nothing else.
    float* const to = made_.data();
    for (int64_t i = 0; i < width_; ++i) to[i] = sum[i] + 0.0f;
    return to;
  }

 private:
  struct Range {
    int number;
    int64_t column;
  };

  // The sum of a node of that level of the whole tree. Either half may be none.
  template <typename Of>
  const float* Both(const SpanNode& node, int level, Of of) {
    const int below = node.level - 1;
    const float* left = of(SpanNode{node.first, below});
    if (left != nullptr) {  // it outlasts the making of the right half, which goes where it was made
      float* const kept = left_.data() + level * width_;
      std::copy_n(left, width_, kept);
      left = kept;
    }
    const float* const right = of(SpanNode{node.first + (int64_t{1} << below), below});
    if (left == nullptr || right == nullptr) return left == nullptr ? right : left;
    float* const to = made_.data() + (level + 1) * width_;
    for (int64_t i = 0; i < width_; ++i) to[i] = left[i] + right[i];
    return to;
  }

  const float* OfRanges(int64_t row, const SpanNode& node) {
    if (node.level > 0)
      return Both(node, span_levels_ + node.level,
                  [&](const SpanNode& below) { return OfRanges(row, below); });
    for (const Range& range : ranges_)
      if (range.number == node.first) return OfSpans(row, range.column, {0, span_levels_});
    return nullptr;
  }

  const float* OfSpans(int64_t row, int64_t column, const SpanNode& node) {
    if (node.first >= spans_) return nullptr;
    for (const JoinKeySumsTask::Part& part : task_.parts)
      if (part.node == node) return part.sums == nullptr ? nullptr : part.sums + row * row_ + column;
    TEMPER_CHECK(node.level > 0, "nobody has span ", node.first);
    return Both(node, node.level, [&](const SpanNode& below) { return OfSpans(row, column, below); });
  }

  const JoinKeySumsTask& task_;
  const int64_t width_;
  const int span_levels_;
  const int64_t spans_;
  int64_t row_ = 0;
  std::vector<Range> ranges_;
  std::vector<float> made_, left_;  // by level
};

// Those of `node` that have none but spans [begin, end) of `spans`.
struct SpanRange {
  int64_t begin, end, spans;
};
void AddNodes(const SpanNode& node, const SpanRange& of, std::vector<SpanNode>* nodes) {
  const int64_t end = std::min(node.first + (int64_t{1} << node.level), of.spans);
  if (end <= of.begin || of.end <= node.first || end <= node.first) return;
  if (of.begin <= node.first && end <= of.end) return nodes->push_back(node);
  const int below = node.level - 1;
  AddNodes({node.first, below}, of, nodes);
  AddNodes({node.first + (int64_t{1} << below), below}, of, nodes);
}

}  // namespace

std::vector<SpanNode> SpanNodesOf(int64_t begin, int64_t end, int64_t positions) {
  const auto spans = [](int64_t count) { return (count + kAttentionSpan - 1) / kAttentionSpan; };
  std::vector<SpanNode> nodes;
  AddNodes({0, SpanLevels(positions)}, {begin / kAttentionSpan, spans(end), spans(positions)}, &nodes);
  return nodes;
}

std::vector<HeadSlot> HeadSlots(const AttentionShape& shape) {
  std::vector<HeadSlot> slots;
  for (int kv_head = 0; kv_head < shape.kv_heads; ++kv_head) {
    for (int range = 0; range < kHeadRanges; ++range)
      if (HasHeads(shape, kv_head, range)) slots.push_back({kv_head, range});
  }
  return slots;
}

void CpuBackend::KeySums(const KeySumsTask& task) {
  const AttentionBackwardTask& queries = task.queries;
  const AttentionShape& shape = queries.shape;
  const std::vector<HeadSlot> slots = HeadSlots(shape);
  const int64_t width = shape.qk_dim + shape.v_dim, blocks = BlocksOf(task.keys);
  const int64_t nodes = static_cast<int64_t>(task.nodes.size()), levels = SpanLevels(queries.k.rows);
  TEMPER_CHECK(queries.of_whole && task.first_key % kAttentionSpan == 0 &&
               task.sums.rows == nodes * task.keys &&
               task.sums.cols == static_cast<int64_t>(slots.size()) * width);
  Zero(task.sums);
  const auto block = TEMPER_DISPATCH(AttentionBackwardBlock);
  const AttentionSequence whole{0, queries.k.rows, 0};
  const std::vector<AttentionStrip> strips = StripsOf({{&whole, 1}, whole.rows});
  const int64_t all = nodes * static_cast<int64_t>(slots.size()) * blocks;
  pool().ParallelFor(all, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const SpanNode& node = task.nodes[i / blocks / slots.size()];
      const auto slot = static_cast<int64_t>(i / blocks % slots.size());
      const int64_t position = node.first * kAttentionSpan;
      const auto sequence = std::find_if(
          queries.sequences.begin(), queries.sequences.end(), [&](const AttentionSequence& each) {
            return each.first_position <= position && position < each.first_position + each.rows;
          });
      TEMPER_CHECK(sequence != queries.sequences.end());
      AttentionBackwardPiece piece = BackwardPiece(queries, *sequence, slots[slot].kv_head);
      piece.strips = strips.data();
      const Matrix sums =
          task.sums.Rows(i / blocks / slots.size() * task.keys, task.keys).Columns(slot * width, width);
      piece.dk = sums.Columns(0, shape.qk_dim);
      piece.dv = sums.Columns(shape.qk_dim, shape.v_dim);
      piece.first_key = task.first_key;
      const int64_t key = task.first_key / kAttentionBlock + i % blocks;
      block(piece,
            {.keys = key,
             .begin = piece.first / kAttentionBlock,
             .end = BlocksOf(piece.first + piece.q.rows),
             .dq = false,
             .dkv = true,
             .node = {(int64_t{slots[slot].range} << levels) + node.first, node.level}},
            Scratch(AttentionBackwardScratch(piece)));
    }
  });
}

void CpuBackend::JoinKeySums(const JoinKeySumsTask& task) {
  const int qk_dim = task.shape.qk_dim, v_dim = task.shape.v_dim;
  for (int kv_head = 0; kv_head < task.shape.kv_heads; ++kv_head) {
    pool().ParallelFor(task.dk.rows, kAttentionBlock, [&](int64_t begin, int64_t end) {
      KeyTree tree(task, kv_head);
      for (int64_t row = begin; row < end; ++row) {
        const float* const sum = tree.Sum(row);
        std::copy_n(sum, qk_dim, task.dk.Row(row) + kv_head * qk_dim);
        std::copy_n(sum + qk_dim, v_dim, task.dv.Row(row) + kv_head * v_dim);
      }
    });
  }
}

}  // namespace temper::kernels
