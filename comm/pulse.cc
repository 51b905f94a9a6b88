// SPDX-License-Identifier: Apache-2.0
#include "comm/pulse.h"

namespace temper {

using std::memory_order_relaxed;

void Pulse::Say(std::string_view phase, absl::Duration silence) {
  silence_ms_.store(absl::ToInt64Milliseconds(silence), memory_order_relaxed);
  if (said_ != phase) {
    said_ = phase;
    absl::MutexLock lock(&mutex_);
    phase_ = said_;
  }
  Beat();
}

Pulse::Call::Call(Pulse* pulse, const char* operation, const char* part, int64_t number, int64_t bytes)
    : pulse_(pulse) {
  if (pulse_ == nullptr) return;
  pulse_->part_.store(part, memory_order_relaxed);
  pulse_->number_.store(number, memory_order_relaxed);
  pulse_->bytes_.store(bytes, memory_order_relaxed);
  pulse_->operation_.store(operation, memory_order_relaxed);
  pulse_->Beat();
}

Pulse::Call::~Call() {
  if (pulse_ == nullptr) return;
  pulse_->waits_for_.store(-1, memory_order_relaxed);
  pulse_->operation_.store(nullptr, memory_order_relaxed);
  pulse_->Beat();
}

void Pulse::WaitFor(int rank, absl::Duration passed) {
  if (rank < 0) Beat();
  waits_for_.store(rank, memory_order_relaxed);
  waited_us_.store(waited_us_.load(memory_order_relaxed) + absl::ToInt64Microseconds(passed),
                   memory_order_relaxed);
}

void Pulse::Heard(int rank) {
  absl::MutexLock lock(&mutex_);
  if (heard_.size() <= static_cast<size_t>(rank)) heard_.resize(rank + 1);
  ++heard_[rank];
}

std::vector<int64_t> Pulse::heard() const {
  absl::MutexLock lock(&mutex_);
  return heard_;
}

RankState Pulse::Read() const {
  RankState state;
  state.signs = signs_.load(memory_order_relaxed);
  state.silence = absl::Milliseconds(silence_ms_.load(memory_order_relaxed));
  state.waits_for = waits_for_.load(memory_order_relaxed);
  state.waited = absl::Microseconds(waited_us_.load(memory_order_relaxed));
  if (const char* const operation = operation_.load(memory_order_relaxed)) {
    state.operation = operation;
    state.part = part_.load(memory_order_relaxed);
    state.number = number_.load(memory_order_relaxed);
    state.bytes = bytes_.load(memory_order_relaxed);
  }
  absl::MutexLock lock(&mutex_);
  state.phase = phase_;
  return state;
}

}  // namespace temper
