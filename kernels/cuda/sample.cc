// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/sample.h"

#include "core/check.h"
#include "kernels/cuda/logits.h"

namespace temper::kernels {
namespace TEMPER_DEVICE {
namespace {

static_assert(sizeof(SampledToken) == 12);

constexpr int kDigits = 11, kBins = 1 << kDigits, kIdBits = 22;
static_assert(kMostSampled == 1 << kIdBits);
constexpr int kSorted = 512;  // keys that are sorted at a time
constexpr uint32_t kBanned = 0xffffffffu;

// A row's keys in ascending order are its logits in descending order, and of equal ones their ids in
// ascending order. A rank is a key without its id; that of banned ids is above every number's.
WORD uint32_t RankOf(Float logit) {
  const uint32_t bits = BitsOf(Add(logit, Set(0.0f)));  // -0 equals 0
  return bits & 0x80000000u ? bits : ~(bits | 0x80000000u);
}
WORD uint64_t KeyOf(uint32_t rank, int id) {
  return static_cast<uint64_t>(rank) << kIdBits | static_cast<uint32_t>(id);
}
WORD int IdOf(uint64_t key) { return static_cast<int>(key & ((1u << kIdBits) - 1)); }

// What a block works in.
struct Workplace {
  Global<const float> logits;
  Global<float> numerators;
  Global<uint32_t> ranks;
  Global<double> block_sums;
  int vocab, blocks;
  Shared<uint32_t> bins;    // kBins; the first kSampleBlock hold numerators too
  Shared<uint32_t> counts;  // a warp's, and one more
  Shared<uint64_t> keys;    // kSorted
  Shared<uint64_t> found;   // 3

  WORD uint64_t Key(int i) const { return KeyOf(ranks.At(i), i); }
};

WORD uint64_t Least(uint64_t key, const Workplace& at) {
  UNROLL_ALL
  for (int mask = 16; mask >= 1; mask /= 2) {
    const uint64_t other = ShuffleXor(key, mask);
    key = other < key ? other : key;
  }
  Sync();
  if (Lane() == 0) at.keys.Put(Warp(), key);
  Sync();
  for (int w = 0; w < kLogitWarps; ++w) key = at.keys.At(w) < key ? at.keys.At(w) : key;
  return key;
}

// The sum over the lanes up to this one.
WORD uint32_t SumUpToLane(uint32_t x) {
  UNROLL_ALL
  for (int d = 1; d < 32; d *= 2) {
    const uint32_t below = ShuffleFrom(x, Lane() >= d ? Lane() - d : Lane());
    x += Lane() >= d ? below : 0;
  }
  return x;
}

// A bound that `count` of the keys from `from` on are not above: by counting digits from the top, eleven bits
// at a time, so that logits, whose exponents are few, fall into many bins.
WORD uint64_t Bound(const Workplace& at, uint64_t from, uint32_t count) {
  constexpr int kOwn = kBins / kLogitThreads;
  uint64_t prefix = 0;
  for (int shift = 4 * kDigits;; shift -= kDigits) {
    for (int b = Thread(); b < kBins; b += kLogitThreads) at.bins.Put(b, 0);
    Sync();
    for (int i = Thread(); i < at.vocab; i += kLogitThreads) {
      const uint64_t key = at.Key(i);
      if (key >= from && (key ^ prefix) >> (shift + kDigits) == 0)
        AtomicAdd(at.bins, static_cast<int>(key >> shift) & (kBins - 1), 1);
    }
    Sync();
    uint32_t own = 0;
    UNROLL_ALL
    for (int b = 0; b < kOwn; ++b) own += at.bins.At(Thread() * kOwn + b);
    const uint32_t in_warp = SumUpToLane(own);
    if (Lane() == 31) at.counts.Put(Warp(), in_warp);
    Sync();
    uint32_t before = in_warp - own;
    for (int w = 0; w < Warp(); ++w) before += at.counts.At(w);
    for (int b = Thread() * kOwn; b < (Thread() + 1) * kOwn; ++b) {
      const uint32_t in_bin = at.bins.At(b);
      if (before < count && count <= before + in_bin) {
        at.found.Put(0, prefix | static_cast<uint64_t>(b) << shift);
        at.found.Put(1, count - before);
        at.found.Put(2, in_bin);
      }
      before += in_bin;
    }
    Sync();
    prefix = at.found.At(0);
    count = static_cast<uint32_t>(at.found.At(1));
    if (shift == 0 || count == at.found.At(2)) return prefix | ((1ull << shift) - 1);
  }
}

// Ids whose keys are above the bound count no more.
WORD void LeaveOut(const Workplace& at, uint64_t bound) {
  Sync();
  for (int i = Thread(); i < at.vocab; i += kLogitThreads) {
    if (at.Key(i) > bound) at.numerators.Put(i, Set(0.0f));
  }
  Sync();
}

// A thread has a block's chain; the sum of all, ascending, is everybody's.
WORD Double SumBlocks(const Workplace& at) {
  for (int block = Thread(); block < at.blocks; block += kLogitThreads) {
    const int begin = block * static_cast<int>(kSampleBlock);
    const int left = at.vocab - begin < kSampleBlock ? at.vocab - begin : static_cast<int>(kSampleBlock);
    Double sum = SetDouble(0);
    UNROLL(8)
    for (int i = 0; i < left; ++i) sum = Add(sum, Widen(at.numerators.At(begin + i)));
    at.block_sums.Put(block, sum);
  }
  Sync();
  Double total = SetDouble(0);
  UNROLL(8)
  for (int block = 0; block < at.blocks; ++block) total = Add(total, at.block_sums.At(block));
  return total;
}

WORD void Sort(const Shared<uint64_t>& keys) {
  for (int size = 2; size <= kSorted; size *= 2) {
    for (int apart = size / 2; apart >= 1; apart /= 2) {
      Sync();
      const int one = 2 * Thread() - (Thread() & (apart - 1)), other = one + apart;
      const uint64_t a = keys.At(one), b = keys.At(other);
      if ((a > b) == ((one & size) == 0)) {
        keys.Put(one, b);
        keys.Put(other, a);
      }
    }
  }
  Sync();
}
static_assert(kSorted == 2 * kLogitThreads);

// The last key of those that together reach `enough`, in the order of keys; `kept` is how many there are.
WORD uint64_t Nucleus(const Workplace& at, Double enough, int kept) {
  Double sum = SetDouble(0);  // the first thread's
  uint64_t from = 0;
  for (;;) {
    const int piece = kept < kSorted ? kept : kSorted;
    const uint64_t bound = Bound(at, from, static_cast<uint32_t>(piece));
    for (int i = Thread(); i < kSorted; i += kLogitThreads) at.keys.Put(i, ~0ull);
    if (Thread() == 0) at.counts.Put(kLogitWarps, 0);
    Sync();
    for (int i = Thread(); i < at.vocab; i += kLogitThreads) {
      const uint64_t key = at.Key(i);
      if (key >= from && key <= bound) at.keys.Put(AtomicAdd(at.counts, kLogitWarps, 1), key);
    }
    Sort(at.keys);
    for (int i = Thread(); i < piece; i += kLogitThreads)
      at.bins.Put(i, BitsOf(at.numerators.At(IdOf(at.keys.At(i)))));
    Sync();
    if (Thread() == 0) {
      uint64_t last = from - 1;  // what was summed up last
      int i = 0;
      for (; i < piece && (last == ~0ull || Less(sum, enough)); ++i) {
        sum = Add(sum, Widen(FromBits(at.bins.At(i))));
        last = at.keys.At(i);
      }
      at.found.Put(0, last);
      at.found.Put(1, i < piece || piece == kept);
    }
    Sync();
    const uint64_t last = at.found.At(0);
    if (at.found.At(1) != 0) return last;
    from = bound + 1;
    kept -= piece;
    Sync();
  }
}

// The first id whose cumulative sum exceeds `uniform` of all; else the last that has any probability.
WORD int Find(const Workplace& at, Double uniform) {
  const Double threshold = Mul(uniform, SumBlocks(at));
  Double before = SetDouble(0);
  int block = 0;
  for (; block < at.blocks; ++block) {
    const Double through = Add(before, at.block_sums.At(block));
    if (Less(threshold, through)) break;
    before = through;
  }
  const int begin = block * static_cast<int>(kSampleBlock);
  for (int i = Thread(); i < kSampleBlock && begin + i < at.vocab; i += kLogitThreads)
    at.bins.Put(i, BitsOf(at.numerators.At(begin + i)));
  Sync();
  int id = -1;  // the first thread's
  if (Thread() == 0 && block < at.blocks) {
    constexpr int kTogether = 8;
    Double sum = SetDouble(0);
    for (int i = 0; i < kSampleBlock && id < 0; i += kTogether) {
      Float p[kTogether];
      UNROLL_ALL
      for (int j = 0; j < kTogether; ++j)
        p[j] = begin + i + j < at.vocab ? FromBits(at.bins.At(i + j)) : Set(0.0f);
      UNROLL_ALL
      for (int j = 0; j < kTogether; ++j) {
        sum = Add(sum, Widen(p[j]));
        if (id < 0 && Less(threshold, Add(before, sum))) id = begin + i + j;
      }
    }
  }
  if (block < at.blocks) return id;
  uint64_t last = KeyOf(0, IdOf(~0ull));
  for (int i = Thread(); i < at.vocab; i += kLogitThreads) {
    if (Less(Set(0.0f), at.numerators.At(i))) last = KeyOf(0, IdOf(~0ull) - i);
  }
  last = Least(last, at);
  return IdOf(~0ull) - IdOf(last);
}

struct SampleKernel {
  static constexpr int kThreads = kLogitThreads, kBlocks = 4;
  struct Args {
    Rows<const float> logits;
    Global<const float> temperatures, top_p, min_p;
    Global<const int32_t> top_k, banned, banned_begin;
    Global<const double> uniforms;
    Global<float> sums;
    Rows<float> numerators;
    Rows<uint32_t> ranks;
    Rows<double> block_sums;
    Global<float> tokens;
  };

  // Ranks of all ids, and the numerators of those that are not banned. The key of the largest of them.
  WORD static uint64_t Rank(const Args& args, const Workplace& at, const Temperature& scaled, Float max) {
    for (int i = Thread(); i < at.vocab; i += kThreads) at.ranks.Put(i, RankOf(at.logits.At(i)));
    Sync();
    const int first = args.banned_begin.At(Block()), end = args.banned_begin.At(Block() + 1);
    for (int b = first + Thread(); b < end; b += kThreads) AtomicOr(at.ranks, args.banned.At(b), kBanned);
    Sync();
    uint64_t least = ~0ull;
    for (int i = Thread(); i < at.vocab; i += kThreads) least = at.Key(i) < least ? at.Key(i) : least;
    least = Least(least, at);
    if (first == end) return least;
    // Numerators of the others alone; those of banned ids, which have a part in them now, become 0.
    const Float left = Div(at.logits.At(IdOf(least)), scaled.value);
    for (int i = Thread(); i < at.vocab; i += kThreads) {
      if (at.ranks.At(i) == kBanned) {
        at.numerators.Put(i, Set(0.0f));
      } else if (Less(left, max)) {
        at.numerators.Put(i, Exp(Sub(scaled(at.logits.At(i)), left)));
      }
    }
    Sync();
    return least;
  }

  // What top-k, then top-p, then min-p leave out has a numerator of 0 then.
  WORD static void Truncate(const Args& args, const Workplace& at) {
    const int top_k = args.top_k.At(Block());
    const Float top_p = args.top_p.At(Block());
    int kept = at.vocab;
    if (top_k > 0 && top_k < kept) {
      kept = top_k;
      LeaveOut(at, Bound(at, 0, static_cast<uint32_t>(top_k)));
    }
    if (Less(top_p, Set(1.0f))) {
      const Double total = SumBlocks(at);
      Sync();
      LeaveOut(at, Nucleus(at, Mul(Widen(top_p), total), kept));
    }
    const Float min_p = Min(args.min_p.At(Block()), Set(1.0f));
    if (!Less(Set(0.0f), min_p)) return;
    for (int i = Thread(); i < at.vocab; i += kThreads) {
      if (Less(at.numerators.At(i), min_p)) at.numerators.Put(i, Set(0.0f));
    }
    Sync();
  }

  WORD static void Run(const Args& args) {
    SHARED(uint32_t, bins, kBins);
    SHARED(uint32_t, counts, kLogitWarps + 1);
    SHARED(uint64_t, keys, kSorted);
    SHARED(uint64_t, found, 3);
    SHARED(float, max_and_log, 2);
    const int64_t row = Block();
    const Workplace at{args.logits.Row(row),
                       args.numerators.Row(row),
                       args.ranks.Row(row),
                       args.block_sums.Row(row),
                       args.logits.cols,
                       args.block_sums.cols,
                       bins,
                       counts,
                       keys,
                       found};
    const Float temperature = args.temperatures.At(row);
    const Temperature scaled = Temperature::Of(temperature);
    if (Thread() == 0) {
      const MaxAndSum all = MergeChunks(args.sums, row, kChunks);
      max_and_log.Put(0, all.max);
      max_and_log.Put(1, Narrow(Log(Widen(all.sum))));
    }
    Sync();
    const Float max = max_and_log.At(0), log_sum = max_and_log.At(1);
    const ExpSums sums =
        SumExps(at.logits, at.vocab, scaled, max, log_sum, [&](int i, Float e) { at.numerators.Put(i, e); });
    const int top_k = args.top_k.At(row);
    const bool truncated = (top_k > 0 && top_k < at.vocab) || Less(args.top_p.At(row), Set(1.0f)) ||
                           Less(Set(0.0f), args.min_p.At(row));
    const bool greedy = Equal(temperature, Set(0.0f));
    int id = 0;
    if (greedy || truncated || args.banned_begin.At(row) < args.banned_begin.At(row + 1))
      id = IdOf(Rank(args, at, scaled, max));
    if (!greedy) {
      if (truncated) Truncate(args, at);
      id = Find(at, args.uniforms.At(row));
    }
    if (Thread() > 0) return;
    const Float logit = Div(at.logits.At(id), scaled.value);
    args.tokens.Put(3 * row, FromBits(static_cast<uint32_t>(id)));
    args.tokens.Put(3 * row + 1, Sub(Sub(logit, max), log_sum));
    args.tokens.Put(3 * row + 2, Narrow(Div(sums.entropy, sums.total)));
  }
};

}  // namespace

void Sample(const DeviceSampleTask& task, Stream& stream) {
  const int64_t rows = task.logits.rows, vocab = task.logits.cols;
  if (rows == 0) return;
  TEMPER_CHECK(vocab > 0 && vocab <= kMostSampled, "vocab ", vocab);
  const int64_t blocks = CeilOf(vocab, kSampleBlock);
  auto* const block_sums = static_cast<double*>(task.scratch);
  auto* const sums = reinterpret_cast<float*>(block_sums + rows * blocks);
  float* const numerators = sums + rows * kChunks * 2;
  auto* const ranks = reinterpret_cast<uint32_t*>(numerators + rows * vocab);
  Launch<ChunkKernel>(stream, rows * kChunks,
                      {.logits = ReadRows(task.logits),
                       .temperatures = {task.temperatures, rows},
                       .temperature = Set(1.0f),
                       .begin = 0,
                       .whole = vocab,
                       .first = 0,
                       .count = kChunks,
                       .sums = {sums, rows * kChunks * 2}});
  // Nobody knows here how many ids are banned.
  constexpr int64_t kAny = int64_t{1} << 40;
  Launch<SampleKernel>(stream, rows,
                       {.logits = ReadRows(task.logits),
                        .temperatures = {task.temperatures, rows},
                        .top_p = {task.top_p, rows},
                        .min_p = {task.min_p, rows},
                        .top_k = {task.top_k, rows},
                        .banned = {task.banned, kAny},
                        .banned_begin = {task.banned_begin, rows + 1},
                        .uniforms = {task.uniforms, rows},
                        .sums = {sums, rows * kChunks * 2},
                        .numerators = {numerators, rows, vocab, vocab},
                        .ranks = {ranks, rows, vocab, vocab},
                        .block_sums = {block_sums, rows, blocks, blocks},
                        .tokens = {reinterpret_cast<float*>(task.tokens), 3 * rows}});
}

}  // namespace TEMPER_DEVICE
}  // namespace temper::kernels
