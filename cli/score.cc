// SPDX-License-Identifier: Apache-2.0
#include "cli/score.h"

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/synchronization/mutex.h"
#include "cli/line/options.h"
#include "cli/line/rows.h"
#include "core/stop.h"
#include "rewards/pool.h"
#include "rewards/score.h"
#include "trainer/recipe.h"

namespace temper {
namespace {

struct ScoreOptions {
  std::string rule;
  std::string mode;
  std::vector<std::string> set;
  std::string recipe;
  std::string stage;
  bool raw = false;
  std::string input = "-";

  template <class V>
  void Fields(V& v) {
    static const std::string rules =
        "Rules of weight 1, with commas between (docs/rewards.md): " + RuleNamesText() + ".";
    v.Field("rule", rule, rules.c_str());
    v.Field(
        "mode", mode,
        "math: math_verify, strict or string; accuracy, exact, choice, number: strict (inside <answer>) or "
        "lenient (wherever one is).");
    v.Field("set", set,
            "With --rule RULE.OPTION=VALUE, such as length.max_tokens=100; with --recipe as of temper run.",
            Repeated());
    v.Field("recipe", recipe, "In place of --rule: the reward of a stage of this recipe.");
    v.Field("stage", stage, "The stage; may be left out where only one has a reward.");
    v.Field("raw", raw, "Completions are the answers themselves, without tags.");
    v.Field("input", input, "Rows: {\"completion\",\"answer\",\"id\",..}; -: standard input.");
  }
};

const RewardConfig* RewardOfStage(const StageConfig& stage) {
  if (stage.kind == StageKind::kRl) return &stage.rl.reward;
  return stage.kind == StageKind::kCollect ? &stage.collect.reward : nullptr;
}

absl::StatusOr<RewardConfig> RewardOfRecipe(const ScoreOptions& options) {
  TEMPER_ASSIGN_OR_RETURN(const RecipeConfig recipe, ReadRecipeFields(options.recipe, options.set));
  std::vector<std::string> names;
  const RewardConfig* only = nullptr;
  for (const StageConfig& stage : recipe.stages) {
    const RewardConfig* reward = RewardOfStage(stage);
    if (reward == nullptr) continue;
    if (stage.name == options.stage) return *reward;
    names.push_back(stage.name);
    only = reward;
  }
  if (options.stage.empty() && names.size() == 1) return *only;
  const std::string path = Printable(options.recipe, 1000);
  if (names.empty()) return absl::InvalidArgumentError(absl::StrCat(path, ": no stage has a reward"));
  return absl::InvalidArgumentError(absl::StrCat(
      path, ": ",
      options.stage.empty() ? "name one with --stage"
                            : absl::StrCat("--stage ", Printable(options.stage), " is none with a reward"),
      "; stages that have a reward: ", absl::StrJoin(names, ", ")));
}

absl::StatusOr<RewardConfig> RewardOfOptions(const ScoreOptions& options) {
  if (options.rule.empty() == options.recipe.empty()) {
    return absl::InvalidArgumentError(
        "expected --rule NAMES or --recipe RECIPE.yaml, and not both; the rules are " + RuleNamesText());
  }
  if (!options.recipe.empty()) return RewardOfRecipe(options);
  if (!options.stage.empty()) return absl::InvalidArgumentError("--stage: is for --recipe");
  return RewardByName(options.rule, options.mode, options.set);
}

// Rows on their way through the rules: written in their order, each as soon as it and those before it are
// judged.
class Scorer {
 public:
  Scorer(const RewardConfig& reward, RewardPool* pool) : reward_(reward), pool_(pool) {}
  ~Scorer() { pool_->Wait(); }  // it holds pointers

  struct Entry {
    std::unique_ptr<ScoreRow> row;
    std::vector<Verdict> verdicts = {};
    bool judged = false;
  };

  // The row's place in the output.
  Entry* Enter(std::unique_ptr<ScoreRow> row) {
    absl::MutexLock lock(&mutex_);
    open_.push_back(std::make_unique<Entry>(Entry{.row = std::move(row)}));
    return open_.back().get();
  }

  // Has entries judged, of one prompt where there are several. Error: standard output's.
  absl::Status Judge(std::vector<Entry*> entries) {
    std::vector<Completion> completions;
    for (const Entry* entry : entries) completions.push_back(entry->row->completion);
    pool_->Submit(std::move(completions), [this, entries](RewardPool::Verdicts verdicts) {
      for (size_t i = 0; i < entries.size(); ++i) NameFaults(*entries[i]->row, &verdicts[i]);
      absl::MutexLock lock(&mutex_);
      for (size_t i = 0; i < entries.size(); ++i) {
        entries[i]->verdicts = std::move(verdicts[i]);
        entries[i]->judged = true;
      }
      Flush();
    });
    absl::MutexLock lock(&mutex_);
    return status_;
  }

  // Waits while too many rows are on their way.
  void WaitForRoom() {
    const auto room = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return open_.size() < kMostOpen; };
    absl::MutexLock lock(&mutex_);
    while (!StopRequested() && !mutex_.AwaitWithTimeout(absl::Condition(&room), absl::Milliseconds(100))) {
    }
  }

  // Until all is judged and written.
  absl::Status Finish() {
    if (!pool_->Wait(StopRequested)) return absl::CancelledError("stopped on request");
    absl::MutexLock lock(&mutex_);
    if (!status_.ok() || rows_ == 0 || unjudged_ < rows_) return status_;
    return absl::UnavailableError(
        absl::StrCat("none of the ", rows_, " rows could be judged: ", Printable(why_, 400)));
  }

 private:
  static constexpr size_t kMostOpen = 4096;

  // A reference that a rule cannot judge by is the row's own fault, and the others go on.
  void NameFaults(const ScoreRow& row, std::vector<Verdict>* verdicts) const {
    for (size_t i = 0; i < verdicts->size(); ++i) {
      const absl::Status status = pool_->CheckAnswer(i, row.prompt);
      if (status.ok() || absl::IsFailedPrecondition(status)) continue;  // the latter is the machine's fault
      Verdict& verdict = (*verdicts)[i];
      verdict = MakeVerdict(VerdictKind::kMalformed, 0,
                            row.fault.empty() ? std::string(status.message()) : row.fault);
      verdict.rule = pool_->rule_names()[i];
    }
  }

  void Flush() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    for (; status_.ok() && !open_.empty() && open_.front()->judged; open_.pop_front()) {
      Entry& entry = *open_.front();
      const auto broken = std::find_if(
          entry.verdicts.begin(), entry.verdicts.end(),
          [](const Verdict& verdict) { return verdict.kind == VerdictKind::kInfrastructureError; });
      ++rows_;
      if (broken != entry.verdicts.end() && unjudged_++ == 0)
        why_ = absl::StrCat("rule ", broken->rule, ": ", broken->reason);
      status_ = WriteRow(DumpJson(ScoreJson(*entry.row, entry.verdicts, reward_)));
    }
  }

  const RewardConfig& reward_;
  RewardPool* const pool_;
  absl::Mutex mutex_;
  std::deque<std::unique_ptr<Entry>> open_ ABSL_GUARDED_BY(mutex_);
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
  int64_t rows_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t unjudged_ ABSL_GUARDED_BY(mutex_) = 0;
  std::string why_ ABSL_GUARDED_BY(mutex_);
};

absl::Status ScoreRows(RowReader& rows, const ScoreOptions& options, Scorer& scorer) {
  for (;;) {
    TEMPER_ASSIGN_OR_RETURN(const std::optional<Row> row, rows.Next());
    if (!row) return absl::OkStatus();
    TEMPER_ASSIGN_OR_RETURN(std::unique_ptr<ScoreRow> read, ReadScoreRow(row->json, options.raw, row->name));
    scorer.WaitForRoom();
    TEMPER_RETURN_IF_ERROR(scorer.Judge({scorer.Enter(std::move(read))}));
  }
}

// All rows of an id are a group, wherever they stand.
absl::Status ScoreGroups(RowReader& rows, const ScoreOptions& options, Scorer& scorer) {
  std::vector<std::vector<Scorer::Entry*>> groups;
  std::map<std::string, size_t> by_id;
  std::vector<std::unique_ptr<ScoreRow>> all;
  for (;;) {
    TEMPER_ASSIGN_OR_RETURN(const std::optional<Row> row, rows.Next());
    if (!row) break;
    TEMPER_ASSIGN_OR_RETURN(all.emplace_back(), ReadScoreRow(row->json, options.raw, row->name));
    if (all.back()->id.is_null()) {
      return absl::InvalidArgumentError(absl::StrCat(
          row->name, ": has no id, by which a rule that judges groups finds the rows of one prompt"));
    }
  }
  for (std::unique_ptr<ScoreRow>& row : all) {
    const auto [at, is_new] = by_id.emplace(row->prompt.id, groups.size());
    if (is_new) groups.emplace_back();
    groups[at->second].push_back(scorer.Enter(std::move(row)));
  }
  for (auto& group : groups) TEMPER_RETURN_IF_ERROR(scorer.Judge(std::move(group)));
  return absl::OkStatus();
}

}  // namespace

absl::Status RunScore(const CommandLine& line) {
  ScoreOptions options;
  TEMPER_ASSIGN_OR_RETURN(const std::vector<std::string> rest, ParseOptions(line.arguments, options));
  if (rest.size() > 1 || (rest.size() == 1 && options.input != "-")) {
    return absl::InvalidArgumentError(
        absl::StrCat("unexpected argument ", Printable(rest.back()), ": rows come from one file"));
  }
  if (rest.size() == 1) options.input = rest[0];
  TEMPER_ASSIGN_OR_RETURN(const RewardConfig reward, RewardOfOptions(options));
  const int threads = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  TEMPER_ASSIGN_OR_RETURN(const std::unique_ptr<RewardPool> pool, RewardPool::Create(reward, threads));
  TEMPER_ASSIGN_OR_RETURN(const std::unique_ptr<RowReader> rows, RowReader::Open(options.input));
  TEMPER_RETURN_IF_ERROR(pool->CheckReady());
  Scorer scorer(reward, pool.get());
  absl::Status status =
      pool->judges_groups() ? ScoreGroups(*rows, options, scorer) : ScoreRows(*rows, options, scorer);
  status.Update(scorer.Finish());
  return status;
}

std::string ScoreHelp() { return HelpOf<ScoreOptions>(); }

}  // namespace temper
