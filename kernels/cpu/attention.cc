// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/attention.h"

#include "kernels/cpu/chains.h"
#include "kernels/cpu/simd.h"
#include "kernels/log.h"

namespace temper::kernels {
namespace TEMPER_ISA {
namespace {

constexpr int kSplitBlocks = 16;

// What a pair carries through a split, and through the splits before it.
struct Softmax {
  float max, sum;
};

struct Pairs {
  int count;
  const float* q[kAttentionTile];
  int64_t position[kAttentionTile], first_key[kAttentionTile];
  Softmax split[kAttentionTile], merged[kAttentionTile];
  bool has_merged[kAttentionTile];
};

void Scale(float* out, int padded, float factor) {
  for (int c = 0; c < padded; c += kLanes) Store(out + c, Mul(Load(out + c), Set(factor)));
}

// The finished split of a pair joins the splits before it and starts afresh.
void MergeSplit(Pairs& pairs, int i, float* out, float* merged_out, int padded) {
  Softmax& split = pairs.split[i];
  Softmax& merged = pairs.merged[i];
  if (!pairs.has_merged[i]) {
    merged = split;
    for (int c = 0; c < padded; c += kLanes) Store(merged_out + c, Load(out + c));
  } else {
    const float max = merged.max > split.max ? merged.max : split.max;
    const float a = ExpOne(merged.max - max), b = ExpOne(split.max - max);
    merged.sum = merged.sum * a + split.sum * b;
    merged.max = max;
    for (int c = 0; c < padded; c += kLanes) {
      Store(merged_out + c, Add(Mul(Load(merged_out + c), Set(a)), Mul(Load(out + c), Set(b))));
    }
  }
  pairs.has_merged[i] = true;
  split = {-__builtin_inff(), 0.0f};
  for (int c = 0; c < padded; c += kLanes) Store(out + c, Set(0.0f));
}

// Scores to probabilities of up to 4 pairs, in place; corrections[] multiplies what the split had so far.
void SoftmaxBlock(Softmax* split, const int* valid, int count, float* scores, float* corrections) {
  float difference[kLanes] = {};
  for (int i = 0; i < count; ++i) {
    F16 top = Set(-__builtin_inff());
    for (int c = 0; c < valid[i]; c += kLanes) {
      const int lanes = valid[i] - c < kLanes ? valid[i] - c : kLanes;
      top = Max(top, Select(FirstLanes(lanes), Load(scores + 64 * i + c), top));
    }
    const float block_max = MaxLanes(top);
    const float max = split[i].max > block_max ? split[i].max : block_max;
    difference[i] = split[i].max - max;
    if (valid[i] > 0) split[i].max = max;
  }
  Store(difference, Exp(Load(difference)));
  for (int i = 0; i < count; ++i) {
    F16 sum = Set(0.0f);
    for (int c = 0; c < valid[i]; c += kLanes) {
      const int lanes = valid[i] - c < kLanes ? valid[i] - c : kLanes;
      const F16 p =
          Select(FirstLanes(lanes), Exp(Sub(Load(scores + 64 * i + c), Set(split[i].max))), Set(0.0f));
      Store(scores + 64 * i + c, p);
      sum = Add(sum, p);
    }
    corrections[i] = difference[i];
    if (valid[i] > 0) split[i].sum = __builtin_fmaf(split[i].sum, corrections[i], SumLanes(sum));
  }
}

// A piece on its way: its pairs, and where in the scratch memory their scores and outputs are.
struct Walk {
  const AttentionTask& task;
  const AttentionPiece& piece;
  const int padded, group;
  float *scores, *out, *merged_out;
  int64_t last_position = 0;
  Pairs pairs;

  Walk(const AttentionTask& of, const AttentionPiece& at, float* scratch)
      : task(of),
        piece(at),
        padded((of.shape.v_dim + kLanes - 1) / kLanes * kLanes),
        group(of.shape.q_heads / of.shape.kv_heads),
        scores(scratch),
        out(scores + kAttentionTile * 64),
        merged_out(out + kAttentionTile * padded) {
    pairs.count = static_cast<int>(piece.end - piece.begin);
    for (int i = 0; i < pairs.count; ++i) {
      pairs.q[i] = task.q.Row(Row(i)) + Head(i) * task.shape.qk_dim;
      pairs.position[i] = last_position = piece.sequence->first_position + (piece.begin + i) / group;
      pairs.first_key[i] = FirstKey(pairs.position[i], task.shape.window);
      pairs.split[i] = {-__builtin_inff(), 0.0f};
      pairs.has_merged[i] = false;
      for (int c = 0; c < padded; c += kLanes) Store(out + i * padded + c, Set(0.0f));
    }
  }
  int64_t Row(int i) const { return piece.sequence->first_row + (piece.begin + i) / group; }
  int64_t Head(int i) const { return int64_t{piece.kv_head} * group + (piece.begin + i) % group; }
  float* Found(int64_t split, int i) const {
    return piece.found + split * kAttentionTile * (2 + padded) + i * (2 + padded);
  }
};

// Blocks [first, last] of E.
template <typename E>
void OverBlocks(Walk& walk, int64_t first, int64_t last) {
  const AttentionShape& shape = walk.task.shape;
  Pairs& pairs = walk.pairs;
  const int padded = walk.padded;
  const int64_t head_offset = int64_t{64} * walk.piece.kv_head * (shape.qk_dim + shape.v_dim);
  const auto of_head = [&](int64_t block) {
    return static_cast<const E*>(walk.piece.sequence->Block(block, walk.task.layer_offset)) + head_offset;
  };
  for (int64_t block = first; block <= last; ++block) {
    const E* keys = of_head(block);
    const E* values = keys + 64 * shape.qk_dim;
    // The next block lies on another page, which no processor foresees.
    const E* next = block == last ? nullptr : of_head(block + 1);
    for (int i = 0; i < pairs.count; i += 4) {
      const int count = pairs.count - i < 4 ? pairs.count - i : 4;
      int valid[4], unseen[4], most = 0;
      for (int t = 0; t < count; ++t) {
        valid[t] = Valid(pairs.position[i + t], block);
        unseen[t] = Unseen(pairs.first_key[i + t], block);
        if (unseen[t] >= valid[t]) valid[t] = 0;  // no key of this block
        most = valid[t] > most ? valid[t] : most;
        if (block > first && pairs.first_key[i + t] < 64 * block && block % kSplitBlocks == 0 &&
            valid[t] > 0) {
          MergeSplit(pairs, i + t, walk.out + (i + t) * padded, walk.merged_out + (i + t) * padded, padded);
        }
      }
      if (most == 0) continue;
      float* tile = walk.scores + 64 * i;
      float corrections[4];
      Dots<E>(count, {pairs.q + i, keys, shape.qk_dim, shape.scale, most, i == 0 ? next : nullptr}, tile);
      for (int t = 0; t < count; ++t) {
        for (int key = 0; key < unseen[t]; ++key) tile[64 * t + key] = -__builtin_inff();
      }
      SoftmaxBlock(pairs.split + i, valid, count, tile, corrections);
      Chain<E> chain{.coefficients = tile,
                     .per_output = 64,
                     .per_step = 1,
                     .x = values,
                     .ldx = shape.v_dim,
                     .out = walk.out + i * padded,
                     .ldout = padded,
                     .width = shape.v_dim,
                     .count = count,
                     .next = i == 0 && next != nullptr ? next + 64 * shape.qk_dim : nullptr};
      for (int t = 0; t < count; ++t) {
        if (valid[t] > 0) Scale(walk.out + (i + t) * padded, padded, corrections[t]);
        chain.begin[t] = unseen[t];
        chain.end[t] = valid[t];
      }
      Accumulate(chain);
    }
  }
}

void OverBlocks(Walk& walk, int64_t first, int64_t last) {
  walk.task.shape.stored == Type::kBf16 ? OverBlocks<Bf16>(walk, first, last)
                                        : OverBlocks<float>(walk, first, last);
}

// The last split joins the others, and that is the result.
void Finish(Walk& walk) {
  const AttentionTask& task = walk.task;
  Pairs& pairs = walk.pairs;
  const int v_dim = task.shape.v_dim, padded = walk.padded;
  for (int i = 0; i < pairs.count; ++i) {
    MergeSplit(pairs, i, walk.out + i * padded, walk.merged_out + i * padded, padded);
    const Softmax merged = pairs.merged[i];
    float* to = task.out.Row(walk.Row(i)) + walk.Head(i) * v_dim;
    for (int c = 0; c < v_dim; c += kLanes) {
      const int lanes = v_dim - c < kLanes ? v_dim - c : kLanes;
      StoreFirst(to + c, Div(Load(walk.merged_out + i * padded + c), Set(merged.sum)), lanes);
    }
    if (task.lse != nullptr) {
      task.lse[walk.Row(i) * task.shape.q_heads + walk.Head(i)] =
          static_cast<float>(static_cast<double>(merged.max) + Log(merged.sum));
    }
  }
}

}  // namespace

void AttentionTile(const AttentionTask& task, const AttentionPiece& piece, float* scratch) {
  Walk walk(task, piece, scratch);
  OverBlocks(walk, walk.pairs.first_key[0] / 64, walk.last_position / 64);
  Finish(walk);
}

void AttentionSplit(const AttentionTask& task, const AttentionPiece& piece, float* scratch) {
  Walk walk(task, piece, scratch);
  const int64_t first = walk.pairs.first_key[0] / 64, begin = piece.split * kSplitBlocks;
  const int64_t last = walk.last_position / 64, end = begin + kSplitBlocks - 1;
  OverBlocks(walk, first > begin ? first : begin, last < end ? last : end);
  for (int i = 0; i < walk.pairs.count; ++i) {
    float* to = walk.Found(piece.split, i);
    to[0] = walk.pairs.split[i].max;
    to[1] = walk.pairs.split[i].sum;
    for (int c = 0; c < walk.padded; c += kLanes) Store(to + 2 + c, Load(walk.out + i * walk.padded + c));
  }
}

void AttentionMerge(const AttentionTask& task, const AttentionPiece& piece, float* scratch) {
  Walk walk(task, piece, scratch);
  const int padded = walk.padded;
  Pairs& pairs = walk.pairs;
  for (int i = 0; i < pairs.count; ++i) {
    const int64_t first = pairs.first_key[i] / kAttentionSplit, last = pairs.position[i] / kAttentionSplit;
    for (int64_t split = first; split <= last; ++split) {
      float* const out = walk.out + i * padded;
      if (split > first) MergeSplit(pairs, i, out, walk.merged_out + i * padded, padded);
      const float* const from = walk.Found(split, i);
      pairs.split[i] = {from[0], from[1]};
      for (int c = 0; c < padded; c += kLanes) Store(out + c, Load(from + 2 + c));
    }
  }
  Finish(walk);
}

}  // namespace TEMPER_ISA
}  // namespace temper::kernels
