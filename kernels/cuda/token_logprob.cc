// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/token_logprob.h"

#include "core/check.h"
#include "kernels/cuda/logits.h"

namespace temper::kernels {
namespace TEMPER_DEVICE {
namespace {

static_assert(sizeof(LogSumExp) == 8 && sizeof(LogitPart) == 12);

// A thread has a row.
struct LogprobKernel {
  static constexpr int kThreads = 128, kBlocks = 8;
  struct Args {
    int64_t rows;
    Rows<const float> logits;
    Global<const int32_t> targets;
    int64_t begin;  // the id of the first logit
    Float temperature;
    int count;  // of chunks
    Global<float> sums, logprob;
    Global<float> max_and_log;  // of each row, or none
    Global<float> parts;        // max, sum and target's of each row; or none
  };
  WORD static void Run(const Args& args) {
    const int64_t row = int64_t{Block()} * kThreads + Thread();
    if (row >= args.rows) return;
    const MaxAndSum all = MergeChunks(args.sums, row, args.count);
    const int64_t place = args.targets.At(row) - args.begin;
    Float target = Set(0.0f);
    if (place >= 0 && place < args.logits.cols)
      target = Div(args.logits.Row(row).At(place), Temperature::Of(args.temperature).value);
    if (args.parts) {
      args.parts.Put(3 * row, all.max);
      args.parts.Put(3 * row + 1, all.sum);
      args.parts.Put(3 * row + 2, target);
      return;
    }
    const Float log_sum = Narrow(Log(Widen(all.sum)));
    args.logprob.Put(row, Sub(Sub(target, all.max), log_sum));
    if (!args.max_and_log) return;
    args.max_and_log.Put(2 * row, all.max);
    args.max_and_log.Put(2 * row + 1, log_sum);
  }
};

struct EntropyKernel {
  static constexpr int kThreads = kLogitThreads, kBlocks = 8;
  struct Args {
    Rows<const float> logits;
    Float temperature;
    Global<float> sums;
    Global<double> entropy;
  };
  WORD static void Run(const Args& args) {
    SHARED(float, max_and_log, 2);
    if (Thread() == 0) {
      const MaxAndSum all = MergeChunks(args.sums, Block(), kChunks);
      max_and_log.Put(0, all.max);
      max_and_log.Put(1, Narrow(Log(Widen(all.sum))));
    }
    Sync();
    const ExpSums sums =
        SumExps(args.logits.Row(Block()), args.logits.cols, Temperature::Of(args.temperature),
                max_and_log.At(0), max_and_log.At(1), [](int, Float) {});
    if (Thread() == 0) args.entropy.Put(Block(), Div(sums.entropy, sums.total));
  }
};

struct SoftmaxGradientOp {
  struct Args {
    int64_t rows;
    int cols;
    Rows<float> logits;
    Global<const int32_t> targets;
    int64_t begin;
    Float temperature;
    Global<const float> max_and_log, dlogprob;
  };
  template <int N>
  WORD static void Of(const Args& a, int64_t row, int column) {
    const Temperature scaled = Temperature::Of(a.temperature);
    const Float top = a.max_and_log.At(2 * row), log = a.max_and_log.At(2 * row + 1);
    const Float factor = Div(a.dlogprob.At(row), scaled.value);
    const int64_t target = a.targets.At(row) - a.begin - column;
    Floats<N> logits = Read<N>(a.logits.Row(row), column);
    UNROLL_ALL
    for (int j = 0; j < N; ++j) {
      const Float p = Exp(Sub(Sub(scaled(logits[j]), top), log));
      logits[j] = Mul(Sub(Set(target == j ? 1.0f : 0.0f), p), factor);
    }
    Write(a.logits.Row(row), column, logits);
  }
};

// Which chunks a part of the vocabulary is.
struct ChunkRange {
  int first = 0, count = 0;
};
ChunkRange ChunksOf(const AxisPart& part, int64_t vocab, int64_t whole) {
  ChunkRange range;
  for (int c = 0; c < kChunks; ++c) {
    const int64_t begin = c * whole / kChunks, end = (c + 1) * whole / kChunks;
    if (begin < part.begin || end > part.begin + vocab) continue;
    if (range.count++ == 0) range.first = c;
  }
  return range;
}

}  // namespace

void TokenLogprobs(const TokenLogprobsTask& task, const LogitTile& tile, Stream& stream) {
  const Matrix& logits = tile.logits;
  const int64_t rows = logits.rows, vocab = logits.cols,
                whole = task.part.whole > 0 ? task.part.whole : vocab;
  TEMPER_CHECK(task.parts != nullptr ? task.entropy == nullptr : whole == vocab, "a part of a vocabulary");
  const ChunkRange chunks = ChunksOf(task.part, vocab, whole);
  const Global<float> sums(tile.sums, rows * chunks.count * 2);
  Launch<ChunkKernel>(stream, rows * chunks.count,
                      {.logits = ReadRows(logits),
                       .temperatures = {},
                       .temperature = Set(task.temperature),
                       .begin = task.part.begin,
                       .whole = whole,
                       .first = chunks.first,
                       .count = chunks.count,
                       .sums = sums});
  Launch<LogprobKernel>(stream, CeilOf(rows, LogprobKernel::kThreads),
                        {.rows = rows,
                         .logits = ReadRows(logits),
                         .targets = {task.targets, rows},
                         .begin = task.part.begin,
                         .temperature = Set(task.temperature),
                         .count = chunks.count,
                         .sums = sums,
                         .logprob = {task.logprob, rows},
                         .max_and_log = {reinterpret_cast<float*>(task.sums), 2 * rows},
                         .parts = {reinterpret_cast<float*>(task.parts), 3 * rows}});
  if (task.entropy == nullptr) return;
  Launch<EntropyKernel>(stream, rows,
                        {.logits = ReadRows(logits),
                         .temperature = Set(task.temperature),
                         .sums = sums,
                         .entropy = {task.entropy, rows}});
}

void SoftmaxGradients(const TokenLogprobsBackwardTask& task, const Matrix& logits, Stream& stream) {
  LaunchElements<SoftmaxGradientOp>(
      stream,
      {.rows = logits.rows,
       .cols = static_cast<int>(logits.cols),
       .logits = WriteRows(logits),
       .targets = {task.targets, logits.rows},
       .begin = task.part.begin,
       .temperature = Set(task.temperature),
       .max_and_log = {reinterpret_cast<const float*>(task.sums), 2 * logits.rows},
       .dlogprob = {task.dlogprob, logits.rows}},
      Wide(logits));
}

}  // namespace TEMPER_DEVICE
}  // namespace temper::kernels
