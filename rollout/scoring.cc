// SPDX-License-Identifier: Apache-2.0
#include "rollout/scoring.h"

#include <algorithm>
#include <string>
#include <utility>

#include "core/files/file.h"
#include "core/status.h"
#include "rollout/group_table.h"

namespace temper {

absl::Status Records::Open() {
  if (request_.records.empty()) return absl::OkStatus();
  absl::MutexLock lock(&mutex_);
  const size_t slash = request_.records.find_last_of('/');
  if (slash != std::string::npos) status_ = MakeDirectories(request_.records.substr(0, slash + 1));
  if (!status_.ok()) return status_;
  TEMPER_ASSIGN_OR_RETURN(writer_, RecordWriter::Open(RecordPath(request_.records, rank_)));
  return absl::OkStatus();
}

void Records::Write(const Prompt* prompt, const Trajectory& trajectory) {
  absl::MutexLock lock(&mutex_);
  if (writer_ == nullptr || !status_.ok()) return;
  if (written_.insert(prompt).second) {
    status_ = writer_->WritePrompt(request_.stage, request_.rollout, *prompt);
    if (!status_.ok()) return;
  }
  status_ = writer_->WriteTrajectory(trajectory);
}

absl::Status Records::status() const {
  absl::MutexLock lock(&mutex_);
  return status_;
}

absl::Status Records::Sync() {
  absl::MutexLock lock(&mutex_);
  if (writer_ != nullptr && status_.ok()) status_ = writer_->Sync();
  return status_;
}

void Scoring::Submit(const Prompt* prompt, Trajectory trajectory, size_t count) {
  samples_.push_back(std::move(trajectory));
  std::vector<Trajectory*>& gathered = gathered_[prompt];
  gathered.push_back(&samples_.back());
  if (pool_->judges_groups() && gathered.size() < count) return;
  std::sort(gathered.begin(), gathered.end(),
            [](const Trajectory* a, const Trajectory* b) { return a->sample < b->sample; });
  Judge({prompt, std::move(gathered)}, [this](const Unit& unit) {
    const bool judged = std::all_of(unit.trajectories.begin(), unit.trajectories.end(),
                                    [](const Trajectory* trajectory) { return Judged(*trajectory); });
    if (judged) return Write(unit);
    absl::MutexLock lock(&mutex_);
    again_.push_back(unit);
  });
  gathered_.erase(prompt);
}

absl::Status Scoring::Finish(absl::FunctionRef<bool()> stop) {
  const absl::Status stopped = absl::CancelledError("stopped on request");
  if (!pool_->Wait(stop)) return stopped;
  std::vector<Unit> again;
  {
    absl::MutexLock lock(&mutex_);
    again.swap(again_);
  }
  for (const Unit& unit : again) Judge(unit, [this](const Unit& judged) { Write(judged); });
  return pool_->Wait(stop) ? absl::OkStatus() : stopped;
}

template <class Then>
void Scoring::Judge(const Unit& unit, Then then) {
  std::vector<Completion> completions;
  for (const Trajectory* trajectory : unit.trajectories) {
    completions.push_back({.prompt = unit.prompt,
                           .text = trajectory->text,
                           .stop = trajectory->stop,
                           .tokens = trajectory->sampled()});
  }
  pool_->Submit(std::move(completions), [unit, then](RewardPool::Verdicts verdicts) {
    for (size_t i = 0; i < verdicts.size(); ++i) unit.trajectories[i]->verdicts = std::move(verdicts[i]);
    then(unit);
  });
}

void Scoring::Write(const Unit& unit) {
  for (const Trajectory* trajectory : unit.trajectories) records_->Write(unit.prompt, *trajectory);
}

}  // namespace temper
