// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/gradient_sum.h"

#include <cmath>
#include <limits>

#include "tests/kernels/cuda/hostile.h"

namespace temper::kernels {
namespace {

// Numbers of every size below the limit, halves of quanta of both signs, zeros, subnormals.
std::vector<float> Values(int64_t n, const QuantaRule& rule, uint32_t seed) {
  const int bits = static_cast<int>(rule.bits);
  const float most = std::nextafter(std::ldexp(1.0f, 62 - bits) / static_cast<float>(rule.leaves), 0.0f);
  std::vector<float> values = Numbers(n, seed);
  for (int64_t i = 0; i < n; ++i) {
    const float whole = static_cast<float>(i % 127) - 63;
    const float some[] = {values[i] * most / 8,
                          most,
                          -most,
                          std::ldexp(whole + 0.5f, -bits),
                          std::ldexp(whole + 0.5f, 31 - bits),
                          -0.0f,
                          1e-40f,
                          values[i] * most * 1e-9f};
    values[i] = some[(i + seed) % std::size(some)];
  }
  return values;
}

// What each of the backend's functions makes, one after another: two leaves, a third, quanta and the
// gradient.
struct Results {
  std::vector<float> first, second;
  std::vector<int64_t> quanta;
  std::vector<bool> in_range;
  bool operator==(const Results& other) const {
    return Differences(first, other.first) == 0 && Differences(second, other.second) == 0 &&
           quanta == other.quanta && in_range == other.in_range;
  }
};

struct Device {
  bool AddLeaf(float* leaf, LeafSum* sum) {
    words = 0;
    sim::AddLeaf({*sum, leaf, &words}, stream);
    if (sum->second == nullptr) sum->second = leaf;
    return words == 0;
  }
  bool AddQuanta(const LeafSum& sum, int64_t first, absl::Span<int64_t> out) {
    words = 0;
    sim::AddQuanta({sum, first, static_cast<int64_t>(out.size()), out.data(), &words}, stream);
    return words == 0;
  }
  bool RoundGradient(const LeafSum& sum) {
    words = 0;
    sim::RoundGradient(sum, &words, stream);
    return words == 0;
  }
  Device* operator->() { return this; }
  sim::Stream& stream;
  uint32_t words = 0;
};

struct Case {
  QuantaRule rule;
  int64_t n, from;  // the first element, aligned or not
  int leaves;
  float bad;
};

template <typename Machine>
Results ResultsOf(const Case& c, Machine&& machine) {
  std::vector<std::vector<float>> leaves;
  for (int i = 0; i < c.leaves; ++i) leaves.push_back(Values(c.n + c.from, c.rule, i));
  leaves.back()[c.from + c.n / 2] += c.bad;
  Results out;
  LeafSum sum = {c.rule, c.n, leaves[0].data() + c.from};
  for (int i = 1; i < c.leaves; ++i)
    out.in_range.push_back(machine->AddLeaf(leaves[i].data() + c.from, &sum));
  const int64_t skipped = c.n / 3;
  out.quanta.assign(c.n - skipped, 5);
  out.in_range.push_back(machine->AddQuanta(sum, skipped, absl::MakeSpan(out.quanta)));
  out.in_range.push_back(machine->RoundGradient(sum));
  out.first = leaves[0];
  if (c.leaves > 1) out.second = leaves[1];
  return out;
}

TEST(SimulatedGradientSum, LeavesQuantaAndGradientsAreTheCpus) {
  TestBackend cpu(1);
  const float infinity = std::numeric_limits<float>::infinity();
  for (const Case& c : {Case{{50, 1}, 711, 1, 1, 0}, Case{{50, 3}, 4100, 0, 3, 0}, Case{{0, 2}, 1, 0, 2, 0},
                        Case{{100, 4}, 9001, 3, 4, 0}, Case{{50, 1}, 64, 0, 1, infinity},
                        Case{{50, 2}, 2048, 4, 2, 5000}, Case{{50, 3}, 2048, 0, 3, std::nanf("")}}) {
    const Results expected = ResultsOf(c, cpu);
    EXPECT_EQ(expected.in_range[0], c.bad == 0 || c.leaves == 3);
    Results results;
    UnderHostileStreams([&](sim::Stream& stream) { results = ResultsOf(c, Device{stream}); },
                        [&] { EXPECT_TRUE(results == expected) << c.n << ", leaves " << c.leaves; });
  }
}

}  // namespace
}  // namespace temper::kernels
