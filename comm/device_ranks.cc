// SPDX-License-Identifier: Apache-2.0
#include "comm/device_ranks.h"

#include <algorithm>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "comm/nccl.h"
#include "core/log.h"

namespace temper {

std::unique_ptr<DeviceRanks> OpenDeviceRanks(Communicator& host) {
#if TEMPER_GPU
  if (HaveDevicesOfTheirOwn(NameOfDevice(), host)) return std::make_unique<NcclCommunicator>(host);
  if (host.rank() == 0) LogWarning("ranks share a GPU: their gradients are added on the host");
#endif
  return nullptr;
}

bool HaveDevicesOfTheirOwn(std::string_view name, Communicator& host) {
  std::vector<std::string> names = host.AllGather(name);
  std::sort(names.begin(), names.end());
  return !names.front().empty() && std::adjacent_find(names.begin(), names.end()) == names.end();
}

}  // namespace temper
