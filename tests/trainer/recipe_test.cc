// SPDX-License-Identifier: Apache-2.0
// E3 and E4 of a whole recipe: the same digest on any number of ranks, and after any stop.
#include "trainer/recipe.h"

#include <algorithm>
#include <atomic>
#include <thread>

#include "absl/time/clock.h"
#include "comm/threads.h"
#include "core/files/disk.h"
#include "core/json/json.h"
#include "core/metrics.h"
#include "gmock/gmock.h"
#include "model/files/hugging_face.h"
#include "tests/trainer/small_recipe.h"
#include "trainer/run_directory/checkpoint.h"
#include "trainer/run_directory/journal.h"
#include "trainer/run_directory/run_directory.h"

namespace temper {
namespace {

using ::testing::HasSubstr;

// Runs on one rank; `stop` is asked and counted.
absl::Status RunAlone(const RecipeConfig& recipe, const std::string& directory,
                      const std::function<bool()>& stop) {
  SelfCommunicator self;
  return RunRecipe(recipe, directory, self, stop);
}

// One undisturbed run, made once: what all others must equal.
class Recipe : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TestFolder();
    WriteSmallModel(*folder_ / "model");
    recipe_ = new RecipeConfig(SmallRecipe(*folder_ / "model"));
    calls_ = 0;
    const absl::Status status = RunAlone(*recipe_, *folder_ / "undisturbed", [] { return ++calls_ < 0; });
    ASSERT_TRUE(status.ok()) << status;
    digest_ = new std::string(Digest(*folder_ / "undisturbed"));
  }
  static void TearDownTestSuite() {
    delete folder_;
    delete recipe_;
    delete digest_;
  }

  static TestFolder* folder_;
  static RecipeConfig* recipe_;
  static std::string* digest_;
  static int64_t calls_;  // of stop, in the undisturbed run
};
TestFolder* Recipe::folder_;
RecipeConfig* Recipe::recipe_;
std::string* Recipe::digest_;
int64_t Recipe::calls_;

TEST_F(Recipe, LeavesATableOfItsStagesAndMetricsOfEveryUpdate) {
  const std::string run = *folder_ / "undisturbed";
  const auto text = ReadFile(run + "/summary.json");
  ASSERT_TRUE(text.ok()) << text.status();
  std::vector<std::string> names;
  for (const Json& row : Json::parse(*text)) {
    names.push_back(row["stage"]);
    EXPECT_GT(row["seconds"], 0);
    EXPECT_EQ(row["exact"], true);
    EXPECT_EQ(row.contains("pass@1"), row["kind"] != "collect") << row;
    EXPECT_EQ(row.contains("hard/pass@1"), row["kind"] != "collect") << row;
  }
  EXPECT_EQ(names,
            (std::vector<std::string>{"base", "zero", "cold_start", "collect", "sft", "reason", "final"}));
  const auto lines = ReadMetrics(run + "/metrics.jsonl");
  ASSERT_TRUE(lines.ok()) << lines.status();
  std::map<std::string, int64_t> updates;
  for (const MetricsLine& line : *lines) {
    EXPECT_EQ(line.step, ++updates[line.stage]) << line.stage;
    EXPECT_EQ(line.Find("eval/pass@1") != nullptr,
              (line.stage == "zero" || line.stage == "reason") && line.step % 2 == 0);
  }
  EXPECT_EQ(updates["base"], 6);
  EXPECT_EQ(updates["zero"], 4);
  EXPECT_EQ(updates["cold_start"], 3);
  EXPECT_EQ(updates["reason"], 3);
}

TEST_F(Recipe, HasNoTokenWhoseLogprobIsAnotherInTheTrainersFirstUpdate) {
  const auto lines = ReadMetrics(*folder_ / "undisturbed/metrics.jsonl");
  ASSERT_TRUE(lines.ok()) << lines.status();
  int64_t first = 0, later = 0, masked = 0;
  for (const MetricsLine& line : *lines) {
    const double* unequal = line.Find("unequal_tokens");
    if (unequal == nullptr) continue;
    EXPECT_EQ(*line.Find("exact"), 1);
    EXPECT_GT(*line.Find("reward/std"), 0) << line.stage << " " << line.step;
    const bool skipped = *line.Find("updates/skipped") == 1;  // masked but for groups without spread
    EXPECT_EQ(*line.Find("gradient_norm") > 0, !skipped) << line.stage << " " << line.step;
    masked += static_cast<int64_t>(*line.Find("samples/masked"));
    if (line.stage == "zero" ? line.step % 2 == 0 : line.step > 1) {
      later += *unequal > 0 || skipped ? 1 : 0;  // the policy has moved
      continue;
    }
    ++first;
    EXPECT_EQ(*unequal, 0) << line.stage << " " << line.step;
    EXPECT_EQ(*line.Find("ratio"), 1) << line.stage << " " << line.step;
    EXPECT_EQ(*line.Find("max_logprob_difference"), 0);
    EXPECT_EQ(*line.Find("clip_share"), 0);
    // The reference is the policy at the stage's start, and again after each refresh.
    EXPECT_EQ(*line.Find("kl"), 0) << line.stage << " " << line.step;
  }
  EXPECT_EQ(first, 3);
  EXPECT_EQ(later, 4);
  EXPECT_GT(masked, 0);
}

TEST_F(Recipe, HasTheSameDigestOnTwoAndFourRanks) {
  for (int ranks : {2, 4}) {
    const std::string run = *folder_ / ("ranks-" + std::to_string(ranks));
    ThreadWorld world(ranks);
    world.Run([&](Communicator& comm) {
      const absl::Status status = RunRecipe(*recipe_, run, comm, Never);
      EXPECT_TRUE(status.ok()) << status;
    });
    EXPECT_EQ(Digest(run), *digest_) << ranks << " ranks";
  }
}

// The same promises hold of bf16 weights and a bf16 cache, and what is saved of them says so; and of an MTP
// module that is drawn, trained, carried through rl and trained on.
TEST_F(Recipe, OfBf16WeightsAndCacheAndMtpHasTheSameDigestOnTwoRanksAndStoppedAndResumed) {
  RecipeConfig recipe = *recipe_;
  recipe.weights = recipe.cache = kernels::Type::kBf16;
  for (StageConfig& stage : recipe.stages) {
    stage.pretrain.mtp_weight = 0.3;
    stage.sft.mtp_weight = 0.1;
  }
  const std::string whole = *folder_ / "bf16", ranks = *folder_ / "bf16-ranks",
                    stopped = *folder_ / "bf16-stopped";
  ASSERT_TRUE(RunAlone(recipe, whole, Never).ok());
  EXPECT_NE(Digest(whole), *digest_);
  ThreadWorld world(2);
  world.Run([&](Communicator& comm) { EXPECT_TRUE(RunRecipe(recipe, ranks, comm, Never).ok()); });
  EXPECT_EQ(Digest(ranks), Digest(whole));
  // What is sampled there is drafted by the module.
  for (StageConfig& stage : recipe.stages)
    for (SamplingConfig* sampling :
         {&stage.rl.sampling, &stage.collect.sampling, &stage.evaluation.sampling}) {
      sampling->drafts = Drafts::kMtp;
      sampling->max_batch = 3;
    }
  for (absl::Status status = absl::CancelledError(); absl::IsCancelled(status);) {
    int64_t calls = 0;
    status = RunAlone(recipe, stopped, [&] { return ++calls >= calls_ / 5; });
    EXPECT_TRUE(status.ok() || absl::IsCancelled(status)) << status;
  }
  EXPECT_EQ(Digest(stopped), Digest(whole));
  double drafted = 0, accepted = 0;
  const auto drafts = ReadMetrics(stopped + "/metrics.jsonl");
  ASSERT_TRUE(drafts.ok()) << drafts.status();
  for (const MetricsLine& line : *drafts) {
    if (line.Find("system/drafted_tokens") == nullptr) continue;
    drafted += *line.Find("system/drafted_tokens");
    accepted += *line.Find("system/accepted_tokens");
  }
  EXPECT_GT(accepted, 0);
  EXPECT_GT(drafted, accepted);

  const auto lines = ReadMetrics(whole + "/metrics.jsonl");
  ASSERT_TRUE(lines.ok()) << lines.status();
  int64_t first = 0;
  for (const MetricsLine& line : *lines) {
    if (line.stage != "zero" || line.step % 2 != 1 || line.Find("unequal_tokens") == nullptr) continue;
    ++first;
    EXPECT_EQ(*line.Find("unequal_tokens"), 0) << line.step;
    EXPECT_EQ(*line.Find("kl"), 0) << line.step;
  }
  EXPECT_GT(first, 0);
  std::vector<double> losses;
  for (const MetricsLine& line : *lines) {
    const double* const loss = line.Find("mtp_loss");
    EXPECT_EQ(loss != nullptr, line.Find("reward/mean") == nullptr) << line.stage;
    if (line.stage == "base") losses.push_back(*loss);
  }
  ASSERT_GT(losses.size(), 3u);
  EXPECT_LT(losses.back(), 0.9 * losses.front());
  const auto read = ReadPolicy(*LatestCheckpoint(whole + "/zero/checkpoints"), {WeightNumbers::kAsStored});
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->parameters["lm_head.weight"].scalar_type(), at::kBFloat16);
  EXPECT_TRUE(read->parameters.Has("model.layers.2.eh_proj.weight"));
  EXPECT_EQ(read->config.cache, kernels::Type::kBf16);

  // Of the cache alone: other bits. What is not measured asks for no module.
  recipe.weights = kernels::Type::kF32;
  for (StageConfig& stage : recipe.stages) {
    stage.pretrain.mtp_weight = stage.sft.mtp_weight = 0;
    stage.rl.sampling.drafts = stage.collect.sampling.drafts = Drafts::kRepeats;
    stage.evaluation.problems = 0;
  }
  const std::string cache = *folder_ / "bf16-cache";
  ASSERT_TRUE(RunAlone(recipe, cache, Never).ok());
  EXPECT_NE(Digest(cache), Digest(whole));
  EXPECT_NE(Digest(cache), *digest_);
}

// No checkpoint is due by the count: what a stop does not save is lost.
TEST_F(Recipe, StoppedOnceAnywhereAndResumedHasTheSameDigestAndRepeatsNoUpdate) {
  ASSERT_GT(calls_, 100);
  RecipeConfig recipe = *recipe_;
  for (StageConfig& stage : recipe.stages)
    stage.pretrain.checkpoint_every = stage.sft.checkpoint_every = stage.rl.checkpoint_every = 0;
  int measuring = 0;  // times in the evaluation of an update
  for (int64_t n = 1; n < calls_; n += calls_ / 23) {
    const std::string run = *folder_ / ("stopped-" + std::to_string(n));
    int64_t calls = 0;
    const absl::Status status = RunAlone(recipe, run, [&] { return ++calls >= n; });
    EXPECT_EQ(status.code(), absl::StatusCode::kCancelled) << "after " << n << ": " << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("stopped on request")) << n;
    const std::string newest = LatestCheckpoint(run + "/zero/checkpoints").value_or("");
    if (!newest.empty() && !ReadTrainingState(newest)->cut_off.is_null()) ++measuring;
    const absl::Status resumed = RunAlone(recipe, run, Never);
    ASSERT_TRUE(resumed.ok()) << "after " << n << ": " << resumed;
    EXPECT_EQ(Digest(run), *digest_) << "after " << n;
    const auto lines = ReadMetrics(run + "/metrics.jsonl");
    ASSERT_TRUE(lines.ok()) << lines.status();
    for (const MetricsLine& line : *lines)
      EXPECT_EQ(*line.Find("resume/repeated_updates"), 0) << "after " << n << ": " << line.stage << line.step;
  }
  EXPECT_GT(measuring, 0);
}

// Dying by an exception leaves no checkpoint behind: lines of metrics and records of unfinished updates are
// there.
TEST_F(Recipe, ThatDiesAnywhereAndIsResumedHasTheSameDigestAndRepeatsNoMoreThanTheLastCheckpointLacks) {
  int64_t repeated = 0;
  for (int64_t n = 2; n < calls_; n += calls_ / 29) {
    const std::string run = *folder_ / ("died-" + std::to_string(n));
    int64_t calls = 0;
    const auto die = [&]() -> bool {
      if (++calls >= n) throw std::runtime_error("dies");
      return false;
    };
    EXPECT_THROW(RunAlone(*recipe_, run, die).IgnoreError(), std::runtime_error);
    const absl::Status resumed = RunAlone(*recipe_, run, Never);
    ASSERT_TRUE(resumed.ok()) << "after " << n << ": " << resumed;
    EXPECT_EQ(Digest(run), *digest_) << "after " << n;
    const auto lines = ReadMetrics(run + "/metrics.jsonl");
    ASSERT_TRUE(lines.ok()) << lines.status();
    for (const MetricsLine& line : *lines) {
      const double updates = *line.Find("resume/repeated_updates");
      repeated += static_cast<int64_t>(updates);
      const bool often = line.stage == "zero" || line.stage == "cold_start";  // checkpoint_every: 1
      EXPECT_LE(updates, often ? 1 : 3) << line.stage;
    }
  }
  EXPECT_GT(repeated, 0);
}

TEST_F(Recipe, StoppedAgainAndAgainOnChangingRankCountsHasTheSameDigest) {
  const std::string run = *folder_ / "stopped-often";
  constexpr int64_t kCalls = 37;  // more than a sample takes, so that each start leaves something
  int starts = 0;
  bool done = false;
  for (; !done && starts < 200; ++starts) {
    ThreadWorld world(1 << starts % 3);
    world.Run([&](Communicator& comm) {
      int64_t calls = 0;
      const absl::Status status = RunRecipe(*recipe_, run, comm, [&] { return ++calls >= kCalls; });
      EXPECT_TRUE(status.ok() || absl::IsCancelled(status)) << status;
      if (comm.rank() == 0) done = status.ok();
    });
  }
  EXPECT_TRUE(done);
  EXPECT_GT(starts, 5);
  EXPECT_EQ(Digest(run), *digest_);
}

// A disk on which the first checkpoint that a thread writes waits, before its weights and before it stands,
// for two more updates.
class DiskOfUpdates : public Disk {
 public:
  explicit DiskOfUpdates(std::string run) : run_(std::move(run)) {}
  int waits() const { return waits_; }
  bool in_vain() const { return in_vain_; }
  int Open(const std::string& path, int flags, mode_t mode) override {
    if (path.find("model.safetensors") != path.npos) AwaitUpdates(0);
    return Disk::Open(path, flags, mode);
  }
  int Rename(const std::string& from, const std::string& to) override {
    if (to.find("/checkpoints/step-") != to.npos) AwaitUpdates(1);
    return Disk::Rename(from, to);
  }

 private:
  int64_t Updates() const {
    const std::string lines = ReadFile(MetricsPath(run_)).value_or("");
    return std::count(lines.begin(), lines.end(), '\n');
  }
  void AwaitUpdates(int wait) {
    if (std::this_thread::get_id() == trains_ || waits_ != wait) return;
    const int64_t until = Updates() + 2;
    for (int i = 0; i < 1000 && Updates() < until; ++i) absl::SleepFor(absl::Milliseconds(5));
    in_vain_ = in_vain_ || Updates() < until;
    ++waits_;
  }

  const std::string run_;
  const std::thread::id trains_ = std::this_thread::get_id();
  std::atomic<int> waits_ = 0;
  std::atomic<bool> in_vain_ = false;
};

TEST_F(Recipe, GoesOnTrainingOnADiskThatIsSlowerThanTheIntervalOfCheckpoints) {
  RecipeConfig recipe = *recipe_;
  recipe.stages.resize(1);
  PretrainConfig& pretrain = recipe.stages[0].pretrain;
  pretrain.epochs = 1000;
  pretrain.checkpoint_every = 0;
  pretrain.checkpoint_minutes = 1e-6;
  pretrain.checkpoint_in_background = InBackground::kYes;
  const std::string run = *folder_ / "slow-disk";
  DiskOfUpdates disk(run);
  {
    const DiskInPlace in_place(&disk);
    const absl::Status status = RunAlone(recipe, run, [&] { return disk.waits() == 2; });
    EXPECT_TRUE(absl::IsCancelled(status)) << status;
  }
  EXPECT_EQ(disk.waits(), 2);
  EXPECT_FALSE(disk.in_vain()) << "training waited for the disk";
  // What was trained while the disk was waited for is not in that checkpoint.
  const std::vector<Json> journal = ReadJournal(run).value();
  const auto saved =
      std::ranges::find_if(journal, [](const Json& event) { return event["event"] == "saved"; });
  ASSERT_NE(saved, journal.end());
  const std::vector<MetricsLine> lines = ReadMetrics(MetricsPath(run)).value();
  for (const MetricsLine& line : lines) {
    if (line.step == (*saved)["step"].get<int64_t>() + 1)
      EXPECT_LE((*saved)["holds"].get<double>(), *line.Find("time/unix_seconds"));
  }
}

TEST_F(Recipe, ThatIsDoneIsNotDoneAgain) {
  const std::string run = *folder_ / "undisturbed";
  const auto metrics = ReadFile(run + "/metrics.jsonl"), table = ReadFile(run + "/summary.json");
  int64_t calls = 0;
  ASSERT_TRUE(RunAlone(*recipe_, run, [&] { return ++calls < 0; }).ok());
  EXPECT_EQ(calls, 0);
  EXPECT_EQ(*ReadFile(run + "/metrics.jsonl"), *metrics);
  EXPECT_EQ(*ReadFile(run + "/summary.json"), *table);
  EXPECT_EQ(Digest(run), *digest_);
}

TEST_F(Recipe, OfAnotherSeedHasAnotherDigest) {
  const std::string run = *folder_ / "seed-8";
  ASSERT_TRUE(RunAlone(SmallRecipe(*folder_ / "model", {"seed=8"}), run, Never).ok());
  EXPECT_NE(Digest(run), *digest_);
}

TEST_F(Recipe, OtherThanTheOneThatBeganTheRunIsRefusedByItsLine) {
  const absl::Status status = RunAlone(SmallRecipe(*folder_ / "model", {"stages.zero.rl.kl_coef=0.5"}),
                                       *folder_ / "undisturbed", Never);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("undisturbed/config.yaml:"));
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("stages.zero.rl.kl_coef: 0.02 there, 0.5 now: stage zero is finished: set it back"));
}

TEST_F(Recipe, InAModelDirectoryIsRefusedAndLeavesItAsItIs) {
  const std::string model = *folder_ / "model";
  const absl::Status status = RunAlone(*recipe_, model, Never);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("is a model directory: give the run a folder of its own"));
  EXPECT_FALSE(FileExists(model + "/config.yaml"));
}

TEST_F(Recipe, InADirectoryThatIsInUseIsRefusedOnEveryRank) {
  const std::string run = *folder_ / "in-use";
  ASSERT_TRUE(MakeDirectories(run).ok());
  const auto lock = RunLock::Acquire(run);
  ASSERT_TRUE(lock.ok()) << lock.status();
  ThreadWorld world(2);
  world.Run([&](Communicator& comm) {
    const absl::Status status = RunRecipe(*recipe_, run, comm, Never);
    EXPECT_FALSE(status.ok());
    const char* const what = comm.rank() == 0 ? "in-use" : "rank 0 of 2 cannot go on: ";
    EXPECT_THAT(std::string(status.message()), HasSubstr(what));
  });
  EXPECT_FALSE(FileExists(run + "/config.yaml"));
}

TEST_F(Recipe, WhoseDigestIsAskedOfAnotherFolderIsAnError) {
  const auto digest = RunDigest(*folder_ / "model");
  EXPECT_FALSE(digest.ok());
  EXPECT_THAT(std::string(digest.status().message()), HasSubstr("is no run directory"));
}

}  // namespace
}  // namespace temper
