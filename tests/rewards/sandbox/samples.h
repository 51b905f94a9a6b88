// SPDX-License-Identifier: Apache-2.0
// What the tests of the sandbox and of rule code share. Each attack runs twice: as root, where the sandbox
// changes the user, and as an ordinary user, where it makes a user namespace.
#pragma once

#include <fcntl.h>
#include <grp.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/json/json.h"
#include "gtest/gtest.h"
#include "rewards/sandbox/sandbox.h"
#include "tests/rewards/samples.h"

namespace temper {

enum class Who { kRoot, kUser };
inline std::string WhoName(Who who) { return who == Who::kRoot ? "AsRoot" : "AsUser"; }

// This process as an ordinary user, until destroyed. The number is the process's own, so that what belongs to
// it can be told from what another test runs at the same time.
class OrdinaryUser {
 public:
  OrdinaryUser() {
    groups_.resize(static_cast<size_t>(getgroups(0, nullptr)));
    if (getgroups(static_cast<int>(groups_.size()), groups_.data()) < 0) abort();
    if (setgroups(0, nullptr) != 0 || setegid(id()) != 0 || seteuid(id()) != 0) abort();
    prctl(PR_SET_DUMPABLE, 1);  // as after an execve
  }
  ~OrdinaryUser() {
    if (seteuid(0) != 0 || setegid(0) != 0 || setgroups(groups_.size(), groups_.data()) != 0) abort();
    prctl(PR_SET_DUMPABLE, 1);
  }
  static uid_t id() { return 100000 + static_cast<uid_t>(getpid()); }

 private:
  std::vector<gid_t> groups_;
};

// Processes of a user, by their effective number; this one left out.
inline std::vector<std::string> ProcessesOf(uid_t user) {
  std::vector<std::string> found;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", error)) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != name.npos || name == std::to_string(getpid())) continue;
    std::ifstream status(entry.path() / "status");
    for (std::string line; std::getline(status, line);) {
      unsigned real = 0, effective = 0;
      if (sscanf(line.c_str(), "Uid: %u %u", &real, &effective) == 2 && effective == user) {
        found.push_back(name);
      }
    }
  }
  return found;
}

// Those of the system's Python, found once.
inline const HostFiles& PythonFiles() {
  static const absl::StatusOr<HostFiles> files = HostFiles::OfPython("/usr/bin/python3", {});
  if (!files.ok()) abort();
  return *files;
}

// Sets the process up as `who`, with things of the host's that no program may reach; afterwards nothing of
// the run may be left.
class Attacked {
 public:
  static constexpr char kSecret[] = "the-host's-secret";

  explicit Attacked(Who who) {
    if (who == Who::kRoot && geteuid() != 0) {
      skip_ = "needs root";
      return;
    }
    canary_ = absl::StrCat("/tmp/temper-canary-", getpid());
    std::ofstream(canary_) << kSecret;
    std::filesystem::permissions(canary_, std::filesystem::perms::all);
    setenv("TEMPER_CANARY", kSecret, 1);
    const int low = open(canary_.c_str(), O_RDWR);
    open_file_ =
        fcntl(low, F_DUPFD, 100);  // not closed at execve, and no number that the sandbox uses itself
    close(low);
    if (who == Who::kUser && geteuid() == 0) user_ = std::make_unique<OrdinaryUser>();
    absl::StatusOr<std::unique_ptr<Sandbox>> made = Sandbox::Create();
    if (made.ok()) {
      sandbox_ = *std::move(made);
    } else {
      skip_ = std::string(made.status().message());
    }
  }
  ~Attacked() {
    const uid_t of_run = user_ != nullptr ? OrdinaryUser::id() : 0x60000000 + static_cast<uid_t>(gettid());
    const bool root = user_ != nullptr || geteuid() == 0;
    user_.reset();
    if (root) {
      EXPECT_EQ(ProcessesOf(of_run), std::vector<std::string>()) << "left behind";
    }
    if (canary_.empty()) return;
    std::string kept;
    std::getline(std::ifstream(canary_), kept);
    EXPECT_EQ(kept, kSecret) << "a file of the host's was written to";
    close(open_file_);
    std::filesystem::remove(canary_);
  }

  const std::string& skip() const { return skip_; }
  const std::string& canary() const { return canary_; }
  const Sandbox& sandbox() const { return *sandbox_; }

  // Only what has to be stopped gets the short time: on a busy machine others need longer than they work.
  static constexpr double kShort = 1.5, kLong = 60;

  static SandboxLimits Limits(double wall_seconds) {
    return {.cpu_seconds = wall_seconds == kShort ? 1 : 10,
            .wall_seconds = wall_seconds,
            .memory_bytes = 256 << 20,
            .stack_bytes = 32 << 20,
            .processes = 16,
            .file_bytes = 1 << 20,
            .disk_bytes = 4 << 20};
  }

  SandboxRun Python(std::string_view code, double wall_seconds = kLong) const {
    const absl::StatusOr<SandboxRun> run =
        sandbox_->Run({.command = {PythonFiles().program(), "-s", "-B", "/box/solution.py"},
                       .host = &PythonFiles(),
                       .files = {{"solution.py", code}},
                       .limits = Limits(wall_seconds)});
    EXPECT_TRUE(run.ok()) << run.status().message();
    if (!run.ok()) return {};
    EXPECT_EQ(run->output.find(kSecret), std::string::npos) << "the host's secret came out";
    EXPECT_EQ(run->errors.find(kSecret), std::string::npos) << "the host's secret came out";
    return *run;
  }

 private:
  std::string skip_, canary_;
  int open_file_ = -1;
  std::unique_ptr<OrdinaryUser> user_;
  std::unique_ptr<Sandbox> sandbox_;
};

inline RuleConfig CodeConfig() {
  RuleConfig config = Config("code");
  config.code.cpu_seconds = 1;
  config.code.wall_seconds = 60;
  config.code.memory_mib = 256;
  config.code.output_mib = 1;
  return config;
}

// A problem whose row is this JSON.
inline Prompt Row(const std::string& json) {
  Prompt prompt = Problem("");
  prompt.fields = json;
  return prompt;
}

inline std::string Fenced(const std::string& code, const std::string& label = "python") {
  return absl::StrCat("I think. </think>\n```", label, "\n", code, "\n```\n");
}

}  // namespace temper
