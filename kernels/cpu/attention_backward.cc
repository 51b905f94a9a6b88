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

// Queries of one head against keys, which are transposed.
struct BackwardTile {
  const AttentionStrip& rows;
  const AttentionStrip& of_keys;
  int head;
  const float *keys, *values;

  // Which of the keys a query at a position sees: [SeenFrom, SeenTo).
  int SeenTo(int64_t position) const { return Clamped(position + 1 - of_keys.position); }
  int SeenFrom(int64_t position, int64_t window) const {
    return Clamped(FirstKey(position, window) - of_keys.position);
  }
  int Clamped(int64_t key) const {
    return key < 0 ? 0 : key > of_keys.count ? of_keys.count : static_cast<int>(key);
  }
};

// P and dS, both [64][64], of a tile; 0 where the row does not see the key.
void Probabilities(const AttentionBackwardPiece& piece, const BackwardTile& at, float* p, float* ds) {
  const AttentionShape& shape = piece.shape;
  const int64_t row = at.rows.row - piece.first;
  const int count = at.rows.count, head = at.head;
  for (int i = 0; i < count; i += 4) {
    const int tile = count - i < 4 ? count - i : 4;
    const float *q[4], *dout[4];
    for (int t = 0; t < tile; ++t) {
      q[t] = piece.q.Row(row + i + t) + head * shape.qk_dim;
      dout[t] = piece.dout.Row(row + i + t) + head * shape.v_dim;
    }
    const int most = at.SeenTo(at.rows.position + i + tile - 1);
    Dots<float>(tile, {q, at.keys, shape.qk_dim, shape.scale, most}, p + 64 * i);
    Dots<float>(tile, {dout, at.values, shape.v_dim, 1.0f, most}, ds + 64 * i);
    for (int t = 0; t < tile; ++t) {
      const int64_t r = row + i + t, position = at.rows.position + i + t;
      const F16 lse = Set(piece.lse[r * shape.q_heads + head]);
      const F16 d = Set(DotRow(dout[t], piece.out.Row(r) + head * shape.v_dim, shape.v_dim));
      const int valid = at.SeenTo(position);
      for (int c = 0; c < 64; c += kLanes) {
        const int lanes = valid - c < 0 ? 0 : valid - c < kLanes ? valid - c : kLanes;
        float* pc = p + 64 * (i + t) + c;
        float* dsc = ds + 64 * (i + t) + c;
        const F16 probability = Exp(Sub(Load(pc), lse));
        const F16 gradient = Mul(Mul(probability, Sub(Load(dsc), d)), Set(shape.scale));
        Store(pc, Select(FirstLanes(lanes), probability, Set(0.0f)));
        Store(dsc, Select(FirstLanes(lanes), gradient, Set(0.0f)));
      }
      const int unseen = at.SeenFrom(position, shape.window);
      for (int c = 0; c < unseen; ++c) p[64 * (i + t) + c] = ds[64 * (i + t) + c] = 0.0f;
    }
  }
}

// So many queries and keys. `ahead`: the first one's position less that of the other.
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

// Sums of a strip's keys, one a row.
struct Sums {
  Matrix dk, dv;
};

// A strip of keys.
struct KeyStrip {
  const AttentionBackwardPiece& piece;
  const AttentionBackwardPart& part;
  const AttentionStrip& of_keys;
  int64_t begin, end;  // strips of queries; the last one sees a key
  int span_levels;
  float *keys, *values, *p, *ds;
  float* waiting;      // of each level of the tree the left sums: [64][qk_dim], [64][v_dim]
  int64_t leaves = 0;  // that were summed
};

// Whether there is a query that sees a key.
bool Sees(const AttentionStrip& queries, const AttentionStrip& keys, int64_t window) {
  return (keys.sequence == 0 || keys.sequence == queries.sequence) && keys.row <= queries.row &&
         (window == 0 || queries.position < keys.position + keys.count - 1 + window);
}

// The first strip that begins at a row of the bundle or behind it, of those between `begin` and `end`.
int64_t StripFrom(const AttentionStrip* strips, int64_t row, int64_t begin, int64_t end) {
  while (begin < end) {
    const int64_t middle = (begin + end) / 2;
    if (strips[middle].row < row) {
      begin = middle + 1;
    } else {
      end = middle;
    }
  }
  return begin;
}

// Query heads of the group and strips of queries.
struct HeadsAndStrips {
  int64_t head, head_end;
  int64_t begin, end;

  bool empty() const { return head >= head_end || begin >= end; }
};

// What they give to dq and to the keys' sums, which go on.
void AddStrips(const KeyStrip& at, const HeadsAndStrips& all, const Sums& sums) {
  const AttentionBackwardPiece& piece = at.piece;
  const AttentionBackwardPart& part = at.part;
  const AttentionShape& shape = piece.shape;
  const AttentionStrip& keys = at.of_keys;
  for (int head = static_cast<int>(all.head); head < all.head_end; ++head) {
    for (int64_t strip = all.begin; strip < all.end; ++strip) {
      const AttentionStrip& queries = piece.strips[strip];
      if (!Sees(queries, keys, shape.window)) continue;
      const int64_t at_row = queries.row - piece.first;
      const int count = queries.count;
      const BackwardTile tile{queries, keys, head, at.keys, at.values};
      Probabilities(piece, tile, at.p, at.ds);
      for (int i = 0; part.dq && i < count; i += 4) {
        Chain<float> chain{.coefficients = at.ds + 64 * i,
                           .per_output = 64,
                           .per_step = 1,
                           .x = piece.k.Row(keys.row),
                           .ldx = piece.k.stride,
                           .out = piece.dq.Row(at_row + i) + head * shape.qk_dim,
                           .ldout = piece.dq.stride,
                           .width = shape.qk_dim,
                           .count = count - i < 4 ? count - i : 4};
        for (int t = 0; t < chain.count; ++t) {
          chain.begin[t] = tile.SeenFrom(queries.position + i + t, shape.window);
          chain.end[t] = tile.SeenTo(queries.position + i + t);
        }
        Accumulate(chain);
      }
      if (!part.dkv) continue;
      const RowsAndKeys rows{count, keys.count, queries.position - keys.position, shape.window};
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

// What belongs to a node. Empty where no head or no query that sees a key does.
HeadsAndStrips Of(const KeyStrip& at, const Node& node) {
  const AttentionShape& shape = at.piece.shape;
  const int64_t group = shape.q_heads / shape.kv_heads, end = node.first + (int64_t{1} << node.level);
  const int64_t range = node.first >> at.span_levels, range_end = ((end - 1) >> at.span_levels) + 1;
  const int64_t span = node.first - (range << at.span_levels),
                span_end = end - ((range_end - 1) << at.span_levels);
  const int64_t head = range * shape.whole_heads() / kHeadRanges - at.piece.first_head;
  const int64_t head_end = range_end * shape.whole_heads() / kHeadRanges - at.piece.first_head;
  return {.head = head < 0 ? 0 : head,
          .head_end = head_end < group ? head_end : group,
          .begin = StripFrom(at.piece.strips, span * kAttentionSpan, at.begin, at.end),
          .end = StripFrom(at.piece.strips, span_end * kAttentionSpan, at.begin, at.end)};
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
void SumNode(KeyStrip& at, const Node& node, const Sums& sums) {
  const HeadsAndStrips own = Of(at, node);
  if (node.level == 0) {
    ++at.leaves;
    ForSums(sums, sums, [](F16, F16) { return Set(0.0f); });
    return AddStrips(at, own, sums);
  }
  const int below = node.level - 1;
  const Node left{node.first, below}, right{node.first + (int64_t{1} << below), below};
  if (Of(at, left).empty()) return SumNode(at, right, sums);
  if (Of(at, right).empty()) return SumNode(at, left, sums);
  const int64_t qk_dim = sums.dk.cols, v_dim = sums.dv.cols;
  float* const waiting = at.waiting + 64 * below * (qk_dim + v_dim);
  const int keys = at.of_keys.count;
  const Sums left_sums{F32(waiting, keys, qk_dim), F32(waiting + 64 * qk_dim, keys, v_dim)};
  SumNode(at, left, left_sums);
  SumNode(at, right, sums);
  ForSums(sums, left_sums, [](F16 mine, F16 others) { return Add(others, mine); });
}

}  // namespace

void AttentionBackwardBlock(const AttentionBackwardPiece& piece, const AttentionBackwardPart& part,
                            float* scratch) {
  const AttentionShape& shape = piece.shape;
  const AttentionStrip& of_keys = piece.strips[part.keys];
  const int64_t begin = part.begin < part.keys ? part.keys : part.begin;
  int64_t end = part.end;
  while (end > begin && !Sees(piece.strips[end - 1], of_keys, shape.window)) --end;
  if (begin >= end) return;
  float *const values = scratch + 64 * shape.qk_dim, *const p = values + 64 * shape.v_dim;
  KeyStrip at{.piece = piece,
              .part = part,
              .of_keys = of_keys,
              .begin = begin,
              .end = end,
              .span_levels = SpanLevels(piece.k.rows),
              .keys = scratch,
              .values = values,
              .p = p,
              .ds = p + 64 * 64,
              .waiting = p + 2 * 64 * 64};
  const int64_t row = of_keys.row, count = of_keys.count;
  TransposeBlock(piece.k.Rows(row, count), at.keys);
  TransposeBlock(piece.v.Rows(row, count), at.values);
  if (!part.dkv) return AddStrips(at, {0, shape.q_heads / shape.kv_heads, begin, end}, {});
  const Sums sums{piece.dk.Rows(row - piece.first_key, count), piece.dv.Rows(row - piece.first_key, count)};
  if (part.node.level >= 0) {
    if (!Of(at, part.node).empty()) SumNode(at, part.node, sums);
    return;
  }
  SumNode(at, {0, at.span_levels + kRangeLevels}, sums);
  // An empty leaf counts as 0, which makes a -0 of the others 0 and nothing else.
  const int64_t spans = (piece.k.rows + kAttentionSpan - 1) / kAttentionSpan;
  if (at.leaves < piece.ranges * spans) ForSums(sums, sums, [](F16 sum, F16) { return Add(sum, Set(0.0f)); });
}

}  // namespace TEMPER_ISA
}  // namespace temper::kernels
