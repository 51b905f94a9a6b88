// SPDX-License-Identifier: Apache-2.0
// Commands run in this process, and the program run as a process of its own.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "cli/line/command.h"
#include "comm/communicator.h"
#include "core/files/file.h"
#include "data/record_file.h"
#include "gtest/gtest.h"

namespace temper {

// A folder of one test, with what is in it gone at the end.
class Folder {
 public:
  Folder() : path_(absl::StrCat(::testing::TempDir(), "temper_cli_", getpid(), "_", count_++)) {
    EXPECT_TRUE(MakeDirectories(path_).ok());
  }
  ~Folder() { EXPECT_TRUE(RemoveTree(path_).ok()); }
  const std::string& path() const { return path_; }
  std::string Write(const std::string& name, const std::string& text) const {
    const std::string path = path_ + "/" + name;
    EXPECT_TRUE(WriteFileAtomic(path, text).ok());
    return path;
  }
  std::string Read(const std::string& name) const { return ReadFile(path_ + "/" + name).value_or("?"); }

 private:
  static inline int count_ = 0;
  const std::string path_;
};

// A record file with a prompt.
inline std::string WriteRecord(const std::string& path) {
  const auto writer = RecordWriter::Open(path);
  EXPECT_TRUE(writer.ok() && (*writer)->WritePrompt("zero", 0, {.id = "a", .tokens = {1, 2}}).ok());
  return path;
}

struct Ran {
  absl::Status status;
  std::string out;
  std::vector<std::string> lines() const { return absl::StrSplit(out, '\n', absl::SkipEmpty()); }
};

// A command of the table in this process; `input` is its standard input.
inline Ran RunCommand(const std::string& name, const std::vector<std::string>& arguments,
                      const std::string& input = "") {
  const Folder folder;
  const int in = open(folder.Write("in", input).c_str(), O_RDONLY | O_CLOEXEC);
  const int out = open(folder.Write("out", "").c_str(), O_WRONLY | O_CLOEXEC);
  const int old_in = dup(STDIN_FILENO), old_out = dup(STDOUT_FILENO);
  dup2(in, STDIN_FILENO);
  dup2(out, STDOUT_FILENO);
  SelfCommunicator world;
  Ran ran{absl::UnimplementedError(name + " is not in the table"), ""};
  for (const Command& command : Commands()) {
    if (name == command.name) ran.status = command.run({.arguments = arguments, .world = &world});
  }
  dup2(old_in, STDIN_FILENO);
  dup2(old_out, STDOUT_FILENO);
  for (int file : {in, out, old_in, old_out}) close(file);
  ran.out = folder.Read("out");
  return ran;
}

// Its lines where it succeeds.
inline std::vector<std::string> Lines(const std::string& name, const std::vector<std::string>& arguments,
                                      const std::string& input = "") {
  const Ran ran = RunCommand(name, arguments, input);
  EXPECT_TRUE(ran.status.ok()) << ran.status;
  return ran.lines();
}

// The message of its error.
inline std::string ErrorOf(const std::string& name, const std::vector<std::string>& arguments,
                           const std::string& input = "") {
  const Ran ran = RunCommand(name, arguments, input);
  EXPECT_FALSE(ran.status.ok());
  return std::string(ran.status.message());
}

// Whether it is the user's to mend, and told in one line.
inline bool IsUsers(const absl::Status& status) {
  return ExitCode(status.code()) == kUserExit && !absl::StrContains(status.message(), "\n");
}

struct Ended {
  int code = -1;  // -N: signal N
  std::string out, err;
};

// A line of a shell; $TEMPER in it is the program, build/PRESET/temper.
inline Ended Shell(const std::string& line) {
  char self[4096] = {};
  EXPECT_GT(readlink("/proc/self/exe", self, sizeof self - 1), 0);
  const std::string path = std::string(self).substr(0, std::string(self).rfind('/'));
  const std::string program = path + "/../temper";
  EXPECT_TRUE(FileExists(program)) << program << ": build target temper first";
  const Folder folder;
  const pid_t child = fork();
  if (child == 0) {
    setenv("TEMPER", program.c_str(), 1);
    const std::string out = folder.path() + "/out", err = folder.path() + "/err";
    dup2(open(out.c_str(), O_WRONLY | O_CREAT, 0600), STDOUT_FILENO);
    dup2(open(err.c_str(), O_WRONLY | O_CREAT, 0600), STDERR_FILENO);
    execl("/bin/bash", "bash", "-c", line.c_str(), nullptr);
    _exit(127);
  }
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status), folder.Read("out"),
          folder.Read("err")};
}

}  // namespace temper
