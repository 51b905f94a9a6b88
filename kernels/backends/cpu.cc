// SPDX-License-Identifier: Apache-2.0
// The CPU's memory; the rest of the backend lies beside each contract (gemm.cc, attention.cc, ..).
#include "kernels/backends/cpu.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "absl/functional/function_ref.h"
#include "core/check.h"
#include "core/huge_pages.h"
#include "kernels/convert.h"
#include "kernels/cpu/row_ops.h"
#include "kernels/isa.h"

namespace temper::kernels {
namespace {

constexpr int64_t kElements = 16384;  // that one piece of work takes

void CheckShapes(const Matrix& from, const Matrix& to) {
  TEMPER_CHECK(from.rows == to.rows && from.cols == to.cols, from.rows, " x ", from.cols, " and ", to.rows,
               " x ", to.cols);
}

// Two matrices of one shape.
struct Pair {
  const Matrix& from;
  const Matrix& to;
};

// Calls run(from, count, to) for runs of neighbouring numbers that make up both.
void ForRuns(ThreadPool& pool, const Pair& pair, absl::FunctionRef<void(const float*, int64_t, float*)> run) {
  const Matrix &from = pair.from, &to = pair.to;
  CheckShapes(from, to);
  if (from.stride == from.cols && to.stride == to.cols) {
    const float* const source = from.f32();
    float* const target = to.f32();
    return pool.ParallelFor(from.rows * from.cols, kElements, [&](int64_t begin, int64_t end) {
      run(source + begin, end - begin, target + begin);
    });
  }
  const int64_t grain = std::max<int64_t>(1, kElements / std::max<int64_t>(from.cols, 1));
  pool.ParallelFor(from.rows, grain, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) run(from.Row(row), from.cols, to.Row(row));
  });
}

// Numbers of any type.
void CopyNumbers(const Pair& pair) {
  const auto& [from, to] = pair;
  const int64_t each = BytesOf(from.type);
  for (int64_t row = 0; row < from.rows; ++row) {
    std::memcpy(static_cast<char*>(to.data) + row * to.stride * each,
                static_cast<const char*>(from.data) + row * from.stride * each, from.cols * each);
  }
}
// The rows of a matrix one behind the other, somewhere else.
Matrix Dense(void* data, const Matrix& like) { return {data, like.type, like.rows, like.cols, like.cols}; }

void CopyRun(const float* from, int64_t count, float* to) { std::memcpy(to, from, count * sizeof(float)); }

}  // namespace

std::shared_ptr<void> CpuBackend::Allocate(int64_t bytes) {
  auto memory = std::make_shared<FloatBuffer>();
  float* const data = memory->Reserve((bytes + 3) / 4);
  return {std::move(memory), data};
}

void CpuBackend::Zero(const Matrix& to) {
  ForRuns(pool(), {to, to}, [](const float*, int64_t count, float* at) { std::fill_n(at, count, 0.0f); });
}

void CpuBackend::Copy(const Matrix& from, const Matrix& to) { ForRuns(pool(), {from, to}, CopyRun); }

void CpuBackend::CopyHeads(const Heads& from, const Heads& to) {
  TEMPER_CHECK(from.rows.rows == to.rows.rows && from.count == to.count && from.dim == to.dim);
  pool().ParallelFor(from.rows.rows, 32, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      for (int h = 0; h < from.count; ++h)
        CopyRun(from.rows.Row(row) + h * from.apart, from.dim, to.rows.Row(row) + h * to.apart);
    }
  });
}

void CpuBackend::CopyToHost(const Matrix& from, void* to) { CopyNumbers({from, Dense(to, from)}); }

void CpuBackend::CopyFromHost(const void* from, const Matrix& to) {
  CopyNumbers({Dense(const_cast<void*>(from), to), to});
}

void CpuBackend::Add(const Matrix& from, const Matrix& to) {
  ForRuns(pool(), {from, to}, TEMPER_DISPATCH(AddRow));
}

void CpuBackend::RoundToBf16(const Matrix& from, const Matrix& to) {
  CheckShapes(from, to);
  TEMPER_CHECK(from.stride == from.cols && to.stride == to.cols);
  const float* const source = from.f32();
  pool().ParallelFor(from.rows * from.cols, kElements, [&](int64_t begin, int64_t end) {
    if (to.type == Type::kBf16)
      return FloatToBfloat(end - begin, source + begin, static_cast<uint16_t*>(to.data) + begin);
    std::vector<uint16_t> rounded(end - begin);
    FloatToBfloat(end - begin, source + begin, rounded.data());
    BfloatToFloat(end - begin, rounded.data(), to.f32() + begin);
  });
}

}  // namespace temper::kernels
