// SPDX-License-Identifier: Apache-2.0
#include "comm/threads.h"

#include <atomic>
#include <stdexcept>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "comm/pulse.h"
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
TEST(Threads, CopiesAreSentBeforeAnybodyReceives) { OnRanks({1, 2, 3, 4, 8}, CopiesBody); }
TEST(Threads, AMessageHasComeOnceItWasSentAndUntilItIsReceived) { OnRanks({1, 2, 3, 4, 6}, HasComeBody); }
TEST(Threads, WhatIsStartedGoesOnBesideOtherMessages) { OnRanks({1, 2, 3, 4, 8}, MovingBody); }
TEST(Threads, CollectivesReachEveryRankFromEveryRoot) { OnRanks({1, 2, 3, 4, 5, 6, 8}, CollectivesBody); }
TEST(Reduce, IntegersAddOnAnyNumberOfRanks) { OnRanks({1, 2, 3, 4, 5, 6, 8}, IntegersBody); }
TEST(Reduce, FloatsAddInTheTreeOverRanks) { OnRanks({1, 2, 3, 4, 8}, TreeBody); }
TEST(Reduce, PartsOfAnyLengthReachAll) { OnRanks({1, 2, 3, 4, 8}, PartsBody); }
TEST(Check, NamesTheFirstRankThatDiffersAndByWhat) { OnRanks({1, 2, 3, 4}, SameHeldBody); }
TEST(Threads, ARankThatEndsIsHeardWhereverOthersWaitForIt) { OnRanks({1, 2, 3, 4, 8}, LeaveBody); }
TEST(Threads, ARequestToStopReachesEveryRank) { OnRanks({1, 2, 4}, AskToStopBody); }
TEST(Split, ARankOfAPartSpeaksToItsPartAlone) { OnRanks({1, 2, 3, 4, 6}, SplitBody); }
TEST(Mesh, AnAxisJoinsTheRanksThatDifferOnItAlone) { OnRanks({1, 2, 3, 4, 6, 8}, MeshBody); }

TEST(Reduce, SharesAreEvenAndCoverAllAlsoOfAModelsSize) {
  for (int64_t n : {int64_t{0}, int64_t{1}, int64_t{7}, int64_t{671'000'000'000}, int64_t{1} << 62}) {
    for (int64_t ranks : {1, 2, 3, 5, 8, 1024}) {
      int64_t next = 0;
      for (int64_t rank = 0; rank < ranks; ++rank) {
        const Share share = ShareOf(n, rank, ranks);
        ASSERT_EQ(share.begin, next);
        ASSERT_LE(std::abs(share.end - share.begin - n / ranks), 1);
        next = share.end;
      }
      EXPECT_EQ(next, n);
    }
  }
}

TEST(Reduce, EachRankSendsNoMoreThanTheIntegersAndItsShareOfTheSums) {
  for (int ranks : {2, 3, 5, 8}) {
    constexpr int64_t kSize = 240'000;
    ThreadWorld world(ranks);
    world.Run([](Communicator& comm) {
      std::vector<float> x(kSize);
      SumIntegers(
          kSize, [](int64_t, absl::Span<int64_t>) {}, [](int64_t, absl::Span<const int64_t>) {}, comm, 1000);
      GatherShares(x.data(), kSize, comm);
    });
    EXPECT_EQ(world.bytes_sent(), (ranks - 1) * kSize * (8 + 4)) << ranks;
  }
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

TEST(Threads, RanksWhoseDevicesAreAtWorkWaitForTheNextOneUntilTheyAreDone) {
  ThreadWorld(3).Run([](Communicator& comm) {
    Pulse pulse;
    comm.set_pulse(&pulse);
    int asked = 0;
    RankState seen;
    comm.WaitForDevices(24, [&] {
      seen = pulse.Read();
      return ++asked > 100;
    });
    EXPECT_EQ(asked, 101);
    EXPECT_EQ(seen.waits_for, (comm.rank() + 1) % 3);
    EXPECT_EQ(seen.operation, "Devices");
    EXPECT_EQ(seen.bytes, 24);
    EXPECT_EQ(seen.number, 1);
    EXPECT_EQ(pulse.Read().operation, "");
    EXPECT_EQ(pulse.Read().waits_for, -1);
    const auto given_up = []() -> bool { throw CommError("given up"); };
    EXPECT_EQ(Thrown<CommError>([&] { comm.WaitForDevices(24, given_up); }), "given up");
    EXPECT_EQ(pulse.Read().operation, "");
    comm.set_pulse(nullptr);
    comm.Barrier();  // calls go on
  });
}

TEST(Threads, RanksHaveDevicesOfTheirOwnWhereNoTwoAreOne) {
  ThreadWorld(3).Run([](Communicator& comm) {
    const std::string own(1, static_cast<char>(comm.rank()));
    EXPECT_TRUE(HaveDevicesOfTheirOwn(own, comm));
  });
  testing::internal::CaptureStderr();
  ThreadWorld(3).Run([](Communicator& comm) {
    const std::string own(1, static_cast<char>(comm.rank()));
    EXPECT_FALSE(HaveDevicesOfTheirOwn(comm.rank() == 1 ? std::string(1, 2) : own, comm));
    EXPECT_FALSE(HaveDevicesOfTheirOwn(comm.rank() == 1 ? "" : own, comm));
  });
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_THAT(said, testing::HasSubstr("ranks 1 and 2 share a GPU: "));
  EXPECT_THAT(said, testing::HasSubstr("CUDA does not say which GPU rank 1 has: "));
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

// Ranks that wait in a chain name the one at its end, each of them.
TEST(Threads, WhoWaitsForARankThatWaitsNamesTheSilentOne) {
  std::vector<std::string> said(4);
  ThreadWorld(4, absl::Seconds(1)).Run([&](Communicator& comm) {
    char c = 0;
    if (comm.rank() == 3) {
      comm.Announce("draws");
      absl::SleepFor(absl::Seconds(3));
      return;
    }
    said[comm.rank()] = Thrown<CommError>([&] { comm.Receive(&c, 1, comm.rank() + 1, 4); });
    absl::SleepFor(absl::Seconds(2));  // the others find it by themselves
  });
  EXPECT_THAT(
      said[2],
      HasSubstr("Receive from rank 3 (1 bytes), tag 4: rank 3 was silent for 1s (last heard of: draws)"));
  EXPECT_THAT(said[1], HasSubstr("rank 3 was silent for 1s, and rank 2 waits for it"));
  EXPECT_THAT(said[0], HasSubstr("rank 3 was silent for 1s, and rank 1 waits for it"));
}

TEST(Threads, WhoAnnouncesIsWaitedForAndASilenceThatWasAnnouncedToo) {
  ThreadWorld(2, absl::Seconds(1)).Run([&](Communicator& comm) {
    int64_t number = 7;
    if (comm.rank() == 1) {
      for (int i = 0; i < 30; ++i) {
        comm.Announce("draws");
        absl::SleepFor(absl::Milliseconds(100));
      }
      comm.Announce("writes", absl::Seconds(60));
      absl::SleepFor(absl::Seconds(3));
      comm.Send(&number, sizeof number, 0);
    } else {
      int64_t got = 0;
      comm.Receive(&got, sizeof got, 1);
      EXPECT_EQ(got, 7);
      number = comm.Sum(1);
    }
    if (comm.rank() == 1) number = comm.Sum(1);
    EXPECT_EQ(number, 2);
  });
}

TEST(Threads, RanksThatWaitForEachOtherInARingAreFound) {
  for (const int ranks : {2, 3, 5}) {
    std::atomic<int> found = 0;
    EXPECT_THAT(Thrown<CommError>([&] {
                  ThreadWorld(ranks, absl::Seconds(1)).Run([&](Communicator& comm) {
                    char c = 0;
                    try {
                      comm.Receive(&c, 1, (comm.rank() + 1) % comm.size());
                    } catch (const CommError&) {
                      ++found;
                      throw;
                    }
                  });
                }),
                HasSubstr("was silent for 1s"));
    EXPECT_EQ(found, ranks);
  }
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
  EXPECT_EQ(Resolve({.dp_replicate = int64_t{1} << 62, .tp = 4}, 4).status().message(),
            "mesh.dp_replicate is 4611686018427387904, and 4 ranks were started: set it to 0 for all");
  EXPECT_FALSE(Resolve({.dp_shard = int64_t{1} << 40, .tp = int64_t{1} << 40}, 4).ok());
  EXPECT_EQ(Resolve({.dp_shard = 2, .cp = 3}, 12)->dp_replicate, 2);
  EXPECT_EQ(Resolve({.dp_replicate = 2, .ep = 3}, 6)->dp_replicate, 2);
  EXPECT_EQ(
      Resolve({.dp_shard = 2, .sequence_parallel = true}, 4).status().message(),
      "mesh.sequence_parallel is true, and mesh.tp is 1: ranks of mesh.tp share the tokens; set tp to 2 "
      "or more, or leave it out");
  EXPECT_TRUE(Resolve({.tp = 2, .sequence_parallel = true}, 4)->sequence_parallel);
  EXPECT_EQ(Mesh::Single().dp_size(), 1);
  EXPECT_TRUE(Mesh::Single().is_first());
}

}  // namespace
}  // namespace temper
