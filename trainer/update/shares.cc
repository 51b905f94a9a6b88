// SPDX-License-Identifier: Apache-2.0
#include "trainer/update/shares.h"

#include <algorithm>

#include "core/check.h"
#include "core/deal.h"

namespace temper {
namespace {

// The items of `of`, dealt by tokens of theirs, and those of each in turn.
std::vector<std::vector<int64_t>> DealSome(const std::vector<int64_t>& of, const std::vector<int64_t>& tokens,
                                           int64_t ranks) {
  std::vector<int64_t> theirs;
  for (const int64_t leaf : of) theirs.push_back(tokens[leaf]);
  std::vector<std::vector<int64_t>> dealt = Deal(theirs, ranks);
  for (std::vector<int64_t>& items : dealt)
    for (int64_t& item : items) item = of[item];
  return dealt;
}

}  // namespace

std::vector<std::vector<int64_t>> LeavesOfRanks(const Leaves& leaves, const Mesh& mesh, int64_t long_tokens) {
  TEMPER_CHECK(static_cast<int>(leaves.size()) >= mesh.dp_size(), leaves.size(), " gradient leaves for ",
               mesh.dp_size(), " ranks");
  std::vector<int64_t> all, of_short;
  for (const std::vector<const TrainSequence*>& leaf : leaves) {
    all.push_back(0);
    of_short.push_back(0);
    for (const TrainSequence* sequence : leaf) {
      all.back() += sequence->length();
      of_short.back() += IsLong(*sequence, long_tokens) ? 0 : sequence->length();
    }
  }
  const int64_t together = mesh.sizes().cp;
  const std::vector<std::vector<int64_t>> of_groups = Deal(all, mesh.dp_size() / together);
  if (together == 1) return of_groups;
  std::vector<std::vector<int64_t>> of_ranks;
  for (const std::vector<int64_t>& group : of_groups)
    for (std::vector<int64_t>& rank : DealSome(group, of_short, together))
      of_ranks.push_back(std::move(rank));
  return of_ranks;
}

std::vector<LongSequence> LongSequencesOf(const Leaves& leaves, const Mesh& mesh, int64_t long_tokens) {
  const std::vector<std::vector<int64_t>> of_ranks = LeavesOfRanks(leaves, mesh, long_tokens);
  const auto together = static_cast<int>(mesh.sizes().cp);
  const int first = mesh.dp_rank() / together * together;
  std::vector<LongSequence> all;
  for (int owner = 0; owner < together; ++owner) {
    for (const int64_t leaf : of_ranks[first + owner]) {
      for (size_t i = 0; i < leaves[leaf].size(); ++i)
        if (IsLong(*leaves[leaf][i], long_tokens)) all.push_back({leaf, i, owner});
    }
  }
  std::stable_sort(all.begin(), all.end(),
                   [](const LongSequence& a, const LongSequence& b) { return a.leaf < b.leaf; });
  return all;
}

}  // namespace temper
