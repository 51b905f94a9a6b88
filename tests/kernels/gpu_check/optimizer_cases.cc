// SPDX-License-Identifier: Apache-2.0
// Cases of kernels/gradient_sum.h, kernels/adamw.h and of figures over a tensor.
#include "absl/strings/str_cat.h"
#include "tests/kernels/gpu_check/cases.h"

namespace temper::kernels {
namespace {

struct Run {
  int64_t count, first;  // from an element on that is aligned, or not
};
constexpr Run kRuns[] = {{711, 1}, {4100, 0}};

std::string TextOf(const Run& run) { return absl::StrCat(run.count, run.first > 0 ? " not aligned" : ""); }

void Leaves(Held& held, const Run& run, int leaves) {
  std::vector<float*> numbers;
  for (int i = 0; i < leaves; ++i)
    numbers.push_back(held.Vector(run.count + run.first, {static_cast<uint32_t>(i + 1)}) + run.first);
  LeafSum sum{{50, leaves}, run.count, numbers[0]};
  for (int i = 1; i < leaves; ++i) held.OnHost(held.backend.AddLeaf(numbers[i], &sum));
  const int64_t skipped = run.count / 12 * 4;
  std::vector<int64_t> quanta(run.count - skipped, 5);
  held.OnHost(held.backend.AddQuanta(sum, skipped, absl::MakeSpan(quanta)));
  for (const int64_t q : quanta) held.OnHost(q);
  if (leaves > 1) {
    held.Wrote(sum.first, run.count);
    held.Wrote(sum.second, run.count);
  }
  held.OnHost(held.backend.RoundGradient(sum));
  held.Wrote(sum.first, run.count);
}

// As ranks do whose devices add up integers, of one that is alone.
void Across(Held& held, const Run& run) {
  float* const leaf = held.Vector(run.count + run.first) + run.first;
  const LeafSum sum{{50, 1}, run.count, leaf};
  held.OnHost(held.backend.host_memory() ? held.backend.RoundGradient(sum)
                                         : held.backend.RoundGradientAcross(sum, [](int64_t*, int64_t) {}));
  held.Wrote(leaf, run.count);
}

void Step(Held& held, const Run& run) {
  float* numbers[4];
  for (uint32_t i = 0; i < 4; ++i) {
    std::vector<float> host = kernels::Numbers(run.count + run.first, i + 1);
    if (i == 3) {
      for (float& v : host) v = v * v;
    }
    numbers[i] = held.Place(host) + run.first;
  }
  const AdamWOutcome outcome = held.backend.AdamW(
      {.step = {.learning_rate = 0.01f, .weight_decay = 0.1f, .step = 3, .gradient_scale = 0.7f},
       .n = run.count,
       .gradient = numbers[0],
       .weight = numbers[1],
       .m = numbers[2],
       .v = numbers[3]});
  held.OnHost(outcome.finite);
  held.OnHost(&outcome.largest, 1);
  for (int i = 1; i < 4; ++i) held.Wrote(numbers[i], run.count);
}

void Figures(Held& held, const Run& run) {
  const float* const x = held.Vector(run.count + run.first) + run.first;
  const float largest = held.backend.Largest(x, run.count);
  held.OnHost(&largest, 1);
  held.OnHost(held.backend.SumOfSquares(x, run.count));
}

}  // namespace

void AddOptimizerCases(std::vector<Case>* all) {
  for (const Run& run : kRuns) {
    for (const int leaves : {1, 2, 3})
      all->push_back({"sum of gradients", absl::StrCat(leaves, " of ", TextOf(run)),
                      [run, leaves](Held& held) { Leaves(held, run, leaves); }});
    all->push_back({"sum across devices", TextOf(run), [run](Held& held) { Across(held, run); }});
    all->push_back({"adamw", TextOf(run), [run](Held& held) { Step(held, run); }});
    all->push_back({"figures", TextOf(run), [run](Held& held) { Figures(held, run); }});
  }
  const Run pieces{2 * kSquaresPiece + 100, 0};
  all->push_back({"figures", TextOf(pieces), [pieces](Held& held) { Figures(held, pieces); }});
}

}  // namespace temper::kernels
