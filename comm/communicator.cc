// SPDX-License-Identifier: Apache-2.0
#include "comm/communicator.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "comm/pulse.h"
#include "core/check.h"
#include "core/trace.h"

namespace temper {

void Communicator::CheckPeers(const Message& message) const {
  for (int peer : {message.to, message.from}) {
    TEMPER_CHECK(peer == -1 || (peer >= 0 && peer < size() && peer != rank()), Describe(message),
                 ": no such peer");
  }
}

void Communicator::Checked(const Message& message) {
  CheckPeers(message);
  const int peer = message.to >= 0 ? message.to : message.from;
  const size_t bytes = message.to >= 0 ? message.out_bytes : message.in_bytes;
  const TraceSpan span("comm", OperationOf(message), {"bytes", static_cast<int64_t>(bytes)}, {"peer", peer});
  const Pulse::Call call(pulse_, OperationOf(message), part_, collectives_, static_cast<int64_t>(bytes));
  Move(message);
  if (message.to >= 0) sent_bytes_ += static_cast<int64_t>(message.out_bytes);
}

void Communicator::Send(const void* data, size_t bytes, int to, int tag) {
  TEMPER_CHECK(to >= 0 && tag >= 0 && tag < kUserTags, "Send to rank ", to, ", tag ", tag);
  Checked({.out = data, .out_bytes = bytes, .to = to, .tag = tag});
}

void Communicator::Receive(void* data, size_t bytes, int from, int tag) {
  TEMPER_CHECK(from >= 0 && tag >= 0 && tag < kUserTags, "Receive from rank ", from, ", tag ", tag);
  Checked({.in = data, .in_bytes = bytes, .from = from, .tag = tag});
}

void Communicator::SendCopy(const void* data, size_t bytes, int to, int tag) {
  TEMPER_CHECK(to >= 0 && to < size() && to != rank() && tag >= 0 && tag < kUserTags, "SendCopy to rank ", to,
               ", tag ", tag);
  MoveCopy({.out = data, .out_bytes = bytes, .to = to, .tag = tag});
  sent_bytes_ += static_cast<int64_t>(bytes);
}

void Communicator::MoveCopy(const Message& message) {
  TEMPER_CHECK(false, Describe(message), ": copies are of the host's memory");
}

bool Communicator::HasCome(int from, int tag) {
  TEMPER_CHECK(from >= 0 && from < size() && from != rank() && tag >= 0 && tag < kUserTags,
               "HasCome from rank ", from, ", tag ", tag);
  return Come(from, tag);
}

bool Communicator::Come(int from, int tag) {
  TEMPER_CHECK(false, Describe({.from = from, .tag = tag}), ": only of the host's memory");
  return false;
}

void Communicator::SendReceive(const Message& message) {
  TEMPER_CHECK(message.to >= 0 && message.from >= 0 && message.tag >= 0 && message.tag < kUserTags,
               "SendReceive to rank ", message.to, ", from rank ", message.from, ", tag ", message.tag);
  Checked(message);
}

std::unique_ptr<Communicator::Moving> Communicator::Start(const Message& message) {
  TEMPER_CHECK(message.tag >= 0 && message.tag < kUserTags, "Start of ", Describe(message));
  CheckPeers(message);
  if (message.to >= 0) sent_bytes_ += static_cast<int64_t>(message.out_bytes);
  return StartMove(message);
}

void Communicator::Finish(std::unique_ptr<Moving> moving) {
  const TraceSpan span("comm", "Finish");
  const Pulse::Call call(pulse_, "Finish", part_, collectives_, 0);
  FinishMove(moving.get());
}

// Dissemination (Hensgen, Finkel and Manber, 1988): after the round of distance d each rank has heard of 2d
// ranks.
void Communicator::Barrier() {
  ++collectives_;
  for (int distance = 1; distance < size(); distance *= 2) {
    Checked(
        {.to = (rank() + distance) % size(), .from = (rank() - distance + size()) % size(), .tag = kBarrier});
  }
}

// A binomial tree over the ranks counted from root: `place` receives from itself without its lowest bit.
void Communicator::Broadcast(void* data, size_t bytes, int root) {
  TEMPER_CHECK(root >= 0 && root < size(), "Broadcast from rank ", root, " of ", size());
  ++collectives_;
  const int place = (rank() - root + size()) % size();
  int bit = 1;
  while (bit < size() && (place & bit) == 0) bit *= 2;
  if (place != 0) {
    Checked({.in = data, .in_bytes = bytes, .from = (place - bit + root) % size(), .tag = kBroadcast});
  }
  while (bit /= 2) {
    if (place + bit >= size()) continue;
    Checked({.out = data, .out_bytes = bytes, .to = (place + bit + root) % size(), .tag = kBroadcast});
  }
}

std::vector<std::string> Communicator::Assume(std::string_view) { return std::vector<std::string>(size()); }

std::vector<std::string> Communicator::Gather(std::string_view mine, int root) {
  return Gather(mine, root, Assume(mine));
}

std::vector<std::string> Communicator::Gather(std::string_view mine, int root, std::vector<std::string> all) {
  TEMPER_CHECK(root >= 0 && root < size(), "Gather to rank ", root, " of ", size());
  TEMPER_CHECK(!device_memory(), "strings go over the host's communicator");
  ++collectives_;
  uint64_t bytes = mine.size();
  if (rank() != root) {
    Checked({.out = &bytes, .out_bytes = sizeof bytes, .to = root, .tag = kGather});
    Checked({.out = mine.data(), .out_bytes = mine.size(), .to = root, .tag = kGather});
    return {};
  }
  for (int from = 0; from < size(); ++from) {
    if (from == rank()) {
      all[from] = mine;
      continue;
    }
    bytes = all[from].size();
    Checked({.in = &bytes, .in_bytes = sizeof bytes, .from = from, .tag = kGather});
    all[from].resize(bytes);
    Checked({.in = all[from].data(), .in_bytes = bytes, .from = from, .tag = kGather});
  }
  return all;
}

std::vector<std::string> Communicator::AllGather(std::string_view mine) {
  const std::vector<std::string> assumed = Assume(mine);
  std::vector<std::string> all = Gather(mine, 0, assumed);
  std::vector<uint64_t> lengths(size());
  std::string joined;
  for (int i = 0; i < size(); ++i) {
    const std::string& one = rank() == 0 ? all[i] : assumed[i];
    lengths[i] = one.size();
    joined += one;
  }
  Broadcast(lengths.data(), lengths.size() * sizeof lengths[0], 0);
  uint64_t total = 0;
  for (uint64_t length : lengths) total += length;
  joined.resize(total);
  Broadcast(joined.data(), joined.size(), 0);
  if (rank() == 0) return all;
  size_t offset = 0;
  for (uint64_t length : lengths) {
    all.push_back(joined.substr(offset, length));
    offset += length;
  }
  return all;
}

// Up a binomial tree to rank 0, and down.
int64_t Communicator::Sum(int64_t mine) {
  ++collectives_;
  uint64_t sum = mine;
  int bit = 1;
  for (; bit < size() && (rank() & bit) == 0; bit *= 2) {
    uint64_t other = 0;
    if (rank() + bit >= size()) continue;
    Checked({.in = &other, .in_bytes = sizeof other, .from = rank() + bit, .tag = kSum});
    sum += other;
  }
  if (rank() != 0) Checked({.out = &sum, .out_bytes = sizeof sum, .to = rank() - bit, .tag = kSum});
  Broadcast(&sum, sizeof sum, 0);
  if (counts_only()) {
    sum = 0;
    for (const std::string& one : Assume({reinterpret_cast<const char*>(&mine), sizeof mine})) {
      uint64_t theirs = 0;
      std::memcpy(&theirs, one.data(), std::min(one.size(), sizeof theirs));
      sum += theirs;
    }
  }
  return static_cast<int64_t>(sum);
}

// What a rank that left has sent before is on its way for no longer than this.
constexpr absl::Duration kLastMessages = absl::Seconds(2);
constexpr char kStopNote = 's', kLeftNote = 'l', kAliveNote = 'a', kWaitNote = 'w';

// Looks that are farther apart than this: the process was stopped in between, and peers were not watched.
constexpr absl::Duration kLongestLook = absl::Seconds(1);

void Communicator::HearNotes() {
  for (Note note = HeardNote(); note.from >= 0; note = HeardNote()) {
    if (pulse_ != nullptr) pulse_->Heard(note.from);
    if (note.text[0] == kStopNote) asked_ = true;
    if (note.text[0] == kAliveNote || note.text[0] == kWaitNote) HearSign(note.from, note.text);
    if (note.text[0] != kLeftNote) continue;
    left_.resize(size());
    left_[note.from] = {true, note.text.substr(1), absl::Now()};
  }
}

// "a600000 writes a checkpoint": what is done, and milliseconds of silence beside the deadline. "w2 1500
// updates": the rank at the end of what the sender waits for, for how long that has been silent, and what it
// did last.
void Communicator::HearSign(int from, std::string_view text) {
  signs_.resize(size());
  const std::vector<std::string> words = absl::StrSplit(std::string(text.substr(1)), absl::MaxSplits(' ', 2));
  int64_t number = 0, silent = 0;
  if (!absl::SimpleAtoi(words[0], &number)) return;
  Sign& sign = signs_[from];
  if (text[0] == kAliveNote) {
    sign = {clock_ + absl::Milliseconds(number),
            words.size() > 1 ? std::string(text.substr(text.find(' ') + 1)) : ""};
    return;
  }
  // One that waits for this rank is no news of itself, or two would wait for each other without end.
  if (words.size() < 2 || !absl::SimpleAtoi(words[1], &silent) || number == rank()) return;
  sign = {clock_ - absl::Milliseconds(silent), words.size() > 2 ? words[2] : "", static_cast<int>(number)};
}

absl::Duration Communicator::BetweenSigns() const {
  return std::clamp(deadline_ / 8, absl::Milliseconds(20), absl::Seconds(30));
}

void Communicator::PostToAll(const std::string& note) {
  told_ = absl::Now();
  for (int peer = 0; peer < size(); ++peer) {
    if (peer != rank()) Post(peer, note);
  }
}

void Communicator::Announce(std::string_view what, absl::Duration silence) {
  if (!what.empty() && what != phase_) phase_ = what;
  if (pulse_ != nullptr) pulse_->Say(phase_, silence);
  if (size() == 1 || deadline_ == absl::InfiniteDuration()) return;
  const std::string note =
      absl::StrCat(std::string(1, kAliveNote), absl::ToInt64Milliseconds(silence), " ", phase_);
  if (note == announced_ && absl::Now() - told_ < BetweenSigns()) return;
  announced_ = note;
  PostToAll(note);
}

Communicator::Wait::Wait(Communicator* comm, const Message& message)
    : comm_(*comm), message_(message), looked_(absl::Now()) {
  comm_.HearNotes();  // of before, which are no news of a peer that is waited for from now on
  Progressed();
}

void Communicator::Wait::Progressed() {
  waited_ = absl::ZeroDuration();
  looked_ = absl::Now();
  comm_.signs_.resize(comm_.size());
  for (const int peer : {message_.from, message_.to}) {
    if (peer < 0) continue;
    Sign& sign = comm_.signs_[peer];
    sign.at = std::max(sign.at, comm_.clock_);
    sign.waits_for = -1;
  }
  if (comm_.pulse_ != nullptr) comm_.pulse_->WaitFor(-1, absl::ZeroDuration());
}

void Communicator::Wait::Look(int peer) {
  const absl::Time now = absl::Now();
  const absl::Duration passed = std::clamp(now - looked_, absl::ZeroDuration(), kLongestLook);
  looked_ = now;
  waited_ += passed;
  comm_.clock_ += passed;
  if (comm_.pulse_ != nullptr) comm_.pulse_->WaitFor(peer, passed);
  comm_.ThrowIfLeft(message_);
  const absl::Duration deadline = comm_.deadline_;
  if (deadline == absl::InfiniteDuration()) return;
  const Sign& sign = comm_.signs_[peer];
  const absl::Duration silent = comm_.clock_ - sign.at;
  const int last = sign.waits_for >= 0 ? sign.waits_for : peer;
  if (silent > deadline) {
    throw CommError(absl::StrCat(comm_.Describe(message_), ": rank ", last, " was silent for ",
                                 absl::FormatDuration(deadline),
                                 last == peer ? "" : absl::StrCat(", and rank ", peer, " waits for it"),
                                 sign.what.empty() ? "" : absl::StrCat(" (last heard of: ", sign.what, ")")));
  }
  if (now - comm_.told_ < comm_.BetweenSigns() || waited_ < comm_.BetweenSigns()) return;
  comm_.PostToAll(
      absl::StrCat(std::string(1, kWaitNote), last, " ", absl::ToInt64Milliseconds(silent), " ", sign.what));
  comm_.announced_.clear();  // others know this rank as one that waits
}

void Communicator::WaitForDevices(int64_t bytes, absl::FunctionRef<bool()> is_over) {
  constexpr int64_t kBetweenLooks = 64;  // polls
  ++collectives_;
  const int next = size() > 1 ? (rank() + 1) % size() : -1;
  const Message message{.in_bytes = static_cast<size_t>(bytes), .from = next, .tag = kDevices};
  const TraceSpan span("comm", OperationOf(message), {"bytes", bytes}, {"peer", next});
  const Pulse::Call call(pulse_, OperationOf(message), part_, collectives_, bytes);
  Wait wait(this, message);
  for (int64_t polls = 1; !is_over(); ++polls) {
    if (next >= 0 && polls % kBetweenLooks == 0) wait.Look(next);
    std::this_thread::yield();
  }
}

void Communicator::ThrowIfLeft(const Message& message) {
  HearNotes();
  if (left_.empty()) return;
  for (int peer = 0; peer < size(); ++peer) {
    const bool waited_for = peer == message.from || peer == message.to || message.tag == kDevices;
    if (!waited_for || !left_[peer].left || absl::Now() - left_[peer].when < kLastMessages) continue;
    throw PeerLeft(absl::StrCat(Describe(message), ": rank ", peer, " has ended"), left_[peer].words);
  }
}

void Communicator::AskToStop() {
  if (std::exchange(has_asked_, true)) return;
  for (int peer = 0; peer < size(); ++peer) {
    if (peer != rank()) Post(peer, std::string(1, kStopNote));
  }
}

bool Communicator::AskedToStop() {
  HearNotes();
  return asked_;
}

std::vector<std::string> Communicator::Leave(std::string_view words) {
  for (int peer = 0; peer < size(); ++peer) {
    if (peer != rank()) Post(peer, std::string(1, kLeftNote).append(words));
  }
  left_.resize(size());
  left_[rank()] = {true, std::string(words), absl::Now()};
  const absl::Time limit = absl::Now() + deadline_;
  std::vector<std::string> all;
  for (int peer = 0; peer < size(); ++peer) {
    for (HearNotes(); !left_[peer].left; HearNotes()) {
      if (absl::Now() > limit) {
        throw CommError(absl::StrCat("rank ", rank(), " of ", size(), ": rank ", peer,
                                     " has not ended after ", absl::FormatDuration(deadline_)));
      }
      absl::SleepFor(absl::Milliseconds(2));
    }
    all.push_back(left_[peer].words);
  }
  return all;
}

const char* Communicator::OperationOf(const Message& m) {
  if (m.tag == kBarrier) return "Barrier";
  if (m.tag == kBroadcast) return "Broadcast";
  if (m.tag == kGather) return "Gather";
  if (m.tag == kSum) return "Sum";
  if (m.tag == kDevices) return "Devices";
  return m.to < 0 ? "Receive" : m.from < 0 ? "Send" : "SendReceive";
}

std::string Communicator::Describe(const Message& m) const {
  std::string text =
      absl::StrCat("rank ", rank(), " of ", size(), " (", std::string(backend()), "): ", OperationOf(m));
  if (m.to >= 0) absl::StrAppend(&text, " to rank ", m.to, " (", m.out_bytes, " bytes)");
  if (m.from >= 0)
    absl::StrAppend(&text, m.to >= 0 ? "," : "", " from rank ", m.from, " (", m.in_bytes, " bytes)");
  return m.tag > 0 && m.tag < kUserTags ? absl::StrCat(text, ", tag ", m.tag) : text;
}

// Some ranks of another communicator.
class SubCommunicator final : public Communicator {
 public:
  // ranks[i] is rank i's in `whole`; `rank` is this one's here.
  SubCommunicator(Communicator* whole, std::vector<int> ranks, int rank)
      : whole_(*whole), ranks_(std::move(ranks)), rank_(rank) {}
  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(ranks_.size()); }
  std::string_view backend() const override { return whole_.backend(); }
  [[noreturn]] void Abort(const std::string& message, int code) override {
    whole_.Abort(message, code);
    std::abort();  // never reached; a virtual call's [[noreturn]] is not believed
  }

 protected:
  void Move(const Message& message) override { whole_.Move(InWhole(message)); }
  std::unique_ptr<Moving> StartMove(const Message& message) override {
    return whole_.StartMove(InWhole(message));
  }
  bool MoveIsOver(Moving* moving) override { return whole_.MoveIsOver(moving); }
  void FinishMove(Moving* moving) override { whole_.FinishMove(moving); }
  void MoveCopy(const Message& message) override { whole_.MoveCopy(InWhole(message)); }
  bool Come(int from, int tag) override { return whole_.Come(ranks_[from], tag); }
  void Post(int to, std::string_view note) override { whole_.Post(ranks_[to], note); }
  Note HeardNote() override { return {}; }

 private:
  Message InWhole(Message message) const {
    if (message.to >= 0) message.to = ranks_[message.to];
    if (message.from >= 0) message.from = ranks_[message.from];
    return message;
  }

  Communicator& whole_;
  const std::vector<int> ranks_;
  const int rank_;
};

std::unique_ptr<Communicator> Communicator::Split(int color, const char* part) {
  const std::string mine = absl::StrCat(color);
  const std::vector<std::string> colors = AllGather(mine);
  std::vector<int> ranks;
  int here = 0;
  for (int i = 0; i < size(); ++i) {
    if (colors[i] != mine) continue;
    if (i == rank()) here = static_cast<int>(ranks.size());
    ranks.push_back(i);
  }
  auto split = std::make_unique<SubCommunicator>(this, std::move(ranks), here);
  split->pulse_ = pulse_;
  split->part_ = part;
  return split;
}

void SelfCommunicator::Abort(const std::string& message, int code) {
  std::fprintf(stderr, "temper: %s\n", message.c_str());
  std::exit(code);
}

void SelfCommunicator::Move(const Message& message) {
  TEMPER_CHECK(false, Describe(message), ": there is no peer");
}

std::unique_ptr<Communicator::Moving> SelfCommunicator::StartMove(const Message& message) {
  Move(message);
  return nullptr;
}

}  // namespace temper
