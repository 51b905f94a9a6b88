// SPDX-License-Identifier: Apache-2.0
#include "comm/device_ranks.h"

#include "comm/nccl.h"

namespace temper {

std::unique_ptr<DeviceRanks> OpenDeviceRanks(Communicator& host) {
#if TEMPER_GPU
  return std::make_unique<NcclCommunicator>(host);
#else
  return nullptr;
#endif
}

}  // namespace temper
