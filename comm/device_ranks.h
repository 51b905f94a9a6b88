// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

namespace temper {

class Communicator;

// What ranks do together with numbers in their devices' memory, which never comes to the host: sums of
// integers, one in any order. Every rank calls it in the same order; a peer that is lost is a CommError.
class DeviceRanks {
 public:
  virtual ~DeviceRanks() = default;
  // Each of `count` numbers, as many on every rank, becomes the sum of all ranks'; overflow wraps. What the
  // device was given before is done first, and this when it returns.
  virtual void SumIntegers(int64_t* numbers, int64_t count) = 0;
  // From any thread: whoever waits for a peer in a call throws. Nothing can be done with it afterwards.
  virtual void GiveUp() = 0;
};

// NCCL's, of the device that is current; null in a build without CUDA, and on all ranks where two have one
// device, which NCCL refuses: their numbers go through the host. Collective over `host`, which outlives it.
std::unique_ptr<DeviceRanks> OpenDeviceRanks(Communicator& host);

// Whether no two ranks have a device of the same name, and each says one. The same on all ranks; collective.
bool HaveDevicesOfTheirOwn(std::string_view name, Communicator& host);

}  // namespace temper
