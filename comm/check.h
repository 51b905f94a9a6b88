// SPDX-License-Identifier: Apache-2.0
// What ranks must have in common before they work together. Collective: every rank calls, in the same order.
// Throws CommError.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "comm/communicator.h"

namespace temper {

// Ok where every rank's is. The first rank whose is an error keeps it; all others get Cancelled, which gives
// way to it, with its words. A stop, which is Cancelled too, gives way to errors here, and is all ranks' as
// it is where there is none.
absl::Status AllRanksOk(const absl::Status& mine, Communicator& comm);

// Whether somebody asked for what it tells of: Cancelled, and not for another rank's error.
bool IsStop(const absl::Status& status);

// A status as a rank's last words (Communicator::Leave), and back.
std::string LastWords(const absl::Status& status);
absl::Status FromLastWords(const std::string& words);

// Something that all ranks must hold alike. No text has a NUL in it.
struct Held {
  std::string what;   // "temper's version", the same on every rank; each once
  std::string value;  // a short text, or a SHA-256
  std::string where;  // the file that it is of on this rank; empty: none
};

// Whether all ranks hold the same. Every rank gets the same answer, which names the first rank that differs
// from rank 0, and by what.
absl::Status AllRanksHold(const std::vector<Held>& mine, Communicator& comm);

}  // namespace temper
