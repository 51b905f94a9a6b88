// SPDX-License-Identifier: Apache-2.0
#include "kernels/token_logprob.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "core/check.h"
#include "kernels/cpu/token_logprob.h"
#include "kernels/isa.h"
#include "kernels/log.h"

namespace temper::kernels {
namespace {

float Temperature(float temperature) { return temperature == 0.0f ? 1.0f : temperature; }

// Rows whose logits exist at once: about 4 MiB, more where that is few rows, never above 64 MiB.
int64_t TileRows(int64_t vocab) {
  const int64_t row_bytes = vocab * static_cast<int64_t>(sizeof(float));
  const int64_t rows = std::clamp<int64_t>((4 << 20) / row_bytes, 64, 256);
  return std::max<int64_t>(1, std::min<int64_t>(rows, (64 << 20) / row_bytes));
}

// The tile's rows side by side, so that skipped rows cost nothing.
void Gather(const float* from, int64_t ld, const int64_t* rows, int64_t count, int64_t cols,
            std::vector<float>& to) {
  to.resize(count * cols);
  for (int64_t i = 0; i < count; ++i) std::memcpy(&to[i * cols], from + rows[i] * ld, sizeof(float) * cols);
}

}  // namespace

LogSumExp RowLogSumExp(const float* row, int64_t vocab, float temperature) {
  LogSumExp out;
  float sum = 0;
  TEMPER_DISPATCH(MaxAndSum)(row, vocab, Temperature(temperature), &out.max, &sum);
  out.log_sum = static_cast<float>(Log(sum));
  return out;
}

float RowLogprob(const float* row, int64_t id, float temperature, const LogSumExp& sum) {
  return row[id] / Temperature(temperature) - sum.max - sum.log_sum;
}

double RowEntropy(const float* row, int64_t vocab, float temperature, const LogSumExp& sum) {
  const ExpRowResult r =
      TEMPER_DISPATCH(ExpRow)(row, vocab, Temperature(temperature), sum.max, sum.log_sum, nullptr, nullptr);
  return r.entropy / r.total;
}

void TokenLogprobs(const float* hidden, int64_t ldhidden, int64_t rows, int64_t cols, const float* head,
                   const PackedMatrix* packed, int64_t vocab, const int32_t* targets, float temperature,
                   float* logprob, LogSumExp* sums, double* entropy, ThreadPool& pool) {
  std::vector<int64_t> active;
  for (int64_t row = 0; row < rows; ++row) {
    TEMPER_CHECK(targets[row] >= -1 && targets[row] < vocab, "target ", targets[row], " of vocabulary ",
                 vocab);
    if (targets[row] >= 0) {
      active.push_back(row);
      continue;
    }
    logprob[row] = 0;
    if (sums != nullptr) sums[row] = {};
    if (entropy != nullptr) entropy[row] = 0;
  }
  const int64_t tile = std::min<int64_t>(TileRows(vocab), active.size());
  std::vector<float> inputs, logits(tile * vocab);
  for (int64_t begin = 0; begin < static_cast<int64_t>(active.size()); begin += tile) {
    const int64_t count = std::min<int64_t>(tile, active.size() - begin);
    Gather(hidden, ldhidden, &active[begin], count, cols, inputs);
    const Product product{.a = inputs.data(),
                          .lda = cols,
                          .b = head,
                          .ldb = cols,
                          .packed = packed,
                          .c = logits.data(),
                          .ldc = vocab,
                          .m = count,
                          .n = vocab,
                          .k = cols};
    Products({&product, 1}, pool);
    pool.ParallelFor(count, 1, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        const int64_t row = active[begin + i];
        const float* z = &logits[i * vocab];
        const LogSumExp sum = RowLogSumExp(z, vocab, temperature);
        logprob[row] = RowLogprob(z, targets[row], temperature, sum);
        if (sums != nullptr) sums[row] = sum;
        if (entropy != nullptr) entropy[row] = RowEntropy(z, vocab, temperature, sum);
      }
    });
  }
}

void TokenLogprobsBackward(const float* hidden, int64_t ldhidden, int64_t rows, int64_t cols,
                           const float* head, int64_t vocab, const int32_t* targets, float temperature,
                           const LogSumExp* sums, const float* dlogprob, float* dhidden, int64_t lddhidden,
                           float* dhead, ThreadPool& pool) {
  std::vector<int64_t> active;
  for (int64_t row = 0; row < rows; ++row) {
    TEMPER_CHECK(targets[row] >= -1 && targets[row] < vocab, "target ", targets[row], " of vocabulary ",
                 vocab);
    if (targets[row] >= 0 && dlogprob[row] != 0.0f) {
      active.push_back(row);
    } else {
      std::fill_n(dhidden + row * lddhidden, cols, 0.0f);
    }
  }
  const float t = Temperature(temperature);
  const auto gradient = TEMPER_DISPATCH(SoftmaxGradient);
  const int64_t tile = std::min<int64_t>(TileRows(vocab), active.size());
  std::vector<float> inputs, outputs(tile * cols), logits(tile * vocab);
  for (int64_t begin = 0; begin < static_cast<int64_t>(active.size()); begin += tile) {
    const int64_t count = std::min<int64_t>(tile, active.size() - begin);
    Gather(hidden, ldhidden, &active[begin], count, cols, inputs);
    const Product forward{.a = inputs.data(),
                          .lda = cols,
                          .b = head,
                          .ldb = cols,
                          .c = logits.data(),
                          .ldc = vocab,
                          .m = count,
                          .n = vocab,
                          .k = cols};
    Products({&forward, 1}, pool);
    pool.ParallelFor(count, 1, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        const int64_t row = active[begin + i];
        gradient(&logits[i * vocab], vocab, t, sums[row].max, sums[row].log_sum, targets[row],
                 dlogprob[row] / t);
      }
    });
    const Product backward{.a = logits.data(),
                           .lda = vocab,
                           .b = head,
                           .ldb = cols,
                           .b_transposed = false,
                           .c = outputs.data(),
                           .ldc = cols,
                           .m = count,
                           .n = cols,
                           .k = vocab,
                           .k_chunks = kChunks};
    Products({&backward, 1}, pool);
    for (int64_t i = 0; i < count; ++i) {
      std::memcpy(dhidden + active[begin + i] * lddhidden, &outputs[i * cols], sizeof(float) * cols);
    }
    const WeightGradient weights{.dy = logits.data(),
                                 .lddy = vocab,
                                 .x = inputs.data(),
                                 .ldx = cols,
                                 .dw = dhead,
                                 .lddw = cols,
                                 .m = count,
                                 .n = vocab,
                                 .k = cols};
    WeightGradients({&weights, 1}, pool);
  }
}

}  // namespace temper::kernels
