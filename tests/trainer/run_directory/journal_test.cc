// SPDX-License-Identifier: Apache-2.0
#include "trainer/run_directory/journal.h"

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/core/test_folder.h"
#include "trainer/run_directory/run_directory.h"
#include "trainer/run_directory/supervision.h"

namespace temper {
namespace {

using ::testing::DoubleEq;
using ::testing::HasSubstr;

Json Event(const char* event, double minute, Json fields = Json::object()) {
  Json line = {{"event", event}, {"unix_seconds", 60 * minute}};
  for (const auto& [name, value] : fields.items()) line[name] = value;
  return line;
}
Json Start(double minute, int ranks) { return Event("start", minute, {{"ranks", ranks}}); }
Json Stage(double minute, const char* stage, int step) {
  return Event("stage", minute, {{"stage", stage}, {"step", step}});
}
Json Saved(double minute, int step) { return Event("saved", minute, {{"stage", "zero"}, {"step", step}}); }
// What it holds is of an earlier minute.
Json SavedOf(double holds, double minute, int step) {
  return Event("saved", minute, {{"stage", "zero"}, {"step", step}, {"holds", 60 * holds}});
}

TEST(Hours, OfAnUndisturbedRunAreAllKept) {
  const std::vector<Json> journal = {Start(0, 6),           Stage(1, "zero", 0),  Saved(11, 5),
                                     Event("finished", 21), Stage(21, "next", 0), Event("end", 31)};
  const StageHours zero = HoursOf(journal, "zero"), next = HoursOf(journal, "next");
  EXPECT_THAT(zero.held, DoubleEq(2.1));  // its start's minute is the first stage's
  EXPECT_EQ(zero.lost, 0);
  EXPECT_THAT(next.held, DoubleEq(1.0));
}

TEST(Hours, CountMachinesToSpare) {
  const std::vector<Json> journal = {Event("start", 0, {{"ranks", 60}, {"devices", 90}}), Stage(0, "zero", 0),
                                     Event("finished", 10)};
  EXPECT_THAT(HoursOf(journal, "zero").held, DoubleEq(15));
}

TEST(Hours, AfterTheCheckpointAreLostToAFaultAndSoIsTheNextStart) {
  const std::vector<Json> journal = {Start(0, 60),          Stage(0, "zero", 0), Saved(10, 5),
                                     Event("end", 14),      Start(100, 60),      Stage(102, "zero", 5),
                                     Event("finished", 110)};
  const StageHours hours = HoursOf(journal, "zero");
  EXPECT_THAT(hours.held, DoubleEq(14 + 10));  // the time between is nobody's
  EXPECT_THAT(hours.lost, DoubleEq(4 + 2));
}

TEST(Hours, WhileACheckpointIsWrittenAreLostToAFault) {
  const std::vector<Json> journal = {Start(0, 60),          Stage(0, "zero", 0),   SavedOf(10, 12, 5),
                                     SavedOf(11, 13, 6),    Event("end", 14),      Start(100, 60),
                                     Stage(100, "zero", 6), Event("finished", 110)};
  const StageHours hours = HoursOf(journal, "zero");
  EXPECT_THAT(hours.held, DoubleEq(14 + 10));
  EXPECT_THAT(hours.lost, DoubleEq(3));
}

TEST(Hours, InWhichASupervisorKeepsTheMachinesAreLost) {
  const std::vector<Json> journal = {Start(0, 60),         Stage(0, "zero", 0),  Saved(10, 5),
                                     Event("end", 14),     Event("restart", 15), Start(20, 60),
                                     Stage(22, "zero", 5), Event("finished", 30)};
  const StageHours hours = HoursOf(journal, "zero");
  EXPECT_THAT(hours.held, DoubleEq(30));
  EXPECT_THAT(hours.lost, DoubleEq(4 + 8));
}

TEST(Hours, AreLostBackToTheCheckpointThatWasWhole) {
  const std::vector<Json> journal = {Start(0, 60),         Stage(0, "zero", 0),  Saved(10, 5),
                                     Saved(20, 10),        Event("end", 20),     Start(20, 60),
                                     Stage(20, "zero", 5), Event("finished", 30)};
  EXPECT_THAT(HoursOf(journal, "zero").lost, DoubleEq(10));
}

TEST(Hours, OfAStageWithoutACheckpointAreLostFromItsBeginningWhateverTheRanks) {
  const std::vector<Json> journal = {Start(0, 60), Stage(0, "zero", 0), Event("end", 5),
                                     Start(5, 6),  Stage(5, "zero", 0), Event("finished", 15)};
  const StageHours hours = HoursOf(journal, "zero");
  EXPECT_THAT(hours.held, DoubleEq(5 + 1));
  EXPECT_THAT(hours.lost, DoubleEq(5));
}

TEST(Hours, OfAStageThatKeepsItsSamplesLoseTheStartAlone) {
  const std::vector<Json> journal = {
      Start(0, 60), Event("stage", 0, {{"stage", "zero"}}), Event("end", 5),
      Start(5, 60), Event("stage", 6, {{"stage", "zero"}}), Event("finished", 15)};
  EXPECT_THAT(HoursOf(journal, "zero").lost, DoubleEq(1));
}

class JournalTest : public ::testing::Test {
 protected:
  std::vector<Json> Events() const { return ReadJournal(run_).value(); }
  const TestFolder folder_;
  const std::string run_ = folder_.path();
};

TEST_F(JournalTest, TellsWhatBecameOfAStart) {
  Journal journal(run_);
  ASSERT_TRUE(journal.Begin({{"ranks", 2}}).ok());
  ASSERT_TRUE(journal.Add("stage", {{"stage", "zero"}, {"step", 3}}).ok());
  journal.End(absl::CancelledError("stopped\non request"), /*asked=*/true);
  const std::vector<Json> events = Events();
  ASSERT_EQ(events.size(), 3);
  EXPECT_EQ(events[0]["ranks"], 2);
  EXPECT_EQ(events[1]["step"], 3);
  EXPECT_EQ(events[2]["how"], "stopped");
}

TEST_F(JournalTest, OfAStartThatAnotherRanksErrorEndsTellsOfNoStop) {
  Journal journal(run_);
  ASSERT_TRUE(journal.Begin({{"ranks", 2}}).ok());
  journal.End(absl::CancelledError("rank 1 of 2 cannot go on: no file"), /*asked=*/false);
  EXPECT_EQ(Events().back()["how"], "failed");
  EXPECT_EQ(Events().back()["why"], "rank 1 of 2 cannot go on: no file");
}

TEST_F(JournalTest, OfAStartThatFellSilentHasItsLastSignAsItsEnd) {
  ASSERT_TRUE(Journal(run_).Begin({{"ranks", 2}}).ok());
  const double began = Events()[0]["unix_seconds"];
  ASSERT_TRUE(
      WriteFileAtomic(StatusPath(run_), absl::StrCat("{\"unix_seconds\":", FormatDouble(began + 7), "}"))
          .ok());
  ASSERT_TRUE(
      WriteFileAtomic(JournalPath(run_), ReadFile(JournalPath(run_)).value() + "{\"event\":\"sav").ok());
  // What the next start says of itself while it still reads files is no sign of the one before.
  Journal next(run_);
  ASSERT_TRUE(
      WriteFileAtomic(StatusPath(run_), absl::StrCat("{\"unix_seconds\":", FormatDouble(began + 900), "}"))
          .ok());
  ASSERT_TRUE(next.Begin({{"ranks", 2}}).ok());
  const std::vector<Json> events = Events();
  ASSERT_EQ(events.size(), 3);  // what the crash cut off is gone
  EXPECT_EQ(events[1]["how"], "lost");
  EXPECT_NEAR(events[1]["unix_seconds"].get<double>(), began + 7, 1e-3);
}

TEST_F(JournalTest, OfAStartThatItsRanksFoundLostTellsWhatTheyFound) {
  ASSERT_TRUE(Journal(run_).Begin({{"start", "s"}}).ok());
  const std::string found =
      R"({"start":"s","unix_seconds":9e9,"rank":1,"hosts":["n2"],"text":"rank 1 (n2) has stood still","found_by":0})";
  ASSERT_TRUE(MakeDirectories(StartsWatchDirectory(run_, "s")).ok());
  ASSERT_TRUE(WriteFileAtomic(StartsWatchDirectory(run_, "s") + "/found.json", found).ok());
  ASSERT_TRUE(NoteRestart(run_, {{"code", 75}}).ok());
  ASSERT_TRUE(Journal(run_, /*new_start=*/false).Begin({{"start", "t"}}).ok());
  const std::vector<Json> events = Events();
  ASSERT_EQ(events.size(), 4);  // that it is to be started again is no life of it, and needs no second end
  EXPECT_EQ(events[1]["event"], "end");
  EXPECT_EQ(events[1]["how"], "lost");
  EXPECT_EQ(events[1]["why"], "rank 1 (n2) has stood still");
  EXPECT_EQ(events[1].value("hosts", Json()), Json({"n2"}));
  EXPECT_EQ(events[1]["unix_seconds"], 9e9);
  EXPECT_EQ(events[2]["event"], "restart");
  EXPECT_EQ(events[3]["start"], "t");
}

TEST_F(JournalTest, HearsARequestToStopOfThisStartAlone) {
  ASSERT_TRUE(WriteFileAtomic(StopPath(run_), "").ok());
  Journal journal(run_);
  EXPECT_FALSE(journal.AskedToStop());
  ASSERT_TRUE(WriteFileAtomic(StopPath(run_), "").ok());
  absl::SleepFor(absl::Milliseconds(600));
  EXPECT_TRUE(journal.AskedToStop());
}

TEST_F(JournalTest, OfASupervisedRunHearsARequestOfBeforeItsStart) {
  ASSERT_TRUE(WriteFileAtomic(StopPath(run_), "").ok());
  Supervision supervision(run_);
  supervision.Hold();
  EXPECT_TRUE(IsSupervised(run_));
  EXPECT_TRUE(Journal(run_).AskedToStop());
}

// Whoever held it removes it before he lets go.
TEST_F(JournalTest, IsSupervisedByWhoHoldsTheFileThatIsThere) {
  for (int round = 0; round < 300; ++round) {
    auto first = std::make_unique<Supervision>(run_);
    first->Hold();
    ASSERT_TRUE(first->held());
    std::thread ends([&] { first.reset(); });
    Supervision second(run_);
    while (!second.held()) second.Hold();
    ends.join();
    ASSERT_TRUE(IsSupervised(run_)) << round;
  }
}

TEST_F(JournalTest, OfAStartThatIsStoppedBeforeItBeginsHasAnEndAlone) {
  Journal(run_).End(absl::NotFoundError("no such file"), /*asked=*/false);
  Journal(run_).End(absl::CancelledError("rank 1 of 2 cannot go on: no such file"), /*asked=*/false);
  EXPECT_TRUE(Events().empty());
  Journal(run_).End(absl::CancelledError("stopped on request, before anything began"), /*asked=*/true);
  ASSERT_EQ(Events().size(), 1);
  EXPECT_EQ(Events()[0]["how"], "stopped");
}

TEST_F(JournalTest, ThatIsDamagedIsNamedByItsLine) {
  ASSERT_TRUE(
      WriteFileAtomic(JournalPath(run_), "{\"event\":\"start\",\"unix_seconds\":1}\n{\"event\":1}\n").ok());
  EXPECT_THAT(ReadJournal(run_).status().message(), HasSubstr("journal.jsonl:2"));
  Journal journal(run_);
  EXPECT_TRUE(journal.Begin({{"ranks", 2}}).ok());  // and a run goes on
  EXPECT_EQ(Events().size(), 1);
  EXPECT_TRUE(FileExists(JournalPath(run_) + ".damaged"));
}

}  // namespace
}  // namespace temper
