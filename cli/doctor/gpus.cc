// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "cli/doctor/checks.h"
#include "core/files/file.h"
#include "core/text.h"

namespace temper {
namespace {

// The first line of what the kernel's driver says of itself; empty: there is none.
std::string DriverText() {
  const auto text = ReadFile("/proc/driver/nvidia/version", 1 << 16);
  if (!text.ok()) return "";
  const std::vector<std::string> lines = absl::StrSplit(*text, '\n');
  return lines[0];
}

}  // namespace

Finding OfGpus(const GpusFound& found, const GpusWanted& wanted) {
  const bool are_wanted = wanted.device != "cpu";
  const std::string driver = found.driver.empty() ? "" : absl::StrCat("; ", found.driver);
  if (found.gpus.empty()) {
    if (are_wanted)
      return {"GPUs", Finding::kFail,
              absl::StrCat("the cluster file says ", wanted.device, ", and ", found.why_none, driver)};
    if (!found.driver.empty())
      return {"GPUs", Finding::kWarn, absl::StrCat("not used: ", found.why_none, driver)};
    return {"GPUs", Finding::kOk, "none, and no NVIDIA driver: recipes run with device: cpu"};
  }
  const Gpu& mine = found.gpus[found.mine];
  const auto seen = static_cast<int64_t>(found.gpus.size());
  const std::string text =
      absl::StrCat(found.mine, " of ", seen, ", ", Printable(mine.name), ": ",
                   mine.exact ? "temper's own kernels, exact" : "LibTorch's ops, not exact", driver);
  if (!are_wanted) return {"GPUs", Finding::kOk, text};
  if (found.sharing > 1)
    return {"GPUs", Finding::kFail,
            absl::StrCat(found.sharing, " ranks share GPU ", text,
                         ": as many ranks on a machine as it has GPUs, and all of them visible "
                         "(--gpus-per-node, CUDA_VISIBLE_DEVICES)")};
  // A rank among others may see its own alone.
  if (found.ranks == 1 && seen < wanted.per_node)
    return {"GPUs", Finding::kFail,
            absl::StrCat("the cluster file says ", wanted.per_node,
                         " ranks on a machine, and here are GPUs for ", seen, ": ", text)};
  if (!absl::StrContains(absl::AsciiStrToUpper(mine.name), absl::AsciiStrToUpper(wanted.device)))
    return {"GPUs", Finding::kWarn,
            absl::StrCat("the cluster file says ", wanted.device, ", and here is ", text)};
  return {"GPUs", Finding::kOk, text};
}

Finding CheckGpus(const GpusWanted& wanted, Communicator& world) {
  GpusFound found{.gpus = GpusHere(), .ranks = world.size(), .driver = DriverText()};
  const absl::StatusOr<at::Device> mine = DeviceByName("cuda");
  found.why_none = std::string(mine.status().message());
  if (mine.ok()) found.mine = mine->index();
  const std::string uuid = mine.ok() ? found.gpus[found.mine].uuid : "";
  const std::vector<std::string> all = world.AllGather(uuid);
  if (!uuid.empty()) found.sharing = static_cast<int>(std::count(all.begin(), all.end(), uuid));
  return OfGpus(found, wanted);
}

}  // namespace temper
