// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "absl/functional/function_ref.h"
#include "comm/communicator.h"

namespace temper {

// Bytes for one rank, and those that come from one. Both ends know how many.
struct Parcel {
  const void* out = nullptr;
  int64_t out_bytes = 0;
  void* in = nullptr;
  int64_t in_bytes = 0;
};
// Each rank's bytes to each other one, and what is its own to itself. `parcel` is asked for one pair after
// another; its buffers are used until it is asked again. Collective; throws CommError.
void SwapParcels(absl::FunctionRef<Parcel(int to, int from)> parcel, int tag, Communicator& ranks);

}  // namespace temper
