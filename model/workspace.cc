// SPDX-License-Identifier: Apache-2.0
#include "model/workspace.h"

#include <algorithm>

namespace temper {
namespace {

constexpr int64_t kChunkFloats = int64_t{1} << 20;
constexpr int64_t kAlign = 16;  // floats: one cache line

}  // namespace

float* Workspace::Floats(int64_t count) {
  count = (std::max<int64_t>(count, 1) + kAlign - 1) / kAlign * kAlign;
  while (chunk_ < chunks_.size() && used_ + count > chunks_[chunk_].floats) {
    ++chunk_;
    used_ = 0;
  }
  if (chunk_ == chunks_.size()) {
    // Chunks grow, so that a large pass ends with few of them.
    const int64_t last =
        chunks_.empty() ? kChunkFloats : std::min(chunks_.back().floats * 2, kChunkFloats * 64);
    const int64_t floats = std::max(count, last);
    chunks_.push_back({backend_->Allocate(floats * 4), floats});
  }
  float* result = static_cast<float*>(chunks_[chunk_].memory.get()) + used_;
  used_ += count;
  chunks_[chunk_].taken = std::max(chunks_[chunk_].taken, used_);
  return result;
}

void Workspace::Release(const Mark& mark) {
  chunk_ = mark.chunk;
  used_ = mark.used;
}

int64_t Workspace::bytes() const {
  int64_t total = 0;
  for (const Chunk& chunk : chunks_) total += chunk.taken * 4;
  return total;
}

int64_t Workspace::allocated_bytes() const {
  int64_t total = 0;
  for (const Chunk& chunk : chunks_) total += chunk.floats * 4;
  return total;
}

}  // namespace temper
