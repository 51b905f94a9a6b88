// SPDX-License-Identifier: Apache-2.0
#include "kernels/attention.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "core/check.h"
#include "core/huge_pages.h"
#include "kernels/backends/cpu.h"
#include "kernels/convert.h"
#include "kernels/cpu/attention.h"
#include "kernels/isa.h"
#include "kernels/pieces.h"

namespace temper::kernels {
namespace {

int64_t Grain(int64_t pieces, const ThreadPool& pool) {
  return std::clamp<int64_t>(pieces / (16 * pool.threads()), 1, 8);
}

void CheckShape(const AttentionShape& s) {
  TEMPER_CHECK(s.kv_heads > 0 && s.q_heads % s.kv_heads == 0 && s.qk_dim > 0 && s.v_dim > 0 &&
                   s.window >= 0 && (s.stored == Type::kF32 || s.stored == Type::kBf16),
               "q_heads ", s.q_heads, ", kv_heads ", s.kv_heads, ", qk_dim ", s.qk_dim, ", v_dim ", s.v_dim);
}

// The same numbers as a block has them.
const float* Stored(const float* from, int64_t, std::vector<float>&) { return from; }
const uint16_t* Stored(const float* from, int64_t count, std::vector<uint16_t>& rounded) {
  rounded.resize(count);
  FloatToBfloat(count, from, rounded.data());
  return rounded.data();
}

// Rows of one block and sequence.
template <typename T>
void WriteRows(const WriteBlocksTask& task, const AttentionPiece& piece) {
  const AttentionShape& s = task.shape;
  const AttentionSequence& sequence = *piece.sequence;
  std::vector<T> keys, values;
  for (int64_t row = piece.begin; row < piece.end; ++row) {
    const int64_t position = sequence.first_position + row;
    const int64_t lane = position % kAttentionBlock;
    T* block = static_cast<T*>(sequence.Block(position / kAttentionBlock, task.layer_offset));
    const T* from_k = Stored(task.k.Row(sequence.first_row + row), s.kv_heads * s.qk_dim, keys);
    const T* from_v = Stored(task.v.Row(sequence.first_row + row), s.kv_heads * s.v_dim, values);
    for (int head = 0; head < s.kv_heads; ++head) {
      for (int d = 0; d < s.qk_dim; ++d) block[d * kAttentionBlock + lane] = from_k[head * s.qk_dim + d];
      block += kAttentionBlock * s.qk_dim;
      std::memcpy(block + lane * s.v_dim, from_v + head * s.v_dim, sizeof(T) * s.v_dim);
      block += kAttentionBlock * s.v_dim;
    }
  }
}

void ZeroRows(const Matrix& to) {
  for (int64_t row = 0; row < to.rows; ++row) std::fill_n(to.Row(row), to.cols, 0.0f);
}

using AttentionFunction = void (*)(const AttentionTask&, const AttentionPiece&, float*);

// Whether pieces are too few for the threads: then splits are shared out, so that one long sequence keeps all
// of them busy.
bool AreFew(const std::vector<AttentionPiece>& pieces, int threads) {
  constexpr int64_t kPiecesOfAThread = 4;
  return threads > 1 && static_cast<int64_t>(pieces.size()) < kPiecesOfAThread * threads;
}

// The splits of pieces; none where there is one split. What they find has its place in `found`.
std::vector<AttentionPiece> SplitsOf(const AttentionTask& task, std::vector<AttentionPiece>& pieces,
                                     FloatBuffer& found) {
  std::vector<AttentionPiece> splits;
  const int group = task.shape.q_heads / task.shape.kv_heads;
  int64_t longest = 0;
  const auto last_split = [&](const AttentionPiece& piece) {
    return (piece.sequence->first_position + (piece.end - 1) / group) / kAttentionSplit;
  };
  for (const AttentionPiece& piece : pieces) longest = std::max(longest, last_split(piece));
  if (longest == 0) return splits;
  const int64_t floats = (longest + 1) * SplitFloats(task.shape.v_dim);
  float* place = found.Reserve(static_cast<int64_t>(pieces.size()) * floats);
  for (AttentionPiece& piece : pieces) {
    piece.found = place;
    place += floats;
    const int64_t position = piece.sequence->first_position + piece.begin / group;
    const int64_t window = task.shape.window;
    piece.split = window == 0 ? 0 : std::max<int64_t>(0, position - window + 1) / kAttentionSplit;
    for (AttentionPiece split = piece; split.split <= last_split(piece); ++split.split)
      splits.push_back(split);
  }
  return splits;
}

}  // namespace

AttentionBackwardPiece BackwardPiece(const AttentionBackwardTask& task, const AttentionSequence& sequence,
                                     int kv_head) {
  const AttentionShape& s = task.shape;
  const int group = s.q_heads / s.kv_heads;
  const auto heads = [&](const Matrix& all, int64_t width) { return all.Columns(kv_head * width, width); };
  const auto at = [&](const Matrix& all, int64_t width) {
    return all ? heads(all.Rows(sequence.first_row, sequence.rows), width) : Matrix();
  };
  const int64_t q = int64_t{group} * s.qk_dim, out = int64_t{group} * s.v_dim;
  return {.shape = s,
          .first_head = s.first_head + int64_t{kv_head} * group,
          .q = at(task.q, q),
          .k = task.of_whole ? heads(task.k, s.qk_dim) : at(task.k, s.qk_dim),
          .v = task.of_whole ? heads(task.v, s.v_dim) : at(task.v, s.v_dim),
          .out = at(task.out, out),
          .dout = at(task.dout, out),
          .dq = at(task.dq, q),
          .dk = at(task.dk, s.qk_dim),
          .dv = at(task.dv, s.v_dim),
          .lse = task.lse + sequence.first_row * s.q_heads + kv_head * group,
          .ranges = task.ranges,
          .first = sequence.first_position};
}

void CpuBackend::WriteBlocks(const WriteBlocksTask& task) {
  CheckShape(task.shape);
  std::vector<AttentionPiece> pieces;
  pieces.reserve(task.sequences.size());
  for (const AttentionSequence& sequence : task.sequences) {
    for (int64_t row = 0; row < sequence.rows; row += kAttentionBlock) {
      pieces.push_back({&sequence, 0, row, std::min<int64_t>(sequence.rows, row + kAttentionBlock)});
    }
  }
  pool().ParallelFor(pieces.size(), Grain(pieces.size(), pool()), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      task.shape.stored == Type::kBf16 ? WriteRows<uint16_t>(task, pieces[i])
                                       : WriteRows<float>(task, pieces[i]);
    }
  });
}

void CpuBackend::Attention(const AttentionTask& task) {
  const AttentionShape& shape = task.shape;
  CheckShape(shape);
  const int group = shape.q_heads / shape.kv_heads;
  std::vector<AttentionPiece> pieces;
  pieces.reserve(task.sequences.size() * shape.kv_heads);
  for (const AttentionSequence& sequence : task.sequences) {
    for (int kv_head = 0; kv_head < shape.kv_heads; ++kv_head) {
      for (int64_t pair = 0; pair < sequence.rows * group; pair += kAttentionTile) {
        pieces.push_back({&sequence, kv_head, pair, std::min(sequence.rows * group, pair + kAttentionTile)});
      }
    }
  }
  const auto run = [&](const std::vector<AttentionPiece>& some, AttentionFunction function) {
    pool().ParallelFor(some.size(), Grain(some.size(), pool()), [&](int64_t begin, int64_t end) {
      float* const scratch = Scratch(AttentionScratch(shape.v_dim));
      for (int64_t i = begin; i < end; ++i) function(task, some[i], scratch);
    });
  };
  FloatBuffer found;
  std::vector<AttentionPiece> splits;
  if (AreFew(pieces, pool().threads())) splits = SplitsOf(task, pieces, found);
  if (splits.empty()) return run(pieces, TEMPER_DISPATCH(AttentionTile));
  run(splits, TEMPER_DISPATCH(AttentionSplit));
  run(pieces, TEMPER_DISPATCH(AttentionMerge));
}

void CpuBackend::AttentionBackward(const AttentionBackwardTask& task) {
  const AttentionShape& shape = task.shape;
  const absl::Span<const AttentionSequence> sequences = task.sequences;
  CheckShape(shape);
  // A piece is a whole sequence and kv head, unless one of them is more than a thread's share: then dk and dv
  // go by blocks of keys and dq by tiles of rows, at the price of computing the probabilities twice. The
  // chains are the same.
  double longest = 0, total = 0;
  for (const AttentionSequence& sequence : sequences) {
    TEMPER_CHECK(task.of_whole || sequence.first_position == 0,
                 "AttentionBackward takes whole sequences, not position ", sequence.first_position);
    const double cost = static_cast<double>(sequence.rows) * static_cast<double>(sequence.rows);
    longest = std::max(longest, cost);
    total += cost * shape.kv_heads;
  }
  const bool split = task.of_whole || (pool().threads() > 1 && longest * pool().threads() > total);
  enum Part { kAll, kKeys, kRows };
  struct Work {
    AttentionPiece piece;
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
        if (!task.of_whole) work.push_back({{&sequence, kv_head, i, i + 1}, kKeys});
        work.push_back({{&sequence, kv_head, tiles - 1 - i, tiles - i}, kRows});
      }
    }
  }
  const auto block = TEMPER_DISPATCH(AttentionBackwardBlock);
  pool().ParallelFor(work.size(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const AttentionPiece& piece = work[i].piece;
      const Part part = work[i].part;
      const int64_t rows = piece.sequence->rows, tiles = (rows + kAttentionBlock - 1) / kAttentionBlock;
      const AttentionBackwardPiece whole = BackwardPiece(task, *piece.sequence, piece.kv_head);
      float* const scratch = Scratch(AttentionBackwardScratch(whole));
      const int64_t first = kAttentionBlock * piece.begin;
      const int64_t count = std::min(rows, kAttentionBlock * piece.end) - first;
      if (part != kKeys) ZeroRows(whole.dq.Rows(first, count));
      if (part == kRows) {
        const int64_t tile = whole.first / kAttentionBlock + piece.begin;
        for (int64_t key = 0; key <= tile; ++key) block(whole, {key, tile, tile + 1, true, false}, scratch);
      } else {
        for (int64_t key = piece.begin; key < piece.end; ++key)
          block(whole, {key, 0, tiles, part == kAll, true}, scratch);
      }
    }
  });
}

}  // namespace temper::kernels
