// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/route.h"

#include "core/check.h"
#include "kernels/cuda/arithmetic.h"
#include "kernels/cuda/elements.h"
#include "kernels/cuda/row_ops.h"
#include "kernels/gemm.h"

namespace temper::kernels {
namespace TEMPER_DEVICE {
namespace {

constexpr int kRouteThreads = 128, kRouteWarps = kRouteThreads / 32;
constexpr uint32_t kClosed = 0xffffffffu;  // the rank of what cannot be chosen any more

// Ascending ranks are descending numbers, equal where the numbers are.
WORD uint32_t RankOfScore(Float x) {
  const uint32_t bits = BitsOf(Add(x, Set(0.0f)));  // -0 equals 0
  return bits & 0x80000000u ? bits : ~(bits | 0x80000000u);
}
WORD uint64_t RankedId(uint32_t rank, int id) {
  return static_cast<uint64_t>(rank) << 32 | static_cast<uint32_t>(id);
}
WORD uint64_t LeastOfWarp(uint64_t x) {
  UNROLL_ALL
  for (int mask = 16; mask >= 1; mask /= 2) {
    const uint64_t other = ShuffleXor(x, mask);
    x = other < x ? other : x;
  }
  return x;
}

// A row's choices as a warp has them: lane i has the i-th, lanes from top_k on have none.
struct Choices {
  int id, top_k;

  WORD bool mine() const { return Lane() < top_k; }
  // How many of the choices have lower ids.
  WORD int Below() const {
    int below = 0;
    for (int i = 0; i < top_k; ++i) below += ShuffleFrom(id, i) < id;
    return below;
  }
  // Calls body(x of the choice) for the choices in ascending order of their ids; all lanes get all.
  template <typename Body>
  WORD void Ascending(Float x, const Body& body) const {
    const int below = Below();
    for (int i = 0; i < top_k; ++i) body(ShuffleFrom(x, LowestBit(Ballot(mine() && below == i))));
  }
};

// What the scores of a row's choices add up to, ids ascending.
WORD Float SumOfScores(const Choices& choices, Float score) {
  Float sum = Set(0.0f);
  choices.Ascending(score, [&](Float s) { sum = Add(sum, s); });
  return Add(sum, Set(1e-20f));
}

struct RouteKernel {
  static constexpr int kThreads = kRouteThreads, kBlocks = 6;
  struct Args {
    int64_t rows;
    RouteShape shape;
    Rows<const float> logits;
    Global<const float> bias;
    Rows<int32_t> ids;
    Rows<float> weights, scores;
  };

  WORD static void Score(const Args& args, const Global<const float>& logits, const Global<float>& scores) {
    const int experts = args.logits.cols;
    if (args.shape.sigmoid) {
      for (int e = Lane(); e < experts; e += 32) scores.Put(e, Sigmoid(logits.At(e)));
      return;
    }
    Float top = Set(-__builtin_inff());
    for (int e = Lane(); e < experts; e += 32) top = Max(top, logits.At(e));
    UNROLL_ALL
    for (int mask = 16; mask >= 1; mask /= 2) top = Max(top, ShuffleXor(top, mask));
    // The first half of the lanes has the sixteen chains; every other step's number is the second half's.
    Float sum = Set(0.0f);
    for (int begin = 0; begin < experts; begin += 32) {
      const int e = begin + Lane();
      const Float x = e < experts ? Exp(Sub(logits.At(e), top)) : Set(0.0f);
      const Float other = ShuffleXor(x, 16);
      sum = Add(Add(sum, x), other);
      if (e < experts) scores.Put(e, x);
    }
    const Float total = ShuffleFrom(SumLanes(sum), 0);
    for (int e = Lane(); e < experts; e += 32) scores.Put(e, Div(scores.At(e), total));
  }

  // The best one's score, or the sum of the two best.
  WORD static Float ScoreOfGroup(const Shared<float>& biased, int size, bool two) {
    Float first = biased.At(0), second = Set(-__builtin_inff());
    for (int i = 1; i < size; ++i) {
      const Float x = biased.At(i);
      second = Less(first, x) ? first : Max(second, x);
      first = Max(first, x);
    }
    return two && size > 1 ? Add(first, second) : first;
  }

  WORD static void Run(const Args& args) {
    SHARED(float, all_biased, kRouteWarps* kMostExperts);
    SHARED(uint32_t, all_ranks, kRouteWarps * kMostExperts);
    const RouteShape& shape = args.shape;
    const int experts = args.logits.cols;
    const int64_t row = int64_t{Block()} * kRouteWarps + Warp();
    if (row >= args.rows) return;
    const Shared<float> biased = all_biased.From(Warp() * kMostExperts);
    const Shared<uint32_t> ranks = all_ranks.From(Warp() * kMostExperts);
    const Global<float> scores = args.scores.Row(row);
    Score(args, args.logits.Row(row), scores);
    for (int e = Lane(); e < experts; e += 32)
      biased.Put(e, args.bias ? Add(scores.At(e), args.bias.At(e)) : scores.At(e));
    WarpSync();

    // Lane g has group g: whether it is one of the best.
    const int size = experts / shape.groups;
    uint32_t open = ~0u;
    if (shape.groups > 1 && shape.top_groups < shape.groups) {
      uint64_t own = ~0ull;
      if (Lane() < shape.groups)
        own = RankedId(RankOfScore(ScoreOfGroup(biased.From(Lane() * size), size, shape.group_top2)), Lane());
      int better = 0;
      for (int g = 0; g < shape.groups; ++g) better += ShuffleFrom(own, g) < own;
      open = Ballot(better < shape.top_groups);
    }
    for (int e = Lane(); e < experts; e += 32)
      ranks.Put(e, open >> (e / size % 32) & 1 ? RankOfScore(biased.At(e)) : kClosed);

    Choices choices{0, shape.top_k};
    for (int i = 0; i < shape.top_k; ++i) {
      uint64_t best = ~0ull;
      for (int e = Lane(); e < experts; e += 32) {
        const uint64_t ranked = RankedId(ranks.At(e), e);
        best = ranked < best ? ranked : best;
      }
      const int id = static_cast<int>(LeastOfWarp(best));
      if (Lane() == id % 32) ranks.Put(id, kClosed);
      if (Lane() == i) choices.id = id;
    }
    const Float score = choices.mine() ? scores.At(choices.id) : Set(0.0f);
    Float weight = score;
    if (shape.normalize) weight = Div(score, SumOfScores(choices, score));
    if (!choices.mine()) return;
    args.ids.Row(row).Put(Lane(), choices.id);
    args.weights.Row(row).Put(Lane(), Mul(weight, Set(shape.scaling)));
  }
};

// w_i = scaling s_i / S, S = sum s + 1e-20 (kernels/route.cc).
struct RouteBackwardKernel {
  static constexpr int kThreads = kRouteThreads, kBlocks = 8;
  struct Args {
    int64_t rows;
    RouteShape shape;
    Rows<const int32_t> ids;
    Rows<const float> scores, dweights;
    Rows<float> dlogits;
  };
  WORD static void Run(const Args& args) {
    const RouteShape& shape = args.shape;
    const int64_t row = int64_t{Block()} * kRouteWarps + Warp();
    if (row >= args.rows) return;
    const Global<const float> scores = args.scores.Row(row);
    const Global<float> dlogits = args.dlogits.Row(row);
    const bool mine = Lane() < shape.top_k;
    const Choices choices{mine ? args.ids.Row(row).At(Lane()) : 0, shape.top_k};
    const Float score = mine ? scores.At(choices.id) : Set(0.0f);
    const Float dweight = mine ? args.dweights.Row(row).At(Lane()) : Set(0.0f);
    Float mean = Set(0.0f), factor = Set(shape.scaling);
    if (shape.normalize) {
      const Float sum = SumOfScores(choices, score);
      choices.Ascending(Mul(dweight, Div(score, sum)), [&](Float part) { mean = Add(mean, part); });
      factor = Div(factor, sum);
    }
    const Float gradient = Mul(factor, Sub(dweight, mean));  // of the score
    Float inner = Set(0.0f), own = Set(0.0f);
    if (shape.sigmoid) {
      own = Mul(gradient, Mul(score, Sub(Set(1.0f), score)));
    } else {
      choices.Ascending(Mul(gradient, score), [&](Float part) { inner = Add(inner, part); });
      own = Mul(score, Sub(gradient, inner));
    }
    for (int e = Lane(); e < args.dlogits.cols; e += 32)
      dlogits.Put(e, shape.sigmoid ? Set(0.0f) : Mul(scores.At(e), Sub(Set(0.0f), inner)));
    WarpSync();
    if (mine) dlogits.Put(choices.id, own);
  }
};

// A block has an expert: it counts the slots of this rank's lower experts, and places its own in their order.
struct SortKernel {
  static constexpr int kThreads = 256, kBlocks = 8;
  struct Args {
    int64_t slots;
    int top_k, begin, end;  // of the experts, those of this rank
    int experts;
    Global<const int32_t> ids;
    Global<int32_t> row, entry;
    Global<int64_t> offsets;
  };
  // Of the block's threads; the others' counts stand in `warps`.
  WORD static uint32_t SumOfWarps(const Shared<uint32_t>& warps, int end) {
    uint32_t sum = 0;
    for (int w = 0; w < end; ++w) sum += warps.At(w);
    return sum;
  }
  WORD static void Run(const Args& args) {
    SHARED(uint32_t, warps, kThreads / 32);
    const int own = Block();
    const bool here = args.begin <= own && own < args.end;
    uint32_t lower = 0;
    for (int64_t slot = Thread(); slot < args.slots; slot += kThreads) {
      const int id = args.ids.At(slot);
      lower += args.begin <= id && id < args.end && id < own;
    }
    UNROLL_ALL
    for (int mask = 16; mask >= 1; mask /= 2) lower += ShuffleXor(lower, mask);
    if (Lane() == 0) warps.Put(Warp(), lower);
    Sync();
    const uint32_t lower_all = SumOfWarps(warps, kThreads / 32);
    uint32_t next = lower_all;
    if (Thread() == 0) args.offsets.Put(own, next);
    for (int64_t begin = 0; begin < args.slots; begin += kThreads) {
      Sync();
      const int64_t slot = begin + Thread();
      const bool mine = slot < args.slots && args.ids.At(slot) == own;
      const uint32_t votes = Ballot(mine);
      if (Lane() == 0) warps.Put(Warp(), CountBits(votes));
      Sync();
      if (mine && here) {
        const uint32_t entry = next + SumOfWarps(warps, Warp()) + CountBits(votes & ((1u << Lane()) - 1));
        args.row.Put(entry, static_cast<int32_t>(slot / args.top_k));
        args.entry.Put(slot, static_cast<int32_t>(entry));
      } else if (mine) {
        args.entry.Put(slot, -1);
      }
      next += SumOfWarps(warps, kThreads / 32);
    }
    if (own + 1 == args.experts && Thread() == 0) args.offsets.Put(args.experts, here ? next : lower_all);
  }
};

// A block has a part of a row.
template <int N>
struct CombineKernel {
  static constexpr int kThreads = kElementThreads, kBlocks = 6;
  static constexpr int kEach = N;
  struct Args {
    int64_t rows;
    int top_k, experts, first_range, ranges;
    bool weighted;
    Rows<const int32_t> ids, entry;
    Rows<const float> weights, y, shared, residual;
    Rows<float> out;
  };
  // The row's entries by expert id, and where ranges of ids end among them.
  struct Entries {
    Shared<uint32_t> entry, ends;
    Shared<float> weight;
  };
  WORD static void FillRow(const Args& args, int64_t row, const Entries& to) {
    const bool mine = Lane() < args.top_k;
    const int id = mine ? args.ids.Row(row).At(Lane()) : 0;
    const int entry = mine ? args.entry.Row(row).At(Lane()) : -1;
    const int sorted = entry < 0 ? args.experts : id;  // those of other ranks come last
    const int64_t end = static_cast<int64_t>(args.first_range + Lane() + 1) * args.experts / kChunks;
    int below = 0;
    uint32_t in_ranges = 0;
    for (int i = 0; i < args.top_k; ++i) {
      const int other = ShuffleFrom(sorted, i);
      below += other < sorted;
      in_ranges += other < args.experts && other < end;
    }
    if (entry >= 0) {
      to.entry.Put(below, static_cast<uint32_t>(entry));
      to.weight.Put(below, args.weighted ? args.weights.Row(row).At(Lane()) : Set(1.0f));
    }
    if (Lane() < args.ranges) to.ends.Put(Lane(), in_ranges);
  }
  // The tree over ranges [first, first + kCount).
  template <int kCount>
  WORD static Floats<N> SumOfRanges(const Args& args, const Entries& from, int first, int column) {
    if constexpr (kCount > 1) {
      const Floats<N> left = SumOfRanges<kCount / 2>(args, from, first, column);
      const Floats<N> right = SumOfRanges<kCount / 2>(args, from, first + kCount / 2, column);
      return Each<N>([](Float a, Float b) { return Add(a, b); }, left, right);
    } else {
      Floats<N> sum = Each<N>([](Float x) { return x; }, Floats<N>{});
      UNROLL_ALL
      for (int j = 0; j < N; ++j) sum[j] = Set(0.0f);
      const uint32_t begin = first == 0 ? 0 : from.ends.At(first - 1), end = from.ends.At(first);
      for (uint32_t i = begin; i < end; ++i) {
        const Float weight = from.weight.At(i);
        sum = Each<N>([&](Float y, Float s) { return Fma(weight, y, s); },
                      Read<N>(args.y.Row(from.entry.At(i)), column), sum);
      }
      return sum;
    }
  }
  WORD static Floats<N> SumOfAll(const Args& args, const Entries& from, int column) {
    switch (args.ranges) {
      case 1:
        return SumOfRanges<1>(args, from, 0, column);
      case 2:
        return SumOfRanges<2>(args, from, 0, column);
      case 4:
        return SumOfRanges<4>(args, from, 0, column);
      default:
        return SumOfRanges<8>(args, from, 0, column);
    }
  }
  WORD static void Run(const Args& args) {
    SHARED(uint32_t, entry, kMostChoices);
    SHARED(uint32_t, ends, kChunks);
    SHARED(float, weight, kMostChoices);
    const Place place = PlaceOf<N>(args.out.cols);
    const Entries entries{entry, ends, weight};
    if (Warp() == 0) FillRow(args, place.row, entries);
    Sync();
    const auto add = [](Float a, Float b) { return Add(a, b); };
    for (int column = place.begin + Thread() * N; column < place.end; column += kThreads * N) {
      Floats<N> sum = SumOfAll(args, entries, column);
      if (args.shared) sum = Each<N>(add, sum, Read<N>(args.shared.Row(place.row), column));
      if (args.residual) sum = Each<N>(add, sum, Read<N>(args.residual.Row(place.row), column));
      Write(args.out.Row(place.row), column, sum);
    }
  }
};

// A block has a slot: dy, and the dot's sixteen chains while the next piece is on its way.
template <int N>
struct CombineBackwardKernel {
  static constexpr int kThreads = 128, kBlocks = 8;
  static constexpr int kPart = 1024;
  struct Args {
    int top_k;
    Global<const int32_t> entry;
    Global<const float> weights;
    Rows<const float> dout, y;
    Rows<float> dy;
    Global<float> dweights;
  };
  WORD static void Run(const Args& args) {
    SHARED(float, parts, 2 * 2 * kPart);
    const int64_t slot = Block();
    const int entry = args.entry.At(slot), cols = args.dout.cols;
    if (entry < 0) return;
    const Global<const float> dout = args.dout.Row(slot / args.top_k), y = args.y.Row(entry);
    const Float weight = args.weights.At(slot);
    const auto fetch = [&](int stage, int begin) {
      const Shared<float> to = parts.From(stage * 2 * kPart);
      for (int i = Thread() * N; i < kPart && begin + i < cols; i += kThreads * N) {
        CopyAsync<N>(to.From(i), dout.From(begin + i), cols - begin - i);
        CopyAsync<N>(to.From(kPart + i), y.From(begin + i), cols - begin - i);
      }
    };
    Float dot = Set(0.0f);
    fetch(0, 0);
    CopyCommit();
    for (int begin = 0, stage = 0; begin < cols; begin += kPart, stage ^= 1) {
      fetch(stage ^ 1, begin + kPart);
      CopyCommit();
      CopyWait<1>();
      Sync();
      const int count = cols - begin < kPart ? cols - begin : kPart;
      const Shared<float> from = parts.From(stage * 2 * kPart);
      if (Thread() < kLanes) {
        UNROLL(8)
        for (int i = Thread(); i < count; i += kLanes) dot = Fma(from.At(i), from.At(kPart + i), dot);
      }
      for (int i = Thread() * N; i < count; i += kThreads * N)
        Write(args.dy.Row(entry), begin + i,
              Each<N>([&](Float d) { return Mul(weight, d); }, Read<N>(from, i)));
      Sync();
    }
    CopyWait<0>();
    if (Warp() > 0) return;
    dot = SumLanes(dot);
    if (Thread() == 0) args.dweights.Put(slot, dot);
  }
};

void CheckRoute(const RouteShape& s) {
  TEMPER_CHECK(s.top_k <= kMostChoices && s.groups <= kMostGroups && s.experts <= kMostExperts, s.top_k,
               " of ", s.experts, " experts in ", s.groups, " groups");
}

// CombineExperts and ScatterExperts.
struct Combination {
  const RouteShape& shape;
  const Routing& routing;
  bool weighted;
  Matrix y, shared, residual, out;
};
void LaunchCombine(const Combination& c, Stream& stream) {
  CheckRoute(c.shape);
  const ExpertRanges ranges = RangesOf(c.shape);
  const int64_t rows = c.out.rows, cols = c.out.cols, top_k = c.shape.top_k;
  WideOrNot<CombineKernel>(AllWide({c.y, c.shared, c.residual, c.out}), [&]<typename Kernel>() {
    Launch<Kernel>(stream, rows * BlocksOfRow<Kernel::kEach>(cols),
                   {.rows = rows,
                    .top_k = c.shape.top_k,
                    .experts = c.shape.experts,
                    .first_range = ranges.first,
                    .ranges = ranges.count,
                    .weighted = c.weighted,
                    .ids = {c.routing.ids, rows, top_k, top_k},
                    .entry = {c.routing.entry, rows, top_k, top_k},
                    .weights = {c.routing.weights, rows, top_k, top_k},
                    .y = ReadRows(c.y),
                    .shared = ReadRows(c.shared),
                    .residual = ReadRows(c.residual),
                    .out = WriteRows(c.out)});
  });
}

}  // namespace

void Route(const RouteTask& task, Stream& stream) {
  CheckRoute(task.shape);
  const int64_t rows = task.logits.rows, experts = task.shape.experts, top_k = task.shape.top_k;
  const Routing& to = *task.routing;
  Launch<RouteKernel>(stream, CeilOf(rows, kRouteWarps),
                      {.rows = rows,
                       .shape = task.shape,
                       .logits = ReadRows(task.logits),
                       .bias = {task.bias, experts},
                       .ids = {to.ids, rows, top_k, top_k},
                       .weights = {to.weights, rows, top_k, top_k},
                       .scores = {to.scores, rows, experts, experts}});
}

void SortEntries(const SortEntriesTask& task, Stream& stream) {
  const RouteShape& shape = task.shape;
  const int64_t slots = task.rows * shape.top_k;
  const Routing& to = *task.routing;
  Launch<SortKernel>(stream, shape.experts,
                     {.slots = slots,
                      .top_k = shape.top_k,
                      .begin = shape.end == 0 ? 0 : shape.begin,
                      .end = shape.end == 0 ? shape.experts : shape.end,
                      .experts = shape.experts,
                      .ids = {to.ids, slots},
                      .row = {to.row, slots},
                      .entry = {to.entry, slots},
                      .offsets = {task.device_offsets, shape.experts + 1}});
}

void RouteBackward(const RouteBackwardTask& task, Stream& stream) {
  CheckRoute(task.shape);
  const int64_t rows = task.dlogits.rows, experts = task.shape.experts, top_k = task.shape.top_k;
  const Routing& of = *task.routing;
  Launch<RouteBackwardKernel>(stream, CeilOf(rows, kRouteWarps),
                              {.rows = rows,
                               .shape = task.shape,
                               .ids = {of.ids, rows, top_k, top_k},
                               .scores = {of.scores, rows, experts, experts},
                               .dweights = {task.dweights, rows, top_k, top_k},
                               .dlogits = WriteRows(task.dlogits)});
}

void GatherExperts(const GatherExpertsTask& task, Stream& stream) {
  GatherRows({.x = task.x, .rows = task.routing->row, .out = task.out}, stream);
}

void CombineExperts(const CombineExpertsTask& task, Stream& stream) {
  LaunchCombine({task.shape, *task.routing, true, task.y, task.shared, task.residual, task.out}, stream);
}

void CombineExpertsBackward(const CombineExpertsBackwardTask& task, Stream& stream) {
  const int64_t slots = task.dout.rows * task.shape.top_k;
  const Routing& of = *task.routing;
  WideOrNot<CombineBackwardKernel>(AllWide({task.dout, task.y, task.dy}), [&]<typename Kernel>() {
    Launch<Kernel>(stream, slots,
                   {.top_k = task.shape.top_k,
                    .entry = {of.entry, slots},
                    .weights = {of.weights, slots},
                    .dout = ReadRows(task.dout),
                    .y = ReadRows(task.y),
                    .dy = WriteRows(task.dy),
                    .dweights = {task.dweights, slots}});
  });
}

void ScatterExperts(const ScatterExpertsTask& task, Stream& stream) {
  LaunchCombine({task.shape, *task.routing, false, task.dx_entries, task.add, {}, task.dx}, stream);
}

}  // namespace TEMPER_DEVICE
}  // namespace temper::kernels
