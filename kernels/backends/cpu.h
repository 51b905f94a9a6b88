// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/backend.h"

namespace temper::kernels {

// The fixed orders, on the host's threads with the best instruction set that the machine has (kernels/isa.h).
class CpuBackend : public Backend {
 public:
  using Backend::Backend;

  bool exact() const override { return true; }
  bool host_memory() const override { return true; }
  std::shared_ptr<void> Allocate(int64_t bytes) override;
  void Zero(const Matrix& to) override;
  void Copy(const Matrix& from, const Matrix& to) override;
  void CopyHeads(const Heads& from, const Heads& to) override;
  void CopyToHost(const Matrix& from, void* to) override;
  void CopyFromHost(const void* from, const Matrix& to) override;
  void Add(const Matrix& from, const Matrix& to) override;
  void RoundToBf16(const Matrix& from, const Matrix& to) override;
  void Products(absl::Span<const Product> products) override;
  void WeightGradients(absl::Span<const WeightGradient> gradients) override;
  void BiasGradient(const Matrix& dy, float* dbias) override;
  int64_t PackedFloats(int64_t n, int64_t k) const override;
  PackedMatrix Pack(const Matrix& b, bool transposed, float* panels) override;
  void RmsNorm(const RmsNormTask& task) override;
  void RmsNormBackward(const RmsNormBackwardTask& task) override;
  void Rotary(const RotaryTask& task) override;
  void SwiGlu(const SwiGluTask& task) override;
  void SwiGluBackward(const SwiGluBackwardTask& task) override;
  void GatherRows(const GatherRowsTask& task) override;
  void EmbeddingGradient(const EmbeddingGradientTask& task) override;
  void WriteBlocks(const WriteBlocksTask& task) override;
  void Attention(const AttentionTask& task) override;
  void AttentionBackward(const AttentionBackwardTask& task) override;
  void KeySums(const KeySumsTask& task) override;
  void JoinKeySums(const JoinKeySumsTask& task) override;
  void Route(const RouteTask& task) override;
  void RouteBackward(const RouteBackwardTask& task) override;
  void GatherExperts(const GatherExpertsTask& task) override;
  void CombineExperts(const CombineExpertsTask& task) override;
  void CombineExpertsBackward(const CombineExpertsBackwardTask& task) override;
  void ScatterExperts(const ScatterExpertsTask& task) override;
  void TokenLogprobs(const TokenLogprobsTask& task) override;
  void TokenLogprobsBackward(const TokenLogprobsBackwardTask& task) override;
  void Sample(const SampleTask& task) override;
  bool AddLeaf(float* leaf, LeafSum* sum) override;
  bool AddQuanta(const LeafSum& sum, int64_t first, absl::Span<int64_t> out) override;
  bool RoundGradient(const LeafSum& sum) override;
  AdamWOutcome AdamW(const AdamWTask& task) override;
  double SumOfSquares(const float* x, int64_t n) override;
  float Largest(const float* x, int64_t n) override;
};

}  // namespace temper::kernels
