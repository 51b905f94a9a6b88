// SPDX-License-Identifier: Apache-2.0
#include "kernels/backends/launching_recording.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "core/check.h"
#include "kernels/backends/launching.h"
#include "kernels/cuda/driver/driver.h"

namespace temper::kernels {
namespace TEMPER_DEVICE {
namespace {

constexpr int64_t kAligned = 16;
constexpr int64_t kPieceBytes = int64_t{1} << 16;  // at least

int64_t Aligned(int64_t bytes) { return (bytes + kAligned - 1) / kAligned * kAligned; }

}  // namespace

void* Upload::Place(Array array) {
  for (const Array& before : arrays_) {
    if (before.from == array.from && before.bytes == array.bytes && before.table_bytes == array.table_bytes)
      return static_cast<char*>(pieces_[before.piece].device.get()) + before.at;
  }
  const int64_t bytes = Aligned(array.bytes) + Aligned(std::max<int64_t>(array.table_bytes, 0));
  if (pieces_.empty() || pieces_.back().used + bytes > pieces_.back().bytes) {
    const int64_t size = std::max(bytes, kPieceBytes);
    pieces_.push_back({AllocatePinned(size), AllocateMemory(size), size});
  }
  Piece& piece = pieces_.back();
  array.piece = pieces_.size() - 1;
  array.at = piece.used;
  piece.used += bytes;
  arrays_.push_back(array);
  return static_cast<char*>(piece.device.get()) + array.at;
}

Upload::Sequences Upload::AddSequences(absl::Span<const AttentionSequence> sequences) {
  int64_t pages = 0;
  for (const AttentionSequence& s : sequences) pages += PagesOf(s);
  const auto bytes = static_cast<int64_t>(sequences.size() * sizeof(AttentionSequence));
  char* const at = static_cast<char*>(Place({.from = sequences.data(),
                                             .bytes = bytes,
                                             .table_bytes = pages * static_cast<int64_t>(sizeof(void*))}));
  return {.sequences = reinterpret_cast<const AttentionSequence*>(at),
          .count = static_cast<int64_t>(sequences.size()),
          .blocks = reinterpret_cast<void* const*>(at + Aligned(bytes)),
          .block_count = pages};
}

void Upload::Fill(const Array& array) const {
  char* const pinned = static_cast<char*>(pieces_[array.piece].pinned.get()) + array.at;
  if (array.bytes > 0) std::memcpy(pinned, array.from, array.bytes);
  if (array.table_bytes < 0) return;
  // The tables lie one behind the other, wherever that is now.
  const auto device = static_cast<char*>(pieces_[array.piece].device.get()) + array.at + Aligned(array.bytes);
  auto* const sequences = reinterpret_cast<AttentionSequence*>(pinned);
  int64_t at = 0;
  for (size_t s = 0; s < array.bytes / sizeof(AttentionSequence); ++s) {
    const int64_t bytes = PagesOf(sequences[s]) * static_cast<int64_t>(sizeof(void*));
    TEMPER_CHECK(at + bytes <= array.table_bytes, "sequences are longer than when they were recorded");
    if (bytes > 0) std::memcpy(pinned + Aligned(array.bytes) + at, sequences[s].blocks, bytes);
    sequences[s].blocks = reinterpret_cast<void* const*>(device + at);
    at += bytes;
  }
}

void Upload::Send(Stream& stream) {
  for (const Array& array : arrays_) Fill(array);
  for (const Piece& piece : pieces_) {
    CopyPinned({.rows = 1,
                .bytes = piece.used,
                .from = piece.pinned.get(),
                .from_apart = piece.used,
                .to = piece.device.get(),
                .to_apart = piece.used},
               stream);
  }
}

RecordedCalls::RecordedCalls(LaunchingBackend* backend, absl::FunctionRef<void()> calls)
    : backend_(*backend), graph_(GraphOf(calls)) {}

RecordedCalls::~RecordedCalls() {
  try {
    Wait(backend_.stream_);
  } catch (const std::exception&) {
    // The device has ended with an error, which whoever asks it next gets too.
  }
}

std::shared_ptr<Graph> RecordedCalls::GraphOf(absl::FunctionRef<void()> calls) {
  TEMPER_CHECK(backend_.recording_ == nullptr, "a recording in a recording");
  for (auto& [sequences, shifted] : shifted_) shifted.layer_offset = 0;
  const Stream outer = backend_.stream_;
  backend_.recording_ = this;
  const absl::Cleanup back = [&] {
    backend_.recording_ = nullptr;
    backend_.stream_ = outer;
  };
  return Record(outer, [&](const Stream& records) {
    backend_.stream_ = records;
    calls();
  });
}

void RecordedCalls::Replay() {
  Wait(backend_.stream_);  // the arrays that were sent last are there
  upload.Send(backend_.stream_);
  TEMPER_DEVICE::Replay(*graph_, backend_.stream_);
}

void RecordedCalls::Compare(absl::FunctionRef<void()> calls) {
  if (!kTellsDifferences || !backend_.options_.compares) return;
  const std::string difference = Difference(*graph_, *GraphOf(calls));
  if (!difference.empty()) throw std::runtime_error("calls were recorded, and are others now: " + difference);
}

const AttentionSequence* RecordedCalls::Sequences(absl::Span<const AttentionSequence> sequences,
                                                  int64_t layer_offset, Stream& stream) {
  const Upload::Sequences first = upload.AddSequences(sequences);
  if (layer_offset == 0) return first.sequences;
  Shifted& shifted = shifted_[first.sequences];
  const int64_t bytes = Aligned(first.count * static_cast<int64_t>(sizeof(AttentionSequence)));
  if (shifted.memory == nullptr)
    shifted.memory =
        AllocateMemory(bytes + std::max<int64_t>(first.block_count, 1) * static_cast<int64_t>(sizeof(void*)));
  char* const at = static_cast<char*>(shifted.memory.get());
  if (std::exchange(shifted.layer_offset, layer_offset) != layer_offset) {
    ShiftTables({.from = first.sequences,
                 .to = reinterpret_cast<AttentionSequence*>(at),
                 .sequences = first.count,
                 .from_blocks = first.blocks,
                 .to_blocks = reinterpret_cast<void**>(at + bytes),
                 .blocks = first.block_count,
                 .layer_offset = layer_offset},
                stream);
  }
  return reinterpret_cast<const AttentionSequence*>(at);
}

float* RecordedCalls::Floats(int64_t count) {
  std::shared_ptr<void>& memory = floats_[count];
  if (memory == nullptr) {
    // What is done one after another shares it.
    backend_.work_.Reserve<float>(count);
    memory = backend_.work_.memory();
  }
  return static_cast<float*>(memory.get());
}

bool RecordedCalls::IsOutgrown() const {
  return std::ranges::any_of(floats_,
                             [&](const auto& each) { return each.second != backend_.work_.memory(); });
}

std::unique_ptr<Recording> LaunchingBackend::Record(absl::FunctionRef<void()> calls) {
  return std::make_unique<RecordedCalls>(this, calls);
}

}  // namespace TEMPER_DEVICE
}  // namespace temper::kernels
