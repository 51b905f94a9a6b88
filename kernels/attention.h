// SPDX-License-Identifier: Apache-2.0
// Causal attention in one fixed order for decode, prefill, training and shared prefixes (docs/exactness.md):
// keys in blocks of 64 inside splits of 1,024, both anchored at the sequence's own position 0. In a split:
// online softmax, blocks ascending (Milakov and Gimelshein 2018); every split starts fresh and gives (max,
// sum, out); splits merge in ascending order. Absent and masked keys are selected away, never multiplied.
// Scores: one ascending fma chain over qk_dim, then one multiplication by `scale`; outputs: one ascending fma
// chain over keys. Grouped queries: q head h uses kv head h / (q_heads / kv_heads). Absorbed MLA is kv_heads
// = 1 with the values the first v_dim columns of the keys. A window moves no anchor: blocks and splits
// without a key in it are left out (Beltagy et al. 2020; Mistral 7B, arXiv 2310.06825).
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "kernels/matrix.h"

namespace temper::kernels {

inline constexpr int kAttentionBlock = 64;    // keys of a block, tokens of a cache page
inline constexpr int kAttentionSplit = 1024;  // keys of a split
inline constexpr int kAttentionSpan = 1024;   // rows of a span
inline constexpr int kHeadRanges = 8;         // of all query heads

struct AttentionShape {
  int q_heads = 0;
  int kv_heads = 0;
  int qk_dim = 0;
  int v_dim = 0;
  float scale = 0;
  int64_t window = 0;  // a query sees the last `window` positions, its own included; 0: all
  // Where other ranks have the other heads: how many query heads there are in all (0: these are all), and
  // which of them is the first here.
  int all_heads = 0, first_head = 0;
  Type stored = Type::kF32;  // of the numbers in blocks, which may be bf16

  [[gnu::always_inline]] int64_t whole_heads() const { return all_heads > 0 ? all_heads : q_heads; }
};

// A block holds 64 positions of one sequence and layer: for each kv head the keys transposed, [qk_dim][64],
// then the values, [64][v_dim].
inline int64_t BlockBytes(const AttentionShape& shape) {
  return BytesOf(shape.stored) * kAttentionBlock * shape.kv_heads * (shape.qk_dim + shape.v_dim);
}

// New tokens of one sequence in a batch: rows [first_row, first_row + rows) of q, k, v and out are its
// positions [first_position, first_position + rows). blocks[b] is where positions 64b..64b+63 live in the
// first layer; those of another lie a task's `layer_offset` bytes behind.
struct AttentionSequence {
  int64_t first_row = 0;
  int64_t rows = 0;
  int64_t first_position = 0;
  void* const* blocks = nullptr;

  [[gnu::always_inline]] void* Block(int64_t b, int64_t layer_offset) const {
    return static_cast<char*>(blocks[b]) + layer_offset;
  }
};

// Copies the new keys and values into their blocks, rounded to the nearest, ties to even, where those are
// bf16. kv head g of a row begins at g * qk_dim (g * v_dim).
struct WriteBlocksTask {
  AttentionShape shape;
  absl::Span<const AttentionSequence> sequences;
  Matrix k = {}, v = {};
  int64_t layer_offset = 0;
};

// out[row, h, :] over the keys up to each row's position; the new tokens' keys must be in the blocks already.
// Head h begins at h * qk_dim (h * v_dim). lse[row * q_heads + h], if not null, is the log of the sum of
// exp(score) for the backward pass.
struct AttentionTask {
  AttentionShape shape;
  absl::Span<const AttentionSequence> sequences;
  Matrix q = {}, out = {};
  float* lse = nullptr;
  int64_t layer_offset = 0;
};

// Sequences of which the first begins at position 0 and is the beginning of all others: their prefix. Each of
// those has the rows behind it and sees the prefix's and its own; they lie one behind another. A sequence
// that shares nothing is a bundle of its own.
struct Bundle {
  absl::Span<const AttentionSequence> sequences;
  int64_t rows = 0;

  int64_t first_row() const { return sequences.front().first_row; }
};
// A sequence behind position 0 goes on with the last one from there.
std::vector<Bundle> BundlesOf(absl::Span<const AttentionSequence> sequences);

// Gradients for bundles of whole sequences (blocks not read): q, k, v, out, lse as in the forward pass.
// Overwrites dq, dk, dv. dq: one chain, keys ascending. dk and dv of a key and kv head: query heads in 8
// ranges [floor(r q_heads / 8), floor((r + 1) q_heads / 8)), queries in spans of 1,024 rows from the bundle's
// first. Of a range and a span there is one chain, heads ascending, in a head rows ascending; the spans of a
// range are combined as a binary tree over the bundle's spans (neighbours add; without a neighbour a sum goes
// up as it is), the ranges as a binary tree. What has no head or no query that sees the key counts as 0. The
// heads are those of all ranks; where ranks have different heads of one key, each has whole ranges, `ranges`
// of them, and dk and dv are the sum over that subtree.
struct AttentionBackwardTask {
  AttentionShape shape;
  absl::Span<const AttentionSequence> sequences;
  Matrix q = {}, k = {}, v = {}, out = {};
  const float* lse = nullptr;
  Matrix dout = {};
  Matrix dq = {}, dk = {}, dv = {};
  int ranges = kHeadRanges;
  // Where ranks share the queries of one sequence (mesh.cp): `sequences` are the parts of its positions that
  // this rank has, ascending, each of whole spans; k and v are of the whole sequence, a row for each
  // position; there are no dk and dv (see KeySumsTask).
  bool of_whole = false;
};

// 2^level leaves of a binary tree, from `first` on.
struct SpanNode {
  int64_t first = 0;
  int level = 0;

  friend bool operator==(const SpanNode&, const SpanNode&) = default;
};

// Levels of the tree over the spans of so many rows.
[[gnu::always_inline]] inline int SpanLevels(int64_t rows) {
  int levels = 0;
  while ((int64_t{kAttentionSpan} << levels) < rows) ++levels;
  return levels;
}

// The largest nodes of the tree over a sequence's spans that have no others than those of its positions
// [begin, end), which are whole spans; ascending.
std::vector<SpanNode> SpanNodesOf(int64_t begin, int64_t end, int64_t positions);

// What this rank's queries give to dk and dv of some keys, positions [first_key, first_key + keys): of each
// of some nodes of the tree over the sequence's spans, all of whose spans are this rank's, and in it of each
// range of a kv head's query heads (HeadSlots). Node after node `keys` rows, in which each slot has [qk_dim]
// of dk and [v_dim] of dv. What has no query that sees the key is 0. first_key is a span's first position.
struct KeySumsTask {
  const AttentionBackwardTask& queries;  // of_whole
  absl::Span<const SpanNode> nodes;
  int64_t first_key = 0, keys = 0;
  Matrix sums = {};
};

// A kv head and one of the ranges that its query heads are in, by kv heads, then ranges.
struct HeadSlot {
  int kv_head, range;
};
std::vector<HeadSlot> HeadSlots(const AttentionShape& shape);

// dk and dv of those keys, [keys] rows each, from the sums of all ranks' nodes, which together are all spans
// that see a key.
struct JoinKeySumsTask {
  struct Part {
    SpanNode node;
    const float* sums = nullptr;  // of its rows; null: no query sees a key
  };
  AttentionShape shape;
  int64_t positions = 0;  // of the sequence
  absl::Span<const Part> parts;
  int64_t first_key = 0;
  Matrix dk = {}, dv = {};
  int ranges = kHeadRanges;  // see AttentionBackwardTask
};

}  // namespace temper::kernels
