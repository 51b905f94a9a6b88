// SPDX-License-Identifier: Apache-2.0
#include "comm/threads.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <exception>
#include <map>
#include <memory>
#include <thread>
#include <tuple>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "core/check.h"

namespace temper {
namespace {

constexpr absl::Duration kBetweenNotes = absl::Milliseconds(100);

// A rank's call that failed only because another rank had.
class Consequence : public CommError {
 public:
  using CommError::CommError;
};

}  // namespace

struct ThreadWorld::State {
  using Moving = Communicator::Moving;
  struct Parcel {
    const void* data;
    size_t bytes;
    bool taken = false;
    std::string copy = {};  // what `data` points to where nobody waits for the receiver
  };
  mutable absl::Mutex mutex;
  absl::CondVar changed;  // one for all: worlds are small
  std::map<std::tuple<int, int, int>, std::deque<std::shared_ptr<Parcel>>> parcels
      ABSL_GUARDED_BY(mutex);  // (from, to, tag)
  // Whose turn it is to take them: in the order started.
  std::map<std::tuple<int, int, int>, std::deque<const Moving*>> takers ABSL_GUARDED_BY(mutex);
  std::map<int, std::deque<std::pair<int, std::string>>> notes ABSL_GUARDED_BY(mutex);  // to: (from, text)
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
  [[noreturn]] void Abort(const std::string& message, int code) override {
    throw CommError(absl::StrCat("rank ", rank_, " aborts: ", message));
  }

 protected:
  void Post(int to, std::string_view note) override {
    absl::MutexLock lock(&state_.mutex);
    state_.notes[to].emplace_back(rank_, note);
    state_.changed.SignalAll();
  }
  Note HeardNote() override {
    absl::MutexLock lock(&state_.mutex);
    std::deque<std::pair<int, std::string>>& mine = state_.notes[rank_];
    if (mine.empty()) return {};
    const Note note{mine.front().first, std::move(mine.front().second)};
    mine.pop_front();
    return note;
  }

  // Whoever drops it takes the parcel back: its bytes are the caller's.
  struct Started : Moving {
    Started(const Message& of, State* in)
        : message(of),
          state(*in),
          out(std::make_shared<State::Parcel>(State::Parcel{of.out, of.out_bytes})) {}
    ~Started() override {
      absl::MutexLock lock(&state.mutex);
      if (sent != nullptr && !out->taken) std::erase(*sent, out);
      if (turns != nullptr && !received) std::erase(*turns, this);
    }

    const Message message;
    State& state;
    const std::shared_ptr<State::Parcel> out;
    std::deque<std::shared_ptr<State::Parcel>>* sent =
        nullptr;                                 // where it lies; null: there is nothing to send
    std::deque<const Moving*>* turns = nullptr;  // likewise of what comes
    bool received = false;
  };

  std::unique_ptr<Moving> StartMove(const Message& message) override {
    auto started = std::make_unique<Started>(message, &state_);
    started->received = message.from < 0;
    absl::MutexLock lock(&state_.mutex);
    if (message.from >= 0) {
      started->turns = &state_.takers[{message.from, rank_, message.tag}];
      started->turns->push_back(started.get());
    }
    if (message.to >= 0) {
      started->sent = &state_.parcels[{rank_, message.to, message.tag}];
      started->sent->push_back(started->out);
      state_.changed.SignalAll();
    }
    return started;
  }

  bool MoveIsOver(Moving* moving) override {
    auto* const started = static_cast<Started*>(moving);
    absl::MutexLock lock(&state_.mutex);
    return IsOver(started);
  }

  void FinishMove(Moving* moving) override {
    auto* const started = static_cast<Started*>(moving);
    Wait wait(this, started->message);
    while (!Moved(started)) wait.Look(started->received ? started->message.to : started->message.from);
  }

  void Move(const Message& message) override { FinishMove(StartMove(message).get()); }

  void MoveCopy(const Message& message) override {
    auto out = std::make_shared<State::Parcel>();
    out->copy.assign(static_cast<const char*>(message.out), message.out_bytes);
    out->data = out->copy.data();
    out->bytes = message.out_bytes;
    absl::MutexLock lock(&state_.mutex);
    state_.parcels[{rank_, message.to, message.tag}].push_back(std::move(out));
    state_.changed.SignalAll();
  }

  bool Come(int from, int tag) override {
    absl::MutexLock lock(&state_.mutex);
    const auto queue = state_.parcels.find({from, rank_, tag});
    return queue != state_.parcels.end() && !queue->second.empty();
  }

 private:
  // Takes what has come.
  bool IsOver(Started* started) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex) {
    const Message& message = started->message;
    std::deque<std::shared_ptr<State::Parcel>>& queue = state_.parcels[{message.from, rank_, message.tag}];
    if (!started->received && !queue.empty() && started->turns->front() == started) {
      const std::shared_ptr<State::Parcel> parcel = queue.front();
      if (parcel->bytes != message.in_bytes)
        throw CommError(absl::StrCat(Describe(message), ": the peer sent ", parcel->bytes, " bytes"));
      if (parcel->bytes > 0) std::memcpy(message.in, parcel->data, parcel->bytes);
      state_.bytes_sent += static_cast<int64_t>(parcel->bytes);
      parcel->taken = true;
      queue.pop_front();
      started->turns->pop_front();
      state_.changed.SignalAll();
      started->received = true;
    }
    return started->received && (started->sent == nullptr || started->out->taken);
  }

  // Whether all is done; waits for a while where it is not.
  bool Moved(Started* started) {
    absl::MutexLock lock(&state_.mutex);
    if (IsOver(started)) return true;
    if (!state_.lost.empty()) throw Consequence(absl::StrCat(Describe(started->message), ": ", state_.lost));
    state_.changed.WaitWithTimeout(&state_.mutex, std::min(deadline() / 8, kBetweenNotes));
    return false;
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
    state_->takers.clear();
    state_->notes.clear();
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
