// SPDX-License-Identifier: Apache-2.0
#include "rollout/worker.h"

#include <algorithm>
#include <chrono>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "core/check.h"
#include "core/files/file.h"
#include "core/random.h"
#include "core/status.h"
#include "core/text.h"
#include "data/record_file.h"
#include "rollout/exchange.h"

namespace temper {
namespace {

using Clock = std::chrono::steady_clock;
double SecondsSince(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// The first infrastructure error among the verdicts; null: there is none.
const Verdict* BrokenVerdict(const Trajectory& trajectory) {
  for (const Verdict& verdict : trajectory.verdicts) {
    if (verdict.kind == VerdictKind::kInfrastructureError) return &verdict;
  }
  return nullptr;
}

bool SamePrompt(const Prompt& a, const Prompt& b) {
  return a.tokens == b.tokens && a.text == b.text && a.answer == b.answer && a.task == b.task &&
         a.fields == b.fields;
}

bool Judged(const Trajectory& trajectory) { return BrokenVerdict(trajectory) == nullptr; }

// An error where every completion has an infrastructure error: there is nothing to learn from.
absl::Status CheckJudged(const RolloutRequest& request, const std::vector<Group>& groups) {
  const Verdict* failed = nullptr;
  int64_t completions = 0;
  for (const Group& group : groups) {
    for (const Trajectory& trajectory : group.trajectories) {
      const Verdict* const broken = BrokenVerdict(trajectory);
      if (broken == nullptr) return absl::OkStatus();
      if (failed == nullptr) failed = broken;
      ++completions;
    }
  }
  if (failed == nullptr) return absl::OkStatus();
  const std::string where =
      request.stage.empty() ? "" : absl::StrCat("stage ", request.stage, ", rollout ", request.rollout, ": ");
  return absl::UnavailableError(
      absl::StrCat(where, "none of the ", completions, " completions could be judged: rule ", failed->rule,
                   ": ", Printable(failed->reason, 400), ": put that right and start again",
                   request.records.empty() ? "" : "; the run goes on from here"));
}

bool AllJudged(const std::vector<Trajectory*>& trajectories) {
  return std::all_of(trajectories.begin(), trajectories.end(),
                     [](const Trajectory* t) { return Judged(*t); });
}

std::vector<std::string> RulesOf(const std::vector<Verdict>& verdicts) {
  std::vector<std::string> rules;
  for (const Verdict& verdict : verdicts) rules.push_back(verdict.rule);
  return rules;
}

// This rank's record file; pool threads write to it. The first error stays.
class Records {
 public:
  Records(const RolloutRequest& request, int rank) : request_(request), rank_(rank) {}

  absl::Status Open() {
    if (request_.records.empty()) return absl::OkStatus();
    absl::MutexLock lock(&mutex_);
    const size_t slash = request_.records.find_last_of('/');
    if (slash != std::string::npos) status_ = MakeDirectories(request_.records.substr(0, slash + 1));
    if (!status_.ok()) return status_;
    TEMPER_ASSIGN_OR_RETURN(writer_, RecordWriter::Open(RecordPath(request_.records, rank_)));
    return absl::OkStatus();
  }
  void Write(const Prompt* prompt, const Trajectory& trajectory) {
    absl::MutexLock lock(&mutex_);
    if (writer_ == nullptr || !status_.ok()) return;
    if (written_.insert(prompt).second) {
      status_ = writer_->WritePrompt(request_.stage, request_.rollout, *prompt);
      if (!status_.ok()) return;
    }
    status_ = writer_->WriteTrajectory(trajectory);
  }
  absl::Status status() const {
    absl::MutexLock lock(&mutex_);
    return status_;
  }
  absl::Status Sync() {
    absl::MutexLock lock(&mutex_);
    if (writer_ != nullptr && status_.ok()) status_ = writer_->Sync();
    return status_;
  }

 private:
  const RolloutRequest& request_;
  const int rank_;
  mutable absl::Mutex mutex_;
  std::unique_ptr<RecordWriter> writer_ ABSL_GUARDED_BY(mutex_);
  std::set<const Prompt*> written_ ABSL_GUARDED_BY(mutex_);
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
};

// Gives finished samples to the pool, holds them while they are judged, and keeps them in the records: each
// by itself, or where a rule judges groups all of a prompt together.
class Scoring {
 public:
  Scoring(RewardPool* pool, Records* records) : pool_(pool), records_(records) {}
  ~Scoring() { pool_->Wait(); }  // it holds pointers

  // One of `count` samples of the prompt.
  void Submit(const Prompt* prompt, Trajectory trajectory, size_t count) {
    samples_.push_back(std::move(trajectory));
    std::vector<Trajectory*>& gathered = gathered_[prompt];
    gathered.push_back(&samples_.back());
    if (pool_->judges_groups() && gathered.size() < count) return;
    std::sort(gathered.begin(), gathered.end(),
              [](const Trajectory* a, const Trajectory* b) { return a->sample < b->sample; });
    Judge({prompt, std::move(gathered)}, [this](const Unit& unit) {
      if (AllJudged(unit.trajectories)) return Write(unit);
      absl::MutexLock lock(&mutex_);
      again_.push_back(unit);
    });
    gathered_.erase(prompt);
  }

  // Until all are judged and written, or until `stop` says so: then those that wait for a rule are given up.
  absl::Status Finish(absl::FunctionRef<bool()> stop) {
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

  std::deque<Trajectory>& samples() { return samples_; }

 private:
  struct Unit {
    const Prompt* prompt;
    std::vector<Trajectory*> trajectories;
  };

  template <class Then>
  void Judge(const Unit& unit, Then then) {
    std::vector<Completion> completions;
    for (const Trajectory* trajectory : unit.trajectories) {
      completions.push_back({.prompt = unit.prompt,
                             .text = trajectory->text,
                             .stop = trajectory->stop,
                             .tokens = static_cast<int64_t>(trajectory->tokens.size())});
    }
    pool_->Submit(std::move(completions), [unit, then](RewardPool::Verdicts verdicts) {
      for (size_t i = 0; i < verdicts.size(); ++i) unit.trajectories[i]->verdicts = std::move(verdicts[i]);
      then(unit);
    });
  }

  void Write(const Unit& unit) {
    for (const Trajectory* trajectory : unit.trajectories) records_->Write(unit.prompt, *trajectory);
  }

  RewardPool* pool_;
  Records* records_;
  std::deque<Trajectory> samples_;                              // never move
  std::map<const Prompt*, std::vector<Trajectory*>> gathered_;  // not judged yet: the group is not whole
  absl::Mutex mutex_;
  std::vector<Unit> again_ ABSL_GUARDED_BY(mutex_);
};

// One Collect on one rank.
class Collection {
 public:
  Collection(const RolloutRequest& request, Engine* engine, const Tokenizer* tokenizer, const Mesh& mesh,
             RewardPool* pool)
      : request_(request), engine_(engine), tokenizer_(tokenizer), mesh_(mesh), pool_(pool) {}

  // The same on every rank: what the request asks is the same.
  absl::Status Check() {
    if (request_.samples_per_prompt < 1) {
      return absl::InvalidArgumentError("samples_per_prompt must be at least 1");
    }
    for (size_t i = 0; i < request_.prompts.size(); ++i) {
      const Prompt& prompt = request_.prompts[i];
      TEMPER_RETURN_IF_ERROR(engine_->Check(prompt, request_.sampling));
      if (!index_.emplace(prompt.id, i).second) {
        return absl::InvalidArgumentError(absl::StrCat("prompt ", Printable(prompt.id), " is there twice"));
      }
    }
    samples_.resize(request_.prompts.size() * request_.samples_per_prompt);
    return absl::OkStatus();
  }

  // The first rank reads the records, all learn what it found.
  absl::StatusOr<int64_t> Resume(int64_t* repeated) {
    if (request_.records.empty()) return 0;
    std::deque<Trajectory> found;
    const absl::Status status = mesh_.dp_rank() == 0 ? ReadRecords(&found, repeated) : absl::OkStatus();
    TEMPER_ASSIGN_OR_RETURN(found, Exchange(mesh_.dp(), status, found));
    return Place(std::move(found));
  }

  // Samples this rank's share of what is missing: prompts in turn.
  absl::Status Sample(absl::FunctionRef<void(int64_t, int64_t)> progress, absl::FunctionRef<bool()> stop,
                      std::deque<Trajectory>* sampled, RolloutCounts* counts) {
    const std::vector<SampleRequest> requests = Share();
    if (requests.empty()) return absl::OkStatus();
    if (request_.policy_version != engine_->model().version()) {
      return absl::DataLossError(
          absl::StrCat(Printable(request_.records, 1000), ".rank-*.records: samples of policy version ",
                       request_.policy_version, " are missing, and the policy is at version ",
                       engine_->model().version(), ": go back to an older checkpoint"));
    }
    int64_t total = 0, finished = 0;
    for (const SampleRequest& request : requests) total += static_cast<int64_t>(request.samples.size());
    Records records(request_, mesh_.dp_rank());
    TEMPER_RETURN_IF_ERROR(records.Open());
    Scoring scoring(pool_, &records);
    const Clock::time_point begin = Clock::now();
    absl::Status status = engine_->Run(
        requests, request_.sampling,
        [&](const SampleRequest& request, Trajectory trajectory) {
          trajectory.text = tokenizer_->Decode(trajectory.tokens);
          scoring.Submit(request.prompt, std::move(trajectory), request.samples.size());
          progress(++finished, total);
        },
        [&] { return stop() || !records.status().ok(); }, &counts->engine);
    counts->sample_seconds = SecondsSince(begin);
    const Clock::time_point last = Clock::now();
    status.Update(scoring.Finish(stop));
    counts->score_wait_seconds = SecondsSince(last);
    TEMPER_RETURN_IF_ERROR(records.Sync());
    TEMPER_RETURN_IF_ERROR(status);
    *sampled = std::move(scoring.samples());
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<Group>> Finish(const absl::Status& status,
                                            const std::deque<Trajectory>& sampled) {
    TEMPER_ASSIGN_OR_RETURN(std::deque<Trajectory> all, Exchange(mesh_.dp(), status, sampled));
    Place(std::move(all));
    std::vector<Group> groups;
    for (size_t i = 0; i < request_.prompts.size(); ++i) {
      groups.push_back({request_.stage, request_.rollout, request_.prompts[i], {}});
      for (int64_t sample = 0; sample < request_.samples_per_prompt; ++sample) {
        std::optional<Trajectory>& trajectory = samples_[i * request_.samples_per_prompt + sample];
        TEMPER_CHECK(trajectory.has_value(), "prompt ", request_.prompts[i].id, ", sample ", sample);
        groups.back().trajectories.push_back(*std::move(trajectory));
      }
    }
    TEMPER_RETURN_IF_ERROR(CheckJudged(request_, groups));
    return groups;
  }

 private:
  absl::Status ReadRecords(std::deque<Trajectory>* found, int64_t* repeated) const {
    TEMPER_RETURN_IF_ERROR(CutTails(request_.records));
    TEMPER_ASSIGN_OR_RETURN(const std::vector<Group> groups, ReadGroups(request_.records));
    for (const Group& group : groups) {
      if (group.stage != request_.stage || group.rollout != request_.rollout) continue;
      const auto at = index_.find(group.prompt.id);
      if (at == index_.end()) continue;
      if (!SamePrompt(group.prompt, request_.prompts[at->second])) {
        return absl::FailedPreconditionError(absl::StrCat(
            Printable(request_.records, 1000), ".rank-*.records: prompt ", Printable(group.prompt.id),
            " is there with other tokens or another answer: were they written by another run? Move them "
            "away"));
      }
      std::vector<const Trajectory*> usable;
      for (const Trajectory& trajectory : group.trajectories) {
        if (Usable(trajectory) && RulesOf(trajectory.verdicts) == pool_->rule_names())
          usable.push_back(&trajectory);
      }
      // A rule that compares the samples of a prompt has to see them all again.
      const int64_t whole = request_.samples_per_prompt;
      if (pool_->judges_groups() && static_cast<int64_t>(usable.size()) < whole) usable.clear();
      for (const Trajectory* trajectory : usable) found->push_back(*trajectory);
      *repeated += static_cast<int64_t>(group.trajectories.size() - usable.size());
    }
    // Where nothing at all was judged the run stopped, or was about to (CheckJudged): nobody has used these.
    const bool judged = std::any_of(found->begin(), found->end(), Judged);
    if (judged || request_.policy_version != engine_->model().version()) return absl::OkStatus();
    return StartOver(found, repeated);
  }

  absl::Status StartOver(std::deque<Trajectory>* found, int64_t* repeated) const {
    if (found->empty()) return absl::OkStatus();
    TEMPER_ASSIGN_OR_RETURN(const std::vector<std::string> files, RecordFiles(request_.records));
    for (const std::string& file : files) TEMPER_RETURN_IF_ERROR(RemoveTree(file));
    *repeated += static_cast<int64_t>(found->size());
    found->clear();
    return absl::OkStatus();
  }

  // What the engine would sample again, bit for bit.
  bool Usable(const Trajectory& trajectory) const {
    const int64_t tokens = static_cast<int64_t>(trajectory.tokens.size());
    return trajectory.policy_version == request_.policy_version && trajectory.sample >= 0 &&
           trajectory.sample < request_.samples_per_prompt && tokens >= 1 &&
           tokens <= request_.sampling.max_new_tokens &&
           trajectory.logprobs.size() == trajectory.tokens.size();
  }

  int64_t Place(std::deque<Trajectory> trajectories) {
    for (Trajectory& trajectory : trajectories) {
      const int64_t prompt = index_.at(trajectory.prompt_id);
      samples_[prompt * request_.samples_per_prompt + trajectory.sample] = std::move(trajectory);
    }
    return static_cast<int64_t>(trajectories.size());
  }

  std::vector<SampleRequest> Share() const {
    std::vector<SampleRequest> share;
    int64_t turn = 0;
    for (size_t i = 0; i < request_.prompts.size(); ++i) {
      SampleRequest wanted;
      wanted.prompt = &request_.prompts[i];
      for (int64_t sample = 0; sample < request_.samples_per_prompt; ++sample) {
        if (samples_[i * request_.samples_per_prompt + sample]) continue;
        wanted.samples.push_back(static_cast<int32_t>(sample));
      }
      if (wanted.samples.empty() || turn++ % mesh_.dp_size() != mesh_.dp_rank()) continue;
      wanted.key = RandomKey(request_.seed, request_.stage, request_.rollout, wanted.prompt->id);
      share.push_back(std::move(wanted));
    }
    return share;
  }

  const RolloutRequest& request_;
  Engine* engine_;
  const Tokenizer* tokenizer_;
  const Mesh& mesh_;
  RewardPool* pool_;
  std::map<std::string, size_t> index_;             // of a prompt's id
  std::vector<std::optional<Trajectory>> samples_;  // [prompts, samples_per_prompt], as they come
};

}  // namespace

absl::StatusOr<std::vector<Group>> RolloutWorker::Collect(
    const RolloutRequest& request, RewardPool& rewards,
    absl::FunctionRef<void(int64_t finished, int64_t total)> progress, absl::FunctionRef<bool()> stop,
    RolloutCounts* counts) {
  *counts = {};
  Collection collection(request, engine_, tokenizer_, mesh_, &rewards);
  TEMPER_RETURN_IF_ERROR(collection.Check());
  TEMPER_ASSIGN_OR_RETURN(counts->resumed_samples, collection.Resume(&counts->repeated_samples));
  std::deque<Trajectory> sampled;
  const absl::Status status = collection.Sample(progress, stop, &sampled, counts);
  return collection.Finish(status, sampled);
}

}  // namespace temper
