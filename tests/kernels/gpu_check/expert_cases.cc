// SPDX-License-Identifier: Apache-2.0
// Cases of kernels/route.h.
#include "absl/strings/str_cat.h"
#include "tests/kernels/gpu_check/cases.h"

namespace temper::kernels {
namespace {

constexpr int64_t kRows = 9;

struct Setting {
  RouteShape shape;
  int64_t cols, between;
};
// One group and several, both scores, both ways to score groups, this rank's experts all and two of 8 ranges.
const Setting kSettings[] = {
    {{.experts = 10, .top_k = 3, .scaling = 2.5f}, 1033, 1},
    {{.experts = 16, .top_k = 4, .groups = 4, .top_groups = 2, .begin = 4, .end = 8}, 100, 0},
    {{.experts = 70,
      .top_k = 6,
      .groups = 7,
      .top_groups = 3,
      .sigmoid = false,
      .normalize = false,
      .group_top2 = false},
     12,
     0},
    {{.experts = 40, .top_k = 32, .sigmoid = false}, 8, 4},
};

// There and back: routing, the rows to their experts, what comes of them to the rows, and the gradients.
void Experts(Held& held, const Setting& setting) {
  const RouteShape& s = setting.shape;
  const int64_t slots = kRows * s.top_k;
  std::vector<float> steps = kernels::Numbers(kRows * (s.experts + 3), 1);
  for (float& x : steps) x = std::nearbyint(x * 4) / 2;  // many are equal, so that ids decide
  const Matrix logits = held.Given(kRows, s.experts, steps, {1, 3});
  // An entry that another rank has stays what it is.
  const std::vector<int32_t> none(slots, 0);
  Routing routing{.ids = held.Place(none),
                  .weights = held.Vector(slots, {2}),
                  .scores = held.Vector(kRows * s.experts, {3}),
                  .row = held.Place(none),
                  .entry = held.Place(none),
                  .offsets = std::vector<int64_t>(s.experts + 1)};
  held.backend.Route({s, logits, held.Vector(s.experts, {4, 0, 0.3f}), &routing});
  const int64_t entries = routing.offsets.back();
  held.Wrote(routing.ids, slots);
  held.Wrote(routing.weights, slots);
  held.Wrote(routing.scores, kRows * s.experts);
  held.Wrote(routing.row, entries);
  held.Wrote(routing.entry, slots);
  for (const int64_t offset : routing.offsets) held.OnHost(offset);

  const auto matrix = [&](int64_t rows, uint32_t seed) {
    return held.Numbers(rows, setting.cols, {seed, setting.between});
  };
  const Matrix gathered = matrix(entries, 5), y = matrix(entries, 6), combined = matrix(kRows, 7),
               dout = matrix(kRows, 8), dy = matrix(entries, 9), dx = matrix(kRows, 10),
               dlogits = held.Numbers(kRows, s.experts, {11, 3});
  float* const dweights = held.Vector(slots, {12});
  held.backend.GatherExperts({s, &routing, matrix(kRows, 13), gathered});
  held.backend.CombineExperts({s, &routing, y, matrix(kRows, 14), matrix(kRows, 15), combined});
  held.backend.CombineExpertsBackward({s, &routing, dout, y, dy, dweights});
  held.backend.ScatterExperts({s, &routing, y, dx, dx});
  held.backend.RouteBackward({s, &routing, dweights, dlogits});
  for (const Matrix& m : {gathered, combined, dy, dx, dlogits}) held.Wrote(m);
  held.Wrote(dweights, slots);
}

// Products of experts whose rows the device alone knows; where calls are not recorded the host knows them.
void RowsOfExperts(Held& held, int64_t k, Type type) {
  constexpr int64_t kCounts[] = {0, 3, 8, 0, 9, 1}, kOutputs = 17;
  std::vector<int64_t> offsets = {0};
  std::vector<Matrix> weights;
  std::vector<const void*> places;
  for (const int64_t count : kCounts) {
    offsets.push_back(offsets.back() + count);
    weights.push_back(held.Numbers(kOutputs, k, {static_cast<uint32_t>(offsets.size()), 0, 1, type}));
    places.push_back(weights.back().data);
  }
  const Matrix x = held.Numbers(offsets.back(), k, {1});
  Routing routing{.offsets = {}, .device_offsets = held.Place(offsets)};
  for (const int chunks : {1, kChunks}) {
    const Matrix y = held.Numbers(offsets.back(), kOutputs, {2, 3});
    for (size_t e = 0; !held.backend.records() && e < weights.size(); ++e) {
      held.backend.Products({{.a = x.Rows(offsets[e], kCounts[e]),
                              .b = weights[e],
                              .c = y.Rows(offsets[e], kCounts[e]),
                              .k_chunks = chunks}});
    }
    if (held.backend.records()) {
      held.backend.ExpertProducts({.routing = &routing,
                                   .experts = static_cast<int>(weights.size()),
                                   .weights = places.data(),
                                   .like = weights[0],
                                   .x = x,
                                   .y = y,
                                   .k_chunks = chunks});
    }
    held.Wrote(y);
  }
}

}  // namespace

void AddExpertCases(std::vector<Case>* all) {
  for (const auto& [k, type] :
       {std::pair{int64_t{41}, Type::kF32}, {int64_t{64}, Type::kF32}, {int64_t{256}, Type::kBf16}}) {
    all->push_back({"rows of experts", absl::StrCat(k, type == Type::kBf16 ? ", bf16" : ""),
                    [k = k, type = type](Held& held) { RowsOfExperts(held, k, type); }});
  }
  for (const Setting& setting : kSettings) {
    const RouteShape& s = setting.shape;
    all->push_back(
        {"experts",
         absl::StrCat(s.top_k, " of ", s.experts, ", ", s.groups, " groups, rows of ", setting.cols),
         [setting](Held& held) { Experts(held, setting); }});
  }
}

}  // namespace temper::kernels
