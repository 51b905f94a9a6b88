// SPDX-License-Identifier: Apache-2.0
// The serial inner loops of kernels/attention.h, once for each instruction set.
#pragma once

#include <stdint.h>

#include "kernels/attention.h"

namespace temper::kernels {

// Query vectors that walk over the keys together; results do not depend on it.
constexpr int kAttentionTile = 16;

// Of a task: rows, blocks or pairs [begin, end) of one sequence and kv head. Pairs (row, query head of the
// group) are flattened as row * group + head. Pairs may go split by split, each of which leaves what it found
// at `found` + SplitFloats() of the splits before it.
struct AttentionPiece {
  const AttentionSequence* sequence;
  int kv_head;
  int64_t begin, end;
  int64_t split = 0;
  float* found = nullptr;
};

// Of kAttentionTile pairs in one split: each one's maximum, its sum and its outputs, up to a whole vector.
inline int64_t SplitFloats(int v_dim) { return int64_t{kAttentionTile} * (2 + (v_dim + 15) / 16 * 16); }

inline int64_t AttentionScratch(int v_dim) {
  return int64_t{kAttentionTile} * (64 + 2 * ((v_dim + 15) / 16 * 16));
}

// Up to 64 rows of a bundle that are neighbours in one of its sequences and in one span, as queries or as
// keys.
struct AttentionStrip {
  int64_t row;       // the first, of the bundle
  int64_t position;  // of that
  int count;
  int64_t sequence;  // of the bundle
};
// All of a bundle, ascending.
std::vector<AttentionStrip> StripsOf(const Bundle& bundle);

// Of a task: one bundle's rows, the columns of one kv head and of its group of query heads. k and v are of
// the whole bundle; the rows of q, out, dout, dq and lse begin at row `first`, those of dk and dv at
// `first_key`, both of which begin a strip.
struct AttentionBackwardPiece {
  const AttentionShape& shape;
  int64_t first_head;  // the group's first query head, of those of all ranks
  Matrix q, k, v, out, dout, dq, dk, dv;
  const float* lse;  // [rows][q_heads], from the group's first head on
  int ranges;        // of heads, that dk and dv are the sum over
  int64_t first = 0, first_key = 0;
  const AttentionStrip* strips = nullptr;
};
// `rows`: the task's, as of a sequence that has all of the bundle, whose strips the caller adds.
AttentionBackwardPiece BackwardPiece(const AttentionBackwardTask& task, const AttentionSequence& rows,
                                     int kv_head);

// Levels of the tree over the ranges of heads.
constexpr int kRangeLevels = 3;
static_assert(1 << kRangeLevels == kHeadRanges);

inline int64_t AttentionBackwardScratch(const AttentionBackwardPiece& piece) {
  const int64_t both = piece.shape.qk_dim + piece.shape.v_dim,
                waiting = kRangeLevels + SpanLevels(piece.k.rows);
  return 64 * (both * (1 + waiting) + 128);
}

// Which part of a piece's gradients: what the keys of strip `keys` and the queries of the strips [begin, end)
// give to dq (if `dq`); and dk, dv of the keys (if `dkv`, which needs all strips of queries). With a node,
// whose leaves are the spans inside the ranges of heads, dk and dv are its sum alone; where nothing belongs
// to it they stay.
struct AttentionBackwardPart {
  int64_t keys;
  int64_t begin, end;
  bool dq, dkv;
  SpanNode node = {0, -1};
};

// AttentionTile: the attention of at most kAttentionTile pairs; AttentionScratch floats. AttentionSplit: of
// one split alone, whose place in `found` it fills; AttentionMerge: the rest, of all splits that were found.
// AttentionBackwardBlock: dq is zero before its first part; AttentionBackwardScratch floats.
#define TEMPER_ATTENTION(ISA)                                                                         \
  namespace ISA {                                                                                     \
  void AttentionTile(const AttentionTask& task, const AttentionPiece& piece, float* scratch);         \
  void AttentionSplit(const AttentionTask& task, const AttentionPiece& piece, float* scratch);        \
  void AttentionMerge(const AttentionTask& task, const AttentionPiece& piece, float* scratch);        \
  void AttentionBackwardBlock(const AttentionBackwardPiece& piece, const AttentionBackwardPart& part, \
                              float* scratch);                                                        \
  }
TEMPER_ATTENTION(plain)
TEMPER_ATTENTION(avx2)
TEMPER_ATTENTION(avx512)
#undef TEMPER_ATTENTION

}  // namespace temper::kernels
