// SPDX-License-Identifier: Apache-2.0
// Ranks that share a long sequence (mesh.cp) each put their rows of it through the policy, with the logprobs
// of one rank, and send what the axis says. Gradients: tests/trainer/update/sequence_ranks_test.cc.
#include "comm/threads.h"
#include "gtest/gtest.h"
#include "model/stretches.h"
#include "tests/model/odd_models.h"

namespace temper {
namespace {

TEST(StretchEdges, AreWholeSpansOnWhicheverRanks) {
  EXPECT_EQ(StretchEdges(5000), (std::vector<int64_t>{0, 0, 0, 0, 1024, 1024, 1024, 2048, 2048, 2048, 3072,
                                                      3072, 3072, 4096, 4096, 4096, 5000}));
  for (const int64_t positions : {0, 1, 1024, 1025, 5000, 16384, 40000}) {
    for (const int ranks : {1, 2, 4, 8}) {
      int64_t rows = 0, most = 0;
      for (int rank = 0; rank < ranks; ++rank) {
        int64_t mine = 0;
        for (const IndexRange& range : PositionsOf(positions, rank, ranks)) {
          EXPECT_EQ(range.begin % 1024, 0);
          mine += range.end - range.begin;
        }
        EXPECT_EQ(StretchesOf(positions, rank, ranks).edges.back(), mine);
        rows += mine;
        most = std::max(most, mine);
      }
      EXPECT_EQ(rows, positions);
      if (positions == 40000) {
        EXPECT_LE(most, 40000 / ranks + 2 * 1024) << ranks;
      }
    }
  }
}

struct SharedModel {
  const char* name;
  Json (*json)();
  int64_t key_floats;  // of a token, in a layer
};
class SequenceRanks : public ::testing::TestWithParam<SharedModel> {};

TEST_P(SequenceRanks, HaveTheirRowsAndTheLogprobsOfOne) {
  Microbatch batch = Packed({RandomTokens(711, 5000, 1)});
  batch.is_long = true;
  const auto pass = [&](CausalLm& model, std::vector<float>* logprobs) {
    logprobs->resize(batch.tokens.size());
    TrainPass pass(&model.stack(), TrainPass::Keep::kAll);
    pass.Logprobs(batch, 0.7f, logprobs->data());
    return pass.bytes();
  };
  std::vector<float> expected;
  int64_t alone = 0;
  {
    Policy policy(GetParam().json(), 1);
    alone = pass(policy.model, &expected);
    batch.is_long = false;
    EXPECT_EQ(PackedLogprobs(policy.model, {batch.tokens}, 0.7f), expected) << "of one that is not long";
    batch.is_long = true;
  }
  for (const int ranks : {2, 4}) {
    ThreadWorld(ranks).Run([&](Communicator& comm) {
      const Mesh mesh = Mesh::Create({.cp = ranks}, comm).value();
      Policy policy(GetParam().json(), mesh);
      // Of a short sequence nothing is sent but the weights, each time the same but for the first, to which
      // no unit lies there still.
      const Microbatch few = Packed({RandomTokens(711, 20, 1)});
      std::vector<float> got(few.tokens.size());
      policy.model.Logprobs(few, 0.7f, got.data());
      const int64_t before = mesh.axis(Axis::kCp).sent_bytes();
      policy.model.Logprobs(few, 0.7f, got.data());
      const int64_t weights = mesh.axis(Axis::kCp).sent_bytes() - before;
      const int64_t bytes = pass(policy.model, &got);
      EXPECT_EQ(got, expected) << ranks;
      const int64_t rows = RowsOf(batch, mesh.place());
      const int64_t next = StretchesOf(5000, (comm.rank() + 1) % ranks, ranks).edges.back();
      const int64_t layers = policy.model.config().num_layers, keys = GetParam().key_floats;
      // In a ring: all parts but the next rank's, of keys and of logprobs.
      EXPECT_EQ(mesh.axis(Axis::kCp).sent_bytes() - before - 2 * weights,
                (layers * keys + 1) * (5000 - next) * 4);
      // Its rows' share, beside the keys of all: kept in each layer, in blocks, and on their way.
      const int64_t all_keys = (layers + 3) * 5056 * keys * 4;
      EXPECT_LE(bytes, alone * rows / 5000 + all_keys + (1 << 18)) << ranks;
    });
  }
}

INSTANTIATE_TEST_SUITE_P(Models, SequenceRanks,
                         ::testing::Values(SharedModel{"latent", OddDeepseek, 21 + 6},
                                           SharedModel{"grouped", OddQwen2, 2 * 2 * 18}),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace temper
