// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/attention.h"

#include <algorithm>

#include "core/check.h"
#include "kernels/cuda/attention_pieces.h"
#include "kernels/cuda/elements.h"

namespace temper::kernels {
namespace TEMPER_DEVICE {
namespace {

struct AttentionArgs {
  int q_heads, kv_heads, qk_dim, v_dim, group;
  Float scale;
  int64_t window;
  Global<const AttentionSequence> sequences;
  int tiles, splits;  // of the longest sequence; splits 1: a block goes through all of them
  bool apart;
  Rows<const float> q;
  Rows<float> out;
  Global<float> lse, found;

  WORD int64_t FoundAt(int64_t row, int head, int64_t split) const {
    return ((row * q_heads + head) * splits + split) * (2 + v_dim);
  }
};

WORD void* BlockOf(const AttentionSequence& sequence, int64_t block) {
  return Global<void* const>(sequence.blocks, block + 1).At(block);
}

// A pair's place: rows of q and out, and its head.
struct PairPlace {
  int64_t row, position;
  int head;
};

// kPairs pairs, up to kWidth values.
template <typename E, int kPairs, int kWidth, int kWide>
struct TileAttention {
  static constexpr int kThreads = kTileThreads, kBlocks = kPairs * kWidth > 64 * 128 ? 1 : 2;
  static constexpr int kDims = 16, kKeys = kWidth > 128 ? 8 : 16;  // a stage has
  static constexpr int kBlock = kAttentionBlock, kScoresApart = kBlock + 4;
  static constexpr int kEachRow = kPairs / 16, kEachColumn = kWidth / 16;
  static constexpr int kKeyStage = kDims * kBlock + kPairs * kApart, kValueStage = kKeys * kWidth;
  static constexpr int kStage = kKeyStage > kValueStage ? kKeyStage : kValueStage;
  using Args = AttentionArgs;

  // What a block works on.
  struct Tile {
    const Args& args;
    AttentionSequence sequence;
    int kv_head;
    int64_t pair;  // the first
    int count;

    WORD PairPlace PlaceOf(int i) const {
      const int64_t at = pair + (i < count ? i : count - 1);
      const int64_t row = at / args.group;
      return {sequence.first_row + row, sequence.first_position + row,
              kv_head * args.group + static_cast<int>(at % args.group)};
    }
    WORD Seen SeenBy(int i, int64_t block) const {
      if (i >= count) return {0, 0};
      return SeenOf(PlaceOf(i).position, args.window, block);
    }
  };

  // The numbers of a block of keys, as [qk_dim][64], then [64][v_dim].
  WORD static Rows<const E> KeysOf(const Tile& tile, int64_t block) {
    const E* const all = static_cast<const E*>(BlockOf(tile.sequence, block));
    const int64_t head = int64_t{kBlock} * tile.kv_head * (tile.args.qk_dim + tile.args.v_dim);
    return {all + head, tile.args.qk_dim, kBlock, kBlock};
  }
  WORD static Rows<const E> ValuesOf(const Tile& tile, int64_t block) {
    const E* const all = static_cast<const E*>(BlockOf(tile.sequence, block));
    const int64_t head = int64_t{kBlock} * tile.kv_head * (tile.args.qk_dim + tile.args.v_dim);
    return {all + head + int64_t{kBlock} * tile.args.qk_dim, kBlock, tile.args.v_dim, tile.args.v_dim};
  }

  // Steps of a block: its dimensions, then its keys.
  WORD static int KeySteps(const Args& args) { return (args.qk_dim + kDims - 1) / kDims; }
  WORD static void FetchStep(const Tile& tile, const Shared<float>& to, int64_t block, int step) {
    const int dims = tile.args.qk_dim, steps = KeySteps(tile.args);
    if (step < steps) {
      const int dim = step * kDims, count = dims - dim < kDims ? dims - dim : kDims;
      Fetch<Lies::kAcross, kBlock, std::is_same_v<E, float> ? 4 : 1, kDims>(to, KeysOf(tile, block),
                                                                            {0, kBlock, dim, count});
      UNROLL(1)
      for (int i = Thread(); i < kPairs * kDims / kWide; i += kThreads) {
        const int pair = i / (kDims / kWide), d = i % (kDims / kWide) * kWide;
        const PairPlace place = tile.PlaceOf(pair);
        const int left = pair < tile.count ? count - d : 0;
        CopyAsync<kWide>(
            to.From(kDims * kBlock + pair * kApart + d),
            tile.args.q.Row(place.row).From(int64_t{place.head} * dims + dim + (left > 0 ? d : 0)), left);
      }
    } else {
      Fetch<Lies::kAcross, kWidth, kWide, kKeys>(to, ValuesOf(tile, block),
                                                 {0, tile.args.v_dim, (step - steps) * kKeys, kKeys});
    }
  }

  template <int kDeep>
  WORD static void Score(const Shared<float>& from, int dim, Float (&scores)[kEachRow][4]) {
    Float q[kDeep][kEachRow], k[kDeep][4];
    Take<Lies::kAlong, kPairs, kEachRow, kDeep>(from.From(kDims * kBlock), TileRow(), dim, q);
    Take<Lies::kAcross, kBlock, 4, kDeep>(from, TileColumn(), dim, k);
    UNROLL_ALL
    for (int d = 0; d < kDeep; ++d) {
      UNROLL_ALL
      for (int i = 0; i < kEachRow; ++i) {
        UNROLL_ALL
        for (int j = 0; j < 4; ++j) scores[i][j] = Fma(q[d][i], k[d][j], scores[i][j]);
      }
    }
  }

  // Keys [first, first + kKeys) of the block go on with the outputs of the pairs that see them.
  template <bool kAllSeen>
  WORD static void Accumulate(const Shared<float>& values, const Shared<float>& scores, int first,
                              const Seen (&seen)[kEachRow], Float (&out)[kEachRow][kEachColumn]) {
    UNROLL(2)
    for (int key = 0; key < kKeys; ++key) {
      Float v[1][kEachColumn];
      Take<Lies::kAcross, kWidth, kEachColumn, 1>(values, TileColumn(), key, v);
      UNROLL_ALL
      for (int i = 0; i < kEachRow; ++i) {
        const int at = first + key;
        if (!kAllSeen && (at < seen[i].begin || at >= seen[i].end)) continue;
        const Float p = scores.At(PlaceIn<Lies::kAlong>(TileRow(), i) * kScoresApart + at);
        UNROLL_ALL
        for (int j = 0; j < kEachColumn; ++j) out[i][j] = Fma(p, v[0][j], out[i][j]);
      }
    }
  }

  // Calls body(pair, its place, column, i, j) for this thread's outputs that there are.
  template <typename Body>
  WORD static void ForOutputs(const Tile& tile, const Body& body) {
    UNROLL_ALL
    for (int i = 0; i < kEachRow; ++i) {
      const int pair = PlaceIn<Lies::kAlong>(TileRow(), i);
      if (pair >= tile.count) continue;
      const PairPlace place = tile.PlaceOf(pair);
      UNROLL_ALL
      for (int j = 0; j < kEachColumn; ++j) {
        const int column = PlaceIn<Lies::kAcross>(TileColumn(), j);
        if (column < tile.args.v_dim) body(pair, place, column, i, j);
      }
    }
  }

  WORD static void Run(const Args& args) {
    SHARED(float, stages, 2 * kStage);
    SHARED(float, scores, kPairs* kScoresApart);
    SHARED(float, corrections, kPairs);
    SHARED(float, shares, 2 * kPairs);
    int at = Block();
    const int own_split = args.apart ? at % args.splits : 0;
    if (args.apart) at /= args.splits;
    const AttentionSequence sequence = args.sequences.At(at / args.tiles / args.kv_heads);
    const int64_t pairs = sequence.rows * args.group, pair = int64_t{kPairs} * (at % args.tiles);
    if (pair >= pairs) return;
    const Tile tile{args, sequence, at / args.tiles % args.kv_heads, pair,
                    static_cast<int>(pairs - pair < kPairs ? pairs - pair : kPairs)};
    // Blocks of keys [first, last], of this split alone where splits are apart.
    int64_t first = FirstKeyOf(tile.PlaceOf(0).position, args.window) / kBlock;
    int64_t last = tile.PlaceOf(tile.count - 1).position / kBlock;
    if (args.apart) {
      const int64_t begin = int64_t{own_split} * kSplitBlocks, end = begin + kSplitBlocks - 1;
      first = first > begin ? first : begin;
      last = last < end ? last : end;
      if (first > last) return;
    }

    const int half_warp = Thread() / kLanes, lane = Thread() % kLanes;
    Peak split[kEachRow], merged[kEachRow];  // of pairs half_warp + 16 i
    Float out[kEachRow][kEachColumn];
    UNROLL_ALL
    for (int i = 0; i < kEachRow; ++i) {
      split[i] = merged[i] = NoPeak();
      UNROLL_ALL
      for (int j = 0; j < kEachColumn; ++j) out[i][j] = Set(0.0f);
    }
    // The splits that ended join those before them, which are in the task's output.
    const auto merge = [&] {
      UNROLL_ALL
      for (int i = 0; i < kEachRow; ++i) {
        const int p = half_warp + 16 * i;
        // A pair that has no key in the split has nothing to join.
        const bool joins = !Equal(split[i].sum, Set(0.0f));
        const bool is_first = Equal(merged[i].sum, Set(0.0f));
        Shares both{};
        if (joins && is_first) {
          merged[i] = split[i];
        } else if (joins) {
          both = Merge(merged[i], split[i]);
        }
        split[i] = NoPeak();
        if (lane == 0) {
          shares.Put(2 * p, is_first ? Set(-1.0f) : both.before);
          shares.Put(2 * p + 1, joins ? both.now : Set(-1.0f));
        }
      }
      Sync();
      ForOutputs(tile, [&](int p, const PairPlace& place, int column, int i, int j) {
        const Float before = shares.At(2 * p), now = shares.At(2 * p + 1);
        if (Less(now, Set(0.0f))) return;
        const Global<float> to = args.out.Row(place.row);
        const int64_t place_in = int64_t{place.head} * args.v_dim + column;
        to.Put(place_in,
               Less(before, Set(0.0f)) ? out[i][j] : Merged({before, now}, to.At(place_in), out[i][j]));
        out[i][j] = Set(0.0f);
      });
      Sync();
    };

    const int key_steps = KeySteps(args), steps = key_steps + kBlock / kKeys;
    int stage = 0;
    FetchStep(tile, stages, first, 0);
    CopyCommit();
    // Brings the step behind this one, and waits for this one.
    const auto advance = [&](int64_t block, int step) {
      const bool same = step + 1 < steps;
      if (same || block < last) {
        FetchStep(tile, stages.From((stage ^ 1) * kStage), same ? block : block + 1, same ? step + 1 : 0);
      }
      CopyCommit();
      CopyWait<1>();
      Sync();
    };
    UNROLL(1)
    for (int64_t block = first; block <= last; ++block) {
      if (block > first && block % kSplitBlocks == 0) merge();
      Float score[kEachRow][4];
      UNROLL_ALL
      for (int i = 0; i < kEachRow; ++i) {
        UNROLL_ALL
        for (int j = 0; j < 4; ++j) score[i][j] = Set(0.0f);
      }
      UNROLL(1)
      for (int step = 0; step < key_steps; ++step, stage ^= 1) {
        advance(block, step);
        const Shared<float> from = stages.From(stage * kStage);
        const int count = args.qk_dim - step * kDims;
        if (count >= kDims) {
          UNROLL(1)
          for (int dim = 0; dim < kDims; dim += 4) Score<4>(from, dim, score);
        } else {
          UNROLL(1)
          for (int dim = 0; dim < count; ++dim) Score<1>(from, dim, score);
        }
        Sync();
      }
      UNROLL_ALL
      for (int i = 0; i < kEachRow; ++i) {
        const int p = PlaceIn<Lies::kAlong>(TileRow(), i);
        const Seen seen = tile.SeenBy(p, block);
        UNROLL_ALL
        for (int j = 0; j < 4; ++j) {
          const int key = 4 * TileColumn() + j;
          const bool sees = key >= seen.begin && key < seen.end;
          scores.Put(p * kScoresApart + key, sees ? Mul(score[i][j], args.scale) : Set(-__builtin_inff()));
        }
      }
      Sync();
      UNROLL_ALL
      for (int i = 0; i < kEachRow; ++i) {
        const int p = half_warp + 16 * i;
        const bool none = tile.SeenBy(p, block).none();
        Float four[4];
        UNROLL_ALL
        for (int c = 0; c < 4; ++c) four[c] = scores.At(p * kScoresApart + c * kLanes + lane);
        Peak peak = split[i];
        const Float correction = SoftmaxOf(four, peak);
        if (!none) split[i] = peak;
        UNROLL_ALL
        for (int c = 0; c < 4; ++c) scores.Put(p * kScoresApart + c * kLanes + lane, four[c]);
        if (lane == 0) corrections.Put(p, none ? Set(1.0f) : correction);
      }
      Sync();
      Seen seen[kEachRow];
      bool all = true;
      UNROLL_ALL
      for (int i = 0; i < kEachRow; ++i) {
        const int p = PlaceIn<Lies::kAlong>(TileRow(), i);
        seen[i] = tile.SeenBy(p, block);
        all = all && seen[i].all();
        const Float correction = corrections.At(p);
        UNROLL_ALL
        for (int j = 0; j < kEachColumn; ++j) out[i][j] = Mul(out[i][j], correction);
      }
      UNROLL(1)
      for (int step = key_steps; step < steps; ++step, stage ^= 1) {
        advance(block, step);
        const Shared<float> values = stages.From(stage * kStage);
        const int key = (step - key_steps) * kKeys;
        all ? Accumulate<true>(values, scores, key, seen, out)
            : Accumulate<false>(values, scores, key, seen, out);
        Sync();
      }
    }
    CopyWait<0>();
    if (args.apart) {
      UNROLL_ALL
      for (int i = 0; i < kEachRow; ++i) {
        const int p = half_warp + 16 * i;
        if (p >= tile.count || lane != 0) continue;
        const PairPlace place = tile.PlaceOf(p);
        const int64_t to = args.FoundAt(place.row, place.head, own_split);
        args.found.Put(to, split[i].max);
        args.found.Put(to + 1, split[i].sum);
      }
      ForOutputs(tile, [&](int, const PairPlace& place, int column, int i, int j) {
        args.found.Put(args.FoundAt(place.row, place.head, own_split) + 2 + column, out[i][j]);
      });
      return;
    }
    merge();
    UNROLL_ALL
    for (int i = 0; i < kEachRow; ++i) {
      const int p = half_warp + 16 * i;
      if (p >= tile.count || lane != 0) continue;
      const PairPlace place = tile.PlaceOf(p);
      if (args.lse) args.lse.Put(place.row * args.q_heads + place.head, LogOfSum(merged[i]));
      corrections.Put(p, merged[i].sum);
    }
    Sync();
    ForOutputs(tile, [&](int p, const PairPlace& place, int column, int, int) {
      const int64_t to = int64_t{place.head} * args.v_dim + column;
      args.out.Row(place.row).Put(to, Div(args.out.Row(place.row).At(to), corrections.At(p)));
    });
  }
};

// A block a row and head merges its splits, ascending.
struct MergeKernel {
  static constexpr int kThreads = 128, kBlocks = 8;
  struct Args {
    AttentionArgs all;
    int sequences;
  };
  WORD static void Run(const Args& args) {
    const AttentionArgs& all = args.all;
    const int head = Block() % all.q_heads;
    const int64_t row = Block() / all.q_heads;
    AttentionSequence sequence = all.sequences.At(0);
    for (int s = 1; s < args.sequences; ++s) {
      const AttentionSequence next = all.sequences.At(s);
      if (next.first_row <= row && row < next.first_row + next.rows) sequence = next;
    }
    if (row < sequence.first_row || row >= sequence.first_row + sequence.rows) return;
    const int64_t position = sequence.first_position + row - sequence.first_row;
    const int64_t first = FirstKeyOf(position, all.window) / kAttentionSplit,
                  last = position / kAttentionSplit;
    for (int column = Thread(); column < all.v_dim; column += kThreads) {
      Peak merged = NoPeak();
      Float out = Set(0.0f);
      for (int64_t split = first; split <= last; ++split) {
        const int64_t at = all.FoundAt(row, head, split);
        const Peak now{all.found.At(at), all.found.At(at + 1)};
        const Float found = all.found.At(at + 2 + column);
        if (split == first) {
          merged = now;
          out = found;
        } else {
          out = Merged(Merge(merged, now), out, found);
        }
      }
      all.out.Row(row).Put(int64_t{head} * all.v_dim + column, Div(out, merged.sum));
      if (column == 0 && all.lse) all.lse.Put(row * all.q_heads + head, LogOfSum(merged));
    }
  }
};

// A block has the rows of one block of keys and one kv head.
template <typename T>
struct WriteKernel {
  static constexpr int kThreads = 256, kBlocks = 8;
  struct Args {
    int kv_heads, qk_dim, v_dim, blocks;
    Global<const AttentionSequence> sequences;
    Rows<const float> k, v;
  };
  WORD static void Write(const Global<T>& to, int64_t i, Float x) {
    if constexpr (std::is_same_v<T, float>) {
      to.Put(i, x);
    } else {
      to.Put(i, static_cast<T>(NearestHalf(x)));
    }
  }
  WORD static void Run(const Args& args) {
    const int head = Block() % args.kv_heads, nth = Block() / args.kv_heads % args.blocks;
    const AttentionSequence sequence = args.sequences.At(Block() / args.kv_heads / args.blocks);
    const int64_t block = sequence.first_position / kAttentionBlock + nth;
    const int64_t first = block * kAttentionBlock, end = first + kAttentionBlock;
    const int64_t begin = first > sequence.first_position ? first : sequence.first_position;
    const int64_t stop = sequence.first_position + sequence.rows;
    const int rows = static_cast<int>((end < stop ? end : stop) - begin);
    if (rows <= 0) return;
    const int64_t at = int64_t{kAttentionBlock} * head * (args.qk_dim + args.v_dim);
    const Global<T> keys(static_cast<T*>(BlockOf(sequence, block)) + at,
                         int64_t{kAttentionBlock} * (args.qk_dim + args.v_dim));
    const Global<T> values = keys.From(int64_t{kAttentionBlock} * args.qk_dim);
    const int64_t first_row = sequence.first_row + begin - sequence.first_position;
    const int lane = static_cast<int>(begin - first);
    for (int i = Thread(); i < rows * args.qk_dim; i += kThreads) {
      const int row = i % rows, d = i / rows;
      Write(keys, d * kAttentionBlock + lane + row, args.k.Row(first_row + row).At(head * args.qk_dim + d));
    }
    for (int i = Thread(); i < rows * args.v_dim; i += kThreads) {
      const int row = i / args.v_dim, d = i % args.v_dim;
      Write(values, (lane + row) * args.v_dim + d, args.v.Row(first_row + row).At(head * args.v_dim + d));
    }
  }
};

struct ShiftKernel {
  static constexpr int kThreads = 128, kBlocks = 8;
  struct Args {
    Global<const AttentionSequence> from;
    Global<AttentionSequence> to;
    void* const* from_blocks;
    void** to_blocks;
    int64_t blocks, layer_offset;
  };
  WORD static void Run(const Args& args) {
    AttentionSequence sequence = args.from.At(Block());
    const int64_t blocks =
        sequence.rows == 0 ? 0 : (sequence.first_position + sequence.rows - 1) / kAttentionBlock + 1;
    const int64_t first = sequence.blocks - args.from_blocks;
    const Global<void* const> from(sequence.blocks, blocks);
    const Global<void*> to(args.to_blocks, args.blocks);
    for (int64_t b = Thread(); b < blocks; b += kThreads)
      to.Put(first + b, static_cast<char*>(from.At(b)) + args.layer_offset);
    if (Thread() > 0) return;
    sequence.blocks = args.to_blocks + first;
    args.to.Put(Block(), sequence);
  }
};

struct Longest {
  int64_t rows = 0, blocks = 0, splits = 0;
};
Longest LongestOf(absl::Span<const AttentionSequence> sequences) {
  Longest longest;
  for (const AttentionSequence& s : sequences) {
    if (s.rows == 0) continue;
    const int64_t last = s.first_position + s.rows - 1;
    longest.rows = std::max(longest.rows, s.rows);
    longest.blocks =
        std::max(longest.blocks, last / kAttentionBlock - s.first_position / kAttentionBlock + 1);
    longest.splits = std::max(longest.splits, last / kAttentionSplit + 1);
  }
  return longest;
}

}  // namespace

void WriteBlocks(const WriteBlocksTask& task, const AttentionPlace& place, Stream& stream) {
  const AttentionShape& s = task.shape;
  const int64_t count = static_cast<int64_t>(task.sequences.size()),
                blocks = LongestOf(task.sequences).blocks;
  const auto launch = [&]<typename Kernel>() {
    Launch<Kernel>(stream, count * blocks * s.kv_heads,
                   {.kv_heads = s.kv_heads,
                    .qk_dim = s.qk_dim,
                    .v_dim = s.v_dim,
                    .blocks = static_cast<int>(blocks),
                    .sequences = {place.sequences, count},
                    .k = ReadRows(task.k),
                    .v = ReadRows(task.v)});
  };
  s.stored == Type::kBf16 ? launch.template operator()<WriteKernel<uint16_t>>()
                          : launch.template operator()<WriteKernel<float>>();
}

void ShiftTables(const ShiftTablesTask& task, Stream& stream) {
  Launch<ShiftKernel>(stream, task.sequences,
                      {.from = {task.from, task.sequences},
                       .to = {task.to, task.sequences},
                       .from_blocks = task.from_blocks,
                       .to_blocks = task.to_blocks,
                       .blocks = task.blocks,
                       .layer_offset = task.layer_offset});
}

void Attention(const AttentionTask& task, const AttentionPlace& place, Stream& stream) {
  const AttentionShape& s = task.shape;
  const int64_t count = static_cast<int64_t>(task.sequences.size()), group = s.q_heads / s.kv_heads;
  const Longest longest = LongestOf(task.sequences);
  if (longest.rows == 0) return;
  TEMPER_CHECK(s.v_dim <= 512, "attention with ", s.v_dim, " values a head: 512 is the most on a GPU");
  const bool apart = place.found != nullptr;
  AttentionArgs args{.q_heads = s.q_heads,
                     .kv_heads = s.kv_heads,
                     .qk_dim = s.qk_dim,
                     .v_dim = s.v_dim,
                     .group = static_cast<int>(group),
                     .scale = Set(s.scale),
                     .window = s.window,
                     .sequences = {place.sequences, count},
                     .tiles = 0,
                     .splits = static_cast<int>(apart ? longest.splits : 1),
                     .apart = apart,
                     .q = ReadRows(task.q),
                     .out = WriteRows(task.out),
                     .lse = {task.lse, task.lse == nullptr ? 0 : task.out.rows * s.q_heads},
                     .found = {place.found, apart ? FoundFloats(task) : 0}};
  const auto launch = [&]<typename E, int kPairs, int kWidth>() {
    args.tiles = static_cast<int>(CeilOf(longest.rows * group, kPairs));
    const int64_t blocks = count * s.kv_heads * args.tiles * args.splits;
    const bool wide = Wide(task.q) && s.qk_dim % 4 == 0 && s.v_dim % 4 == 0;
    wide ? Launch<TileAttention<E, kPairs, kWidth, 4>>(stream, blocks, args)
         : Launch<TileAttention<E, kPairs, kWidth, 1>>(stream, blocks, args);
  };
  const auto launch_stored = [&]<typename E>() {
    if (s.v_dim > 128) return launch.template operator()<E, 32, 512>();
    longest.rows* group <= 16 ? launch.template operator()<E, 16, 128>()
                              : launch.template operator()<E, 64, 128>();
  };
  s.stored == Type::kBf16 ? launch_stored.template operator()<Bf16>()
                          : launch_stored.template operator()<float>();
  if (apart) Launch<MergeKernel>(stream, task.out.rows * s.q_heads, {args, static_cast<int>(count)});
}

}  // namespace TEMPER_DEVICE
}  // namespace temper::kernels
