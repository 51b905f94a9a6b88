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

WORD int FewerOf(int64_t left, int most) { return left < most ? static_cast<int>(left) : most; }

// The first row of what a sequence, which is at `at`, goes on with; its own where it begins at position 0.
WORD int64_t FirstRowOf(const Global<const AttentionSequence>& sequences, AttentionSequence sequence,
                        int at) {
  while (sequence.first_position > 0) sequence = sequences.At(--at);
  return sequence.first_row;
}

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
    const int first = Tile::kRows * (args.tiles - 1 - Block() / of_tile);
    const AttentionSequence sequence = args.sequences.At(at / all.q_heads);
    if (first >= sequence.rows) return;
    const int head = at % all.q_heads;
    // Keys before position `own` are its prefix's. A key's row is so many behind its position.
    const int own = all.whole > 0 ? 0 : static_cast<int>(sequence.first_position);
    const int own_ahead = all.whole > 0 ? 0 : static_cast<int>(sequence.first_row) - own;
    const int prefix_ahead =
        own == 0 ? 0 : static_cast<int>(FirstRowOf(args.sequences, sequence, at / all.q_heads));
    const RowsAt queries{static_cast<int>(sequence.first_row) + first,
                         static_cast<int>(sequence.first_position) + first,
                         FewerOf(sequence.rows - first, Tile::kRows)};

    typename Tile::template Outputs<false, Tile::kOfQk> dq;
    dq.Clear();
    int key = static_cast<int>(FirstKeyOf(queries.position, all.window)) / Tile::kKeys * Tile::kKeys;
    UNROLL(1)
    while (key < queries.position + queries.count) {
      const bool of_prefix = key < own;
      const int end = of_prefix ? own : queries.position + queries.count;
      const RowsAt keys{key + (of_prefix ? prefix_ahead : own_ahead), key, FewerOf(end - key, Tile::kKeys)};
      const Tile tile(all, {head, queries, keys});
      Float p[Tile::kEachRow][Tile::kEachKey], ds[Tile::kEachRow][Tile::kEachKey];
      tile.Scores(stages, p, ds);
      tile.template Keep<false>(scores, ds);
      tile.Chain(stages, scores, tile.k, all.qk_dim, dq);
      key += keys.count;
    }
    const Rows<float> to = args.dq.From(queries.row, int64_t{head} * all.qk_dim);
    dq.ForEach(queries.count, all.qk_dim, [&](int i, int column, int j) { to.Row(i).Put(column, dq.v[j]); });
  }
};

// Keys of a kv head, whose queries see them, which node of the tree over their ranges and spans is asked for,
// and where its sums go.
struct KeyPlace {
  RowsAt keys, own;  // own: all of their sequence
  int kv_head;
  int of, end;        // sequences, the keys' own first
  int64_t first_row;  // where spans are counted from
  int64_t rows;       // of all spans
  SpanNode node;
  Rows<float> dk, dv;  // from the first key and column on
};

struct KeyArgs {
  BackwardArgs all;
  Global<const AttentionSequence> sequences;
  int count;     // of them
  int together;  // blocks of each tile of keys
  int ranges;
  Rows<float> dk, dv;
  // Of KeySums, whose dk is that node's sums:
  bool of_node;
  AttentionSequence own;  // with the node's spans
  SpanNode node;
  int64_t first_key;
};

WORD RowsAt AllOf(const AttentionSequence& sequence) {
  return {static_cast<int>(sequence.first_row), static_cast<int>(sequence.first_position),
          static_cast<int>(sequence.rows)};
}

// Rows [begin, end) of a sequence.
struct OwnRows {
  int64_t begin, end;
};

// dk and dv of 32 keys of a kv head.
template <typename Tile>
struct KeyGradientKernel {
  static constexpr int kThreads = kTileThreads, kBlocks = Tile::kBlocks;
  using Args = KeyArgs;

  // False: this block has none.
  WORD static bool Find(const Args& args, KeyPlace& place) {
    const BackwardArgs& all = args.all;
    const int at = Block() % args.together;
    const int64_t first = int64_t{Tile::kKeys} * (Block() / args.together);
    if (!args.of_node) {
      place.of = at / all.kv_heads;
      place.end = place.of + 1;
      place.kv_head = at % all.kv_heads;
      const AttentionSequence sequence = args.sequences.At(place.of);
      if (first >= sequence.rows) return false;
      place.own = AllOf(sequence);
      place.first_row = FirstRowOf(args.sequences, sequence, place.of);
      AttentionSequence last = sequence;
      int behind = place.end;
      for (; behind < args.count && args.sequences.At(behind).first_position > 0; ++behind)
        last = args.sequences.At(behind);
      if (sequence.first_position == 0) place.end = behind;  // all that go on with it
      place.rows = last.first_row + last.rows - place.first_row;
      place.node = {0, kTreeRangeLevels + SpanLevelsOf(place.rows)};
      place.keys = {static_cast<int>(sequence.first_row + first),
                    static_cast<int>(sequence.first_position + first),
                    FewerOf(sequence.rows - first, Tile::kKeys)};
      place.dk = args.dk.From(place.keys.row, int64_t{place.kv_head} * all.qk_dim);
      place.dv = args.dv.From(place.keys.row, int64_t{place.kv_head} * all.v_dim);
      return true;
    }
    const int64_t key = args.first_key + first;
    if (key >= all.whole) return false;
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
    place.keys = {static_cast<int>(key), static_cast<int>(key), FewerOf(all.whole - key, Tile::kKeys)};
    place.own = AllOf(args.own);
    place.kv_head = kv_head;
    place.of = 0;
    place.end = 1;
    place.first_row = args.own.first_row - args.own.first_position;
    place.rows = all.whole;
    place.node = {(int64_t{range} << SpanLevelsOf(all.whole)) + args.node.first, args.node.level};
    place.dk = args.dk.From(first, column);
    place.dv = args.dk.From(first, column + all.qk_dim);
    return true;
  }

  WORD static RowsAt SequenceAt(const Args& args, const KeyPlace& place, int at) {
    return at == place.of ? place.own : AllOf(args.sequences.At(at));
  }

  // Those of a sequence in a span, as far as they may see the keys.
  WORD static OwnRows RowsOf(const Args& args, const KeyPlace& place, const RowsAt& sequence, int64_t span) {
    OwnRows rows;
    rows.begin = span * kAttentionSpan - (sequence.row - place.first_row);
    rows.end = rows.begin + kAttentionSpan;
    // From the block of the keys on (of a later sequence all), up to the last row that sees the last of them.
    const int block = (place.keys.position - sequence.position) / Tile::kRows * Tile::kRows;
    const int first = block > 0 ? block : 0;
    if (rows.begin < first) rows.begin = first;
    if (rows.end > sequence.count) rows.end = sequence.count;
    const int64_t seeing = place.keys.position + place.keys.count - 1 + args.all.window - sequence.position;
    if (args.all.window > 0 && rows.end > seeing) rows.end = seeing;
    return rows;
  }

  // Whether no query head, or no row that may see the keys, is in a leaf of the tree over ranges and spans.
  WORD static bool HasNone(const Args& args, const KeyPlace& place, int64_t leaf) {
    const int levels = SpanLevelsOf(place.rows);
    if (HeadsOf(args.all, place.kv_head, leaf >> levels).none()) return true;
    const int64_t span = leaf & ((int64_t{1} << levels) - 1);
    for (int at = place.of; at < place.end; ++at) {
      const OwnRows rows = RowsOf(args, place, SequenceAt(args, place, at), span);
      if (rows.begin < rows.end) return false;
    }
    return true;
  }

  WORD static void Run(const Args& args) {
    SHARED(float, stages, 2 * Tile::kStage);
    SHARED(float, scores, Tile::kScores);
    using Dk = typename Tile::template Outputs<true, Tile::kOfQk>;
    using Dv = typename Tile::template Outputs<true, Tile::kOfV>;
    const BackwardArgs& all = args.all;
    KeyPlace place{};
    if (!Find(args, place)) return;
    const int levels = SpanLevelsOf(place.rows);
    const int64_t end = place.node.first + (int64_t{1} << place.node.level);
    const auto next_leaf = [&](int64_t leaf) {
      while (leaf < end && HasNone(args, place, leaf)) ++leaf;
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
      const HeadRange heads = HeadsOf(all, place.kv_head, leaf >> levels);
      dk.Clear();
      dv.Clear();
      UNROLL(1)
      for (int head = heads.head; head < heads.end; ++head) {
        UNROLL(1)
        for (int at = place.of; at < place.end; ++at) {
          const RowsAt sequence = SequenceAt(args, place, at);
          const OwnRows rows = RowsOf(args, place, sequence, leaf & ((int64_t{1} << levels) - 1));
          UNROLL(1)
          for (int64_t row = rows.begin; row < rows.end; row += Tile::kRows) {
            const RowsAt queries{sequence.row + static_cast<int>(row),
                                 sequence.position + static_cast<int>(row),
                                 FewerOf(rows.end - row, Tile::kRows)};
            const Tile tile(all, {place.kv_head * all.group + head, queries, place.keys});
            Float p[Tile::kEachRow][Tile::kEachKey], ds[Tile::kEachRow][Tile::kEachKey];
            tile.Scores(stages, p, ds);
            tile.template Keep<true>(scores, p);
            tile.Chain(stages, scores, tile.dout, all.v_dim, dv);
            tile.template Keep<true>(scores, ds);
            tile.Chain(stages, scores, tile.q, all.qk_dim, dk);
          }
        }
      }
      next = next_leaf(leaf + 1);
      ++leaves;
      dk_sums.Push({leaf, 0}, next, place.node.level, dk.v);
      dv_sums.Push({leaf, 0}, next, place.node.level, dv.v);
    }
    // An empty leaf counts as 0, which makes a -0 of the others 0 and nothing else.
    const bool zeros = !args.of_node && leaves < args.ranges * CeilOf(place.rows, kAttentionSpan);
    const auto put = [&](const Rows<float>& to, int i, int column, Float x) {
      to.Row(i).Put(column, zeros ? Add(x, Set(0.0f)) : x);
    };
    Dk::ForEach(place.keys.count, all.qk_dim,
                [&](int i, int column, int j) { put(place.dk, i, column, dk.v[j]); });
    Dv::ForEach(place.keys.count, all.v_dim,
                [&](int i, int column, int j) { put(place.dv, i, column, dv.v[j]); });
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

void CheckRows(int64_t rows) {
  TEMPER_CHECK(SpanLevels(rows) <= kMostSpanLevels, rows,
               " rows of a bundle: the gradients of attention know 131,072 on a GPU");
}

}  // namespace

void AttentionBackward(const AttentionBackwardTask& task, const AttentionBackwardPlace& place,
                       Stream& stream) {
  const AttentionShape& s = task.shape;
  const int count = static_cast<int>(task.sequences.size());
  int64_t longest = 0;
  for (const AttentionSequence& sequence : task.sequences) longest = std::max(longest, sequence.rows);
  if (longest == 0) return;
  int64_t most = task.of_whole ? task.k.rows : 0;
  if (!task.of_whole)
    for (const Bundle& bundle : BundlesOf(task.sequences)) most = std::max(most, bundle.rows);
  CheckRows(most);
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
                                     .count = count,
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
  CheckRows(queries.k.rows);
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
                                       .count = 0,
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
  CheckRows(task.positions);
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
