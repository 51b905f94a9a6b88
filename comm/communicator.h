// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/time/time.h"
#include "comm/device_ranks.h"

namespace temper {

class Pulse;

// A peer is lost, silent beyond the deadline, or out of step. The message names this rank, the operation and
// the peer. Nothing can go on without a peer, so it is thrown and passes to the one catch in cli/main.cc,
// which calls Abort; a communicator that threw is good for nothing else.
class CommError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A rank that this one waited for has ended instead: `words` are its last (Communicator::Leave).
class PeerLeft : public CommError {
 public:
  PeerLeft(const std::string& what, std::string words) : CommError(what), words_(std::move(words)) {}
  const std::string& words() const { return words_; }

 private:
  std::string words_;
};

// Moves bytes between ranks and never adds (docs/exactness.md: comm/reduce.h adds, in one order for every
// backend). One thread of a rank uses it at a time. All calls block; two messages with the same ends and tag
// arrive in the order sent. Tags are 0 to kUserTags - 1. Memory is the host's unless device_memory().
class Communicator {
 public:
  static constexpr int kUserTags = 1 << 14;

  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual std::string_view backend() const = 0;
  virtual bool device_memory() const { return false; }
  // True: it stands for ranks that are not there (comm/counting.h). Nothing is moved; of strings and integers
  // the others are taken to have what Assume says.
  virtual bool counts_only() const { return false; }

  // Exactly `bytes` bytes, 0 among them; the two ends must agree, else CommError at the receiver. A peer is
  // another rank. Send may wait for the receiver: an exchange is SendReceive, never two Sends.
  void Send(const void* data, size_t bytes, int to, int tag = 0);
  void Receive(void* data, size_t bytes, int from, int tag = 0);
  // As Send, of a copy: does not wait for the receiver. Not for device memory.
  void SendCopy(const void* data, size_t bytes, int to, int tag = 0);
  // Whether a message from there has come, so that to receive it takes no waiting. Does not wait itself, and
  // says nothing of a peer that is lost: whoever has nothing else to do calls Receive. Not for device memory.
  bool HasCome(int from, int tag = 0);
  struct Message {
    const void* out = nullptr;
    size_t out_bytes = 0;
    int to = -1;  // -1: nothing to send
    void* in = nullptr;
    size_t in_bytes = 0;
    int from = -1;  // -1: nothing to receive
    int tag = 0;
  };
  // Both at once; `to` and `from` may differ; the buffers do not overlap.
  void SendReceive(const Message& message);
  // Messages that are on their way. One that is dropped is taken back where that is possible; its
  // communicator is good for nothing else then.
  class Moving {
   public:
    virtual ~Moving() = default;
  };
  // The same, or one half of it, but it only begins: it goes on while this rank does something else, and the
  // buffers are left alone until Finish. Several may be on their way: of the same ends and tag they come in
  // the order started.
  std::unique_ptr<Moving> Start(const Message& message);
  // Whether it is over, so that Finish takes no waiting. MPI moves bytes only while it is called: to ask now
  // and then moves them on.
  bool IsOver(Moving* moving) { return MoveIsOver(moving); }
  void Finish(std::unique_ptr<Moving> moving);
  // That this rank has sent here, collectives' among them; notes are not counted.
  int64_t sent_bytes() const { return sent_bytes_; }

  // Ends every rank's work, with the message on standard error; throws CommError where ranks are threads.
  // `code`: the exit status of all.
  [[noreturn]] virtual void Abort(const std::string& message, int code = 1) = 0;

  // No collective: a rank may do either at any time, and others hear of it in their next call or question.
  // Asks all other ranks to stop, once; does not wait.
  void AskToStop();
  // Whether one of them has asked this one.
  bool AskedToStop();
  // The last thing that a rank does with its peers: tells them, and waits for all their last words, which
  // come back in rank order. A rank that waits for this one in another call gets PeerLeft there, and then
  // leaves in its turn. Not where this is a part of a communicator, nor for device memory.
  std::vector<std::string> Leave(std::string_view words);

  // Collectives: every rank calls them in the same order.
  void Barrier();
  void Broadcast(void* data, size_t bytes, int root);  // the ranks agree on `bytes`
  // Strings of any lengths, in rank order; on other ranks than `root` Gather returns none. Not for device
  // memory.
  std::vector<std::string> Gather(std::string_view mine, int root);
  std::vector<std::string> AllGather(std::string_view mine);
  // The sum of integers of all ranks (exact in any order), by a tree; overflow wraps.
  int64_t Sum(int64_t mine);

  // The ranks that give the same color, in the order of this communicator, as one of their own. Collective.
  // It speaks through this communicator, which outlives it and whose deadline holds; a rank's calls of both
  // come in one order. Not for device memory. `part`: what they are called, a literal.
  std::unique_ptr<Communicator> Split(int color, const char* part = "part");

  // A collective of the ranks' devices, which moves nothing here: waits until `is_over`, which is asked again
  // and again, says so. Meanwhile it is a call as any other, which waits for the next rank: it is noted,
  // others hear that this rank waits, and it throws where a rank has left or that one is lost. `bytes` are a
  // rank's.
  void WaitForDevices(int64_t bytes, absl::FunctionRef<bool()> is_over);

  // The same ranks with their devices' memory; null: what lies there goes through the host.
  DeviceRanks* device() const { return device_.get(); }
  void set_device(std::unique_ptr<DeviceRanks> device) { device_ = std::move(device); }

  // Where this rank notes its calls and what it announces (comm/pulse.h), those of parts that are split off
  // later too. It outlives them.
  void set_pulse(Pulse* pulse) { pulse_ = pulse; }

  // A peer for which a call waits, and which neither moves bytes nor announces anything for longer, is lost:
  // CommError names it and what it did last. Time for which this process is stopped does not count. Off at
  // first.
  void set_deadline(absl::Duration deadline) { deadline_ = deadline; }
  absl::Duration deadline() const { return deadline_; }
  // No collective either: tells the others that this rank is alive and does `what`; they wait `silence`
  // longer than the deadline for what follows, until the next announcement. May be called often: only what is
  // new is sent at once. A rank that waits in a call says so by itself. On a part of a communicator it does
  // nothing. Empty: what was announced last goes on.
  void Announce(std::string_view what, absl::Duration silence = absl::ZeroDuration());

 protected:
  // What the ranks are taken to give to a Gather, AllGather or Sum, by rank, before anything is heard of
  // them.
  virtual std::vector<std::string> Assume(std::string_view mine);
  // Sends and receives at once; returns when both are done.
  virtual void Move(const Message& message) = 0;
  // The same in parts. A Moving is of the communicator that started it.
  virtual std::unique_ptr<Moving> StartMove(const Message& message) = 0;
  virtual bool MoveIsOver(Moving* moving) = 0;
  virtual void FinishMove(Moving* moving) = 0;
  // Sends a copy, and returns at once.
  virtual void MoveCopy(const Message& message);
  virtual bool Come(int from, int tag);
  // "Receive", "Broadcast".
  static const char* OperationOf(const Message& message);
  // "rank 1 of 4 (mpi): SendReceive to rank 2 (8 bytes), from rank 0 (8 bytes), tag 3".
  std::string Describe(const Message& message) const;

  // Notes go beside messages: Post does not wait for the receiver, HeardNote is one that has come, in the
  // order sent.
  struct Note {
    int from = -1;  // -1: none
    std::string text;
  };
  virtual void Post(int to, std::string_view note) = 0;
  virtual Note HeardNote() = 0;
  // Beside a Move, while it waits for its peers.
  class Wait {
   public:
    Wait(Communicator* comm, const Message& message);
    // The peers moved something.
    void Progressed();
    // While nothing moves, now and then: throws PeerLeft once an end of the message has left and has had the
    // time for what it sent before, CommError where `peer`, which is waited for, is silent beyond the
    // deadline; tells others that this rank waits.
    void Look(int peer);
    absl::Duration waited() const { return waited_; }  // since the last progress

   private:
    Communicator& comm_;
    const Message& message_;
    absl::Time looked_;
    absl::Duration waited_;
  };

 private:
  friend class SubCommunicator;
  enum Tag { kBarrier = kUserTags, kBroadcast, kGather, kSum, kDevices };
  struct LastWords {
    bool left = false;
    std::string words;
    absl::Time when;
  };
  // What a rank was last known to do. Times are of clock_.
  struct Sign {
    absl::Duration at;  // alive; later than now: silence was announced
    std::string what;
    int waits_for = -1;  // the rank that it waits for, at the end of all that wait for each other
  };
  void CheckPeers(const Message& message) const;
  void Checked(const Message& message);
  std::vector<std::string> Gather(std::string_view mine, int root, std::vector<std::string> all);
  void HearNotes();
  void HearSign(int from, std::string_view text);
  void ThrowIfLeft(const Message& message);
  void PostToAll(const std::string& note);
  absl::Duration BetweenSigns() const;

  absl::Duration deadline_ = absl::InfiniteDuration();
  std::vector<LastWords> left_;  // by rank; empty: nobody has
  std::vector<Sign> signs_;      // by rank; empty: none was heard
  absl::Duration clock_;         // runs while this rank waits
  absl::Time told_ = absl::InfinitePast();
  std::string announced_, phase_ = "starts";
  bool asked_ = false, has_asked_ = false;
  int64_t sent_bytes_ = 0;
  Pulse* pulse_ = nullptr;
  const char* part_ = "all";
  int64_t collectives_ = 0;  // that have begun
  std::unique_ptr<DeviceRanks> device_;
};

// One rank: no peer to send to.
class SelfCommunicator final : public Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  std::string_view backend() const override { return "self"; }
  [[noreturn]] void Abort(const std::string& message, int code) override;

 protected:
  void Move(const Message& message) override;
  std::unique_ptr<Moving> StartMove(const Message& message) override;
  bool MoveIsOver(Moving*) override { return true; }
  void FinishMove(Moving*) override {}
  void Post(int to, std::string_view note) override {}
  Note HeardNote() override { return {}; }
};

}  // namespace temper
