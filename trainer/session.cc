// SPDX-License-Identifier: Apache-2.0
#include "trainer/session.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "comm/check.h"
#include "comm/watchdog.h"
#include "core/files/disk.h"
#include "core/files/file.h"
#include "core/files/leftovers.h"
#include "core/host.h"
#include "core/log.h"
#include "core/memory.h"
#include "core/random.h"
#include "core/status.h"
#include "core/stop.h"
#include "core/text.h"
#include "core/trace.h"
#include "data/tokenizer/folder.h"
#include "trainer/inputs/inputs.h"
#include "trainer/run_directory/intact.h"
#include "trainer/run_directory/journal.h"
#include "trainer/run_directory/run_directory.h"
#include "trainer/run_directory/sums.h"

namespace temper {
namespace {

// So many updates in a row whose gradients were out of range, or all of a stage, end the run: it learns
// nothing.
constexpr int64_t kMostOutOfRange = 10;

absl::StatusOr<PolicyFiles> DrawPolicy(const InitConfig& init, const StageContext& context) {
  PolicyFiles files;
  TEMPER_ASSIGN_OR_RETURN(files.config, ReadPolicyConfig(init.directory));
  files.config.mtp = context.stage->mtp();
  const InitScales scales{static_cast<float>(init.embedding_std), static_cast<float>(init.linear_gain),
                          static_cast<float>(init.head_gain)};
  files.parameters =
      InitializeParameters(files.config, RandomKey(context.recipe->seed, context.stage->name, 0, "init"),
                           scales, context.mesh->place());
  TEMPER_RETURN_IF_ERROR(CheckStop());
  return files;
}

// References that no checkpoint names any more.
absl::Status RemoveOldReferences(const std::string& directory, const std::string& used) {
  TEMPER_ASSIGN_OR_RETURN(const std::vector<std::string> checkpoints,
                          Checkpoints(CheckpointsDirectory(directory)));
  std::set<std::string> kept = {used};
  for (const std::string& checkpoint : checkpoints) {
    const absl::StatusOr<TrainingState> state = ReadTrainingState(checkpoint);
    if (state.ok()) kept.insert(state->reference);
  }
  TEMPER_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDirectory(directory));
  for (const std::string& name : names) {
    if (absl::StartsWith(name, "reference-") && kept.count(name) == 0)
      TEMPER_RETURN_IF_ERROR(RemoveWhole(directory + "/" + name));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<TrainingSession>> TrainingSession::Open(const StageContext& context,
                                                                       const UpdatesConfig& updates,
                                                                       const InitConfig* init) {
  auto session = std::unique_ptr<TrainingSession>(new TrainingSession(context));
  session->updates_ = updates;
  session->repeated_updates_ = context.repeated_updates;
  session->started_ = session->saved_ = std::chrono::steady_clock::now();
  const std::string& checkpoint = context.checkpoint;
  const PolicyUse use = {.trained = true,
                         .bf16 = context.recipe->bf16(),
                         .cache = context.recipe->cache,
                         .mtp = context.stage->mtp(),
                         .mesh = context.mesh};
  OpenedPolicy policy;
  if (!checkpoint.empty()) {
    session->state_ = context.state;
    TEMPER_RETURN_IF_ERROR(context.inputs->CheckRows(*context.stage, context.state.rows));
    session->seconds_before_ = session->state_.seconds;
    session->saved_step_ = session->state_.step;
    session->tokenizer_directory_ = checkpoint;
    TEMPER_ASSIGN_OR_RETURN(policy, OpenPolicy(checkpoint, context.backend, use));
  } else if (init != nullptr) {
    session->tokenizer_directory_ = init->directory;
    TEMPER_ASSIGN_OR_RETURN(PolicyFiles files, DrawPolicy(*init, context));
    TEMPER_ASSIGN_OR_RETURN(policy, MakePolicy(std::move(files), init->directory, context.backend, use));
  } else {
    session->tokenizer_directory_ = context.from_directory;
    TEMPER_ASSIGN_OR_RETURN(policy, OpenPolicy(context.from_directory, context.backend, use));
  }
  session->state_.rows = context.inputs->RowsOf(*context.stage);
  session->tokenizer_files_ = TokenizerFileNames(session->tokenizer_directory_);
  session->tokenizer_ = std::move(policy.tokenizer);
  session->read_bytes_ = policy.bytes_read;
  session->model_ = std::move(policy.model);
  if (context.stage->kind == StageKind::kRl) session->OpenSampler();
  session->optimizer_ = std::make_unique<Optimizer>(session->model_.get());
  if (!checkpoint.empty())
    TEMPER_RETURN_IF_ERROR(LoadOptimizer(checkpoint, session->model_.get(), session->optimizer_.get()));
  session->model_->WeightsChanged(session->state_.policy_version);
  const StepOptions options{
      updates.tokens_per_microbatch,   updates.gradient_leaves,      updates.keep,
      updates.gradient_bits,           updates.long_sequence_tokens, context.stage->mtp_weight(),
      updates.tokens_per_shared_prompt};
  session->updater_ =
      std::make_unique<Updater>(session->model_.get(), session->optimizer_.get(), options, *context.mesh);
  return session;
}

absl::Status TrainingSession::SetTotalSteps(int64_t steps) {
  total_steps_ = steps;
  const bool looks = context_.mesh->is_first() && !finished();
  return AllRanksOk(looks ? CheckRoom() : absl::OkStatus(), context_.mesh->world());
}

void TrainingSession::OpenSampler() {
  const Mesh& mesh = *context_.sampling_mesh;
  if (&mesh == context_.mesh || sampler_ != nullptr) return;
  Parameters parameters =
      WithoutNumbers(model_->config(), mesh.place(), *context_.backend, context_.recipe->bf16());
  sync_ = std::make_unique<WeightSync>(model_->config(), model_->parameters().layout(), parameters.layout());
  sampler_ = std::make_unique<CausalLm>(model_->config(), std::move(parameters), context_.backend,
                                        /*rounded=*/false, mesh);
}

void TrainingSession::Publish() {
  if (sampler_ == nullptr || std::exchange(published_, true)) return;
  const auto began = std::chrono::steady_clock::now();
  const Parameters& weights = model_->weights().computed();
  const int64_t bytes = sync_->SentBytes(weights);
  const TraceSpan span("phase", "publish", {"bytes", bytes});
  Communicator& world = context_.mesh->world();
  world.Announce("publishes the weights");
  sync_->Copy(weights, world, &sampler_->parameters());
  sampler_->WeightsChanged(model_->version());
  published_bytes_ += bytes;
  publish_seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
}

OpenedPolicy TrainingSession::TakePolicy() {
  updater_.reset();
  optimizer_.reset();
  if (context_.stage->evaluation.HeldOutProblems() > 0) {  // else nobody samples any more
    OpenSampler();
    Publish();
  }
  return {std::move(sampler_ != nullptr ? sampler_ : model_), std::move(tokenizer_)};
}

absl::StatusOr<StepResult> TrainingSession::Update(const Leaves& leaves, float temperature,
                                                   LossFunction loss) {
  const double rate = learning_rate();
  StepResult result = updater_->Update(leaves, temperature, updates_.optimizer, rate, loss);
  if (!result.skipped) state_.out_of_range = result.applied ? 0 : state_.out_of_range + 1;
  absl::Status finite = AllRanksOk(CheckFinite(result, rate), context_.mesh->world());
  if (!finite.ok() && saving_ != nullptr) {
    FinishSave().IgnoreError();  // if it comes to stand it is the last good state, to be named
    finite = AllRanksOk(CheckFinite(result, rate), context_.mesh->world());
  }
  TEMPER_RETURN_IF_ERROR(finite);
  ++state_.step;
  model_->WeightsChanged(++state_.policy_version);
  published_ = false;
  if (!result.applied && context_.mesh->is_first() && warned_.insert("updates/out_of_range").second)
    LogWarning("stage ", context_.stage->name, ", update ", state_.step, ": ", OutOfRangeText(),
               ": the update is skipped (updates/out_of_range counts them): ", SettingsText(rate));
  const MeshSizes& sizes = context_.mesh->sizes();
  if (sizes.pp > 1 && result.microbatches > 0 && context_.mesh->is_first() && warned_.insert("bubble").second)
    LogInfo("stage ", context_.stage->name, ", update ", state_.step, ": ",
            BubbleText(sizes.pp_schedule, {sizes.pp, sizes.chunks(), result.microbatches}, result.bubble));
  alarms_ = AlarmsOf(result, model_->config().vocab_size);
  for (const Alarm& alarm : alarms_) {
    if (!context_.mesh->is_first() || !warned_.insert(alarm.figure).second) continue;
    LogWarning("stage ", context_.stage->name, ", update ", state_.step, ": ", alarm.figure, ": ", alarm.text,
               ", which is beyond sense: ", SettingsText(rate));
  }
  return result;
}

std::string TrainingSession::SettingsText(double rate) const {
  const OptimizerConfig& optimizer = updates_.optimizer;
  const RlConfig& rl = context_.stage->rl;
  const std::string of_rl =
      context_.stage->kind == StageKind::kRl
          ? absl::StrFormat("rl.kl_coef (%g), the weights of rl.reward, ", rl.loss.kl_coef)
          : "";
  return absl::StrFormat(
      "look at optimizer.learning_rate (%g), beta1 (%g), beta2 (%g), epsilon (%g), clip_norm (%g), %sand at "
      "the weights that the stage began with",
      rate, optimizer.beta1, optimizer.beta2, optimizer.epsilon, optimizer.clip_norm, of_rl);
}

std::string TrainingSession::OutOfRangeText() const {
  const auto bits = static_cast<double>(updates_.gradient_bits);
  return absl::StrFormat(
      "the gradient of one of the %d gradient_leaves has a value that is not finite, or is %g or more "
      "(fewer gradient_bits than %d take larger ones)",
      updates_.gradient_leaves, std::exp2(62 - bits) / static_cast<double>(updates_.gradient_leaves),
      updates_.gradient_bits);
}

// Every rank takes the same step, so that all see the same; one whose memory broke is told of.
absl::Status TrainingSession::CheckFinite(const StepResult& result, double rate) const {
  if (result.not_finite.empty() && state_.out_of_range < std::min(kMostOutOfRange, total_steps_))
    return absl::OkStatus();
  const std::string what =
      result.applied
          ? absl::StrCat("AdamW made a weight or a moment of ", result.not_finite, " NaN or infinite")
          : absl::StrCat(OutOfRangeText(), ", the ", state_.out_of_range, "th time in a row");
  TEMPER_ASSIGN_OR_RETURN(const std::string checkpoint,
                          LatestCheckpoint(CheckpointsDirectory(context_.directory)));
  return absl::InternalError(absl::StrFormat(
      "stage %s, update %d: %s: nothing of this update is kept; %s, or at this update's samples; %s",
      context_.stage->name, state_.step + 1, what, SettingsText(rate),
      checkpoint.empty()
          ? std::string("the stage has no checkpoint yet: start again with other settings")
          : absl::StrCat(checkpoint, " is the last good state; what the stage began with leads here again: ",
                         "for other settings begin it anew, without ", context_.directory)));
}

absl::Status TrainingSession::FinishStep(const Figures& figures, const std::string& status_text) {
  if (context_.metrics != nullptr) {
    TEMPER_RETURN_IF_ERROR(context_.lock->Check());
    MetricsLine line{context_.stage->name, state_.step, figures};
    for (const Alarm& alarm : alarms_) line.values.emplace_back(alarm.figure, alarm.value);
    line.values.emplace_back("time/unix_seconds", static_cast<double>(absl::ToUnixMillis(absl::Now())) / 1e3);
    line.values.emplace_back("time/checkpoint_stall", std::exchange(stalled_seconds_, 0));
    if (sampler_ != nullptr) {
      line.values.emplace_back("time/publish_seconds", std::exchange(publish_seconds_, 0));
      line.values.emplace_back("system/published_bytes",
                               static_cast<double>(std::exchange(published_bytes_, 0)));
    }
    line.values.emplace_back("system/weights_read_bytes", static_cast<double>(std::exchange(read_bytes_, 0)));
    line.values.emplace_back("resume/repeated_updates", std::exchange(repeated_updates_, 0));
    TEMPER_RETURN_IF_ERROR(context_.metrics->Write(line));
  }
  context_.progress->Step(state_.step, status_text);
  if (context_.watchdog != nullptr) context_.watchdog->Step();
  // Ranks agree on stopping here, so that none waits for one that left.
  const bool stop = context_.mesh->world().Sum(context_.stop() ? 1 : 0) > 0;
  stops_ = stop;
  if (saving_ != nullptr && saving_->IsOver(context_.mesh->world())) TEMPER_RETURN_IF_ERROR(FinishSave());
  // Ranks agree on whether to keep this update, too: the first rank's clock decides.
  absl::StatusOr<bool> wanted = false;
  if (context_.mesh->is_first()) wanted = CheckpointDue(figures);
  TEMPER_RETURN_IF_ERROR(AllRanksOk(wanted.status(), context_.mesh->world()));
  const bool due = context_.mesh->world().Sum(*wanted ? 1 : 0) > 0 || finished();
  if (due) TEMPER_RETURN_IF_ERROR(Save());
  return stop && !finished() ? Stopped() : absl::OkStatus();
}

absl::Status TrainingSession::Stopped() {
  stops_ = true;
  if (state_.step > saved_step_) TEMPER_RETURN_IF_ERROR(Save());
  TEMPER_RETURN_IF_ERROR(FinishSave());
  const std::string name = absl::StrCat("stopped on request, stage ", context_.stage->name);
  return absl::CancelledError(state_.step == 0 ? absl::StrCat(name, " before its first update")
                                               : absl::StrCat(name, " after update ", state_.step, " of ",
                                                              total_steps_, "; it is saved"));
}

absl::Status TrainingSession::StoppedMeasuring(const Figures& figures) {
  state_.cut_off = Json::object();
  for (const auto& [name, value] : figures) state_.cut_off[name] = value;
  for (const Alarm& alarm : alarms_) state_.cut_off[alarm.figure] = alarm.value;
  return Stopped();
}

Figures TrainingSession::TakeCutOff() {
  Figures figures;
  const Json cut_off = std::exchange(state_.cut_off, nullptr);
  for (const auto& [name, value] : cut_off.items())
    figures.emplace_back(name, value.is_number() ? value.get<double>() : std::nan(""));
  return figures;
}

absl::StatusOr<bool> TrainingSession::CheckpointDue(const Figures& figures) {
  const auto every = [&](int64_t updates) { return updates > 0 && state_.step % updates == 0; };
  state_.milestone = every(updates_.keep_every);
  TEMPER_ASSIGN_OR_RETURN(const bool best, IsBest(figures));
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - saved_).count();
  const absl::Duration between = updates_.checkpoint_minutes
                                     ? absl::Minutes(*updates_.checkpoint_minutes)
                                     : BetweenCheckpoints(saving_cost_, context_.mesh->world().size());
  // Nothing waits for a disk that is slower than that: by the clock none is due while one is being written.
  const bool late = saving_ == nullptr && between > absl::ZeroDuration() && absl::Seconds(seconds) >= between;
  return late || every(updates_.checkpoint_every) || state_.milestone || best;
}

absl::StatusOr<bool> TrainingSession::IsBest(const Figures& figures) {
  const std::string& name = updates_.keep_best;
  if (state_.best.figure != name) state_.best = {.figure = name};
  if (name.empty()) return false;
  const bool lowest = name[0] == '-';
  for (const auto& [figure, value] : figures) {
    if (figure != name.substr(lowest ? 1 : 0)) continue;
    const TrainingState::Best& best = state_.best;
    const bool better =
        std::isfinite(value) && (best.step == 0 || (lowest ? value < best.value : value > best.value));
    if (better) state_.best = {name, state_.step, value};
    return better;
  }
  return false;  // an evaluation is not of every update
}

absl::Status TrainingSession::Save() {
  const TraceSpan span("phase", "checkpoint");
  TEMPER_RETURN_IF_ERROR(FinishSave());
  const auto began = std::chrono::steady_clock::now();
  saved_step_ = state_.step;
  state_.seconds = seconds_before_ + std::chrono::duration<double>(began - started_).count();
  Communicator& world = context_.mesh->world();
  TEMPER_RETURN_IF_ERROR(AllRanksOk(context_.mesh->is_first() ? BeforeSave() : absl::OkStatus(), world));
  // Where nothing is trained meanwhile a copy helps nobody.
  const bool in_background = !finished() && !stops_ && InBackgroundHere();
  // Weights and two moments, written and read again.
  world.Announce("writes a checkpoint", OnSlowDisk(24 * model_->weights().TrainedFloats()));
  absl::StatusOr<std::unique_ptr<BackgroundCheckpoint>> begun = BackgroundCheckpoint::Begin(
      CheckpointsDirectory(context_.directory), {*model_, tokenizer_directory_, *optimizer_, state_},
      {.keep_last = updates_.keep_last,
       .lock = context_.lock,
       .in_background = in_background,
       .before = [this] { return SyncWhatItCounts(); },
       // What is trained from here on is not in it.
       .stands = [this, step = state_.step,
                  holds = in_background ? absl::Now()
                                        : absl::InfiniteFuture()] { return NoteSaved(step, holds); }},
      world);
  TEMPER_RETURN_IF_ERROR(OrLost(begun.status()));
  saving_ = *std::move(begun);
  world.Announce("has copied what a checkpoint holds");
  saved_ = std::chrono::steady_clock::now();
  saving_cost_ = absl::ZeroDuration();
  NoteStall(began);
  return in_background ? absl::OkStatus() : FinishSave();
}

absl::Status TrainingSession::FinishSave() {
  if (saving_ == nullptr) return absl::OkStatus();
  const TraceSpan span("phase", "checkpoint");
  const auto began = std::chrono::steady_clock::now();
  Communicator& world = context_.mesh->world();
  world.Announce("writes a checkpoint", OnSlowDisk(24 * model_->weights().TrainedFloats()));
  const std::unique_ptr<BackgroundCheckpoint> saved = std::move(saving_);
  TEMPER_RETURN_IF_ERROR(OrLost(saved->Finish(world)));
  // The files that were opened first may be gone by now.
  tokenizer_directory_ = CheckpointsDirectory(context_.directory) + "/" + CheckpointName(saved->step());
  const absl::Status after = context_.mesh->is_first() ? AfterSave() : absl::OkStatus();
  // The first rank was silent up to here: it removes and looks at many files.
  world.Announce("has written a checkpoint");
  NoteStall(began);
  return after;
}

void TrainingSession::NoteStall(std::chrono::steady_clock::time_point began) {
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  stalled_seconds_ += seconds;
  saving_cost_ += absl::Seconds(seconds);
}

absl::Status TrainingSession::OrLost(const absl::Status& status) const {
  if (status.ok() || !context_.mesh->is_first()) return status;
  const absl::Status lost = context_.lock->Check();
  return lost.ok() ? status : lost;
}

absl::Status TrainingSession::SyncWhatItCounts() const {
  TEMPER_RETURN_IF_ERROR(context_.metrics->Sync());
  return context_.sums->Sync();
}

absl::Status TrainingSession::NoteSaved(int64_t step, absl::Time holds) const {
  return context_.journal->Add(
      "saved", {{"stage", context_.stage->name},
                {"step", step},
                {"holds", static_cast<double>(absl::ToUnixMillis(std::min(holds, absl::Now()))) / 1e3}});
}

absl::Status TrainingSession::AfterSave() {
  TEMPER_RETURN_IF_ERROR(context_.lock->Check());
  TEMPER_RETURN_IF_ERROR(RemoveOldReferences(context_.directory, state_.reference));
  TEMPER_RETURN_IF_ERROR(CheckThere(context_, state_));
  return finished() || stops_ ? absl::OkStatus() : CheckRoom();
}

bool TrainingSession::InBackgroundHere() {
  Communicator& world = context_.mesh->world();
  const InBackground asked = updates_.checkpoint_in_background;
  if (asked != InBackground::kAuto) return asked == InBackground::kYes;
  return CopiesHaveRoom(BytesOfCopy(*model_, world.rank()), ThisHost(), MemoryThatIsFree().bytes, world);
}

absl::Status TrainingSession::CheckRoom() const {
  const std::string directory = CheckpointsDirectory(context_.directory);
  const int64_t needed = BytesOfCheckpoint(*model_);
  const std::optional<int64_t> free = FreeBytes(directory);
  if (!free || *free >= needed) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat(
      Printable(directory, 1000), ": the disk is full: the next checkpoint takes ", MebibytesText(needed),
      ", and ", MebibytesText(*free), " are free: make room for ", MebibytesText(needed - *free), " more; ",
      saved_step_ > 0 ? absl::StrCat("all up to update ", saved_step_, " is saved")
                      : std::string("nothing of this stage was trained yet")));
}

absl::Status TrainingSession::BeforeSave() {
  TEMPER_RETURN_IF_ERROR(context_.lock->Check());
  state_.metrics = context_.metrics->extent();
  state_.sums = context_.sums->extent();
  for (const std::string& name : tokenizer_files_) {
    const std::string path = tokenizer_directory_ + "/" + name;
    if (FileExists(path)) continue;
    return absl::FailedPreconditionError(absl::StrCat(
        Printable(path, 1000),
        ": was removed while the run goes on, and no checkpoint is whole without it: restore it and start "
        "again, from the newest checkpoint that is there"));
  }
  return absl::OkStatus();
}

}  // namespace temper
