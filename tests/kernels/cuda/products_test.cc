// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/products.h"

#include <tuple>
#include <vector>

#include "tests/kernels/cuda/hostile.h"

namespace temper::kernels {
namespace {

// Numbers that bf16 has, as f32 and as bf16.
struct Weights {
  Weights(int64_t rows, int64_t cols, uint32_t seed, int64_t between) : numbers(rows, cols, seed, between) {
    for (float& x : numbers.data) {
      halves.push_back(static_cast<uint16_t>(std::bit_cast<uint32_t>(x) >> 16));
      x = std::bit_cast<float>(uint32_t{halves.back()} << 16);
    }
  }
  Matrix matrix(Type type) {
    Matrix m = numbers.matrix();
    if (type == Type::kBf16) m.data = halves.data();
    m.type = type;
    return m;
  }
  Grid numbers;
  std::vector<uint16_t> halves;
};

// Under two streams: copies late and one warp at a time; and in order.
template <typename Launch, typename Check>
void UnderTwoStreams(const Launch& launch, const Check& check) {
  for (sim::Stream stream : {sim::Stream{sim::Order::kGreedyWarp, true, 6}, sim::Stream{}}) {
    launch(stream);
    check();
  }
}

struct Shape {
  int64_t m, n, k, between;
};

// One row; the edges of few rows; one more than a small tile, more than a large one; nothing divides, or all
// does.
constexpr Shape kProductShapes[] = {{1, 17, 300, 0},  {9, 33, 41, 1}, {17, 20, 35, 3}, {65, 130, 21, 1},
                                    {16, 16, 256, 8}, {80, 8, 64, 0}, {130, 8, 20, 1}};

TEST(SimulatedProducts, AreTheCpusInEveryForm) {
  TestBackend cpu(1);
  for (const auto& [m, n, k, between] : kProductShapes) {
    for (const bool transposed : {true, false}) {
      Grid a(m, k, 1, between);
      Weights b(transposed ? n : k, transposed ? k : n, 2, between);
      for (const Type type : {Type::kF32, Type::kBf16}) {
        for (const int chunks : {1, kChunks}) {
          Grid expected(m, n, 3, between), c = expected;
          const Grid before = c;
          const Product product{.a = a.matrix(),
                                .b = b.matrix(type),
                                .b_transposed = transposed,
                                .c = expected.matrix(),
                                .k_chunks = chunks};
          cpu->Products({product});
          UnderTwoStreams(
              [&](sim::Stream& stream) {
                c = before;
                Product simulated = product;
                simulated.c = c.matrix();
                sim::Products({simulated}, stream);
              },
              [&] {
                EXPECT_EQ(Differences(c.data, expected.data), 0)
                    << m << " x " << n << " x " << k << (transposed ? ", transposed" : "")
                    << (type == Type::kBf16 ? ", bf16, " : ", ") << chunks << " chunks";
              });
        }
      }
    }
  }
}

TEST(SimulatedProducts, BiasAndAddComeLastAndEveryStreamGivesTheSame) {
  TestBackend cpu(1);
  const std::vector<float> bias = Numbers(37, 9);
  for (const int64_t m : {3, 20}) {
    Grid a(m, 50, 1), b(37, 50, 2), add(m, 37, 3);
    Grid expected = add, c = add;
    const auto product = [&](Grid& to) {
      return Product{.a = a.matrix(),
                     .b = b.matrix(),
                     .c = to.matrix(),
                     .k_chunks = kChunks,
                     .bias = bias.data(),
                     .add = to.matrix()};
    };
    cpu->Products({product(expected)});
    UnderHostileStreams(
        [&](sim::Stream& stream) {
          c = add;
          sim::Products({product(c)}, stream);
        },
        [&] { EXPECT_EQ(Differences(c.data, expected.data), 0) << m; });
  }
}

TEST(SimulatedProducts, ManyOfDifferentSizesGoTogether) {
  TestBackend cpu(1);
  std::vector<Grid> as, bs, expected;
  for (int i = 0; i < 20; ++i) {
    as.emplace_back(i % 5 * (i % 2 ? 1 : 6), 24, i + 1);
    bs.emplace_back(24, 10 + i, i + 2);
    expected.emplace_back(as.back().rows, 10 + i, i + 3);
  }
  std::vector<Grid> out = expected;
  const auto products = [&](std::vector<Grid>& to) {
    std::vector<Product> all;
    for (int i = 0; i < 20; ++i)
      all.push_back({.a = as[i].matrix(), .b = bs[i].matrix(), .b_transposed = false, .c = to[i].matrix()});
    return all;
  };
  cpu->Products(products(expected));
  sim::Stream stream = sim::HostileStreams().back();
  sim::Products(products(out), stream);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(Differences(out[i].data, expected[i].data), 0) << i;
}

TEST(SimulatedProducts, OfSeveralFactorsAndOfPartsOfAnAxisAreTheCpus) {
  TestBackend cpu(1);
  constexpr int64_t kRows = 21, kColumns = 30;
  Grid a(kRows, 80, 1), b(80, kColumns, 2), more_a(kRows, 40, 3), more_b(40, kColumns, 4);
  // The whole, and the second quarter of both axes.
  for (const bool part : {false, true}) {
    const auto pair = [&](Grid& x, Grid& y) {
      const int64_t whole = x.cols, begin = part ? whole / 4 : 0, count = part ? whole / 4 : whole;
      return FactorPair{
          x.matrix().Columns(begin, count), y.matrix().Rows(begin, count), {begin, part ? whole : 0}};
    };
    Grid expected(kRows, kColumns, 5), c = expected;
    const auto product = [&](Grid& to) {
      const FactorPair first = pair(a, b);
      return Product{.a = first.a,
                     .b = first.b,
                     .b_transposed = false,
                     .c = to.matrix(),
                     .k_chunks = kChunks,
                     .part = first.part,
                     .more = {pair(more_a, more_b)}};
    };
    cpu->Products({product(expected)});
    UnderTwoStreams([&](sim::Stream& stream) { sim::Products({product(c)}, stream); },
                    [&] { EXPECT_EQ(Differences(c.data, expected.data), 0) << part; });
  }
}

TEST(SimulatedProducts, GradientsOfWeightsAndBiasesGoOn) {
  TestBackend cpu(1);
  for (const auto& [m, n, k, between] : {Shape{1, 3, 5, 0}, Shape{37, 130, 20, 1}, Shape{16, 64, 132, 4}}) {
    Grid dy(m, n, 1, between), x(m, k, 2, between), dw(n, k, 3, between);
    dw.data[0] = -0.0f;
    dy.data[0] = 0.0f;
    Grid expected = dw, out = dw;
    std::vector<float> dbias = Numbers(n, 4), expected_bias = dbias, bias;
    cpu->WeightGradients({{.dy = dy.matrix(), .x = x.matrix(), .dw = expected.matrix()}});
    cpu->BiasGradient(dy.matrix(), expected_bias.data());
    UnderHostileStreams(
        [&](sim::Stream& stream) {
          out = dw;
          bias = dbias;
          sim::WeightGradients({{.dy = dy.matrix(), .x = x.matrix(), .dw = out.matrix()}}, stream);
          sim::BiasGradient(dy.matrix(), bias.data(), stream);
        },
        [&] {
          EXPECT_EQ(Differences(out.data, expected.data), 0) << m << " x " << n << " x " << k;
          EXPECT_EQ(Differences(bias, expected_bias), 0);
        });
  }
}

// Experts without entries, with a tile's and with more than that; as many tiles as there may be, and fewer.
TEST(SimulatedProducts, OfExpertsWhoseRowsTheDeviceAloneKnowsAreTheCpus) {
  TestBackend cpu(1);
  for (const std::vector<int64_t>& counts :
       {std::vector<int64_t>{0, 3, 8, 0, 9}, {1, 1, 1, 1}, {21}, std::vector<int64_t>(34, 1)}) {
    const auto experts = static_cast<int>(counts.size());
    std::vector<int64_t> offsets = {0};
    for (const int64_t count : counts) offsets.push_back(offsets.back() + count);
    for (const auto& [n, k, type] : {std::tuple{17, 41, Type::kF32}, {16, 256, Type::kBf16}}) {
      std::vector<Weights> weights;
      std::vector<const void*> places;
      for (int e = 0; e < experts; ++e) weights.emplace_back(n, k, e + 7, 0);
      for (Weights& weight : weights) places.push_back(weight.matrix(type).data);
      Grid x(offsets.back(), k, 1), expected(offsets.back(), n, 3), y = expected;
      for (const int chunks : {1, kChunks}) {
        for (int e = 0; e < experts; ++e) {
          cpu->Products({{.a = x.matrix().Rows(offsets[e], counts[e]),
                          .b = weights[e].matrix(type),
                          .c = expected.matrix().Rows(offsets[e], counts[e]),
                          .k_chunks = chunks}});
        }
        const Routing routing{.offsets = {}, .device_offsets = offsets.data()};
        UnderTwoStreams(
            [&](sim::Stream& stream) {
              y.data.assign(y.data.size(), 7);
              sim::ExpertProducts({.routing = &routing,
                                   .experts = experts,
                                   .weights = places.data(),
                                   .like = weights[0].matrix(type),
                                   .x = x.matrix(),
                                   .y = y.matrix(),
                                   .k_chunks = chunks},
                                  stream);
            },
            [&] { EXPECT_EQ(Differences(y.data, expected.data), 0) << experts << " experts, " << n; });
      }
    }
  }
}

}  // namespace
}  // namespace temper::kernels
