// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "c10/core/Device.h"
#include "core/check.h"
#include "kernels/backend.h"

namespace temper {

// LibTorch's ops on a device, for CUDA until temper has its own kernels there. LibTorch orders the sums as it
// likes: not exact. Works on the CPU too, which is how it is tested.
class TorchBackend : public kernels::Backend {
 public:
  TorchBackend(at::Device device, ThreadPool* pool) : Backend(pool), device_(device) {}

  bool exact() const override { return false; }
  bool host_memory() const override { return device_.is_cpu(); }
  std::shared_ptr<void> Allocate(int64_t bytes) override;
  void Zero(const kernels::Matrix& to) override;
  void Copy(const kernels::Matrix& from, const kernels::Matrix& to) override;
  void CopyHeads(const kernels::Heads& from, const kernels::Heads& to) override;
  void CopyToHost(const kernels::Matrix& from, void* to) override;
  void CopyFromHost(const void* from, const kernels::Matrix& to) override;
  void Add(const kernels::Matrix& from, const kernels::Matrix& to) override;
  void RoundToBf16(const kernels::Matrix& from, const kernels::Matrix& to) override;
  void Products(absl::Span<const kernels::Product> products) override;
  void WeightGradients(absl::Span<const kernels::WeightGradient> gradients) override;
  void BiasGradient(const kernels::Matrix& dy, float* dbias) override;
  int64_t PackedFloats(int64_t n, int64_t k) const override;
  kernels::PackedMatrix Pack(const kernels::Matrix& b, bool transposed, float* panels) override;
  void RmsNorm(const kernels::RmsNormTask& task) override;
  void RmsNormBackward(const kernels::RmsNormBackwardTask& task) override;
  void Rotary(const kernels::RotaryTask& task) override;
  void SwiGlu(const kernels::SwiGluTask& task) override;
  void SwiGluBackward(const kernels::SwiGluBackwardTask& task) override;
  void GatherRows(const kernels::GatherRowsTask& task) override;
  void EmbeddingGradient(const kernels::EmbeddingGradientTask& task) override;
  void WriteBlocks(const kernels::WriteBlocksTask& task) override;
  void Attention(const kernels::AttentionTask& task) override;
  void AttentionBackward(const kernels::AttentionBackwardTask& task) override;
  // No ranks share its sequences.
  void KeySums(const kernels::KeySumsTask&) override { TEMPER_CHECK(false, "KeySums"); }
  void JoinKeySums(const kernels::JoinKeySumsTask&) override { TEMPER_CHECK(false, "JoinKeySums"); }
  void Route(const kernels::RouteTask& task) override;
  void RouteBackward(const kernels::RouteBackwardTask& task) override;
  void GatherExperts(const kernels::GatherExpertsTask& task) override;
  void CombineExperts(const kernels::CombineExpertsTask& task) override;
  void CombineExpertsBackward(const kernels::CombineExpertsBackwardTask& task) override;
  void ScatterExperts(const kernels::ScatterExpertsTask& task) override;
  void TokenLogprobs(const kernels::TokenLogprobsTask& task) override;
  void TokenLogprobsBackward(const kernels::TokenLogprobsBackwardTask& task) override;
  void Sample(const kernels::SampleTask& task) override;
  bool AddLeaf(float* leaf, kernels::LeafSum* sum) override;
  bool AddQuanta(const kernels::LeafSum& sum, int64_t first, absl::Span<int64_t> out) override;
  bool RoundGradient(const kernels::LeafSum& sum) override;
  kernels::AdamWOutcome AdamW(const kernels::AdamWTask& task) override;
  double SumOfSquares(const float* x, int64_t n) override;
  float Largest(const float* x, int64_t n) override;

 private:
  const at::Device device_;
};

}  // namespace temper
