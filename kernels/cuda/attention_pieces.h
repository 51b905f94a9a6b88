// SPDX-License-Identifier: Apache-2.0
// What kernels of attention share: who sees which keys and the block's softmax; on the way back, a tile of
// rows of one query head and keys of its kv head, whose probabilities are computed anew, chains over its rows
// or its keys, and the tree over spans and ranges. Included only by kernels/cuda/attention*.cc.
#pragma once

#include "kernels/attention.h"
#include "kernels/cuda/arithmetic.h"
#include "kernels/cuda/tiles.h"

namespace temper::kernels {
namespace TEMPER_DEVICE {

constexpr int kSplitBlocks = kAttentionSplit / kAttentionBlock;

// Keys of a block that a query sees: [begin, end).
struct Seen {
  int begin, end;
  WORD bool none() const { return begin >= end; }
  WORD bool all() const { return begin == 0 && end == kAttentionBlock; }
};
WORD int Clamped(int64_t x) {
  return x < 0 ? 0 : x > kAttentionBlock ? kAttentionBlock : static_cast<int>(x);
}
WORD int64_t FirstKeyOf(int64_t position, int64_t window) {
  return window == 0 || position < window ? 0 : position - window + 1;
}
WORD Seen SeenOf(int64_t position, int64_t window, int64_t block) {
  return {Clamped(FirstKeyOf(position, window) - kAttentionBlock * block),
          Clamped(position + 1 - kAttentionBlock * block)};
}

// A maximum, and the sum of the exponentials of what is below it.
struct Peak {
  Float max, sum;
};
WORD Peak NoPeak() { return {Set(-__builtin_inff()), Set(0.0f)}; }

// Of 16 lanes with 4 scores each: makes probabilities of them, and joins them to the pair's peak. What the
// pair had before counts `correction` of what it did.
WORD Float SoftmaxOf(Float (&scores)[4], Peak& peak) {
  Float top = Set(-__builtin_inff());
  UNROLL_ALL
  for (int c = 0; c < 4; ++c) top = Max(top, scores[c]);
  for (int half = 8; half >= 1; half /= 2) top = Max(top, ShuffleXor(top, half));
  const Float max = Max(peak.max, top), correction = Exp(Sub(peak.max, max));
  Float sum = Set(0.0f);
  UNROLL_ALL
  for (int c = 0; c < 4; ++c) {
    scores[c] = Exp(Sub(scores[c], max));
    sum = Add(sum, scores[c]);
  }
  peak = {max, Fma(peak.sum, correction, SumLanes(sum))};
  return correction;
}

// What each of two parts counts in their merge.
struct Shares {
  Float before, now;
};
WORD Shares Merge(Peak& before, const Peak& now) {
  const Float max = Max(before.max, now.max);
  const Shares shares{Exp(Sub(before.max, max)), Exp(Sub(now.max, max))};
  before = {max, Add(Mul(before.sum, shares.before), Mul(now.sum, shares.now))};
  return shares;
}
WORD Float Merged(const Shares& shares, Float before, Float now) {
  return Add(Mul(before, shares.before), Mul(now, shares.now));
}

WORD Float LogOfSum(const Peak& peak) { return Narrow(Add(Widen(peak.max), Log(Widen(peak.sum)))); }

struct BackwardArgs {
  int q_heads, kv_heads, group, qk_dim, v_dim;
  Float scale;
  int64_t window;
  int64_t all_heads, first_head;  // of all ranks
  int64_t whole;                  // positions of the one sequence that ranks share; 0: bundles
  Rows<const float> q, k, v, dout;
  Global<const float> lse, deltas;  // of a row's heads one behind the other
};

// Some rows, as queries or as keys: where the first one is, its position, and how many there are.
struct RowsAt {
  int row, position, count;
};
// Where a tile is.
struct TileAt {
  int head;  // of queries
  RowsAt queries, keys;
};

// Calls fetch(to, step), which begins copies, and use(from, step) for each step, which all threads take
// together; one step's copies are on their way while another is used. Ends with a barrier.
template <int kStage, typename FetchStep, typename Use>
WORD void ForStages(const Shared<float>& stages, int steps, const FetchStep& fetch, const Use& use) {
  fetch(stages, 0);
  CopyCommit();
  UNROLL(1)
  for (int step = 0; step < steps; ++step) {
    if (step + 1 < steps) fetch(stages.From((step + 1) % 2 * kStage), step + 1);
    CopyCommit();
    CopyWait<1>();
    Sync();
    use(stages.From(step % 2 * kStage), step);
    Sync();
  }
}

// 64 rows and 32 keys of up to kQk and kV numbers.
template <int kQk, int kV, int kWide>
struct BackwardTile {
  static constexpr int kRows = kAttentionBlock, kKeys = kRows / 2;
  static constexpr int kOfQk = kQk, kOfV = kV;  // a thread has 1 of 16 columns
  static constexpr int kEachRow = kRows / 16, kEachKey = kKeys / 16;
  static constexpr int kWidest = kQk > kV ? kQk : kV;
  static constexpr int kBlocks = kWidest > 128 ? 1 : 2;
  static constexpr int kDims = kSteps;                     // of a dot product, that a stage has
  static constexpr int kVectors = kWidest > 128 ? 8 : 16;  // of a chain
  static constexpr int kDotStage = (kRows + kKeys) * kApart, kChainStage = kVectors * kWidest;
  static constexpr int kStage = kDotStage > kChainStage ? kDotStage : kChainStage;
  // Coefficients lie [step][output].
  static constexpr int kScores = kRows * (kKeys + 4) > kKeys*(kRows + 4) ? kRows*(kKeys + 4)
                                                                         : kKeys*(kRows + 4);

  const BackwardArgs& args;
  Rows<const float> q, dout, k, v;  // from the tile's first row, key and column on
  int64_t pair;                     // the first one's place in lse and deltas
  int row, key, rows, keys;         // positions, and how many there are

  WORD BackwardTile(const BackwardArgs& of, const TileAt& at)
      : args(of),
        pair(int64_t{at.queries.row} * of.q_heads + at.head),
        row(at.queries.position),
        key(at.keys.position),
        rows(at.queries.count),
        keys(at.keys.count) {
    const int kv_head = at.head / args.group;
    q = args.q.From(at.queries.row, int64_t{at.head} * args.qk_dim);
    dout = args.dout.From(at.queries.row, int64_t{at.head} * args.v_dim);
    k = args.k.From(at.keys.row, int64_t{kv_head} * args.qk_dim);
    v = args.v.From(at.keys.row, int64_t{kv_head} * args.v_dim);
  }

  // Keys of the tile that row i sees; rows of the tile that see key j.
  WORD Seen SeenBy(int i) const {
    if (i >= rows) return {0, 0};
    const int end = row + i + 1 - key;
    return {Clamped(FirstKeyOf(row + i, args.window) - key), Clamped(end < keys ? end : keys)};
  }
  WORD Seen Seeing(int j) const {
    if (j >= keys) return {0, 0};
    const int64_t behind = key + j + args.window - row;
    return {Clamped(key + j - row), Clamped(args.window == 0 || behind > rows ? rows : behind)};
  }

  template <int kDepth>
  WORD static void Multiply(const Shared<float>& from, int dim, Float (&sums)[kEachRow][kEachKey]) {
    Float a[kDepth][kEachRow], b[kDepth][kEachKey];
    Take<Lies::kAlong, kRows, kEachRow, kDepth>(from, TileRow(), dim, a);
    Take<Lies::kAlong, kKeys, kEachKey, kDepth>(from.From(kRows * kApart), TileColumn(), dim, b);
    UNROLL_ALL
    for (int d = 0; d < kDepth; ++d) {
      UNROLL_ALL
      for (int i = 0; i < kEachRow; ++i) {
        UNROLL_ALL
        for (int j = 0; j < kEachKey; ++j) sums[i][j] = Fma(a[d][i], b[d][j], sums[i][j]);
      }
    }
  }

  // sums[i][j] of rows TileRow() + 16 i and keys TileColumn() + 16 j: the chain over `dims` numbers.
  WORD void Dots(const Shared<float>& stages, bool of_values, Float (&sums)[kEachRow][kEachKey]) const {
    UNROLL_ALL
    for (auto& of_row : sums) {
      UNROLL_ALL
      for (Float& sum : of_row) sum = Set(0.0f);
    }
    const Rows<const float>&a = of_values ? dout : q, &b = of_values ? v : k;
    const int dims = of_values ? args.v_dim : args.qk_dim;
    ForStages<kStage>(
        stages, static_cast<int>(CeilOf(dims, kDims)),
        [&](const Shared<float>& to, int step) {
          const int dim = step * kDims, count = dims - dim < kDims ? dims - dim : kDims;
          Fetch<Lies::kAlong, kRows, kWide, kDims>(to, a, {0, rows, dim, count});
          Fetch<Lies::kAlong, kKeys, kWide, kDims>(to.From(kRows * kApart), b, {0, keys, dim, count});
        },
        [&](const Shared<float>& from, int step) {
          const int count = dims - step * kDims;
          if (count >= kDims) {
            UNROLL(1)
            for (int dim = 0; dim < kDims; dim += 4) Multiply<4>(from, dim, sums);
          } else {
            // A step beyond the end would not leave every sum as it is: -0 + 0 is 0.
            UNROLL(1)
            for (int dim = 0; dim < count; ++dim) Multiply<1>(from, dim, sums);
          }
        });
  }

  // The probabilities, and the gradients of the scores before their scale; 0 where a row does not see a key.
  WORD void Scores(const Shared<float>& stages, Float (&p)[kEachRow][kEachKey],
                   Float (&ds)[kEachRow][kEachKey]) const {
    Dots(stages, false, p);
    Dots(stages, true, ds);
    UNROLL_ALL
    for (int i = 0; i < kEachRow; ++i) {
      const int r = PlaceIn<Lies::kAlong>(TileRow(), i);
      const Seen seen = SeenBy(r);
      const int64_t at = pair + int64_t{r < rows ? r : 0} * args.q_heads;
      const Float lse = args.lse.At(at), delta = args.deltas.At(at);
      UNROLL_ALL
      for (int j = 0; j < kEachKey; ++j) {
        const int c = PlaceIn<Lies::kAlong>(TileColumn(), j);
        const bool sees = c >= seen.begin && c < seen.end;
        const Float probability = Exp(Sub(Mul(p[i][j], args.scale), lse));
        const Float gradient = Mul(Mul(probability, Sub(ds[i][j], delta)), args.scale);
        p[i][j] = Select(sees, probability, Set(0.0f));
        ds[i][j] = Select(sees, gradient, Set(0.0f));
      }
    }
  }

  // Where the coefficient of a row and a key lies: the steps of a chain are rows, or keys.
  template <bool kOverRows>
  WORD static int CoefficientAt(int r, int c) {
    return kOverRows ? r * (kKeys + 4) + c : c * (kRows + 4) + r;
  }
  template <bool kOverRows>
  WORD static void Keep(const Shared<float>& scores, const Float (&of)[kEachRow][kEachKey]) {
    UNROLL_ALL
    for (int i = 0; i < kEachRow; ++i) {
      UNROLL_ALL
      for (int j = 0; j < kEachKey; ++j) {
        scores.Put(CoefficientAt<kOverRows>(PlaceIn<Lies::kAlong>(TileRow(), i),
                                            PlaceIn<Lies::kAlong>(TileColumn(), j)),
                   of[i][j]);
      }
    }
  }

  // A thread's outputs of a chain: kEach neighbouring keys (rows), 1 of 16 of their kWidth columns.
  template <bool kOverRows, int kWidth>
  struct Outputs {
    static constexpr int kEach = kOverRows ? kEachKey : kEachRow, kColumns = kWidth / 16;
    Float v[kEach * kColumns];

    WORD void Clear() {
      // Row by row: one long piece of zeros would keep nvcc from having them in registers.
      UNROLL_ALL
      for (int i = 0; i < kEach; ++i) {
        UNROLL_ALL
        for (int j = 0; j < kColumns; ++j) v[i * kColumns + j] = Set(0.0f);
      }
    }
    WORD static int Place(int i) { return kEach * TileRow() + i; }

    // Calls body(key (row), column, place in v) for those of `count` keys (rows) and `width` columns.
    template <typename Body>
    WORD static void ForEach(int count, int width, const Body& body) {
      UNROLL_ALL
      for (int i = 0; i < kEach; ++i) {
        if (Place(i) >= count) continue;
        UNROLL_ALL
        for (int j = 0; j < kColumns; ++j) {
          const int column = PlaceIn<Lies::kAcross>(TileColumn(), j);
          if (column < width) body(Place(i), column, i * kColumns + j);
        }
      }
    }
  };

  // Vectors [first, first + kVectors) go on with the chains of the outputs that they belong to.
  template <bool kAllSeen, bool kOverRows, int kWidth>
  WORD static void Accumulate(const Shared<float>& vectors, const Shared<float>& scores, int first,
                              const Seen* seen, Outputs<kOverRows, kWidth>& out) {
    using Out = Outputs<kOverRows, kWidth>;
    constexpr int kEach = Out::kEach, kColumns = Out::kColumns;
    UNROLL(2)
    for (int step = 0; step < kVectors; ++step) {
      Float x[1][kColumns];
      Take<Lies::kAcross, kWidth, kColumns, 1>(vectors, TileColumn(), step, x);
      const int at = first + step;
      const Floats<kEach> coefficients =
          Read<kEach>(scores, kOverRows ? CoefficientAt<true>(at, Out::Place(0))
                                        : CoefficientAt<false>(Out::Place(0), at));
      UNROLL_ALL
      for (int i = 0; i < kEach; ++i) {
        if (!kAllSeen && (at < seen[i].begin || at >= seen[i].end)) continue;
        UNROLL_ALL
        for (int j = 0; j < kColumns; ++j)
          out.v[i * kColumns + j] = Fma(coefficients[i], x[0][j], out.v[i * kColumns + j]);
      }
    }
  }

  // The outputs' chains go on over this tile's rows (keys), whose numbers are those of `from`.
  template <bool kOverRows, int kWidth>
  WORD void Chain(const Shared<float>& stages, const Shared<float>& scores, const Rows<const float>& from,
                  int width, Outputs<kOverRows, kWidth>& out) const {
    constexpr int kEach = Outputs<kOverRows, kWidth>::kEach;
    const int count = kOverRows ? rows : keys;
    Seen seen[kEach];
    UNROLL_ALL
    for (int i = 0; i < kEach; ++i) {
      const int place = Outputs<kOverRows, kWidth>::Place(i);
      seen[i] = kOverRows ? Seeing(place) : SeenBy(place);
    }
    ForStages<kStage>(
        stages, static_cast<int>(CeilOf(count, kVectors)),
        [&](const Shared<float>& to, int step) {
          const int first = step * kVectors, left = count - first;
          Fetch<Lies::kAcross, kWidth, kWide, kVectors>(to, from,
                                                        {0, width, first, left < kVectors ? left : kVectors});
        },
        [&](const Shared<float>& vectors, int step) {
          const int first = step * kVectors;
          bool all = true;
          UNROLL_ALL
          for (int i = 0; i < kEach; ++i)
            all = all && seen[i].begin <= first && first + kVectors <= seen[i].end;
          all ? Accumulate<true>(vectors, scores, first, seen, out)
              : Accumulate<false>(vectors, scores, first, seen, out);
        });
  }
};

constexpr int kTreeRangeLevels = 3;
static_assert(1 << kTreeRangeLevels == kHeadRanges);
constexpr int kMostSpanLevels = 7;  // 131,072 rows

WORD int SpanLevelsOf(int64_t positions) {
  int levels = 0;
  while ((int64_t{kAttentionSpan} << levels) < positions) ++levels;
  return levels;
}

// Query heads of a kv head's group, [head, end).
struct HeadRange {
  int head, end;
  WORD bool none() const { return head >= end; }
};
WORD HeadRange HeadsOf(const BackwardArgs& args, int kv_head, int64_t range) {
  const int64_t first = args.first_head + int64_t{kv_head} * args.group;
  const int64_t begin = range * args.all_heads / kHeadRanges - first;
  const int64_t end = (range + 1) * args.all_heads / kHeadRanges - first;
  return {static_cast<int>(begin < 0 ? 0 : begin), static_cast<int>(end < args.group ? end : args.group)};
}

// The binary tree over nodes that come ascending; without a neighbour a sum goes up as it is. What waits for
// its right neighbour is in local memory.
template <int N>
struct NodeSums {
  Float waiting[kTreeRangeLevels + kMostSpanLevels][N];
  uint32_t has = 0;

  // Joins the sum of a node; the next one that there is begins at leaf `next`, which is behind the whole tree
  // of `top` levels where there is none: then `sum` becomes the whole sum.
  WORD void Push(const SpanNode& node, int64_t next, int top, Float (&sum)[N]) {
    UNROLL(1)
    for (int level = node.level; level < top; ++level) {
      if (has >> level & 1) {
        has &= ~(1u << level);
        UNROLL_ALL
        for (int i = 0; i < N; ++i) sum[i] = Add(waiting[level][i], sum[i]);
      }
      if (node.first >> (level + 1) != next >> (level + 1)) continue;
      has |= 1u << level;
      UNROLL_ALL
      for (int i = 0; i < N; ++i) waiting[level][i] = sum[i];
      return;
    }
  }
};

}  // namespace TEMPER_DEVICE
}  // namespace temper::kernels
