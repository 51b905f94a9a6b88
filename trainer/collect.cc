// SPDX-License-Identifier: Apache-2.0
#include "trainer/collect.h"

#include "absl/strings/str_cat.h"
#include "core/file.h"
#include "core/json.h"
#include "core/status.h"
#include "rollout/worker.h"
#include "trainer/documents.h"
#include "trainer/problems.h"
#include "trainer/rl_metrics.h"
#include "trainer/session.h"

namespace temper {
namespace {

// Prompts that are sampled, scored and on disk before the next ones begin.
constexpr int64_t kPromptsPerRollout = 256;

// The kept completions of one group, as lines of the dataset.
std::string KeptRows(const Group& group, const CollectConfig& config, int64_t* kept) {
  std::string lines;
  int64_t of_this_prompt = 0;
  for (const Trajectory& trajectory : group.trajectories) {
    const std::optional<double> reward = RewardOf(trajectory.verdicts, config.reward);
    if (!reward.has_value() || *reward < config.min_reward) continue;
    if (trajectory.stop != StopReason::kEndOfText || of_this_prompt == config.keep_per_prompt) continue;
    ++of_this_prompt;
    absl::StrAppend(&lines,
                    DumpJson(Json{{"id", group.prompt.id},
                                  {"sample", trajectory.sample},
                                  {"reward", *reward},
                                  {"prompt", group.prompt.text},
                                  {"completion", trajectory.text}}),
                    "\n");
  }
  *kept += of_this_prompt;
  return lines;
}

}  // namespace

absl::Status RunCollect(const StageContext& context) {
  const CollectConfig& config = context.stage->collect;
  TEMPER_ASSIGN_OR_RETURN(const OpenedPolicy policy, OpenPolicy(context.from_directory, context));
  TEMPER_ASSIGN_OR_RETURN(std::unique_ptr<ProblemSource> problems,
                          OpenTrainProblems(context, config.problems, *policy.tokenizer));
  TEMPER_ASSIGN_OR_RETURN(const std::unique_ptr<RewardPool> rewards,
                          RewardPool::Create(config.reward, RewardThreads(context)));
  TEMPER_RETURN_IF_ERROR(problems->CheckAnswers(*rewards));
  Engine engine(policy.model.get(), EngineOptionsOf(config.sampling));
  RolloutWorker worker(&engine, policy.tokenizer.get(), *context.mesh);
  context.progress->Start(context.stage->name, config.prompts);

  // Groups that an interrupted run left in the records are not sampled again, so the whole of it is a loop.
  std::string dataset;
  int64_t kept = 0;
  for (int64_t first = 0, rollout = 0; first < config.prompts; first += kPromptsPerRollout, ++rollout) {
    RolloutRequest request;
    request.seed = context.recipe->seed;
    request.stage = context.stage->name;
    request.rollout = rollout;
    TEMPER_ASSIGN_OR_RETURN(request.prompts,
                            problems->Take(first, std::min(kPromptsPerRollout, config.prompts - first)));
    request.samples_per_prompt = config.samples_per_prompt;
    request.sampling = SamplingOptionsOf(config.sampling, *policy.tokenizer);
    request.records = RolloutRecords(context, rollout);
    RolloutCounts counts;
    TEMPER_ASSIGN_OR_RETURN(
        const std::vector<Group> groups,
        worker.Collect(request, *rewards, RolloutProgress(context), context.stop, &counts));
    for (const Group& group : groups) dataset += KeptRows(group, config, &kept);
    context.progress->Step(std::min(first + kPromptsPerRollout, config.prompts), absl::StrCat("kept ", kept));
  }
  context.progress->Finish();
  if (kept == 0) {
    return absl::InvalidArgumentError(absl::StrCat("stage ", context.stage->name, ": no completion of ",
                                                   config.prompts, " prompts reached collect.min_reward ",
                                                   config.min_reward, ": the policy of ", context.stage->from,
                                                   " is not good enough, or the reward is another one"));
  }
  if (!context.mesh->is_first()) return absl::OkStatus();
  return WriteFileAtomic(DatasetPath(context.directory), dataset);
}

}  // namespace temper
