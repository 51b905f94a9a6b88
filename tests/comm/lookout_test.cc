// SPDX-License-Identifier: Apache-2.0
#include "comm/lookout.h"

#include "absl/strings/str_replace.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace temper {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr absl::Duration kDeadline = absl::Seconds(60);

// Ranks that give a sign each time they are seen, unless told otherwise.
class World {
 public:
  explicit World(int size) : lookout(0, size), ranks(size) {
    for (int r = 0; r < size; ++r) {
      ranks[r].start = "1";
      ranks[r].rank = r;
      ranks[r].host = absl::StrCat("n", r);
      ranks[r].pid = 100 + r;
      ranks[r].state.phase = "updates";
      lookout.See(ranks[r]);
    }
  }
  void Waits(int rank, int for_rank) {
    ranks[rank].state.operation = "Receive";
    ranks[rank].state.part = "dp";
    ranks[rank].state.number = 12;
    ranks[rank].state.bytes = 64;
    ranks[rank].state.waits_for = for_rank;
  }
  // `beats`, `signs`: of whom.
  void Go(int seconds, std::vector<int> beats, std::vector<int> signs) {
    for (int i = 0; i < seconds; ++i) {
      lookout.Pass(absl::Seconds(1));
      for (const int r : beats) ++ranks[r].beats;
      for (const int r : signs) ++ranks[r].state.signs;
      for (const Sighting& rank : ranks) lookout.See(rank);
    }
  }
  std::string Judged() {
    const auto finding = lookout.Judge(kDeadline);
    return finding ? absl::StrCat(finding->rank, " ", finding->hosts[0], ": ", finding->text) : "";
  }

  Lookout lookout;
  std::vector<Sighting> ranks;
};

TEST(Lookout, WhatIsPublishedComesBack) {
  Sighting mine{.start = "3", .rank = 2, .host = "n\"2", .pid = 4711, .beats = 9, .state = {}, .unheard = {}};
  for (int r = 0; r < 40; ++r)
    if (r != 1 && r != 2 && r != 38) mine.unheard.push_back(r);
  mine.state = {.signs = 77,
                .phase = "writes a checkpoint",
                .silence = absl::Milliseconds(1500),
                .operation = "Sum",
                .part = "all",
                .number = 812,
                .bytes = 8,
                .waits_for = 1,
                .waited = absl::Milliseconds(250)};
  const auto read = ParseSighting(SightingText(mine), "rank-0002");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(SightingText(*read), SightingText(mine));
  EXPECT_EQ(read->unheard, mine.unheard);
  EXPECT_FALSE(ParseSighting(SightingText(mine).substr(0, 90), "rank-0002").ok());
  for (const char* unheard : {"3-", "-3", "2,1", "5-4", "1-2147483647", "x"}) {
    const std::string text = absl::StrReplaceAll(SightingText(mine), {{"0,3-37,39", unheard}});
    EXPECT_THAT(ParseSighting(text, "rank-0002").status().message(), HasSubstr("rank-0002: unheard:"))
        << text;
  }
}

TEST(Lookout, RanksThatGiveSignsAreLeftAlone) {
  World world(3);
  world.Waits(0, 1);
  world.Waits(1, 2);
  world.Go(600, {0, 1, 2}, {2});
  EXPECT_EQ(world.Judged(), "");
}

TEST(Lookout, AStoppedOrLostProcessIsNamedWithWhoWaitsForIt) {
  World world(3);
  world.Waits(0, 1);
  world.Go(60, {0, 2}, {2});
  EXPECT_EQ(world.Judged(), "");
  world.Go(1, {0, 2}, {2});
  EXPECT_THAT(
      world.Judged(),
      AllOf(HasSubstr("1 n1: rank 1 (n1, process 101) has given no sign of life for 61 s"),
            HasSubstr("last seen: updates; rank 0 waits for it: updates, in Receive (collective 12 of "
                      "dp, 64 bytes)")));
}

TEST(Lookout, WhoseProcessHasDiedIsNamedAtOnce) {
  World world(3);
  world.Waits(0, 1);
  world.Go(1, {0, 2}, {2});
  world.lookout.LetGo(1);
  EXPECT_THAT(world.Judged(), AllOf(HasSubstr("1 n1: rank 1 (n1, process 101) has ended without a word"),
                                    HasSubstr("last seen: updates; rank 0 waits for it")));
  EXPECT_TRUE(world.lookout.Judge(kDeadline)->died);
}

TEST(Lookout, OfSeveralThatHaveDiedTheOneSeenLastLongestAgoIsFirst) {
  World world(4);
  world.ranks[3].host = "n1";
  world.Go(2, {0, 1, 3}, {0});
  for (const int r : {1, 2, 3}) world.lookout.LetGo(r);
  EXPECT_THAT(world.Judged(),
              HasSubstr("2 n2: rank 2 (n2, process 102) has ended without a word, with rank 1 (n1, "
                        "process 101), rank 3 (n1, process 103): it was killed"));
  EXPECT_THAT(world.lookout.Judge(kDeadline)->hosts, testing::ElementsAre("n2", "n1"));
}

// A file server lets go of its files too, later.
TEST(Lookout, AMachineThatIsGoneIsNotTakenForAProcessThatDied) {
  World world(3);
  world.Go(30, {0, 2}, {2});
  world.lookout.LetGo(1);
  EXPECT_EQ(world.Judged(), "");
  world.Go(31, {0, 2}, {2});
  EXPECT_THAT(world.Judged(), HasSubstr("rank 1 (n1, process 101) has given no sign of life for 61 s"));
  EXPECT_FALSE(world.lookout.Judge(kDeadline)->died);
}

// Of the watcher's own machine files are let go of by its own kernel: also of one that had no memory for
// long.
TEST(Lookout, OfItsOwnMachineTakesOneThatHasDiedForThatAtAnyAge) {
  World world(3);
  world.ranks[1].host = "n0";
  world.Go(30, {0, 2}, {2});
  world.lookout.LetGo(1);
  EXPECT_THAT(world.Judged(), HasSubstr("1 n0: rank 1 (n0, process 101) has ended without a word"));
}

TEST(Lookout, ARankThatIsNeverSeenIsLost) {
  Lookout lookout(0, 2);
  lookout.Expect(1);
  lookout.Pass(absl::Seconds(61));
  const auto finding = lookout.Judge(kDeadline);
  ASSERT_TRUE(finding.has_value());
  EXPECT_THAT(finding->text, HasSubstr("rank 1 has given no sign of life for 61 s"));
}

TEST(Lookout, OneThatStandsStillIsNamedAtTheEndOfThoseThatWait) {
  World world(4);
  world.Waits(0, 1);
  world.Waits(1, 3);
  world.Waits(2, 3);
  world.ranks[3].state.phase = "samples";
  world.Go(61, {0, 1, 2, 3}, {});
  EXPECT_THAT(world.Judged(),
              AllOf(HasSubstr("3 n3: rank 3 (n3, process 103) has stood still for 61 s: samples"),
                    HasSubstr("rank 0 waits for rank 1"), HasSubstr("rank 2 waits for it")));
}

TEST(Lookout, ASilenceThatWasAnnouncedIsWaitedFor) {
  World world(2);
  world.Waits(0, 1);
  world.ranks[1].state.silence = absl::Seconds(40);
  world.Go(100, {0, 1}, {});
  EXPECT_EQ(world.Judged(), "");
  world.Go(1, {0, 1}, {});
  EXPECT_NE(world.Judged(), "");
}

TEST(Lookout, NobodyIsBlamedForWhomNobodyWaits) {
  World world(2);
  world.Go(300, {0, 1}, {0});
  EXPECT_EQ(world.Judged(), "");
}

TEST(Lookout, RanksThatWaitForEachOtherAreToldFromOneThatHangs) {
  World world(4);
  world.Waits(0, 1);  // outside of the ring, on the way to it
  world.Waits(1, 2);
  world.Waits(2, 3);
  world.Waits(3, 1);
  world.Go(66, {0, 1, 2, 3}, {});
  EXPECT_THAT(world.Judged(), AllOf(HasSubstr("ranks wait for each other for 66 s: the network"),
                                    HasSubstr("rank 3 (n3, process 103) waits for rank 1")));
  EXPECT_THAT(world.Judged(), testing::Not(HasSubstr("rank 0")));
  EXPECT_THAT(world.lookout.Judge(kDeadline)->hosts, testing::UnorderedElementsAre("n1", "n2", "n3"));
}

// Two ranks on each of four machines, all in one ring; the network of n1 is cut.
TEST(Lookout, OfRanksThatAllWaitTheOneThatNobodyHearsIsNamed) {
  World world(8);
  for (int r = 0; r < 8; ++r) {
    world.ranks[r].host = absl::StrCat("n", r / 2);
    world.Waits(r, (r + 7) % 8);
    world.ranks[r].unheard = r / 2 == 1 ? std::vector<int>{0, 1, 4, 5, 6, 7} : std::vector<int>{2, 3};
    std::erase(world.ranks[r].unheard, r);
  }
  const std::vector<int> all = {0, 1, 2, 3, 4, 5, 6, 7};
  world.Go(61, all, {});
  EXPECT_THAT(world.Judged(),
              AllOf(HasSubstr("2 n1: rank 2 (n1, process 102) has stood still for 61 s"),
                    HasSubstr("its machine's network is cut off"), HasSubstr("rank 3 waits for it")));
  EXPECT_THAT(world.lookout.Judge(kDeadline)->hosts, testing::ElementsAre("n1"));
  // One that is not heard because it computes, and does not wait, is none of them.
  world.ranks[2].state.waits_for = world.ranks[3].state.waits_for = -1;
  world.Go(1, all, {2, 3});
  EXPECT_EQ(world.Judged(), "");
}

// n1 and n0 wait for each other; n2 came to wait for n0 later.
TEST(Lookout, OneThatOnlyBeginsToWaitHasAVoiceToo) {
  World world(3);
  world.Waits(0, 1);
  world.Waits(1, 0);
  world.ranks[0].unheard = {1};
  world.ranks[1].unheard = {0, 2};
  world.Go(61, {0, 1, 2}, {2});
  EXPECT_EQ(world.Judged(), "");
  world.Waits(2, 0);
  world.ranks[2].unheard = {1};
  world.Go(1, {0, 1, 2}, {});
  EXPECT_THAT(world.Judged(), HasSubstr("1 n1: rank 1 (n1, process 101) has stood still for 62 s"));
}

TEST(Lookout, OfTwoMachinesThatDoNotHearEachOtherNeitherIsNamedAlone) {
  World world(2);
  world.Waits(0, 1);
  world.Waits(1, 0);
  world.ranks[0].unheard = {1};
  world.ranks[1].unheard = {0};
  world.Go(65, {0, 1}, {});
  EXPECT_EQ(world.Judged(), "");
  world.Go(1, {0, 1}, {});
  EXPECT_THAT(world.Judged(), HasSubstr("ranks wait for each other for 66 s: the network between their "
                                        "machines is cut: rank "));
  EXPECT_THAT(world.lookout.Judge(kDeadline)->hosts, testing::UnorderedElementsAre("n0", "n1"));
}

TEST(Lookout, RanksWhoseGpusDoNotEndASumAreNotSaidToBeCutOffFromEachOther) {
  World world(2);
  world.ranks[0].host = world.ranks[1].host = "n0";
  world.Waits(0, 1);
  world.Waits(1, 0);
  world.Go(66, {0, 1}, {});
  EXPECT_THAT(world.Judged(),
              HasSubstr("ranks wait for each other for 66 s: rank 0 (n0, process 100) waits"));
  world.ranks[0].state.operation = "Devices";
  world.Go(1, {0, 1}, {});
  EXPECT_THAT(world.Judged(), HasSubstr("for 67 s: rank 0 ")) << "one of them waits for the host";
  world.ranks[1].state.operation = "Devices";
  world.ranks[1].host = "n1";
  world.Go(1, {0, 1}, {});
  EXPECT_THAT(world.Judged(), HasSubstr("for 68 s: their GPUs do not end what they do together: rank 0 "));
}

TEST(Lookout, ARankThatOthersWaitForMostIsASlowOne) {
  World world(3);
  world.Go(60, {0, 1, 2}, {0, 1, 2});
  EXPECT_EQ(world.lookout.Slowest().rank, -1);
  world.Waits(0, 2);
  world.Waits(1, 0);
  world.Go(120, {0, 1, 2}, {0, 1, 2});
  EXPECT_EQ(world.lookout.Slowest().rank, 2);
  EXPECT_GT(world.lookout.Slowest().share, 0.8);
}

}  // namespace
}  // namespace temper
