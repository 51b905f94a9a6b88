// SPDX-License-Identifier: Apache-2.0
// The simulated device's memory. Its addresses are no memory of the host's: who reads them outside of a
// kernel and of the copies of kernels/cuda/driver/driver.h ends there and then, as on a GPU. What lies behind
// them begins as NaN.
#pragma once

#include <cstdint>
#include <memory>

namespace temper::kernels::sim {

// Of all allocations that there are now.
int64_t TakenBytes();

// Of one allocation, in the host's addresses.
struct Reached {
  void* at;
  int64_t bytes;  // to its end; negative: the address lies behind it
  bool host;      // the address is the host's own
};
// Where the numbers of an address of the device lie. One of the host's stays what it is, and has no end.
Reached Reach(const void* address);

}  // namespace temper::kernels::sim
