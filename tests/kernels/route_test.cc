// SPDX-License-Identifier: Apache-2.0
#include "kernels/route.h"

#include <algorithm>
#include <numeric>

#include "gtest/gtest.h"
#include "tests/kernels/reference.h"

namespace temper::kernels {
namespace {

struct Routed {
  std::vector<int32_t> ids;
  std::vector<float> weights, scores;
};

Routed RouteRows(const RouteShape& s, const std::vector<float>& logits, const float* bias, int threads = 1) {
  const int64_t rows = static_cast<int64_t>(logits.size()) / s.experts;
  Routed out{std::vector<int32_t>(rows * s.top_k, -9), std::vector<float>(rows * s.top_k),
             std::vector<float>(logits.size())};
  ThreadPool pool(threads);
  Route(s, logits.data(), bias, rows, out.ids.data(), out.weights.data(), out.scores.data(), pool);
  return out;
}

// Sorts everything, where the product scans.
Routed ReferenceRow(const RouteShape& s, const float* logits, const float* bias) {
  Routed out;
  out.scores.resize(s.experts);
  if (s.sigmoid) {
    for (int e = 0; e < s.experts; ++e) out.scores[e] = ReferenceSigmoid(logits[e]);
  } else {
    const float max = *std::max_element(logits, logits + s.experts);
    std::vector<float> lanes(16);
    for (int e = 0; e < s.experts; ++e) lanes[e % 16] += out.scores[e] = ReferenceExp(logits[e] - max);
    const float sum = ReferenceSumLanes(lanes);
    for (float& x : out.scores) x /= sum;
  }
  std::vector<float> biased = out.scores;
  for (int e = 0; bias != nullptr && e < s.experts; ++e) biased[e] += bias[e];
  const int size = s.experts / s.groups;
  std::vector<std::pair<float, int>> groups;
  for (int g = 0; g < s.groups; ++g) {
    std::vector<float> best(biased.begin() + g * size, biased.begin() + (g + 1) * size);
    std::sort(best.rbegin(), best.rend());
    groups.push_back({-(s.group_top2 && size > 1 ? best[0] + best[1] : best[0]), g});
  }
  std::sort(groups.begin(), groups.end());
  std::vector<std::pair<float, int>> experts;
  for (int i = 0; i < std::min(s.top_groups, s.groups); ++i) {
    for (int e = groups[i].second * size; e < (groups[i].second + 1) * size; ++e)
      experts.push_back({-biased[e], e});
  }
  std::sort(experts.begin(), experts.end());
  for (int i = 0; i < s.top_k; ++i) out.ids.push_back(experts[i].second);
  std::vector<int32_t> ascending = out.ids;
  std::sort(ascending.begin(), ascending.end());
  float sum = 0;
  for (int id : ascending) sum += out.scores[id];
  sum += 1e-20f;
  for (int id : out.ids)
    out.weights.push_back((s.normalize ? out.scores[id] / sum : out.scores[id]) * s.scaling);
  return out;
}

TEST(Route, V3RulesByHand) {
  // 8 experts in 4 groups of 2; the sums of the two best: 0.9+0.1, 0.6+0.5, 0.7+0.0, 0.55+0.5 (as logits of
  // the sigmoid).
  const auto logit = [](double p) { return static_cast<float>(std::log(p / (1 - p))); };
  std::vector<float> logits;
  for (double p : {0.9, 0.1, 0.6, 0.5, 0.7, 0.001, 0.55, 0.5}) logits.push_back(logit(p));
  const RouteShape s{.experts = 8, .top_k = 3, .groups = 4, .top_groups = 2, .scaling = 2.5f};
  const Routed r = RouteRows(s, logits, nullptr);
  // Groups 1 (1.1) and 3 (1.05) win although expert 0 is the best of all; 3 and 7 tie at logit 0: the lower
  // id.
  EXPECT_EQ(r.ids, (std::vector<int32_t>{2, 6, 3}));
  EXPECT_NEAR(r.weights[0], 2.5 * 0.6 / 1.65, 1e-6);
  EXPECT_NEAR(r.weights[2], 2.5 * 0.5 / 1.65, 1e-6);
  // The bias steers the selection, not the weights.
  const std::vector<float> bias = {0, 0, -1, -1, 0, 0, 0, 0};
  const Routed b = RouteRows(s, logits, bias.data());
  EXPECT_EQ(b.ids, (std::vector<int32_t>{0, 6, 7}));
  EXPECT_NEAR(b.weights[1], 2.5 * 0.55 / 1.95, 1e-6);
  // By the best alone (V2), groups 0 and 2 win.
  RouteShape v2 = s;
  v2.group_top2 = false;
  EXPECT_EQ(RouteRows(v2, logits, nullptr).ids, (std::vector<int32_t>{0, 4, 1}));
}

TEST(Route, EqualLogitsGoToTheLowerIdsAndGroups) {
  const RouteShape s{.experts = 12, .top_k = 4, .groups = 3, .top_groups = 2};
  EXPECT_EQ(RouteRows(s, std::vector<float>(12, 0.3f), nullptr).ids, (std::vector<int32_t>{0, 1, 2, 3}));
}

TEST(Route, EqualsTheSortingReference) {
  for (const RouteShape& base :
       {RouteShape{.experts = 256, .top_k = 8, .groups = 8, .top_groups = 4, .scaling = 2.5f},
        RouteShape{.experts = 10, .top_k = 3},
        RouteShape{.experts = 16, .top_k = 2, .groups = 4, .top_groups = 1, .group_top2 = false},
        RouteShape{.experts = 7, .top_k = 7},
        RouteShape{.experts = 33, .top_k = 1, .groups = 33, .top_groups = 5}}) {
    for (int variant = 0; variant < 8; ++variant) {
      RouteShape s = base;
      s.sigmoid = variant & 1;
      s.normalize = variant & 2;
      std::vector<float> logits = Numbers(65 * s.experts, 5 + variant), bias = Numbers(s.experts, 77, 0.1f);
      for (float& x : logits) x = std::round(8 * x) / 8;  // many ties
      for (float& x : bias) x = std::round(64 * x) / 64;
      const float* b = variant & 4 ? bias.data() : nullptr;
      for (Isa isa : SupportedIsas()) {
        IsaScope scope(isa);
        const Routed got = RouteRows(s, logits, b, 1 + variant % 3);
        Routed want;
        for (int row = 0; row < 65; ++row) {
          const Routed one = ReferenceRow(s, &logits[row * s.experts], b);
          want.ids.insert(want.ids.end(), one.ids.begin(), one.ids.end());
          want.weights.insert(want.weights.end(), one.weights.begin(), one.weights.end());
          want.scores.insert(want.scores.end(), one.scores.begin(), one.scores.end());
        }
        EXPECT_EQ(got.ids, want.ids) << Name(isa) << " experts " << s.experts << " variant " << variant;
        EXPECT_EQ(Differences(got.weights, want.weights), 0) << Name(isa) << " experts " << s.experts;
        EXPECT_EQ(Differences(got.scores, want.scores), 0) << Name(isa) << " experts " << s.experts;
      }
    }
  }
}

// The weights of fixed ids as a function of the logits, in f64.
std::vector<double> Weights(const RouteShape& s, const std::vector<double>& logits,
                            const std::vector<int32_t>& ids) {
  std::vector<double> score(s.experts);
  double total = 0;
  for (int e = 0; e < s.experts; ++e) total += std::exp(logits[e]);
  for (int e = 0; e < s.experts; ++e)
    score[e] = s.sigmoid ? 1 / (1 + std::exp(-logits[e])) : std::exp(logits[e]) / total;
  double sum = 1e-20;
  for (int id : ids) sum += score[id];
  std::vector<double> out;
  for (int id : ids) out.push_back(s.scaling * (s.normalize ? score[id] / sum : score[id]));
  return out;
}

TEST(Route, BackwardIsTheDerivativeByFiniteDifferences) {
  for (int variant = 0; variant < 4; ++variant) {
    const RouteShape s{.experts = 12,
                       .top_k = 4,
                       .groups = 3,
                       .top_groups = 2,
                       .scaling = 2.5f,
                       .sigmoid = (variant & 1) != 0,
                       .normalize = (variant & 2) != 0};
    const int rows = 9;
    const std::vector<float> logits = Numbers(rows * s.experts, 3), dweights = Numbers(rows * s.top_k, 4);
    const Routed r = RouteRows(s, logits, nullptr);
    std::vector<float> dlogits(logits.size(), 99);
    ThreadPool pool(2);
    RouteBackward(s, r.ids.data(), r.scores.data(), dweights.data(), rows, dlogits.data(), pool);
    for (int row = 0; row < rows; ++row) {
      const std::vector<int32_t> ids(r.ids.begin() + row * s.top_k, r.ids.begin() + (row + 1) * s.top_k);
      for (int e = 0; e < s.experts; ++e) {
        std::vector<double> x(logits.begin() + row * s.experts, logits.begin() + (row + 1) * s.experts);
        const double step = 1e-5;
        x[e] += step;
        const std::vector<double> up = Weights(s, x, ids);
        x[e] -= 2 * step;
        const std::vector<double> down = Weights(s, x, ids);
        double want = 0;
        for (int i = 0; i < s.top_k; ++i)
          want += dweights[row * s.top_k + i] * (up[i] - down[i]) / (2 * step);
        EXPECT_NEAR(dlogits[row * s.experts + e], want, 2e-6)
            << "variant " << variant << " row " << row << " expert " << e;
      }
    }
  }
}

struct Mixture {
  int64_t rows = 37, cols = 53;
  int experts = 10, top_k = 3;
  std::vector<int32_t> ids;
  std::vector<float> weights;
  Dispatch dispatch;

  Mixture() {
    std::mt19937 random(1);
    for (int64_t row = 0; row < rows; ++row) {
      std::vector<int32_t> all(experts);
      std::iota(all.begin(), all.end(), 0);
      std::shuffle(all.begin(), all.end(), random);
      ids.insert(ids.end(), all.begin(), all.begin() + top_k);
    }
    weights = Numbers(rows * top_k, 2);
    BuildDispatch(ids.data(), rows, top_k, experts, &dispatch);
  }

  float Sum(int64_t row, int64_t col, const std::vector<float>& y, bool weighted) const {
    std::vector<float> ranges(8);
    for (int id = 0; id < experts; ++id) {
      int range = 0;
      while (id >= (range + 1) * experts / 8) ++range;
      for (int i = 0; i < top_k; ++i) {
        const int64_t slot = row * top_k + i;
        if (ids[slot] != id) continue;
        ranges[range] =
            std::fma(weighted ? weights[slot] : 1.0f, y[dispatch.entry[slot] * cols + col], ranges[range]);
      }
    }
    return ReferenceTree(ranges);
  }
};

TEST(Dispatch, GivesEachExpertItsRowsInOrder) {
  const Mixture m;
  int64_t entry = 0;
  for (int e = 0; e < m.experts; ++e) {
    EXPECT_EQ(m.dispatch.offsets[e], entry);
    for (int64_t slot = 0; slot < m.rows * m.top_k; ++slot) {
      if (m.ids[slot] != e) continue;
      EXPECT_EQ(m.dispatch.row[entry], slot / m.top_k);
      EXPECT_EQ(m.dispatch.slot[entry], slot);
      EXPECT_EQ(m.dispatch.entry[slot], entry);
      ++entry;
    }
  }
  EXPECT_EQ(m.dispatch.offsets[m.experts], entry);
}

TEST(CombineExperts, EqualsTheReferenceWithEveryInstructionSet) {
  const Mixture m;
  const std::vector<float> y = Numbers(m.rows * m.top_k * m.cols, 6), shared = Numbers(m.rows * m.cols, 7),
                           residual = Numbers(m.rows * m.cols, 8);
  for (Isa isa : SupportedIsas()) {
    IsaScope scope(isa);
    for (int variant = 0; variant < 4; ++variant) {
      ThreadPool pool(1 + variant % 3);
      std::vector<float> out(m.rows * m.cols, -1), want(m.rows * m.cols);
      const float* s = variant & 1 ? shared.data() : nullptr;
      const float* r = variant & 2 ? residual.data() : nullptr;
      CombineExperts(m.dispatch, m.ids.data(), m.weights.data(), m.rows, m.top_k, m.experts, y.data(), m.cols,
                     s, r, out.data(), pool);
      for (int64_t i = 0; i < m.rows * m.cols; ++i) {
        want[i] = m.Sum(i / m.cols, i % m.cols, y, true);
        if (s) want[i] += s[i];
        if (r) want[i] += r[i];
      }
      EXPECT_EQ(Differences(out, want), 0) << Name(isa) << " variant " << variant;
    }
  }
}

TEST(CombineExperts, BackwardEqualsTheReference) {
  const Mixture m;
  const std::vector<float> y = Numbers(m.rows * m.top_k * m.cols, 6), dout = Numbers(m.rows * m.cols, 9);
  for (Isa isa : SupportedIsas()) {
    IsaScope scope(isa);
    ThreadPool pool(2);
    std::vector<float> dy(y.size()), dweights(m.weights.size()), want_dy(y.size()), want(m.weights.size());
    CombineExpertsBackward(m.dispatch, m.weights.data(), m.rows, m.top_k, dout.data(), y.data(), m.cols,
                           dy.data(), dweights.data(), pool);
    for (int64_t slot = 0; slot < m.rows * m.top_k; ++slot) {
      std::vector<float> lanes(16);
      for (int64_t c = 0; c < m.cols; ++c) {
        const int64_t at = m.dispatch.entry[slot] * m.cols + c;
        const float d = dout[slot / m.top_k * m.cols + c];
        lanes[c % 16] = std::fma(d, y[at], lanes[c % 16]);
        want_dy[at] = m.weights[slot] * d;
      }
      want[slot] = ReferenceSumLanes(lanes);
    }
    EXPECT_EQ(Differences(dy, want_dy), 0) << Name(isa);
    EXPECT_EQ(Differences(dweights, want), 0) << Name(isa);
  }
}

TEST(ScatterExperts, EqualsTheReferenceAlsoInPlace) {
  const Mixture m;
  const std::vector<float> dx_entries = Numbers(m.rows * m.top_k * m.cols, 6),
                           add = Numbers(m.rows * m.cols, 7);
  for (int threads : {1, 2, 3}) {
    ThreadPool pool(threads);
    std::vector<float> dx = add, alone(add.size()), want = add, want_alone(add.size());
    ScatterExperts(m.dispatch, m.ids.data(), m.rows, m.top_k, m.experts, dx_entries.data(), m.cols, dx.data(),
                   dx.data(), pool);
    ScatterExperts(m.dispatch, m.ids.data(), m.rows, m.top_k, m.experts, dx_entries.data(), m.cols, nullptr,
                   alone.data(), pool);
    for (int64_t i = 0; i < m.rows * m.cols; ++i) {
      want_alone[i] = m.Sum(i / m.cols, i % m.cols, dx_entries, false);
      want[i] = want_alone[i] + add[i];
    }
    EXPECT_EQ(Differences(dx, want), 0);
    EXPECT_EQ(Differences(alone, want_alone), 0);
  }
}

}  // namespace
}  // namespace temper::kernels
