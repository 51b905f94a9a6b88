// SPDX-License-Identifier: Apache-2.0
#include "trainer/reference.h"

#include "absl/strings/str_format.h"
#include "comm/check.h"
#include "core/files/file.h"
#include "core/status.h"
#include "model/files/hugging_face.h"
#include "model/policy.h"
#include "trainer/run_directory/checkpoint.h"
#include "trainer/run_directory/sums.h"

namespace temper {

absl::StatusOr<std::unique_ptr<ReferencePolicy>> ReferencePolicy::Open(TrainingSession& session) {
  auto reference = std::make_unique<ReferencePolicy>();
  if (session.context().stage->rl.reference_in_memory) TEMPER_RETURN_IF_ERROR(reference->Read(session));
  return reference;
}

absl::StatusOr<CausalLm*> ReferencePolicy::Take(TrainingSession& session) {
  if (model_ == nullptr) {
    session.FreeGradients();
    session.context().mesh->world().Announce("reads the reference",
                                             OnSlowDisk(4 * session.model().weights().TrainedFloats()));
    TEMPER_RETURN_IF_ERROR(AllRanksOk(Read(session), session.context().mesh->world()));
  }
  return model_.get();
}

void ReferencePolicy::LetGo(const TrainingSession& session) {
  if (!session.context().stage->rl.reference_in_memory) model_.reset();
}

absl::Status ReferencePolicy::Read(TrainingSession& session) {
  const StageContext& context = session.context();
  const std::string& name = session.state().reference;
  // One that becomes the policy where it lies needs the policy's numbers.
  const RlConfig& rl = context.stage->rl;
  const bool bf16 = context.recipe->bf16(),
             refreshed = rl.reference_in_memory && rl.reference_refresh_steps > 0;
  const std::string directory = name.empty() ? context.from_directory : context.directory + "/" + name;
  TEMPER_ASSIGN_OR_RETURN(ModelConfig config, ReadPolicyConfig(directory));
  config.mtp = context.stage->mtp();  // the policy's weights, in its order
  TEMPER_ASSIGN_OR_RETURN(PolicyFiles files,
                          ReadPolicy(directory, std::move(config),
                                     {bf16 || !refreshed ? WeightNumbers::kAsStored : WeightNumbers::kF32,
                                      context.mesh->place()}));
  model_ = PolicyOf(std::move(files), context.backend,
                    {.bf16 = bf16, .cache = context.recipe->cache, .mesh = context.mesh});
  return absl::OkStatus();
}

absl::Status ReferencePolicy::Refresh(TrainingSession& session) {
  const StageContext& context = session.context();
  const std::string name = absl::StrFormat("reference-%06d", session.state().step);
  Communicator& world = context.mesh->world();
  world.Announce("writes a reference", OnSlowDisk(4 * session.model().weights().TrainedFloats()));
  absl::StatusOr<std::unique_ptr<AtomicDirectory>> files = nullptr;
  if (context.mesh->is_first()) files = AtomicDirectory::Create(context.directory + "/" + name, context.lock);
  TEMPER_RETURN_IF_ERROR(AllRanksOk(files.status(), world));
  const std::string temporary =
      world.AllGather(context.mesh->is_first() ? (*files)->temporary() : std::string())[0];
  TEMPER_RETURN_IF_ERROR(
      WritePolicy(session.model().config(), session.model().weights().computed(), "", temporary, {&world}));
  TEMPER_ASSIGN_OR_RETURN(session.mutable_state().reference_checksums, SumsOfFolder(temporary, world));
  TEMPER_RETURN_IF_ERROR(AllRanksOk(context.mesh->is_first() ? (*files)->Commit() : absl::OkStatus(), world));
  world.Announce("has written a reference");
  session.mutable_state().reference = name;
  if (model_ == nullptr) return absl::OkStatus();
  std::vector<Parameter>& mine = model_->parameters().list();
  const std::vector<Parameter>& theirs = session.model().weights().computed().list();
  // What is not trained is what it was, and may lie here as it is stored.
  for (size_t i = 0; i < mine.size(); ++i)
    if (theirs[i].trained) CopyTensor(theirs[i].value, mine[i].value);
  model_->WeightsChanged(session.model().version());
  return absl::OkStatus();
}

}  // namespace temper
