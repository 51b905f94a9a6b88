// SPDX-License-Identifier: Apache-2.0
// Ranks that have all weights for themselves take over parts of the gradient from one that is slower, and the
// update is the one of one rank.
#include "trainer/update/leaf_hand_out.h"

#include <algorithm>
#include <mutex>
#include <set>
#include <thread>

#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "tests/trainer/update/layouts.h"

namespace temper {
namespace {

// Eleven leaves of one or two sequences each, the third's long; a rank has tokens where the leaf is its own.
struct Dealt {
  Dealt(const Mesh& mesh, int64_t long_tokens) : sequences(15) {
    for (int64_t i = 0; i < 15; ++i) {
      sequences[i].tokens.assign(i == 2 ? 2 * long_tokens : 5 + i, static_cast<int32_t>(i));
      sequences[i].CountFrom(1);
      sequences[i].old_logprobs.assign(sequences[i].counted(), -0.5f * static_cast<float>(i));
      if (i % 2 == 0) sequences[i].ref_logprobs.assign(sequences[i].counted(), -0.25f);
    }
    whole = sequences;
    leaves.resize(11);
    for (int64_t i = 0; i < 15; ++i) leaves[i % 11].push_back(&sequences[i]);
    parts = PartsOfRanks(leaves, mesh, long_tokens);
    const std::vector<std::vector<int64_t>> of_ranks = LeavesOfRanks(leaves, mesh, long_tokens);
    for (int rank = 0; rank < mesh.dp_size(); ++rank) {
      for (const int64_t leaf : of_ranks[rank]) {
        if (rank == mesh.dp_rank()) continue;
        for (const TrainSequence* sequence : leaves[leaf]) {
          TrainSequence& other = sequences[sequence - sequences.data()];
          other.tokens.clear();
          other.old_logprobs.clear();
          other.ref_logprobs.clear();
        }
      }
    }
  }

  std::vector<TrainSequence> sequences, whole;
  Leaves leaves;
  std::vector<std::vector<LeafPart>> parts;
};

// Whichever rank is slow, every part is made once, with all that it needs, by ranks of tp together; the slow
// one keeps what it has begun.
TEST(LeafHandOut, GivesEachPartToOneRankWithItsTokens) {
  constexpr int64_t kLong = 100;
  for (const MeshSizes& sizes :
       std::vector<MeshSizes>{{.dp_replicate = 2}, {.dp_replicate = 4}, {.dp_replicate = 3, .tp = 2}}) {
    for (int slow = 0; slow < sizes.dp_replicate; ++slow) {
      std::mutex mutex;
      std::multiset<std::pair<int64_t, size_t>> made;
      int64_t taken_over = 0;
      std::vector<int64_t> of_ranks(sizes.dp_replicate);
      ThreadWorld(static_cast<int>(RanksOf(sizes))).Run([&](Communicator& comm) {
        const Mesh mesh = Mesh::Create(sizes, comm).value();
        ASSERT_TRUE(LeafHandOut::IsFor(mesh));
        const Dealt dealt(mesh, kLong);
        LeafHandOut hand_out(dealt.parts, dealt.leaves, mesh);
        while (const LeafPart* part = hand_out.Next()) {
          for (int microbatch = 0; microbatch < 3; ++microbatch) {
            if (mesh.dp_rank() == slow) absl::SleepFor(absl::Milliseconds(30));
            hand_out.Serve();
          }
          for (const size_t i : part->sequences) {
            const TrainSequence& got = *hand_out.leaves()[part->leaf][i];
            const TrainSequence& all = dealt.whole[dealt.leaves[part->leaf][i] - dealt.sequences.data()];
            EXPECT_EQ(got.tokens, all.tokens);
            EXPECT_EQ(got.old_logprobs, all.old_logprobs);
            EXPECT_EQ(got.ref_logprobs, all.ref_logprobs);
            EXPECT_EQ(part->is_long, all.length() >= kLong);
          }
          const std::lock_guard<std::mutex> lock(mutex);
          if (comm.rank() % sizes.tp == 0) ++of_ranks[mesh.dp_rank()];
          for (const size_t i : part->sequences) made.emplace(part->leaf, i);
        }
        hand_out.End();
        EXPECT_FALSE(mesh.axis(Axis::kDpReplicate).size() > 1 && comm.rank() % sizes.tp == 0 &&
                     mesh.axis(Axis::kDpReplicate).HasCome((mesh.dp_rank() + 1) % mesh.dp_size(), 11))
            << "a word is left";
        const std::lock_guard<std::mutex> lock(mutex);
        if (comm.rank() % sizes.tp == 0) taken_over += hand_out.taken_over();
      });
      EXPECT_EQ(made.size(), 15u * sizes.tp);
      for (const auto& one : made) EXPECT_EQ(made.count(one), static_cast<size_t>(sizes.tp));
      EXPECT_GE(taken_over, 1);
      for (int rank = 0; rank < sizes.dp_replicate; ++rank) EXPECT_GE(of_ranks[rank], 1);
    }
  }
}

TEST(LeafHandOut, IsForRanksThatHaveAllWeightsForThemselves) {
  for (const auto& [sizes, is] :
       std::vector<std::pair<MeshSizes, bool>>{{{.dp_replicate = 4}, true},
                                               {{.dp_replicate = 2, .tp = 2}, true},
                                               {{.dp_replicate = 1, .tp = 4}, false},
                                               {{.dp_replicate = 2, .dp_shard = 2}, false},
                                               {{.dp_replicate = 2, .pp = 2}, false},
                                               {{.dp_replicate = 2, .ep = 2}, false},
                                               {{.dp_replicate = 2, .cp = 2}, false}}) {
    ThreadWorld(4).Run([&, &sizes = sizes, is = is](Communicator& comm) {
      EXPECT_EQ(LeafHandOut::IsFor(Mesh::Create(sizes, comm).value()), is);
    });
    EXPECT_FALSE(LeafHandOut::IsFor(Mesh::Counting(PlaceOf(sizes, 0))));
  }
}

// The rank with most parts sleeps at each sequence: others make some of them, and what the update leaves is
// what it leaves on one rank.
TEST(LeafHandOut, OnASlowRankLeavesTheBitsOfOne) {
  const Json json = SharedByFour(OddDeepseek(), 8);
  const Sample sample(json, 0.2f, {1100, 1200});
  StepOptions options{50, 11, TrainPass::Keep::kAll};
  options.long_sequence_tokens = 1025;
  const RankOutcome alone = TwoUpdatesOnRank(json, sample, options, Mesh::Single());
  EXPECT_EQ(alone.last.taken_over, 0);
  for (const MeshSizes& sizes :
       std::vector<MeshSizes>{{.dp_replicate = 3}, {.dp_replicate = 2, .tp = 2, .sequence_parallel = true}}) {
    ThreadWorld(static_cast<int>(RanksOf(sizes))).Run([&](Communicator& comm) {
      const Mesh mesh = Mesh::Create(sizes, comm).value();
      const auto parts =
          PartsOfRanks(sample.Deal(options.gradient_leaves), mesh, options.long_sequence_tokens);
      const auto most = std::max_element(parts.begin(), parts.end(),
                                         [](const auto& a, const auto& b) { return a.size() < b.size(); });
      const RankOutcome got = TwoUpdatesOnRank(json, sample, options, mesh, [&] {
        if (mesh.dp_rank() == most - parts.begin()) absl::SleepFor(absl::Milliseconds(120));
      });
      EXPECT_GE(got.last.taken_over, 1);
      ExpectKeptOf(alone.weights, got.weights, "weight ");
      ExpectKeptOf(alone.m, got.m, "first moment ");
      ExpectKeptOf(alone.v, got.v, "second moment ");
      EXPECT_EQ(got.last.gradient_norm, alone.last.gradient_norm);
      EXPECT_EQ(got.last.sums.loss, alone.last.sums.loss);
      EXPECT_EQ(got.last.sums.tokens, alone.last.sums.tokens);
      EXPECT_EQ(got.logprobs, alone.logprobs);
    });
  }
}

}  // namespace
}  // namespace temper
