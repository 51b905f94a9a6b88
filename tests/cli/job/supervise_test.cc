// SPDX-License-Identifier: Apache-2.0
#include "cli/job/supervise.h"

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "tests/cli/program.h"

namespace temper {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

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
  // What a start leaves when it begins.
  static std::string Begins(const std::string& start) {
    return absl::StrCat(R"(echo '{"event":"start","unix_seconds":1,"start":")", start,
                        R"("}' >>$run/journal.jsonl; mkdir -p $run/.watch/)", start, "; ");
  }
  const Folder folder_;
  const std::string run_ = folder_.path() + "/run";
  const std::string found_ =
      R"({"start":"s","unix_seconds":1,"rank":1,"hosts":["b.cluster"],"text":"rank 1 (b) has stood still","found_by":0})";
};

TEST_F(Supervised, StartsAgainUntilTheRunIsDone) {
  const std::string record = WriteRecord(folder_.path() + "/whole");
  EXPECT_THAT(Run(absl::StrCat("cp ", record, " $run/$n.records; ",
                               "[ $n = 4 ] && exit 0; [ $n = 2 ] && kill -9 $$; exit 75")),
              AllOf(HasSubstr("code:0"), HasSubstr("starts:4"), HasSubstr("ended with 137")));
}

TEST_F(Supervised, EndsAfterStartsThatLeaveNothingNew) {
  EXPECT_THAT(Run("[ $n = 9 ] && exit 0; head -c $n /dev/zero >$run/a.records; exit 1",
                  "--failures 2 --pause-seconds 0.1"),
              AllOf(HasSubstr("code:1"), HasSubstr("starts:2")));
  EXPECT_THAT(Run("[ $n = 4 ] && echo >$run/state.json; exit 1"),
              AllOf(HasSubstr("code:1"), HasSubstr("starts:7"),
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
  EXPECT_THAT(Run(absl::StrCat("echo hosts:$H; [ $n = 2 ] && exit 0; ", Begins("s"), "echo '", found_,
                               "' >$run/.watch/s/found.json; sleep 600"),
                  "--launcher-seconds 0.5 --hosts a:1,b:1,c:1 --nodes 2"),
              AllOf(HasSubstr("hosts:a:1,b:1"), HasSubstr("their watchdog ended them"),
                    HasSubstr("rank 1 (b) has stood still; it is started again, without b"),
                    HasSubstr("hosts:a:1,c:1"), HasSubstr("code:0"), HasSubstr("starts:2")));
  EXPECT_THAT(
      Run(absl::StrCat("[ $n = 4 ] && exit 0; ", Begins("t"), "date >$run/.watch/t/rank-0000; sleep 600"),
          "--silent-minutes 0.02"),
      AllOf(HasSubstr("shown no sign of life"), HasSubstr("code:0"), HasSubstr("starts:4")));
  EXPECT_THAT(Run("[ $n = 6 ] && exit 0; sleep 600", "--start-minutes 0.02"),
              AllOf(HasSubstr("it has not begun"), HasSubstr("code:0"), HasSubstr("starts:6")));
}

// The third one has all the time: the second one may only have been slow.
TEST_F(Supervised, KillsAStartSoonerWhereTheOneBeforeItBegan) {
  const absl::Time began = absl::Now();
  EXPECT_THAT(
      Run(absl::StrCat("case $n in 1) ", Begins("s"), "sleep 1; exit 75;; 2) sleep 600;; *) sleep 3; esac"),
          "--start-minutes 5 --restart-minutes 0.01 --pause-seconds 0.1"),
      AllOf(HasSubstr("it has not begun"), HasSubstr("code:0"), HasSubstr("starts:3")));
  EXPECT_LT(absl::Now() - began, absl::Minutes(4));
}

// One of a start that was cut off, and writes when it is back.
TEST_F(Supervised, ListensToTheRanksOfItsOwnStartAlone) {
  EXPECT_THAT(Run(absl::StrCat("mkdir -p $run/.watch/s; ", Begins("t"), "echo '", found_,
                               "' | tee $run/.watch/found.json >$run/.watch/s/found.json; sleep 2"),
                  "--launcher-seconds 0.5"),
              AllOf(HasSubstr("code:0"), HasSubstr("starts:1"), Not(HasSubstr("their watchdog"))));
}

TEST_F(Supervised, LeavesOutAgainWhatHadAnotherChanceWhereAStartDoesNotBegin) {
  const auto finds = [&](const char* start, const char* host) {
    return absl::StrCat(Begins(start), "echo '{\"start\":\"", start,
                        "\",\"unix_seconds\":1,\"rank\":1,\"hosts\":[\"", host,
                        "\"],\"text\":\"lost\"}' >$run/.watch/", start, "/found.json; sleep 0.7; exit 75;; ");
  };
  EXPECT_THAT(Run(absl::StrCat("echo hosts$n:$H; case $n in 1) ", finds("s", "b"), "2) ", finds("t", "c"),
                               "3) sleep 600;; esac"),
                  "--pause-seconds 0.1 --start-minutes 0.02 --failures 9 --hosts a,b,c,d --nodes 3"),
              AllOf(HasSubstr("hosts1:a,b,c"), HasSubstr("hosts2:a,c,d"), HasSubstr("hosts3:a,b,d"),
                    HasSubstr("hosts4:a,c,d"), HasSubstr("code:0")));
}

// Where the disk is full, say.
TEST_F(Supervised, LeavesNoMachineOutForRanksThatEndResumableBeforeTheyBegin) {
  EXPECT_THAT(Run("echo hosts$n:$H; [ $n = 2 ] || exit 75", "--pause-seconds 0.1 --hosts a,b,c --nodes 2"),
              AllOf(HasSubstr("hosts1:a,b"), HasSubstr("hosts2:a,b"), HasSubstr("code:0")));
}

TEST_F(Supervised, StartsOnTheMachinesThatItsSlurmJobHas) {
  folder_.Write("squeue", "#!/bin/bash\necho warning: squeue >&2; cat $(dirname $0)/has\n");
  folder_.Write(
      "scontrol",
      "#!/bin/bash\necho warning: scontrol >&2; [ $3 = 'n[1-3]' ] && seq -f n%g 3 || echo $3 | tr , '\\n'\n");
  const std::string slurm = absl::StrCat("cd ", folder_.path(), "; chmod +x s*; echo 'n[1-3]' >has; ",
                                         "export PATH=$PWD:$PATH SLURM_JOB_ID=7; ");
  const auto supervise = [&](const std::string& does) {
    return Shell(absl::StrCat(slurm,
                              "$TEMPER supervise --run-dir run --hosts slurm --nodes 2 --pause-seconds 0.1 "
                              "-- bash -c 'echo ",
                              "on:{hosts}, held:$TEMPER_HELD_MACHINES; ", does, "' 2>&1; echo code:$?"))
        .out;
  };
  EXPECT_THAT(supervise("[ -e run ] || { mkdir run; echo n2,n3 >has; exit 1; }"),
              AllOf(HasSubstr("on:n1,n2, held:3\n"), HasSubstr("started again\n"),
                    HasSubstr("on:n2,n3, held:2\ncode:0\n")));
  EXPECT_THAT(supervise("echo n3 >has; exit 1"),
              AllOf(HasSubstr("on:n1,n2, held:3\n"),
                    HasSubstr("the job has 1 machines left, of 2 that are needed"), HasSubstr("code:1\n")));
}

// As where Slurm's names are not the machines' own.
TEST_F(Supervised, SaysWhereTheRanksNameAMachineThatItDoesNotKnow) {
  EXPECT_THAT(Run(absl::StrCat("[ $n = 2 ] && exit 0; ", Begins("s"), "echo '", found_,
                               "' >$run/.watch/s/found.json; exit 75"),
                  "--hosts node1,node2,node3 --nodes 2"),
              AllOf(HasSubstr("the ranks name b.cluster, and the machines that they are started on are "
                              "node1, node2: it is not left out"),
                    HasSubstr("starts:2")));
}

TEST_F(Supervised, KeepsARequestOfItsJobOfSlurmAlone) {
  for (const std::string job : {"7", "8"}) {
    const std::string out =
        Shell(absl::StrCat("run=", run_, "; mkdir -p $run; echo '{\"job\":\"7\"}' >$run/launched.json; ",
                           "touch $run/stop; SLURM_RESTART_COUNT=1 SLURM_JOB_ID=", job,
                           " $TEMPER supervise --run-dir $run -- true 2>&1; echo code:$?"))
            .out;
    EXPECT_THAT(out, HasSubstr(job == "7" ? "code:75\n" : "code:0\n"));
  }
}

// As an update takes; one that has not begun is killed.
TEST_F(Supervised, LetsRanksThatHaveBegunTakeTheTimeThatAStopNeeds) {
  const std::string hears = absl::StrCat("touch $run/stop; sleep 1; ", Begins("s"), "sleep 2; exit 75");
  EXPECT_THAT(Run(hears, "--stop-seconds 2"), AllOf(HasSubstr("code:75"), Not(HasSubstr("it is killed"))));
  EXPECT_THAT(Run("touch $run/stop; sleep 60", "--stop-seconds 0.5"),
              AllOf(HasSubstr("code:75"), HasSubstr("it is killed")));
}

TEST_F(Supervised, LeavesOutWhatWasLeftOutLately) {
  const std::string does =
      "echo hosts:$H; echo \"{\\\"event\\\":\\\"restart\\\",\\\"unix_seconds\\\":$when,"
      "\\\"without\\\":[\\\"a\\\",\\\"gone\\\"]}\" >>$run/journal.jsonl";
  const std::string hosts = "--hosts a:1,b:1,c:1 --nodes 2";
  EXPECT_THAT(Run("when=$(date +%s); " + does, hosts), HasSubstr("hosts:a:1,b:1"));
  EXPECT_THAT(Run("when=9; " + does, hosts), HasSubstr("hosts:b:1,c:1"));
  EXPECT_THAT(Run("true; " + does, hosts), HasSubstr("hosts:a:1,b:1"));
}

TEST_F(Supervised, IsStoppedBetweenTwoStarts) {
  const Ended ended = Shell(absl::StrCat(
      "run=", run_, "; mkdir $run; touch $run/stop; $TEMPER supervise --run-dir $run --pause-seconds 20 -- ",
      "bash -c \"echo start >>$run/starts; exit 1\" 2>/dev/null & until [ -s $run/starts ]; do sleep 0.05; "
      "done; ",
      "sleep 1; $TEMPER status $run; $TEMPER stop $run; echo stop:$?; wait $!; echo code:$?; cat "
      "$run/starts"));
  EXPECT_THAT(ended.out, AllOf(HasSubstr("not begun; it is being started"),
                               HasSubstr("stop:0\ncode:75\nstart\n"), Not(HasSubstr("start\nstart"))));
}

TEST_F(Supervised, LetsSaveWhatAShellAroundItStarted) {
  const std::string saves = folder_.Write(
      "saves",
      absl::StrCat("trap 'sleep 1; echo >", run_, "/saved; exit 75' USR1; while :; do sleep 0.1; done"));
  EXPECT_THAT(Run(absl::StrCat("bash ", saves, " & sleep 0.3; kill -TERM $PPID; wait; true")),
              AllOf(HasSubstr("code:75"), HasSubstr("starts:1")));
  EXPECT_TRUE(FileExists(run_ + "/saved"));
}

TEST_F(Supervised, DoesNotDependOnHowItWasStarted) {
  EXPECT_THAT(Shell(absl::StrCat("timeout 60 env --ignore-signal=CHLD $TEMPER supervise --run-dir ", run_,
                                 " -- bash -c 'exit 2' 2>/dev/null; echo code:$?"))
                  .out,
              HasSubstr("code:2\n"));
  EXPECT_THAT(Shell(absl::StrCat("$TEMPER supervise --run-dir ", run_,
                                 " -- sleep 47.12 & until pgrep -f '^sleep 47.12$'; do sleep 0.05; done; "
                                 "kill -9 $!; sleep 0.5; pgrep -f '^sleep 47.12$' || echo none"))
                  .out,
              HasSubstr("none"));
}

TEST_F(Supervised, IsRefusedBesideAnotherAndLeavesARequestToThat) {
  const std::string out =
      Shell(absl::StrCat(
                "run=", run_, "; mkdir $run; $TEMPER supervise --run-dir $run -- sleep 60 & ",
                "until [ -e $run/.supervised ]; do :; done; sleep 0.2; touch $run/stop; ",
                "$TEMPER supervise --run-dir $run -- true 2>&1; echo code:$?; ls $run/stop; kill $!; wait"))
          .out;
  EXPECT_THAT(out, AllOf(HasSubstr("another `temper supervise` stands over"), HasSubstr("\ncode:2\n"),
                         HasSubstr("run/stop\n")));
}

TEST_F(Supervised, WaitsForWhoHasTheFolderButNotWithoutEnd) {
  const std::string out =
      Shell(absl::StrCat(
                "run=", run_, "; mkdir $run; flock $run sleep 60 & while flock -n $run true; do :; done; ",
                "for limit in 0.6 60; do $TEMPER supervise --run-dir $run --launcher-seconds $limit -- ",
                "true 2>&1; echo code:$?; (sleep 1; pkill -P $!) & done"))
          .out;
  EXPECT_THAT(out, AllOf(HasSubstr("another process works in this folder"), HasSubstr("\ncode:1\n"),
                         ::testing::EndsWith("\ncode:0\n")));
}

}  // namespace
}  // namespace temper
