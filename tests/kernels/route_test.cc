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
  std::vector<int32_t> row, entry;
  std::vector<int64_t> offsets;

  // Its arrays as the backend sees them.
  Routing routing() { return {ids.data(), weights.data(), scores.data(), row.data(), entry.data(), offsets}; }
};

Routed RouteRows(const RouteShape& s, const std::vector<float>& logits, const float* bias, int threads = 1) {
  const int64_t rows = static_cast<int64_t>(logits.size()) / s.experts;
  const int64_t slots = rows * s.top_k;
  Routed out{.ids = std::vector<int32_t>(slots, -9),
             .weights = std::vector<float>(slots),
             .scores = std::vector<float>(logits.size()),
             .row = std::vector<int32_t>(slots, -9),
             .entry = std::vector<int32_t>(slots, -9),
             .offsets = {}};
  Routing routing = out.routing();
  TestBackend(threads)->Route({s, F32(logits.data(), rows, s.experts), bias, &routing});
  out.offsets = routing.offsets;
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
    Routed r = RouteRows(s, logits, nullptr);
    std::vector<float> dlogits(logits.size(), 99);
    const Routing routing = r.routing();
    TestBackend(2)->RouteBackward({s, &routing, dweights.data(), F32(dlogits.data(), rows, s.experts)});
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
  RouteShape shape{.experts = 10, .top_k = 3};
  Routed routed;
  Routing routing;

  Mixture() : routed(RouteRows(shape, Numbers(rows * shape.experts, 1), nullptr, 2)) {
    routed.weights = Numbers(rows * shape.top_k, 2);
    routing = routed.routing();
  }
  Matrix Tokens(const std::vector<float>& of) const { return F32(of.data(), rows, cols); }
  Matrix Entries(const std::vector<float>& of) const { return F32(of.data(), rows * shape.top_k, cols); }

  float Sum(int64_t row, int64_t col, const std::vector<float>& y, bool weighted) const {
    std::vector<float> ranges(8);
    for (int id = 0; id < shape.experts; ++id) {
      int range = 0;
      while (id >= (range + 1) * shape.experts / 8) ++range;
      for (int i = 0; i < shape.top_k; ++i) {
        const int64_t slot = row * shape.top_k + i;
        if (routed.ids[slot] != id) continue;
        ranges[range] = std::fma(weighted ? routed.weights[slot] : 1.0f, y[routed.entry[slot] * cols + col],
                                 ranges[range]);
      }
    }
    return ReferenceTree(ranges);
  }
};

TEST(Route, GivesEachExpertItsRowsInOrder) {
  const Mixture m;
  int64_t entry = 0;
  for (int e = 0; e < m.shape.experts; ++e) {
    EXPECT_EQ(m.routed.offsets[e], entry);
    for (int64_t slot = 0; slot < m.rows * m.shape.top_k; ++slot) {
      if (m.routed.ids[slot] != e) continue;
      EXPECT_EQ(m.routed.row[entry], slot / m.shape.top_k);
      EXPECT_EQ(m.routed.entry[slot], entry);
      ++entry;
    }
  }
  EXPECT_EQ(m.routed.offsets[m.shape.experts], entry);
  EXPECT_EQ(entry, m.rows * m.shape.top_k);
}

// Ranks that have whole ranges of the experts: their entries alone, and sums that the tree over ranks
// completes.
TEST(CombineExperts, OfAPartOfTheExpertsIsASubtree) {
  const Mixture m;
  const std::vector<float> y = Numbers(m.rows * m.shape.top_k * m.cols, 6);
  for (Isa isa : SupportedIsas()) {
    IsaScope scope(isa);
    for (const int parts : {2, 4, 8}) {
      std::vector<std::vector<float>> sums;
      int64_t entries = 0;
      for (int part = 0; part < parts; ++part) {
        RouteShape shape = m.shape;
        shape.begin = part * shape.experts / parts;
        shape.end = (part + 1) * shape.experts / parts;
        Routed routed = m.routed;
        Routing routing = routed.routing();
        SortEntries(shape, m.rows, &routing);
        const int64_t mine = routing.offsets.back();
        // The part's entries are neighbours among all.
        const std::vector<float> of_part(y.begin() + entries * m.cols, y.begin() + (entries + mine) * m.cols);
        std::vector<float> out(m.rows * m.cols, -1), dy(of_part.size()),
            dweights(m.rows * shape.top_k, -5.0f);
        TestBackend backend(2);
        const Matrix part_y = F32(of_part.data(), mine, m.cols);
        backend->CombineExperts({shape, &routing, part_y, {}, {}, m.Tokens(out)});
        sums.push_back(out);
        backend->CombineExpertsBackward(
            {shape, &routing, m.Tokens(out), part_y, F32(dy.data(), mine, m.cols), dweights.data()});
        for (size_t slot = 0; slot < dweights.size(); ++slot)
          EXPECT_EQ(dweights[slot] == -5.0f, !shape.Has(routed.ids[slot]))
              << "a slot of another rank's expert";
        entries += mine;
      }
      EXPECT_EQ(entries, m.rows * m.shape.top_k);
      std::vector<float> got(m.rows * m.cols), want(got.size());
      for (size_t i = 0; i < got.size(); ++i) {
        std::vector<float> ranks;
        for (const std::vector<float>& sum : sums) ranks.push_back(sum[i]);
        got[i] = ReferenceTreeOf(ranks);
        want[i] = m.Sum(static_cast<int64_t>(i) / m.cols, static_cast<int64_t>(i) % m.cols, y, true);
      }
      EXPECT_EQ(Differences(got, want), 0) << Name(isa) << ", " << parts << " parts";
    }
  }
}

TEST(CombineExperts, OfExpertsThatAreNoWholeRangesIsABrokenInvariant) {
  const Mixture m;
  RouteShape shape = m.shape;
  shape.begin = 2;
  shape.end = 4;
  std::vector<float> y(m.rows * shape.top_k * m.cols), out(m.rows * m.cols);
  EXPECT_ANY_THROW(TestBackend(1)->CombineExperts({shape, &m.routing, m.Entries(y), {}, {}, m.Tokens(out)}));
}

TEST(GatherExperts, CopiesEachEntrysRow) {
  const Mixture m;
  const std::vector<float> x = Numbers(m.rows * m.cols, 6);
  std::vector<float> out(m.rows * m.shape.top_k * m.cols), want(out.size());
  for (int64_t entry = 0; entry < m.rows * m.shape.top_k; ++entry)
    std::copy_n(&x[m.routed.row[entry] * m.cols], m.cols, &want[entry * m.cols]);
  TestBackend(2)->GatherExperts({m.shape, &m.routing, m.Tokens(x), m.Entries(out)});
  EXPECT_EQ(out, want);
}

TEST(CombineExperts, EqualsTheReferenceWithEveryInstructionSet) {
  const Mixture m;
  const std::vector<float> y = Numbers(m.rows * m.shape.top_k * m.cols, 6),
                           shared = Numbers(m.rows * m.cols, 7), residual = Numbers(m.rows * m.cols, 8);
  for (Isa isa : SupportedIsas()) {
    IsaScope scope(isa);
    for (int variant = 0; variant < 4; ++variant) {
      TestBackend backend(1 + variant % 3);
      std::vector<float> out(m.rows * m.cols, -1), want(m.rows * m.cols);
      const Matrix s = variant & 1 ? m.Tokens(shared) : Matrix(),
                   r = variant & 2 ? m.Tokens(residual) : Matrix();
      backend->CombineExperts({m.shape, &m.routing, m.Entries(y), s, r, m.Tokens(out)});
      for (int64_t i = 0; i < m.rows * m.cols; ++i) {
        want[i] = m.Sum(i / m.cols, i % m.cols, y, true);
        if (s) want[i] += shared[i];
        if (r) want[i] += residual[i];
      }
      EXPECT_EQ(Differences(out, want), 0) << Name(isa) << " variant " << variant;
    }
  }
}

TEST(CombineExperts, BackwardEqualsTheReference) {
  const Mixture m;
  const std::vector<float> y = Numbers(m.rows * m.shape.top_k * m.cols, 6),
                           dout = Numbers(m.rows * m.cols, 9);
  for (Isa isa : SupportedIsas()) {
    IsaScope scope(isa);
    TestBackend backend(2);
    const size_t slots = m.routed.weights.size();
    std::vector<float> dy(y.size()), dweights(slots), want_dy(y.size()), want(slots);
    backend->CombineExpertsBackward(
        {m.shape, &m.routing, m.Tokens(dout), m.Entries(y), m.Entries(dy), dweights.data()});
    for (size_t slot = 0; slot < slots; ++slot) {
      std::vector<float> lanes(16);
      for (int64_t c = 0; c < m.cols; ++c) {
        const int64_t at = m.routed.entry[slot] * m.cols + c;
        const float d = dout[slot / m.shape.top_k * m.cols + c];
        lanes[c % 16] = std::fma(d, y[at], lanes[c % 16]);
        want_dy[at] = m.routed.weights[slot] * d;
      }
      want[slot] = ReferenceSumLanes(lanes);
    }
    EXPECT_EQ(Differences(dy, want_dy), 0) << Name(isa);
    EXPECT_EQ(Differences(dweights, want), 0) << Name(isa);
  }
}

TEST(ScatterExperts, EqualsTheReferenceAlsoInPlace) {
  const Mixture m;
  const std::vector<float> dx_entries = Numbers(m.rows * m.shape.top_k * m.cols, 6),
                           add = Numbers(m.rows * m.cols, 7);
  for (int threads : {1, 2, 3}) {
    TestBackend backend(threads);
    std::vector<float> dx = add, alone(add.size()), want = add, want_alone(add.size());
    backend->ScatterExperts({m.shape, &m.routing, m.Entries(dx_entries), m.Tokens(dx), m.Tokens(dx)});
    backend->ScatterExperts({m.shape, &m.routing, m.Entries(dx_entries), {}, m.Tokens(alone)});
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
