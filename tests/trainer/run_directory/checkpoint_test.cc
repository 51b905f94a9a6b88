// SPDX-License-Identifier: Apache-2.0
#include "trainer/run_directory/checkpoint.h"

#include <sys/resource.h>

#include <atomic>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <thread>

#include "absl/time/clock.h"
#include "comm/threads.h"
#include "core/files/disk.h"
#include "core/files/sealed.h"
#include "gmock/gmock.h"
#include "kernels/backends/cpu.h"
#include "model/files/hugging_face.h"
#include "model/policy.h"
#include "tests/model/odd_models.h"
#include "tests/model/slices.h"
#include "tests/trainer/small_recipe.h"
#include "trainer/run_directory/sums.h"

namespace temper {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class Checkpoint : public ::testing::Test {
 protected:
  Checkpoint() : policy_(TinyDeepseek(), 1), optimizer_(&policy_.model) {
    RandomStream random(RandomKey(1, "moments", 0, ""), Purpose::kTask);
    for (at::Tensor* moments : {&optimizer_.m(), &optimizer_.v()})
      for (int64_t i = 0; i < moments->numel(); ++i)
        moments->mutable_data_ptr<float>()[i] = static_cast<float>(random.NextNormal());
    optimizer_.set_steps(41);
  }
  absl::Status Save(int64_t step, int64_t keep_last = 1) {
    state_.step = step;
    return SaveCheckpoint(folder_ / "checkpoints", {policy_.model, "configs/tiny/base", optimizer_, state_},
                          {.keep_last = keep_last}, Mesh::Single().world());
  }
  std::vector<int64_t> Steps() {
    std::vector<int64_t> steps;
    const auto checkpoints = Checkpoints(folder_ / "checkpoints");
    for (const std::string& checkpoint : checkpoints.value())
      steps.push_back(ReadTrainingState(checkpoint)->step);
    return steps;
  }
  // The newest checkpoint.
  std::string Latest() {
    const auto latest = LatestCheckpoint(folder_ / "checkpoints");
    EXPECT_TRUE(latest.ok()) << latest.status();
    return latest.value_or("");
  }
  // Of the newest checkpoint's tensors.
  int64_t BytesOfTensors() {
    int64_t bytes = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(Latest())) {
      if (entry.path().extension() != ".safetensors") continue;
      const std::string text = *ReadFile(entry.path());
      int64_t header = 0;
      std::memcpy(&header, text.data(), sizeof header);
      bytes += static_cast<int64_t>(text.size()) - 8 - header;
    }
    return bytes;
  }
  // What reading all of a checkpoint says, policy, state and optimizer.
  absl::Status ReadAll(const std::string& checkpoint) {
    TEMPER_ASSIGN_OR_RETURN(PolicyFiles files, ReadPolicy(checkpoint));
    TEMPER_RETURN_IF_ERROR(ReadTrainingState(checkpoint).status());
    ThreadPool pool(1);
    kernels::CpuBackend backend(&pool);
    CausalLm model(files.config, std::move(files.parameters), &backend);
    Optimizer optimizer(&model);
    TEMPER_RETURN_IF_ERROR(LoadOptimizer(checkpoint, &model, &optimizer));
    return CheckCheckpoint(checkpoint);
  }

  TestFolder folder_;
  Policy policy_;
  Optimizer optimizer_;
  TrainingState state_{
      .policy_version = 12, .metrics = {3456, 7}, .reference = "reference-000008", .seconds = 1.5};
};

TEST_F(Checkpoint, OfWhatIsNotFiniteIsNotWritten) {
  ASSERT_TRUE(Save(8).ok());
  at::Tensor& weight = policy_.model.parameters().list().back().value;
  at::Tensor* const tensors[] = {&weight, &optimizer_.m(), &optimizer_.v()};
  for (at::Tensor* const tensor : tensors) {
    float& last = tensor->mutable_data_ptr<float>()[tensor->numel() - 1];
    const float was = last;
    for (const float bad : {NAN, INFINITY, -INFINITY}) {
      last = bad;
      const absl::Status status = Save(9);
      EXPECT_THAT(std::string(status.message()), HasSubstr("NaN or infinite: it is not saved")) << status;
      EXPECT_EQ(Latest(), folder_ / "checkpoints/step-000008");
    }
    last = was;
  }
  EXPECT_TRUE(Save(9).ok());
}

// The directory is the policy that computed, which others read; what is trained lies with its moments.
TEST_F(Checkpoint, OfRoundedWeightsHasBothAndReadsBackToTheSameBits) {
  ThreadPool pool(1);
  kernels::CpuBackend backend(&pool);
  const ModelConfig& config = policy_.model.config();
  const auto policy = PolicyOf({config, RandomParameters(config)}, &backend, {.trained = true, .bf16 = true});
  Optimizer optimizer(policy.get());
  ASSERT_TRUE(
      SaveCheckpoint(folder_ / "checkpoints", {*policy, "", optimizer, state_}, {}, Mesh::Single().world())
          .ok());
  EXPECT_EQ(BytesOfCheckpoint(*policy) - (1 << 20), BytesOfTensors());
  const auto read = ReadPolicy(Latest(), {WeightNumbers::kAsStored});
  ASSERT_TRUE(read.ok()) << read.status();
  for (const Parameter& parameter : policy->weights().computed().list())
    EXPECT_TRUE(read->parameters[parameter.name].equal(parameter.value)) << parameter.name;

  const auto resumed =
      OpenPolicy(Latest(), &backend, {.may_lack_tokenizer = true, .trained = true, .bf16 = true});
  ASSERT_TRUE(resumed.ok()) << resumed.status();
  CausalLm& model = *resumed->model;
  Optimizer again(&model);
  ASSERT_TRUE(LoadOptimizer(Latest(), &model, &again).ok());
  model.WeightsChanged(3);
  for (const Parameter& parameter : policy->parameters().list())
    EXPECT_TRUE(model.parameters()[parameter.name].equal(parameter.value)) << parameter.name;
  for (const Parameter& parameter : policy->weights().computed().list())
    EXPECT_TRUE(model.weights().computed()[parameter.name].equal(parameter.value)) << parameter.name;

  // One of f32 weights has none of what was rounded: it is refused by the name of the first.
  ASSERT_TRUE(Save(9).ok());
  EXPECT_THAT(std::string(LoadOptimizer(Latest(), &model, &again).message()),
              HasSubstr("tensor weights.lm_head.weight is missing"));
}

TEST_F(Checkpoint, ReadsBackToTheSameBits) {
  ASSERT_TRUE(Save(9).ok());
  const std::string checkpoint = Latest();
  EXPECT_EQ(checkpoint, folder_ / "checkpoints/step-000009");
  EXPECT_EQ(BytesOfCheckpoint(policy_.model) - (1 << 20), BytesOfTensors());
  const auto state = ReadTrainingState(checkpoint);
  ASSERT_TRUE(state.ok()) << state.status();
  EXPECT_EQ(state->step, 9);
  EXPECT_EQ(state->policy_version, 12);
  EXPECT_EQ(state->metrics, (Extent{3456, 7}));
  EXPECT_EQ(state->reference, "reference-000008");
  EXPECT_EQ(state->seconds, 1.5);

  auto files = ReadPolicy(checkpoint);
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_EQ(Json::parse(files->config.json), Json::parse(policy_.model.config().json));
  for (const Parameter& parameter : policy_.model.parameters().list())
    EXPECT_TRUE(files->parameters[parameter.name].equal(parameter.value)) << parameter.name;
  ThreadPool pool(1);
  kernels::CpuBackend backend(&pool);
  CausalLm model(files->config, std::move(files->parameters), &backend);
  Optimizer optimizer(&model);
  ASSERT_TRUE(LoadOptimizer(checkpoint, &model, &optimizer).ok());
  EXPECT_TRUE(optimizer.m().equal(optimizer_.m()));
  EXPECT_TRUE(optimizer.v().equal(optimizer_.v()));
  EXPECT_EQ(optimizer.steps(), 41);
  EXPECT_TRUE(FileExists(checkpoint + "/tokenizer.json"));
}

TEST_F(Checkpoint, ThatIsWrittenInTheBackgroundHoldsWhatItBeganWith) {
  ASSERT_TRUE(Save(8, 2).ok());
  ASSERT_TRUE(Save(9, 2).ok());
  std::map<std::string, std::string> expected;
  const auto read = [&](const std::string& checkpoint) {
    std::map<std::string, std::string> files;
    const auto names = FilesOfCheckpoint(checkpoint);
    for (const std::string& file : names.value())
      files[file] = ReadFile(checkpoint + "/" + file).value_or("unreadable");
    files["state"] = ReadFile(checkpoint + "/state/state.json").value_or("unreadable");
    return files;
  };
  expected = read(Latest());
  ASSERT_TRUE(RemoveTree(Latest()).ok());

  Communicator& world = Mesh::Single().world();
  auto saving = BackgroundCheckpoint::Begin(
      folder_ / "checkpoints", {policy_.model, "configs/tiny/base", optimizer_, state_}, {}, world);
  ASSERT_TRUE(saving.ok()) << saving.status();
  optimizer_.m().zero_();
  optimizer_.set_steps(42);
  policy_.model.parameters().list()[0].value.zero_();
  EXPECT_TRUE((*saving)->Finish(world).ok());
  EXPECT_TRUE((*saving)->written());
  EXPECT_EQ(Latest(), folder_ / "checkpoints/step-000009");
  EXPECT_EQ(read(Latest()), expected);
  EXPECT_TRUE(CheckCheckpoint(Latest()).ok());
}

// Counts the syncs that a thread waits for.
class WaitedFor : public Disk {
 public:
  int Sync(int file) override {
    syncs_ += std::this_thread::get_id() == thread_ ? 1 : 0;
    return Disk::Sync(file);
  }
  int syncs() const { return syncs_; }

 private:
  const std::thread::id thread_ = std::this_thread::get_id();
  int syncs_ = 0;
};

TEST_F(Checkpoint, ThatIsWrittenInTheBackgroundHasNobodyWaitForTheDisk) {
  ASSERT_TRUE(Save(8, 2).ok());
  Communicator& world = Mesh::Single().world();
  WaitedFor disk;
  const DiskInPlace in_place(&disk);
  std::vector<std::string> done;
  state_.step = 9;
  auto saving = BackgroundCheckpoint::Begin(folder_ / "checkpoints",
                                            {policy_.model, "configs/tiny/base", optimizer_, state_},
                                            {.file_bytes = 8'000,
                                             .before =
                                                 [&] {
                                                   done.push_back("before " + Latest());
                                                   return absl::OkStatus();
                                                 },
                                             .stands =
                                                 [&] {
                                                   done.push_back("stands " + Latest());
                                                   return absl::OkStatus();
                                                 }},
                                            world);
  ASSERT_TRUE(saving.ok()) << saving.status();
  EXPECT_TRUE((*saving)->Finish(world).ok());
  EXPECT_EQ(disk.syncs(), 0);
  const std::string checkpoints = folder_ / "checkpoints";
  EXPECT_THAT(
      done, ElementsAre("before " + checkpoints + "/step-000008", "stands " + checkpoints + "/step-000009"));
  EXPECT_TRUE(FileExists(Latest() + "/model.safetensors.index.json"));
  EXPECT_TRUE(ReadAll(Latest()).ok());
}

// What a disk that ranks share does with the files of one of them.
class TurningDisk : public Disk {
 public:
  enum Turn { kHolds, kIsFull, kHidesNotes, kIsLateAfterNotes, kHoldsStanding };
  explicit TurningDisk(Turn turn, int of_rank = 1)
      : turn_(turn), theirs_(absl::StrCat("optimizer-0000", of_rank + 1)) {}
  void LetGo() { held_ = false; }
  int late() const { return late_; }  // notes that are synced only once the checkpoint stands
  int Open(const std::string& path, int flags, mode_t mode) override {
    const bool theirs = path.find(theirs_) != path.npos;
    while (theirs && turn_ == kHolds && held_) absl::SleepFor(absl::Milliseconds(1));
    errno = ENOSPC;
    return theirs && turn_ == kIsFull ? -1 : Disk::Open(path, flags, mode);
  }
  int Rename(const std::string& from, const std::string& to) override {
    const bool note = to.find(".written.tmp/") != to.npos;
    while (to.ends_with("/step-000009") && turn_ == kHoldsStanding && held_)
      absl::SleepFor(absl::Milliseconds(1));
    if (turn_ == kHidesNotes && note) return 0;
    const int renamed = Disk::Rename(from, to);
    if (turn_ == kIsLateAfterNotes && note) {
      const std::string stands = to.substr(0, to.find("/.step-")) + "/step-000009";
      for (int i = 0; i < 2000 && !FileExists(stands); ++i) absl::SleepFor(absl::Milliseconds(5));
      late_ += FileExists(stands) ? 1 : 0;
    }
    return renamed;
  }

 private:
  const Turn turn_;
  const std::string theirs_;
  std::atomic<bool> held_ = true;
  std::atomic<int> late_ = 0;
};

class Together : public Checkpoint {
 protected:
  static constexpr int kRanks = 3;
  // Three ranks with the same policy save it, in files of which each has some; `meanwhile` is what the first
  // does while the others wait for it, `together` what all do then.
  void SaveTogether(bool in_background, const std::function<void(BackgroundCheckpoint&)>& meanwhile = {},
                    const std::function<void(BackgroundCheckpoint&, Communicator&)>& together = {}) {
    state_.step = 9;
    ThreadWorld(kRanks).Run([&](Communicator& world) {
      const Mesh mesh = Mesh::Create({.dp_replicate = kRanks}, world).value();
      ThreadPool pool(1);
      kernels::CpuBackend backend(&pool);
      const ModelConfig& config = policy_.model.config();
      CausalLm model(config, Slice(RandomParameters(config), Layout(config, mesh.place())), &backend,
                     /*rounded=*/false, mesh);
      Optimizer optimizer(&model);
      const bool first = world.rank() == 0;
      const auto stands = [this] {
        ++stood_;
        return absl::OkStatus();
      };
      auto saving = BackgroundCheckpoint::Begin(
          folder_ / "checkpoints", {model, "configs/tiny/base", optimizer, state_},
          {.file_bytes = kFileBytes, .in_background = in_background, .stands = stands}, world);
      ASSERT_TRUE(saving.ok()) << saving.status();
      if (in_background) {
        const auto planned = static_cast<double>(BytesOfCopy(model, world.rank(), kFileBytes));
        EXPECT_GT(planned, 0);
        const auto copied = static_cast<double>((*saving)->copied_bytes());
        EXPECT_GT(copied, planned);
        EXPECT_LT(copied, 2 * planned) << "of tensors so small headers are a third";
      }
      if (first && meanwhile) meanwhile(**saving);
      world.Barrier();
      if (together) together(**saving, world);
      statuses_[world.rank()] = (*saving)->Finish(world);
    });
  }
  std::map<std::string, std::string> Files() {
    std::map<std::string, std::string> files;
    const std::string checkpoint = Latest();
    for (const auto& entry : std::filesystem::recursive_directory_iterator(checkpoint)) {
      const std::string path = entry.path().string();
      files[path.substr(checkpoint.size())] = entry.is_directory() ? "" : *ReadFile(path);
    }
    return files;
  }
  static bool Waits(const std::function<bool()>& until) {
    for (int i = 0; i < 2000 && !until(); ++i) absl::SleepFor(absl::Milliseconds(5));
    return until();
  }

  static constexpr int64_t kFileBytes = 8'000;
  absl::Status statuses_[kRanks];
  std::atomic<int> stood_ = 0;
};

TEST_F(Together, WrittenInTheBackgroundStandsAsSoonAsAllHaveWritten) {
  SaveTogether(/*in_background=*/false);
  const auto expected = Files();
  EXPECT_GE(expected.size(), 12u);
  ASSERT_TRUE(RemoveTree(folder_ / "checkpoints").ok());
  TurningDisk disk(TurningDisk::kHolds);
  const DiskInPlace in_place(&disk);
  stood_ = 0;
  SaveTogether(/*in_background=*/true, [&](const BackgroundCheckpoint& first) {
    EXPECT_TRUE(Waits([&] { return first.written(); }));
    absl::SleepFor(absl::Milliseconds(30));
    EXPECT_EQ(Latest(), "");
    disk.LetGo();
    EXPECT_TRUE(Waits([&] { return stood_ == 1; }));  // no rank has asked
    EXPECT_EQ(Latest(), folder_ / "checkpoints/step-000009");
  });
  for (const absl::Status& status : statuses_) EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(stood_, 1);
  EXPECT_EQ(Files(), expected);
  EXPECT_TRUE(CheckCheckpoint(Latest()).ok());
}

// A rank's note is seen, and its folder gone, before that rank has synced it.
TEST_F(Together, StandsWithoutAnErrorOfARankWhoseNoteIsSyncedTooLate) {
  TurningDisk disk(TurningDisk::kIsLateAfterNotes);
  const DiskInPlace in_place(&disk);
  SaveTogether(/*in_background=*/true);
  EXPECT_EQ(disk.late(), kRanks - 1);
  for (const absl::Status& status : statuses_) EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(stood_, 1);
}

TEST_F(Together, IsNotOverWhileItIsStillMadeToStand) {
  TurningDisk disk(TurningDisk::kHoldsStanding);
  const DiskInPlace in_place(&disk);
  SaveTogether(
      /*in_background=*/true, {}, [&](BackgroundCheckpoint& saving, Communicator& world) {
        EXPECT_TRUE(Waits([&] { return saving.written(); }));
        EXPECT_FALSE(saving.IsOver(world));
        EXPECT_FALSE(saving.IsOver(world));
        EXPECT_EQ(stood_, 0);
        world.Barrier();
        disk.LetGo();
        EXPECT_TRUE(Waits([&] { return stood_ == 1; }));
        bool is_over = false;
        for (int i = 0; i < 2000 && !is_over; ++i) {
          is_over = saving.IsOver(world);
          absl::SleepFor(absl::Milliseconds(is_over ? 0 : 1));
        }
        EXPECT_TRUE(is_over);
      });
  for (const absl::Status& status : statuses_) EXPECT_TRUE(status.ok()) << status;
}

// One rank may copy all that those of its machine do.
TEST(CopiesHaveRoom, WhereThoseOfEachMachineTakeHalfOfWhatIsFreeThere) {
  const auto have_on = [](const std::vector<int64_t>& bytes, const std::vector<const char*>& machines) {
    int64_t have = 0;
    ThreadWorld(static_cast<int>(bytes.size())).Run([&](Communicator& world) {
      const int rank = world.rank();
      const int64_t all = world.Sum(CopiesHaveRoom(bytes[rank], machines[rank], 100, world) ? 1 : 0);
      if (rank == 0) have = all;
    });
    EXPECT_TRUE(have == 0 || have == static_cast<int64_t>(bytes.size()));
    return have > 0;
  };
  EXPECT_TRUE(have_on({50, 0, 0, 0}, {"a", "a", "a", "a"}));
  EXPECT_FALSE(have_on({51, 0, 0, 0}, {"a", "a", "a", "a"}));
  EXPECT_FALSE(have_on({26, 0, 25, 0}, {"a", "a", "a", "a"}));
  EXPECT_TRUE(have_on({26, 0, 25, 0}, {"a", "a", "b", "b"}));
  EXPECT_FALSE(have_on({0, 0, 0, 51}, {"a", "a", "b", "b"}));
}

TEST(StageSums, NameAFileThatIsNoMoreWhatItWasWhenItWasNoted) {
  const TestFolder folder;
  const std::string file = folder / "dataset.jsonl";
  ASSERT_TRUE(WriteFileAtomic(file, "{}\n").ok());
  const auto sums = StageSums::Open(folder.path(), {});
  ASSERT_TRUE(sums.ok()) << sums.status();
  ASSERT_TRUE((*sums)->Add(file).ok());
  const Extent noted = (*sums)->extent();
  EXPECT_TRUE((*sums)->Add(file).ok());
  EXPECT_EQ((*sums)->extent(), noted);
  EXPECT_TRUE((*sums)->CheckThere([] {}).ok());
  ASSERT_TRUE(WriteFileAtomic(file, "[]\n").ok());
  EXPECT_THAT(std::string((*sums)->Add(file).message()), HasSubstr("dataset.jsonl: is not what was written"));
  ASSERT_TRUE(WriteFileAtomic(file, "{").ok());
  EXPECT_THAT(std::string((*sums)->CheckThere([] {}).message()), HasSubstr("is not what was written"));
  ASSERT_TRUE(RemoveTree(file).ok());
  EXPECT_THAT(std::string((*sums)->CheckThere([] {}).message()), HasSubstr("is missing"));
}

TEST(SumsOfFolder, HasWhatWasWrittenWhereAListingDoesNotShowIt) {
  const TestFolder folder;
  ASSERT_TRUE(WriteFileAtomic(folder / "listed", "1").ok());
  const auto sums = SumsOfFolder(folder.path(), Mesh::Single().world(), {{"hidden", 7}});
  ASSERT_TRUE(sums.ok()) << sums.status();
  EXPECT_EQ(*sums, Json({{"hidden", 7}, {"listed", Crc32c("1")}}));
}

TEST_F(Together, StandsWhereTheDiskDoesNotShowARankWhatOthersWrote) {
  SaveTogether(/*in_background=*/false);
  const auto expected = Files();
  ASSERT_TRUE(RemoveTree(folder_ / "checkpoints").ok());
  TurningDisk disk(TurningDisk::kHidesNotes);
  const DiskInPlace in_place(&disk);
  stood_ = 0;
  SaveTogether(/*in_background=*/true);
  for (const absl::Status& status : statuses_) EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(stood_, 1);
  EXPECT_EQ(Files(), expected);
}

TEST_F(Together, WhatOneRankCannotWriteIsAllRanksError) {
  for (const int rank : {0, 1}) {
    TurningDisk disk(TurningDisk::kIsFull, rank);
    const DiskInPlace in_place(&disk);
    SaveTogether(/*in_background=*/true);
    for (const absl::Status& status : statuses_) EXPECT_FALSE(status.ok());
    EXPECT_TRUE(absl::IsResourceExhausted(statuses_[rank])) << statuses_[rank];
    EXPECT_EQ(stood_, 0);
    EXPECT_EQ(*ListDirectory(folder_ / "checkpoints"), std::vector<std::string>());
  }
}

TEST_F(Checkpoint, ThatNobodyFinishesStandsWhereAllOfItWasCopied) {
  ASSERT_TRUE(Save(8).ok());
  state_.step = 9;
  ASSERT_TRUE(BackgroundCheckpoint::Begin(folder_ / "checkpoints",
                                          {policy_.model, "configs/tiny/base", optimizer_, state_}, {},
                                          Mesh::Single().world())
                  .ok());
  EXPECT_EQ(Latest(), folder_ / "checkpoints/step-000009");
  EXPECT_TRUE(CheckCheckpoint(Latest()).ok());
}

TEST(BetweenCheckpoints, IsWhereSavingAndRepeatingTakeLeast) {
  EXPECT_NEAR(absl::ToDoubleMinutes(BetweenCheckpoints(absl::Seconds(5), 1024)), 8.8, 0.1);
  EXPECT_EQ(BetweenCheckpoints(absl::Seconds(5), 8), absl::Minutes(10));
  EXPECT_EQ(BetweenCheckpoints(absl::ZeroDuration(), 8), absl::Minutes(1));
  const absl::Duration once = BetweenCheckpoints(absl::Seconds(1), 2048);
  EXPECT_GT(once, absl::Minutes(1));
  EXPECT_DOUBLE_EQ(absl::FDivDuration(BetweenCheckpoints(absl::Seconds(4), 2048), once), 2);
  EXPECT_DOUBLE_EQ(absl::FDivDuration(once, BetweenCheckpoints(absl::Seconds(1), 4 * 2048)), 2);
}

TEST_F(Checkpoint, OfAllItsFilesIsReadInTheTimeOfASlowDisk) {
  EXPECT_EQ(OnSlowDisk(int64_t{30'000'000'000}), absl::Minutes(50));
  ASSERT_TRUE(Save(1).ok());
  EXPECT_EQ(OnSlowDisk(Latest()), absl::ZeroDuration());
  std::filesystem::resize_file(Latest() + "/state/optimizer.safetensors", uintmax_t{70'000'000'000});
  EXPECT_EQ(OnSlowDisk(Latest()), absl::Seconds(7000));
  EXPECT_EQ(OnSlowDisk(folder_ / "nowhere"), absl::ZeroDuration());
}

TEST_F(Checkpoint, ReplacesOlderOnesOnceItStands) {
  for (int64_t step : {1, 2, 30, 999999, 1000000}) {
    ASSERT_TRUE(Save(step).ok());
    EXPECT_EQ(ReadTrainingState(Latest())->step, step);
    int64_t entries = 0;
    for (const auto& entry : std::filesystem::directory_iterator(folder_ / "checkpoints")) {
      EXPECT_TRUE(entry.is_directory());
      ++entries;
    }
    EXPECT_EQ(entries, 1) << step;
  }
}

TEST_F(Checkpoint, ThatIsAMilestoneTheBestOrOneOfTheLastIsKept) {
  for (int64_t step = 1; step <= 9; ++step) {
    state_.milestone = step % 4 == 0;
    if (step == 2 || step == 5) state_.best = {"eval/pass@1", step, 0.1 * static_cast<double>(step)};
    ASSERT_TRUE(Save(step, /*keep_last=*/2).ok());
    const auto state = ReadTrainingState(Latest());
    EXPECT_EQ(state->milestone, step % 4 == 0);
    EXPECT_EQ(state->best.step, step < 2 ? 0 : step < 5 ? 2 : 5);
  }
  EXPECT_EQ(Steps(), (std::vector<int64_t>{4, 5, 8, 9}));  // a milestone, the best, two of the last
  EXPECT_EQ(ReadTrainingState(Latest())->best.figure, "eval/pass@1");
  EXPECT_EQ(ReadTrainingState(Latest())->best.value, 0.5);
  // A run that went back to an older one, of which the next is one of the last all the same.
  state_.milestone = false;
  ASSERT_TRUE(Save(7, /*keep_last=*/2).ok());
  EXPECT_EQ(Steps(), (std::vector<int64_t>{4, 5, 7, 8, 9}));
}

TEST_F(Checkpoint, IsFoundBesideTheLeftoversOfAnInterruptedSave) {
  EXPECT_EQ(Latest(), "");
  ASSERT_TRUE(Save(3).ok());
  std::filesystem::create_directories(folder_ / "checkpoints/step-000009.copy");  // somebody's
  std::filesystem::create_directories(folder_ / "checkpoints/.step-000004.tmp/state");
  ASSERT_TRUE(WriteFileAtomic(folder_ / "checkpoints/.step-000004.tmp/config.json", "{").ok());
  EXPECT_EQ(Latest(), folder_ / "checkpoints/step-000003");
  // A crash before the older one was removed leaves two whole ones.
  std::filesystem::copy(folder_ / "checkpoints/step-000003", folder_ / "checkpoints/step-000002",
                        std::filesystem::copy_options::recursive);
  EXPECT_EQ(Latest(), folder_ / "checkpoints/step-000003");
  ASSERT_TRUE(Save(4).ok());
  EXPECT_EQ(Latest(), folder_ / "checkpoints/step-000004");
  EXPECT_TRUE(ReadAll(Latest()).ok());
  EXPECT_FALSE(FileExists(folder_ / "checkpoints/.step-000004.tmp"));
  EXPECT_FALSE(FileExists(folder_ / "checkpoints/step-000002"));
}

TEST_F(Checkpoint, ThatIsDamagedIsAnErrorOfOneLineThatNamesTheFile) {
  ASSERT_TRUE(Save(5).ok());
  const std::string good = Latest();
  ASSERT_TRUE(ReadAll(good).ok()) << ReadAll(good);
  for (const char* name :
       {"config.json", "model.safetensors", "state/state.json", "state/optimizer.safetensors"}) {
    const std::string bytes = *ReadFile(good + "/" + name);
    const std::string bad = folder_ / "bad";
    const std::pair<const char*, std::optional<std::string>> damages[] = {
        {"missing", std::nullopt},
        {"empty", ""},
        {"cut", bytes.substr(0, bytes.size() - 3)},
        {"cut in half", bytes.substr(0, bytes.size() / 2)},
        {"another file", std::string(64, '\xff')}};
    for (const auto& [damage, left] : damages) {
      std::filesystem::remove_all(bad);
      std::filesystem::copy(good, bad, std::filesystem::copy_options::recursive);
      std::filesystem::remove(bad + "/" + name);
      if (left.has_value()) {
        ASSERT_TRUE(WriteFileAtomic(bad + "/" + name, *left).ok());
      }
      const absl::Status status = ReadAll(bad);
      EXPECT_FALSE(status.ok()) << name << " " << damage;
      // A folder without weights has no file to name.
      const bool none = damage == std::string("missing") && name == std::string("model.safetensors");
      EXPECT_THAT(std::string(status.message()), HasSubstr(none ? bad : bad + "/" + name)) << damage;
      EXPECT_THAT(std::string(status.message()), Not(HasSubstr("\n"))) << damage;
    }
  }
}

TEST_F(Checkpoint, OneFlippedBitOfWeightsOrMomentsIsFound) {
  ASSERT_TRUE(Save(5).ok());
  EXPECT_TRUE(CheckCheckpoint(Latest()).ok()) << CheckCheckpoint(Latest());
  for (const char* name : {"model.safetensors", "state/optimizer.safetensors"}) {
    const std::string path = Latest() + "/" + name, bytes = *ReadFile(path);
    std::string flipped = bytes;
    flipped[bytes.size() - 4] ^= 1;  // of a last float: still finite, still the right size
    ASSERT_TRUE(WriteFileAtomic(path, flipped).ok());
    EXPECT_EQ(ReadAll(Latest()).code(), absl::StatusCode::kDataLoss);
    EXPECT_THAT(std::string(ReadAll(Latest()).message()), HasSubstr(path + ": is not what was written"));
    ASSERT_TRUE(WriteFileAtomic(path, bytes).ok());
  }
  EXPECT_TRUE(ReadAll(Latest()).ok());
  std::filesystem::rename(Latest(), folder_ / "checkpoints/step-000006");
  EXPECT_THAT(std::string(CheckCheckpoint(Latest()).message()), HasSubstr("state.json: step 5 is not"));
}

// Each file is one rank's to read, and a bit that one of them finds wrong is all ranks' outcome.
TEST_F(Checkpoint, RanksShareOutTheFilesOfOneThatTheyCheck) {
  ASSERT_TRUE(Save(5).ok());
  const std::string checkpoint = Latest(), damaged = checkpoint + "/state/optimizer.safetensors";
  const auto files = FilesOfCheckpoint(checkpoint);
  ASSERT_GE(files->size(), 4u);
  int64_t all = 0;
  for (const std::string& file : *files)
    all += static_cast<int64_t>(std::filesystem::file_size(checkpoint + "/" + file));
  for (const int ranks : {1, 2, 3, 9}) {
    for (const bool flipped : {false, true}) {
      const std::string bytes = *ReadFile(damaged);
      std::string other = bytes;
      if (flipped) other[bytes.size() - 4] ^= 1;
      ASSERT_TRUE(WriteFileAtomic(damaged, other).ok());
      std::vector<int64_t> read(ranks);
      ThreadWorld(ranks).Run([&](Communicator& world) {
        const auto count = [&](int64_t more) {
          read[world.rank()] += more;
          return absl::OkStatus();
        };
        const absl::Status status = ReadTogether(
            world, count, [&](const FileReader& reader) { return CheckCheckpoint(checkpoint, reader); });
        EXPECT_EQ(status.code(), !flipped            ? absl::StatusCode::kOk
                                 : world.rank() == 0 ? absl::StatusCode::kDataLoss
                                                     : absl::StatusCode::kCancelled);
        if (flipped && world.rank() == 0) {
          EXPECT_THAT(std::string(status.message()), HasSubstr(damaged + ": is not what was written"));
        }
      });
      std::vector<int64_t> expected(ranks);
      for (size_t i = 0; i < files->size(); ++i)
        expected[i % ranks] +=
            static_cast<int64_t>(std::filesystem::file_size(checkpoint + "/" + (*files)[i]));
      EXPECT_EQ(read, expected);
      EXPECT_EQ(std::accumulate(read.begin(), read.end(), int64_t{0}), all);
      ASSERT_TRUE(WriteFileAtomic(damaged, bytes).ok());
    }
  }
}

TEST_F(Checkpoint, WhatARankCannotReadIsNamedByAll) {
  ASSERT_TRUE(Save(5).ok());
  ThreadWorld(2).Run([&](Communicator& world) {
    const auto fails = [&](int64_t) {
      return world.rank() == 1 ? absl::UnavailableError("the disk of rank 1 is gone") : absl::OkStatus();
    };
    const absl::Status status = ReadTogether(
        world, fails, [&](const FileReader& reader) { return CheckCheckpoint(Latest(), reader); });
    EXPECT_EQ(status.code(),
              world.rank() == 0 ? absl::StatusCode::kUnavailable : absl::StatusCode::kCancelled);
  });
}

TEST_F(Checkpoint, OfAnotherFormatModelOrPlaceIsRefused) {
  ASSERT_TRUE(Save(5).ok());
  const std::string path = Latest() + "/state/state.json";
  const Json state = *ReadSealedJson(path);
  const auto error = [&](const char* key, const Json& value) {
    EXPECT_TRUE(WriteSealedJson(path, With(state, key, value)).ok());
    return std::string(ReadAll(Latest()).message());
  };
  EXPECT_THAT(error("format", 3), HasSubstr("state.json: format 3, but this temper reads format 2"));
  EXPECT_THAT(error("step", "five"), HasSubstr("state.json"));
  EXPECT_THAT(error("reference", "../elsewhere"), HasSubstr("state.json: reference is no plain name"));

  Policy other(With(TinyDeepseek(), "hidden_size", 16), 1);
  Optimizer optimizer(&other.model);
  EXPECT_THAT(std::string(LoadOptimizer(Latest(), &other.model, &optimizer).message()),
              HasSubstr("state/optimizer.safetensors: tensor m has another size than the policy"));
}

// Another start takes the folder just before a file is synced, the `at`-th.
class LosingDisk : public Disk {
 public:
  LosingDisk(std::string lock, int at) : lock_(std::move(lock)), at_(at) {}
  int syncs() const { return syncs_; }
  bool stood_too_late() const { return stood_too_late_; }
  int Sync(int file) override {
    if (syncs_++ == at_) std::ofstream(lock_) << "process 7 on elsewhere, start 0123456789abcdef";
    return Disk::Sync(file);
  }
  int Rename(const std::string& from, const std::string& to) override {
    stood_too_late_ |= syncs_ > at_ && to.ends_with("/step-000009");
    return Disk::Rename(from, to);
  }

 private:
  const std::string lock_;
  const int at_;
  int syncs_ = 0;
  bool stood_too_late_ = false;
};

// The other start may be writing the checkpoint of the same update.
TEST_F(Checkpoint, OfAStartThatLosesTheFolderWhileItIsWrittenDoesNotStand) {
  ASSERT_TRUE(Save(8).ok());
  const std::string others = folder_ / "checkpoints/.step-000009.0123456789abcdef.tmp/config.json";
  const auto lock = RunLock::Acquire(folder_.path());
  ASSERT_TRUE(lock.ok()) << lock.status();
  const std::string owner = *ReadFile(folder_ / ".lock");
  state_.step = 9;
  int lost = 0;
  for (int at = 0;; ++at) {
    ASSERT_TRUE(MakeDirectories(std::filesystem::path(others).parent_path()).ok());
    ASSERT_TRUE(WriteFileAtomic(others, "theirs").ok());
    std::ofstream(folder_ / ".lock") << owner;
    LosingDisk disk(folder_ / ".lock", at);
    absl::Status status;
    {
      const DiskInPlace in_place(&disk);
      status =
          SaveCheckpoint(folder_ / "checkpoints", {policy_.model, "configs/tiny/base", optimizer_, state_},
                         {.keep_last = 2, .lock = lock->get()}, Mesh::Single().world());
    }
    EXPECT_FALSE(disk.stood_too_late()) << at;
    EXPECT_EQ(*ReadFile(others), "theirs") << at;
    if (status.ok()) break;  // it stood before the folder was lost
    ++lost;
    EXPECT_THAT(std::string(status.message()), HasSubstr(": is another's by now (process 7 on elsewhere"));
    EXPECT_THAT(*ListDirectory(folder_ / "checkpoints"),
                ::testing::ElementsAre(".step-000009.0123456789abcdef.tmp", "step-000008"));
  }
  EXPECT_GE(lost, 8);
}

TEST_F(Checkpoint, ThatCannotBeWrittenLeavesTheOlderOne) {
  ASSERT_TRUE(Save(5).ok());
  // The disk is full, as far as the optimizer's file goes.
  struct rlimit old_limit;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &old_limit), 0);
  const struct rlimit limit = {40000, old_limit.rlim_max};
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  const absl::Status status = Save(6);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &old_limit), 0);
  std::signal(SIGXFSZ, handler);
  EXPECT_THAT(std::string(status.message()), HasSubstr(folder_ / "checkpoints/.step-000006.tmp/"));
  EXPECT_THAT(std::string(status.message()), Not(HasSubstr("\n")));
  EXPECT_EQ(Latest(), folder_ / "checkpoints/step-000005");
  EXPECT_TRUE(ReadAll(Latest()).ok());
  EXPECT_FALSE(FileExists(folder_ / "checkpoints/.step-000006.tmp"));
  EXPECT_TRUE(Save(6).ok());
}

}  // namespace
}  // namespace temper
