// SPDX-License-Identifier: Apache-2.0
#include "comm/threads.h"

#include <cstring>
#include <deque>
#include <exception>
#include <map>
#include <thread>
#include <tuple>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "core/check.h"

namespace temper {
namespace {

// A rank's call that failed only because another rank had.
class Consequence : public CommError {
 public:
  using CommError::CommError;
};

}  // namespace

struct ThreadWorld::State {
  struct Parcel {
    const void* data;
    size_t bytes;
    bool taken = false;
  };
  mutable absl::Mutex mutex;
  absl::CondVar changed;  // one for all: worlds are small
  std::map<std::tuple<int, int, int>, std::deque<Parcel*>> parcels ABSL_GUARDED_BY(mutex);  // (from, to, tag)
  std::string lost ABSL_GUARDED_BY(mutex);
  int64_t bytes_sent ABSL_GUARDED_BY(mutex) = 0;

  void Lose(const std::string& why) {
    absl::MutexLock lock(&mutex);
    if (lost.empty()) lost = why;
    changed.SignalAll();
  }
};

class ThreadWorld::Rank final : public Communicator {
 public:
  Rank(int rank, int size, State* state) : rank_(rank), size_(size), state_(*state) {}
  int rank() const override { return rank_; }
  int size() const override { return size_; }
  std::string_view backend() const override { return "threads"; }
  [[noreturn]] void Abort(const std::string& message) override {
    throw CommError(absl::StrCat("rank ", rank_, " aborts: ", message));
  }

 protected:
  void Move(const Message& message) override {
    State::Parcel out{message.out, message.out_bytes};
    const std::tuple<int, int, int> in_key(message.from, rank_, message.tag);
    const absl::Time limit = absl::Now() + deadline();
    absl::MutexLock lock(&state_.mutex);
    std::deque<State::Parcel*>* sent = nullptr;
    if (message.to >= 0) {
      sent = &state_.parcels[{rank_, message.to, message.tag}];
      sent->push_back(&out);
      state_.changed.SignalAll();
    }
    bool received = message.from < 0;
    while (true) {
      if (!received && !state_.parcels[in_key].empty()) {
        std::deque<State::Parcel*>& queue = state_.parcels[in_key];
        State::Parcel* parcel = queue.front();
        if (parcel->bytes != message.in_bytes) {
          Withdraw(sent, &out);
          throw CommError(absl::StrCat(Describe(message), ": the peer sent ", parcel->bytes, " bytes"));
        }
        if (parcel->bytes > 0) std::memcpy(message.in, parcel->data, parcel->bytes);
        state_.bytes_sent += static_cast<int64_t>(parcel->bytes);
        parcel->taken = true;
        queue.pop_front();
        state_.changed.SignalAll();
        received = true;
      }
      if (received && (sent == nullptr || out.taken)) return;
      if (!state_.lost.empty()) {
        Withdraw(sent, &out);
        throw Consequence(absl::StrCat(Describe(message), ": ", state_.lost));
      }
      if (state_.changed.WaitWithTimeout(&state_.mutex, limit - absl::Now()) && absl::Now() >= limit) {
        Withdraw(sent, &out);
        const int silent = received ? message.to : message.from;
        throw CommError(absl::StrCat(Describe(message), ": rank ", silent, " was silent for ",
                                     absl::FormatDuration(deadline())));
      }
    }
  }

 private:
  // The parcel lives on this stack: nobody may find it after the throw.
  static void Withdraw(std::deque<State::Parcel*>* sent, State::Parcel* out) {
    if (sent != nullptr) std::erase(*sent, out);
  }

  const int rank_;
  const int size_;
  State& state_;
};

ThreadWorld::ThreadWorld(int size, absl::Duration deadline)
    : size_(size), deadline_(deadline), state_(std::make_unique<State>()) {
  TEMPER_CHECK(size >= 1);
}

ThreadWorld::~ThreadWorld() = default;

int64_t ThreadWorld::bytes_sent() const {
  absl::MutexLock lock(&state_->mutex);
  return state_->bytes_sent;
}

void ThreadWorld::Run(absl::FunctionRef<void(Communicator&)> body) {
  std::vector<std::exception_ptr> causes(size_), consequences(size_);
  {
    absl::MutexLock lock(&state_->mutex);
    state_->parcels.clear();
    state_->lost.clear();
  }
  auto run = [&](int r) {
    Rank rank(r, size_, state_.get());
    rank.set_deadline(deadline_);
    try {
      body(rank);
      return;
    } catch (const Consequence&) {
      consequences[r] = std::current_exception();
    } catch (const std::exception& error) {
      causes[r] = std::current_exception();
      state_->Lose(absl::StrCat("rank ", r, " is lost: ", error.what()));
    } catch (...) {
      causes[r] = std::current_exception();
      state_->Lose(absl::StrCat("rank ", r, " is lost"));
    }
  };
  std::vector<std::thread> threads;
  for (int r = 0; r < size_; ++r) threads.emplace_back(run, r);
  for (std::thread& thread : threads) thread.join();
  for (const auto* errors : {&causes, &consequences}) {
    for (const std::exception_ptr& error : *errors) {
      if (error) std::rethrow_exception(error);
    }
  }
}

}  // namespace temper
