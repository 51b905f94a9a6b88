// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <utility>

#include "kernels/backends/cpu.h"

namespace temper {

// The processor's, which knows how much of its memory was there at once.
class CountedCpu final : public kernels::CpuBackend {
 public:
  using CpuBackend::CpuBackend;
  std::shared_ptr<void> Allocate(int64_t bytes) override {
    std::shared_ptr<void> memory = CpuBackend::Allocate(bytes);
    bytes_ += bytes;
    peak_bytes_ = std::max(peak_bytes_, bytes_);
    void* const begin = memory.get();
    return {begin, [this, bytes, kept = std::move(memory)](void*) { bytes_ -= bytes; }};
  }
  int64_t peak_bytes() const { return peak_bytes_; }

 private:
  int64_t bytes_ = 0, peak_bytes_ = 0;
};

}  // namespace temper
