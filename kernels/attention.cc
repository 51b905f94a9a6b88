// SPDX-License-Identifier: Apache-2.0
#include "kernels/attention.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "core/check.h"
#include "kernels/cpu/attention.h"
#include "kernels/isa.h"
#include "kernels/pieces.h"

namespace temper::kernels {
namespace {

// A piece of a parallel region: rows, pairs or blocks [begin, end) of one sequence and kv head.
struct Piece {
  const AttentionSequence* sequence;
  int kv_head;
  int64_t begin, end;
};

int64_t Grain(int64_t pieces, const ThreadPool& pool) {
  return std::clamp<int64_t>(pieces / (16 * pool.threads()), 1, 8);
}

void CheckShape(const AttentionShape& s) {
  TEMPER_CHECK(s.kv_heads > 0 && s.q_heads % s.kv_heads == 0 && s.qk_dim > 0 && s.v_dim > 0 && s.window >= 0,
               "q_heads ", s.q_heads, ", kv_heads ", s.kv_heads, ", qk_dim ", s.qk_dim, ", v_dim ", s.v_dim);
}

// Rows of one block and sequence.
void WriteRows(const AttentionShape& s, const Piece& piece, const float* k, int64_t ldk, const float* v,
               int64_t ldv) {
  const AttentionSequence& sequence = *piece.sequence;
  for (int64_t row = piece.begin; row < piece.end; ++row) {
    const int64_t position = sequence.first_position + row;
    const int64_t lane = position % kAttentionBlock;
    float* block = sequence.blocks[position / kAttentionBlock];
    const float* from_k = k + (sequence.first_row + row) * ldk;
    const float* from_v = v + (sequence.first_row + row) * ldv;
    for (int head = 0; head < s.kv_heads; ++head) {
      for (int d = 0; d < s.qk_dim; ++d) block[d * kAttentionBlock + lane] = from_k[head * s.qk_dim + d];
      block += kAttentionBlock * s.qk_dim;
      std::memcpy(block + lane * s.v_dim, from_v + head * s.v_dim, sizeof(float) * s.v_dim);
      block += kAttentionBlock * s.v_dim;
    }
  }
}

void ZeroRows(float* to, int64_t ld, int64_t first, int64_t rows, int64_t width) {
  for (int64_t row = first; row < first + rows; ++row) std::fill_n(to + row * ld, width, 0.0f);
}

}  // namespace

void WriteBlocks(const AttentionShape& shape, absl::Span<const AttentionSequence> sequences, const float* k,
                 int64_t ldk, const float* v, int64_t ldv, ThreadPool& pool) {
  CheckShape(shape);
  std::vector<Piece> pieces;
  pieces.reserve(sequences.size());
  for (const AttentionSequence& sequence : sequences) {
    for (int64_t row = 0; row < sequence.rows; row += kAttentionBlock) {
      pieces.push_back({&sequence, 0, row, std::min<int64_t>(sequence.rows, row + kAttentionBlock)});
    }
  }
  pool.ParallelFor(pieces.size(), Grain(pieces.size(), pool), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) WriteRows(shape, pieces[i], k, ldk, v, ldv);
  });
}

void Attention(const AttentionShape& shape, absl::Span<const AttentionSequence> sequences, const float* q,
               int64_t ldq, float* out, int64_t ldout, float* lse, ThreadPool& pool) {
  CheckShape(shape);
  const int group = shape.q_heads / shape.kv_heads;
  std::vector<Piece> pieces;
  pieces.reserve(sequences.size() * shape.kv_heads);
  for (const AttentionSequence& sequence : sequences) {
    for (int kv_head = 0; kv_head < shape.kv_heads; ++kv_head) {
      for (int64_t pair = 0; pair < sequence.rows * group; pair += kAttentionTile) {
        pieces.push_back({&sequence, kv_head, pair, std::min(sequence.rows * group, pair + kAttentionTile)});
      }
    }
  }
  const auto tile = TEMPER_DISPATCH(AttentionTile);
  pool.ParallelFor(pieces.size(), Grain(pieces.size(), pool), [&](int64_t begin, int64_t end) {
    AttentionTask task{.group = group,
                       .qk_dim = shape.qk_dim,
                       .v_dim = shape.v_dim,
                       .q_heads = shape.q_heads,
                       .kv_heads = shape.kv_heads,
                       .scale = shape.scale,
                       .window = shape.window,
                       .q = q,
                       .ldq = ldq,
                       .out = out,
                       .ldout = ldout,
                       .lse = lse,
                       .scratch = Scratch(AttentionScratch(shape.v_dim))};
    for (int64_t i = begin; i < end; ++i) {
      task.kv_head = pieces[i].kv_head;
      task.first_row = pieces[i].sequence->first_row;
      task.first_position = pieces[i].sequence->first_position;
      task.blocks = pieces[i].sequence->blocks;
      task.pair_begin = pieces[i].begin;
      task.pair_end = pieces[i].end;
      tile(task);
    }
  });
}

void AttentionBackward(const AttentionShape& shape, absl::Span<const AttentionSequence> sequences,
                       const float* q, int64_t ldq, const float* k, int64_t ldk, const float* v, int64_t ldv,
                       const float* out, int64_t ldout, const float* lse, const float* dout, int64_t lddout,
                       float* dq, int64_t lddq, float* dk, int64_t lddk, float* dv, int64_t lddv,
                       ThreadPool& pool) {
  CheckShape(shape);
  const int group = shape.q_heads / shape.kv_heads;
  // A piece is a whole sequence and kv head, unless one of them is more than a thread's share: then dk and dv
  // go by blocks of keys and dq by tiles of rows, at the price of computing the probabilities twice. The
  // chains are the same.
  double longest = 0, total = 0;
  for (const AttentionSequence& sequence : sequences) {
    TEMPER_CHECK(sequence.first_position == 0, "AttentionBackward takes whole sequences, not position ",
                 sequence.first_position);
    const double cost = static_cast<double>(sequence.rows) * static_cast<double>(sequence.rows);
    longest = std::max(longest, cost);
    total += cost * shape.kv_heads;
  }
  const bool split = pool.threads() > 1 && longest * pool.threads() > total;
  enum Part { kAll, kKeys, kRows };
  struct Work {
    Piece piece;
    Part part;
  };
  std::vector<Work> work;
  for (const AttentionSequence& sequence : sequences) {
    if (sequence.rows == 0) continue;
    const int64_t tiles = (sequence.rows + kAttentionBlock - 1) / kAttentionBlock;
    for (int kv_head = 0; kv_head < shape.kv_heads; ++kv_head) {
      if (!split) {
        work.push_back({{&sequence, kv_head, 0, tiles}, kAll});
        continue;
      }
      for (int64_t i = 0; i < tiles; ++i) {
        work.push_back({{&sequence, kv_head, i, i + 1}, kKeys});
        work.push_back({{&sequence, kv_head, tiles - 1 - i, tiles - i}, kRows});
      }
    }
  }
  const auto block = TEMPER_DISPATCH(AttentionBackwardBlock);
  pool.ParallelFor(work.size(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const auto& [piece, part] = work[i];
      const int64_t row = piece.sequence->first_row, rows = piece.sequence->rows;
      const int64_t kv = piece.kv_head, head = kv * group;
      const int64_t tiles = (rows + kAttentionBlock - 1) / kAttentionBlock;
      const AttentionBackwardTask task{
          .group = group,
          .qk_dim = shape.qk_dim,
          .v_dim = shape.v_dim,
          .scale = shape.scale,
          .window = shape.window,
          .rows = rows,
          .q = q + row * ldq + head * shape.qk_dim,
          .k = k + row * ldk + kv * shape.qk_dim,
          .v = v + row * ldv + kv * shape.v_dim,
          .out = out + row * ldout + head * shape.v_dim,
          .dout = dout + row * lddout + head * shape.v_dim,
          .lse = lse + row * shape.q_heads + head,
          .ldq = ldq,
          .ldk = ldk,
          .ldv = ldv,
          .ldout = ldout,
          .lddout = lddout,
          .ldlse = shape.q_heads,
          .dq = dq + row * lddq + head * shape.qk_dim,
          .dk = dk + row * lddk + kv * shape.qk_dim,
          .dv = dv + row * lddv + kv * shape.v_dim,
          .lddq = lddq,
          .lddk = lddk,
          .lddv = lddv,
          .scratch = Scratch(AttentionBackwardScratch(shape.qk_dim, shape.v_dim))};
      const int64_t first = kAttentionBlock * piece.begin;
      const int64_t count = std::min(rows, kAttentionBlock * piece.end) - first;
      if (part != kRows) {
        ZeroRows(task.dk, lddk, first, count, shape.qk_dim);
        ZeroRows(task.dv, lddv, first, count, shape.v_dim);
      }
      if (part != kKeys) ZeroRows(task.dq, lddq, first, count, int64_t{group} * shape.qk_dim);
      if (part == kRows) {
        for (int64_t key = 0; key <= piece.begin; ++key)
          block(task, key, piece.begin, piece.end, true, false);
      } else {
        for (int64_t key = piece.begin; key < piece.end; ++key)
          block(task, key, 0, tiles, part == kAll, true);
      }
    }
  });
}

}  // namespace temper::kernels
