// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/thread_pool.h"

namespace temper::kernels {

// The most GFLOP/s that the pool's threads reach together with the active instruction set: fused
// multiply-adds on registers alone, the best of a few milliseconds. What a benchmark's share of the limit is
// a share of.
double PeakGflops(ThreadPool& pool);

// The most GB/s that the pool's threads read together of memory that no cache keeps: the best of a few walks
// through 512 MiB, which are freed again. What a decode step's share of the memory is a share of.
double PeakReadGbps(ThreadPool& pool);

}  // namespace temper::kernels
