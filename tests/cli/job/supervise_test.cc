// SPDX-License-Identifier: Apache-2.0
#include "cli/job/supervise.h"

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "tests/cli/program.h"

namespace temper {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(GoodHosts, AreTheFirstThatAreNotKnownAsBad) {
  const std::vector<std::string> hosts = {"a:2", "b:2", "c:2", "d:2"};
  EXPECT_THAT(GoodHosts(hosts, {}, 2), ElementsAre("a:2", "b:2"));
  EXPECT_THAT(GoodHosts(hosts, {"a"}, 2), ElementsAre("b:2", "c:2"));
  EXPECT_THAT(GoodHosts(hosts, {"c", "a"}, 2), ElementsAre("b:2", "d:2"));
  // Too few: who was named first is tried again.
  EXPECT_THAT(GoodHosts(hosts, {"c", "a"}, 3), ElementsAre("b:2", "c:2", "d:2"));
  EXPECT_THAT(GoodHosts(hosts, {"c", "a"}, 4), ElementsAre("a:2", "b:2", "c:2", "d:2"));
  EXPECT_TRUE(GoodHosts({}, {}, 0).empty());
}

// Commands in place of a run; what they leave is what a run would.
class Supervised : public ::testing::Test {
 protected:
  std::string Run(const std::string& does, const std::string& options = "--pause-seconds 0.1") {
    folder_.Write("does",
                  absl::StrCat("echo start >>", folder_.path(), "/starts\nn=$(wc -l <", folder_.path(),
                               "/starts)\nrun=", run_, "; mkdir -p $run\n", does, "\n"));
    return Shell(absl::StrCat("$TEMPER supervise --run-dir ", run_, " ", options, " -- env H={hosts} bash ",
                              folder_.path(), "/does 2>&1; echo code:$?; echo starts:$(wc -l <",
                              folder_.path(), "/starts)"))
        .out;
  }
  const Folder folder_;
  const std::string run_ = folder_.path() + "/run";
};

TEST_F(Supervised, StartsAgainUntilTheRunIsDone) {
  EXPECT_THAT(Run("echo $n >$run/$n.records; [ $n = 4 ] && exit 0; [ $n = 2 ] && kill -9 $$; exit 75"),
              AllOf(HasSubstr("code:0"), HasSubstr("starts:4"), HasSubstr("ended with 137")));
}

TEST_F(Supervised, EndsAfterStartsThatLeaveNothingNew) {
  EXPECT_THAT(Run("[ $n = 2 ] && echo >$run/state.json; exit 1"),
              AllOf(HasSubstr("code:1"), HasSubstr("starts:5"),
                    HasSubstr("ended with 1, and 3 starts in a row left nothing new")));
}

TEST_F(Supervised, LeavesAUsersMistakeAndARequestToStopAlone) {
  EXPECT_THAT(Run("exit 2"), AllOf(HasSubstr("code:2"), HasSubstr("starts:1")));
  EXPECT_THAT(Run("touch $run/stop; exit 75"), AllOf(HasSubstr("code:75"), HasSubstr("starts:2")));
}

TEST_F(Supervised, HandsARequestOnAndKillsWhatDoesNotHear) {
  EXPECT_THAT(Run("trap 'exit 75' USR1; kill -TERM $PPID; while :; do sleep 0.1; done"),
              AllOf(HasSubstr("code:75"), HasSubstr("starts:1")));
  EXPECT_THAT(Run("trap '' USR1; setsid sleep 47.11 & kill -TERM $PPID; while :; do sleep 0.1; done",
                  "--stop-seconds 0.5"),
              AllOf(HasSubstr("code:75"), HasSubstr("starts:2"), HasSubstr("it is killed")));
  EXPECT_THAT(Shell("pgrep -f '[s]leep 47.11' || echo none").out, HasSubstr("none"));
}

// As a launcher that cannot reach a machine does.
TEST_F(Supervised, KillsWhatHangsAndLeavesTheMachineOut) {
  const std::string found =
      R"({"start":"s","unix_seconds":1,"rank":1,"hosts":["b.cluster"],"text":"rank 1 (b) has stood still","found_by":0})";
  EXPECT_THAT(Run(absl::StrCat("echo hosts:$H; [ $n = 2 ] && exit 0; mkdir $run/.watch; echo '", found,
                               "' >$run/.watch/found.json; sleep 600"),
                  "--launcher-seconds 0.5 --hosts a:1,b:1,c:1 --nodes 2"),
              AllOf(HasSubstr("hosts:a:1,b:1"), HasSubstr("their watchdog ended them"),
                    HasSubstr("rank 1 (b) has stood still; it is started again, without b"),
                    HasSubstr("hosts:a:1,c:1"), HasSubstr("code:0"), HasSubstr("starts:2")));
  EXPECT_THAT(
      Run("[ $n = 4 ] && exit 0; sleep 1; date >$run/.watch/rank-0000; sleep 600", "--silent-minutes 0.02"),
      AllOf(HasSubstr("shown no sign of life"), HasSubstr("code:0"), HasSubstr("starts:4")));
  EXPECT_THAT(Run("[ $n = 6 ] && exit 0; sleep 600", "--start-minutes 0.02"),
              AllOf(HasSubstr("it has not begun"), HasSubstr("code:0"), HasSubstr("starts:6")));
}

}  // namespace
}  // namespace temper
