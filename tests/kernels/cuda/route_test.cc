// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/route.h"

#include "tests/kernels/cuda/hostile.h"

namespace temper::kernels {
namespace {

// A routing and the memory of its arrays.
struct Owned {
  Owned(const RouteShape& s, int64_t rows)
      : ids(rows * s.top_k, -7),
        row(rows * s.top_k, -7),
        entry(rows * s.top_k, -7),
        weights(rows * s.top_k, -7.0f),
        scores(rows * s.experts, -7.0f),
        offsets(s.experts + 1, -7) {}
  Routing routing() {
    return {.ids = ids.data(),
            .weights = weights.data(),
            .scores = scores.data(),
            .row = row.data(),
            .entry = entry.data(),
            .offsets = offsets};
  }
  std::vector<int32_t> ids, row, entry;
  std::vector<float> weights, scores;
  std::vector<int64_t> offsets;
};

// One group and several, both scores, both ways to score groups, this rank's experts all and two of 8 ranges;
// one choice, and as many as there are.
const RouteShape kShapes[] = {
    {.experts = 10, .top_k = 3, .scaling = 2.5f},
    {.experts = 1, .top_k = 1, .sigmoid = false},
    {.experts = 16, .top_k = 4, .groups = 4, .top_groups = 2, .begin = 4, .end = 8},
    {.experts = 70,
     .top_k = 6,
     .groups = 7,
     .top_groups = 3,
     .sigmoid = false,
     .normalize = false,
     .group_top2 = false},
    {.experts = 40, .top_k = 32, .sigmoid = false},
};
constexpr int64_t kRows = 9;

// Many scores are equal, so that ids decide.
Grid Logits(const RouteShape& s) {
  Grid logits(kRows, s.experts, 1, 3);
  for (float& x : logits.data) x = std::nearbyint(x * 4) / 2;
  return logits;
}

// The CPU's routing of some logits.
struct Routed {
  Routed(TestBackend& cpu, const RouteShape& s)
      : logits(Logits(s)), owned(s, kRows), routing(owned.routing()) {
    cpu->Route({s, logits.matrix(), nullptr, &routing});
  }
  Grid logits;
  Owned owned;
  Routing routing;
};

// Who does tasks.
struct OnCpu {
  TestBackend& cpu;
  void operator()(const GatherExpertsTask& task) { cpu->GatherExperts(task); }
  void operator()(const CombineExpertsTask& task) { cpu->CombineExperts(task); }
  void operator()(const CombineExpertsBackwardTask& task) { cpu->CombineExpertsBackward(task); }
  void operator()(const ScatterExpertsTask& task) { cpu->ScatterExperts(task); }
};
struct OnDevice {
  sim::Stream& stream;
  void operator()(const GatherExpertsTask& task) { sim::GatherExperts(task, stream); }
  void operator()(const CombineExpertsTask& task) { sim::CombineExperts(task, stream); }
  void operator()(const CombineExpertsBackwardTask& task) { sim::CombineExpertsBackward(task, stream); }
  void operator()(const ScatterExpertsTask& task) { sim::ScatterExperts(task, stream); }
};

TEST(SimulatedRoute, ChoicesWeightsAndEntriesAreTheCpus) {
  TestBackend cpu(1);
  for (const RouteShape& shape : kShapes) {
    Grid logits = Logits(shape);
    const std::vector<float> some = Numbers(shape.experts, 2, 0.3f);
    for (const float* const bias : {static_cast<const float*>(nullptr), some.data()}) {
      Owned expected(shape, kRows), out(shape, kRows);
      Routing routed = expected.routing();
      cpu->Route({shape, logits.matrix(), bias, &routed});
      UnderHostileStreams(
          [&](sim::Stream& stream) {
            out = Owned(shape, kRows);
            Routing routing = out.routing();
            sim::Route({shape, logits.matrix(), bias, &routing}, stream);
            sim::SortEntries({shape, kRows, &routing, out.offsets.data()}, stream);
          },
          [&] {
            EXPECT_EQ(out.ids, expected.ids) << shape.experts;
            EXPECT_EQ(Differences(out.weights, expected.weights), 0) << shape.experts;
            EXPECT_EQ(Differences(out.scores, expected.scores), 0) << shape.experts;
            EXPECT_EQ(out.entry, expected.entry) << shape.experts;
            EXPECT_EQ(out.row, expected.row) << shape.experts;
            EXPECT_EQ(out.offsets, routed.offsets) << shape.experts;
          });
    }
  }
}

TEST(SimulatedRoute, EntriesOfManyRowsAreInTheirOrder) {
  const RouteShape shape{.experts = 16, .top_k = 3, .begin = 8, .end = 16};
  constexpr int64_t kMany = 300;  // more slots than a block has threads
  Owned expected(shape, kMany), out(shape, kMany);
  for (int64_t slot = 0; slot < kMany * 3; ++slot)
    expected.ids[slot] = static_cast<int32_t>(slot * slot % 97 % 13 + (slot % 3 == 0));  // none of 14 and 15
  Routing routed = expected.routing();
  SortEntries(shape, kMany, &routed);
  UnderHostileStreams(
      [&](sim::Stream& stream) {
        out = Owned(shape, kMany);
        out.ids = expected.ids;
        const Routing routing = out.routing();
        sim::SortEntries({shape, kMany, &routing, out.offsets.data()}, stream);
      },
      [&] {
        EXPECT_EQ(out.entry, expected.entry);
        EXPECT_EQ(out.row, expected.row);
        EXPECT_EQ(out.offsets, routed.offsets);
      });
}

TEST(SimulatedRoute, GradientsOfLogitsAreTheCpus) {
  TestBackend cpu(1);
  for (const RouteShape& shape : kShapes) {
    const Routed routed(cpu, shape);
    const std::vector<float> dweights = Numbers(kRows * shape.top_k, 3);
    Grid expected = routed.logits, out = expected;
    cpu->RouteBackward({shape, &routed.routing, dweights.data(), expected.matrix()});
    UnderHostileStreams(
        [&](sim::Stream& stream) {
          out = routed.logits;
          sim::RouteBackward({shape, &routed.routing, dweights.data(), out.matrix()}, stream);
        },
        [&] { EXPECT_EQ(Differences(out.data, expected.data), 0) << shape.experts; });
  }
}

TEST(SimulatedRoute, RowsGoToExpertsAndComeBackAsOnTheCpu) {
  TestBackend cpu(1);
  for (const RouteShape& shape : kShapes) {
    Routed routed(cpu, shape);
    const Routing& routing = routed.routing;
    const int64_t entries = routing.offsets.back();
    // The arrays are as long as all slots, the entries fewer where other ranks have experts.
    std::fill(routed.owned.row.begin() + entries, routed.owned.row.end(), 0);
    for (const auto& [cols, between] : {std::pair<int64_t, int64_t>{100, 0}, {1, 2}, {1033, 1}}) {
      if (cols > 1000 && shape.experts != 10) continue;
      Grid x(kRows, cols, 1, between), y(entries, cols, 2, between), shared(kRows, cols, 3, between),
          residual(kRows, cols, 4, between), dout(kRows, cols, 5, between);
      const std::vector<float> dweights = Numbers(kRows * shape.top_k, 6);
      struct Outputs {
        Grid gathered, combined, dy, dx;
        std::vector<float> dweights;
      };
      const Outputs before{Grid(entries, cols, 7, between), Grid(kRows, cols, 8, between),
                           Grid(entries, cols, 9, between), Grid(kRows, cols, 10, between), dweights};
      Outputs expected = before, out = before;
      const auto run = [&](auto&& machine, Outputs& to) {
        to = before;
        machine(GatherExpertsTask{shape, &routing, x.matrix(), to.gathered.matrix()});
        machine(CombineExpertsTask{shape, &routing, y.matrix(), cols == 1 ? Matrix() : shared.matrix(),
                                   residual.matrix(), to.combined.matrix()});
        machine(CombineExpertsBackwardTask{shape, &routing, dout.matrix(), y.matrix(), to.dy.matrix(),
                                           to.dweights.data()});
        machine(ScatterExpertsTask{shape, &routing, y.matrix(), to.dx.matrix(), to.dx.matrix()});
      };
      run(OnCpu{cpu}, expected);
      UnderHostileStreams([&](sim::Stream& stream) { run(OnDevice{stream}, out); },
                          [&] {
                            EXPECT_EQ(Differences(out.gathered.data, expected.gathered.data), 0);
                            EXPECT_EQ(Differences(out.combined.data, expected.combined.data), 0) << cols;
                            EXPECT_EQ(Differences(out.dy.data, expected.dy.data), 0) << cols;
                            EXPECT_EQ(Differences(out.dx.data, expected.dx.data), 0) << cols;
                            EXPECT_EQ(Differences(out.dweights, expected.dweights), 0) << cols;
                          });
    }
  }
}

}  // namespace
}  // namespace temper::kernels
