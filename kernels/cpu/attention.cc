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

inline int Valid(int64_t position, int64_t block) {
  const int64_t left = position + 1 - 64 * block;
  return left > 64 ? 64 : left < 0 ? 0 : static_cast<int>(left);
}

// The first position that a query at `position` sees; and how many keys of a block come before that.
inline int64_t FirstKey(int64_t position, int64_t window) {
  return window == 0 || position < window ? 0 : position - window + 1;
}
inline int Unseen(int64_t first_key, int64_t block) {
  const int64_t before = first_key - 64 * block;
  return before < 0 ? 0 : before > 64 ? 64 : static_cast<int>(before);
}

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

}  // namespace

void AttentionTile(const AttentionTask& task, const AttentionPiece& piece, float* scratch) {
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
    const float* keys = sequence.blocks[block] + head_offset;
    const float* values = keys + 64 * shape.qk_dim;
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
      Dots(count, {pairs.q + i, keys, shape.qk_dim, shape.scale, most}, tile);
      for (int t = 0; t < count; ++t) {
        for (int key = 0; key < unseen[t]; ++key) tile[64 * t + key] = -__builtin_inff();
      }
      SoftmaxBlock(pairs.split + i, valid, count, tile, corrections);
      Chain chain{.coefficients = tile,
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
      q[t] = piece.q.Row(row + i + t) + head * shape.qk_dim;
      dout[t] = piece.dout.Row(row + i + t) + head * shape.v_dim;
    }
    const int most = Valid(row + i + tile - 1, key / 64);
    Dots(tile, {q, at.keys, shape.qk_dim, shape.scale, most}, p + 64 * i);
    Dots(tile, {dout, at.values, shape.v_dim, 1.0f, most}, ds + 64 * i);
    for (int t = 0; t < tile; ++t) {
      const int64_t r = row + i + t;
      const F16 lse = Set(piece.lse[r * shape.q_heads + head]);
      const F16 d = Set(DotRow(dout[t], piece.out.Row(r) + head * shape.v_dim, shape.v_dim));
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
void AddToKeys(const RowsAndKeys& at, const Chain& all) {
  const int count = at.count, keys = at.keys;
  const int64_t ahead = at.ahead, window = at.window;
  for (int key = 0; key < keys; key += 4) {
    Chain chain = all;
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

}  // namespace

void AttentionBackwardBlock(const AttentionBackwardPiece& piece, const AttentionBackwardPart& part,
                            float* scratch) {
  const AttentionShape& shape = piece.shape;
  const int64_t key_block = part.key_block, row_tile_begin = part.row_tile_begin;
  int64_t row_tile_end = part.row_tile_end;
  float* keys = scratch;
  float* values = keys + 64 * shape.qk_dim;
  float* p = values + 64 * shape.v_dim;
  float* ds = p + 64 * 64;
  const int64_t key = 64 * key_block;
  if (shape.window > 0) {
    // Tiles after the last row that sees the last key.
    const int64_t end = (key + 63 + shape.window - 1) / 64 + 1;
    row_tile_end = end < row_tile_end ? end : row_tile_end;
    if (row_tile_begin >= row_tile_end) return;
  }
  const int key_count = piece.q.rows - key < 64 ? static_cast<int>(piece.q.rows - key) : 64;
  TransposeBlock(piece.k.Rows(key, key_count), keys);
  TransposeBlock(piece.v.Rows(key, key_count), values);
  for (int head = 0; head < shape.q_heads / shape.kv_heads; ++head) {
    for (int64_t tile = row_tile_begin < key_block ? key_block : row_tile_begin; tile < row_tile_end;
         ++tile) {
      const int64_t row = 64 * tile;
      const int count = piece.q.rows - row < 64 ? static_cast<int>(piece.q.rows - row) : 64;
      Probabilities(piece, {row, count, head, key, keys, values}, p, ds);
      for (int i = 0; part.dq && i < count; i += 4) {
        Chain chain{.coefficients = ds + 64 * i,
                    .per_output = 64,
                    .per_step = 1,
                    .x = piece.k.Row(key),
                    .ldx = piece.k.stride,
                    .out = piece.dq.Row(row + i) + head * shape.qk_dim,
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
      const RowsAndKeys at{count, key_count, row - key, shape.window};
      AddToKeys(at, {.coefficients = ds,
                     .per_output = 1,
                     .per_step = 64,
                     .x = piece.q.Row(row) + head * shape.qk_dim,
                     .ldx = piece.q.stride,
                     .out = piece.dk.Row(key),
                     .ldout = piece.dk.stride,
                     .width = shape.qk_dim});
      AddToKeys(at, {.coefficients = p,
                     .per_output = 1,
                     .per_step = 64,
                     .x = piece.dout.Row(row) + head * shape.v_dim,
                     .ldx = piece.dout.stride,
                     .out = piece.dv.Row(key),
                     .ldout = piece.dv.stride,
                     .width = shape.v_dim});
    }
  }
}

}  // namespace TEMPER_ISA
}  // namespace temper::kernels
