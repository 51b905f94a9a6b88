// SPDX-License-Identifier: Apache-2.0
#include "kernels/token_logprob.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "core/check.h"
#include "core/huge_pages.h"
#include "kernels/backends/cpu.h"
#include "kernels/cpu/token_logprob.h"
#include "kernels/isa.h"
#include "kernels/log.h"

namespace temper::kernels {
namespace {

float Temperature(float temperature) { return temperature == 0.0f ? 1.0f : temperature; }

// Rows whose logits exist at once. The head's gradient is read and written once for each such tile, so that a
// large vocabulary wants as many rows as a small one; up to 160 MiB.
int64_t TileRows(int64_t vocab) {
  const int64_t row_bytes = std::max<int64_t>(vocab, 1) * static_cast<int64_t>(sizeof(float));
  return std::clamp<int64_t>((160 << 20) / row_bytes, 1, 256);
}

// The logits of a tile. They are kept: memory of this size is faulted in anew each time that it is asked for.
float* TileMemory(int64_t floats) {
  static thread_local FloatBuffer buffer;
  return buffer.Reserve(floats);
}

LogitRow WithTemperature(LogitRow row) {
  row.temperature = Temperature(row.temperature);
  return row;
}

// `target` is where the target is in the row; -1: it is in none.
LogitPart PartOf(LogitRow row, int64_t target) {
  row = WithTemperature(row);
  const MaxSum sums = TEMPER_DISPATCH(MaxAndSum)(row);
  return {sums.max, sums.sum, target < 0 ? 0.0f : row.logits[target] / row.temperature};
}

// Some rows of a matrix side by side, so that skipped ones cost nothing: where they lie so anyway, or copied.
class SideBySide {
 public:
  SideBySide(const Matrix& all, absl::Span<const int64_t> rows, FloatBuffer& buffer)
      : all_(all), rows_(rows) {
    const auto count = static_cast<int64_t>(rows.size());
    as_they_lie_ = rows.back() - rows.front() + 1 == count;
    matrix_ =
        as_they_lie_ ? all.Rows(rows.front(), count) : F32(buffer.Reserve(count * all.cols), count, all.cols);
  }
  const Matrix& matrix() const { return matrix_; }

  void Read(ThreadPool& pool) const {
    Copy(pool, [this](int64_t i) { std::memcpy(matrix_.Row(i), all_.Row(rows_[i]), RowBytes()); });
  }
  void Write(ThreadPool& pool) const {
    Copy(pool, [this](int64_t i) { std::memcpy(all_.Row(rows_[i]), matrix_.Row(i), RowBytes()); });
  }

 private:
  size_t RowBytes() const { return sizeof(float) * all_.cols; }
  template <class F>
  void Copy(ThreadPool& pool, F row) const {
    if (as_they_lie_) return;
    pool.ParallelFor(matrix_.rows, 64, [&row](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) row(i);
    });
  }

  const Matrix all_;
  const absl::Span<const int64_t> rows_;
  bool as_they_lie_ = false;
  Matrix matrix_;
};

// Of a tile's rows of hidden, and of their gradients.
FloatBuffer& HiddenMemory() {
  static thread_local FloatBuffer buffer;
  return buffer;
}
FloatBuffer& GradientMemory() {
  static thread_local FloatBuffer buffer;
  return buffer;
}

// Logits of `rows` rows, which a task has kept or are made tile by tile.
struct Tiles {
  int64_t rows;  // of one
  float* memory;
};
Tiles TilesOf(const Matrix& kept, int64_t rows, int64_t vocab) {
  if (!kept) return {std::min(TileRows(vocab), rows), TileMemory(std::min(TileRows(vocab), rows) * vocab)};
  TEMPER_CHECK(kept.rows >= rows && kept.cols == vocab && kept.stride == vocab, "no memory for logits");
  return {rows, kept.f32()};
}

// Where a target is among a part's logits; -1: it is no part of them.
int64_t PlaceOf(int32_t target, const AxisPart& part, int64_t vocab) {
  const int64_t place = target - part.begin;
  return place >= 0 && place < vocab ? place : -1;
}

void CheckTarget(int32_t target, int64_t vocab) {
  TEMPER_CHECK(target >= -1 && target < vocab, "target ", target, " of vocabulary ", vocab);
}

}  // namespace

LogSumExp RowLogSumExp(const LogitRow& row) {
  const MaxSum all = TEMPER_DISPATCH(MaxAndSum)(WithTemperature(row));
  return {all.max, static_cast<float>(Log(all.sum))};
}

float RowLogprob(const LogitRow& row, int64_t id, const LogSumExp& sum) {
  return row.logits[id] / Temperature(row.temperature) - sum.max - sum.log_sum;
}

double RowEntropy(const LogitRow& row, const LogSumExp& sum) {
  const ExpRowResult r = TEMPER_DISPATCH(ExpRow)(WithTemperature(row), sum, nullptr);
  return r.entropy / r.total;
}

void JoinLogprobs(const JoinLogprobsTask& task) {
  const int64_t rows = static_cast<int64_t>(task.targets.size());
  const int count = rows == 0 ? 1 : static_cast<int>(static_cast<int64_t>(task.parts.size()) / rows);
  TEMPER_CHECK(count <= kChunks && kChunks % count == 0, count, " parts");
  const auto merge = TEMPER_DISPATCH(MergeAll);
  for (int64_t row = 0; row < rows; ++row) {
    const int32_t target = task.targets[row];
    CheckTarget(target, task.vocab);
    LogSumExp sum;
    task.logprob[row] = 0;
    if (target >= 0) {
      MaxSum sums[kChunks];
      int owner = 0;
      for (int p = 0; p < count; ++p) {
        const LogitPart& part = task.parts[p * rows + row];
        sums[p] = {part.max, part.sum};
        if (p * task.vocab / count <= target) owner = p;
      }
      const MaxSum all = merge(sums, count);
      sum = {all.max, static_cast<float>(Log(all.sum))};
      task.logprob[row] = task.parts[owner * rows + row].target - sum.max - sum.log_sum;
    }
    if (task.sums != nullptr) task.sums[row] = sum;
  }
}

void CpuBackend::TokenLogprobs(const TokenLogprobsTask& task) {
  const int64_t vocab = task.head.rows, whole = task.part.whole > 0 ? task.part.whole : vocab;
  TEMPER_CHECK(task.parts != nullptr ? task.entropy == nullptr : whole == vocab, "a part of a vocabulary");
  std::vector<int64_t> active;
  for (int64_t row = 0; row < task.hidden.rows; ++row) {
    CheckTarget(task.targets[row], whole);
    if (task.targets[row] >= 0) {
      active.push_back(row);
      continue;
    }
    if (task.parts != nullptr) continue;
    task.logprob[row] = 0;
    if (task.sums != nullptr) task.sums[row] = {};
    if (task.entropy != nullptr) task.entropy[row] = 0;
  }
  const Tiles tiles = TilesOf(task.logits, static_cast<int64_t>(active.size()), vocab);
  for (size_t begin = 0; begin < active.size(); begin += tiles.rows) {
    const auto rows = absl::MakeConstSpan(active).subspan(begin, tiles.rows);
    const Matrix logits = F32(tiles.memory, static_cast<int64_t>(rows.size()), vocab);
    const SideBySide hidden(task.hidden, rows, HiddenMemory());
    hidden.Read(pool());
    Products({{.a = hidden.matrix(), .b = task.head, .packed = task.packed, .c = logits}});
    pool().ParallelFor(logits.rows, 1, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        const int64_t row = rows[i];
        const LogitRow z{logits.Row(i), vocab, task.temperature, task.part};
        if (task.parts != nullptr) {
          task.parts[row] = PartOf(z, PlaceOf(task.targets[row], task.part, vocab));
          continue;
        }
        const LogSumExp sum = RowLogSumExp(z);
        task.logprob[row] = RowLogprob(z, task.targets[row], sum);
        if (task.sums != nullptr) task.sums[row] = sum;
        if (task.entropy != nullptr) task.entropy[row] = RowEntropy(z, sum);
      }
    });
  }
}

void CpuBackend::TokenLogprobsBackward(const TokenLogprobsBackwardTask& task) {
  const int64_t vocab = task.head.rows, cols = task.hidden.cols;
  std::vector<int64_t> active;
  std::vector<int64_t> kept;  // of each, which of the kept logits are its own
  int64_t targets = 0;
  for (int64_t row = 0; row < task.hidden.rows; ++row) {
    CheckTarget(task.targets[row], task.part.whole > 0 ? task.part.whole : vocab);
    if (task.targets[row] >= 0 && task.dlogprob[row] != 0.0f) {
      active.push_back(row);
      kept.push_back(targets);
    } else {
      std::fill_n(task.dhidden.Row(row), cols, 0.0f);
    }
    targets += task.targets[row] >= 0 ? 1 : 0;
  }
  const float t = Temperature(task.temperature);
  const auto gradient = TEMPER_DISPATCH(SoftmaxGradient);
  const Tiles tiles = TilesOf(task.logits, static_cast<int64_t>(active.size()), vocab);
  for (size_t begin = 0; begin < active.size(); begin += tiles.rows) {
    const auto rows = absl::MakeConstSpan(active).subspan(begin, tiles.rows);
    const auto count = static_cast<int64_t>(rows.size());
    const Matrix logits = F32(tiles.memory, count, vocab);
    const SideBySide hidden(task.hidden, rows, HiddenMemory()), dhidden(task.dhidden, rows, GradientMemory());
    hidden.Read(pool());
    if (!task.logits) {
      Products({{.a = hidden.matrix(), .b = task.head, .packed = task.packed, .c = logits}});
    } else if (count < targets) {
      for (int64_t i = 0; i < count; ++i)
        std::memmove(logits.Row(i), task.logits.Row(kept[i]), sizeof(float) * vocab);
    }
    pool().ParallelFor(count, 1, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        const int64_t row = rows[i];
        gradient({logits.Row(i), vocab, t, task.sums[row].max, task.sums[row].log_sum,
                  PlaceOf(task.targets[row], task.part, vocab), task.dlogprob[row] / t});
      }
    });
    Products({{.a = logits,
               .b = task.head,
               .b_transposed = false,
               .c = dhidden.matrix(),
               .k_chunks = kChunks,
               .part = task.part}});
    dhidden.Write(pool());
    WeightGradients({{.dy = logits, .x = hidden.matrix(), .dw = task.dhead}});
  }
}

}  // namespace temper::kernels
