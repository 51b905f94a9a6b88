// SPDX-License-Identifier: Apache-2.0
#include "comm/watchdog.h"

#include <atomic>
#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "comm/threads.h"
#include "core/files/file.h"
#include "core/files/held_file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/core/test_folder.h"

namespace temper {
namespace {

using testing::AllOf;
using testing::HasSubstr;

// Ranks with watchdogs in one folder, whose ends are noted.
class Watched {
 public:
  Watched(const std::string& folder, int size, double deadline)
      : pulses(size), said(size), ended(size), gave_up(size) {
    for (int r = 0; r < size; ++r) {
      dogs.push_back(std::make_unique<Watchdog>(&pulses[r],
                                                Watchdog::Options{.folder = folder,
                                                                  .start = "7",
                                                                  .rank = r,
                                                                  .size = size,
                                                                  .deadline_seconds = deadline,
                                                                  .give_up = [this, r] { gave_up[r] = true; },
                                                                  .end =
                                                                      [this, r](const std::string& line) {
                                                                        EXPECT_TRUE(gave_up[r]) << line;
                                                                        said[r] = line;
                                                                        ended[r] = true;
                                                                      }}));
    }
  }
  bool Ends(int rank, absl::Duration within) {
    const absl::Time until = absl::Now() + within;
    while (!ended[rank] && absl::Now() < until) absl::SleepFor(absl::Milliseconds(5));
    if (!ended[rank]) return false;
    EXPECT_TRUE(dogs[static_cast<size_t>(rank)]->ended());
    return true;
  }

  std::vector<Pulse> pulses;
  std::vector<std::string> said;
  std::vector<std::atomic<bool>> ended, gave_up;
  std::vector<std::unique_ptr<Watchdog>> dogs;
};

class Watchdogs : public testing::Test {
 protected:
  const TestFolder folder_;
  const std::string root_ = folder_.path();
};

TEST_F(Watchdogs, WhoseProcessIsGoneIsNamedByTheFirstRankAndAllEnd) {
  Watched watched(root_, 3, 0.4);
  watched.pulses[1].Say("updates", absl::ZeroDuration());
  absl::SleepFor(absl::Milliseconds(150));
  watched.dogs[1].reset();  // as if the process were stopped: its file stays
  ASSERT_TRUE(watched.Ends(0, absl::Seconds(10)));
  EXPECT_THAT(watched.said[0],
              AllOf(HasSubstr("rank 1 ("), HasSubstr("no sign of life"), HasSubstr("updates")));
  ASSERT_TRUE(watched.Ends(2, absl::Seconds(10)));
  EXPECT_EQ(watched.said[2], "ends, since " + watched.said[0]);
  const auto found = ReadFound(root_);
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(found->start, "7");
  EXPECT_EQ(found->rank, 1);
  EXPECT_EQ(found->text, watched.said[0]);
}

TEST_F(Watchdogs, WhoseProcessDiesIsNamedLongBeforeTheDeadline) {
  Watched watched(root_, 3, 8);
  const std::string path = PulsePath(root_, 1);
  Sighting lives = {.start = "7", .rank = 1, .host = "n1", .pid = 4711, .beats = 1000, .state = {}};
  absl::SleepFor(absl::Seconds(1));
  watched.dogs[1].reset();  // as at an end: it says so
  absl::SleepFor(absl::Seconds(1));
  EXPECT_FALSE(watched.ended[0]);
  // As another process of that rank.
  const std::string other = root_ + "/other";
  ASSERT_TRUE(WriteFileAtomic(other, SightingText(lives)).ok());
  std::unique_ptr<HeldFile> held = HeldFile::Take(other, 0600);
  ASSERT_NE(held, nullptr);
  std::filesystem::rename(other, path);
  absl::SleepFor(absl::Seconds(1));
  EXPECT_FALSE(watched.ended[0]);
  std::filesystem::rename(path, root_ + "/elsewhere");  // a server that does not say who has the file
  std::filesystem::create_symlink(root_ + "/elsewhere", path);
  absl::SleepFor(absl::Seconds(1.6));
  EXPECT_FALSE(watched.ended[0]);
  std::filesystem::rename(root_ + "/elsewhere", path);
  ++lives.beats;  // its last sign, so that a busy machine's pauses are no silence
  std::ofstream(path) << SightingText(lives);
  held.reset();
  ASSERT_TRUE(watched.Ends(0, absl::Seconds(20)));
  EXPECT_THAT(watched.said[0], HasSubstr("rank 1 (n1, process 4711) has ended without a word"));
  EXPECT_TRUE(ReadFound(root_)->died);
  ASSERT_TRUE(watched.Ends(2, absl::Seconds(20)));
}

TEST_F(Watchdogs, TheFirstRankIsWatchedByTheSecond) {
  Watched watched(root_, 2, 0.4);
  absl::SleepFor(absl::Milliseconds(150));
  watched.dogs[0].reset();
  ASSERT_TRUE(watched.Ends(1, absl::Seconds(10)));
  EXPECT_THAT(watched.said[1], HasSubstr("rank 0 ("));
}

TEST_F(Watchdogs, SayOfWhomTheyHearNothing) {
  Watched watched(root_, 20, 3);
  const auto unheard = [&](int rank) {
    return ParseSighting(ReadFile(PulsePath(root_, rank)).value_or(""), "").value_or(Sighting()).unheard;
  };
  watched.pulses[0].WaitFor(1, absl::ZeroDuration());
  watched.pulses[1].WaitFor(0, absl::ZeroDuration());
  for (int i = 0; i < 110; ++i) {
    absl::SleepFor(absl::Milliseconds(20));
    watched.pulses[0].Heard(2);
  }
  std::vector<int> others = {0};  // all of them, however many
  for (int r = 2; r < 20; ++r) others.push_back(r);
  EXPECT_EQ(unheard(1), others);
  others.erase(others.begin(), others.begin() + 2);
  others.insert(others.begin(), 1);
  EXPECT_EQ(unheard(0), others);
  EXPECT_EQ(unheard(2), std::vector<int>());  // does not wait
}

// Also where locks do not work, as for one that finds its file locked.
TEST_F(Watchdogs, MakeNoFileAnewThatWasRemovedAtTheEnd) {
  const std::string path = PulsePath(root_, 1);
  const std::unique_ptr<HeldFile> held = HeldFile::Take(path, 0600);
  Watched watched(root_, 2, 8);
  for (int i = 0; i < 4000 && ReadFile(path).value_or("").empty(); ++i) absl::SleepFor(absl::Milliseconds(5));
  std::filesystem::remove(path);
  watched.dogs[1].reset();
  EXPECT_FALSE(FileExists(path));
}

TEST_F(Watchdogs, LockTheirFileAlsoWhereSomebodyLookedAtItAsItWasMade) {
  const std::string path = PulsePath(root_, 1);
  std::unique_ptr<HeldFile> looks = HeldFile::Take(path, 0600);
  Watched watched(root_, 2, 8);
  for (int i = 0; i < 4000 && ReadFile(path).value_or("").empty(); ++i) absl::SleepFor(absl::Milliseconds(5));
  looks.reset();
  for (int i = 0; i < 4000 && LockOf(path) != LockState::kLocked; ++i) absl::SleepFor(absl::Milliseconds(5));
  EXPECT_EQ(LockOf(path), LockState::kLocked);
}

// As a first rank does that was stopped, and goes on once the others have ended.
TEST_F(Watchdogs, WhatOthersHaveFoundStays) {
  Watched watched(root_, 2, 8);
  ASSERT_TRUE(
      WriteFileAtomic(root_ + "/found.json",
                      R"({"start":"7","hosts":["n"],"text":"rank 0 hangs","rank":0,"unix_seconds":1})")
          .ok());
  ASSERT_TRUE(watched.Ends(0, absl::Seconds(20)));
  EXPECT_EQ(watched.said[0], "ends, since rank 0 hangs");
  EXPECT_EQ(ReadFound(root_)->text, "rank 0 hangs");
}

TEST_F(Watchdogs, ADeviceThatHangsAsItIsGivenUpIsLeftAlone) {
  const auto goes_on = std::make_shared<absl::Notification>();
  ASSERT_TRUE(
      WriteFileAtomic(root_ + "/found.json",
                      R"({"start":"7","hosts":["n"],"text":"rank 1 hangs","rank":1,"unix_seconds":1})")
          .ok());
  Pulse pulse;
  absl::Notification ended;
  const absl::Time began = absl::Now();
  const Watchdog dog(&pulse, {.folder = root_,
                              .start = "7",
                              .rank = 0,
                              .size = 2,
                              .deadline_seconds = 8,
                              .give_up = [goes_on] { goes_on->WaitForNotification(); },
                              .end = [&](const std::string&) { ended.Notify(); }});
  EXPECT_TRUE(ended.WaitForNotificationWithTimeout(absl::Seconds(20)));
  EXPECT_GE(absl::Now() - began, absl::Seconds(2));
  goes_on->Notify();
}

TEST_F(Watchdogs, AnotherStartsFilesAreNoSign) {
  std::ofstream(absl::StrCat(root_, "/found.json"))
      << R"({"start":"6","hosts":["n"],"text":"old","rank":1,"unix_seconds":1})";
  Watched watched(root_, 2, 0.3);
  absl::SleepFor(absl::Seconds(1));
  EXPECT_FALSE(watched.ended[0] || watched.ended[1]);
}

// Calls of a communicator and its parts are seen from outside while they wait.
TEST_F(Watchdogs, ACallThatWaitsInVainIsSeenWithItsPartAndNumber) {
  ThreadWorld world(3);
  std::vector<Pulse> pulses(3);
  Watched watched(root_, 3, 60);
  std::atomic<bool> over = false;
  RankState seen;
  std::thread looks([&] {
    while (seen.operation != "Sum" || seen.waits_for < 0) {  // Split calls too, and may wait
      absl::SleepFor(absl::Milliseconds(5));
      seen = pulses[0].Read();
    }
    over = true;
  });
  world.Run([&](Communicator& comm) {
    comm.set_pulse(&pulses[comm.rank()]);
    const std::unique_ptr<Communicator> part = comm.Split(comm.rank() == 1 ? 1 : 0, "dp");
    comm.Announce("updates");
    if (comm.rank() == 1) return;
    part->Barrier();
    if (part->rank() == 1)
      while (!over) absl::SleepFor(absl::Milliseconds(5));
    part->Sum(1);
  });
  looks.join();
  EXPECT_EQ(seen.waits_for, 2);  // of all, not of the part
  EXPECT_EQ(seen.operation, "Sum");
  EXPECT_EQ(seen.part, "dp");
  EXPECT_EQ(seen.number, 2);
  EXPECT_EQ(seen.bytes, 8);
  EXPECT_EQ(seen.phase, "updates");
  EXPECT_EQ(pulses[0].Read().operation, "");
}

TEST_F(Watchdogs, TheDeadlineFollowsTheSteps) {
  Pulse pulse;
  Watchdog dog(&pulse, {.folder = root_, .start = "1"});
  EXPECT_EQ(dog.deadline(), absl::Minutes(10));
  dog.Step();
  EXPECT_EQ(dog.deadline(), absl::Minutes(10));
  dog.Step();
  EXPECT_EQ(dog.deadline(), absl::Minutes(1));
  dog.BetweenSteps();
  EXPECT_EQ(dog.deadline(), absl::Minutes(10));
}

}  // namespace
}  // namespace temper
