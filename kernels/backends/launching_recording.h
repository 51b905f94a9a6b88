// SPDX-License-Identifier: Apache-2.0
// Inside the kernels room: calls of a device's backend that are recorded (Recording).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "kernels/backend.h"
#include "kernels/backends/scratch.h"
#include "kernels/cuda/driver/graph.h"

#ifndef TEMPER_DEVICE
#define TEMPER_DEVICE sim
#endif

namespace temper::kernels {
namespace TEMPER_DEVICE {

class LaunchingBackend;

// Arrays of the host's with a fixed place on the device each, to which Send brings what is in them then: in
// one copy from pinned memory, where they take no more than 64 KiB together, or one is that large.
class Upload {
 public:
  // Its place; an array that was added before has one already.
  template <typename T>
  T* Add(absl::Span<const T> array) {
    return static_cast<T*>(Place({array.data(), static_cast<int64_t>(array.size() * sizeof(T))}));
  }
  // Sequences, with their tables one behind the other.
  struct Sequences {
    const AttentionSequence* sequences = nullptr;
    int64_t count = 0;
    void* const* blocks = nullptr;
    int64_t block_count = 0;
  };
  // Likewise, and of their tables, which are not read now and have together as many blocks at most then.
  Sequences AddSequences(absl::Span<const AttentionSequence> sequences);
  void Send(Stream& stream);

 private:
  struct Array {
    const void* from;
    int64_t bytes;
    int64_t table_bytes = -1;  // of sequences: of their tables, which follow
    size_t piece = 0;
    int64_t at = 0;  // in the piece
  };
  struct Piece {
    std::shared_ptr<void> pinned, device;
    int64_t bytes = 0, used = 0;
  };
  void* Place(Array array);
  void Fill(const Array& array) const;

  std::vector<Array> arrays_;
  std::vector<Piece> pieces_;
};

class RecordedCalls final : public Recording {
 public:
  RecordedCalls(LaunchingBackend* backend, absl::FunctionRef<void()> calls);
  ~RecordedCalls() override;  // waits for what was replayed last: it reads pinned memory

  void Replay() override;
  void Compare(absl::FunctionRef<void()> calls) override;
  bool IsOutgrown() const override;

  // Where the sequences lie with the tables of the layer so far behind. The stream is what records.
  const AttentionSequence* Sequences(absl::Span<const AttentionSequence> sequences, int64_t layer_offset,
                                     Stream& stream);

  // Of the device's memory, for the calls that are recorded: the same for as many, for other recordings, and
  // for calls that are not recorded.
  float* Floats(int64_t count);

  Upload upload;

 private:
  std::shared_ptr<Graph> GraphOf(absl::FunctionRef<void()> calls);

  LaunchingBackend& backend_;
  std::map<int64_t, std::shared_ptr<void>> floats_;
  // Sequences and tables of the layer that is recorded now.
  struct Shifted {
    std::shared_ptr<void> memory;
    int64_t layer_offset = 0;
  };
  std::map<const AttentionSequence*, Shifted> shifted_;
  std::shared_ptr<Graph> graph_;
};

}  // namespace TEMPER_DEVICE
}  // namespace temper::kernels
