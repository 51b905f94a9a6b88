// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/attention.h"
#include "kernels/cpu/chains.h"
#include "kernels/cpu/simd.h"

namespace temper::kernels {
namespace TEMPER_ISA {
namespace {

// At most 64 rows to [cols][64]; the absent rows become zeros.
void TransposeBlock(const Matrix& from, float* out) {
  const float* const rows = from.f32();
  for (int64_t d = 0; d < from.cols; ++d) {
    for (int64_t i = 0; i < from.rows; ++i) out[64 * d + i] = rows[i * from.stride + d];
    for (int64_t i = from.rows; i < 64; ++i) out[64 * d + i] = 0.0f;
  }
}

float DotRow(const float* a, const float* b, int n) {
  F16 sum = Set(0.0f);
  for (int c = 0; c < n; c += kLanes) {
    const int lanes = n - c < kLanes ? n - c : kLanes;
    sum = Fma(LoadFirst(a + c, lanes), LoadFirst(b + c, lanes), sum);
  }
  return SumLanes(sum);
}

// Rows [row, row + count) of one head against the block of keys from `key` on, which are transposed.
struct BackwardTile {
  int64_t row;
  int count, head;
  int64_t key;
  const float *keys, *values;
};

// P and dS, both [64][64], of a tile; 0 where the row does not see the key.
void Probabilities(const AttentionBackwardPiece& piece, const BackwardTile& at, float* p, float* ds) {
  const AttentionShape& shape = piece.shape;
  const int64_t row = at.row, key = at.key;
  const int count = at.count, head = at.head;
  for (int i = 0; i < count; i += 4) {
    const int tile = count - i < 4 ? count - i : 4;
    const float *q[4], *dout[4];
    for (int t = 0; t < tile; ++t) {
      q[t] = piece.q.Row(row + i + t - piece.first) + head * shape.qk_dim;
      dout[t] = piece.dout.Row(row + i + t - piece.first) + head * shape.v_dim;
    }
    const int most = Valid(row + i + tile - 1, key / 64);
    Dots<float>(tile, {q, at.keys, shape.qk_dim, shape.scale, most}, p + 64 * i);
    Dots<float>(tile, {dout, at.values, shape.v_dim, 1.0f, most}, ds + 64 * i);
    for (int t = 0; t < tile; ++t) {
      const int64_t r = row + i + t;
      const F16 lse = Set(piece.lse[(r - piece.first) * shape.q_heads + head]);
      const F16 d = Set(DotRow(dout[t], piece.out.Row(r - piece.first) + head * shape.v_dim, shape.v_dim));
      const int valid = Valid(r, key / 64);
      for (int c = 0; c < 64; c += kLanes) {
        const int lanes = valid - c < 0 ? 0 : valid - c < kLanes ? valid - c : kLanes;
        float* pc = p + 64 * (i + t) + c;
        float* dsc = ds + 64 * (i + t) + c;
        const F16 probability = Exp(Sub(Load(pc), lse));
        const F16 gradient = Mul(Mul(probability, Sub(Load(dsc), d)), Set(shape.scale));
        Store(pc, Select(FirstLanes(lanes), probability, Set(0.0f)));
        Store(dsc, Select(FirstLanes(lanes), gradient, Set(0.0f)));
      }
      const int unseen = Unseen(FirstKey(r, shape.window), key / 64);
      for (int c = 0; c < unseen; ++c) p[64 * (i + t) + c] = ds[64 * (i + t) + c] = 0.0f;
    }
  }
}

// The rows of a tile and the keys of a block. `ahead`: the tile's first row less the block's first key.
struct RowsAndKeys {
  int count, keys;
  int64_t ahead, window;
};

// For each key: its output continues its chain over those of the rows that see it. `all` has the first key's
// coefficients and output.
void AddToKeys(const RowsAndKeys& at, const Chain<float>& all) {
  const int count = at.count, keys = at.keys;
  const int64_t ahead = at.ahead, window = at.window;
  for (int key = 0; key < keys; key += 4) {
    Chain<float> chain = all;
    chain.coefficients += key;
    chain.out += key * all.ldout;
    chain.count = keys - key < 4 ? keys - key : 4;
    for (int t = 0; t < chain.count; ++t) {
      chain.begin[t] = ahead == 0 ? key + t : 0;
      const int64_t end = window == 0 ? count : key + t + window - ahead;
      chain.end[t] = end > count ? count : end < 0 ? 0 : static_cast<int>(end);
    }
    Accumulate(chain);
  }
}

// Sums of a block's keys, one a row.
struct Sums {
  Matrix dk, dv;
};

// A block of keys.
struct KeyBlock {
  const AttentionBackwardPiece& piece;
  const AttentionBackwardPart& part;
  int64_t tile_end;  // behind the last tile of rows that sees a key
  int key_count;
  int span_levels;
  float *keys, *values, *p, *ds;
  float* waiting;      // of each level of the tree the left sums: [64][qk_dim], [64][v_dim]
  int64_t leaves = 0;  // that were summed
};

// Query heads of the group and tiles of rows.
struct HeadsAndTiles {
  int64_t head, head_end;
  int64_t tile, tile_end;

  bool empty() const { return head >= head_end || tile >= tile_end; }
};

// What they give to dq and to the keys' sums, which go on.
void AddTiles(const KeyBlock& at, const HeadsAndTiles& all, const Sums& sums) {
  const AttentionBackwardPiece& piece = at.piece;
  const AttentionBackwardPart& part = at.part;
  const AttentionShape& shape = piece.shape;
  const int64_t key_block = part.key_block, key = 64 * key_block;
  for (int head = static_cast<int>(all.head); head < all.head_end; ++head) {
    for (int64_t tile = all.tile; tile < all.tile_end; ++tile) {
      const int64_t row = 64 * tile;
      const int64_t at_row = row - piece.first, left = piece.q.rows - at_row;
      const int count = left < 64 ? static_cast<int>(left) : 64;
      Probabilities(piece, {row, count, head, key, at.keys, at.values}, at.p, at.ds);
      for (int i = 0; part.dq && i < count; i += 4) {
        Chain<float> chain{.coefficients = at.ds + 64 * i,
                           .per_output = 64,
                           .per_step = 1,
                           .x = piece.k.Row(key),
                           .ldx = piece.k.stride,
                           .out = piece.dq.Row(at_row + i) + head * shape.qk_dim,
                           .ldout = piece.dq.stride,
                           .width = shape.qk_dim,
                           .count = count - i < 4 ? count - i : 4};
        for (int t = 0; t < chain.count; ++t) {
          chain.begin[t] = Unseen(FirstKey(row + i + t, shape.window), key_block);
          chain.end[t] = Valid(row + i + t, key_block);
        }
        Accumulate(chain);
      }
      if (!part.dkv) continue;
      const RowsAndKeys rows{count, at.key_count, row - key, shape.window};
      AddToKeys(rows, {.coefficients = at.ds,
                       .per_output = 1,
                       .per_step = 64,
                       .x = piece.q.Row(at_row) + head * shape.qk_dim,
                       .ldx = piece.q.stride,
                       .out = sums.dk.f32(),
                       .ldout = sums.dk.stride,
                       .width = shape.qk_dim});
      AddToKeys(rows, {.coefficients = at.p,
                       .per_output = 1,
                       .per_step = 64,
                       .x = piece.dout.Row(at_row) + head * shape.v_dim,
                       .ldx = piece.dout.stride,
                       .out = sums.dv.f32(),
                       .ldout = sums.dv.stride,
                       .width = shape.v_dim});
    }
  }
}

// A node of the tree, whose leaves are the spans inside the ranges of heads.
using Node = SpanNode;

// What belongs to a node. Empty where no head or no row that sees a key does.
HeadsAndTiles Of(const KeyBlock& at, const Node& node) {
  constexpr int64_t kTiles = kAttentionSpan / 64;
  const AttentionShape& shape = at.piece.shape;
  const int64_t group = shape.q_heads / shape.kv_heads, end = node.first + (int64_t{1} << node.level);
  const int64_t range = node.first >> at.span_levels, range_end = ((end - 1) >> at.span_levels) + 1;
  const int64_t span = node.first - (range << at.span_levels),
                span_end = end - ((range_end - 1) << at.span_levels);
  const int64_t head = range * shape.whole_heads() / kHeadRanges - at.piece.first_head;
  const int64_t head_end = range_end * shape.whole_heads() / kHeadRanges - at.piece.first_head;
  const int64_t tile = span * kTiles, tile_end = span_end * kTiles;
  return {.head = head < 0 ? 0 : head,
          .head_end = head_end < group ? head_end : group,
          .tile = tile < at.part.key_block ? at.part.key_block : tile,
          .tile_end = tile_end < at.tile_end ? tile_end : at.tile_end};
}

// row[c] = sum(row[c], left[c]) for all sums.
template <typename Sum>
inline void ForSums(const Sums& sums, const Sums& left, const Sum& sum) {
  const Matrix all[2][2] = {{sums.dk, left.dk}, {sums.dv, left.dv}};
  for (const auto& [to, other] : all) {
    for (int64_t r = 0; r < to.rows; ++r) {
      float *const row = to.Row(r), *const from = other.Row(r);
      int64_t c = 0;
      for (; c + kLanes <= to.cols; c += kLanes) Store(row + c, sum(Load(row + c), Load(from + c)));
      const int over = static_cast<int>(to.cols - c);
      if (over > 0) StoreFirst(row + c, sum(LoadFirst(row + c, over), LoadFirst(from + c, over)), over);
    }
  }
}

// The sums over a node that is not empty.
void SumNode(KeyBlock& at, const Node& node, const Sums& sums) {
  const HeadsAndTiles own = Of(at, node);
  if (node.level == 0) {
    ++at.leaves;
    ForSums(sums, sums, [](F16, F16) { return Set(0.0f); });
    return AddTiles(at, own, sums);
  }
  const int below = node.level - 1;
  const Node left{node.first, below}, right{node.first + (int64_t{1} << below), below};
  if (Of(at, left).empty()) return SumNode(at, right, sums);
  if (Of(at, right).empty()) return SumNode(at, left, sums);
  const int64_t qk_dim = sums.dk.cols, v_dim = sums.dv.cols;
  float* const waiting = at.waiting + 64 * below * (qk_dim + v_dim);
  const Sums left_sums{F32(waiting, at.key_count, qk_dim), F32(waiting + 64 * qk_dim, at.key_count, v_dim)};
  SumNode(at, left, left_sums);
  SumNode(at, right, sums);
  ForSums(sums, left_sums, [](F16 mine, F16 others) { return Add(others, mine); });
}

}  // namespace

void AttentionBackwardBlock(const AttentionBackwardPiece& piece, const AttentionBackwardPart& part,
                            float* scratch) {
  const AttentionShape& shape = piece.shape;
  const int64_t key = 64 * part.key_block, rows = piece.k.rows;
  const int key_count = rows - key < 64 ? static_cast<int>(rows - key) : 64;
  float *const values = scratch + 64 * shape.qk_dim, *const p = values + 64 * shape.v_dim;
  KeyBlock at{.piece = piece,
              .part = part,
              .tile_end = part.row_tile_end,
              .key_count = key_count,
              .span_levels = SpanLevels(rows),
              .keys = scratch,
              .values = values,
              .p = p,
              .ds = p + 64 * 64,
              .waiting = p + 2 * 64 * 64};
  if (shape.window > 0) {
    // Tiles after the last row that sees the last key.
    const int64_t end = (key + 63 + shape.window - 1) / 64 + 1;
    at.tile_end = end < at.tile_end ? end : at.tile_end;
  }
  const int64_t tile = part.row_tile_begin < part.key_block ? part.key_block : part.row_tile_begin;
  if (tile >= at.tile_end) return;
  TransposeBlock(piece.k.Rows(key, key_count), at.keys);
  TransposeBlock(piece.v.Rows(key, key_count), at.values);
  if (!part.dkv) return AddTiles(at, {0, shape.q_heads / shape.kv_heads, tile, at.tile_end}, {});
  const Sums sums{piece.dk.Rows(key - piece.first_key, key_count),
                  piece.dv.Rows(key - piece.first_key, key_count)};
  if (part.node.level >= 0) {
    if (!Of(at, part.node).empty()) SumNode(at, part.node, sums);
    return;
  }
  SumNode(at, {0, at.span_levels + kRangeLevels}, sums);
  // An empty leaf counts as 0, which makes a -0 of the others 0 and nothing else.
  const int64_t spans = (rows + kAttentionSpan - 1) / kAttentionSpan;
  if (at.leaves < piece.ranges * spans) ForSums(sums, sums, [](F16 sum, F16) { return Add(sum, Set(0.0f)); });
}

}  // namespace TEMPER_ISA
}  // namespace temper::kernels
