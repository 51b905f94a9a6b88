// SPDX-License-Identifier: Apache-2.0
#include "model/expert_exchange.h"

#include <vector>

#include "comm/reduce.h"
#include "core/check.h"
#include "model/across.h"

namespace temper {

void CombineAcross(const Context& c, const kernels::CombineExpertsTask& task, Matrix sums,
                   const Linear& shared) {
  const int64_t rows = task.out.rows;
  kernels::CombineExpertsTask part = task;
  part.shared = part.residual = {};
  part.out = sums.Rows(0, rows);
  c.backend->CombineExperts(part);
  SumAcross(c, sums);
  c.backend->Copy(part.out, task.out);
  if (task.shared) {
    shared.AddSharedBias(c, task.shared);
    c.backend->Add(task.shared, task.out);
  }
  if (task.residual) c.backend->Add(task.residual, task.out);
}

void ScatterAcross(const Context& c, const kernels::ScatterExpertsTask& task) {
  kernels::ScatterExpertsTask part = task;
  part.add = {};
  c.backend->ScatterExperts(part);
  SumAcross(c, task.dx);
  if (task.add) c.backend->Add(task.add, task.dx);
}

void GatherSlots(const Context& c, const kernels::RouteShape& shape, const kernels::Routing& routing,
                 int64_t rows, float* values) {
  Communicator& ranks = TensorRanks(c);
  TEMPER_CHECK(c.backend->host_memory());
  const int64_t slots = rows * shape.top_k;
  // The slots by the rank that has their expert, in their order.
  std::vector<int> owner(shape.experts);
  for (int r = 0; r < ranks.size(); ++r) {
    const Share share = ShareOf(shape.experts, r, ranks.size());
    for (int64_t e = share.begin; e < share.end; ++e) owner[e] = r;
  }
  std::vector<int64_t> edges(ranks.size() + 1);
  for (int64_t slot = 0; slot < slots; ++slot) ++edges[owner[routing.ids[slot]] + 1];
  for (int r = 0; r < ranks.size(); ++r) edges[r + 1] += edges[r];
  std::vector<int64_t> place(slots), next(edges.begin(), edges.end() - 1);
  for (int64_t slot = 0; slot < slots; ++slot) place[slot] = next[owner[routing.ids[slot]]]++;
  std::vector<float> by_rank(slots);
  for (int64_t slot = 0; slot < slots; ++slot) by_rank[place[slot]] = values[slot];
  GatherParts(by_rank.data(), edges, ranks);
  for (int64_t slot = 0; slot < slots; ++slot) values[slot] = by_rank[place[slot]];
}

}  // namespace temper
