// SPDX-License-Identifier: Apache-2.0
#include "kernels/row_ops.h"

#include <algorithm>
#include <cstring>

#include "absl/functional/function_ref.h"
#include "core/check.h"
#include "kernels/backends/cpu.h"
#include "kernels/convert.h"
#include "kernels/cpu/row_ops.h"
#include "kernels/isa.h"

namespace temper::kernels {
namespace {

// Elements of a piece of work, some microseconds: cheap ones, and those with an exponential.
constexpr int64_t kCheap = 16384;
constexpr int64_t kCostly = 4096;

// So many rows, as pieces of about `elements` of these columns.
struct Cut {
  int64_t rows, cols, elements;
};

// Calls body(begin, end) for ranges that make up all rows.
template <typename Body>
void ForRows(const Cut& cut, ThreadPool& pool, const Body& body) {
  pool.ParallelFor(cut.rows, std::max<int64_t>(1, cut.elements / std::max<int64_t>(cut.cols, 1)), body);
}

// Calls columns(begin, end) for blocks of columns whose rows are one chain.
void ForColumns(const Matrix& size, ThreadPool& pool, absl::FunctionRef<void(int64_t, int64_t)> columns) {
  const int64_t blocks = (size.cols + kNormColumns - 1) / kNormColumns;
  const int64_t grain = std::max<int64_t>(1, kCheap / std::max<int64_t>(size.rows * kNormColumns, 1));
  pool.ParallelFor(blocks, grain, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b)
      columns(b * kNormColumns, std::min(size.cols, (b + 1) * kNormColumns));
  });
}

}  // namespace

void CpuBackend::RmsNorm(const RmsNormTask& task) {
  const auto rows = TEMPER_DISPATCH(NormRows);
  ForRows({task.x.rows, task.x.cols, kCheap}, pool(),
          [&](int64_t begin, int64_t end) { rows(task, begin, end); });
}

void CpuBackend::RmsNormBackward(const RmsNormBackwardTask& task) {
  // dweight first: dx may then overwrite dy.
  const auto chain = TEMPER_DISPATCH(NormWeightColumns);
  ForColumns(task.x, pool(), [&](int64_t begin, int64_t end) { chain(task, begin, end); });
  const auto rows = TEMPER_DISPATCH(NormBackwardRows);
  ForRows({task.x.rows, task.x.cols, kCheap}, pool(),
          [&](int64_t begin, int64_t end) { rows(task, begin, end); });
}

void CpuBackend::Rotary(const RotaryTask& task) {
  TEMPER_CHECK(task.x.dim % 2 == 0, "dim is ", task.x.dim);
  const auto rows = TEMPER_DISPATCH(RotateRows);
  ForRows({task.x.rows.rows, int64_t{task.x.count} * task.x.dim, kCheap}, pool(),
          [&](int64_t begin, int64_t end) { rows(task, begin, end); });
}

void CpuBackend::SwiGlu(const SwiGluTask& task) {
  const auto rows = TEMPER_DISPATCH(SwiGluRows);
  ForRows({task.gate.rows, task.gate.cols, kCostly}, pool(),
          [&](int64_t begin, int64_t end) { rows(task, begin, end); });
}

void CpuBackend::SwiGluBackward(const SwiGluBackwardTask& task) {
  const auto rows = TEMPER_DISPATCH(SwiGluBackwardRows);
  ForRows({task.gate.rows, task.gate.cols, kCostly}, pool(),
          [&](int64_t begin, int64_t end) { rows(task, begin, end); });
}

void CpuBackend::GatherRows(const GatherRowsTask& task) {
  ForRows({task.out.rows, task.out.cols, kCheap}, pool(), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const void* const row = task.x.Rows(task.rows[i], 1).data;
      if (task.x.type == Type::kBf16) {
        BfloatToFloat(task.out.cols, static_cast<const uint16_t*>(row), task.out.Row(i));
      } else {
        TEMPER_CHECK(task.x.type == Type::kF32);
        std::memcpy(task.out.Row(i), row, task.out.cols * sizeof(float));
      }
    }
  });
}

void CpuBackend::EmbeddingGradient(const EmbeddingGradientTask& task) {
  const auto add = TEMPER_DISPATCH(AddRow);
  ForColumns(task.dout, pool(), [&](int64_t begin, int64_t end) {
    for (int64_t i = 0; i < task.dout.rows; ++i)
      add(task.dout.Row(i) + begin, end - begin, task.dtable.Row(task.ids[i]) + begin);
  });
}

}  // namespace temper::kernels
