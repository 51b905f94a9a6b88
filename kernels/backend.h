// SPDX-License-Identifier: Apache-2.0
// Where and how arithmetic is done. Each member's contract is its task's (kernels/*.h); nobody above asks
// which backend it is, exact() apart. Floats of tasks are the backend's memory; what describes a batch (ids
// of tokens, positions, targets, sequences) and results that a task says so of are the host's. One thread
// calls.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "core/thread_pool.h"
#include "kernels/adamw.h"
#include "kernels/attention.h"
#include "kernels/gemm.h"
#include "kernels/gradient_sum.h"
#include "kernels/matrix.h"
#include "kernels/route.h"
#include "kernels/row_ops.h"
#include "kernels/sample.h"
#include "kernels/token_logprob.h"

namespace temper::kernels {

// Calls that a backend has noted, to be done again at once.
class Recording {
 public:
  virtual ~Recording() = default;
  // Does them. What they were given by value is what it was then; the host's arrays still lie where they lay,
  // of the same length, and what is in them now counts: ids, positions, sequences, whose tables of blocks may
  // be elsewhere. No sequence has more rows or positions than it had then.
  virtual void Replay() = 0;
  // Where the device is a simulation, built by g++: makes the calls once more, none of which is done, and
  // throws if one is given anything else by value than then. Else it does nothing.
  virtual void Compare(absl::FunctionRef<void()> calls) = 0;
  // Whether other calls have needed more of the memory that all share since: it keeps what is left for nobody
  // else then, and is better dropped.
  virtual bool IsOutgrown() const = 0;
};

class Backend {
 public:
  explicit Backend(ThreadPool* pool) : pool_(pool) {}
  virtual ~Backend() = default;
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;

  // The host's threads, which share out what is done there.
  ThreadPool& pool() const { return *pool_; }
  // True: every sum has its fixed order (docs/exactness.md). False: results change with batch and packing.
  virtual bool exact() const = 0;
  // True: its memory is the host's, so nothing needs copying between them.
  virtual bool host_memory() const = 0;

  // Memory that is not cleared, from a cache line's start on; it goes back with the last pointer to it.
  virtual std::shared_ptr<void> Allocate(int64_t bytes) = 0;
  virtual void Zero(const Matrix& to) = 0;
  virtual void Copy(const Matrix& from, const Matrix& to) = 0;
  virtual void CopyHeads(const Heads& from, const Heads& to) = 0;
  // Of any type, rows one behind the other on the host.
  virtual void CopyToHost(const Matrix& from, void* to) = 0;
  virtual void CopyFromHost(const void* from, const Matrix& to) = 0;
  // to[i][j] = to[i][j] + from[i][j].
  virtual void Add(const Matrix& from, const Matrix& to) = 0;
  // to = from, each number rounded to the nearest bf16, ties to even. `to` is bf16, or f32 with such numbers;
  // rows lie one behind the other.
  virtual void RoundToBf16(const Matrix& from, const Matrix& to) = 0;

  // Runs independent products (heads, experts, or just one) as one parallel region.
  virtual void Products(absl::Span<const Product> products) = 0;
  virtual void WeightGradients(absl::Span<const WeightGradient> gradients) = 0;
  // dbias[n] continues its chain: for i ascending, dbias[j] = dbias[j] + dy[i][j].
  virtual void BiasGradient(const Matrix& dy, float* dbias) = 0;
  // Floats that the panels of a weight [n, k] take; 0: weights are read as they are.
  virtual int64_t PackedFloats(int64_t n, int64_t k) const = 0;
  // b is [n, k] if transposed, else [k, n]. Writes PackedFloats(n, k) floats, best from a cache line's start
  // on.
  virtual PackedMatrix Pack(const Matrix& b, bool transposed, float* panels) = 0;

  virtual void RmsNorm(const RmsNormTask& task) = 0;
  virtual void RmsNormBackward(const RmsNormBackwardTask& task) = 0;
  virtual void Rotary(const RotaryTask& task) = 0;
  virtual void SwiGlu(const SwiGluTask& task) = 0;
  virtual void SwiGluBackward(const SwiGluBackwardTask& task) = 0;
  virtual void GatherRows(const GatherRowsTask& task) = 0;
  virtual void EmbeddingGradient(const EmbeddingGradientTask& task) = 0;

  virtual void WriteBlocks(const WriteBlocksTask& task) = 0;
  virtual void Attention(const AttentionTask& task) = 0;
  virtual void AttentionBackward(const AttentionBackwardTask& task) = 0;
  virtual void KeySums(const KeySumsTask& task) = 0;
  virtual void JoinKeySums(const JoinKeySumsTask& task) = 0;

  virtual void Route(const RouteTask& task) = 0;
  virtual void RouteBackward(const RouteBackwardTask& task) = 0;
  virtual void GatherExperts(const GatherExpertsTask& task) = 0;
  virtual void CombineExperts(const CombineExpertsTask& task) = 0;
  // Where it records.
  virtual void ExpertProducts(const ExpertProductsTask& task);
  virtual void CombineExpertsBackward(const CombineExpertsBackwardTask& task) = 0;
  virtual void ScatterExperts(const ScatterExpertsTask& task) = 0;

  virtual void TokenLogprobs(const TokenLogprobsTask& task) = 0;
  virtual void TokenLogprobsBackward(const TokenLogprobsBackwardTask& task) = 0;
  virtual void Sample(const SampleTask& task) = 0;

  // Whether Record is worth its while: a call costs the host about as much as it costs to replay hundreds.
  virtual bool records() const { return false; }
  // Notes the calls that `calls` makes, none of which is done. They are those of a forward pass over the
  // cache, with experts whose rows the host is not told (Routing::device_offsets), and without Sample. The
  // recording does not outlive the backend.
  virtual std::unique_ptr<Recording> Record(absl::FunctionRef<void()> calls) { return nullptr; }

  // Adds a leaf of sum->n floats to sums that are not empty, as integers (kernels/gradient_sum.h). A second
  // leaf's memory becomes sum->second and stays the caller's. Whether all values that it counts are in range:
  // the leaf's, of a second one the first's too.
  virtual bool AddLeaf(float* leaf, LeafSum* sum) = 0;
  // out[i] += the quanta of sum [first + i], in the host's memory. Whether all that it counts are in range
  // (of one leaf; those of more were counted).
  virtual bool AddQuanta(const LeafSum& sum, int64_t first, absl::Span<int64_t> out) = 0;
  // sum.first[i] = quanta of the sum [i] x 2^-bits. Whether all that it counts are in range, as above.
  virtual bool RoundGradient(const LeafSum& sum) = 0;
  // The same of the quanta of many ranks: `across` makes of integers in the backend's memory the sums of all
  // ranks', piece after piece, as many on every rank. In a device's memory only; ranks of the host's sum
  // shares of AddQuanta.
  virtual bool RoundGradientAcross(const LeafSum& sum,
                                   absl::FunctionRef<void(int64_t* quanta, int64_t count)> across);
  virtual AdamWOutcome AdamW(const AdamWTask& task) = 0;
  // In f64: pieces of 65,536 elements, each one ascending chain, added ascending.
  virtual double SumOfSquares(const float* x, int64_t n) = 0;
  // The largest magnitude of n numbers, 0 of none; what is no number counts for nothing.
  virtual float Largest(const float* x, int64_t n) = 0;

 private:
  ThreadPool* const pool_;
};

}  // namespace temper::kernels
