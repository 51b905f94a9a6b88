// SPDX-License-Identifier: Apache-2.0
#include "comm/threads.h"

#include <atomic>
#include <stdexcept>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "core/check.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/comm/bodies.h"

namespace temper {
namespace {

using ::testing::HasSubstr;

void OnRanks(std::vector<int> sizes, void (*body)(Communicator&)) {
  for (int size : sizes) {
    SCOPED_TRACE(size);
    ThreadWorld(size).Run([&](Communicator& comm) { body(comm); });
    if (size > 1) continue;
    SelfCommunicator self;
    body(self);
  }
}

// The message of what `run` throws.
template <class Error, class F>
std::string Thrown(F run) {
  try {
    run();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

TEST(Threads, RanksExchangeMessagesInOrder) { OnRanks({1, 2, 3, 4, 8}, ExchangesBody); }
TEST(Threads, CollectivesReachEveryRankFromEveryRoot) { OnRanks({1, 2, 3, 4, 5, 6, 8}, CollectivesBody); }
TEST(Reduce, TheTreeOverRanksHasTheBitsOfItsDefinition) { OnRanks({1, 2, 4, 8}, TreeBody); }
TEST(Reduce, LeavesOnAnyNumberOfRanksAddToTheSameBits) { OnRanks({1, 2, 4, 8}, LeavesBody); }
TEST(Check, NamesTheFirstRankThatDiffersAndByWhat) { OnRanks({1, 2, 3, 4}, SameHeldBody); }
TEST(Threads, ARankThatEndsIsHeardWhereverOthersWaitForIt) { OnRanks({1, 2, 3, 4, 8}, LeaveBody); }
TEST(Threads, ARequestToStopReachesEveryRank) { OnRanks({1, 2, 4}, AskToStopBody); }
TEST(Split, ARankOfAPartSpeaksToItsPartAlone) { OnRanks({1, 2, 3, 4, 6}, SplitBody); }
TEST(Mesh, AnAxisJoinsTheRanksThatDifferOnItAlone) { OnRanks({1, 2, 3, 4, 6, 8}, MeshBody); }

TEST(Reduce, EachRankSendsTwiceItsShareOfTheBuffer) {
  for (int ranks : {2, 4, 8}) {
    ThreadWorld world(ranks);
    world.Run([](Communicator& comm) {
      ThreadPool pool(1);
      std::vector<float> x(8000, 1.0f);
      TreeReduceAll(x.data(), x.size(), comm, pool, 4096);
    });
    EXPECT_EQ(world.bytes_sent(), ranks * (2 * 32'000 * (ranks - 1) / ranks)) << ranks;
  }
}

TEST(Reduce, RanksThatAreNoPowerOfTwoAreRefused) {
  EXPECT_THROW(ThreadWorld(3).Run([](Communicator& comm) {
    ThreadPool pool(1);
    float x = 1;
    TreeReduceAll(&x, 1, comm, pool);
  }),
               InternalError);
}

TEST(LeafTree, AddsLeavesLikeABinaryCounter) {
  for (int leaves : {1, 2, 4, 8, 64}) {
    LeafTree tree(AddLeaves);
    for (int round = 0; round < 2; ++round) {  // Take leaves it as new
      for (int leaf = 0; leaf < leaves; ++leaf) tree.Push(LeafOf(HostileLeaf(100, leaf)));
      EXPECT_EQ(tree.leaves(), leaves);
      EXPECT_EQ(Bytes(NumbersOf(tree.Take())), Bytes(SlowTree(100, 0, leaves))) << leaves;
    }
  }
}

TEST(LeafTree, KeepsNoMoreBuffersThanABinaryCounterHasDigits) {
  int alive = 0, most = 0;
  LeafTree tree([](const LeafTree::Leaf&, const LeafTree::Leaf&) {});
  for (int leaf = 0; leaf < 64; ++leaf) {
    most = std::max(most, ++alive);
    tree.Push(LeafTree::Leaf(&alive, [&](void*) { --alive; }));
  }
  EXPECT_EQ(most, 7);
  EXPECT_EQ(alive, 1);
}

TEST(LeafTree, RefusesLeavesThatAreNoPerfectTree) {
  LeafTree tree(AddLeaves);
  EXPECT_THROW(tree.Take(), InternalError);
  for (int leaf = 0; leaf < 3; ++leaf) tree.Push(LeafOf({1.0f}));
  EXPECT_THROW(tree.Take(), InternalError);
}

TEST(Threads, NobodyLeavesABarrierThatSomebodyHasNotReached) {
  for (int size : {2, 3, 5, 8}) {
    for (int late = 0; late < size; ++late) {
      std::atomic<int> arrived = 0;
      ThreadWorld(size).Run([&](Communicator& comm) {
        if (comm.rank() == late) absl::SleepFor(absl::Milliseconds(5));
        ++arrived;
        comm.Barrier();
        EXPECT_EQ(arrived, size) << "rank " << comm.rank() << " went on without rank " << late;
      });
    }
  }
}

TEST(Threads, ALostRankIsNamedAndItsOwnErrorComesOut) {
  std::vector<std::string> seen(3);
  const std::string error = Thrown<std::runtime_error>([&] {
    ThreadWorld(3).Run([&](Communicator& comm) {
      if (comm.rank() == 1) throw std::runtime_error("disk full");
      char c;
      seen[comm.rank()] = Thrown<CommError>([&] { comm.Receive(&c, 1, 1, 4); });
      comm.Receive(&c, 1, 1, 4);
    });
  });
  EXPECT_EQ(error, "disk full");
  EXPECT_EQ(seen[0],
            "rank 0 of 3 (threads): Receive from rank 1 (1 bytes), tag 4: rank 1 is lost: disk full");
  EXPECT_EQ(seen[2],
            "rank 2 of 3 (threads): Receive from rank 1 (1 bytes), tag 4: rank 1 is lost: disk full");
}

TEST(Threads, ASilentPeerMeetsTheDeadline) {
  const std::string error = Thrown<CommError>([] {
    ThreadWorld(2, absl::Milliseconds(200)).Run([](Communicator& comm) {
      char c = 0;
      if (comm.rank() == 0) comm.Send(&c, 1, 1, 2);
    });
  });
  EXPECT_EQ(error, "rank 0 of 2 (threads): Send to rank 1 (1 bytes), tag 2: rank 1 was silent for 200ms");
}

TEST(Threads, TwoSendsThatFaceEachOtherHangAndAreFound) {
  EXPECT_THAT(Thrown<CommError>([] {
                ThreadWorld(2, absl::Milliseconds(200)).Run([](Communicator& comm) {
                  char c = 0;
                  comm.Send(&c, 1, 1 - comm.rank());
                  comm.Receive(&c, 1, 1 - comm.rank());
                });
              }),
              HasSubstr("was silent for"));
}

TEST(Threads, MessagesOfAnotherLengthThanExpectedAreAnError) {
  for (size_t length : {3, 5}) {
    EXPECT_EQ(Thrown<CommError>([&] {
                ThreadWorld(2).Run([&](Communicator& comm) {
                  char data[8] = {};
                  if (comm.rank() == 0) comm.Send(data, length, 1);
                  if (comm.rank() == 1) comm.Receive(data, 4, 0);
                });
              }),
              absl::StrCat("rank 1 of 2 (threads): Receive from rank 0 (4 bytes): the peer sent ", length,
                           " bytes"));
  }
}

TEST(Threads, AbortEndsEveryRank) {
  EXPECT_EQ(Thrown<CommError>([] {
              ThreadWorld(4).Run([](Communicator& comm) {
                if (comm.rank() == 2) comm.Abort("no more disk");
                comm.Barrier();
                comm.Barrier();
              });
            }),
            "rank 2 aborts: no more disk");
}

TEST(Threads, AWorldRunsAgainAfterALostRank) {
  ThreadWorld world(2);
  EXPECT_THROW(world.Run([](Communicator& comm) {
    char c = 0;
    if (comm.rank() == 1) throw std::runtime_error("lost");
    comm.Send(&c, 1, 1);
  }),
               std::runtime_error);
  world.Run(CollectivesBody);
}

TEST(Communicator, APeerThatIsNoOtherRankIsABrokenInvariant) {
  SelfCommunicator self;
  char c = 0;
  EXPECT_THROW(self.Send(&c, 1, 0), InternalError);
  EXPECT_THROW(self.Receive(&c, 1, 1), InternalError);
  EXPECT_THROW(self.Broadcast(&c, 1, 1), InternalError);
  EXPECT_THROW(self.Send(&c, 1, 0, Communicator::kUserTags), InternalError);
}

TEST(Mesh, SizesThatDoNotMultiplyOutAreRefusedNamingTheKey) {
  EXPECT_EQ(Resolve({.tp = 3}, 4).status().message(),
            "mesh.tp is 3, and 4 ranks were started, which is no multiple of it");
  EXPECT_EQ(Resolve({.pp = 2, .tp = 4}, 4).status().message(),
            "mesh.pp is 2, mesh.tp is 4, and 4 ranks were started, which is no multiple of it");
  EXPECT_EQ(Resolve({.dp_replicate = 4}, 2).status().message(),
            "mesh.dp_replicate is 4, and 2 ranks were started: start 4 ranks, or set it to 0 for all");
  EXPECT_EQ(Resolve({.dp_replicate = 4, .tp = 2}, 4).status().message(),
            "mesh.dp_replicate is 4, mesh.tp is 2, and 4 ranks were started: start 8 ranks, or set it to 0 "
            "for all");
  EXPECT_FALSE(Resolve({.dp_shard = int64_t{1} << 40, .tp = int64_t{1} << 40}, 4).ok());
  EXPECT_EQ(Resolve({.dp_shard = 2, .cp = 3}, 12)->dp_replicate, 2);
  EXPECT_EQ(Resolve({.dp_replicate = 2, .ep = 3}, 6)->dp_replicate, 2);
  EXPECT_EQ(Mesh::Single().dp_size(), 1);
  EXPECT_TRUE(Mesh::Single().is_first());
}

}  // namespace
}  // namespace temper
