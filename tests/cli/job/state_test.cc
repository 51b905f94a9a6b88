// SPDX-License-Identifier: Apache-2.0
// `temper status` and `temper stop` on folders of runs, and on one run.
#include "cli/job/state.h"

#include <chrono>
#include <filesystem>
#include <set>

#include "absl/time/clock.h"
#include "core/host.h"
#include "gmock/gmock.h"
#include "tests/cli/program.h"
#include "trainer/run_directory/run_directory.h"
#include "trainer/run_directory/supervision.h"

namespace temper {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class RunFolder : public ::testing::Test {
 protected:
  RunFolder() {
    folder_.Write("config.yaml",
                  "cost_per_gpu_hour: 2\nstages:\n  base: {kind: rl, from: m, rl: {steps: 4}}\n"
                  "  zero: {kind: rl, from: base, rl: {steps: 20}}\n");
  }
  // An event so many seconds ago.
  void Event(const char* event, double ago, const std::string& fields = "") {
    absl::StrAppend(&journal_, "{\"event\":\"", event,
                    "\",\"unix_seconds\":", absl::StrFormat("%.3f", now_ - ago), fields, "}\n");
    folder_.Write("journal.jsonl", journal_);
  }
  void Start(double ago, const char* host = "elsewhere") {
    Event("start", ago,
          absl::StrCat(R"(,"ranks":16,"pid":77,"device":"cuda","hosts":{")", host, R"(":8,"n2":8})"));
  }
  void Update(int step, double ago, const std::string& more = "") {
    absl::StrAppend(&metrics_, R"({"stage":"zero","step":)", step, R"(,"time/unix_seconds":)",
                    absl::StrFormat("%.3f", now_ - ago), more, "}\n");
    folder_.Write("metrics.jsonl", metrics_);
  }
  std::string Status() { return RunCommand("status", {folder_.path()}).out; }

  const double now_ = static_cast<double>(absl::ToUnixMillis(absl::Now())) / 1e3;
  const Folder folder_;
  std::string journal_, metrics_;
};

TEST_F(RunFolder, ThatRunsTellsStageUpdateRateAndTimeLeft) {
  Start(3600);
  Event("stage", 3500, R"(,"stage":"zero","step":5)");
  for (int i = 0; i < 5; ++i) Update(6 + i, 45 - 10 * i);
  folder_.Write("status.json", absl::StrFormat(R"({"unix_seconds":%.3f,"stage":"zero","done":10,"total":20,)"
                                               R"("text":"acc 0.43","note":"rollout 3/64"})",
                                               now_ - 2));
  EXPECT_THAT(
      Status(),
      AllOf(HasSubstr(": running\n"), HasSubstr("zero (2 of 2): update 10 of 20, 10 s each, 100 s left"),
            HasSubstr("zero 10/20, acc 0.43, rollout 3/64; last sign of life "),
            HasSubstr("16 on elsewhere (8), n2 (8), device cuda"), HasSubstr("alarms   none")));
  const RunState state = ReadRunState(folder_.path()).value();
  EXPECT_EQ(state.how, RunState::kRunning);
  EXPECT_NEAR(*state.eta(), 100, 0.1);
}

TEST_F(RunFolder, ThatIsSilentForLongIsSaidToBe) {
  Start(3600);
  Event("stage", 3500, R"(,"stage":"zero","step":5)");
  Update(6, 400);
  EXPECT_THAT(Status(), AllOf(HasSubstr(": silent: nothing has been written for 6 min"),
                              HasSubstr("look at elsewhere, process 77")));
}

TEST_F(RunFolder, WhoseUpdatesTakeLongIsNotSilentSoSoon) {
  Start(36000);
  Event("stage", 35000, R"(,"stage":"zero","step":0)");
  for (int i = 0; i < 5; ++i) Update(1 + i, 2400 - 500 * i);
  EXPECT_EQ(ReadRunState(folder_.path())->how, RunState::kRunning);
}

TEST_F(RunFolder, WhoseProcessIsGoneFromThisMachineIsLost) {
  Start(3600, ThisHost().c_str());
  Event("stage", 20, R"(,"stage":"zero","step":5)");
  EXPECT_THAT(Status(), HasSubstr(": lost: was killed, or its machine went down, at 2"));
}

TEST_F(RunFolder, TellsHowItEndedItsRestartsItsAlarmsAndItsPrice) {
  Start(7200);
  Event("stage", 7200, R"(,"stage":"zero","step":0)");
  Event("saved", 5400, R"(,"stage":"zero","step":5)");
  Event("end", 3600, R"(,"how":"lost","why":"")");
  Start(1800);
  Event("stage", 1800, R"(,"stage":"zero","step":5)");
  Update(6, 100, R"(,"alarm/loss":88)");
  Update(7, 90);
  Event("saved", 90, R"(,"stage":"zero","step":7)");
  Event("end", 0,
        R"(,"how":"stopped","why":"stopped on request, stage zero after update 7 of 20; it is saved")");
  EXPECT_THAT(Status(),
              AllOf(HasSubstr(": stopped at 2"), HasSubstr("after update 7 of 20; it is saved\n"),
                    HasSubstr("starts   2, the last at "), HasSubstr("; 0 after a stop, 1 after a fault"),
                    HasSubstr("hours    24.00 of a device, 8.00 of them lost"),
                    HasSubstr("; cost 48.00, 16.00 of it lost"),
                    HasSubstr("alarms   alarm/loss 88 at update 6 of zero")));
  const Json json = ParseJson(RunCommand("status", {folder_.path(), "--json"}).out, "").value();
  EXPECT_EQ(json["state"], "stopped");
  EXPECT_EQ(json["update"], 7);
  EXPECT_EQ(json["after_fault"], 1);
  EXPECT_NEAR(json["lost_device_hours"].get<double>(), 8, 1e-3);
  EXPECT_EQ(json["seconds_left"], nullptr);
}

TEST_F(RunFolder, ThatDoesNotRunIsNotStopped) {
  Start(100);
  Event("end", 50, R"(,"how":"finished","why":"")");
  EXPECT_THAT(RunCommand("stop", {folder_.path()}).out, HasSubstr(": is not running: finished"));
  EXPECT_FALSE(FileExists(StopPath(folder_.path())));
}

TEST_F(RunFolder, ThatASupervisorKeepsIsAskedToStopBeforeItsFirstStart) {
  Supervision supervision(folder_.path());
  supervision.Hold();
  EXPECT_THAT(ErrorOf("stop", {folder_.path(), "--timeout=0.1"}), Not(HasSubstr("no run has begun")));
  EXPECT_TRUE(FileExists(StopPath(folder_.path())));
}

// A loop of the user's own, whose next start takes the request away.
TEST(Stop, EndsOneStartAndNotTheNextOne) {
  const Folder folder;
  const std::string says =
      R"(says() { echo "{\"event\":\"$1\",\"unix_seconds\":$(date +%s),$2}" >>journal.jsonl; }; )";
  const Ended stopped = Shell(absl::StrCat(
      "cd ", folder.path(), "; ", says, "export -f says; says start '\"ranks\":1'; ",
      R"(flock . bash -c 'until [ -e stop ]; do sleep 0.02; done; says end "\"how\":\"stopped\",\"why\":\"saved\""; )",
      R"(rm stop; sleep 1.5; says start "\"ranks\":1"; sleep 1.5; [ ! -e stop ] && echo goes on' & )",
      "until [ -s journal.jsonl ] && ! flock -n . true; do sleep 0.02; done; timeout 60 $TEMPER stop .; ",
      "echo code:$?; wait"));
  EXPECT_EQ(stopped.out, ".: stopped: saved\ncode:0\ngoes on\n") << stopped.err;
}

// Its folder is somebody's, who has not said so yet.
TEST_F(RunFolder, ThatHasFinishedAndIsStartedAgainIsStopped) {
  Start(100);
  Event("end", 50, R"(,"how":"finished","why":"")");
  const Ended stopped = Shell(
      absl::StrCat("cd ", folder_.path(), "; flock . bash -c 'until [ -e stop ]; do sleep 0.02; done' & ",
                   "while flock -n . true; do sleep 0.02; done; $TEMPER status .; $TEMPER stop ."));
  EXPECT_THAT(stopped.out, AllOf(HasSubstr("; its folder is in use\n"), HasSubstr("\n.: finished\n")));
}

TEST(Status, OfAFolderWithoutARunIsAnError) {
  const Folder folder;
  EXPECT_THAT(ErrorOf("status", {folder.path()}), HasSubstr("no run has begun there"));
  EXPECT_THAT(ErrorOf("stop", {folder.path()}), HasSubstr("no run has begun there"));
  EXPECT_THAT(ErrorOf("status", {}), HasSubstr("temper status RUN_DIR"));
}

TEST(Stop, EndsARunThatGoesOnToTheSameBits) {
  const Folder folder;
  const std::string start = absl::StrCat("R=configs/tiny/short.yaml; D=", folder.path(), "/run; ");
  const Ended stopped = Shell(absl::StrCat(
      start, "SLURMD_NODENAME=n7 TEMPER_HELD_MACHINES=3 $TEMPER run $R --run-dir $D 2>/dev/null & run=$!; ",
      "until [ -s $D/metrics.jsonl ] || ! kill -0 $run 2>/dev/null; do sleep 0.02; done; ",
      "timeout 300 $TEMPER stop $D; echo code:$?; wait $run; echo run:$?; $TEMPER status $D"));
  EXPECT_THAT(stopped.out, AllOf(HasSubstr("stopped on request, stage "), HasSubstr("code:0\nrun:75\n"),
                                 HasSubstr("/run: stopped at "), HasSubstr("1 on n7 (1), device cpu")));
  EXPECT_THAT(folder.Read("run/journal.jsonl"), HasSubstr("\"devices\":3.0"));
  const Ended again =
      Shell(absl::StrCat(start, "$TEMPER run $R --run-dir $D 2>/dev/null && $TEMPER status $D; ",
                         "$TEMPER run $R --run-dir $D/../other 2>/dev/null; ",
                         "$TEMPER inspect $D --digest; $TEMPER inspect $D/../other --digest"));
  EXPECT_THAT(again.out,
              AllOf(HasSubstr("/run: finished at "), HasSubstr("; 1 after a stop, 0 after a fault")));
  const std::vector<std::string> lines = absl::StrSplit(again.out, '\n', absl::SkipEmpty());
  ASSERT_GE(lines.size(), 2);
  EXPECT_EQ(lines[lines.size() - 1], lines[lines.size() - 2]);
}

// What a start that dies leaves of a record, and a file without any, are no work: a job that dies at once is
// not queued again for them.
TEST_F(RunFolder, LastsByWholeRecordsCheckpointsAndStages) {
  const auto word = [&] { return RunCommand("status", {folder_.path(), "--lasts"}).out; };
  std::set<std::string> words = {word()};
  const auto is_new = [&] { return words.insert(word()).second; };
  const std::string records = folder_.path() + "/a.rank-0.records";
  folder_.Write("a.rank-0.records", "");
  EXPECT_FALSE(is_new());
  for (int record = 1; record <= 2; ++record) {
    WriteRecord(records);
    EXPECT_TRUE(is_new()) << record;
    const std::string whole = *ReadFile(records);
    folder_.Write("a.rank-0.records", whole + whole.substr(0, whole.size() / record - 1));
    EXPECT_FALSE(is_new()) << record;
    ASSERT_TRUE(CutTails(folder_.path() + "/a").ok());
    EXPECT_FALSE(is_new()) << record;
    EXPECT_EQ(*ReadFile(records), whole);
  }
  for (const char* name : {"state.json", "stage.json"}) {
    folder_.Write(name, "{}");
    EXPECT_TRUE(is_new()) << name;
  }
  // Who wrote it may have died before the newest checkpoint stood.
  folder_.Write("a.rank-0.records", *ReadFile(records) + "torn");
  std::filesystem::last_write_time(records,
                                   std::filesystem::file_time_type::clock::now() - std::chrono::hours(1));
  EXPECT_FALSE(is_new());
  ASSERT_TRUE(CutTails(folder_.path() + "/a").ok());
  EXPECT_FALSE(is_new());
}

}  // namespace
}  // namespace temper
