// SPDX-License-Identifier: Apache-2.0
#include "cli/job/machines.h"

#include "absl/strings/str_join.h"
#include "gmock/gmock.h"

namespace temper {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::string Chosen(const Machines& machines) { return absl::StrJoin(machines.Chosen(), " "); }

TEST(Machines, ThatWereBlamedLastAreLeftOut) {
  const std::vector<std::string> hosts = {"a:2", "b:2", "c:2", "d:2"};
  Machines two(hosts, 2), all(hosts, 0), three(hosts, 3);
  EXPECT_EQ(Chosen(two), "a:2 b:2");
  for (Machines* machines : {&two, &all, &three}) {
    machines->Blame({"c.cluster"});
    machines->Blame({"a"});
  }
  EXPECT_EQ(Chosen(two), "b:2 d:2");
  EXPECT_THAT(two.LeftOut(), ElementsAre("c", "a"));
  EXPECT_EQ(Chosen(three), "b:2 c:2 d:2");  // too few: who was named first is tried again
  EXPECT_THAT(three.LeftOut(), ElementsAre("a"));
  EXPECT_EQ(Chosen(all), "a:2 b:2 c:2 d:2");
  EXPECT_THAT(all.LeftOut(), IsEmpty());
  EXPECT_EQ(Chosen(Machines()), "");
}

TEST(Machines, ThatWaitForEachOtherAreAllLeftOutWhereOthersAreEnough) {
  Machines five({"a", "b", "c", "d", "e"}, 3), four({"a", "b", "c", "d"}, 3);
  five.Blame({"b", "c"});
  EXPECT_EQ(Chosen(five), "a d e");
  five.BlameOne();
  EXPECT_EQ(Chosen(five), "c d e");  // the likelier of the two stays out
  four.Blame({"b", "c"});
  EXPECT_EQ(Chosen(four), "a c d");
  four.BlameOne();
  EXPECT_EQ(Chosen(four), "a b d");
}

// Of which nobody knows which one cannot be reached.
TEST(Machines, OfStartsThatDoNotBeginAreEachBlamedAtLast) {
  Machines machines({"a", "b", "c", "d"}, 3);
  machines.Blame({"c"});
  std::vector<std::string> tried;
  for (int i = 0; i < 5; ++i) {
    tried.push_back(Chosen(machines));
    machines.BlameOne();
  }
  EXPECT_THAT(tried, ElementsAre("a b d", "b c d", "a b d", "a c d", "a b c"));
  Machines needed({"a", "b"}, 2);
  needed.BlameOne();
  EXPECT_THAT(needed.LeftOut(), IsEmpty());
}

// The first start may have failed of itself, and the machine that was named is bad.
TEST(Machines, InTheMostStartsThatDidNotBeginAreBlamedAndOfThoseWhoWasNamed) {
  Machines machines({"a", "b", "c", "d"}, 3);
  machines.Blame({"d"});
  machines.Began();
  machines.BlameOne();
  EXPECT_EQ(Chosen(machines), "b c d");
  machines.BlameOne();
  EXPECT_EQ(Chosen(machines), "a b c");
  machines.BlameOne();  // it is another one
  EXPECT_EQ(Chosen(machines), "a c d");
  machines.BlameOne();
  EXPECT_EQ(Chosen(machines), "a b d");
}

TEST(Machines, OnWhichAStartBeganAreNotBlamedAnyMore) {
  Machines machines({"a", "b", "c"}, 2);
  machines.Blame({"a"});
  machines.Blame({"b"});
  EXPECT_EQ(Chosen(machines), "a c");
  machines.Began();
  machines.BlameOne();  // a cable is pulled
  EXPECT_EQ(Chosen(machines), "b c");
  EXPECT_THAT(machines.LeftOut(), ElementsAre("a"));
}

TEST(Machines, ThatAreSuspectedAreLeftOutWhereNoWorseOneComesBack) {
  Machines machines({"a", "b", "c"}, 2);
  machines.Suspect({"a"});
  EXPECT_EQ(Chosen(machines), "b c");
  machines.Began();
  machines.Blame({"b"});
  EXPECT_EQ(Chosen(machines), "a c");
  machines.Suspect({"c"});
  EXPECT_EQ(Chosen(machines), "a c");
  machines.BlameOne();  // the one that is suspected lately is the likelier
  EXPECT_EQ(Chosen(machines), "a b");
}

// A neighbour's memory may have killed the rank of the first; the second one kills its own again and again.
TEST(Machines, ThatWereSuspectedLastAreLeftOutBeforeOthers) {
  Machines machines({"a", "b", "c"}, 2);
  machines.Suspect({"a"});
  EXPECT_EQ(Chosen(machines), "b c");
  machines.Began();
  machines.Suspect({"b"});
  EXPECT_EQ(Chosen(machines), "a c");
  EXPECT_THAT(machines.LeftOut(), ElementsAre("b"));
  machines.Began();
  machines.Suspect({"c", "a"});
  machines.Suspect({"b"});
  EXPECT_EQ(Chosen(machines), "a c");
}

TEST(Machines, ThatAreOthersKeepTheBlame) {
  Machines machines({"a", "b", "c", "d"}, 2);
  machines.Blame({"b"});
  machines.Become({"b", "c", "d"});
  EXPECT_EQ(Chosen(machines), "c d");
  machines.Become({"b"});
  EXPECT_EQ(Chosen(machines), "b");
}

TEST(Machines, ThatWereBlamedStaySoWhereTheyAreSuspectedToo) {
  Machines machines({"a", "b", "c"}, 2);
  machines.Blame({"a"});
  machines.Blame({"a"});
  EXPECT_THAT(machines.LeftOut(), ElementsAre("a"));
  machines.Suspect({"a"});
  machines.Suspect({"b"});
  EXPECT_THAT(machines.Chosen(), ElementsAre("b", "c"));
}

TEST(Machines, OfASeriesThatEndedWithAStartThatBeganMayBeBlamedAgain) {
  Machines machines({"a", "b", "c"}, 2);
  machines.BlameOne();
  EXPECT_THAT(machines.Chosen(), ElementsAre("b", "c"));
  machines.Began();
  machines.Blame({"b"});
  EXPECT_THAT(machines.Chosen(), ElementsAre("a", "c"));
  machines.BlameOne();
  EXPECT_THAT(machines.Chosen(), ElementsAre("b", "c"));
}

}  // namespace
}  // namespace temper
