// SPDX-License-Identifier: Apache-2.0
#include <cstdlib>
#include <limits>

#include "kernels/cuda/attention.h"
#include "tests/kernels/cuda/hostile.h"

namespace temper::kernels {
namespace {

// Rows of sequences; a negative number of them go on with the last that began at position 0.
using Lengths = std::vector<int64_t>;

// Numbers of all that the gradients of attention read; they need not be of one forward pass.
class Backward {
 public:
  Backward(const AttentionShape& shape, const Lengths& lengths) : shape_(shape) {
    int64_t rows = 0, prefix = 0;
    for (const int64_t length : lengths) {
      const int64_t own = std::abs(length);
      if (length >= 0) prefix = length;
      sequences_.push_back({.first_row = rows, .rows = own, .first_position = length < 0 ? prefix : 0});
      rows += own;
    }
    const auto grid = [&](int heads, int dim, uint32_t seed) { return Grid(rows, heads * dim, seed, 4); };
    q = grid(shape.q_heads, shape.qk_dim, 1);
    k = grid(shape.kv_heads, shape.qk_dim, 2);
    v = grid(shape.kv_heads, shape.v_dim, 3);
    out_ = grid(shape.q_heads, shape.v_dim, 4);
    dout_ = grid(shape.q_heads, shape.v_dim, 5);
    dq = grid(shape.q_heads, shape.qk_dim, 6);
    dk = grid(shape.kv_heads, shape.qk_dim, 7);
    dv = grid(shape.kv_heads, shape.v_dim, 8);
    lse_ = Numbers(rows * shape.q_heads, 9);
  }

  AttentionBackwardTask task() {
    return {.shape = shape_,
            .sequences = sequences_,
            .q = q.matrix(),
            .k = k.matrix(),
            .v = v.matrix(),
            .out = out_.matrix(),
            .lse = lse_.data(),
            .dout = dout_.matrix(),
            .dq = dq.matrix(),
            .dk = dk.matrix(),
            .dv = dv.matrix(),
            .ranges = ranges};
  }
  // Of spans [begin, end) of one sequence.
  AttentionBackwardTask TaskOfSpans(const std::vector<std::pair<int64_t, int64_t>>& spans) {
    sequences_.clear();
    for (const auto& [begin, end] : spans) {
      const int64_t first = kAttentionSpan * begin, last = std::min(k.rows, kAttentionSpan * end);
      sequences_.push_back({.first_row = first, .rows = last - first, .first_position = first});
    }
    AttentionBackwardTask all = task();
    all.of_whole = true;
    return all;
  }
  // One query, gradient and key each are no numbers, which must reach nobody who does not see them; a
  // probability is infinite, and a column of values has sums of -0.
  void MakeHostile() {
    const float nan = std::numeric_limits<float>::quiet_NaN();
    q.data[20 * q.stride + 1] = dout_.data[22 * dout_.stride + 2] = k.data[24 * k.stride] = nan;
    for (float& lse : lse_) lse += 3;
    lse_[0] = -200;
    for (int64_t row = 0; row < dout_.rows; ++row) {
      for (int head = 0; head < shape_.q_heads; ++head)
        dout_.data[row * dout_.stride + head * shape_.v_dim + 1] = -1e-45f;
    }
  }

  Grid q{0, 0, 1}, k{0, 0, 1}, v{0, 0, 1}, dq{0, 0, 1}, dk{0, 0, 1}, dv{0, 0, 1};
  int ranges = kHeadRanges;

 private:
  AttentionShape shape_;
  std::vector<AttentionSequence> sequences_;
  Grid out_{0, 0, 1}, dout_{0, 0, 1};
  std::vector<float> lse_;
};

void Launch(const AttentionBackwardTask& task, sim::Stream& stream) {
  std::vector<float> deltas(DeltaFloats(task));
  sim::AttentionBackward(task, {task.sequences.data(), deltas.data()}, stream);
}

void ExpectSame(const Backward& got, const Backward& want) {
  EXPECT_EQ(Differences(got.dq.data, want.dq.data), 0);
  EXPECT_EQ(Differences(got.dk.data, want.dk.data), 0);
  EXPECT_EQ(Differences(got.dv.data, want.dv.data), 0);
}

void Compare(const AttentionShape& shape, const Lengths& lengths, bool hostile = false) {
  SCOPED_TRACE(testing::Message() << shape.q_heads << " heads, " << shape.kv_heads << " of keys, "
                                  << shape.qk_dim << " and " << shape.v_dim << ", window " << shape.window);
  TestBackend cpu(1);
  Backward expected(shape, lengths), got(shape, lengths);
  if (hostile) {
    expected.MakeHostile();
    got.MakeHostile();
  }
  cpu->AttentionBackward(expected.task());
  sim::Stream stream{sim::Order::kGreedyWarp, true, 6};
  Launch(got.task(), stream);
  ExpectSame(got, expected);
}

void CompareUnderEveryStream(const Lengths& lengths) {
  const AttentionShape shape{.q_heads = 4, .kv_heads = 2, .qk_dim = 20, .v_dim = 12, .scale = 0.3f};
  TestBackend cpu(1);
  Backward expected(shape, lengths), got(shape, lengths);
  cpu->AttentionBackward(expected.task());
  const Backward before = got;
  UnderHostileStreams(
      [&](sim::Stream& stream) {
        got = before;
        Launch(got.task(), stream);
      },
      [&] { ExpectSame(got, expected); });
}

TEST(SimulatedAttentionBackward, OfGroupedQueriesIsTheCpusUnderEveryStream) {
  CompareUnderEveryStream({66, 0, 3});
}

TEST(SimulatedAttentionBackward, OfHeadsInEveryFormIsTheCpus) {
  Compare({.q_heads = 10, .kv_heads = 1, .qk_dim = 5, .v_dim = 3, .scale = 0.4f}, {1, 40});
  Compare({.q_heads = 3, .kv_heads = 3, .qk_dim = 66, .v_dim = 70, .scale = 0.1f}, {65});
  Compare({.q_heads = 2, .kv_heads = 1, .qk_dim = 148, .v_dim = 132, .scale = 0.1f}, {34});
  Compare({.q_heads = 2, .kv_heads = 1, .qk_dim = 7, .v_dim = 9, .scale = 0.4f}, {40}, true);
}

TEST(SimulatedAttentionBackward, OfAWindowLeavesOutTilesKeysAndSpans) {
  for (const int64_t window : {1, 50, 65}) {
    Compare({.q_heads = 1, .kv_heads = 1, .qk_dim = 8, .v_dim = 8, .scale = 0.5f, .window = window}, {100},
            true);
  }
  // One span's keys are seen from the next one.
  Compare({.q_heads = 1, .kv_heads = 1, .qk_dim = 4, .v_dim = 4, .scale = 0.5f, .window = 40}, {1062});
}

TEST(SimulatedAttentionBackward, OfBundlesIsTheCpusUnderEveryStream) {
  CompareUnderEveryStream({5, 34, -30, -35, 1, -2});
}

TEST(SimulatedAttentionBackward, OfBundlesInEveryFormIsTheCpus) {
  Compare({.q_heads = 10, .kv_heads = 1, .qk_dim = 5, .v_dim = 3, .scale = 0.4f}, {1, -40, -3});
  Compare({.q_heads = 2, .kv_heads = 1, .qk_dim = 148, .v_dim = 132, .scale = 0.1f}, {34, -20, -9});
  Compare({.q_heads = 2, .kv_heads = 1, .qk_dim = 7, .v_dim = 9, .scale = 0.4f}, {23, -40, -7}, true);
  for (const int64_t window : {1, 20, 65})
    Compare({.q_heads = 1, .kv_heads = 1, .qk_dim = 8, .v_dim = 8, .scale = 0.5f, .window = window},
            {40, -50, -33}, true);
  // Past a span of the bundle's rows, in the middle of a sequence and between two.
  const AttentionShape narrow{.q_heads = 1, .kv_heads = 1, .qk_dim = 2, .v_dim = 1, .scale = 0.5f};
  Compare(narrow, {30, -500, -520, -4});
  Compare(narrow, {24, -500, -500, -40});
}

TEST(SimulatedAttentionBackward, OfARanksHeadsIsTheSumOverItsRanges) {
  TestBackend cpu(1);
  AttentionShape shape{.q_heads = 4, .kv_heads = 1, .qk_dim = 4, .v_dim = 4, .scale = 0.5f};
  shape.all_heads = 16;
  shape.first_head = 8;
  Backward expected(shape, {35}), got(shape, {35});
  expected.ranges = got.ranges = 2;
  cpu->AttentionBackward(expected.task());
  sim::Stream stream;
  Launch(got.task(), stream);
  ExpectSame(got, expected);
}

// What some nodes' queries give to the first 64 keys of span 1.
constexpr int64_t kKeys = 64;
struct Sums {
  Sums(const AttentionBackwardTask& of, const std::vector<SpanNode>& some)
      : queries(of),
        nodes(some),
        rows(static_cast<int64_t>(some.size()) * kKeys),
        cols(static_cast<int64_t>(HeadSlots(of.shape).size()) * (of.shape.qk_dim + of.shape.v_dim)),
        sums(Numbers(rows * cols, 11)) {}
  KeySumsTask Task() { return {queries, nodes, kAttentionSpan, kKeys, F32(sums.data(), rows, cols)}; }

  AttentionBackwardTask queries;
  std::vector<SpanNode> nodes;
  int64_t rows, cols;
  std::vector<float> sums;
};

TEST(SimulatedAttentionBackward, OfSpansThatRanksShareIsTheCpus) {
  TestBackend cpu(1);
  const AttentionShape shape{.q_heads = 2, .kv_heads = 1, .qk_dim = 2, .v_dim = 3, .scale = 0.5f};
  Backward numbers(shape, {3100});
  const AttentionBackwardTask queries = numbers.TaskOfSpans({{1, 2}, {2, 4}});
  Sums expected(queries, {{1, 0}, {2, 1}}), got(queries, {{1, 0}, {2, 1}});
  cpu->KeySums(expected.Task());
  std::vector<float> deltas(DeltaFloats(queries));
  sim::Stream stream{sim::Order::kRandom, true, 4};
  sim::KeySums(got.Task(), {queries.sequences.data(), deltas.data()}, stream);
  EXPECT_EQ(Differences(got.sums, expected.sums), 0);
}

TEST(SimulatedAttentionBackward, SumsOfRanksAreJoinedAsTheCpuDoes) {
  TestBackend cpu(1);
  for (const int64_t window : {0, 1100}) {
    const AttentionShape shape{
        .q_heads = 12, .kv_heads = 2, .qk_dim = 6, .v_dim = 5, .scale = 0.5f, .window = window};
    Backward expected(shape, {5000}), got(shape, {5000});
    // Not in the order of their spans.
    Sums of(got.TaskOfSpans({{0, 5}}), {{2, 1}, {1, 0}, {4, 2}, {0, 0}});
    for (size_t i = 0; i < of.sums.size(); i += shape.qk_dim + shape.v_dim) of.sums[i] = -0.0f;
    for (const int missing : {-1, 0, 3}) {
      std::vector<JoinKeySumsTask::Part> parts;
      for (int n = 0; n < 4; ++n)
        parts.push_back({of.nodes[n], n == missing ? nullptr : of.sums.data() + n * kKeys * of.cols});
      const auto task = [&](Backward& to) {
        return JoinKeySumsTask{.shape = shape,
                               .positions = 5000,
                               .parts = parts,
                               .first_key = kAttentionSpan,
                               .dk = to.dk.matrix().Rows(3, kKeys),
                               .dv = to.dv.matrix().Rows(3, kKeys)};
      };
      cpu->JoinKeySums(task(expected));
      UnderHostileStreams([&](sim::Stream& stream) { sim::JoinKeySums(task(got), stream); },
                          [&] { ExpectSame(got, expected); });
    }
  }
}

TEST(SimulatedAttentionBackward, OfARanksQueriesBeginsInTheMiddleOfTheKeys) {
  TestBackend cpu(1);
  const AttentionShape shape{
      .q_heads = 2, .kv_heads = 2, .qk_dim = 4, .v_dim = 4, .scale = 0.5f, .window = 100};
  Backward expected(shape, {1060}), got(shape, {1060});
  cpu->AttentionBackward(expected.TaskOfSpans({{1, 2}}));
  sim::Stream stream;
  Launch(got.TaskOfSpans({{1, 2}}), stream);
  ExpectSame(got, expected);
}

}  // namespace
}  // namespace temper::kernels
