// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/row_ops.h"

#include <limits>

#include "core/check.h"
#include "tests/kernels/cuda/hostile.h"

namespace temper::kernels {
namespace {

struct Size {
  int64_t rows, cols, between;
};
// One number, less than a vector, aligned and not, more than a piece of a norm.
constexpr Size kSizes[] = {{1, 1, 0}, {3, 711, 1}, {2, 100, 4}, {2, 4100, 0}};

TEST(SimulatedRowOps, NormsAreTheCpus) {
  TestBackend cpu(1);
  for (const auto& [rows, cols, between] : kSizes) {
    Grid x(rows, cols, 1, between), expected(rows, cols, 2, between);
    const std::vector<float> weight = Numbers(cols, 3);
    std::vector<float> rstd(rows), expected_rstd(rows);
    const Grid before = expected;
    const RmsNormTask task{.x = x.matrix(),
                           .weight = weight.data(),
                           .eps = 1e-6f,
                           .y = expected.matrix(),
                           .rstd = expected_rstd.data()};
    cpu->RmsNorm(task);
    Grid y = before;
    UnderHostileStreams(
        [&](sim::Stream& stream) {
          y = before;
          RmsNormTask simulated = task;
          simulated.y = y.matrix();
          simulated.rstd = rstd.data();
          sim::RmsNorm(simulated, stream);
        },
        [&] {
          EXPECT_EQ(Differences(y.data, expected.data), 0) << rows << " x " << cols;
          EXPECT_EQ(Differences(rstd, expected_rstd), 0);
        });
  }
}

TEST(SimulatedRowOps, GradientsOfNormsAreTheCpusAlsoInPlace) {
  TestBackend cpu(1);
  for (const auto& [rows, cols, between] : kSizes) {
    Grid x(rows, cols, 1, between), dy(rows, cols, 2, between), add(rows, cols, 3, between);
    const std::vector<float> weight = Numbers(cols, 4), rstd = Numbers(rows, 5), dweight = Numbers(cols, 6);
    for (const bool with_add : {false, true}) {
      const auto run = [&](const auto& norm, Grid& in_place, std::vector<float>& sums) {
        in_place = dy;
        sums = dweight;
        norm(RmsNormBackwardTask{.dy = in_place.matrix(),
                                 .x = x.matrix(),
                                 .weight = weight.data(),
                                 .rstd = rstd.data(),
                                 .add = with_add ? add.matrix() : Matrix(),
                                 .dx = in_place.matrix(),
                                 .dweight = sums.data()});
      };
      Grid expected = dy, dx = dy;
      std::vector<float> expected_sums, sums;
      run([&](const RmsNormBackwardTask& task) { cpu->RmsNormBackward(task); }, expected, expected_sums);
      UnderHostileStreams(
          [&](sim::Stream& stream) {
            run([&](const RmsNormBackwardTask& task) { sim::RmsNormBackward(task, stream); }, dx, sums);
          },
          [&] {
            EXPECT_EQ(Differences(dx.data, expected.data), 0) << rows << " x " << cols;
            EXPECT_EQ(Differences(sums, expected_sums), 0);
          });
    }
  }
}

TEST(SimulatedRowOps, RotaryIsTheCpus) {
  TestBackend cpu(1);
  constexpr int kPositions = 9;
  for (const int dim : {2, 6, 64}) {
    const std::vector<float> cosines = Numbers(kPositions * dim / 2, 1),
                             sines = Numbers(kPositions * dim / 2, 2);
    const std::vector<int32_t> positions = {8, 0, 3, 3};
    Grid x(4, 3 * (dim + 1), 3);
    for (const bool interleaved : {false, true}) {
      for (const bool inverse : {false, true}) {
        const auto task = [&](Grid& grid) {
          return RotaryTask{.x = {grid.matrix(), 3, dim, dim + 1},
                            .positions = positions.data(),
                            .cosines = cosines.data(),
                            .sines = sines.data(),
                            .interleaved = interleaved,
                            .inverse = inverse};
        };
        Grid expected = x, out = x;
        cpu->Rotary(task(expected));
        UnderHostileStreams(
            [&](sim::Stream& stream) {
              out = x;
              sim::Rotary(task(out), stream);
            },
            [&] { EXPECT_EQ(Differences(out.data, expected.data), 0) << dim; });
      }
    }
  }
}

TEST(SimulatedRowOps, SwiGluAndItsGradientAreTheCpus) {
  TestBackend cpu(1);
  for (const auto& [rows, cols, between] : kSizes) {
    Grid gate(rows, cols, 1, between), up(rows, cols, 2, between), dout(rows, cols, 3, between);
    gate.data[0] = std::numeric_limits<float>::infinity();
    for (float& g : gate.data) g *= 40;  // beyond where the exponential is 0 or infinite too
    const Grid before(rows, cols, 4, between);
    Grid expected = before, out = before, expected_gate = before, dgate = before, expected_up = before,
         dup = before;
    cpu->SwiGlu({gate.matrix(), up.matrix(), expected.matrix()});
    cpu->SwiGluBackward(
        {dout.matrix(), gate.matrix(), up.matrix(), expected_gate.matrix(), expected_up.matrix()});
    UnderHostileStreams(
        [&](sim::Stream& stream) {
          out = dgate = dup = before;
          sim::SwiGlu({gate.matrix(), up.matrix(), out.matrix()}, stream);
          sim::SwiGluBackward({dout.matrix(), gate.matrix(), up.matrix(), dgate.matrix(), dup.matrix()},
                              stream);
        },
        [&] {
          EXPECT_EQ(Differences(out.data, expected.data), 0) << rows << " x " << cols;
          EXPECT_EQ(Differences(dgate.data, expected_gate.data), 0);
          EXPECT_EQ(Differences(dup.data, expected_up.data), 0);
        });
  }
}

TEST(SimulatedRowOps, RowsAreGatheredAlsoOfBf16AndTheirGradientsAddUpInTheirOrder) {
  TestBackend cpu(1);
  for (const auto& [vocab, cols, between] : {Size{5, 33, 1}, Size{40, 8, 0}}) {
    Grid table(vocab, cols, 1, between);
    std::vector<uint16_t> halves(table.data.size());
    for (size_t i = 0; i < halves.size(); ++i) halves[i] = std::bit_cast<uint32_t>(table.data[i]) >> 16;
    const Matrix narrow{halves.data(), Type::kBf16, vocab, cols, table.stride};
    std::vector<int32_t> ids;
    for (int i = 0; i < 150; ++i) ids.push_back(i * i % 31 % static_cast<int>(vocab));
    const int64_t rows = static_cast<int64_t>(ids.size());
    Grid expected(rows, cols, 2), out(rows, cols, 2), dout(rows, cols, 3);
    for (const Matrix& x : {table.matrix(), narrow}) {
      cpu->GatherRows({x, ids.data(), expected.matrix()});
      UnderHostileStreams(
          [&](sim::Stream& stream) {
            sim::GatherRows({x, ids.data(), out.matrix()}, stream);
          },
          [&] { EXPECT_EQ(Differences(out.data, expected.data), 0); });
    }
    Grid sums = table, added = table;
    cpu->EmbeddingGradient({dout.matrix(), ids.data(), sums.matrix()});
    UnderHostileStreams(
        [&](sim::Stream& stream) {
          added = table;
          sim::EmbeddingGradient({dout.matrix(), ids.data(), added.matrix()}, stream);
        },
        [&] { EXPECT_EQ(Differences(added.data, sums.data), 0) << vocab; });
  }
}

// Ids that come once, again after few rows, and after more than are looked at between two barriers.
TEST(SimulatedRowOps, GradientsOfManyRowsAddUpInTheirOrder) {
  TestBackend cpu(1);
  constexpr int64_t kMany = 1100;
  Grid dout(kMany, 3, 1), expected(1060, 3, 2), sums = expected;
  std::vector<int32_t> ids(kMany);
  for (int32_t i = 0; i < kMany; ++i) ids[i] = i < 20 ? i / 2 : i % 1060;
  cpu->EmbeddingGradient({dout.matrix(), ids.data(), expected.matrix()});
  sim::Stream stream{sim::Order::kGreedyWarp, true, 6};
  sim::EmbeddingGradient({dout.matrix(), ids.data(), sums.matrix()}, stream);
  EXPECT_EQ(Differences(sums.data, expected.data), 0);
}

TEST(SimulatedRowOps, AdditionsAndRoundingToBf16AreTheCpus) {
  TestBackend cpu(1);
  for (const auto& [rows, cols, between] : kSizes) {
    Grid x(rows, cols, 1, between), to(rows, cols, 2, between);
    Grid expected = to, out = to;
    cpu->Add(x.matrix(), expected.matrix());
    UnderHostileStreams(
        [&](sim::Stream& stream) {
          out = to;
          sim::Add(x.matrix(), out.matrix(), stream);
        },
        [&] { EXPECT_EQ(Differences(out.data, expected.data), 0) << rows << " x " << cols; });
    if (between != 0) continue;
    x.data[0] = std::numeric_limits<float>::quiet_NaN();
    cpu->RoundToBf16(x.matrix(), expected.matrix());
    std::vector<uint16_t> halves(x.data.size()), expected_halves(x.data.size());
    const auto narrow = [&](std::vector<uint16_t>& data) {
      return Matrix{data.data(), Type::kBf16, rows, cols, cols};
    };
    cpu->RoundToBf16(x.matrix(), narrow(expected_halves));
    UnderHostileStreams(
        [&](sim::Stream& stream) {
          sim::RoundToBf16(x.matrix(), out.matrix(), stream);
          sim::RoundToBf16(x.matrix(), narrow(halves), stream);
        },
        [&] {
          EXPECT_EQ(Differences(out.data, expected.data), 0);
          EXPECT_EQ(halves, expected_halves);
        });
  }
}

TEST(SimulatedRowOps, OfMoreColumnsThanAnIntTellsGoInLinesOrNotAtAll) {
  TestBackend cpu(1);
  Grid x(5, 4101, 1), to(5, 4101, 2);
  Grid expected = to, rounded = to;
  cpu->Add(x.matrix(), expected.matrix());
  cpu->RoundToBf16(x.matrix(), rounded.matrix());
  sim::Stream stream;
  std::vector<uint16_t> halves(x.data.size()), expected_halves(x.data.size());
  cpu->RoundToBf16(x.matrix(), {expected_halves.data(), Type::kBf16, 5, 4101, 4101});
  sim::RoundToBf16(x.matrix(), {halves.data(), Type::kBf16, 5, 4101, 4101}, stream);
  EXPECT_EQ(halves, expected_halves);
  sim::Add(x.matrix(), to.matrix(), stream);
  EXPECT_EQ(Differences(to.data, expected.data), 0);
  sim::RoundToBf16(x.matrix(), to.matrix(), stream);
  EXPECT_EQ(Differences(to.data, rounded.data), 0);
  const Matrix apart{x.data.data(), Type::kF32, 1, int64_t{1} << 31, (int64_t{1} << 31) + 4};
  EXPECT_THROW(sim::Add(apart, apart, stream), InternalError);
  EXPECT_THROW(sim::RoundToBf16(apart, apart, stream), InternalError);
  EXPECT_THROW(sim::Copy(apart, apart, stream), InternalError);
}

TEST(SimulatedRowOps, CopiesAndZerosAreTheCpusAndTouchNothingElse) {
  TestBackend cpu(1);
  for (const auto& [rows, cols, between] :
       {Size{1, 1, 0}, Size{3, 711, 1}, Size{2, 100, 4}, Size{5, 4101, 0}}) {
    Grid from(rows, cols, 1, between), before(rows, cols, 2, between);
    Grid expected = before, copied = before, expected_zero = before, zero = before;
    cpu->Copy(from.matrix(), expected.matrix());
    cpu->Zero(expected_zero.matrix());
    UnderHostileStreams(
        [&](sim::Stream& stream) {
          copied = zero = before;
          sim::Copy(from.matrix(), copied.matrix(), stream);
          sim::Zero(zero.matrix(), stream);
        },
        [&] {
          EXPECT_EQ(Differences(copied.data, expected.data), 0) << rows << " x " << cols;
          EXPECT_EQ(Differences(zero.data, expected_zero.data), 0) << rows << " x " << cols;
        });
  }
}

TEST(SimulatedRowOps, CopiesOfHeadsLeaveWhatIsBetweenThem) {
  TestBackend cpu(1);
  for (const int dim : {1, 6, 64}) {
    Grid from(5, 3 * (dim + 4), 1), before(5, 3 * (dim + 8), 2, 4);
    Grid expected = before, copied = before;
    const auto from_heads = Heads{from.matrix().Columns(4, 3 * dim + 8), 3, dim, dim + 4};
    const auto to_heads = [&](Grid& to) { return Heads{to.matrix(), 3, dim, dim + 8}; };
    cpu->CopyHeads(from_heads, to_heads(expected));
    UnderHostileStreams(
        [&](sim::Stream& stream) {
          copied = before;
          sim::CopyHeads(from_heads, to_heads(copied), stream);
        },
        [&] { EXPECT_EQ(Differences(copied.data, expected.data), 0) << dim; });
  }
}

}  // namespace
}  // namespace temper::kernels
