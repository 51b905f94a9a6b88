// SPDX-License-Identifier: Apache-2.0
#include "model/workspace.h"

#include <algorithm>

#include "ATen/ops/empty.h"
#include "core/huge_pages.h"

namespace temper {
namespace {

constexpr int64_t kChunkFloats = int64_t{1} << 20;
constexpr int64_t kAlign = 16;  // floats: one cache line

}  // namespace

float* Workspace::Floats(int64_t count) {
  count = (std::max<int64_t>(count, 1) + kAlign - 1) / kAlign * kAlign;
  while (chunk_ < chunks_.size() && used_ + count > chunks_[chunk_].numel()) {
    ++chunk_;
    used_ = 0;
  }
  if (chunk_ == chunks_.size()) {
    // Chunks grow, so that a large pass ends with few of them.
    const int64_t last =
        chunks_.empty() ? kChunkFloats : std::min(chunks_.back().numel() * 2, kChunkFloats * 64);
    chunks_.push_back(
        at::empty({std::max(count, last)}, at::TensorOptions().dtype(at::kFloat).device(device_)));
    if (device_.is_cpu())
      AdviseHugePages(chunks_.back().mutable_data_ptr<float>(), chunks_.back().numel() * 4);
  }
  float* result = chunks_[chunk_].mutable_data_ptr<float>() + used_;
  used_ += count;
  return result;
}

void Workspace::Release(const Mark& mark) {
  chunk_ = mark.chunk;
  used_ = mark.used;
}

int64_t Workspace::bytes() const {
  int64_t total = 0;
  for (const at::Tensor& chunk : chunks_) total += chunk.numel() * 4;
  return total;
}

}  // namespace temper
