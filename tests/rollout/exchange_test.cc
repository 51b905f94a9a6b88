// SPDX-License-Identifier: Apache-2.0
#include "rollout/exchange.h"

#include <algorithm>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "comm/threads.h"
#include "data/record_file.h"
#include "gtest/gtest.h"

namespace temper {
namespace {

constexpr int64_t kGroups = 6, kSamples = 3;

// The whole of a sample, `scale` times as long as it would be.
Trajectory Whole(int64_t group, int64_t sample, int64_t scale = 1) {
  Trajectory trajectory;
  trajectory.prompt_id = absl::StrCat("p", group);
  trajectory.sample = static_cast<int32_t>(sample);
  trajectory.entropy_sum = 0.25 * static_cast<double>(group + sample);
  trajectory.text = sample == 1 ? "Wait, it is 8." : "8";
  for (int64_t i = 1; i < scale; ++i) trajectory.text += " and so on";
  trajectory.verdicts = {{"accuracy", VerdictKind::kCorrect, 0.5, "8", "why"}};
  const int64_t tokens = 10 * scale + group;
  trajectory.Extend(Segment::Kind::kSampled, 2, tokens - 4);
  trajectory.Extend(Segment::Kind::kGiven, 2, 3);
  trajectory.Extend(Segment::Kind::kSampled, 2, 1);
  trajectory.tokens.resize(tokens);
  std::iota(trajectory.tokens.begin(), trajectory.tokens.end(), 100 * static_cast<int32_t>(group));
  trajectory.logprobs.assign(tokens - 3, -0.1f * static_cast<float>(sample + 1));
  return trajectory;
}

std::string Head(const Trajectory& trajectory) {
  Trajectory head;
  static_cast<TrajectoryHead&>(head) = trajectory;
  head.looks_back = false;
  return EncodeTrajectory(head);
}

// What each rank has after the exchange, where sample s of group g is that of rank (g + s) % ranks.
std::vector<std::vector<Group>> Exchanged(ThreadWorld& world, int ranks, int64_t scale = 1) {
  std::vector<std::vector<Group>> of_rank(ranks, std::vector<Group>(kGroups));
  world.Run([&](Communicator& comm) {
    std::deque<Trajectory> mine;
    for (int64_t g = 0; g < kGroups; ++g) {
      for (int64_t s = 0; s < kSamples; ++s)
        if ((g + s) % ranks == comm.rank()) mine.push_back(Whole(g, s, scale));
    }
    auto all = Exchange(comm, absl::OkStatus(), std::move(mine));
    ASSERT_TRUE(all.ok()) << all.status();
    std::vector<Group>& groups = of_rank[comm.rank()];
    for (int64_t g = 0; g < kGroups; ++g) {
      groups[g].prompt.id = absl::StrCat("p", g);
      groups[g].trajectories.resize(kSamples);
    }
    for (Trajectory& trajectory : *all) {
      const int64_t g = trajectory.prompt_id[1] - '0';
      groups[g].trajectories[trajectory.sample] = std::move(trajectory);
    }
  });
  return of_rank;
}

TEST(Exchange, TellsEveryRankTheHeadsAndLeavesTheRestWhereItIs) {
  for (int ranks : {1, 2, 3, 5}) {
    ThreadWorld world(ranks);
    const auto of_rank = Exchanged(world, ranks);
    for (int rank = 0; rank < ranks; ++rank) {
      for (int64_t g = 0; g < kGroups; ++g) {
        for (int64_t s = 0; s < kSamples; ++s) {
          const Trajectory &got = of_rank[rank][g].trajectories[s], whole = Whole(g, s);
          const bool own = (g + s) % ranks == rank;
          EXPECT_EQ(Head(got), Head(whole));
          EXPECT_EQ(got.looks_back, s == 1) << "its text says Wait";
          EXPECT_EQ(got.tokens, own ? whole.tokens : std::vector<int32_t>());
          EXPECT_EQ(got.logprobs, own ? whole.logprobs : std::vector<float>());
          EXPECT_EQ(got.text, own ? whole.text : "");
        }
      }
    }
  }
}

TEST(Exchange, SendsNoMoreOfLongerSamples) {
  const auto bytes = [](int64_t scale) {
    ThreadWorld world(4);
    Exchanged(world, 4, scale);
    return world.bytes_sent();
  };
  // The counts themselves, of segments in the head, take a byte or two more.
  EXPECT_LE(bytes(1000), bytes(1) + 4 * 3 * kGroups * kSamples * 2 * 2);
}

TEST(Deliver, MovesEachGroupToItsOwnerOnceAndToNobodyElse) {
  const std::vector<int> owners = {0, 2, -1, 1, 2, 2};
  constexpr int kRanks = 3;
  for (Contents contents : {Contents::kTokens, Contents::kTexts}) {
    ThreadWorld world(kRanks);
    auto of_rank = Exchanged(world, kRanks);
    const int64_t before = world.bytes_sent();
    world.Run([&](Communicator& comm) {
      const Mesh mesh = *Mesh::Create({}, comm);
      Deliver(mesh, mesh, contents, owners, &of_rank[comm.rank()]);
    });

    int64_t moved = 0;  // what owners lacked
    for (int64_t g = 0; g < kGroups; ++g) {
      for (int64_t s = 0; s < kSamples; ++s) {
        const Trajectory whole = Whole(g, s);
        for (int rank = 0; rank < kRanks; ++rank) {
          const Trajectory& got = of_rank[rank][g].trajectories[s];
          const bool own = (g + s) % kRanks == rank, owner = owners[g] == rank;
          const bool tokens = contents == Contents::kTokens ? owner : own;
          const bool text = contents == Contents::kTexts ? owner : own;
          EXPECT_EQ(got.tokens, tokens ? whole.tokens : std::vector<int32_t>());
          EXPECT_EQ(got.logprobs, tokens ? whole.logprobs : std::vector<float>());
          EXPECT_EQ(got.text, text ? whole.text : "");
          EXPECT_EQ(Head(got), Head(whole));
        }
        if (owners[g] < 0 || (g + s) % kRanks == owners[g]) continue;
        Trajectory sent;
        sent.prompt_id = whole.prompt_id;
        sent.sample = whole.sample;
        if (contents == Contents::kTexts) {
          sent.text = whole.text;
        } else {
          sent.tokens = whole.tokens;
          sent.logprobs = whole.logprobs;
        }
        moved += 8 + static_cast<int64_t>(EncodeTrajectory(sent).size());
      }
    }
    EXPECT_EQ(world.bytes_sent() - before, moved + kRanks * (kRanks - 1) * 8) << "each with its length";
  }
}

// Ranks that sampled together have the same samples; those that train together all get them, each from one.
TEST(Deliver, TakesSamplesFromOneMeshToAnother) {
  const std::pair<MeshSizes, MeshSizes> pairs[] = {
      {{.dp_replicate = 2, .tp = 2}, {.dp_replicate = 4}},
      {{.dp_replicate = 4}, {.dp_replicate = 1, .pp = 2, .tp = 2}},
      {{.dp_replicate = 1, .pp = 2, .tp = 2}, {.dp_replicate = 2, .dp_shard = 2}},
      {{.dp_replicate = 2, .tp = 2}, {.dp_replicate = 1, .dp_shard = 2, .pp = 2}},
      {{.dp_replicate = 3, .tp = 2}, {.dp_replicate = 2, .pp = 3}}};
  for (const auto& [sampled, owning] : pairs) {
    const auto data_ranks = static_cast<int>(DataRanks(owning));
    ThreadWorld world(static_cast<int>(RanksOf(sampled)));
    std::vector<int64_t> moved(RanksOf(sampled));
    world.Run([&](Communicator& comm) {
      const Mesh has = *Mesh::Create(sampled, comm), needs = *Mesh::Create(owning, comm);
      std::vector<Group> groups(kGroups);
      std::vector<int> owners;
      for (int64_t g = 0; g < kGroups; ++g) {
        groups[g].prompt.id = absl::StrCat("p", g);
        owners.push_back(static_cast<int>(g) % (data_ranks + 1) - 1);
        for (int64_t s = 0; s < kSamples; ++s) {
          const bool here = (g + s) % has.dp_size() == has.dp_rank();
          Trajectory whole = Whole(g, s);
          if (!here) static_cast<TrajectoryHead&>(groups[g].trajectories.emplace_back()) = whole;
          if (here) groups[g].trajectories.push_back(std::move(whole));
        }
      }
      const int64_t sent = comm.sent_bytes();
      Deliver(has, needs, Contents::kTokens, owners, &groups);
      moved[comm.rank()] = comm.sent_bytes() - sent;
      for (int64_t g = 0; g < kGroups; ++g) {
        for (int64_t s = 0; s < kSamples; ++s) {
          const Trajectory &got = groups[g].trajectories[s], whole = Whole(g, s);
          const bool owner = owners[g] == needs.dp_rank();
          EXPECT_EQ(got.tokens, owner ? whole.tokens : std::vector<int32_t>());
          EXPECT_EQ(got.logprobs, owner ? whole.logprobs : std::vector<float>());
        }
      }
    });
    // What owners lacked, each with its length, and of each pair of ranks that may have something a length.
    int64_t lacked = 0, pairs_of_ranks = 0;
    for (int64_t rank = 0; rank < RanksOf(sampled); ++rank) {
      const auto here = PlaceIn(MeshParts()[kDpPart], PlaceOf(sampled, rank)).rank;
      const auto owner = PlaceIn(MeshParts()[kDpPart], PlaceOf(owning, rank)).rank;
      pairs_of_ranks += DataRanks(sampled) - 1;
      for (int64_t g = 0; g < kGroups; ++g) {
        for (int64_t s = 0; s < kSamples; ++s) {
          if (g % (data_ranks + 1) - 1 != owner || (g + s) % DataRanks(sampled) == here) continue;
          Trajectory sent = Whole(g, s), held;
          held.prompt_id = sent.prompt_id;
          held.sample = sent.sample;
          held.tokens = sent.tokens;
          held.logprobs = sent.logprobs;
          lacked += 8 + static_cast<int64_t>(EncodeTrajectory(held).size());
        }
      }
    }
    EXPECT_EQ(std::accumulate(moved.begin(), moved.end(), int64_t{0}), lacked + 8 * pairs_of_ranks)
        << MeshText(sampled) << " to" << MeshText(owning);
    if (sampled.tp == 2 && owning.dp_replicate == 4) {
      EXPECT_GT(*std::min_element(moved.begin(), moved.end()), 8) << "those that have the same take turns";
    }
  }
}

}  // namespace
}  // namespace temper
