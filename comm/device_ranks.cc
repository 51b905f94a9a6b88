// SPDX-License-Identifier: Apache-2.0
#include "comm/device_ranks.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "comm/communicator.h"
#include "comm/nccl.h"
#include "core/log.h"

namespace temper {

std::unique_ptr<DeviceRanks> OpenDeviceRanks(Communicator& host) {
#if TEMPER_GPU
  if (HaveDevicesOfTheirOwn(NameOfDevice(), host)) return std::make_unique<NcclCommunicator>(host);
#endif
  return nullptr;
}

// The first rank says why they have none.
bool HaveDevicesOfTheirOwn(std::string_view name, Communicator& host) {
  const std::vector<std::string> names = host.AllGather(name);
  std::string why;
  for (size_t rank = 0; rank < names.size() && why.empty(); ++rank) {
    const auto mine = names.begin() + rank, other = std::find(names.begin(), mine, *mine);
    if (mine->empty()) {
      why = absl::StrCat("CUDA does not say which GPU rank ", rank, " has");
    } else if (other != mine) {
      why = absl::StrCat("ranks ", other - names.begin(), " and ", rank, " share a GPU");
    }
  }
  if (!why.empty() && host.rank() == 0) LogWarning(why, ": the ranks' gradients are added on the host");
  return why.empty();
}

}  // namespace temper
