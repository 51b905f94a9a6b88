// SPDX-License-Identifier: Apache-2.0
#include "trainer/update/schedule.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace temper {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using Kind = PipelineAction::Kind;

PipelineTimeline Timeline(PipelineKind kind, const PipelineShape& shape, const PipelineCosts& costs = {}) {
  const absl::StatusOr<PipelineTimeline> timeline = TimelineOf(ScheduleOf(kind, shape), shape, costs);
  EXPECT_TRUE(timeline.ok()) << shape.ranks << " ranks, " << shape.chunks << " chunks, " << shape.microbatches
                             << " microbatches: " << timeline.status();
  return timeline.ok() ? *timeline : PipelineTimeline();
}

TEST(Schedule, EveryOneEndsWithEachMessageReceivedAndEachChainInOrder) {
  for (const PipelineKind kind : {PipelineKind::k1f1b, PipelineKind::kZeroBubble}) {
    for (int64_t ranks = 1; ranks <= 8; ++ranks) {
      for (int64_t chunks = 1; chunks <= 4; ++chunks) {
        for (int64_t microbatches = 0; microbatches <= 21; ++microbatches) {
          const PipelineTimeline timeline = Timeline(kind, {ranks, chunks, microbatches});
          if (ranks == 1) EXPECT_EQ(timeline.bubble, 0);
        }
      }
    }
  }
  Timeline(PipelineKind::kZeroBubble, {64, 2, 130});
}

TEST(Schedule, OfOneRankIsForwardAndBackInTurn) {
  const std::vector<PipelineAction> actions = ScheduleOf(PipelineKind::k1f1b, {1, 1, 2}, 0);
  EXPECT_THAT(actions, ::testing::ElementsAre(
                           PipelineAction{Kind::kForward, 0, 0}, PipelineAction{Kind::kBackward, 0, 0},
                           PipelineAction{Kind::kForward, 1, 0}, PipelineAction{Kind::kBackward, 1, 0}));
}

TEST(Schedule, OfTheFirstOfTwoRanksIsOneAheadAndSpeaksOfWhatItDid) {
  const std::vector<PipelineAction> actions = ScheduleOf(PipelineKind::k1f1b, {2, 1, 2}, 0);
  EXPECT_THAT(actions,
              ::testing::ElementsAre(
                  PipelineAction{Kind::kForward, 0, 0}, PipelineAction{Kind::kSendActivations, 0, 0},
                  PipelineAction{Kind::kForward, 1, 0}, PipelineAction{Kind::kSendActivations, 1, 0},
                  PipelineAction{Kind::kReceiveGradients, 0, 0}, PipelineAction{Kind::kBackward, 0, 0},
                  PipelineAction{Kind::kReceiveGradients, 1, 0}, PipelineAction{Kind::kBackward, 1, 0}));
}

// The formulas of the papers. A chunk takes its share of the layers' time.
TEST(Schedule, BubblesAreThoseOfThePapers) {
  for (const int64_t ranks : {2, 4, 8}) {
    for (const int64_t microbatches : {8, 16, 64}) {
      const double p = static_cast<double>(ranks), m = static_cast<double>(microbatches);
      const double plain = Timeline(PipelineKind::k1f1b, {ranks, 1, microbatches}).bubble;
      // (p - 1) (F + B + W) beside m (F + B + W).
      EXPECT_NEAR(plain, (p - 1) / (m + p - 1), 1e-12);
      for (const int64_t chunks : {2, 4}) {
        // A chunk is 1 / v of a rank's layers, and so is the bubble.
        const double v = static_cast<double>(chunks);
        EXPECT_NEAR(Timeline(PipelineKind::k1f1b, {ranks, chunks, microbatches}).bubble,
                    (p - 1) / (v * m + p - 1), 1e-12);
      }
      // (p - 1) (F + B - W).
      EXPECT_NEAR(Timeline(PipelineKind::kZeroBubble, {ranks, 1, microbatches}).bubble,
                  (p - 1) / (3 * m + p - 1), 1e-12);
    }
  }
}

TEST(Schedule, ARankHoldsAsManyMicrobatchesAsThereAreRanksBehindItAndNoneMoreThanTheFirst) {
  for (const int64_t ranks : {2, 3, 8}) {
    const PipelineTimeline plain = Timeline(PipelineKind::k1f1b, {ranks, 1, 20});
    const PipelineTimeline late = Timeline(PipelineKind::kZeroBubble, {ranks, 1, 20});
    for (int64_t rank = 0; rank < ranks; ++rank) {
      EXPECT_EQ(plain.held[rank], ranks - rank);
      EXPECT_EQ(late.held[rank], ranks) << "ZB-H1 takes the memory of the first rank everywhere";
    }
  }
}

TEST(Schedule, ItsBubbleIsToldBesideWhatWasMeasured) {
  EXPECT_EQ(
      BubbleText(PipelineKind::k1f1b, {4, 2, 8}, 0.25),
      "a pipeline of 4 ranks of 2 chunks, 1f1b, with 8 microbatches: a bubble of 15.8% by its schedule, "
      "and ranks waited for 25.0% of the time");
}

std::string Fault(PipelineTable table, const PipelineShape& shape) {
  return std::string(TimelineOf(table, shape, {}).status().message());
}

TEST(Schedule, WhatIsWrongInATableIsNamed) {
  const PipelineShape shape{2, 1, 3};
  const PipelineTable right = ScheduleOf(PipelineKind::kZeroBubble, shape);
  const auto changed = [&](auto change) {
    PipelineTable table = right;
    change(table);
    return Fault(table, shape);
  };
  EXPECT_EQ(changed([](PipelineTable&) {}), "");
  EXPECT_EQ(changed([](PipelineTable& t) { t.pop_back(); }), "1 rows for 2 ranks");
  const auto find = [](std::vector<PipelineAction>& row, Kind kind, int64_t microbatch) {
    return std::find(row.begin(), row.end(), PipelineAction{kind, microbatch, 0});
  };
  EXPECT_THAT(changed([&](PipelineTable& t) { t[0].erase(find(t[0], Kind::kSendActivations, 1)); }),
              AllOf(HasSubstr("rank 0, action "), HasSubstr("waits for what never comes")));
  EXPECT_THAT(
      changed([&](PipelineTable& t) { t[1].erase(find(t[1], Kind::kReceiveActivations, 1)); }),
      HasSubstr("rank 1, action 4, Forward of microbatch 1 in chunk 0: its activations are not there"));
  EXPECT_THAT(changed([&](PipelineTable& t) { t[1].erase(find(t[1], Kind::kForward, 2)); }),
              HasSubstr("BackwardInputs of microbatch 2 in chunk 0: it was not forward"));
  EXPECT_THAT(changed([&](PipelineTable& t) { t[0].erase(find(t[0], Kind::kReceiveGradients, 2)); }),
              HasSubstr("its gradients are not there"));
  EXPECT_THAT(changed([&](PipelineTable& t) { t[0].pop_back(); }), "BackwardWeights is there 5 times, not 6");
  EXPECT_THAT(changed([&](PipelineTable& t) {
                t[0].push_back({Kind::kForward, 2, 0});
              }),
              HasSubstr("it is there twice"));
  EXPECT_THAT(changed([&](PipelineTable& t) {
                t[0].push_back({Kind::kForward, 3, 0});
              }),
              HasSubstr("there is no such turn"));
  EXPECT_THAT(changed([&](PipelineTable& t) {
                t[1].push_back({Kind::kReceiveGradients, 2, 0});
              }),
              HasSubstr("nobody sends it"));
  EXPECT_THAT(changed([&](PipelineTable& t) {
                std::iter_swap(find(t[1], Kind::kBackwardWeights, 0), find(t[1], Kind::kBackwardWeights, 1));
              }),
              HasSubstr("microbatches are out of order"));
  EXPECT_THAT(changed([&](PipelineTable& t) {
                std::iter_swap(find(t[0], Kind::kReceiveGradients, 0), find(t[0], Kind::kForward, 0));
              }),
              HasSubstr("waits for what never comes"));
}

}  // namespace
}  // namespace temper
