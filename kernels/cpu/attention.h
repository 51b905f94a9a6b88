// SPDX-License-Identifier: Apache-2.0
// The serial inner loops of kernels/attention.h, once for each instruction set.
#pragma once

#include <stdint.h>

namespace temper::kernels {

// Query vectors that walk over the keys together; results do not depend on it.
constexpr int kAttentionTile = 16;

// "Pairs" (row, query head of the group) of one sequence and kv head, flattened as row * group + head; the
// pair's row of q and out is first_row + row, its position first_position + row.
struct AttentionPiece {
  int group, qk_dim, v_dim, q_heads, kv_heads;
  int kv_head = 0;
  float scale;
  int64_t window;  // 0: none
  const float* q;
  int64_t ldq;
  float* out;
  int64_t ldout;
  float* lse;  // may be null
  int64_t first_row = 0, first_position = 0;
  const float* const* blocks = nullptr;
  int64_t pair_begin = 0, pair_end = 0;  // at most kAttentionTile
  float* scratch;                        // AttentionScratch() floats
};

inline int64_t AttentionScratch(int v_dim) {
  return int64_t{kAttentionTile} * (64 + 2 * ((v_dim + 15) / 16 * 16));
}

// One sequence and kv head: the pointers are at its row 0 and at its kv head, or at the first query head of
// its group.
struct AttentionBackwardPiece {
  int group, qk_dim, v_dim;
  float scale;
  int64_t window;  // 0: none
  int64_t rows;
  const float *q, *k, *v, *out, *dout, *lse;
  int64_t ldq, ldk, ldv, ldout, lddout, ldlse;
  float *dq, *dk, *dv;
  int64_t lddq, lddk, lddv;
  float* scratch;  // AttentionBackwardScratch() floats
};

inline int64_t AttentionBackwardScratch(int qk_dim, int v_dim) {
  return int64_t{64} * (qk_dim + v_dim + 128);
}

// Which part of a piece's gradients: what the 64 keys of block `key_block` and the 64-row tiles
// [row_tile_begin, row_tile_end) give to dq (if `dq`) and to dk, dv (if `dkv`, which needs all the row
// tiles).
struct AttentionBackwardPart {
  int64_t key_block;
  int64_t row_tile_begin, row_tile_end;
  bool dq, dkv;
};

// AttentionTile: the attention of a piece's pairs. AttentionBackwardBlock: dq, dk and dv are zero before
// their first part.
#define TEMPER_ATTENTION(ISA)                                                                          \
  namespace ISA {                                                                                      \
  void AttentionTile(const AttentionPiece& piece);                                                     \
  void AttentionBackwardBlock(const AttentionBackwardPiece& piece, const AttentionBackwardPart& part); \
  }
TEMPER_ATTENTION(plain)
TEMPER_ATTENTION(avx2)
TEMPER_ATTENTION(avx512)
#undef TEMPER_ATTENTION

}  // namespace temper::kernels
