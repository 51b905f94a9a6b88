// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/attention.h"

#include <limits>

#include "tests/kernels/cuda/hostile.h"

namespace temper::kernels {
namespace {

// New tokens of a sequence: its first position and how many.
struct Part {
  int64_t position, rows;
};

// Sequences with pages of their own, filled by the CPU's backend up to the new tokens.
class Batch {
 public:
  Batch(const AttentionShape& shape, const std::vector<Part>& parts) : shape_(shape) {
    int64_t rows = 0;
    for (const Part& part : parts) {
      const int64_t count = (part.position + part.rows + kAttentionBlock - 1) / kAttentionBlock;
      tables_.emplace_back();
      for (int64_t b = 0; b < count; ++b) {
        // What no key was written to would be seen.
        pages_.emplace_back(BlockBytes(shape) / 4, std::numeric_limits<float>::quiet_NaN());
        tables_.back().push_back(pages_.back().data());
      }
      new_.push_back({rows, part.rows, part.position, nullptr});
      rows += part.rows;
    }
    for (size_t i = 0; i < parts.size(); ++i) new_[i].blocks = tables_[i].data();
    TestBackend cpu(1);
    for (size_t i = 0; i < parts.size(); ++i) {
      const int64_t before = parts[i].position;
      Grid k(before, shape.kv_heads * shape.qk_dim, 31 + i), v(before, shape.kv_heads * shape.v_dim, 51 + i);
      const AttentionSequence old{0, before, 0, tables_[i].data()};
      cpu->WriteBlocks({shape, {&old, 1}, k.matrix(), v.matrix()});
    }
    q = Grid(rows, shape.q_heads * shape.qk_dim, 1, 4);
    k = Grid(rows, shape.kv_heads * shape.qk_dim, 2, 1);
    v = Grid(rows, shape.kv_heads * shape.v_dim, 3, 1);
    out = Grid(rows, shape.q_heads * shape.v_dim, 4, 4);
    lse.resize(rows * shape.q_heads);
  }
  WriteBlocksTask write() { return {shape_, new_, k.matrix(), v.matrix()}; }
  AttentionTask attend() { return {shape_, new_, q.matrix(), out.matrix(), lse.data()}; }
  AttentionPlace place() const { return {.sequences = new_.data()}; }
  // Bits of all pages.
  std::vector<uint32_t> pages() const {
    std::vector<uint32_t> all;
    for (const std::vector<float>& page : pages_) {
      for (const float x : page) all.push_back(std::bit_cast<uint32_t>(x));
    }
    return all;
  }

  Grid q{0, 0, 1}, k{0, 0, 1}, v{0, 0, 1}, out{0, 0, 1};
  std::vector<float> lse;

 private:
  AttentionShape shape_;
  std::vector<std::vector<float>> pages_;
  std::vector<std::vector<void*>> tables_;
  std::vector<AttentionSequence> new_;
};

// Forward of these, simulated with splits together and apart, beside the CPU's.
void Compare(const AttentionShape& shape, const std::vector<Part>& parts, std::vector<sim::Stream> streams) {
  TestBackend cpu(1);
  Batch expected(shape, parts);
  cpu->WriteBlocks(expected.write());
  cpu->Attention(expected.attend());
  for (sim::Stream& stream : streams) {
    for (const bool apart : {false, true}) {
      Batch batch(shape, parts);
      sim::WriteBlocks(batch.write(), batch.place(), stream);
      EXPECT_EQ(batch.pages(), expected.pages());
      AttentionPlace place = batch.place();
      std::vector<float> found(apart ? FoundFloats(batch.attend()) : 0);
      if (apart) place.found = found.data();
      sim::Attention(batch.attend(), place, stream);
      EXPECT_EQ(Differences(batch.out.data, expected.out.data), 0)
          << shape.qk_dim << ", " << shape.v_dim << (apart ? ", apart" : "");
      EXPECT_EQ(Differences(batch.lse, expected.lse), 0);
    }
  }
}

std::vector<sim::Stream> OneStream() { return {{sim::Order::kGreedyWarp, true, 6}}; }

TEST(SimulatedAttention, OfGroupedQueriesIsTheCpusUnderEveryStream) {
  Compare({.q_heads = 4, .kv_heads = 2, .qk_dim = 20, .v_dim = 12, .scale = 0.3f}, {{0, 66}, {60, 6}},
          sim::HostileStreams());
}

TEST(SimulatedAttention, DecodesOverSplitsOneOrManySequencesAtOnce) {
  Compare({.q_heads = 3, .kv_heads = 1, .qk_dim = 7, .v_dim = 9, .scale = 0.4f},
          {{1023, 1}, {1024, 1}, {2060, 1}, {0, 1}}, OneStream());
}

TEST(SimulatedAttention, OfOneLatentForAllHeadsIsTheCpus) {
  Compare({.q_heads = 5, .kv_heads = 1, .qk_dim = 148, .v_dim = 132, .scale = 0.1f}, {{0, 9}, {1020, 7}},
          OneStream());
}

TEST(SimulatedAttention, OfAWindowLeavesOutBlocksAndKeys) {
  for (const int64_t window : {1, 50, 1000})
    Compare({.q_heads = 2, .kv_heads = 1, .qk_dim = 8, .v_dim = 8, .scale = 0.5f, .window = window},
            {{0, 66}, {1990, 70}}, OneStream());
}

TEST(SimulatedAttention, ReadsBlocksOfBf16) {
  Compare({.q_heads = 4, .kv_heads = 2, .qk_dim = 12, .v_dim = 20, .scale = 0.3f, .stored = Type::kBf16},
          {{0, 33}, {1025, 2}}, OneStream());
}

TEST(SimulatedAttention, AScoreThatIsNoNumberReachesTheOutput) {
  const AttentionShape shape{.q_heads = 2, .kv_heads = 2, .qk_dim = 4, .v_dim = 4, .scale = 1};
  TestBackend cpu(1);
  sim::Stream stream;
  Batch expected(shape, {{0, 3}}), batch(shape, {{0, 3}});
  for (Batch* one : {&expected, &batch}) one->q.data[0] = std::numeric_limits<float>::quiet_NaN();
  cpu->WriteBlocks(expected.write());
  cpu->Attention(expected.attend());
  sim::WriteBlocks(batch.write(), batch.place(), stream);
  sim::Attention(batch.attend(), batch.place(), stream);
  EXPECT_EQ(Differences(batch.out.data, expected.out.data), 0);
  EXPECT_TRUE(std::isnan(batch.out.data[0]));
}

}  // namespace
}  // namespace temper::kernels
