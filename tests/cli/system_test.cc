// SPDX-License-Identifier: Apache-2.0
// What the program asks of the system, before any command.
#include "gmock/gmock.h"
#include "tests/cli/program.h"

namespace temper {
namespace {

using ::testing::HasSubstr;

// The limit of a program that rule process starts is that of temper.
std::string CoreLimit(const std::string& before) {
  const Folder folder;
  const std::string judge = folder.Write("judge.sh", "grep 'core file' /proc/self/limits >&2; exit 1");
  const Ended ended = Shell(absl::StrCat(
      before, R"(echo '{"id":"a","completion":"b","answer":"c"}' | )",
      "$TEMPER score --rule process --set process.retries=0 --set process.command='[sh, \"", judge, "\"]'"));
  return ended.out + ended.err;
}

TEST(Program, LeavesNoCoreFileUnlessAsked) {
  EXPECT_THAT(CoreLimit("ulimit -Sc unlimited; "), HasSubstr("Max core file size        1  "));
  EXPECT_THAT(CoreLimit("ulimit -Sc 0; "), HasSubstr("Max core file size        1  "));
  EXPECT_THAT(CoreLimit("ulimit -Sc 4; export TEMPER_CORE=1; "),
              HasSubstr("Max core file size        4096  "));
}

// Schedulers send more than one signal before they kill; what a run saves meanwhile is not given up.
TEST(Program, IsEndedAtOnceByASecondInterruptAlone) {
  const auto ends = [](std::vector<int> signals) {
    HandleSignals();
    for (const int number : signals) {
      raise(number);
      usleep(600'000);
    }
    _exit(7);
  };
  EXPECT_EXIT(ends({SIGUSR1, SIGTERM, SIGUSR1, SIGINT}), ::testing::ExitedWithCode(7), HasSubstr(""));
  EXPECT_EXIT(ends({SIGINT, SIGINT}), ::testing::ExitedWithCode(kStoppedExit), HasSubstr(""));
}

TEST(Program, WithoutMemoryToStartSaysSoInOneLine) {
  for (int kilobytes = 420'000; kilobytes <= 560'000; kilobytes += 10'000) {
    const Ended ended = Shell(absl::StrCat("ulimit -v ", kilobytes, "; $TEMPER --version"));
    EXPECT_GE(ended.code, 0) << kilobytes << ": " << ended.err;
    EXPECT_NE(ended.code, 134) << kilobytes << ": " << ended.err;
    EXPECT_LE(std::count(ended.err.begin(), ended.err.end(), '\n'), 1) << ended.err;
  }
}

TEST(Program, TakesNothingButAFileForAFile) {
  const Folder folder;
  for (const std::string recipe : {"/proc/self/mem", "/dev/urandom", "/dev/null", "$DIR/fifo", "$DIR"}) {
    const Ended ended =
        Shell(absl::StrCat("DIR=", folder.path(), "; mkfifo $DIR/fifo 2>/dev/null; timeout 20 $TEMPER run ",
                           recipe, " --run-dir $DIR/run"));
    EXPECT_EQ(ended.code, kUserExit) << recipe << ": " << ended.err;
    EXPECT_EQ(std::count(ended.err.begin(), ended.err.end(), '\n'), 1) << ended.err;
  }
}

TEST(Program, RunsInNoFolderThatOthersMayChange) {
  const Folder folder;
  const std::string run =
      absl::StrCat("DIR=", folder.path(),
                   "/run; mkdir -p -m 777 $DIR; $TEMPER run configs/tiny/short.yaml --run-dir $DIR");
  const Ended ended = Shell(run);
  EXPECT_EQ(ended.code, kUserExit);
  EXPECT_THAT(ended.err,
              HasSubstr("/run: every user of this machine may write there: chmod go-w it; or --force"));
  EXPECT_TRUE(ListDirectory(folder.path() + "/run")->empty());
}

TEST(Program, WritesThroughNoLinkOfARunsFolder) {
  for (const std::string name :
       {"metrics.jsonl", "config_history.txt", ".lock", "base", "zero/trajectories"}) {
    const Folder folder;
    const std::string kept = folder.Write("kept", "kept");
    const Ended ended =
        Shell(absl::StrCat("DIR=", folder.path(), "/run; mkdir -p $DIR/zero $DIR/../other; ln -s ",
                           name.find('.') == name.npos ? "../other" : "../kept", " $DIR/", name,
                           "; $TEMPER run configs/tiny/short.yaml --run-dir $DIR"));
    EXPECT_EQ(ended.code, kUserExit) << name << ended.err;
    EXPECT_THAT(ended.err, HasSubstr(absl::StrCat(name, ": is a link"))) << name;
    EXPECT_EQ(folder.Read("kept"), "kept");
    EXPECT_TRUE(ListDirectory(folder.path() + "/other")->empty());
  }
}

}  // namespace
}  // namespace temper
