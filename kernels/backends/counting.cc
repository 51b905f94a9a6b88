// SPDX-License-Identifier: Apache-2.0
#include "kernels/backends/counting.h"

#include <sys/mman.h>

#include <algorithm>
#include <new>

#include "kernels/backends/cpu.h"

namespace temper::kernels {

std::shared_ptr<void> CountingBackend::Allocate(int64_t bytes) {
  const size_t mapped = std::max<int64_t>(bytes, 1);
  void* const memory = mmap(nullptr, mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();  // the system's limits, as ulimit -v
  bytes_ += bytes;
  peak_bytes_ = std::max(peak_bytes_, bytes_);
  return {memory, [this, bytes, mapped](void* gone) {
            munmap(gone, mapped);
            bytes_ -= bytes;
          }};
}

int64_t CountingBackend::PackedFloats(int64_t n, int64_t k) const {
  return packs_ ? CpuBackend(&pool()).PackedFloats(n, k) : 0;
}

void CountingBackend::Attention(const AttentionTask& task) {
  Stage(StagedOf(task.sequences));
  scratch_.Grow(ScratchOf(task));
}

void CountingBackend::AttentionBackward(const AttentionBackwardTask& task) {
  const auto count = static_cast<int64_t>(task.sequences.size());
  Stage({1, count * static_cast<int64_t>(sizeof(AttentionSequence))});
  scratch_.Grow(ScratchOf(task));
}

void CountingBackend::TokenLogprobs(const TokenLogprobsTask& task) {
  const int64_t rows = std::count_if(task.targets, task.targets + task.hidden.rows,
                                     [](int32_t target) { return target >= 0; });
  if (rows == 0) return;
  Stage({2, 8 * rows});
  scratch_.Grow(ScratchOf(task, rows));
}

void CountingBackend::TokenLogprobsBackward(const TokenLogprobsBackwardTask& task) {
  const int64_t rows = std::count_if(task.targets, task.targets + task.hidden.rows,
                                     [](int32_t target) { return target >= 0; });
  if (rows == 0) return;
  Stage({5, rows * (12 + static_cast<int64_t>(sizeof(LogSumExp))) + 4 * task.hidden.rows});
  scratch_.Grow(ScratchOf(task, rows));
}

void CountingBackend::Sample(const SampleTask& task) {
  const int64_t rows = task.logits.rows;
  if (rows == 0) return;
  int64_t banned = 0;
  for (const SampleParameters& parameters : task.parameters)
    banned += static_cast<int64_t>(parameters.banned.size());
  Stage({7, rows * (4 * 5 + 8) + 4 + 4 * banned});
  scratch_.Grow(ScratchOf(task));
}

void CountingBackend::Route(const RouteTask& task) {
  scratch_.Grow(ScratchOf(task.shape));
  const int64_t experts = task.shape.experts, entries = task.logits.rows * task.shape.top_k;
  std::vector<int64_t>& offsets = task.routing->offsets;
  offsets.assign(experts + 1, 0);
  for (int64_t e = 0; e < experts; ++e)
    offsets[e + 1] =
        offsets[e] + (task.shape.Has(e) ? entries * (e + 1) / experts - entries * e / experts : 0);
}

}  // namespace temper::kernels
