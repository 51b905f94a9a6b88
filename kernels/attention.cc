// SPDX-License-Identifier: Apache-2.0
#include "kernels/attention.h"

#include <algorithm>
#include <cstring>
#include <utility>
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

std::vector<Bundle> BundlesOf(absl::Span<const AttentionSequence> sequences) {
  std::vector<Bundle> bundles;
  for (size_t i = 0; i < sequences.size(); ++i) {
    const AttentionSequence& s = sequences[i];
    if (s.first_position == 0) {
      bundles.push_back({sequences.subspan(i, 1), s.rows});
      continue;
    }
    TEMPER_CHECK(!bundles.empty(), "a sequence that begins at position ", s.first_position, " has no prefix");
    Bundle& bundle = bundles.back();
    const AttentionSequence& prefix = bundle.sequences.front();
    TEMPER_CHECK(s.first_position == prefix.rows && s.first_row == prefix.first_row + bundle.rows,
                 "a sequence that begins at position ", s.first_position, ", in row ", s.first_row,
                 ", behind a prefix of ", prefix.rows, " and ", bundle.rows, " rows of the bundle");
    bundle.sequences = {bundle.sequences.data(), bundle.sequences.size() + 1};
    bundle.rows += s.rows;
  }
  return bundles;
}

std::vector<AttentionStrip> StripsOf(const Bundle& bundle) {
  std::vector<AttentionStrip> strips;
  int64_t row = 0;
  for (size_t i = 0; i < bundle.sequences.size(); ++i) {
    const AttentionSequence& s = bundle.sequences[i];
    for (const int64_t first = row, end = row + s.rows; row < end; row += strips.back().count) {
      const int64_t count =
          std::min({int64_t{kAttentionBlock}, end - row, kAttentionSpan - row % kAttentionSpan});
      strips.push_back(
          {row, s.first_position + row - first, static_cast<int>(count), static_cast<int64_t>(i)});
    }
  }
  return strips;
}

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

namespace {

// What one call goes through: all of a bundle, or one of the parts that ranks share out of a whole sequence.
struct BackwardRows {
  AttentionSequence rows;  // as BackwardPiece takes them
  std::vector<AttentionStrip> strips;
  int64_t begin, end;  // of the strips, its own rows'

  // Pairs of queries and keys, twice.
  double Cost() const {
    double cost = 0;
    for (int64_t s = begin; s < end; ++s)
      cost += static_cast<double>(strips[s].count) * static_cast<double>(2 * strips[s].position + 64);
    return cost;
  }
};

std::vector<BackwardRows> RowsOf(const AttentionBackwardTask& task) {
  std::vector<BackwardRows> all;
  if (!task.of_whole) {
    for (const Bundle& bundle : BundlesOf(task.sequences)) {
      std::vector<AttentionStrip> strips = StripsOf(bundle);
      const auto count = static_cast<int64_t>(strips.size());
      all.push_back({{bundle.first_row(), bundle.rows, 0}, std::move(strips), 0, count});
    }
    return all;
  }
  const AttentionSequence whole{0, task.k.rows, 0};
  for (const AttentionSequence& part : task.sequences) {
    const int64_t end = part.first_position + part.rows;
    all.push_back({part, StripsOf({{&whole, 1}, whole.rows}), part.first_position / kAttentionBlock,
                   (end + kAttentionBlock - 1) / kAttentionBlock});
  }
  return all;
}

}  // namespace

void CpuBackend::AttentionBackward(const AttentionBackwardTask& task) {
  const AttentionShape& shape = task.shape;
  CheckShape(shape);
  // A piece is a whole bundle and kv head, unless one of them is more than a thread's share: then dk and dv
  // go by strips of keys and dq by strips of queries, at the price of computing the probabilities twice. The
  // chains are the same.
  const std::vector<BackwardRows> all = RowsOf(task);
  double longest = 0, total = 0;
  for (const BackwardRows& rows : all) {
    longest = std::max(longest, rows.Cost());
    total += rows.Cost() * shape.kv_heads;
  }
  const bool split = task.of_whole || (pool().threads() > 1 && longest * pool().threads() > total);
  enum Part { kAll, kKeys, kRows };
  struct Work {
    const BackwardRows* of;
    int kv_head;
    int64_t begin, end;  // strips
    Part part;
  };
  std::vector<Work> work;
  for (const BackwardRows& rows : all) {
    if (rows.begin == rows.end) continue;
    for (int kv_head = 0; kv_head < shape.kv_heads; ++kv_head) {
      if (!split) {
        work.push_back({&rows, kv_head, rows.begin, rows.end, kAll});
        continue;
      }
      for (int64_t i = rows.begin; i < rows.end; ++i) {
        const int64_t last = rows.begin + rows.end - 1 - i;
        if (!task.of_whole) work.push_back({&rows, kv_head, i, i + 1, kKeys});
        work.push_back({&rows, kv_head, last, last + 1, kRows});
      }
    }
  }
  const auto block = TEMPER_DISPATCH(AttentionBackwardBlock);
  pool().ParallelFor(static_cast<int64_t>(work.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const auto& [of, kv_head, first, behind, part] = work[i];
      AttentionBackwardPiece piece = BackwardPiece(task, of->rows, kv_head);
      piece.strips = of->strips.data();
      float* const scratch = Scratch(AttentionBackwardScratch(piece));
      const AttentionStrip &from = of->strips[first], &to = of->strips[behind - 1];
      if (part != kKeys) ZeroRows(piece.dq.Rows(from.row - piece.first, to.row + to.count - from.row));
      if (part == kRows) {
        for (int64_t keys = 0; keys <= first; ++keys)
          block(piece, {keys, first, behind, true, false}, scratch);
      } else {
        for (int64_t keys = first; keys < behind; ++keys)
          block(piece, {keys, keys, of->end, part == kAll, true}, scratch);
      }
    }
  });
}

}  // namespace temper::kernels
