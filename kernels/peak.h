// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/thread_pool.h"

namespace temper::kernels {

// The most GFLOP/s that the pool's threads reach together with the active instruction set: fused
// multiply-adds on registers alone, the best of a few milliseconds. What a benchmark's share of the limit is
// a share of.
double PeakGflops(ThreadPool& pool);

}  // namespace temper::kernels
