// SPDX-License-Identifier: Apache-2.0
#include "trainer/run_directory/checkpoint.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <filesystem>
#include <set>
#include <system_error>

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "comm/check.h"
#include "core/files/file.h"
#include "core/files/leftovers.h"
#include "core/files/sealed.h"
#include "core/json/json.h"
#include "core/status.h"
#include "model/files/hugging_face.h"
#include "model/files/shared_tensors.h"
#include "trainer/run_directory/optimizer_files.h"
#include "trainer/run_directory/run_directory.h"
#include "trainer/run_directory/sums.h"

namespace temper {
namespace {

constexpr int64_t kFormat = 2;

// The step of a checkpoint's folder; -1: it is another folder.
int64_t StepOf(absl::string_view name) {
  int64_t step = -1;
  const bool is = absl::ConsumePrefix(&name, "step-") && absl::c_all_of(name, absl::ascii_isdigit);
  return is && absl::SimpleAtoi(name, &step) ? step : -1;
}

std::string NameOf(const std::string& path) { return path.substr(path.rfind('/') + 1); }

Json BestJson(const TrainingState::Best& best) {
  return {{"figure", best.figure}, {"step", best.step}, {"value", best.value}};
}

// What older versions do not say in state.json.
absl::Status ReadNewer(const Json& json, const std::string& path, TrainingState* state) {
  const Json *milestone = Find(json, "milestone"), *best = Find(json, "best");
  state->milestone = milestone != nullptr && *milestone == true;
  state->numerics = 1;
  if (Find(json, "numerics") != nullptr) {
    TEMPER_ASSIGN_OR_RETURN(state->numerics, GetInt(json, "numerics", path));
  }
  if (Find(json, "out_of_range") != nullptr) {
    TEMPER_ASSIGN_OR_RETURN(state->out_of_range, GetInt(json, "out_of_range", path));
  }
  if (best == nullptr) return absl::OkStatus();
  TEMPER_ASSIGN_OR_RETURN(state->best.figure, GetString(*best, "figure", path));
  TEMPER_ASSIGN_OR_RETURN(state->best.step, GetInt(*best, "step", path));
  TEMPER_ASSIGN_OR_RETURN(state->best.value, GetDouble(*best, "value", path));
  return absl::OkStatus();
}

absl::StatusOr<Json> ReadState(const std::string& checkpoint) {
  const std::string path = StatePath(checkpoint);
  if (!FileExists(path))
    return absl::DataLossError(absl::StrCat(path, ": is missing: the checkpoint is damaged"));
  absl::StatusOr<Json> sealed = ReadSealedJson(path);
  absl::StatusOr<Json> json = sealed;
  if (absl::IsDataLoss(sealed.status())) {  // the first format had no seal
    TEMPER_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, 1 << 26));
    json = ParseJson(text, path);
    if (json.ok() && (Find(*json, "format") == nullptr || *Find(*json, "format") != 1)) return sealed;
  }
  const Json* const format = json.ok() ? Find(*json, "format") : nullptr;
  if (format == nullptr || *format == kFormat) return sealed;
  return absl::FailedPreconditionError(absl::StrCat(path, ": format ", DumpJson(*format),
                                                    ", but this temper reads format ", kFormat,
                                                    ": continue the run with the version that began it"));
}

// Whether the checkpoint's files are what state.json says.
absl::Status CheckAgainst(const Json& json, const std::string& checkpoint, const FileReader& reader) {
  const std::string path = StatePath(checkpoint);
  TEMPER_ASSIGN_OR_RETURN(const int64_t step, GetInt(json, "step", path));
  const int64_t named = StepOf(NameOf(checkpoint));
  if (named >= 0 && named != step) {
    return absl::DataLossError(
        absl::StrCat(path, ": step ", step, " is not that of the folder's name: the checkpoint is damaged"));
  }
  const Json* written = Find(json, "checksums");
  if (written == nullptr) return absl::DataLossError(absl::StrCat(path, ": checksums: missing"));
  return CheckFolder(checkpoint, *written, reader);
}

// One that cannot be read stays: it may be a milestone.
absl::Status RemoveOlder(const std::string& directory, const TrainingState& state, int64_t keep_last) {
  TEMPER_ASSIGN_OR_RETURN(std::vector<std::string> all, Checkpoints(directory));
  while (!all.empty() && StepOf(NameOf(all.back())) > state.step) all.pop_back();
  for (size_t i = 0; i + keep_last < all.size(); ++i) {
    if (StepOf(NameOf(all[i])) == state.best.step) continue;
    const absl::StatusOr<TrainingState> old = ReadTrainingState(all[i]);
    if (old.ok() && !old->milestone) TEMPER_RETURN_IF_ERROR(RemoveWhole(all[i]));
  }
  return absl::OkStatus();
}

OptimizerPart PartOf(const CausalLm& model, const Optimizer& optimizer) {
  return {model.config(), model.parameters(), model.weights().rounded(), optimizer.m(), optimizer.v()};
}

// Beside a folder that is not yet a checkpoint: what each rank's thread has written, {"PATH": its CRC-32C}.
// Not in it: a note that is late, or that others still see, is no file of the checkpoint.
std::string NotesDirectory(const std::string& temporary) { return temporary + ".written.tmp"; }

absl::StatusOr<std::unique_ptr<AtomicDirectory>> BeginCheckpoint(const std::string& directory, int64_t step,
                                                                 const CheckpointOptions& options) {
  TEMPER_RETURN_IF_ERROR(MakeDirectories(directory));
  TEMPER_ASSIGN_OR_RETURN(std::unique_ptr<AtomicDirectory> files,
                          AtomicDirectory::Create(directory + "/" + CheckpointName(step), options.lock));
  TEMPER_RETURN_IF_ERROR(MakePassingDirectory(StateDirectory(files->temporary())));
  if (options.in_background) TEMPER_RETURN_IF_ERROR(MakePassingDirectory(NotesDirectory(files->temporary())));
  return files;
}

Json StateJson(const TrainingState& state, int64_t optimizer_steps, const Json& checksums) {
  return {{"format", kFormat},
          {"numerics", state.numerics},
          {"step", state.step},
          {"policy_version", state.policy_version},
          {"optimizer_steps", optimizer_steps},
          {"metrics", ExtentJson(state.metrics)},
          {"sums", ExtentJson(state.sums)},
          {"reference", state.reference},
          {"reference_checksums", state.reference_checksums},
          {"rows", state.rows},
          {"cut_off", state.cut_off},
          {"seconds", state.seconds},
          {"milestone", state.milestone},
          {"out_of_range", state.out_of_range},
          {"best", BestJson(state.best)},
          {"checksums", checksums}};
}

absl::Status CheckFinite(const CausalLm& model, const Optimizer& optimizer) {
  ThreadPool& pool = model.backend().pool();
  const auto check = [&pool](const std::string& what, const at::Tensor& tensor) -> absl::Status {
    constexpr int64_t kPiece = int64_t{1} << 18;
    const at::Tensor host = OnHost(tensor);
    const float* data = host.const_data_ptr<float>();
    std::atomic<bool> any = false;
    pool.ParallelFor(host.numel(), kPiece, [&](int64_t begin, int64_t end) {
      // All ones in the exponent: infinite or NaN. In this form the compiler takes many at once.
      uint32_t bad = 0;
      for (int64_t i = begin; i < end; ++i)
        bad |= (std::bit_cast<uint32_t>(data[i]) & 0x7f800000u) == 0x7f800000u ? 1u : 0u;
      if (bad != 0) any = true;
    });
    if (!any) return absl::OkStatus();
    return absl::InternalError(
        absl::StrCat(what, " has a number that is NaN or infinite: it is not saved as a checkpoint"));
  };
  for (const Parameter& parameter : model.parameters().list())
    TEMPER_RETURN_IF_ERROR(check(parameter.name, parameter.value));
  TEMPER_RETURN_IF_ERROR(check("the optimizer's first moment", optimizer.m()));
  return check("the optimizer's second moment", optimizer.v());
}

}  // namespace

absl::Status SaveCheckpoint(const std::string& directory, const CheckpointContents& contents,
                            const CheckpointOptions& options, Communicator& world) {
  CheckpointOptions written = options;
  written.in_background = false;
  TEMPER_ASSIGN_OR_RETURN(const std::unique_ptr<BackgroundCheckpoint> checkpoint,
                          BackgroundCheckpoint::Begin(directory, contents, written, world));
  return checkpoint->Finish(world);
}

absl::StatusOr<std::unique_ptr<BackgroundCheckpoint>> BackgroundCheckpoint::Begin(
    const std::string& directory, const CheckpointContents& contents, const CheckpointOptions& options,
    Communicator& world) {
  const auto& [model, tokenizer_directory, optimizer, state] = contents;
  const bool first = world.rank() == 0;
  std::unique_ptr<BackgroundCheckpoint> begun(new BackgroundCheckpoint(directory, contents, options));
  TEMPER_RETURN_IF_ERROR(AllRanksOk(CheckFinite(model, optimizer), world));
  absl::StatusOr<std::unique_ptr<AtomicDirectory>> files = nullptr;
  if (first) files = BeginCheckpoint(directory, state.step, options);
  TEMPER_RETURN_IF_ERROR(AllRanksOk(files.status(), world));
  begun->files_ = *std::move(files);
  begun->temporary_ = world.AllGather(first ? begun->files_->temporary() : std::string())[0];
  const PolicyWriting how{&world, options.file_bytes, options.in_background ? &begun->staged_ : nullptr};
  TEMPER_RETURN_IF_ERROR(
      WritePolicy(model.config(), model.weights().computed(), tokenizer_directory, begun->temporary_, how));
  TEMPER_RETURN_IF_ERROR(WriteOptimizer(begun->temporary_, PartOf(model, optimizer), how));
  begun->written_ = begun->ended_ = !options.in_background;
  if (!options.in_background) return begun;
  begun->copied_bytes_ = begun->staged_.bytes();
  const bool notes = begun->copied_bytes_ > 0 && !first;
  if (notes) begun->note_ = absl::StrCat(NotesDirectory(begun->temporary_), "/rank-", world.rank(), ".json");
  begun->others_ = static_cast<size_t>(world.Sum(notes ? 1 : 0));
  begun->thread_ = std::thread(&BackgroundCheckpoint::Write, begun.get());
  return begun;
}

BackgroundCheckpoint::~BackgroundCheckpoint() {
  if (!told_.HasBeenNotified()) told_.Notify();
  if (thread_.joinable()) thread_.join();
  RemoveNotes();  // where no thread did
}

void BackgroundCheckpoint::Write() {
  WriteAndMakeStand();
  RemoveNotes();
  ended_ = true;
}

void BackgroundCheckpoint::WriteAndMakeStand() {
  const absl::StatusOr<Sums> written = staged_.Write();
  if (!written.ok()) sums_ = written.status();
  for (const auto& [path, sum] : written.value_or(Sums())) (*sums_)[path.substr(temporary_.size() + 1)] = sum;
  // Where the note cannot be written, or is gone with its folder before it is synced, the ranks tell.
  if (sums_.ok() && !note_.empty()) WriteSealedJson(note_, Json(*sums_)).IgnoreError();
  const bool makes_stand = sums_.ok() && files_ != nullptr;
  written_ = true;
  written_.notify_all();
  if (!makes_stand) return;
  const std::optional<Sums> all = AwaitAll();
  if (!all) return;
  SelfCommunicator self;
  const absl::StatusOr<Json> checksums = SumsOfFolder(temporary_, self, *all);
  stood_ = checksums.ok() ? MakeStand(*checksums) : checksums.status();
}

std::optional<BackgroundCheckpoint::Sums> BackgroundCheckpoint::AwaitAll() const {
  constexpr absl::Duration kFirst = absl::Milliseconds(5), kLongest = absl::Seconds(1);
  Sums all = *sums_;
  std::set<std::string> seen;
  for (absl::Duration pause = kFirst; seen.size() < others_; pause = std::min(2 * pause, kLongest)) {
    const bool last = told_.HasBeenNotified();
    const absl::StatusOr<std::vector<std::string>> names = ListDirectory(NotesDirectory(temporary_));
    for (const std::string& name : names.value_or(std::vector<std::string>())) {
      if (name[0] == '.' || seen.contains(name)) continue;
      const absl::StatusOr<Json> note = ReadSealedJson(absl::StrCat(NotesDirectory(temporary_), "/", name));
      if (!note.ok()) continue;  // it is not all here yet
      for (const auto& [path, sum] : note->items()) all[path] = sum.get<uint32_t>();
      seen.insert(name);
    }
    if (seen.size() == others_) break;
    if (last) return all_;
    told_.WaitForNotificationWithTimeout(pause);
  }
  return all;
}

void BackgroundCheckpoint::TellAll(Communicator& world) {
  if (told_.HasBeenNotified()) return;
  const std::vector<std::string> written = world.Gather(sums_.ok() ? Json(*sums_).dump() : "", 0);
  if (files_ != nullptr && absl::c_count(written, "") == 0) {
    all_.emplace();
    for (const std::string& one : written) all_->merge(Json::parse(one).get<Sums>());
  }
  told_.Notify();
}

bool BackgroundCheckpoint::IsOver(Communicator& world) {
  if (world.Sum(written_ ? 0 : 1) > 0) return false;
  TellAll(world);
  return world.Sum(ended_ ? 0 : 1) == 0;
}

void BackgroundCheckpoint::RemoveNotes() const {
  if (files_ != nullptr && options_.in_background)
    RemoveTree(NotesDirectory(files_->temporary())).IgnoreError();
}

absl::Status BackgroundCheckpoint::MakeStand(const Json& checksums) {
  if (options_.before) TEMPER_RETURN_IF_ERROR(options_.before());
  TEMPER_RETURN_IF_ERROR(
      WriteSealedJson(StatePath(temporary_), StateJson(state_, optimizer_steps_, checksums)));
  TEMPER_RETURN_IF_ERROR(files_->Commit());
  if (options_.stands) TEMPER_RETURN_IF_ERROR(options_.stands());
  return RemoveOlder(directory_, state_, options_.keep_last);
}

absl::Status BackgroundCheckpoint::Finish(Communicator& world) {
  if (options_.in_background) {
    written_.wait(false);
    TellAll(world);
    if (thread_.joinable()) thread_.join();
    TEMPER_RETURN_IF_ERROR(AllRanksOk(sums_.status(), world));
    return AllRanksOk(stood_.value_or(absl::OkStatus()), world);
  }
  TEMPER_ASSIGN_OR_RETURN(const Json checksums, SumsOfFolder(temporary_, world));
  return AllRanksOk(files_ != nullptr ? MakeStand(checksums) : absl::OkStatus(), world);
}

absl::Duration BetweenCheckpoints(absl::Duration cost, int ranks) {
  constexpr absl::Duration kOfARank = absl::Hours(8000), kLeast = absl::Minutes(1), kMost = absl::Minutes(10);
  const double seconds = std::sqrt(2 * absl::ToDoubleSeconds(cost) * absl::ToDoubleSeconds(kOfARank / ranks));
  return std::clamp(absl::Seconds(seconds), kLeast, kMost);
}

namespace {

// Of each tensor of the weights' files, and of what the optimizer's have of each weight.
struct BytesOfTensors {
  explicit BytesOfTensors(const CausalLm& model) {
    const bool rounded = model.weights().rounded();
    const Layout& layout = model.parameters().layout();
    for (const auto& [name, i] : TensorsOf(model.config(), layout)) {
      const LayoutEntry& entry = layout.whole()[i];
      weights.push_back(entry.elements * (rounded && entry.trained && entry.whole.size() == 2 ? 2 : 4));
    }
    for (const LayoutEntry& entry : layout.whole())
      if (entry.trained) moments.push_back(entry.elements * (rounded ? 12 : 8));
  }
  std::vector<int64_t> weights, moments;
};

}  // namespace

int64_t BytesOfCheckpoint(const CausalLm& model) {
  constexpr int64_t kBeside = 1 << 20;  // state.json, the config, a tokenizer's files
  const BytesOfTensors bytes(model);
  return absl::c_accumulate(bytes.moments, absl::c_accumulate(bytes.weights, kBeside));
}

bool CopiesHaveRoom(int64_t mine, const std::string& machine, int64_t free, Communicator& world) {
  const Json own = {{"machine", machine}, {"bytes", mine}};
  int64_t together = 0;
  for (const std::string& one : world.AllGather(DumpJson(own))) {
    const Json theirs = Json::parse(one);
    if (theirs["machine"] == machine) together += theirs["bytes"].get<int64_t>();
  }
  return world.Sum(together <= free / 2 ? 0 : 1) == 0;
}

int64_t BytesOfCopy(const CausalLm& model, int rank, int64_t file_bytes) {
  const int ranks = static_cast<int>(RanksOf(model.parameters().layout().place().sizes));
  const BytesOfTensors bytes(model);
  return BytesOfWriter(bytes.weights, file_bytes, rank, ranks) +
         BytesOfWriter(bytes.moments, file_bytes, rank, ranks);
}

absl::StatusOr<std::vector<std::string>> Checkpoints(const std::string& directory) {
  std::vector<std::string> paths;
  if (!FileExists(directory)) return paths;
  TEMPER_ASSIGN_OR_RETURN(std::vector<std::string> names, ListDirectory(directory));
  std::stable_sort(names.begin(), names.end(),
                   [](const auto& a, const auto& b) { return StepOf(a) < StepOf(b); });
  for (const std::string& name : names) {
    if (StepOf(name) >= 0) paths.push_back(directory + "/" + name);
  }
  return paths;
}

absl::StatusOr<std::string> LatestCheckpoint(const std::string& directory) {
  TEMPER_ASSIGN_OR_RETURN(const std::vector<std::string> all, Checkpoints(directory));
  return all.empty() ? std::string() : all.back();
}

absl::StatusOr<TrainingState> ReadTrainingState(const std::string& checkpoint) {
  const std::string path = StatePath(checkpoint);
  TEMPER_ASSIGN_OR_RETURN(const Json json, ReadState(checkpoint));
  TrainingState state;
  TEMPER_ASSIGN_OR_RETURN(state.step, GetInt(json, "step", path));
  TEMPER_ASSIGN_OR_RETURN(state.policy_version, GetInt(json, "policy_version", path));
  TEMPER_ASSIGN_OR_RETURN(state.metrics, GetExtent(json, "metrics", path));
  TEMPER_ASSIGN_OR_RETURN(state.sums, GetExtent(json, "sums", path));
  TEMPER_ASSIGN_OR_RETURN(state.reference, GetString(json, "reference", path));
  TEMPER_ASSIGN_OR_RETURN(state.seconds, GetDouble(json, "seconds", path));
  const Json* const reference = Find(json, "reference_checksums");
  if (reference != nullptr) state.reference_checksums = *reference;
  const Json *const rows = Find(json, "rows"), *const cut_off = Find(json, "cut_off");
  if (rows != nullptr) state.rows = *rows;
  if (cut_off != nullptr) state.cut_off = *cut_off;
  TEMPER_RETURN_IF_ERROR(ReadNewer(json, path, &state));
  if (state.reference.find('/') != std::string::npos)
    return absl::InvalidArgumentError(absl::StrCat(path, ": reference is no plain name"));
  return state;
}

absl::Status CheckCheckpoint(const std::string& checkpoint, const FileReader& reader) {
  TEMPER_ASSIGN_OR_RETURN(const Json json, ReadState(checkpoint));
  return CheckAgainst(json, checkpoint, reader);
}

absl::Status CheckResume(const std::string& checkpoint, const std::string& stage_directory,
                         const FileReader& reader) {
  TEMPER_RETURN_IF_ERROR(CheckCheckpoint(checkpoint, reader));
  TEMPER_ASSIGN_OR_RETURN(const TrainingState state, ReadTrainingState(checkpoint));
  if (state.reference.empty()) return absl::OkStatus();
  return CheckFolder(absl::StrCat(stage_directory, "/", state.reference), state.reference_checksums, reader);
}

absl::StatusOr<std::vector<std::string>> FilesOfCheckpoint(const std::string& checkpoint) {
  std::vector<std::string> files;
  TEMPER_ASSIGN_OR_RETURN(const Json json, ReadState(checkpoint));
  const Json* const written = Find(json, "checksums");
  if (written == nullptr) return files;
  for (const auto& [file, sum] : written->items()) files.push_back(file);
  return files;
}

absl::Duration OnSlowDisk(int64_t bytes) { return absl::Seconds(bytes / 10'000'000); }

absl::Duration OnSlowDisk(const std::string& directory) {
  int64_t bytes = 0;
  std::error_code error;  // what cannot be looked at is for whoever reads it to tell
  for (std::filesystem::recursive_directory_iterator at(directory, error), end; !error && at != end;
       at.increment(error)) {
    if (at->is_regular_file(error)) bytes += static_cast<int64_t>(at->file_size(error));
  }
  return OnSlowDisk(bytes);
}

absl::Status LoadOptimizer(const std::string& checkpoint, CausalLm* model, Optimizer* optimizer) {
  TEMPER_RETURN_IF_ERROR(ReadOptimizer(checkpoint, PartOf(*model, *optimizer)));
  TEMPER_ASSIGN_OR_RETURN(const Json json, ReadState(checkpoint));
  TEMPER_ASSIGN_OR_RETURN(const int64_t steps, GetInt(json, "optimizer_steps", StatePath(checkpoint)));
  optimizer->set_steps(steps);
  return absl::OkStatus();
}

}  // namespace temper
