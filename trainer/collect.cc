// SPDX-License-Identifier: Apache-2.0
#include "trainer/collect.h"

#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "comm/check.h"
#include "core/files/file.h"
#include "core/json/json.h"
#include "core/log.h"
#include "core/status.h"
#include "core/trace.h"
#include "rollout/exchange.h"
#include "rollout/worker.h"
#include "trainer/inputs/documents.h"
#include "trainer/inputs/inputs.h"
#include "trainer/rl_metrics.h"
#include "trainer/run_directory/run_directory.h"
#include "trainer/run_directory/sums.h"
#include "trainer/session.h"

namespace temper {
namespace {

// What became of the completions.
struct Fates {
  int64_t kept = 0, cut = 0, low = 0, empty = 0, repeated = 0, surplus = 0, unjudged = 0;

  int64_t all() const { return kept + cut + low + empty + repeated + surplus + unjudged; }
  // "kept 12 of 64 completions; 40 were cut at max_new_tokens 32, ..".
  std::string Text(const CollectConfig& config) const {
    std::vector<std::string> others;
    const auto add = [&](int64_t count, const std::string& what) {
      if (count > 0) others.push_back(absl::StrCat(count, " ", what));
    };
    add(cut, absl::StrCat("were cut at max_new_tokens ", config.sampling.max_new_tokens));
    add(low, absl::StrCat("have a reward below min_reward ", config.min_reward));
    add(empty, "are empty");
    add(repeated, "say what another one of their prompt says");
    add(surplus, absl::StrCat("are more than keep_per_prompt ", config.keep_per_prompt));
    add(unjudged, "could not be judged");
    return absl::StrCat("kept ", kept, " of ", all(), " completions", others.empty() ? "" : "; ",
                        absl::StrJoin(others, ", "));
  }
};

// What a row says that was asked: a conversation where the chat template of the policy was asked with one, so
// that whoever learns from it asks in its own form; else the prompt's text. Tools are the conversation's.
class Asked {
 public:
  Asked(const StageContext& context, const Tokenizer& tokenizer)
      : problems_(context.stage->collect.problems),
        form_(tokenizer, problems_.prompt, context.recipe->Date()),
        fields_(problems_.files.empty() ? FieldNames() : problems_.fields) {}

  absl::Status Append(const Prompt& prompt, Json* row) {
    (*row)["prompt"] = prompt.text;
    if (problems_.files.empty() && problems_.tasks.empty()) return absl::OkStatus();
    TEMPER_ASSIGN_OR_RETURN(Json json, ParseJson(prompt.fields, prompt.id));
    TEMPER_ASSIGN_OR_RETURN(const ProblemRow problem,
                            fields_.Read(DataRow{.json = std::move(json), .name = prompt.id}));
    Json conversation = form_.Conversation(problem);
    if (conversation.is_null()) return absl::OkStatus();
    (*row)["prompt"] = std::move(conversation);
    if (!problem.tools.is_null()) (*row)["tools"] = problem.tools;
    return absl::OkStatus();
  }

 private:
  const ProblemsConfig& problems_;
  const PromptForm form_;
  ProblemFields fields_;
};

// Adds the kept completions of one group, as lines of the dataset.
absl::Status Keep(const Group& group, const CollectConfig& config, Asked& asked, std::string* dataset,
                  Fates* fates) {
  std::set<std::string> texts;
  for (const Trajectory& trajectory : group.trajectories) {
    const std::optional<double> reward = RewardOf(trajectory.verdicts, config.reward);
    int64_t* fate = &fates->kept;
    if (!reward.has_value()) {
      fate = &fates->unjudged;
    } else if (trajectory.stop == StopReason::kLength) {
      fate = &fates->cut;
    } else if (*reward < config.min_reward) {
      fate = &fates->low;
    } else if (trajectory.text.find_first_not_of(" \t\r\n") == std::string::npos) {
      fate = &fates->empty;
    } else if (texts.contains(trajectory.text)) {
      fate = &fates->repeated;
    } else if (static_cast<int64_t>(texts.size()) == config.keep_per_prompt) {
      fate = &fates->surplus;
    }
    ++*fate;
    if (fate != &fates->kept) continue;
    texts.insert(trajectory.text);
    Json row = {{"id", group.prompt.id}, {"sample", trajectory.sample}, {"reward", *reward}};
    TEMPER_RETURN_IF_ERROR(asked.Append(group.prompt, &row));
    row["completion"] = trajectory.text;
    row["answer"] = group.prompt.answer;
    row["task"] = group.prompt.task;
    absl::StrAppend(dataset, DumpJson(row), "\n");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status RunCollect(const StageContext& context) {
  const CollectConfig& config = context.stage->collect;
  const Mesh& mesh = *context.sampling_mesh;
  TEMPER_ASSIGN_OR_RETURN(const OpenedPolicy policy, OpenPolicy(context.from_directory, context.backend,
                                                                {.bf16 = context.recipe->bf16(),
                                                                 .cache = context.recipe->cache,
                                                                 .mtp = context.stage->mtp(),
                                                                 .mesh = &mesh}));
  TEMPER_ASSIGN_OR_RETURN(std::unique_ptr<ProblemSource> problems,
                          context.inputs->TrainProblems(*context.stage));
  TEMPER_ASSIGN_OR_RETURN(const std::unique_ptr<RewardPool> rewards,
                          RewardPool::Create(config.reward, RewardThreads(context)));
  Engine engine(policy.model.get(), EngineOptionsOf(config.sampling));
  RolloutWorker worker(&engine, policy.tokenizer.get(), mesh);
  context.progress->Start(context.stage->name, config.prompts);

  // Groups that an interrupted run left in the records are not sampled again, so the whole of it is a loop.
  std::string dataset;
  Fates fates;
  Asked asked(context, *policy.tokenizer);
  const auto keep = [&](const std::vector<Group>& groups) {
    absl::Status status;
    for (const Group& group : groups) {
      if (status.ok()) status = Keep(group, config, asked, &dataset, &fates);
    }
    return status;
  };
  Communicator& world = mesh.world();
  world.Announce("samples");
  for (int64_t first = 0, rollout = 0; first < config.prompts; first += kCollectedTogether, ++rollout) {
    RolloutRequest request;
    request.seed = context.recipe->seed;
    request.stage = context.stage->name;
    request.rollout = rollout;
    TEMPER_ASSIGN_OR_RETURN(request.prompts,
                            problems->Take(first, std::min(kCollectedTogether, config.prompts - first)));
    request.samples_per_prompt = config.samples_per_prompt;
    request.sampling = config.sampling.For(policy.tokenizer->eos_ids(), policy.tokenizer.get());
    request.records = RolloutRecords(context.directory, rollout);
    RolloutCounts counts;
    const TraceSpan span("phase", "collect");
    TEMPER_ASSIGN_OR_RETURN(
        std::vector<Group> groups,
        worker.Collect(request, *rewards, RolloutProgress(context), context.stop, &counts));
    if (context.sums != nullptr) TEMPER_RETURN_IF_ERROR(context.sums->AddRecords(request.records));
    // The first rank makes the dataset, of texts that it alone has.
    Deliver(mesh, mesh, Contents::kTexts, std::vector<int>(groups.size(), 0), &groups);
    TEMPER_RETURN_IF_ERROR(AllRanksOk(mesh.is_first() ? keep(groups) : absl::OkStatus(), world));
    context.progress->Step(std::min(first + kCollectedTogether, config.prompts),
                           absl::StrCat("kept ", fates.kept));
  }
  context.progress->Finish();
  const std::string text = absl::StrCat("stage ", context.stage->name, ": ", fates.Text(config));
  const bool nothing = mesh.is_first() && fates.kept == 0;
  TEMPER_RETURN_IF_ERROR(
      AllRanksOk(nothing ? absl::InvalidArgumentError(absl::StrCat(text, ": there is nothing to train on"))
                         : absl::OkStatus(),
                 world));
  if (!mesh.is_first()) return absl::OkStatus();
  LogInfo(text);
  TEMPER_RETURN_IF_ERROR(WriteFileAtomic(DatasetPath(context.directory), dataset, context.lock));
  return context.sums->Add(DatasetPath(context.directory));
}

}  // namespace temper
