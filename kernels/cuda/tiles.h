// SPDX-License-Identifier: Apache-2.0
// How 256 threads bring the operands of a product to shared memory, 16 steps of its sum at a time, and take
// them from there. Included only by kernels/cuda/*.cc.
#pragma once

#include "kernels/cuda/device.h"

namespace temper::kernels {
namespace TEMPER_DEVICE {

constexpr int kTileThreads = 256;

// How an operand lies: along, each of its rows has the steps side by side; across, each step is a row.
enum class Lies { kAlong, kAcross };

constexpr int kSteps = 16;
// Rows of steps are apart so that 8 threads that read 16 bytes of 8 rows meet in no bank.
constexpr int kApart = kSteps + 4;

// Of a thread's 4 or 8 rows (columns) of a tile, the i-th: 16 threads share a side.
template <Lies kLies>
WORD int PlaceIn(int thread, int i) {
  return kLies == Lies::kAlong ? thread + 16 * i : 4 * thread + 64 * (i / 4) + i % 4;
}

// Steps [at, at + count) of rows (columns) from `first` on, of `side` that there are.
struct Patch {
  int first, side, at, count;
};

// Brings kSide rows (columns) of at most kDeep steps of a patch; what is beyond it becomes 0.
template <Lies kLies, int kSide, int kWide, int kDeep, typename E>
WORD void Fetch(const Shared<float>& to, const Rows<const E>& from, const Patch& patch) {
  const auto [first, side, at, count] = patch;
  constexpr int kEach = std::is_same_v<E, float> ? kWide : 1;
  UNROLL(1)
  for (int i = Thread(); i < kSide * kDeep / kEach; i += kTileThreads) {
    const bool along = kLies == Lies::kAlong;
    const int line = along ? i / (kDeep / kEach) : i / (kSide / kEach);
    const int place = along ? i % (kDeep / kEach) * kEach : i % (kSide / kEach) * kEach;
    // Of this line: where it is, and how many of its numbers from the place on there are.
    const bool there = along ? first + line < side : line < count;
    const int left = !there ? 0 : along ? count - place : side - first - place;
    const int64_t row = along ? first + line : at + line;
    const int64_t column = along ? at + place : first + place;
    const Shared<float> target = to.From(along ? line * kApart + place : line * kSide + place);
    if constexpr (std::is_same_v<E, float>) {
      CopyAsync<kEach>(target, from.Row(there ? row : 0).From(left > 0 ? column : 0), left);
    } else {
      target.Put(0, left > 0 ? from.Row(row).At(column) : Set(0.0f));
    }
  }
}

// A thread's kEach numbers of kDeep steps from `step` on.
template <Lies kLies, int kSide, int kEach, int kDeep>
WORD void Take(const Shared<float>& from, int thread, int step, Float (&to)[kDeep][kEach]) {
  if constexpr (kLies == Lies::kAlong) {
    UNROLL_ALL
    for (int i = 0; i < kEach; ++i) {
      const Floats<kDeep> x = Read<kDeep>(from, PlaceIn<kLies>(thread, i) * kApart + step);
      UNROLL_ALL
      for (int d = 0; d < kDeep; ++d) to[d][i] = x[d];
    }
  } else {
    UNROLL_ALL
    for (int d = 0; d < kDeep; ++d) {
      UNROLL_ALL
      for (int i = 0; i < kEach; i += 4) {
        const Floats<4> x = Read<4>(from, (step + d) * kSide + PlaceIn<kLies>(thread, i));
        UNROLL_ALL
        for (int j = 0; j < 4; ++j) to[d][i + j] = x[j];
      }
    }
  }
}

// A warp is 4 x 8 threads of the 16 x 16: it reads 4 x 16 and 8 x 16 bytes at a time.
WORD int TileRow() { return Lane() / 8 + 4 * (Warp() / 2); }
WORD int TileColumn() { return Lane() % 8 + 8 * (Warp() % 2); }

}  // namespace TEMPER_DEVICE
}  // namespace temper::kernels
