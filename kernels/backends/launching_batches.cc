// SPDX-License-Identifier: Apache-2.0
// Of the device's backend the tasks that are told of tokens by arrays of the host's.
#include <algorithm>

#include "core/check.h"
#include "kernels/backends/launching.h"
#include "kernels/cuda/products.h"
#include "kernels/cuda/row_ops.h"
#include "kernels/cuda/sample.h"
#include "kernels/cuda/token_logprob.h"

namespace temper::kernels {
namespace TEMPER_DEVICE {
namespace {

void CheckTarget(int32_t target, int64_t vocab) {
  TEMPER_CHECK(target >= -1 && target < vocab, "target ", target, " of vocabulary ", vocab);
}

template <typename T>
absl::Span<const T> Array(const T* data, int64_t count) {
  return {data, static_cast<size_t>(count)};
}

}  // namespace

void LaunchingBackend::Rotary(const RotaryTask& task) {
  RotaryTask placed = task;
  std::tie(placed.positions) = Send(Array(task.positions, task.x.rows.rows));
  TEMPER_DEVICE::Rotary(placed, stream_);
}

void LaunchingBackend::GatherRows(const GatherRowsTask& task) {
  GatherRowsTask placed = task;
  std::tie(placed.rows) = Send(Array(task.rows, task.out.rows));
  TEMPER_DEVICE::GatherRows(placed, stream_);
}

void LaunchingBackend::ExpertProducts(const ExpertProductsTask& task) {
  // The kernel reads all 16 bytes at a time where it can read `like` so.
  const auto is_wide = [](const void* weight) { return reinterpret_cast<uintptr_t>(weight) % 16 == 0; };
  if (is_wide(task.like.data) && task.like.stride * BytesOf(task.like.type) % 16 == 0) {
    for (int e = 0; e < task.experts; ++e)
      TEMPER_CHECK(is_wide(task.weights[e]), "the weights of expert ", e, " of ", task.experts,
                   " do not begin at a multiple of 16 bytes");
  }
  ExpertProductsTask placed = task;
  std::tie(placed.weights) = Send(Array(task.weights, task.experts));
  TEMPER_DEVICE::ExpertProducts(placed, stream_);
}

void LaunchingBackend::EmbeddingGradient(const EmbeddingGradientTask& task) {
  EmbeddingGradientTask placed = task;
  std::tie(placed.ids) = Send(Array(task.ids, task.dout.rows));
  TEMPER_DEVICE::EmbeddingGradient(placed, stream_);
}

AttentionPlace LaunchingBackend::Place(absl::Span<const AttentionSequence> sequences, int64_t layer_offset) {
  if (recording_ != nullptr) return {.sequences = recording_->Sequences(sequences, layer_offset, stream_)};
  std::vector<AttentionSequence> placed(sequences.begin(), sequences.end());
  staging_.Begin(StagedOf(sequences));
  std::vector<void*> blocks;
  for (AttentionSequence& s : placed) {
    blocks.clear();
    for (int64_t b = 0; b < PagesOf(s); ++b) blocks.push_back(s.Block(b, layer_offset));
    s.blocks = staging_.Add(absl::MakeConstSpan(blocks));
  }
  const AttentionPlace place{.sequences = staging_.Add(absl::MakeConstSpan(placed))};
  staging_.Send();
  return place;
}

void LaunchingBackend::WriteBlocks(const WriteBlocksTask& task) {
  TEMPER_DEVICE::WriteBlocks(task, Place(task.sequences, task.layer_offset), stream_);
}

void LaunchingBackend::Attention(const AttentionTask& task) {
  AttentionPlace place = Place(task.sequences, task.layer_offset);
  if (const int64_t floats = ScratchOf(task).work / 4; floats > 0) {
    place.found = recording_ == nullptr ? Work().Reserve<float>(floats) : recording_->Floats(floats);
  }
  TEMPER_DEVICE::Attention(task, place, stream_);
}

AttentionBackwardPlace LaunchingBackend::Place(const AttentionBackwardTask& task) {
  std::vector<AttentionSequence> sequences(task.sequences.begin(), task.sequences.end());
  for (AttentionSequence& s : sequences) s.blocks = nullptr;  // they are not read
  AttentionBackwardPlace place;
  std::tie(place.sequences) = Send(absl::MakeConstSpan(sequences));
  place.deltas = Work().Reserve<float>(ScratchOf(task).work / 4);
  return place;
}

void LaunchingBackend::AttentionBackward(const AttentionBackwardTask& task) {
  TEMPER_DEVICE::AttentionBackward(task, Place(task), stream_);
}

void LaunchingBackend::KeySums(const KeySumsTask& task) {
  TEMPER_DEVICE::KeySums(task, Place(task.queries), stream_);
}

void LaunchingBackend::JoinKeySums(const JoinKeySumsTask& task) { TEMPER_DEVICE::JoinKeySums(task, stream_); }

void LaunchingBackend::ForTiles(const HeadRows& of,
                                absl::FunctionRef<void(int64_t begin, const LogitsOfRows& tile)> body) {
  const int64_t cols = of.hidden.cols, vocab = of.head.rows, most = std::min(TileRows(vocab), of.count);
  const Matrix hidden = F32(inputs_.Reserve<float>(most * cols), most, cols);
  const Matrix logits = F32(logits_.Reserve<float>(most * vocab), most, vocab);
  for (int64_t begin = 0; begin < of.count; begin += most) {
    const int64_t count = std::min(most, of.count - begin);
    const LogitsOfRows tile{hidden.Rows(0, count), logits.Rows(0, count)};
    TEMPER_DEVICE::GatherRows({of.hidden, of.rows + begin, tile.hidden}, stream_);
    TEMPER_DEVICE::Products({{.a = tile.hidden, .b = of.head, .c = tile.logits}}, stream_);
    body(begin, tile);
  }
}

void LaunchingBackend::TokenLogprobs(const TokenLogprobsTask& task) {
  const int64_t vocab = task.head.rows, whole = task.part.whole > 0 ? task.part.whole : vocab;
  std::vector<int32_t> rows, targets;  // that have a target
  for (int64_t row = 0; row < task.hidden.rows; ++row) {
    CheckTarget(task.targets[row], whole);
    if (task.targets[row] >= 0) {
      rows.push_back(static_cast<int32_t>(row));
      targets.push_back(task.targets[row]);
      continue;
    }
    if (task.parts != nullptr) continue;
    task.logprob[row] = 0;
    if (task.sums != nullptr) task.sums[row] = {};
    if (task.entropy != nullptr) task.entropy[row] = 0;
  }
  const auto all = static_cast<int64_t>(rows.size());
  if (all == 0) return;
  TokenLogprobsTask sent = task;
  const int32_t* device_rows = nullptr;
  std::tie(device_rows, sent.targets) = Send(absl::MakeConstSpan(rows), absl::MakeConstSpan(targets));
  float* const chunk_sums = outputs_.Reserve<float>(std::min(TileRows(vocab), all) * kChunks * 2);
  // Of all rows: entropies, then parts or logprobs and sums.
  auto* const entropies = results_.Reserve<double>(all + (3 * all + 1) / 2);
  auto* const numbers = reinterpret_cast<float*>(entropies + all);
  auto* const sums = reinterpret_cast<LogSumExp*>(numbers + all);
  auto* const parts = reinterpret_cast<LogitPart*>(numbers);
  ForTiles({task.hidden, task.head, device_rows, all}, [&](int64_t begin, const LogitsOfRows& tile) {
    TokenLogprobsTask placed = sent;
    placed.targets += begin;
    placed.logprob = task.parts == nullptr ? numbers + begin : nullptr;
    placed.sums = task.parts == nullptr ? sums + begin : nullptr;
    placed.entropy = task.entropy == nullptr ? nullptr : entropies + begin;
    placed.parts = task.parts == nullptr ? nullptr : parts + begin;
    TEMPER_DEVICE::TokenLogprobs(placed, {tile.logits, chunk_sums}, stream_);
  });
  if (task.parts != nullptr) {
    const std::vector<LogitPart> read = Read(parts, all);
    for (int64_t i = 0; i < all; ++i) task.parts[rows[i]] = read[i];
    return;
  }
  const std::vector<float> read = Read(numbers, all);
  for (int64_t i = 0; i < all; ++i) task.logprob[rows[i]] = read[i];
  if (task.sums != nullptr) {
    const std::vector<LogSumExp> read_sums = Read(sums, all);
    for (int64_t i = 0; i < all; ++i) task.sums[rows[i]] = read_sums[i];
  }
  if (task.entropy != nullptr) {
    const std::vector<double> read_entropies = Read(entropies, all);
    for (int64_t i = 0; i < all; ++i) task.entropy[rows[i]] = read_entropies[i];
  }
}

void LaunchingBackend::TokenLogprobsBackward(const TokenLogprobsBackwardTask& task) {
  const int64_t vocab = task.head.rows, cols = task.hidden.cols, all_rows = task.hidden.rows;
  std::vector<int32_t> rows, targets, place(all_rows);  // that have a gradient; of each row among those
  std::vector<LogSumExp> sums;
  std::vector<float> dlogprobs;
  for (int64_t row = 0; row < all_rows; ++row) {
    CheckTarget(task.targets[row], task.part.whole > 0 ? task.part.whole : vocab);
    place[row] = -1;
    if (task.targets[row] < 0 || task.dlogprob[row] == 0.0f) continue;
    place[row] = static_cast<int32_t>(rows.size());
    rows.push_back(static_cast<int32_t>(row));
    targets.push_back(task.targets[row]);
    sums.push_back(task.sums[row]);
    dlogprobs.push_back(task.dlogprob[row]);
  }
  const auto all = static_cast<int64_t>(rows.size());
  if (all == 0) return Zero(task.dhidden);
  for (int32_t& at : place) at = at < 0 ? static_cast<int32_t>(all) : at;  // a row of zeros
  TokenLogprobsBackwardTask sent = task;
  const int32_t *device_rows = nullptr, *device_place = nullptr;
  std::tie(device_rows, sent.targets, device_place, sent.sums, sent.dlogprob) =
      Send(absl::MakeConstSpan(rows), absl::MakeConstSpan(targets), absl::MakeConstSpan(place),
           absl::MakeConstSpan(sums), absl::MakeConstSpan(dlogprobs));
  const Matrix outputs = F32(outputs_.Reserve<float>((all + 1) * cols), all + 1, cols);
  Zero(outputs.Rows(all, 1));
  ForTiles({task.hidden, task.head, device_rows, all}, [&](int64_t begin, const LogitsOfRows& tile) {
    TokenLogprobsBackwardTask placed = sent;
    placed.targets += begin;
    placed.sums += begin;
    placed.dlogprob += begin;
    SoftmaxGradients(placed, tile.logits, stream_);
    TEMPER_DEVICE::Products({{.a = tile.logits,
                              .b = task.head,
                              .b_transposed = false,
                              .c = outputs.Rows(begin, tile.logits.rows),
                              .k_chunks = kChunks,
                              .part = task.part}},
                            stream_);
    TEMPER_DEVICE::WeightGradients({{.dy = tile.logits, .x = tile.hidden, .dw = task.dhead}}, stream_);
  });
  TEMPER_DEVICE::GatherRows({outputs, device_place, task.dhidden}, stream_);
}

void LaunchingBackend::Sample(const SampleTask& task) {
  const int64_t rows = task.logits.rows;
  if (rows == 0) return;
  const SampleArrays arrays(task.parameters);
  DeviceSampleTask placed{.logits = task.logits};
  std::tie(placed.temperatures, placed.top_p, placed.min_p, placed.top_k, placed.banned, placed.banned_begin,
           placed.uniforms) =
      Send(absl::MakeConstSpan(arrays.temperatures), absl::MakeConstSpan(arrays.top_p),
           absl::MakeConstSpan(arrays.min_p), absl::MakeConstSpan(arrays.top_k),
           absl::MakeConstSpan(arrays.banned), absl::MakeConstSpan(arrays.banned_begin), task.uniforms);
  placed.tokens = results_.Reserve<SampledToken>(rows);
  placed.scratch = Work().Reserve<char>(ScratchOf(task).work);
  TEMPER_DEVICE::Sample(placed, stream_);
  ReadBytes(placed.tokens, rows * static_cast<int64_t>(sizeof(SampledToken)), task.tokens.data());
}

}  // namespace TEMPER_DEVICE
}  // namespace temper::kernels
