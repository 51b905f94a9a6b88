// SPDX-License-Identifier: Apache-2.0
// Inside the kernels room: the class behind kernels/backends/device.h, for one of the two devices.
#pragma once

#include <tuple>
#include <vector>

#include "absl/functional/function_ref.h"
#include "kernels/backends/device.h"
#include "kernels/backends/launching_recording.h"
#include "kernels/cuda/attention.h"

namespace temper::kernels {
namespace TEMPER_DEVICE {

// Memory of the device that grows to the most that was asked for. What was in it is lost with the next call.
class Scratch {
 public:
  template <typename T>
  T* Reserve(int64_t count) {
    return static_cast<T*>(ReserveBytes(count * static_cast<int64_t>(sizeof(T))));
  }
  // All of it, for who goes on with it after it has grown.
  const std::shared_ptr<void>& memory() const { return memory_; }

 private:
  void* ReserveBytes(int64_t bytes);

  std::shared_ptr<void> memory_;
  int64_t bytes_ = 0;
};

// Arrays of the host's that a call has the device read: they go there in one copy from pinned memory, and
// nobody waits for it.
class Staging {
 public:
  explicit Staging(Stream* stream) : stream_(*stream) {}

  // Room for the next call's arrays.
  void Begin(const StagedArrays& call);
  // Where the array lies on the device from Send on, until the next Begin but some.
  template <typename T>
  T* Add(absl::Span<const T> array) {
    return static_cast<T*>(AddBytes(array.data(), static_cast<int64_t>(array.size() * sizeof(T))));
  }
  void Send();

 private:
  void* AddBytes(const void* array, int64_t bytes);

  Stream& stream_;
  std::shared_ptr<void> pinned_, device_;
  int64_t size_ = 0, first_ = 0, used_ = 0;  // in bytes; first_: of this call
};

class LaunchingBackend final : public Backend {
 public:
  LaunchingBackend(ThreadPool* pool, const BackendOptions& options);

  bool exact() const override { return true; }
  bool host_memory() const override { return false; }
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
  int64_t PackedFloats(int64_t, int64_t) const override { return 0; }
  PackedMatrix Pack(const Matrix&, bool, float*) override { return {}; }
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
  void ExpertProducts(const ExpertProductsTask& task) override;
  void CombineExpertsBackward(const CombineExpertsBackwardTask& task) override;
  void ScatterExperts(const ScatterExpertsTask& task) override;
  void TokenLogprobs(const TokenLogprobsTask& task) override;
  void TokenLogprobsBackward(const TokenLogprobsBackwardTask& task) override;
  void Sample(const SampleTask& task) override;
  bool records() const override { return options_.records; }
  std::unique_ptr<Recording> Record(absl::FunctionRef<void()> calls) override;
  bool AddLeaf(float* leaf, LeafSum* sum) override;
  bool AddQuanta(const LeafSum& sum, int64_t first, absl::Span<int64_t> out) override;
  bool RoundGradient(const LeafSum& sum) override;
  bool RoundGradientAcross(const LeafSum& sum, absl::FunctionRef<void(int64_t*, int64_t)> across) override;
  AdamWOutcome AdamW(const AdamWTask& task) override;
  double SumOfSquares(const float* x, int64_t n) override;
  float Largest(const float* x, int64_t n) override;

 private:
  friend class RecordedCalls;

  // Where the arrays lie on the device.
  template <typename... T>
  std::tuple<T*...> Send(absl::Span<const T>... arrays) {
    if (recording_ != nullptr) return std::tuple<T*...>{recording_->upload.Add(arrays)...};
    staging_.Begin({sizeof...(arrays), static_cast<int64_t>(((arrays.size() * sizeof(T)) + ...))});
    const std::tuple<T*...> placed{staging_.Add(arrays)...};
    staging_.Send();
    return placed;
  }
  AttentionPlace Place(absl::Span<const AttentionSequence> sequences, int64_t layer_offset);
  // Of a call that is not recorded.
  Scratch& Work();
  AttentionBackwardPlace Place(const AttentionBackwardTask& task);
  // Some rows of hidden[rows, cols] against head[vocab, cols]; which, the device knows.
  struct HeadRows {
    Matrix hidden, head;
    const int32_t* rows;
    int64_t count;
  };
  // Those of a tile, one behind the other, and their logits.
  struct LogitsOfRows {
    Matrix hidden, logits;
  };
  // body(begin, tile) for as many rows, from the begin-th on, as have their logits at once.
  void ForTiles(const HeadRows& of, absl::FunctionRef<void(int64_t begin, const LogitsOfRows& tile)> body);
  // `count` numbers of the device's.
  template <typename T>
  std::vector<T> Read(const T* from, int64_t count) {
    std::vector<T> host(count);
    ReadBytes(from, count * static_cast<int64_t>(sizeof(T)), host.data());
    return host;
  }
  void ReadBytes(const void* from, int64_t bytes, void* to);

  // What a launch reports in two words of the device's (kernels/cuda/elements.h): something wrong, and the
  // largest size.
  struct Reported {
    bool bad;
    float largest;
  };
  uint32_t* ClearedWords();
  Reported ReadWords();

  const BackendOptions options_;
  Stream stream_;
  Staging staging_;
  RecordedCalls* recording_ = nullptr;  // of the calls that are made now; null: they are done
  Scratch words_, work_, inputs_, outputs_, logits_, results_;
};

}  // namespace TEMPER_DEVICE
}  // namespace temper::kernels
