// SPDX-License-Identifier: Apache-2.0
// Kernels with a fault each. Every one must be caught under every stream, and the one without must pass.
#include "kernels/cuda/simulator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
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
std::vector<std::string> Said() {
  std::vector<std::string> said;
  for (Stream stream : HostileStreams()) {
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
