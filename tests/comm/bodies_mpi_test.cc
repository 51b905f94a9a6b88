// SPDX-License-Identifier: Apache-2.0
// The bodies of bodies.h on MPI's ranks: mpirun -n 4 comm_mpi_test. With --lost, --short or --abort it ends
// as a job does whose rank hangs, sends another length, or gives up: tests/CMakeLists.txt knows what must be
// printed.
#include <cstdio>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "comm/mpi.h"
#include "gtest/gtest.h"
#include "tests/comm/bodies.h"

namespace temper {
namespace {

Communicator* world;

TEST(Mpi, RanksExchangeMessagesInOrder) { ExchangesBody(*world); }
TEST(Mpi, CopiesAreSentBeforeAnybodyReceives) { CopiesBody(*world); }
TEST(Mpi, AMessageHasComeOnceItWasSentAndUntilItIsReceived) { HasComeBody(*world); }
TEST(Mpi, WhatIsStartedGoesOnBesideOtherMessages) { MovingBody(*world); }
TEST(Mpi, CollectivesReachEveryRankFromEveryRoot) { CollectivesBody(*world); }
TEST(Mpi, IntegersAddOnAnyNumberOfRanks) { IntegersBody(*world); }
TEST(Mpi, FloatsAddInTheTreeOverRanks) { TreeBody(*world); }
TEST(Mpi, PartsOfAnyLengthReachAll) { PartsBody(*world); }
TEST(Mpi, TheFirstRankThatDiffersIsNamed) { SameHeldBody(*world); }
TEST(Mpi, ARankOfAPartSpeaksToItsPartAlone) { SplitBody(*world); }
TEST(Mpi, AnAxisJoinsTheRanksThatDifferOnItAlone) { MeshBody(*world); }

TEST(Mpi, LongMessagesGoInPieces) {
  // A second door to the same ranks, with pieces of 1,000 bytes.
  const absl::StatusOr<std::unique_ptr<MpiCommunicator>> pieces = MpiCommunicator::Open(1000);
  ASSERT_TRUE(pieces.ok());
  ExchangesBody(**pieces);
  CopiesBody(**pieces);
  MovingBody(**pieces);
  CollectivesBody(**pieces);
  IntegersBody(**pieces);
}

// A large message is on its way when both ends drop it.
TEST(Mpi, WhatIsDroppedLandsInNoMemoryAnyMore) {
  const auto door = MpiCommunicator::Open();  // of its own: it is good for nothing else then
  ASSERT_TRUE(door.ok());
  Communicator& ranks = **door;
  const int n = ranks.size(), me = ranks.rank();
  if (n == 1) return;
  std::string out(16 << 20, static_cast<char>('a' + me)), in(out.size(), '-');
  {
    const auto moving =
        ranks.Start({out.data(), out.size(), (me + 1) % n, in.data(), in.size(), (me + n - 1) % n, 4001});
    world->Barrier();
  }
  const std::string then = in;
  for (int i = 0; i < 100; ++i) world->Barrier();
  EXPECT_TRUE(in == then);
}

// Messages that nobody will ever take, as those of a rank that has an error.
TEST(Mpi, ManyThatAreDroppedAreWaitedForTogether) {
  const auto door = MpiCommunicator::Open();  // of its own: it is good for nothing else then
  ASSERT_TRUE(door.ok());
  Communicator& ranks = **door;
  const int n = ranks.size(), me = ranks.rank();
  if (n == 1) return;
  const std::string out(1 << 20, 'x');
  const absl::Time began = absl::Now();
  {
    std::vector<std::unique_ptr<Communicator::Moving>> moving;
    for (int tag = 5000; tag < 5008; ++tag)
      moving.push_back(ranks.Start({out.data(), out.size(), (me + 1) % n, nullptr, 0, -1, tag}));
  }
  EXPECT_LT(absl::Now() - began, absl::Seconds(8));  // each by itself: 16
  world->Barrier();
}

TEST(Mpi, ARankThatEndsIsHeardWhereverOthersWaitForIt) {
  const auto door = MpiCommunicator::Open();  // of its own: what left it is gone
  ASSERT_TRUE(door.ok());
  LeaveBody(**door);
  world->Barrier();
}

TEST(Mpi, ARequestToStopReachesEveryRank) {
  const auto door = MpiCommunicator::Open();
  ASSERT_TRUE(door.ok());
  AskToStopBody(**door);
  world->Barrier();
}

// Rank 0 waits for rank 1, which does as `mode` says.
void Fail(const std::string& mode) {
  world->set_deadline(mode == "--lost" ? absl::Seconds(1) : absl::Seconds(60));
  char data[8] = {};
  try {
    if (world->rank() == 0) world->Receive(data, 8, 1, 3);
    if (world->rank() == 1 && mode == "--short") world->Send(data, 7, 0, 3);
    if (world->rank() == 1 && mode == "--abort") world->Abort("gives up");
    absl::SleepFor(absl::Seconds(60));
  } catch (const CommError& error) {
    world->Abort(error.what());
  }
}

}  // namespace
}  // namespace temper

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  absl::StatusOr<std::unique_ptr<temper::Communicator>> opened = temper::OpenWorld();
  if (!opened.ok()) {
    std::fprintf(stderr, "%s\n", opened.status().ToString().c_str());
    return 2;
  }
  temper::world = opened->get();
  if (argc > 1 && argv[1][0] == '-') {
    temper::Fail(argv[1]);
    return 1;
  }
  // How many ranks there must be: were mpirun's ranks each alone, all tests would still pass.
  if (argc > 1 && std::to_string(temper::world->size()) != argv[1]) {
    std::fprintf(stderr, "%d ranks, not %s\n", temper::world->size(), argv[1]);
    return 1;
  }
  return RUN_ALL_TESTS();
}
