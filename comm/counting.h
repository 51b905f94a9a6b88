// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "comm/communicator.h"

namespace temper {

// Moves nothing and counts what this rank would send (sent_bytes), so that a pass over it says what a layout
// of ranks costs without them (memory plans). Buffers are not touched.
class CountingCommunicator final : public Communicator {
 public:
  CountingCommunicator(int rank, int size) : rank_(rank), size_(size) {}
  int rank() const override { return rank_; }
  int size() const override { return size_; }
  std::string_view backend() const override { return "counting"; }
  bool counts_only() const override { return true; }
  [[noreturn]] void Abort(const std::string& message, int) override { throw CommError(message); }

 protected:
  void Move(const Message&) override {}
  void MoveCopy(const Message&) override {}
  bool Come(int, int) override { return false; }
  void Post(int, std::string_view) override {}
  Note HeardNote() override { return {}; }

 private:
  const int rank_, size_;
};

}  // namespace temper
