// SPDX-License-Identifier: Apache-2.0
// Plain values of all ranks, on all ranks.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>
#include <vector>

#include "comm/communicator.h"

namespace temper {

// The values of each rank, of whom each may give another number, in rank order. Collective.
template <typename T>
std::vector<std::vector<T>> AllGather(const std::vector<T>& mine, Communicator& ranks) {
  static_assert(std::is_trivially_copyable_v<T>);
  const std::string bytes(reinterpret_cast<const char*>(mine.data()), mine.size() * sizeof(T));
  std::vector<std::vector<T>> all;
  for (const std::string& part : ranks.AllGather(bytes)) {
    all.emplace_back(part.size() / sizeof(T));
    if (!part.empty()) std::memcpy(all.back().data(), part.data(), part.size());
  }
  return all;
}

// The largest number of all ranks. Collective.
inline int64_t Largest(int64_t mine, Communicator& ranks) {
  if (ranks.size() == 1) return mine;
  for (const std::vector<int64_t>& other : AllGather<int64_t>({mine}, ranks)) mine = std::max(mine, other[0]);
  return mine;
}

}  // namespace temper
