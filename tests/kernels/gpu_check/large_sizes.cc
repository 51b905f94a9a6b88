// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "absl/strings/str_cat.h"
#include "tests/kernels/gpu_check/held.h"
#include "tests/kernels/gpu_check/parts.h"

namespace temper::kernels {
namespace {

// More bytes than 2^31 there, to another place there in rows that lie apart, and back.
void CheckCopies(const Checked& device, Results* results) {
  const int64_t rows = 3, cols = device.small ? 10'001 : 250'000'001, apart = cols + cols / 5;
  std::vector<float> host(rows * cols), back(rows * cols);
  device.backend->pool().ParallelFor(rows * cols, 1 << 20, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      host[i] = static_cast<float>(static_cast<uint64_t>(i) * 0x9e3779b97f4a7c15 >> 40);
  });
  const auto flat = device.backend->Allocate(4 * rows * cols),
             spread = device.backend->Allocate(4 * rows * apart);
  const Matrix first = F32(static_cast<const float*>(flat.get()), rows, cols),
               second{spread.get(), Type::kF32, rows, cols, apart};
  device.backend->CopyFromHost(host.data(), F32(first.f32(), 1, rows * cols));
  device.backend->Copy(first, second);
  device.backend->CopyToHost(second, back.data());
  results->Judge(std::memcmp(back.data(), host.data(), 4 * host.size()) == 0,
                 absl::StrCat("copies of ", 4 * host.size(), " bytes"));
}

// The last of more numbers than 2^31 is reached.
void CheckElements(const Checked& device, Results* results) {
  const int64_t count = (device.small ? int64_t{1} << 16 : int64_t{1} << 31) + 12'344;
  Backend& backend = *device.backend;
  const auto memory = backend.Allocate(4 * count), other = backend.Allocate(4 * count);
  const Matrix all = F32(static_cast<const float*>(memory.get()), 1, count),
               copy = F32(static_cast<const float*>(other.get()), 1, count);
  const float three = 3;
  backend.Zero(all);
  backend.CopyFromHost(&three, all.Columns(count - 1, 1));
  const float largest = backend.Largest(all.f32(), count);
  const double squares = backend.SumOfSquares(all.f32(), count);
  backend.Copy(all, copy);
  backend.Add(all, copy);
  float sum = 0, rounded = 0;
  backend.CopyToHost(copy.Columns(count - 1, 1), &sum);
  backend.RoundToBf16(all, copy);
  backend.CopyToHost(copy.Columns(count - 1, 1), &rounded);
  results->Judge(largest == 3 && squares == 9 && sum == 6 && rounded == 3,
                 absl::StrCat("Zero, Largest, SumOfSquares, Copy, Add and RoundToBf16 of ", count,
                              " numbers: ", largest, ", ", squares, ", ", sum, ", ", rounded));
}

}  // namespace

void CheckLargeSizes(const Checked& device, Results* results) {
  CheckCopies(device, results);
  CheckElements(device, results);
}

}  // namespace temper::kernels
