// SPDX-License-Identifier: Apache-2.0
// The gradients of attention.
#include <algorithm>

#include "core/check.h"
#include "kernels/cuda/attention.h"
#include "kernels/cuda/attention_pieces.h"
#include "kernels/cuda/elements.h"

namespace temper::kernels {
namespace TEMPER_DEVICE {
namespace {

// deltas of a row and head: its dout times its out; half a warp has one.
struct DeltaKernel {
  static constexpr int kThreads = 256, kBlocks = 8;
  static constexpr int kPairs = kThreads / kLanes;
  struct Args {
    int64_t pairs;
    int q_heads, v_dim;
    Rows<const float> dout, out;
    Global<float> deltas;
  };
  WORD static void Run(const Args& args) {
    const int64_t pair = int64_t{Block()} * kPairs + Thread() / kLanes;
    const bool there = pair < args.pairs;
    const int64_t row = there ? pair / args.q_heads : 0;
    const int first = there ? static_cast<int>(pair % args.q_heads) * args.v_dim : 0;
    const Global<const float> dout = args.dout.Row(row), out = args.out.Row(row);
    Float sum = Set(0.0f);
    UNROLL(4)
    for (int begin = 0; begin < args.v_dim; begin += kLanes) {
      const int i = begin + Thread() % kLanes;
      // Lanes behind the end add 0 as the CPU's do, which makes a -0 a 0.
      const bool has = i < args.v_dim;
      sum = Fma(has ? dout.At(first + i) : Set(0.0f), has ? out.At(first + i) : Set(0.0f), sum);
    }
    sum = SumLanes(sum);
    if (there && Thread() % kLanes == 0) args.deltas.Put(pair, sum);
  }
};

// dq of 64 rows of a head: one chain, keys ascending.
template <typename Tile>
struct QueryGradientKernel {
  static constexpr int kThreads = kTileThreads, kBlocks = Tile::kBlocks;
  struct Args {
    BackwardArgs all;
    Global<const AttentionSequence> sequences;
    int tiles, count;  // of the longest sequence; sequences
    Rows<float> dq;
  };
  WORD static void Run(const Args& args) {
    SHARED(float, stages, 2 * Tile::kStage);
    SHARED(float, scores, Tile::kScores);
    const BackwardArgs& all = args.all;
    // Those that see the most keys come first.
    const int of_tile = args.count * all.q_heads, at = Block() % of_tile;
    const int64_t first = int64_t{Tile::kRows} * (args.tiles - 1 - Block() / of_tile);
    const AttentionSequence sequence = args.sequences.At(at / all.q_heads);
    if (first >= sequence.rows) return;
    const int head = at % all.q_heads;
    const int64_t row = sequence.first_position + first;
    const int64_t last = sequence.first_position +
                         (first + Tile::kRows < sequence.rows ? first + Tile::kRows : sequence.rows) - 1;

    typename Tile::template Outputs<false, Tile::kOfQk> dq;
    dq.Clear();
    int64_t key = FirstKeyOf(row, all.window) / Tile::kKeys * Tile::kKeys;
    UNROLL(1)
    for (; key <= last; key += Tile::kKeys) {
      const Tile tile(all, sequence, {head, row, key});
      Float p[Tile::kEachRow][Tile::kEachKey], ds[Tile::kEachRow][Tile::kEachKey];
      tile.Scores(stages, p, ds);
      tile.template Keep<false>(scores, ds);
      tile.Chain(stages, scores, tile.k, all.qk_dim, dq);
    }
    const Rows<float> to = args.dq.From(sequence.first_row + first, int64_t{head} * all.qk_dim);
    dq.ForEach(static_cast<int>(last - row + 1), all.qk_dim,
               [&](int i, int column, int j) { to.Row(i).Put(column, dq.v[j]); });
  }
};

// What query heads and tiles of rows give to some keys: a leaf of the tree over ranges and spans.
struct KeyLeaf {
  HeadRange heads;
  int64_t tile, tile_end;
  WORD bool none() const { return heads.none() || tile >= tile_end; }
};

// Keys of a kv head, which node of the tree over their ranges and spans is asked for, and where its sums go.
struct KeyPlace {
  AttentionSequence sequence;
  int kv_head;
  SpanNode node;
  int64_t key;
  Rows<float> dk, dv;  // from the first key and column on
};

struct KeyArgs {
  BackwardArgs all;
  Global<const AttentionSequence> sequences;
  int together;  // blocks of each tile of keys
  int ranges;
  Rows<float> dk, dv;
  // Of KeySums, whose dk is that node's sums:
  bool of_node;
  AttentionSequence own;  // with the node's spans
  SpanNode node;
  int64_t first_key;
};

// dk and dv of 32 keys of a kv head.
template <typename Tile>
struct KeyGradientKernel {
  static constexpr int kThreads = kTileThreads, kBlocks = Tile::kBlocks;
  static constexpr int64_t kSpanTiles = kAttentionSpan / Tile::kRows;
  using Args = KeyArgs;

  WORD static KeyPlace PlaceOf(const Args& args) {
    const BackwardArgs& all = args.all;
    const int at = Block() % args.together;
    const int64_t first = int64_t{Tile::kKeys} * (Block() / args.together);
    if (!args.of_node) {
      const AttentionSequence sequence = args.sequences.At(at / all.kv_heads);
      const int kv_head = at % all.kv_heads;
      return {.sequence = sequence,
              .kv_head = kv_head,
              .node = {0, kTreeRangeLevels + SpanLevelsOf(sequence.rows)},
              .key = first,
              .dk = args.dk.From(sequence.first_row + first, int64_t{kv_head} * all.qk_dim),
              .dv = args.dv.From(sequence.first_row + first, int64_t{kv_head} * all.v_dim)};
    }
    // Slot `at` of those of HeadSlots.
    int kv_head = 0, range = 0;
    for (int slot = 0;; ++range) {
      if (range == kHeadRanges) {
        range = 0;
        ++kv_head;
      }
      if (!HeadsOf(all, kv_head, range).none() && slot++ == at) break;
    }
    const int64_t column = int64_t{at} * (all.qk_dim + all.v_dim);
    return {
        .sequence = args.own,
        .kv_head = kv_head,
        .node = {(int64_t{range} << SpanLevelsOf(all.whole)) + args.node.first, args.node.level},
        .key = args.first_key + first,
        .dk = args.dk.From(first, column),
        .dv = args.dk.From(first, column + all.qk_dim),
    };
  }

  WORD static KeyLeaf LeafOf(const Args& args, const KeyPlace& place, int64_t leaf) {
    const AttentionSequence& sequence = place.sequence;
    const int levels = SpanLevelsOf(args.all.Positions(sequence));
    const int64_t block = place.key / kAttentionBlock, span = leaf & ((int64_t{1} << levels) - 1);
    int64_t end = CeilOf(sequence.first_position + sequence.rows, Tile::kRows);
    // Behind the last row that sees the block's last key.
    const int64_t seeing = ((block + 1) * kAttentionBlock + args.all.window - 2) / Tile::kRows + 1;
    if (args.all.window > 0 && seeing < end) end = seeing;
    const int64_t begin = span * kSpanTiles, behind = begin + kSpanTiles;
    return {.heads = HeadsOf(args.all, place.kv_head, leaf >> levels),
            .tile = begin < block ? block : begin,
            .tile_end = behind < end ? behind : end};
  }

  WORD static void Run(const Args& args) {
    SHARED(float, stages, 2 * Tile::kStage);
    SHARED(float, scores, Tile::kScores);
    using Dk = typename Tile::template Outputs<true, Tile::kOfQk>;
    using Dv = typename Tile::template Outputs<true, Tile::kOfV>;
    const BackwardArgs& all = args.all;
    const KeyPlace place = PlaceOf(args);
    const int64_t positions = all.Positions(place.sequence);
    if (place.key >= positions) return;
    const int keys =
        static_cast<int>(positions - place.key < Tile::kKeys ? positions - place.key : Tile::kKeys);

    const int64_t end = place.node.first + (int64_t{1} << place.node.level);
    const auto next_leaf = [&](int64_t leaf) {
      while (leaf < end && LeafOf(args, place, leaf).none()) ++leaf;
      return leaf;
    };
    Dk dk;
    Dv dv;
    NodeSums<sizeof dk.v / sizeof dk.v[0]> dk_sums;
    NodeSums<sizeof dv.v / sizeof dv.v[0]> dv_sums;
    dk.Clear();
    dv.Clear();
    int64_t leaves = 0;
    UNROLL(1)
    for (int64_t leaf = next_leaf(place.node.first), next; leaf < end; leaf = next) {
      const KeyLeaf of = LeafOf(args, place, leaf);
      dk.Clear();
      dv.Clear();
      UNROLL(1)
      for (int head = of.heads.head; head < of.heads.end; ++head) {
        UNROLL(1)
        for (int64_t row = of.tile; row < of.tile_end; ++row) {
          const Tile tile(all, place.sequence,
                          {place.kv_head * all.group + head, row * Tile::kRows, place.key});
          Float p[Tile::kEachRow][Tile::kEachKey], ds[Tile::kEachRow][Tile::kEachKey];
          tile.Scores(stages, p, ds);
          tile.template Keep<true>(scores, p);
          tile.Chain(stages, scores, tile.dout, all.v_dim, dv);
          tile.template Keep<true>(scores, ds);
          tile.Chain(stages, scores, tile.q, all.qk_dim, dk);
        }
      }
      next = next_leaf(leaf + 1);
      ++leaves;
      dk_sums.Push({leaf, 0}, next, place.node.level, dk.v);
      dv_sums.Push({leaf, 0}, next, place.node.level, dv.v);
    }
    // An empty leaf counts as 0, which makes a -0 of the others 0 and nothing else.
    const bool zeros = !args.of_node && leaves < args.ranges * CeilOf(positions, kAttentionSpan);
    const auto put = [&](const Rows<float>& to, int i, int column, Float x) {
      to.Row(i).Put(column, zeros ? Add(x, Set(0.0f)) : x);
    };
    Dk::ForEach(keys, all.qk_dim, [&](int i, int column, int j) { put(place.dk, i, column, dk.v[j]); });
    Dv::ForEach(keys, all.v_dim, [&](int i, int column, int j) { put(place.dv, i, column, dv.v[j]); });
  }
};

// A block has a row and kv head, a thread some of its columns: dk's, then dv's.
struct JoinKernel {
  static constexpr int kThreads = 128, kBlocks = 8;
  struct Part {
    SpanNode node;
    const float* sums;
  };
  struct Args {
    BackwardArgs all;
    int ranges, count;
    int64_t rows, first_key, row_floats;
    Rows<float> dk, dv;
    Part parts[kMostParts];
  };

  // The first range from `range` on with heads of the kv head.
  WORD static int NextRange(const Args& args, int kv_head, int range) {
    while (range < kHeadRanges && HeadsOf(args.all, kv_head, range).none()) ++range;
    return range;
  }

  WORD static void Run(const Args& args) {
    const BackwardArgs& all = args.all;
    const int kv_head = Block() % all.kv_heads, width = all.qk_dim + all.v_dim;
    const int64_t row = Block() / all.kv_heads, key = args.first_key + row;
    int first_slot = 0, own_ranges = 0;
    for (int head = 0; head <= kv_head; ++head) {
      first_slot += own_ranges;
      own_ranges = 0;
      for (int range = 0; range < kHeadRanges; ++range) own_ranges += !HeadsOf(all, head, range).none();
    }
    const int levels = SpanLevelsOf(all.whole);
    // Leaves of AttentionBackward: up to the last row that sees the last key of the key's block.
    const int64_t block = key / kAttentionBlock;
    int64_t end = CeilOf(all.whole, kAttentionBlock);
    const int64_t seeing = ((block + 1) * kAttentionBlock + all.window - 2) / kAttentionBlock + 1;
    if (all.window > 0 && seeing < end) end = seeing;
    constexpr int64_t kSpanBlocks = kAttentionSpan / kAttentionBlock;
    const int64_t leaves = own_ranges * ((end - 1) / kSpanBlocks - block / kSpanBlocks + 1);
    const bool zeros = leaves != args.ranges * CeilOf(all.whole, kAttentionSpan);

    for (int column = Thread(); column < width; column += kThreads) {
      NodeSums<1> sums;
      Float sum[1] = {Set(0.0f)};
      int64_t place = row * args.row_floats + int64_t{first_slot} * width + column;
      for (int range = NextRange(args, kv_head, 0), next; range < kHeadRanges; range = next, place += width) {
        next = NextRange(args, kv_head, range + 1);
        for (int p = 0; p < args.count; ++p) {
          const Part& part = args.parts[p];
          const bool last = p + 1 == args.count;
          const int64_t next_leaf =
              (int64_t{last ? next : range} << levels) +
              (last && next == kHeadRanges ? 0 : args.parts[last ? 0 : p + 1].node.first);
          sum[0] = Global<const float>(part.sums, args.rows * args.row_floats).At(place);
          sums.Push({(int64_t{range} << levels) + part.node.first, part.node.level}, next_leaf,
                    levels + kTreeRangeLevels, sum);
        }
      }
      const Float all_of_it = zeros ? Add(sum[0], Set(0.0f)) : sum[0];
      if (column < all.qk_dim) {
        args.dk.Row(row).Put(int64_t{kv_head} * all.qk_dim + column, all_of_it);
      } else {
        args.dv.Row(row).Put(int64_t{kv_head} * all.v_dim + column - all.qk_dim, all_of_it);
      }
    }
  }
};

BackwardArgs ArgsOf(const AttentionShape& s, int64_t whole) {
  BackwardArgs args = {};
  args.q_heads = s.q_heads;
  args.kv_heads = s.kv_heads;
  args.group = s.q_heads / s.kv_heads;
  args.qk_dim = s.qk_dim;
  args.v_dim = s.v_dim;
  args.scale = Set(s.scale);
  args.window = s.window;
  args.all_heads = s.whole_heads();
  args.first_head = s.first_head;
  args.whole = whole;
  return args;
}
BackwardArgs ArgsOf(const AttentionBackwardTask& task, const AttentionBackwardPlace& place) {
  BackwardArgs args = ArgsOf(task.shape, task.of_whole ? task.k.rows : 0);
  args.q = ReadRows(task.q);
  args.k = ReadRows(task.k);
  args.v = ReadRows(task.v);
  args.dout = ReadRows(task.dout);
  args.lse = {task.lse, DeltaFloats(task)};
  args.deltas = {place.deltas, DeltaFloats(task)};
  return args;
}

void LaunchDeltas(const AttentionBackwardTask& task, float* deltas, Stream& stream) {
  const int64_t pairs = DeltaFloats(task);
  Launch<DeltaKernel>(stream, CeilOf(pairs, DeltaKernel::kPairs),
                      {.pairs = pairs,
                       .q_heads = task.shape.q_heads,
                       .v_dim = task.shape.v_dim,
                       .dout = ReadRows(task.dout),
                       .out = ReadRows(task.out),
                       .deltas = {deltas, pairs}});
}

// Calls launch.operator()<Tile>() with the smallest tile that has the shape.
template <typename LaunchTile>
void WithTile(const AttentionBackwardTask& task, const LaunchTile& launch) {
  const AttentionShape& s = task.shape;
  TEMPER_CHECK(s.qk_dim <= 576 && s.v_dim <= 512, "the gradients of attention with ", s.qk_dim, " and ",
               s.v_dim, " numbers a head: 576 and 512 are the most on a GPU");
  const bool wide = AllWide({task.q, task.k, task.v, task.dout}) && s.qk_dim % 4 == 0 && s.v_dim % 4 == 0;
  const int width = std::max(s.qk_dim, s.v_dim);
  const auto launch_as = [&]<int kQk, int kV>() {
    wide ? launch.template operator()<BackwardTile<kQk, kV, 4>>()
         : launch.template operator()<BackwardTile<kQk, kV, 1>>();
  };
  width <= 64    ? launch_as.template operator()<64, 64>()
  : width <= 128 ? launch_as.template operator()<128, 128>()
                 : launch_as.template operator()<576, 512>();
}

void CheckPositions(int64_t positions) {
  TEMPER_CHECK(SpanLevels(positions) <= kMostSpanLevels, positions,
               " positions: the gradients of attention know 131,072 on a GPU");
}

}  // namespace

void AttentionBackward(const AttentionBackwardTask& task, const AttentionBackwardPlace& place,
                       Stream& stream) {
  const AttentionShape& s = task.shape;
  const int count = static_cast<int>(task.sequences.size());
  int64_t longest = 0;
  for (const AttentionSequence& sequence : task.sequences) longest = std::max(longest, sequence.rows);
  if (longest == 0) return;
  CheckPositions(task.of_whole ? task.k.rows : longest);
  LaunchDeltas(task, place.deltas, stream);
  const BackwardArgs args = ArgsOf(task, place);
  const Global<const AttentionSequence> sequences(place.sequences, count);
  WithTile(task, [&]<typename Tile>() {
    const int64_t tiles = CeilOf(longest, Tile::kRows);
    Launch<QueryGradientKernel<Tile>>(stream, tiles * count * s.q_heads,
                                      {.all = args,
                                       .sequences = sequences,
                                       .tiles = static_cast<int>(tiles),
                                       .count = count,
                                       .dq = WriteRows(task.dq)});
    if (task.of_whole) return;
    const int together = count * s.kv_heads;
    Launch<KeyGradientKernel<Tile>>(stream, CeilOf(longest, Tile::kKeys) * together,
                                    {.all = args,
                                     .sequences = sequences,
                                     .together = together,
                                     .ranges = task.ranges,
                                     .dk = WriteRows(task.dk),
                                     .dv = WriteRows(task.dv),
                                     .of_node = false,
                                     .own = {},
                                     .node = {},
                                     .first_key = 0});
  });
}

void KeySums(const KeySumsTask& task, const AttentionBackwardPlace& place, Stream& stream) {
  const AttentionBackwardTask& queries = task.queries;
  const int slots = static_cast<int>(HeadSlots(queries.shape).size());
  const int64_t width = queries.shape.qk_dim + queries.shape.v_dim;
  TEMPER_CHECK(queries.of_whole && task.first_key % kAttentionSpan == 0 && task.sums.cols == slots * width &&
               task.sums.rows == static_cast<int64_t>(task.nodes.size()) * task.keys);
  CheckPositions(queries.k.rows);
  LaunchDeltas(queries, place.deltas, stream);
  const BackwardArgs args = ArgsOf(queries, place);
  for (size_t n = 0; n < task.nodes.size(); ++n) {
    const SpanNode& node = task.nodes[n];
    const int64_t position = node.first * kAttentionSpan;
    const auto sequence =
        std::find_if(queries.sequences.begin(), queries.sequences.end(), [&](const AttentionSequence& each) {
          return each.first_position <= position && position < each.first_position + each.rows;
        });
    TEMPER_CHECK(sequence != queries.sequences.end());
    const Matrix sums = task.sums.Rows(static_cast<int64_t>(n) * task.keys, task.keys);
    WithTile(queries, [&]<typename Tile>() {
      Launch<KeyGradientKernel<Tile>>(stream, CeilOf(task.keys, Tile::kKeys) * slots,
                                      {.all = args,
                                       .sequences = {},
                                       .together = slots,
                                       .ranges = queries.ranges,
                                       .dk = WriteRows(sums),
                                       .dv = {},
                                       .of_node = true,
                                       .own = *sequence,
                                       .node = node,
                                       .first_key = task.first_key});
    });
  }
}

void JoinKeySums(const JoinKeySumsTask& task, Stream& stream) {
  const AttentionShape& s = task.shape;
  CheckPositions(task.positions);
  JoinKernel::Args args = {};
  args.all = ArgsOf(s, task.positions);
  args.ranges = task.ranges;
  args.rows = task.dk.rows;
  args.first_key = task.first_key;
  args.row_floats = static_cast<int64_t>(HeadSlots(s).size()) * (s.qk_dim + s.v_dim);
  args.dk = WriteRows(task.dk);
  args.dv = WriteRows(task.dv);
  for (const JoinKeySumsTask::Part& part : task.parts) {
    if (part.sums == nullptr) continue;
    TEMPER_CHECK(args.count < kMostParts, "more than ", kMostParts, " sums of one key");
    args.parts[args.count++] = {part.node, part.sums};
  }
  std::sort(args.parts, args.parts + args.count,
            [](const JoinKernel::Part& a, const JoinKernel::Part& b) { return a.node.first < b.node.first; });
  Launch<JoinKernel>(stream, task.dk.rows * s.kv_heads, args);
}

}  // namespace TEMPER_DEVICE
}  // namespace temper::kernels
