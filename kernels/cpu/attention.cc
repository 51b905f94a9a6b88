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

// Over blocks of E.
template <typename E>
void TileOf(const AttentionTask& task, const AttentionPiece& piece, float* scratch) {
  const AttentionShape& shape = task.shape;
  const AttentionSequence& sequence = *piece.sequence;
  const int padded = (shape.v_dim + kLanes - 1) / kLanes * kLanes, group = shape.q_heads / shape.kv_heads;
  float* scores = scratch;
  float* out = scores + kAttentionTile * 64;
  float* merged_out = out + kAttentionTile * padded;
  Pairs pairs;
  pairs.count = static_cast<int>(piece.end - piece.begin);
  int64_t last_position = 0;
  for (int i = 0; i < pairs.count; ++i) {
    const int64_t row = (piece.begin + i) / group;
    const int64_t head = int64_t{piece.kv_head} * group + (piece.begin + i) % group;
    pairs.q[i] = task.q.Row(sequence.first_row + row) + head * shape.qk_dim;
    pairs.position[i] = sequence.first_position + row;
    pairs.first_key[i] = FirstKey(pairs.position[i], shape.window);
    last_position = pairs.position[i];
    pairs.split[i] = {-__builtin_inff(), 0.0f};
    pairs.has_merged[i] = false;
    for (int c = 0; c < padded; c += kLanes) Store(out + i * padded + c, Set(0.0f));
  }

  const int64_t head_offset = int64_t{64} * piece.kv_head * (shape.qk_dim + shape.v_dim);
  for (int64_t block = pairs.first_key[0] / 64; 64 * block <= last_position; ++block) {
    const E* keys = static_cast<const E*>(sequence.blocks[block]) + head_offset;
    const E* values = keys + 64 * shape.qk_dim;
    for (int i = 0; i < pairs.count; i += 4) {
      const int count = pairs.count - i < 4 ? pairs.count - i : 4;
      int valid[4], unseen[4], most = 0;
      for (int t = 0; t < count; ++t) {
        valid[t] = Valid(pairs.position[i + t], block);
        unseen[t] = Unseen(pairs.first_key[i + t], block);
        if (unseen[t] >= valid[t]) valid[t] = 0;  // no key of this block
        most = valid[t] > most ? valid[t] : most;
        if (pairs.first_key[i + t] < 64 * block && block % kSplitBlocks == 0 && valid[t] > 0) {
          MergeSplit(pairs, i + t, out + (i + t) * padded, merged_out + (i + t) * padded, padded);
        }
      }
      if (most == 0) continue;
      float* tile = scores + 64 * i;
      float corrections[4];
      Dots<E>(count, {pairs.q + i, keys, shape.qk_dim, shape.scale, most}, tile);
      for (int t = 0; t < count; ++t) {
        for (int key = 0; key < unseen[t]; ++key) tile[64 * t + key] = -__builtin_inff();
      }
      SoftmaxBlock(pairs.split + i, valid, count, tile, corrections);
      Chain<E> chain{.coefficients = tile,
                     .per_output = 64,
                     .per_step = 1,
                     .x = values,
                     .ldx = shape.v_dim,
                     .out = out + i * padded,
                     .ldout = padded,
                     .width = shape.v_dim,
                     .count = count};
      for (int t = 0; t < count; ++t) {
        if (valid[t] > 0) Scale(out + (i + t) * padded, padded, corrections[t]);
        chain.begin[t] = unseen[t];
        chain.end[t] = valid[t];
      }
      Accumulate(chain);
    }
  }

  for (int i = 0; i < pairs.count; ++i) {
    MergeSplit(pairs, i, out + i * padded, merged_out + i * padded, padded);
    const Softmax merged = pairs.merged[i];
    const int64_t row = (piece.begin + i) / group;
    const int64_t head = int64_t{piece.kv_head} * group + (piece.begin + i) % group;
    float* to = task.out.Row(sequence.first_row + row) + head * shape.v_dim;
    for (int c = 0; c < shape.v_dim; c += kLanes) {
      const int lanes = shape.v_dim - c < kLanes ? shape.v_dim - c : kLanes;
      StoreFirst(to + c, Div(Load(merged_out + i * padded + c), Set(merged.sum)), lanes);
    }
    if (task.lse != nullptr) {
      task.lse[(sequence.first_row + row) * shape.q_heads + head] =
          static_cast<float>(static_cast<double>(merged.max) + Log(merged.sum));
    }
  }
}

}  // namespace

void AttentionTile(const AttentionTask& task, const AttentionPiece& piece, float* scratch) {
  task.shape.stored == Type::kBf16 ? TileOf<Bf16>(task, piece, scratch) : TileOf<float>(task, piece, scratch);
}

}  // namespace TEMPER_ISA
}  // namespace temper::kernels
