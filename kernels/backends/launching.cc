// SPDX-License-Identifier: Apache-2.0
// The device's memory, and the tasks all of whose numbers are the device's; those with arrays of the host's
// are in launching_batches.cc.
#include "kernels/backends/launching.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "core/check.h"
#include "kernels/cuda/adamw.h"
#include "kernels/cuda/driver/driver.h"
#include "kernels/cuda/gradient_sum.h"
#include "kernels/cuda/products.h"
#include "kernels/cuda/route.h"
#include "kernels/cuda/row_ops.h"

namespace temper::kernels {
namespace TEMPER_DEVICE {
namespace {

int64_t RoundedUp(int64_t bytes) {
  constexpr int64_t kApart = StagedArrays::kApart;
  return (bytes + kApart - 1) / kApart * kApart;
}

ByteRows BytesOf(const Matrix& from, const Matrix& to) {
  TEMPER_CHECK(from.rows == to.rows && from.cols == to.cols && from.type == to.type, from.rows, " x ",
               from.cols, " and ", to.rows, " x ", to.cols);
  const int64_t each = kernels::BytesOf(from.type);
  return {.rows = from.rows,
          .bytes = from.cols * each,
          .from = from.data,
          .from_apart = from.stride * each,
          .to = to.data,
          .to_apart = to.stride * each};
}
// The same rows one behind the other, somewhere else.
Matrix Dense(const Matrix& like, const void* data) {
  return {const_cast<void*>(data), like.type, like.rows, like.cols, like.cols};
}

}  // namespace

std::unique_ptr<Backend> MakeBackend(ThreadPool* pool, const BackendOptions& options) {
  if (!Use(options.number)) return nullptr;
  return std::make_unique<LaunchingBackend>(pool, options);
}

void* Scratch::ReserveBytes(int64_t bytes) {
  if (bytes > bytes_ || memory_ == nullptr) {
    memory_ = nullptr;
    memory_ = AllocateMemory(std::max<int64_t>(bytes, 1));
    bytes_ = bytes;
  }
  return memory_.get();
}

void Staging::Begin(const StagedArrays& call) {
  if (used_ + call.most() > size_) {
    Wait(stream_);  // what was sent is there, and no kernel reads it any more
    used_ = 0;
    if (call.most() > size_) {
      const int64_t size = call.Grown(std::exchange(size_, 0));  // none until there is all of it
      pinned_ = device_ = nullptr;
      pinned_ = AllocatePinned(size);
      device_ = AllocateMemory(size);
      size_ = size;
    }
  }
  first_ = used_;
}

void* Staging::AddBytes(const void* array, int64_t bytes) {
  const int64_t at = used_;
  if (bytes > 0) std::memcpy(static_cast<char*>(pinned_.get()) + at, array, bytes);
  used_ = at + RoundedUp(bytes);
  return static_cast<char*>(device_.get()) + at;
}

void Staging::Send() {
  const int64_t bytes = used_ - first_;
  CopyPinned({.rows = 1,
              .bytes = bytes,
              .from = static_cast<char*>(pinned_.get()) + first_,
              .from_apart = bytes,
              .to = static_cast<char*>(device_.get()) + first_,
              .to_apart = bytes},
             stream_);
}

LaunchingBackend::LaunchingBackend(ThreadPool* pool, const BackendOptions& options)
    : Backend(pool), options_(options), stream_(options.stream), staging_(&stream_) {}

Scratch& LaunchingBackend::Work() {
  TEMPER_CHECK(recording_ == nullptr, "this call cannot be recorded");
  return work_;
}

std::shared_ptr<void> LaunchingBackend::Allocate(int64_t bytes) {
  return AllocateMemory(std::max<int64_t>(bytes, 1));
}

void LaunchingBackend::ReadBytes(const void* from, int64_t bytes, void* to) {
  TEMPER_CHECK(recording_ == nullptr, "a call that reads from the device cannot be recorded");
  CopyOut({.rows = 1, .bytes = bytes, .from = from, .from_apart = bytes, .to = to, .to_apart = bytes},
          stream_);
}

uint32_t* LaunchingBackend::ClearedWords() {
  static_assert(kScratchWords == 2 * sizeof(uint32_t));
  auto* const words = words_.Reserve<uint32_t>(2);
  Clear({.rows = 1, .bytes = 2 * sizeof(uint32_t), .to = words, .to_apart = 2 * sizeof(uint32_t)}, stream_);
  return words;
}

LaunchingBackend::Reported LaunchingBackend::ReadWords() {
  uint32_t words[2];
  ReadBytes(words_.Reserve<uint32_t>(2), sizeof words, words);
  return {words[0] != 0, std::bit_cast<float>(words[1])};
}

void LaunchingBackend::Zero(const Matrix& to) { TEMPER_DEVICE::Zero(to, stream_); }
void LaunchingBackend::Copy(const Matrix& from, const Matrix& to) {
  if (from.type != Type::kF32) return CopyWithin(BytesOf(from, to), stream_);
  TEMPER_DEVICE::Copy(from, to, stream_);
}
void LaunchingBackend::CopyHeads(const Heads& from, const Heads& to) {
  TEMPER_DEVICE::CopyHeads(from, to, stream_);
}
void LaunchingBackend::CopyToHost(const Matrix& from, void* to) {
  CopyOut(BytesOf(from, Dense(from, to)), stream_);
}
void LaunchingBackend::CopyFromHost(const void* from, const Matrix& to) {
  CopyIn(BytesOf(Dense(to, from), to), stream_);
}

void LaunchingBackend::Add(const Matrix& from, const Matrix& to) { TEMPER_DEVICE::Add(from, to, stream_); }
void LaunchingBackend::RoundToBf16(const Matrix& from, const Matrix& to) {
  TEMPER_DEVICE::RoundToBf16(from, to, stream_);
}
void LaunchingBackend::Products(absl::Span<const Product> products) {
  TEMPER_DEVICE::Products(products, stream_);
}
void LaunchingBackend::WeightGradients(absl::Span<const WeightGradient> gradients) {
  TEMPER_DEVICE::WeightGradients(gradients, stream_);
}
void LaunchingBackend::BiasGradient(const Matrix& dy, float* dbias) {
  TEMPER_DEVICE::BiasGradient(dy, dbias, stream_);
}
void LaunchingBackend::RmsNorm(const RmsNormTask& task) { TEMPER_DEVICE::RmsNorm(task, stream_); }
void LaunchingBackend::RmsNormBackward(const RmsNormBackwardTask& task) {
  TEMPER_DEVICE::RmsNormBackward(task, stream_);
}
void LaunchingBackend::SwiGlu(const SwiGluTask& task) { TEMPER_DEVICE::SwiGlu(task, stream_); }
void LaunchingBackend::SwiGluBackward(const SwiGluBackwardTask& task) {
  TEMPER_DEVICE::SwiGluBackward(task, stream_);
  if (task.out) SwiGlu({task.gate, task.up, task.out});
}

void LaunchingBackend::RouteBackward(const RouteBackwardTask& task) {
  TEMPER_DEVICE::RouteBackward(task, stream_);
}
void LaunchingBackend::GatherExperts(const GatherExpertsTask& task) {
  TEMPER_DEVICE::GatherExperts(task, stream_);
}
void LaunchingBackend::CombineExperts(const CombineExpertsTask& task) {
  TEMPER_DEVICE::CombineExperts(task, stream_);
}
void LaunchingBackend::CombineExpertsBackward(const CombineExpertsBackwardTask& task) {
  TEMPER_DEVICE::CombineExpertsBackward(task, stream_);
}
void LaunchingBackend::ScatterExperts(const ScatterExpertsTask& task) {
  TEMPER_DEVICE::ScatterExperts(task, stream_);
}
void LaunchingBackend::Route(const RouteTask& task) {
  TEMPER_DEVICE::Route(task, stream_);
  if (int64_t* const offsets = task.routing->device_offsets)
    return SortEntries({task.shape, task.logits.rows, task.routing, offsets}, stream_);
  const int64_t count = task.shape.experts + 1;
  auto* const offsets = Work().Reserve<int64_t>(ScratchOf(task.shape).work / 8);
  SortEntries({task.shape, task.logits.rows, task.routing, offsets}, stream_);
  task.routing->offsets = Read(offsets, count);
}

bool LaunchingBackend::AddLeaf(float* leaf, LeafSum* sum) {
  TEMPER_DEVICE::AddLeaf({*sum, leaf, ClearedWords()}, stream_);
  if (sum->second == nullptr) sum->second = leaf;
  return !ReadWords().bad;
}

bool LaunchingBackend::AddQuanta(const LeafSum& sum, int64_t first, absl::Span<int64_t> out) {
  uint32_t* const words = ClearedWords();
  const auto all = static_cast<int64_t>(out.size());
  auto* const quanta = Work().Reserve<int64_t>(ScratchOfQuanta(all).work / 8);
  for (int64_t begin = 0; begin < all; begin += kQuantaAtOnce) {
    const int64_t count = std::min(all - begin, kQuantaAtOnce), bytes = count * 8;
    Clear({.rows = 1, .bytes = bytes, .to = quanta, .to_apart = bytes}, stream_);
    TEMPER_DEVICE::AddQuanta({sum, first + begin, count, quanta, words}, stream_);
    const std::vector<int64_t> read = Read(quanta, count);
    for (int64_t i = 0; i < count; ++i) out[begin + i] += read[i];
  }
  return !ReadWords().bad;
}

bool LaunchingBackend::RoundGradient(const LeafSum& sum) {
  TEMPER_DEVICE::RoundGradient(sum, ClearedWords(), stream_);
  return !ReadWords().bad;
}

bool LaunchingBackend::RoundGradientAcross(const LeafSum& sum,
                                           absl::FunctionRef<void(int64_t*, int64_t)> across) {
  uint32_t* const words = ClearedWords();
  auto* const quanta = Work().Reserve<int64_t>(ScratchOfQuanta(sum.n).work / 8);
  for (int64_t begin = 0; begin < sum.n; begin += kQuantaAtOnce) {
    const int64_t count = std::min(sum.n - begin, kQuantaAtOnce), bytes = count * 8;
    const AddQuantaTask piece{sum, begin, count, quanta, words};
    Clear({.rows = 1, .bytes = bytes, .to = quanta, .to_apart = bytes}, stream_);
    TEMPER_DEVICE::AddQuanta(piece, stream_);
    Wait(stream_);
    across(quanta, count);
    RoundQuanta(piece, stream_);
  }
  return !ReadWords().bad;
}

AdamWOutcome LaunchingBackend::AdamW(const AdamWTask& task) {
  TEMPER_DEVICE::AdamW(task, ClearedWords(), stream_);
  const Reported reported = ReadWords();
  return {.finite = !reported.bad, .largest = reported.largest};
}

double LaunchingBackend::SumOfSquares(const float* x, int64_t n) {
  if (n == 0) return 0;
  auto* const sums = Work().Reserve<double>(ScratchOfSquares(n).work / 8);
  TEMPER_DEVICE::SumOfSquares({x, n, sums}, stream_);
  return Read(sums, 1)[0];
}

float LaunchingBackend::Largest(const float* x, int64_t n) {
  if (n == 0) return 0;
  TEMPER_DEVICE::Largest({x, n, ClearedWords()}, stream_);
  return ReadWords().largest;
}

}  // namespace TEMPER_DEVICE
}  // namespace temper::kernels
