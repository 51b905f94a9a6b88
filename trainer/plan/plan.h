// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "core/memory.h"
#include "model/config/config.h"
#include "trainer/config/recipe.h"
#include "trainer/plan/footprint.h"
#include "trainer/plan/workload.h"

namespace temper {

// What a training stage takes on each rank, in bytes by pool, in the order of a table. Activations are of a
// full microbatch (or the longest sequence, if that is longer). Of a policy on a GPU what stays beside it has
// names that begin with "host ". Not counted there are NCCL's buffers, what recorded steps have of their own
// (model/decode/pass.h), and of LibTorch's ops, where kernels are not ours, their temporaries. What is taken
// where there is room for it, and where not is done without, has names that begin with "if free ".
using Pools = std::vector<std::pair<std::string, int64_t>>;
// Where the policy lies, without all those.
int64_t SumOf(const Pools& pools);
const std::pair<std::string, int64_t>& LargestOf(const Pools& pools);  // of at least one
// What makes a pool smaller.
std::string Remedy(std::string_view pool, bool on_gpu = false);
// Of work that has updates.
Pools UpdatePools(const ModelConfig& model, const Workload& work, const PolicyPlace& place);
// What a stage takes on the rank that takes most of `ranks` ranks, which share the work as the recipe's mesh
// says. A mesh that cannot be is an error.
absl::StatusOr<Pools> PoolsOfStage(const RecipeConfig& recipe, const StageConfig& stage,
                                   const ModelConfig& model, int ranks);
std::string BytesText(int64_t bytes);  // "80 KiB", "12 MiB", "3.4 GiB"
// What is free for a rank: on the host (core/memory.h), and for a policy on a GPU there.
struct FreeForRank {
  FreeMemory host, device = {INT64_MAX, "the GPU"};
};
// What each stage that is not finished takes at once on each of `ranks` ranks, `local` of them on this
// machine, is free. Errors name the stage, its largest pool and what to set.
absl::Status CheckMemory(const RecipeConfig& recipe, int ranks, int local, const FreeForRank& free,
                         const std::function<bool(const std::string& stage)>& finished,
                         const std::string& run_directory = "");

// Of the paged cache: what the stage's engine allocates.
int64_t CachePool(const ModelConfig& model, const SamplingConfig& sampling, const MeshPlace& place = {});
// Of one sequence, that this cache can hold.
int64_t CachePositions(const ModelConfig& model, const SamplingConfig& sampling);

// The recipe before anything of it is allocated: for each stage its model, batch sizes in their words, and
// memory by pool on each of `ranks` ranks; of stages that the run has finished their names. Errors: a
// config.json that cannot be read.
absl::StatusOr<std::string> PlanText(const RecipeConfig& recipe, int ranks,
                                     const std::string& run_directory = "");

}  // namespace temper
