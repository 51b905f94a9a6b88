// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>

#include "absl/container/flat_hash_set.h"

namespace temper {

// Every problem belongs to one side, whatever else is in its file: training takes one, measuring the other.
enum class Split { kTrain, kHeldOut };

// What makes two problems the same: a 64-bit hash of the text, case-folded (NFKC), with white space,
// punctuation, control characters and $ left out; minus, times and division count, in whichever of their
// characters.
uint64_t ContentKey(std::string_view problem);
using ContentKeys = absl::flat_hash_set<uint64_t>;  // never iterated in an order

// The side of a problem where `held_out_share` of all problems is held out: a function of its content, so
// that a file may grow, be shuffled or be copied into another.
Split SplitOf(uint64_t content_key, double held_out_share);

}  // namespace temper
