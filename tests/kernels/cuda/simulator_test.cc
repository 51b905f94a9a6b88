// SPDX-License-Identifier: Apache-2.0
// Kernels with a fault each. Every one must be caught under every stream, and the one without must pass.
#include "kernels/cuda/simulator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>
#include <utility>
#include <vector>

#include "kernels/cuda/device.h"
#include "kernels/cuda/driver/driver.h"

namespace temper::kernels::sim {
namespace {

enum class Bug {
  kNone,
  kNoBarrierBehindWait,
  kNoBarrierBeforeRefill,
  kWaitOffByOne,
  kNobodyWaits,
  kThreadMissesBarrier,
  kLanesMissShuffle,
  kShuffleMeetsBarrier,
  kShuffleMeetsVote,
  kShuffleMeetsAnother,
  kMmaMeetsAnother,
  kBarrierMeetsAnother,
  kOneBeyondTheEnd,
  kOneBeforeTheBegin,
  kBeyondSharedMemory,
  kMisalignedCopy,
  kMisalignedVector,
  kBlocksWriteOnePlace,
  kBlockReadsWhatAnotherWrites,
  kRaceInsideWarp,
  kReadsWhatNobodyWrote,
  kCountsWithoutAtomics,
  kReadsCountsTooSoon,
};

constexpr int kTile = 64, kTiles = 4;

// out[i] of a tile = in[tile's last - i], by two stages of copies: each thread reads what another has copied.
template <Bug kBug>
struct Reverse {
  static constexpr int kThreads = kTile, kBlocks = 1;
  struct Args {
    Global<const float> in;
    Global<float> out;
  };
  static void Run(const Args& args) {
    SHARED(float, tiles, 2 * kTile);
    const int64_t first = int64_t{Block()} * kTiles * kTile;
    const auto fetch = [&](int tile) {
      const int64_t from = first + tile * kTile;
      if (kBug == Bug::kMisalignedCopy) {
        if (Thread() < kTile / 4)
          CopyAsync<4>(tiles.From(tile % 2 * kTile + 4 * Thread()), args.in.From(from + 1 + 4 * Thread()), 4);
      } else {
        CopyAsync<1>(tiles.From(tile % 2 * kTile + Thread()), args.in.From(from + Thread()), 1);
      }
      CopyCommit();
    };
    fetch(0);
    for (int tile = 0; tile < kTiles; ++tile) {
      if (tile + 1 < kTiles) fetch(tile + 1);
      if (tile + 1 < kTiles && kBug != Bug::kNobodyWaits) CopyWait<kBug == Bug::kWaitOffByOne ? 2 : 1>();
      if (tile + 1 == kTiles) CopyWait<0>();
      if (kBug == Bug::kThreadMissesBarrier && tile + 1 == kTiles && Thread() == 5) return;
      if (kBug != Bug::kNoBarrierBehindWait) Sync();
      const int at = kBug == Bug::kBeyondSharedMemory && tile == 1 ? 2 * kTile + Thread()
                                                                   : tile % 2 * kTile + kTile - 1 - Thread();
      const Float x = tiles.At(at);
      args.out.Put(first + tile * kTile + Thread(), x);
      if (kBug != Bug::kNoBarrierBeforeRefill) Sync();
    }
    if (kBug == Bug::kLanesMissShuffle && Lane() < 16) ShuffleXor(Set(1.0f), 1);
    if (kBug == Bug::kShuffleMeetsBarrier) Lane() < 16 ? void(ShuffleXor(Set(1.0f), 1)) : WarpSync();
    if (kBug == Bug::kShuffleMeetsVote) Lane() < 16 ? void(ShuffleXor(Set(1.0f), 1)) : void(Ballot(true));
    if (kBug == Bug::kShuffleMeetsAnother && Lane() < 16) ShuffleXor(Set(1.0f), 1);
    if (kBug == Bug::kShuffleMeetsAnother && Lane() >= 16) ShuffleXor(Set(1.0f), 2);
    Floats<4> sums = {};
    const uint32_t a[4] = {}, b[2] = {};
    if (kBug == Bug::kMmaMeetsAnother && Lane() < 16) Mma(sums, a, b);
    if (kBug == Bug::kMmaMeetsAnother && Lane() >= 16) Mma(sums, a, b);
    if (kBug == Bug::kBarrierMeetsAnother && Lane() < 16) Sync();
    if (kBug == Bug::kBarrierMeetsAnother && Lane() >= 16) Sync();
    if (kBug == Bug::kOneBeyondTheEnd) args.in.At(first + kTiles * kTile + Thread());
    if (kBug == Bug::kOneBeforeTheBegin) args.in.From(first).At(-1);
    if (kBug == Bug::kMisalignedVector && Thread() == 0) Read<4>(args.in, first + 1);
    if (kBug == Bug::kBlocksWriteOnePlace && Thread() == 0) args.out.Put(7, Set(1.0f));
    if (kBug == Bug::kBlockReadsWhatAnotherWrites)
      args.out.At((first + kTiles * kTile) % (2 * kTiles * kTile) + Thread());
    if (kBug == Bug::kRaceInsideWarp) {
      tiles.Put(Thread(), Set(1.0f));
      tiles.At(Thread() ^ 1);
    }
    SHARED(uint32_t, counts, 2);
    if (Thread() < 2) counts.Put(Thread(), 0);
    Sync();
    if (kBug == Bug::kCountsWithoutAtomics) {
      counts.Put(Thread() % 2, counts.At(Thread() % 2) + 1);
    } else {
      AtomicAdd(counts, Thread() % 2, 1);
    }
    if (kBug != Bug::kReadsCountsTooSoon) Sync();
    if (counts.At(Thread() % 2) != kTile / 2) args.out.Put(first + Thread(), Set(-1.0f));
    if (kBug == Bug::kReadsWhatNobodyWrote) {
      SHARED(float, never, kTile);
      args.out.Put(first + Thread(), never.At(Thread()));
    }
  }
};

// What the launch says under each of the streams; "" of a launch that gives the right numbers.
template <Bug kBug>
std::vector<std::string> Said(const std::vector<Stream>& streams = HostileStreams()) {
  std::vector<std::string> said;
  for (Stream stream : streams) {
    std::vector<float> in(2 * kTiles * kTile), out(in.size(), -1.0f);
    std::iota(in.begin(), in.end(), 0.0f);
    try {
      Launch<Reverse<kBug>>(
          stream, 2,
          {{in.data(), static_cast<int64_t>(in.size())}, {out.data(), static_cast<int64_t>(out.size())}});
      bool right = true;
      for (size_t i = 0; i < out.size(); ++i)
        right = right && out[i] == in[i / kTile * kTile + kTile - 1 - i % kTile];
      said.push_back(right ? "" : "wrong numbers");
    } catch (const Fault& fault) {
      said.push_back(fault.what());
    }
  }
  return said;
}

using testing::AllOf;
using testing::Each;
using testing::HasSubstr;

TEST(Simulator, AKernelWithoutAFaultGivesTheSameUnderEveryStream) {
  EXPECT_THAT(Said<Bug::kNone>(), Each(""));
}

TEST(Simulator, AMissingBarrierIsARaceUnderEveryStream) {
  EXPECT_THAT(Said<Bug::kNoBarrierBehindWait>(), Each(HasSubstr("of shared memory tiles ")));
  EXPECT_THAT(Said<Bug::kNoBarrierBeforeRefill>(), Each(HasSubstr("of shared memory tiles ")));
  EXPECT_THAT(Said<Bug::kRaceInsideWarp>(), Each(HasSubstr("with no barrier between them")));
}

TEST(Simulator, CountsWithoutAtomicsOrReadBeforeABarrierAreRaces) {
  EXPECT_THAT(Said<Bug::kCountsWithoutAtomics>(), Each(HasSubstr("of shared memory counts ")));
  EXPECT_THAT(Said<Bug::kReadsCountsTooSoon>(), Each(HasSubstr("of shared memory counts ")));
}

TEST(Simulator, AWaitThatEndsTooSoonIsCaught) {
  EXPECT_THAT(Said<Bug::kWaitOffByOne>(), Each(HasSubstr("is on its way to it")));
  EXPECT_THAT(Said<Bug::kNobodyWaits>(), Each(HasSubstr("is on its way to it")));
}

TEST(Simulator, ABarrierOrAShuffleThatSomeNeverReachIsNamed) {
  EXPECT_THAT(Said<Bug::kThreadMissesBarrier>(),
              Each(AllOf(HasSubstr("63 threads wait for their block"), HasSubstr("(thread 5 is one)"))));
  EXPECT_THAT(Said<Bug::kLanesMissShuffle>(), Each(HasSubstr("for their warp")));
}

TEST(Simulator, ThreadsThatMeetFromTwoPlacesAreCaught) {
  const auto both = [](const char* one, const char* other) {
    return Each(AllOf(HasSubstr(" where others of its "), HasSubstr(one), HasSubstr(other),
                      HasSubstr("simulator_test.cc:")));
  };
  EXPECT_THAT(Said<Bug::kShuffleMeetsBarrier>(), both("ShuffleXor (", "WarpSync ("));
  EXPECT_THAT(Said<Bug::kShuffleMeetsVote>(), both("ShuffleXor (", "Ballot ("));
  EXPECT_THAT(Said<Bug::kShuffleMeetsAnother>(), both("comes to ShuffleXor (", "wait at ShuffleXor ("));
  EXPECT_THAT(Said<Bug::kMmaMeetsAnother>(), both("comes to Mma (", "wait at Mma ("));
  EXPECT_THAT(Said<Bug::kBarrierMeetsAnother>(), both("comes to Sync (", "block wait at Sync ("));
}

TEST(Simulator, AnAccessOutsideOfMemoryOrNotAlignedIsCaught) {
  EXPECT_THAT(Said<Bug::kOneBeyondTheEnd>(), Each(HasSubstr("of global memory that has 512")));
  EXPECT_THAT(Said<Bug::kOneBeforeTheBegin>(), Each(HasSubstr("reads elements -1 to -1 of global memory")));
  EXPECT_THAT(Said<Bug::kBeyondSharedMemory>(), Each(HasSubstr("of shared memory tiles, which has 128")));
  EXPECT_THAT(Said<Bug::kMisalignedCopy>(), Each(HasSubstr("a copy's source is not aligned")));
  EXPECT_THAT(Said<Bug::kMisalignedVector>(), Each(HasSubstr("is not aligned to their size")));
}

TEST(Simulator, BlocksMayNotMeetInGlobalMemory) {
  EXPECT_THAT(Said<Bug::kBlocksWriteOnePlace>(), Each(HasSubstr("of block ")));
  EXPECT_THAT(Said<Bug::kBlockReadsWhatAnotherWrites>(), Each(HasSubstr("of block ")));
}

// Streams that compare no accesses show a fault by its numbers alone, where their order and copies let it
// come to that.
std::vector<Stream> Unwatched(bool late_copies) {
  std::vector<Stream> streams;
  for (const Order order : {Order::kAscending, Order::kDescending, Order::kRandom, Order::kGreedyWarp})
    streams.push_back({.order = order, .late_copies = late_copies, .watched = false});
  return streams;
}

TEST(Simulator, UnwatchedAWaitThatEndsTooSoonShowsWhereCopiesAreLate) {
  EXPECT_THAT(Said<Bug::kWaitOffByOne>(Unwatched(true)), Each("wrong numbers"));
  EXPECT_THAT(Said<Bug::kWaitOffByOne>(Unwatched(false)), Each(""));
  EXPECT_THAT(Said<Bug::kNone>(Unwatched(true)), Each(""));
}

TEST(Simulator, UnwatchedABarrierThatIsGoneShowsWhereThreadsRunAhead) {
  EXPECT_THAT(Said<Bug::kNoBarrierBehindWait>(Unwatched(true)), Each("wrong numbers"));
  EXPECT_THAT(Said<Bug::kNoBarrierBeforeRefill>(Unwatched(false)), Each("wrong numbers"));
}

// When each thread came, before a barrier of its warp and behind it.
struct Turns {
  static constexpr int kThreads = 128, kBlocks = 1;
  struct Args {
    Global<float> before, behind;
  };
  static void Run(const Args& args) {
    SHARED(uint32_t, counts, 2);  // all of their bits are set
    args.before.Put(Thread(), OfInteger(static_cast<int>(AtomicAdd(counts, 0, 1) + 1)));
    WarpSync();
    args.behind.Put(Thread(), OfInteger(static_cast<int>(AtomicAdd(counts, 1, 1) + 1)));
  }
};
std::pair<std::vector<float>, std::vector<float>> TurnsOf(Order order, uint32_t seed = 1) {
  std::vector<float> before(Turns::kThreads), behind(Turns::kThreads);
  Stream stream{.order = order, .seed = seed};
  Launch<Turns>(stream, 1, {{before.data(), Turns::kThreads}, {behind.data(), Turns::kThreads}});
  return {before, behind};
}

TEST(Simulator, ThreadsTakeTurnsAsTheStreamSays) {
  std::vector<float> rising(Turns::kThreads);
  std::iota(rising.begin(), rising.end(), 0.0f);
  const std::vector<float> falling(rising.rbegin(), rising.rend());
  EXPECT_EQ(TurnsOf(Order::kAscending).first, rising);
  EXPECT_EQ(TurnsOf(Order::kDescending).first, falling);
  EXPECT_NE(TurnsOf(Order::kRandom).first, rising);
  EXPECT_NE(TurnsOf(Order::kRandom).first, TurnsOf(Order::kRandom, 2).first);
  // A warp is behind its barrier before others begin, unless it has to wait.
  std::set<float> firsts;
  for (const uint32_t seed : {1u, 2u, 3u, 4u}) {
    const auto [before, behind] = TurnsOf(Order::kGreedyWarp, seed);
    for (int warp = 0; warp < 4; ++warp) {
      const auto is_of_one_go = [&](const std::vector<float>& turns) {
        const auto [least, most] = std::minmax_element(&turns[32 * warp], &turns[32 * warp] + 32);
        return *most - *least == 31;
      };
      EXPECT_TRUE(is_of_one_go(before) && is_of_one_go(behind)) << seed;
    }
    firsts.insert(before[32]);
  }
  EXPECT_GT(firsts.size(), 1u) << "warps come in an order of the seed's";
}

TEST(Simulator, ALaunchOfMoreBlocksThanADeviceTakesIsAnError) {
  Stream stream;
  EXPECT_THROW(Launch<Turns>(stream, kMostBlocks + 1, {}), std::length_error);
}

// No operator says how it rounds, so numbers have none.
template <typename T>
concept HasOperators = requires(T a) {
  a + a;
}
|| requires(T a) { a - a; }
|| requires(T a) { a* a; }
|| requires(T a) { a / a; }
|| requires(T a) { -a; }
|| requires(T a) { a < a; }
|| requires(T a) { a == a; };
static_assert(HasOperators<float> && HasOperators<double> && !HasOperators<Float> && !HasOperators<Double>);

// What a launch of the kernel without a fault says where kernels have none of the host's memory.
std::string SaidOfMemory(float* in, float* out) {
  Stream stream{.host_memory = false};
  constexpr int64_t kAll = 2 * kTiles * kTile;
  try {
    Launch<Reverse<Bug::kNone>>(stream, 2, {{in, kAll}, {out, kAll}});
    return "";
  } catch (const Fault& fault) {
    return fault.what();
  }
}

TEST(Simulator, TheHostsMemoryIsNoneOfTheDevicesWhereTheStreamSaysSo) {
  constexpr int64_t kBytes = 4 * 2 * kTiles * kTile;
  const auto in = AllocateMemory(kBytes), out = AllocateMemory(kBytes);
  float host[kBytes / 4] = {};
  EXPECT_EQ(SaidOfMemory(static_cast<float*>(in.get()), static_cast<float*>(out.get())), "");
  EXPECT_THAT(SaidOfMemory(host, static_cast<float*>(out.get())), HasSubstr("reads the host's memory"));
  EXPECT_THAT(SaidOfMemory(static_cast<float*>(in.get()), host), HasSubstr("writes the host's memory"));
}

TEST(Simulator, SharedMemoryBeginsAsNaN) {
  EXPECT_THAT(Said<Bug::kReadsWhatNobodyWrote>(), Each("wrong numbers"));
}

TEST(Simulator, AFaultNamesKernelBlockAndThreadAndTheMachineGoesOn) {
  EXPECT_THAT(Said<Bug::kOneBeyondTheEnd>(),
              Each(AllOf(HasSubstr("kernel "), HasSubstr("Reverse<"), HasSubstr(", block 1, thread "))));
  EXPECT_THAT(Said<Bug::kNone>(), Each(""));
}

}  // namespace
}  // namespace temper::kernels::sim
