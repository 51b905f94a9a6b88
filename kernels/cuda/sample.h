// SPDX-License-Identifier: Apache-2.0
// The launch of kernels/sample.h. None has run on a device yet.
#pragma once

#include <vector>

#include "kernels/cuda/stream.h"
#include "kernels/gemm.h"
#include "kernels/sample.h"

namespace temper::kernels {

// SampleTask as the device has it: all pointers are of its memory. The parameters of the rows lie in arrays
// of their own; row r's banned ids are banned[banned_begin[r]] to banned[banned_begin[r + 1] - 1].
struct DeviceSampleTask {
  Matrix logits = {};
  const float *temperatures = nullptr, *top_p = nullptr, *min_p = nullptr;
  const int32_t* top_k = nullptr;
  const int32_t *banned = nullptr, *banned_begin = nullptr;
  const double* uniforms = nullptr;
  SampledToken* tokens = nullptr;
  void* scratch = nullptr;  // SampleScratchBytes, at a multiple of 8
};
// The parameters of some rows in those arrays, on the host.
struct SampleArrays {
  explicit SampleArrays(absl::Span<const SampleParameters> rows) {
    for (const SampleParameters& row : rows) {
      temperatures.push_back(row.temperature);
      top_p.push_back(row.top_p);
      min_p.push_back(row.min_p);
      top_k.push_back(row.top_k);
      banned.insert(banned.end(), row.banned.begin(), row.banned.end());
      banned_begin.push_back(static_cast<int32_t>(banned.size()));
    }
  }
  // The task with these arrays, where they lie here.
  DeviceSampleTask With(DeviceSampleTask task) const {
    task.temperatures = temperatures.data();
    task.top_p = top_p.data();
    task.min_p = min_p.data();
    task.top_k = top_k.data();
    task.banned = banned.data();
    task.banned_begin = banned_begin.data();
    return task;
  }
  std::vector<float> temperatures, top_p, min_p;
  std::vector<int32_t> top_k, banned, banned_begin = {0};
};

inline constexpr int64_t kMostSampled = int64_t{1} << 22;  // of a vocabulary
inline int64_t SampleScratchBytes(int64_t rows, int64_t vocab) {
  return rows * (8 * ((vocab + kSampleBlock - 1) / kSampleBlock) + 8 * kChunks + 8 * vocab);
}

#define TEMPER_DEVICE_SAMPLE(DEVICE)                                                                       \
  namespace DEVICE {                                                                                       \
  /* A block a row. The entropy's chain of f64 over 1/16 of the row bounds it, 8 clocks a step: 40 us of   \
     129,280 logits for up to 528 rows, in which the exponentials hide; a token then takes 15 us more,     \
     blocks and the chain in one. top-k: 3 or more walks through the row in the cache, 20 us. top-p: the   \
     same and 15 us of sorting and adding for each 512 ids that it keeps. Memory: 20 bytes a logit, 10% of \
     what there is at 64 rows. */                                                                          \
  void Sample(const DeviceSampleTask& task, Stream& stream);                                               \
  }
TEMPER_DEVICE_SAMPLE(sim)
TEMPER_DEVICE_SAMPLE(sm90)
#undef TEMPER_DEVICE_SAMPLE

}  // namespace temper::kernels
