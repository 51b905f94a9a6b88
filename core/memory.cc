// SPDX-License-Identifier: Apache-2.0
#include "core/memory.h"

#include <sys/resource.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/files/file.h"

namespace temper {
namespace {

// The number of the line that begins with `key`; of an empty key: of the file. "max" is none.
std::optional<int64_t> NumberIn(const std::string& path, absl::string_view key) {
  const absl::StatusOr<std::string> text = ReadFile(path, 1 << 20);
  if (!text.ok()) return std::nullopt;
  for (absl::string_view line : absl::StrSplit(*text, '\n')) {
    const std::vector<absl::string_view> words =
        absl::StrSplit(line, absl::ByAnyChar(" :\t"), absl::SkipEmpty());
    const size_t at = key.empty() ? 0 : 1;
    int64_t number = 0;
    if (words.size() > at && (key.empty() || words[0] == key) && absl::SimpleAtoi(words[at], &number))
      return number;
  }
  return std::nullopt;
}

// Names of a version's files in a control group's folder.
struct Files {
  const char *limit, *used, *cache;
};
constexpr Files kVersion2 = {"memory.max", "memory.current", "inactive_file"};
constexpr Files kVersion1 = {"memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"};

// The tightest of the group and those above it.
void AddGroup(const std::string& mount, std::string group, const Files& files, int processes,
              FreeMemory* least) {
  while (true) {
    const std::string folder = mount + group;
    const std::optional<int64_t> limit = NumberIn(absl::StrCat(folder, "/", files.limit), "");
    const std::optional<int64_t> used = NumberIn(absl::StrCat(folder, "/", files.used), "");
    if (limit && used) {
      const int64_t cache = NumberIn(folder + "/memory.stat", files.cache).value_or(0);
      const int64_t free = std::max<int64_t>(0, *limit - *used + cache) / processes;
      if (free < least->bytes)
        *least = {free, absl::StrCat("the control group ", group.empty() ? "/" : group)};
    }
    if (group.empty()) return;
    group.resize(group.rfind('/') == std::string::npos ? 0 : group.rfind('/'));
  }
}

}  // namespace

FreeMemory MemoryThatIsFree(int processes, const std::string& root) {
  FreeMemory least = {std::numeric_limits<int64_t>::max(), "nothing"};
  if (const auto kib = NumberIn(root + "/proc/meminfo", "MemAvailable"))
    least = {*kib * 1024 / processes, "this machine's MemAvailable"};
  const absl::StatusOr<std::string> groups = ReadFile(root + "/proc/self/cgroup", 1 << 20);
  for (absl::string_view line : absl::StrSplit(groups.value_or(""), '\n')) {
    const std::vector<std::string> parts = absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (parts.size() != 3) continue;
    const std::string group = parts[2] == "/" ? "" : parts[2];
    const std::vector<std::string> controllers = absl::StrSplit(parts[1], ',');
    if (parts[1].empty()) AddGroup(root + "/sys/fs/cgroup", group, kVersion2, processes, &least);
    if (std::find(controllers.begin(), controllers.end(), "memory") != controllers.end())
      AddGroup(root + "/sys/fs/cgroup/memory", group, kVersion1, processes, &least);
  }
  struct rlimit limit;
  if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
    const int64_t used = NumberIn(root + "/proc/self/status", "VmSize").value_or(0) * 1024;
    const int64_t free = std::max<int64_t>(0, static_cast<int64_t>(limit.rlim_cur) - used);
    if (free < least.bytes) least = {free, "ulimit -v"};
  }
  return least;
}

}  // namespace temper
