// SPDX-License-Identifier: Apache-2.0
#include "rewards/sandbox/cgroup.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/files/file.h"

namespace temper {
namespace {

constexpr char kPrefix[] = "temper-";

// A file of the kernel's; these say they have 0 bytes.
std::string ReadAll(const std::string& path) {
  std::string text(1 << 16, 0);
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const ssize_t bytes = file < 0 ? 0 : read(file, text.data(), text.size());
  if (file >= 0) close(file);
  text.resize(bytes > 0 ? static_cast<size_t>(bytes) : 0);
  return text;
}

bool WriteText(const std::string& path, const std::string& text) {
  const int file = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (file < 0) return false;
  const bool ok = write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  close(file);
  return ok;
}

// The path of our group in a hierarchy: of version 1's `controller`, or of version 2 ("").
std::optional<std::string> PathIn(const std::string& groups, const std::string& controller) {
  for (const absl::string_view line : absl::StrSplit(groups, '\n')) {
    const std::vector<std::string> parts = absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (parts.size() != 3) continue;
    const std::vector<std::string> names = absl::StrSplit(parts[1], ',');
    for (const std::string& name : names) {
      if (name == controller) return parts[2] == "/" ? "" : parts[2];
    }
  }
  return std::nullopt;
}

bool CanMakeIn(const std::string& base, const std::vector<const char*>& files) {
  const std::string probe = absl::StrCat(base, "/", kPrefix, getpid(), "-probe");
  if (mkdir(probe.c_str(), 0700) != 0) return false;
  bool ok = true;
  for (const char* file : files) ok = ok && access(absl::StrCat(probe, "/", file).c_str(), W_OK) == 0;
  rmdir(probe.c_str());
  return ok;
}

// Groups of processes that were killed before they could tidy up.
void RemoveStale(const std::string& base) {
  const absl::StatusOr<std::vector<std::string>> names = ListDirectory(base);
  if (!names.ok()) return;
  for (const std::string& name : *names) {
    if (!absl::StartsWith(name, kPrefix)) continue;
    const std::vector<std::string> parts = absl::StrSplit(name, '-');
    int pid = 0;
    if (parts.size() < 2 || !absl::SimpleAtoi(parts[1], &pid)) continue;
    if (kill(pid, 0) != 0 && errno == ESRCH) rmdir(absl::StrCat(base, "/", name).c_str());
  }
}

}  // namespace

SandboxCgroups SandboxCgroups::Find(const std::string& tree, const std::string& self) {
  SandboxCgroups found;
  const std::string groups = ReadAll(self);
  const std::optional<std::string> memory = PathIn(groups, "memory"), pids = PathIn(groups, "pids"),
                                   unified = PathIn(groups, "");
  if (memory && pids) {
    const std::string memory_base = absl::StrCat(tree, "/memory", *memory);
    const std::string pids_base = absl::StrCat(tree, "/pids", *pids);
    if (CanMakeIn(memory_base, {"memory.limit_in_bytes", "cgroup.procs"}) &&
        CanMakeIn(pids_base, {"pids.max", "cgroup.procs"})) {
      found.version_ = 1;
      found.bases_ = {memory_base, pids_base};
    }
  } else if (unified) {
    // A group with processes in it may have no controlled children (the root's apart): a sibling then.
    const std::string own = absl::StrCat(tree, *unified);
    for (const std::string& base : {own, own.substr(0, own.rfind('/')), tree}) {
      if (!absl::StartsWith(base, tree)) continue;
      WriteText(base + "/cgroup.subtree_control", "+memory +pids");
      if (!CanMakeIn(base, {"memory.max", "pids.max", "cgroup.procs"})) continue;
      found.version_ = 2;
      found.bases_ = {base};
      break;
    }
  }
  for (const std::string& base : found.bases_) RemoveStale(base);
  return found;
}

absl::StatusOr<std::unique_ptr<SandboxCgroup>> SandboxCgroups::Make(int64_t memory_bytes,
                                                                    int64_t processes) const {
  static std::atomic<int64_t> counter{0};
  auto group = std::make_unique<SandboxCgroup>();
  const std::string name = absl::StrCat("/", kPrefix, getpid(), "-", counter.fetch_add(1));
  for (const std::string& base : bases_) {
    if (mkdir((base + name).c_str(), 0700) != 0) return SystemError(base + name, "make a control group");
    group->folders_.push_back(base + name);
  }
  const std::string memory = group->folders_.front(), pids = group->folders_.back();
  const bool limited = WriteText(memory + (version_ == 2 ? "/memory.max" : "/memory.limit_in_bytes"),
                                 absl::StrCat(memory_bytes)) &&
                       WriteText(pids + "/pids.max", absl::StrCat(processes));
  if (!limited) return SystemError(memory, "limit a control group");
  // Where the kernel counts swap at all, none of it.
  version_ == 2 ? WriteText(memory + "/memory.swap.max", "0")
                : WriteText(memory + "/memory.memsw.limit_in_bytes", absl::StrCat(memory_bytes));
  for (const std::string& folder : group->folders_) {
    const std::string path = folder + "/cgroup.procs";
    const int file = open(path.c_str(), O_WRONLY | O_CLOEXEC);
    if (file < 0) return SystemError(path, "open");
    group->joins_.push_back(file);
  }
  return group;
}

SandboxCgroup::~SandboxCgroup() {
  for (const int file : joins_) close(file);
  for (const std::string& folder : folders_) {
    // The kernel may take a moment to forget the last process.
    for (int i = 0; i < 100 && rmdir(folder.c_str()) != 0 && errno == EBUSY; ++i) usleep(1000);
  }
}

bool SandboxCgroup::RanOutOfMemory() const {
  if (folders_.empty()) return false;
  for (const char* file : {"/memory.events", "/memory.oom_control"}) {
    for (const absl::string_view line : absl::StrSplit(ReadAll(folders_.front() + file), '\n')) {
      if (absl::StartsWith(line, "oom_kill ")) return line != "oom_kill 0";
    }
  }
  return false;
}

}  // namespace temper
