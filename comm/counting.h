// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "comm/communicator.h"
#include "comm/message_log.h"

namespace temper {

// Moves nothing and counts what this rank would send (sent_bytes), so that a pass over it says what a layout
// of ranks costs without them (memory plans). Buffers are not touched.
class CountingCommunicator final : public Communicator {
 public:
  // `log`, where there is one, keeps the messages as those of the part of this number (MeshParts) and knows
  // what other ranks say; else they are taken to say what this one does.
  CountingCommunicator(int rank, int size, RankMessages* log = nullptr, int part = 0)
      : rank_(rank), size_(size), log_(log), part_(part) {}
  int rank() const override { return rank_; }
  int size() const override { return size_; }
  std::string_view backend() const override { return "counting"; }
  bool counts_only() const override { return true; }
  [[noreturn]] void Abort(const std::string& message, int) override { throw CommError(message); }

 protected:
  std::vector<std::string> Assume(std::string_view mine) override {
    if (log_ == nullptr) return std::vector<std::string>(size_, std::string(mine));
    return log_->Assume(part_, size_, mine);
  }
  void Move(const Message& message) override { Log(message, false); }
  void MoveCopy(const Message& message) override { Log(message, true); }
  // What is sent waits for nobody, and what comes is taken at the end.
  std::unique_ptr<Moving> StartMove(const Message& message) override {
    Message out = message, in = message;
    out.from = in.to = -1;
    out.in_bytes = in.out_bytes = 0;
    if (out.to >= 0) Log(out, true);
    return std::make_unique<Started>(in);
  }
  bool MoveIsOver(Moving*) override { return false; }
  void FinishMove(Moving* moving) override {
    const Message& in = static_cast<Started*>(moving)->in;
    if (in.from >= 0) Log(in, false);
  }
  bool Come(int, int) override { return false; }
  void Post(int, std::string_view) override {}
  Note HeardNote() override { return {}; }

 private:
  struct Started : Moving {
    explicit Started(const Message& of) : in(of) {}
    const Message in;
  };

  void Log(const Message& m, bool copy) {
    if (log_ == nullptr) return;
    log_->Add({.operation = OperationOf(m),
               .part = part_,
               .tag = m.tag,
               .copy = copy,
               .to = m.to,
               .from = m.from,
               .out_bytes = static_cast<int64_t>(m.out_bytes),
               .in_bytes = static_cast<int64_t>(m.in_bytes)});
  }

  const int rank_, size_;
  RankMessages* const log_;
  const int part_;
};

}  // namespace temper
