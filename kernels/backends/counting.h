// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/backend.h"
#include "kernels/backends/scratch.h"

namespace temper::kernels {

// Computes nothing and counts the memory that it is asked for, so that a pass over it takes what the pass
// would take (memory plans). Its memory is of address space alone: who touches it, crashes.
class CountingBackend final : public Backend {
 public:
  // packs: weights take panels as on the CPU. Else none, and calls take what they do on a device of our
  // kernels.
  CountingBackend(ThreadPool* pool, bool packs) : Backend(pool), packs_(packs) {}

  // Of all that is allocated now, and that was at once at most.
  int64_t bytes() const { return bytes_; }
  int64_t peak_bytes() const { return peak_bytes_; }
  // Of the device's, what it has kept for calls so far; not of those above.
  ScratchBytes scratch() const { return packs_ ? ScratchBytes() : scratch_; }
  int64_t scratch_bytes() const { return scratch().sum(); }

  bool exact() const override { return true; }
  bool host_memory() const override { return true; }
  std::shared_ptr<void> Allocate(int64_t bytes) override;
  void Zero(const Matrix&) override {}
  void Copy(const Matrix&, const Matrix&) override {}
  void CopyHeads(const Heads&, const Heads&) override {}
  void CopyToHost(const Matrix&, void*) override {}
  void CopyFromHost(const void*, const Matrix&) override {}
  void Add(const Matrix&, const Matrix&) override {}
  void RoundToBf16(const Matrix&, const Matrix&) override {}
  void Products(absl::Span<const Product>) override {}
  void WeightGradients(absl::Span<const WeightGradient>) override {}
  void BiasGradient(const Matrix&, float*) override {}
  int64_t PackedFloats(int64_t n, int64_t k) const override;
  PackedMatrix Pack(const Matrix&, bool, float*) override { return {}; }
  void RmsNorm(const RmsNormTask&) override {}
  void RmsNormBackward(const RmsNormBackwardTask&) override {}
  void Rotary(const RotaryTask& task) override { Stage({1, 4 * task.x.rows.rows}); }
  void SwiGlu(const SwiGluTask&) override {}
  void SwiGluBackward(const SwiGluBackwardTask&) override {}
  void GatherRows(const GatherRowsTask& task) override { Stage({1, 4 * task.out.rows}); }
  void EmbeddingGradient(const EmbeddingGradientTask& task) override { Stage({1, 4 * task.dout.rows}); }
  void WriteBlocks(const WriteBlocksTask& task) override { Stage(StagedOf(task.sequences)); }
  void Attention(const AttentionTask& task) override;
  void AttentionBackward(const AttentionBackwardTask& task) override;
  void KeySums(const KeySumsTask& task) override { AttentionBackward(task.queries); }
  void JoinKeySums(const JoinKeySumsTask&) override {}
  void Route(const RouteTask& task) override;  // the same number of tokens to every expert
  void RouteBackward(const RouteBackwardTask&) override {}
  void GatherExperts(const GatherExpertsTask&) override {}
  void CombineExperts(const CombineExpertsTask&) override {}
  void CombineExpertsBackward(const CombineExpertsBackwardTask&) override {}
  void ScatterExperts(const ScatterExpertsTask&) override {}
  void TokenLogprobs(const TokenLogprobsTask& task) override;
  // Of all rows that have a target.
  void TokenLogprobsBackward(const TokenLogprobsBackwardTask& task) override;
  void Sample(const SampleTask& task) override;
  bool AddLeaf(float* leaf, LeafSum* sum) override {
    if (sum->second == nullptr) sum->second = leaf;
    return true;
  }
  bool AddQuanta(const LeafSum& sum, int64_t, absl::Span<int64_t>) override {
    scratch_.Grow(ScratchOfQuanta(sum.n));
    return true;
  }
  bool RoundGradient(const LeafSum&) override { return true; }
  AdamWOutcome AdamW(const AdamWTask&) override { return {}; }
  double SumOfSquares(const float*, int64_t n) override {
    scratch_.Grow(ScratchOfSquares(n));
    return 0;
  }
  float Largest(const float*, int64_t) override { return 0; }

 private:
  void Stage(const StagedArrays& call) { scratch_.staged = call.Grown(scratch_.staged); }

  const bool packs_;
  int64_t bytes_ = 0, peak_bytes_ = 0;
  ScratchBytes scratch_{.words = kScratchWords};
};

}  // namespace temper::kernels
