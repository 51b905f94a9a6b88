// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "model/policy.h"
#include "trainer/alarms.h"
#include "trainer/stage.h"
#include "trainer/update/step.h"
#include "trainer/weight_sync.h"

namespace temper {

// Figures of one step, in the order they are written.
using Figures = std::vector<std::pair<std::string, double>>;

// What sft and rl share: the policy with its optimizer, where the stage is, and what happens after each
// update. Opens the stage's newest checkpoint, or the policy it starts from.
class TrainingSession {
 public:
  // Reads context.checkpoint, else context.from_directory; pretrain's first start draws the weights
  // (`init`, else null).
  static absl::StatusOr<std::unique_ptr<TrainingSession>> Open(const StageContext& context,
                                                               const UpdatesConfig& updates,
                                                               const InitConfig* init = nullptr);

  // How many updates the stage has; known to sft only once its documents are read. Call before anything
  // below. ResourceExhausted, on every rank, where it has more to come and their checkpoint has no room.
  absl::Status SetTotalSteps(int64_t steps);

  CausalLm& model() { return *model_; }
  // The policy that samples: this one, or where that has a mesh of its own (rollout.mesh) a copy of it there,
  // as it was last published. Of rl stages: while others train, nobody samples.
  CausalLm& sampler() { return sampler_ != nullptr ? *sampler_ : *model_; }
  // Brings the sampler up to date. Collective.
  void Publish();
  const Tokenizer& tokenizer() const { return *tokenizer_; }
  const TrainingState& state() const { return state_; }
  TrainingState& mutable_state() { return state_; }
  const StageContext& context() const { return context_; }
  bool finished() const { return state_.step >= total_steps_; }
  int64_t total_steps() const { return total_steps_; }
  double learning_rate() const { return LearningRate(updates_.optimizer, state_.step, total_steps_); }

  // Takes one update and publishes the new weights under the next policy version (of an update without
  // sequences, or with a gradient that is out of range, the same weights: the latter is told once). A weight
  // or moment that is not finite, and ten gradients out of range in a row, are an error on every rank, after
  // which the session is good for nothing: what is on disk is the last good state. What is finite and
  // beyond sense is told once (trainer/alarms.h), and FinishStep keeps it.
  absl::StatusOr<StepResult> Update(const Leaves& leaves, float temperature, LossFunction loss);

  // The memory in which an update's gradient is made goes back, until the next one.
  void FreeGradients() { updater_->FreeGradients(); }

  // After an update: its metrics line and, where one is due, the checkpoint. Cancelled, with a checkpoint, if
  // a rank was asked to stop before the last update.
  absl::Status FinishStep(const Figures& figures, const std::string& status_text);

  // Where ranks agreed to stop between two updates, while they sampled: the last finished one is saved.
  // Cancelled.
  absl::Status Stopped();
  // The same in the evaluation of the last update: its figures are saved with it, and whoever goes on takes
  // them, measures, and finishes the step. Empty: there are none.
  absl::Status StoppedMeasuring(const Figures& figures);
  Figures TakeCutOff();

  // The policy as the stage leaves it, where it samples, for its evaluation. The session is over, and what
  // trains is gone. Collective.
  OpenedPolicy TakePolicy();

 private:
  explicit TrainingSession(const StageContext& context) : context_(context) {}
  // A policy for the mesh that samples, where it is another one and there is none yet.
  void OpenSampler();
  absl::Status CheckFinite(const StepResult& result, double rate) const;
  // Of a gradient that is out of range.
  std::string OutOfRangeText() const;
  // What an update went by, for people whose training has left the numbers.
  std::string SettingsText(double rate) const;
  // Whether this update is to be kept, on the first rank; notes milestones and the best.
  absl::StatusOr<bool> CheckpointDue(const Figures& figures);
  absl::StatusOr<bool> IsBest(const Figures& figures);
  // Begins a checkpoint, in the background where that may be, and where not makes it stand.
  absl::Status Save();
  // Where one is being written in the background: waits until it stands.
  absl::Status FinishSave();
  // Whether there is memory for the copy, on every machine. Collective.
  bool InBackgroundHere();
  // What the first rank sees to before, just before and once it stands (both on any thread), and when all
  // know that it does.
  absl::Status BeforeSave();
  absl::Status SyncWhatItCounts() const;
  absl::Status NoteSaved(int64_t step, absl::Time holds) const;
  absl::Status AfterSave();
  // What went wrong; or that the folder is another start's by now, which is why.
  absl::Status OrLost(const absl::Status& status) const;
  // Training was held up by a checkpoint since then.
  void NoteStall(std::chrono::steady_clock::time_point began);
  // Whether the next checkpoint has room, before updates that would be lost without it. ResourceExhausted.
  absl::Status CheckRoom() const;

  const StageContext context_;
  UpdatesConfig updates_;
  int64_t total_steps_ = 0;
  int64_t saved_step_ = 0;  // of the newest checkpoint
  std::string tokenizer_directory_;
  std::vector<std::string> tokenizer_files_;  // that lay there when the stage was opened
  std::unique_ptr<Tokenizer> tokenizer_;
  std::unique_ptr<CausalLm> model_;
  std::unique_ptr<CausalLm> sampler_;  // null: model_ is it
  std::unique_ptr<WeightSync> sync_;   // to it
  bool published_ = false;             // what it has is model_'s of that version
  double publish_seconds_ = 0;         // since the last line of metrics
  int64_t published_bytes_ = 0;        // likewise, sent by this rank
  int64_t read_bytes_ = 0;             // likewise, read of the weights' files by this rank
  std::unique_ptr<Optimizer> optimizer_;
  std::unique_ptr<Updater> updater_;
  TrainingState state_;
  std::unique_ptr<BackgroundCheckpoint> saving_;  // null: none is being written
  double stalled_seconds_ = 0;                    // by checkpoints, since the last line of metrics
  absl::Duration saving_cost_;                    // by the newest one
  std::vector<Alarm> alarms_;                     // of the last update
  std::set<std::string> warned_;                  // of them, by figure
  std::chrono::steady_clock::time_point started_, saved_;
  double seconds_before_ = 0;
  int64_t repeated_updates_ = 0;
  bool stops_ = false;  // on request: there is no next checkpoint
};

}  // namespace temper
