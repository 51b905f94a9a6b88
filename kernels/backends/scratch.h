// SPDX-License-Identifier: Apache-2.0
// Inside the kernels room: how much memory of the device's a call takes beside what it is given. The backend
// that launches takes it by these functions, and the one that counts counts it.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/cuda/adamw.h"
#include "kernels/cuda/attention.h"
#include "kernels/cuda/sample.h"
#include "kernels/token_logprob.h"

namespace temper::kernels {

// In bytes, by use; `staged` of the host's arrays. It is kept, as much of each as any call took.
struct ScratchBytes {
  int64_t work = 0, inputs = 0, outputs = 0, logits = 0, results = 0, words = 0, staged = 0;

  int64_t sum() const { return work + inputs + outputs + logits + results + words + staged; }
  void Grow(const ScratchBytes& call) {
    work = std::max(work, call.work);
    inputs = std::max(inputs, call.inputs);
    outputs = std::max(outputs, call.outputs);
    logits = std::max(logits, call.logits);
    results = std::max(results, call.results);
    words = std::max(words, call.words);
    staged = std::max(staged, call.staged);
  }
};

inline constexpr int64_t kScratchWords = 8;                 // bytes, of what launches report
inline constexpr int64_t kQuantaAtOnce = int64_t{1} << 22;  // 64-bit values beside the leaves
// Blocks that keep a device busy: two on each of an H100's multiprocessors.
inline constexpr int64_t kEnoughBlocks = 264;
inline constexpr int64_t kPairsAtOnce = 64;  // of a row and a head

// Blocks of keys that a sequence has.
inline int64_t PagesOf(const AttentionSequence& s) {
  return s.rows == 0 ? 0 : (s.first_position + s.rows - 1) / kAttentionBlock + 1;
}

// Whether splits of the keys go to blocks of their own, because there are few others.
inline bool SplitsApart(const AttentionTask& task) {
  const int64_t group = task.shape.q_heads / task.shape.kv_heads;
  int64_t pages = 0, blocks = 0;
  for (const AttentionSequence& s : task.sequences) {
    pages = std::max(pages, PagesOf(s));
    blocks += (s.rows * group + kPairsAtOnce - 1) / kPairsAtOnce * task.shape.kv_heads;
  }
  return pages > kAttentionSplit / kAttentionBlock && blocks < kEnoughBlocks;
}

// Rows whose logits exist at once: up to 512 MiB. The head's gradient is read and written once for each tile.
inline int64_t TileRows(int64_t vocab) {
  return std::clamp<int64_t>((int64_t{512} << 20) / (4 * std::max<int64_t>(vocab, 1)), 1, 1024);
}

inline ScratchBytes ScratchOf(const AttentionTask& task) {
  return {.work = SplitsApart(task) ? 4 * FoundFloats(task) : 0};
}
inline ScratchBytes ScratchOf(const AttentionBackwardTask& task) { return {.work = 4 * DeltaFloats(task)}; }
inline ScratchBytes ScratchOf(const RouteShape& shape) { return {.work = 8 * (int64_t{shape.experts} + 1)}; }
inline ScratchBytes ScratchOf(const SampleTask& task) {
  return {.work = SampleScratchBytes(task.logits.rows, task.logits.cols),
          .results = task.logits.rows * static_cast<int64_t>(sizeof(SampledToken))};
}
// Of so many numbers.
inline ScratchBytes ScratchOfQuanta(int64_t n) { return {.work = 8 * std::min(n, kQuantaAtOnce)}; }
inline ScratchBytes ScratchOfSquares(int64_t n) {
  return {.work = n == 0 ? 0 : 8 * (1 + PiecesOfSquares(n))};
}

// Of `rows` that have targets.
inline ScratchBytes ScratchOf(const TokenLogprobsTask& task, int64_t rows) {
  const int64_t vocab = task.head.rows, tile = std::min(TileRows(vocab), rows);
  return {.inputs = 4 * tile * task.hidden.cols,
          .outputs = 4 * tile * kChunks * 2,
          .logits = 4 * tile * vocab,
          .results = 8 * (rows + (3 * rows + 1) / 2)};
}
inline ScratchBytes ScratchOf(const TokenLogprobsBackwardTask& task, int64_t rows) {
  const int64_t vocab = task.head.rows, tile = std::min(TileRows(vocab), rows);
  return {.inputs = 4 * tile * task.hidden.cols,
          .outputs = rows == 0 ? 0 : 4 * (rows + 1) * task.hidden.cols,
          .logits = 4 * tile * vocab};
}

// Arrays of the host's on their way to the device, so many of so many bytes in all.
struct StagedArrays {
  int64_t arrays = 0, bytes = 0;

  static constexpr int64_t kApart = 16;                     // they begin at a multiple of it
  static constexpr int64_t kLeastBytes = int64_t{1} << 20;  // of the memory for them
  int64_t most() const { return bytes + arrays * kApart; }
  // The memory for them, of which there are `taken` bytes so far.
  int64_t Grown(int64_t taken) const { return most() > taken ? std::max(2 * most(), kLeastBytes) : taken; }
};
inline StagedArrays StagedOf(absl::Span<const AttentionSequence> sequences) {
  const auto count = static_cast<int64_t>(sequences.size());
  StagedArrays staged{count + 1, count * static_cast<int64_t>(sizeof(AttentionSequence))};
  for (const AttentionSequence& s : sequences)
    staged.bytes += PagesOf(s) * static_cast<int64_t>(sizeof(void*));
  return staged;
}

}  // namespace temper::kernels
